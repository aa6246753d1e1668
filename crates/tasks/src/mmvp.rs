//! MMVP-VLM.

use std::path::Path;

use csv::StringRecord;
use sail_core::AlignmentHead;
use sail_data::source::{ImageRoot, SourceOptions};
use sail_eval::{group_accuracy, statements_pick_images};
use serde::{Deserialize, Serialize};

use crate::files::{malformed, read_text};
use crate::inputs::{Images, Texts};
use crate::pairs::{Pair, score_pairs};
use crate::{FeatureCache, Skips, TaskError, TaskModel};

/// What the published script puts before every statement.
const PREFIX: &str = "a photo of ";

/// MMVP-VLM (Tong et al., 2024, arXiv 2401.06209) as it is published on the hub, `MMVP/MMVP_VLM`.
///
/// A folder with `Questions.csv`, whose columns are `Question ID`, `Type` (the category) and `Statement` and of whose rows
/// two that follow each other are a pair, and the images `MLLM_VLM Images/TYPE/ID.jpg`. Statements are embedded as
/// "a photo of STATEMENT".
pub struct MmvpData {
    images: Images,
    statements: Texts,
    pairs: Vec<Pair>,
    categories: Vec<String>,
    category_of_pair: Vec<usize>,
}

impl MmvpData {
    /// Reads the folder.
    ///
    /// # Errors
    /// [`TaskError::Io`] and [`TaskError::TooLarge`] for the files; [`TaskError::Malformed`] for a column that is absent, a
    /// question whose id is no number, and rows that do not pair; [`TaskError::Empty`] without a row.
    pub fn open(folder: &Path) -> Result<Self, TaskError> {
        let path = folder.join("Questions.csv");
        let text = read_text(&path, "MMVP-VLM's Questions.csv")?;
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
        let not_csv = |error: csv::Error| malformed(&path, "CSV", error);
        let header = reader.headers().map_err(not_csv)?.clone();
        let column = |name: &str| {
            header.iter().position(|column| column.eq_ignore_ascii_case(name)).ok_or_else(|| {
                let columns = header.iter().collect::<Vec<_>>().join(", ");
                malformed(&path, "the header", format!("it has no column `{name}`, only {columns}"))
            })
        };
        let columns = [column("Question ID")?, column("Type")?, column("Statement")?];
        let rows = reader.records().collect::<Result<Vec<StringRecord>, _>>().map_err(not_csv)?;
        if rows.is_empty() {
            return Err(TaskError::Empty { path, what: "question" });
        }
        let (pairs, []) = rows.as_chunks::<2>() else {
            let reason = format!("it has {} rows, expected an even number: two make a pair", rows.len());
            return Err(malformed(&path, "its end", reason));
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
        let root = ImageRoot::new(&folder.join("MLLM_VLM Images"), &SourceOptions::default());
        let names = data.pairs.iter().flat_map(|pair| &pair.images).map(String::as_str);
        data.images = Images::named(&root.map_err(TaskError::Images)?, names);
        Ok(data)
    }

    fn add(&mut self, pair: &[StringRecord; 2], columns: [usize; 3]) -> Result<(), String> {
        let [first, second] =
            [&pair[0], &pair[1]].map(|row| columns.map(|column| row.get(column).unwrap_or("")));
        if first[1] != second[1] {
            return Err(format!(
                "they are of the types `{}` and `{}`, expected one type",
                first[1], second[1]
            ));
        }
        let id = |row: [&str; 3]| {
            let number = row[0].parse::<u64>();
            number.map_err(|_| format!("the question id is `{}`, expected a number", row[0]))
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

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there is none, which [`open`](Self::open) refuses.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The categories in the order of the file.
    pub fn categories(&self) -> &[String] {
        &self.categories
    }
}

/// The accuracy of a category or a subset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamedAccuracy {
    /// Its name in the data.
    pub name: String,
    /// In percent; `None` (`null`) where everything was left out.
    pub accuracy: Option<f64>,
    /// How many items were scored.
    pub n: usize,
}

/// Puts the names of the groups to their accuracies.
pub(crate) fn named(names: &[String], accuracy: &sail_eval::GroupAccuracy) -> Vec<NamedAccuracy> {
    let groups = accuracy.per_group.iter().zip(&accuracy.counts);
    let named = |(name, (&accuracy, &n)): (&String, _)| NamedAccuracy { name: name.clone(), accuracy, n };
    names.iter().zip(groups).map(named).collect()
}

/// What MMVP-VLM came to, in percent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MmvpResult {
    /// The mean over the categories: the score that is published.
    pub score: f64,
    /// The accuracy over all pairs.
    pub overall: f64,
    /// The accuracy of each category.
    pub categories: Vec<NamedAccuracy>,
    /// How many pairs were scored.
    pub n_pairs: usize,
    /// Pairs left out whole, because an image or a statement of theirs cannot be used.
    pub skipped: Skips,
}

/// Scores a model on MMVP-VLM: a pair is right if both statements pick their own image
/// ([`sail_eval::statements_pick_images`]).
///
/// Ties count against; the published script gives them to the second image, which is right for one statement of a pair
/// and wrong for the other.
///
/// # Errors
/// [`TaskError`] where the head does not go with the towers, nothing can be embedded, or no pair is left.
pub fn mmvp<H: AlignmentHead>(
    model: &TaskModel<'_, H>,
    data: &MmvpData,
    cache: &mut FeatureCache<'_>,
) -> Result<MmvpResult, TaskError> {
    let found = score_pairs(model, "mmvp", &data.images, &data.statements, &data.pairs, cache)?;
    let right: Vec<bool> = found.scores.iter().map(|(_, scores)| statements_pick_images(*scores)).collect();
    let groups: Vec<usize> = found.scores.iter().map(|(place, _)| data.category_of_pair[*place]).collect();
    let accuracy = group_accuracy(&right, &groups, data.categories.len())?;
    Ok(MmvpResult {
        score: accuracy.mean,
        overall: accuracy.overall,
        categories: named(&data.categories, &accuracy),
        n_pairs: right.len(),
        skipped: found.skipped,
    })
}
