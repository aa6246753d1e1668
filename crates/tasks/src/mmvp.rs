//! MMVP-VLM.

use std::path::Path;

use csv::StringRecord;
use sail_core::AlignmentHead;
use sail_data::source::{ImageRoot, SourceOptions};
use sail_eval::{group_accuracy, statements_pick_images};
use serde::{Deserialize, Serialize};

use crate::cache::FeatureCache;
use crate::error::TaskError;
use crate::files::{malformed, read_text};
use crate::inputs::{Images, Texts};
use crate::model::TaskModel;
use crate::named_accuracy::{NamedAccuracy, named};
use crate::pairs::{Pair, score_pairs};
use crate::skips::Skips;

/// The prefix of every statement in the published script.
const PREFIX: &str = "a photo of ";

/// MMVP-VLM (Tong et al., 2024, arXiv 2401.06209) as published on the hub, `MMVP/MMVP_VLM`.
///
/// The folder has `Questions.csv` with the columns `Question ID`, `Type` (the category) and `Statement`, in which every two
/// rows are a pair, and the images `MLLM_VLM Images/TYPE/ID.jpg`. Statements are embedded as "a photo of STATEMENT".
pub struct MmvpData {
    images: Images,
    statements: Texts,
    pairs: Vec<Pair>,
    categories: Vec<String>,
    category_of_pair: Vec<usize>,
}

impl MmvpData {
    /// Reads the folder. Of the options, the limits and [`follow_links`](SourceOptions::follow_links) apply.
    ///
    /// # Errors
    /// [`TaskError::Io`] and [`TaskError::TooLarge`] for the files; [`TaskError::Malformed`] for a missing column, a question
    /// id that is not an integer, and unpaired rows; [`TaskError::Empty`] without rows.
    pub fn open(folder: &Path, options: &SourceOptions) -> Result<Self, TaskError> {
        let path = folder.join("Questions.csv");
        let text = read_text(&path, "MMVP-VLM's Questions.csv")?;
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
        let not_csv = |error: csv::Error| malformed(&path, "CSV", error);
        let header = reader.headers().map_err(not_csv)?.clone();
        let column = |name: &str| {
            header.iter().position(|column| column.eq_ignore_ascii_case(name)).ok_or_else(|| {
                let columns = header.iter().collect::<Vec<_>>().join(", ");
                malformed(&path, "the header", format!("the column `{name}` is missing, found {columns}"))
            })
        };
        let columns = [column("Question ID")?, column("Type")?, column("Statement")?];
        let rows = reader.records().collect::<Result<Vec<StringRecord>, _>>().map_err(not_csv)?;
        if rows.is_empty() {
            return Err(TaskError::Empty { path, what: "question" });
        }
        // A quote that is never closed takes the following rows into its field.
        if let Some(row) = rows.iter().position(|row| row.iter().any(|field| field.contains('\n'))) {
            let reason = "a field has several lines: close its quote";
            return Err(malformed(&path, format!("row {}", row + 1), reason));
        }
        let (pairs, []) = rows.as_chunks::<2>() else {
            let reason = format!("found {} rows, expected an even number: every two are a pair", rows.len());
            return Err(malformed(&path, "the end", reason));
        };
        let mut data = Self {
            images: Images::listed(Vec::new()),
            statements: Texts::default(),
            pairs: Vec::with_capacity(pairs.len()),
            categories: Vec::new(),
            category_of_pair: Vec::with_capacity(pairs.len()),
        };
        for (number, pair) in pairs.iter().enumerate() {
            data.add(pair, columns).map_err(|reason| {
                malformed(&path, format!("rows {} and {}", 2 * number + 1, 2 * number + 2), reason)
            })?;
        }
        let root = ImageRoot::new(&folder.join("MLLM_VLM Images"), options);
        let names = data.pairs.iter().flat_map(|pair| &pair.images).map(String::as_str);
        data.images = Images::named(&root.map_err(TaskError::Images)?, names);
        Ok(data)
    }

    fn add(&mut self, pair: &[StringRecord; 2], columns: [usize; 3]) -> Result<(), String> {
        let [first, second] =
            [&pair[0], &pair[1]].map(|row| columns.map(|column| row.get(column).unwrap_or("")));
        if first[1] != second[1] {
            return Err(format!("the types are `{}` and `{}`, expected the same type", first[1], second[1]));
        }
        let id = |row: [&str; 3]| {
            let id = row[0].parse::<u64>();
            id.map_err(|_| format!("the question id is `{}`, expected an integer", row[0]))
        };
        let ids = [id(first)?, id(second)?];
        let category = self.categories.iter().position(|known| known == first[1]).unwrap_or_else(|| {
            self.categories.push(first[1].to_owned());
            self.categories.len() - 1
        });
        self.category_of_pair.push(category);
        self.pairs.push(Pair {
            name: format!("{} and {}", ids[0], ids[1]),
            images: ids.map(|id| format!("{}/{id}.jpg", first[1])),
            texts: [first, second].map(|row| self.statements.add(&format!("{PREFIX}{}", row[2]))),
        });
        Ok(())
    }

    /// Returns the number of pairs.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Returns `false`: [`open`](Self::open) rejects an empty file.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Returns the categories in the order of the file.
    pub fn categories(&self) -> &[String] {
        &self.categories
    }
}

/// The result of MMVP-VLM, in percent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MmvpResult {
    /// Mean accuracy over the categories: the published score.
    pub score: f64,
    /// Accuracy over all pairs.
    pub overall: f64,
    /// Accuracy of each category.
    pub categories: Vec<NamedAccuracy>,
    /// Number of scored pairs.
    pub n_pairs: usize,
    /// Pairs that were skipped because an image or a statement is unusable.
    pub skipped: Skips,
}

/// Scores a model on MMVP-VLM: a pair is correct if both statements pick their own image
/// ([`sail_eval::statements_pick_images`]).
///
/// Ties count as wrong. The published script resolves them to the second image, which is correct for one statement of a pair
/// and wrong for the other.
///
/// # Errors
/// [`TaskError`] if the head does not match the towers, nothing can be embedded, or all pairs are skipped.
pub fn mmvp<H: AlignmentHead>(
    model: &TaskModel<'_, H>,
    data: &MmvpData,
    cache: &mut FeatureCache<'_>,
) -> Result<MmvpResult, TaskError> {
    let found = score_pairs(model, "mmvp", &data.images, &data.statements, &data.pairs, cache)?;
    let correct: Vec<bool> = found.scores.iter().map(|(_, scores)| statements_pick_images(*scores)).collect();
    let groups: Vec<usize> = found.scores.iter().map(|(index, _)| data.category_of_pair[*index]).collect();
    let accuracy = group_accuracy(&correct, &groups, data.categories.len())?;
    Ok(MmvpResult {
        score: accuracy.mean,
        overall: accuracy.overall,
        categories: named(&data.categories, &accuracy),
        n_pairs: correct.len(),
        skipped: found.skipped,
    })
}
