//! Images and captions of an index as features, for curation.

use sail_data::{DataError, MatrixFeatures, SelectedFeatures};

use super::error::IndexError;
use super::read::Index;
use crate::EmbedError;

/// Captions that are embedded at once.
const BATCH: usize = 1024;

impl Index {
    /// Returns the embeddings of the images that are not removed, with their keys, in the order of their rows.
    ///
    /// # Errors
    /// [`IndexError::Data`].
    pub fn images(&self) -> Result<SelectedFeatures, IndexError> {
        let rows = self.live().iter().collect();
        Ok(SelectedFeatures::new(self.embeddings(), rows).map_err(DataError::from)?)
    }

    /// Embeds the captions of the images that are not removed; the keys are those of the images. The embeddings are in memory: 4
    /// bytes for each dimension of a caption.
    ///
    /// `embed` embeds texts with the model of the index; `progress` is called with the number of captions so far.
    ///
    /// # Errors
    /// [`IndexError::NoCaptions`], [`IndexError::Unusable`] if a caption cannot be embedded, [`IndexError::Rows`] for embeddings
    /// that do not fit, and errors of reading.
    pub fn captions(
        &self,
        mut embed: impl FnMut(&[&str]) -> Result<Vec<Vec<f32>>, EmbedError>,
        mut progress: impl FnMut(usize),
    ) -> Result<MatrixFeatures, IndexError> {
        let dim = self.manifest().dim;
        let (mut keys, mut waiting, mut values) = (Vec::new(), Vec::new(), Vec::new());
        let mut flush = |waiting: &mut Vec<String>| {
            let texts: Vec<&str> = waiting.iter().map(String::as_str).collect();
            let rows = if texts.is_empty() { Vec::new() } else { embed(&texts)? };
            if rows.len() != texts.len() || rows.iter().any(|row| row.len() != dim) {
                let found = format!("{} rows of {:?} values", rows.len(), rows.first().map(Vec::len));
                let expected = format!("{} rows of {dim} values", texts.len());
                return Err(IndexError::Rows { found, expected });
            }
            rows.iter().for_each(|row| values.extend_from_slice(row));
            waiting.clear();
            Ok(())
        };
        for row in self.live().iter() {
            let (segment, within) = self.locate(row)?;
            let captions = segment.note(within)?.captions;
            if captions.is_empty() {
                continue;
            }
            let key = self.key(row)?;
            keys.resize(keys.len() + captions.len(), key);
            waiting.extend(captions);
            if waiting.len() >= BATCH {
                flush(&mut waiting)?;
                progress(keys.len());
            }
        }
        flush(&mut waiting)?;
        if keys.is_empty() {
            return Err(IndexError::NoCaptions { path: self.path().to_owned() });
        }
        progress(keys.len());
        Ok(MatrixFeatures::new(dim, values)?.with_keys(keys)?)
    }
}
