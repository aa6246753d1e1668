//! `sail search`.

use std::path::{Path, PathBuf};

use clap::Args;
use sail_support::read_bounded;
use sail_vl::burn::tensor::Device;
use sail_vl::core::{RgbImage, ensure};
use sail_vl::data::source::SourceOptions;
use sail_vl::data::{DecodeLimits, decode_image};
use sail_vl::search::{
    EntryId, Filter, Hit, Index, IndexError, Query, QueryError, QueryTerm, RowSet, Subject, weighted_sum,
};

use crate::device_args::DeviceArgs;
use crate::error::CliError;
use crate::index_model::IndexTowers;
use crate::search_output::{self, Found, OutputArgs};

#[derive(Args)]
pub(crate) struct SearchArgs {
    /// The index, made by `sail index`.
    index: PathBuf,
    /// What to search for: words, an image file, or a sum of both such as `a dog - grass + 0.5*photo.jpg`, with spaces around
    /// its operators. What is in double quotes is text.
    #[arg(value_name = "QUERY")]
    query: Vec<String>,
    /// Add a text to the query, whatever it contains; can be repeated.
    #[arg(long, value_name = "TEXT")]
    text: Vec<String>,
    /// Add an image file to the query; can be repeated.
    #[arg(long, value_name = "FILE")]
    image: Vec<PathBuf>,
    /// Add an image of the index to the query, by its key, and find others like it; can be repeated.
    #[arg(long, value_name = "KEY")]
    like: Vec<String>,
    /// Number of images to find.
    #[arg(short, long, value_name = "IMAGES", default_value_t = 10)]
    k: usize,
    /// Search the images that fulfil a condition: `key=PATTERN`, `class=PATTERN` for the name of the folder, or
    /// `COLUMN=PATTERN`, or with `!=`; `COLUMN<NUMBER`, or with `<=`, `>` or `>=`. Can be repeated; `*` is any text, `?` any
    /// letter.
    #[arg(long, value_name = "CONDITION")]
    filter: Vec<String>,
    #[command(flatten)]
    output: OutputArgs,
    /// The vision model of the index, if it is not where the index says: a folder, or an id on the hub.
    #[arg(long, value_name = "FOLDER_OR_ID")]
    vision_model: Option<String>,
    /// The text model of the index, if it is not where the index says.
    #[arg(long, value_name = "FOLDER_OR_ID")]
    text_model: Option<String>,
    #[command(flatten)]
    device: DeviceArgs,
}

pub(crate) fn run(args: &SearchArgs) -> Result<(), CliError> {
    let query = args.query()?;
    ensure(args.k > 0, "k", args.k, "at least 1")?;
    let failed = |source| CliError::Index { path: args.index.as_path().into(), source };
    let conditions = args.filter.iter().map(|text| Filter::parse(text));
    let filter = conditions.reduce(|all, next| all?.and(next?)).transpose().map_err(failed)?;
    let device = args.device.open()?;
    let index = Index::open(&args.index).map_err(failed)?;
    let search = Search { args, index: &index, device: &device };
    let mut among =
        filter.map_or(Ok(index.live().clone()), |filter| index.select(&filter)).map_err(failed)?;
    // The codes are read while the model is.
    let (embedding, searcher) = rayon::join(|| search.embed(&query, &mut among), || index.searcher());
    let (embedding, searcher) = (embedding?, searcher.map_err(failed)?);
    let hits = searcher.search(&embedding, args.k, Some(&among)).map_err(|error| failed(error.into()))?;
    let hits: Vec<Hit> = hits.into_iter().flatten().collect();
    let entry = |hit: Hit| Ok(Found { hit, entry: index.entry(hit.row)? });
    let found = hits.into_iter().map(entry).collect::<Result<Vec<_>, IndexError>>().map_err(failed)?;
    search_output::write(&args.output, &index, &query, &found, among.len())
}

impl SearchArgs {
    fn query(&self) -> Result<Query, CliError> {
        let mut terms = match self.query.as_slice() {
            [] => Vec::new(),
            words => Query::parse(&words.join(" "), Path::is_file)?.terms().to_vec(),
        };
        terms.extend(self.text.iter().cloned().map(Subject::Text).map(QueryTerm::new));
        terms.extend(self.image.iter().cloned().map(Subject::Image).map(QueryTerm::new));
        terms.extend(self.like.iter().cloned().map(Subject::Entry).map(QueryTerm::new));
        Ok(Query::new(terms)?)
    }
}

struct Search<'a> {
    args: &'a SearchArgs,
    index: &'a Index,
    device: &'a Device,
}

impl Search<'_> {
    /// Embeds a query. The images of the index in it are not searched for.
    fn embed(&self, query: &Query, among: &mut RowSet) -> Result<Vec<f32>, CliError> {
        let (mut texts, mut images) = (Vec::new(), Vec::new());
        for term in query.terms() {
            match &term.subject {
                Subject::Text(text) => texts.push(text.as_str()),
                Subject::Image(path) => images.push(decode(path)?),
                Subject::Entry(_) => {}
            }
        }
        let (mut texts, mut images) = self.embed_new(&texts, &images)?;
        let mut rows = Vec::with_capacity(query.terms().len());
        for term in query.terms() {
            let row = match &term.subject {
                Subject::Text(_) => texts.next(),
                Subject::Image(_) => images.next(),
                Subject::Entry(key) => {
                    let row = self.row(key)?;
                    among.remove(row);
                    let embedding = self.index.embedding(row).map_err(|source| self.failed(source))?;
                    // Rows in f16 are not exactly of unit length.
                    Some(weighted_sum([(1.0, &*embedding)]).ok_or(QueryError::Cancelled)?)
                }
            };
            rows.push(row.unwrap_or_default());
        }
        Ok(query.embedding(&rows)?)
    }

    /// Embeds texts and images, with the towers that they need.
    fn embed_new(
        &self,
        texts: &[&str],
        images: &[RgbImage],
    ) -> Result<(impl Iterator<Item = Vec<f32>>, impl Iterator<Item = Vec<f32>>), CliError> {
        let (mut of_texts, mut of_images) = (Vec::new(), Vec::new());
        if !(texts.is_empty() && images.is_empty()) {
            let named = [self.args.vision_model.clone(), self.args.text_model.clone()];
            let towers = IndexTowers::new(self.index, named, self.device)?;
            if !texts.is_empty() {
                of_texts = towers.embed_texts(texts)?;
            }
            if !images.is_empty() {
                of_images = towers.embed_images(images)?;
            }
        }
        Ok((of_texts.into_iter(), of_images.into_iter()))
    }

    fn row(&self, key: &str) -> Result<usize, CliError> {
        let row = self.index.find(&EntryId::of(key)).map_err(|source| self.failed(source))?;
        row.ok_or_else(|| {
            let index = self.args.index.display();
            CliError::Usage(format!("{index} has no image with the key `{key}`: `--image` takes a file"))
        })
    }

    fn failed(&self, source: IndexError) -> CliError {
        CliError::Index { path: self.args.index.as_path().into(), source }
    }
}

fn decode(path: &Path) -> Result<RgbImage, CliError> {
    let unusable = |reason: &dyn std::fmt::Display| {
        CliError::Usage(format!("cannot search for the image {}: {reason}", path.display()))
    };
    let limit = SourceOptions::default().max_image_bytes;
    let bytes = read_bounded(path, limit).map_err(|error| unusable(&std::io::Error::from(error)))?;
    decode_image(&bytes, &DecodeLimits::default()).map_err(|error| unusable(&error))
}
