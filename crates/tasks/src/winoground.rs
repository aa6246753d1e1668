//! Winoground.

use std::path::Path;

use sail_core::AlignmentHead;
use sail_data::source::{ImageRoot, SourceOptions};
use serde::{Deserialize, Serialize};

use crate::cache::FeatureCache;
use crate::error::TaskError;
use crate::files::{malformed, read_text};
use crate::inputs::{Images, Texts};
use crate::model::TaskModel;
use crate::pairs::{Pair, score_pairs};
use crate::skips::Skips;

/// Winoground (Thrush et al., 2022, arXiv 2204.03162) as published on the hub, `facebook/winoground`.
///
/// The folder has `examples.jsonl`, whose lines have `id`, `image_0`, `image_1`, `caption_0` and `caption_1` (other fields
/// are ignored), and the images `NAME.png` in the folder `images` or, if it does not exist, in `images.zip`.
pub struct WinogroundData {
    images: Images,
    captions: Texts,
    examples: Vec<Pair>,
}

#[derive(Deserialize)]
struct Line {
    id: serde_json::Value,
    image_0: String,
    image_1: String,
    caption_0: String,
    caption_1: String,
}

impl WinogroundData {
    /// Reads the folder.
    ///
    /// A missing image, or one outside the folder, is skipped when its example is scored. Of the options, the limits and
    /// [`follow_links`](SourceOptions::follow_links) apply.
    ///
    /// # Errors
    /// [`TaskError::Io`] and [`TaskError::TooLarge`] for the files; [`TaskError::Malformed`] for an invalid line;
    /// [`TaskError::Empty`] without examples; [`TaskError::Images`] for missing images or an invalid archive.
    pub fn open(folder: &Path, options: &SourceOptions) -> Result<Self, TaskError> {
        let path = folder.join("examples.jsonl");
        let text = read_text(&path, "Winoground's examples.jsonl")?;
        let (mut captions, mut examples) = (Texts::default(), Vec::new());
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let line: Line = sail_support::json::from_str(line)
                .map_err(|error| malformed(&path, format!("line {}", number + 1), error))?;
            examples.push(Pair {
                name: line.id.to_string().trim_matches('"').to_owned(),
                images: [line.image_0, line.image_1].map(|name| format!("{name}.png")),
                texts: [captions.add(&line.caption_0), captions.add(&line.caption_1)],
            });
        }
        if examples.is_empty() {
            return Err(TaskError::Empty { path, what: "example" });
        }
        let names = examples.iter().flat_map(|example| &example.images).map(String::as_str);
        let (unpacked, archive) = (folder.join("images"), folder.join("images.zip"));
        let images = if !unpacked.exists() && archive.exists() {
            Images::zipped(archive, "images", names)
        } else {
            ImageRoot::new(&unpacked, options).map(|root| Images::named(&root, names))
        };
        let images = images.map_err(TaskError::Images)?;
        Ok(Self { images, captions, examples })
    }

    /// Returns the number of examples.
    pub fn len(&self) -> usize {
        self.examples.len()
    }

    /// Returns `false`: [`open`](Self::open) rejects an empty file.
    pub fn is_empty(&self) -> bool {
        self.examples.is_empty()
    }
}

/// The result of Winoground.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WinogroundResult {
    /// The scores.
    #[serde(flatten)]
    pub scores: sail_eval::Winoground,
    /// Examples that were skipped because an image or a caption is unusable.
    pub skipped: Skips,
}

/// Scores a model on Winoground: [`sail_eval::winoground`] of its cosines.
///
/// # Errors
/// [`TaskError`] if the head does not match the towers, nothing can be embedded, or all examples are skipped.
pub fn winoground<H: AlignmentHead>(
    model: &TaskModel<'_, H>,
    data: &WinogroundData,
    cache: &mut FeatureCache<'_>,
) -> Result<WinogroundResult, TaskError> {
    let WinogroundData { images, captions, examples } = data;
    let found = score_pairs(model, "winoground", images, captions, examples, cache)?;
    let scores: Vec<_> = found.scores.into_iter().map(|(_, scores)| scores).collect();
    Ok(WinogroundResult { scores: sail_eval::winoground(&scores)?, skipped: found.skipped })
}
