//! `sail encode --dry-run`: what an encoding would read and write.

use std::io::Write;

use bytesize::ByteSize;
use sail_vl::core::{Layer, Provenance, RgbImage, TextTower, TowerError, VisionTower};
use sail_vl::data::source::PassedOver;
use sail_vl::extract::ExtractOptions;
use serde::Serialize;

use crate::error::CliError;
use crate::output::print;

/// Side of a blank image.
const BLANK_SIDE: u32 = 64;

/// What an encoding would do.
#[derive(Serialize)]
pub(crate) struct Plan {
    #[serde(flatten)]
    provenance: Provenance,
    source: String,
    /// Records of the part, an upper bound of the rows.
    records: u64,
    dim: usize,
    /// The layers, if they were chosen, each with a store of its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    layers: Vec<String>,
    dtype: String,
    /// Bytes of the features, an upper bound.
    bytes: u64,
    device: String,
    store: String,
    passed_over: PassedOver,
}

impl Plan {
    pub(crate) fn new(
        provenance: Provenance,
        (layers, dims): (&[Layer], Vec<usize>),
        records: u64,
        options: &ExtractOptions,
        device: String,
        store: &str,
    ) -> Self {
        let records = options.limit.map_or(records, |limit| limit.min(records));
        let range = options.part.range(records, options.block as u64);
        let records = range.end - range.start;
        let bytes: usize = dims.iter().map(|dim| options.dtype.row_bytes(*dim, provenance.tokens)).sum();
        Self {
            provenance,
            source: options.source.clone(),
            records,
            dim: dims.first().copied().unwrap_or_default(),
            layers: layers.iter().map(Layer::to_string).collect(),
            dtype: options.dtype.to_string(),
            bytes: records * bytes as u64,
            device,
            store: store.trim_end_matches('/').to_owned(),
            passed_over: PassedOver::default(),
        }
    }

    /// Sets the files that the source passes over.
    pub(crate) fn passing_over(mut self, passed_over: PassedOver) -> Self {
        self.passed_over = passed_over;
        self
    }

    pub(crate) fn print(&self, json: bool) -> Result<(), CliError> {
        print(json, self, |out| {
            for (name, value) in self.provenance.fields() {
                writeln!(out, "{name:<11} {value}")?;
            }
            writeln!(out, "device      {}", self.device)?;
            writeln!(out, "source      {}", self.source)?;
            writeln!(out, "records     {}", self.records)?;
            if !self.passed_over.is_empty() {
                writeln!(out, "passed over {}", self.passed_over)?;
            }
            writeln!(out, "features    {} values in {} each", self.dim, self.dtype)?;
            if !self.layers.is_empty() {
                writeln!(out, "layers      {}", self.layers.join(", "))?;
            }
            writeln!(out, "size        {}", ByteSize(self.bytes))?;
            writeln!(out, "store       {} (dry run: nothing was written)", self.store)
        })
    }
}

/// The dimensions of a vision model's features at these layers, from a blank image.
pub(crate) fn image_dims(tower: &VisionTower, layers: &[Layer]) -> Result<Vec<usize>, CliError> {
    let image = RgbImage::new(BLANK_SIDE, BLANK_SIDE);
    let pixels = tower.preprocessor.preprocess(&image);
    let pixels = pixels.map_err(|source| TowerError::Input { row: 0, source })?;
    Ok(tower.embed_layers(&[pixels], layers)?.iter().map(|rows| rows.dims()[1]).collect())
}

/// The dimensions of a text model's features at these layers, from one word.
pub(crate) fn text_dims(tower: &TextTower, layers: &[Layer]) -> Result<Vec<usize>, CliError> {
    let tokens = tower.tokenizer.tokenize("word").map_err(|source| TowerError::Input { row: 0, source })?;
    Ok(tower.embed_layers(&[tokens], layers, 1)?.iter().map(|rows| rows.dims()[1]).collect())
}
