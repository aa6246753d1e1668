//! What `sail dedup`, `sail score` and `sail coverage` read in the place of features: an index.

use std::path::Path;
use std::sync::Arc;

use sail_vl::burn::tensor::Device;
use sail_vl::core::FeatureSource;
use sail_vl::data::{Pairs, Unmatched};
use sail_vl::layers::{Head, HeadConfig, ProjectorConfig};
use sail_vl::search::{EmbedError, Index};

use crate::error::CliError;
use crate::index_model::IndexTowers;
use crate::inputs::warn_of_dropped_rows;
use crate::progress::bar;

/// Opens an index; `None` if the path is something else.
pub(crate) fn index(spec: &str) -> Result<Option<Index>, CliError> {
    Index::is_at(spec).then(|| open(spec)).transpose()
}

/// Opens an index.
pub(crate) fn open(path: &str) -> Result<Index, CliError> {
    Index::open(path).map_err(|source| CliError::Index { path: Path::new(path).into(), source })
}

/// The embeddings of the images of an index.
pub(crate) fn images(index: &Index) -> Result<Arc<dyn FeatureSource>, CliError> {
    let images = index.images();
    Ok(Arc::new(images.map_err(|source| CliError::Index { path: index.path().into(), source })?))
}

/// The embeddings of the images of an index and of their captions. Images without captions are left out, with a warning.
pub(crate) fn pairs(index: &Index, text_model: &Option<String>, device: &Device) -> Result<Pairs, CliError> {
    let towers = IndexTowers::new(index, [None, text_model.clone()], device)?;
    let progress = bar(0, "embed", "{pos} captions");
    let captions = index.captions(
        |texts| towers.embed_texts(texts).map_err(EmbedError::new),
        |captions| progress.set_position(captions as u64),
    );
    progress.finish_and_clear();
    let captions = captions.map_err(|source| CliError::Index { path: index.path().into(), source })?;
    let pairs = Pairs::join(images(index)?, vec![Arc::new(captions)], Unmatched::Drop)?;
    warn_of_dropped_rows(pairs.pairing());
    Ok(pairs)
}

/// A head for the embeddings of an index, which went through its own already.
pub(crate) fn head(index: &Index, device: &Device) -> Result<Head, CliError> {
    let dim = index.manifest().dim;
    Ok(Head::new(&HeadConfig::new(dim, dim, dim, ProjectorConfig::Identity {}), 0, device)?)
}
