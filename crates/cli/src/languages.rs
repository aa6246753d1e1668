//! Retrieval by language: captions in several languages, each a set of its own.

use std::collections::HashMap;
use std::io::{self, Write};
use std::str::FromStr;

use sail_vl::burn::tensor::{Int, Tensor, TensorData};
use sail_vl::core::{FeatureSource, Modality, Side};
use sail_vl::data::{Pairing, Pairs, Unmatched};
use sail_vl::eval::{BlockSize, Retrieval, chance_recall, project_texts, retrieval};
use sail_vl::layers::Head;
use sail_vl::report::{Section, Table};
use serde::Serialize;

use crate::error::CliError;
use crate::inputs::{MICRO_BATCH, VerifyArgs};

/// A language and its captions, `NAME=FEATURES`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Language {
    name: String,
    texts: String,
}

impl FromStr for Language {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, texts)) if !name.is_empty() && !texts.is_empty() => {
                Ok(Self { name: name.to_owned(), texts: texts.to_owned() })
            }
            _ => Err("expected NAME=FEATURES, such as de=features/german".to_owned()),
        }
    }
}

/// The images that are evaluated: their rows and embeddings.
pub(crate) struct Images<'a> {
    pub(crate) pairs: &'a Pairs,
    pub(crate) rows: &'a [usize],
    pub(crate) embeddings: &'a Tensor<2>,
}

/// The scores of a language.
#[derive(Serialize)]
pub(crate) struct Scores {
    language: String,
    #[serde(flatten)]
    result: Retrieval,
    /// Evaluated images without a caption in this language; they are no queries and no candidates.
    missing_images: usize,
    chance: Chance,
    pairing: Pairing,
}

/// The recalls of a random ranking.
#[derive(Serialize)]
struct Chance {
    i2t: Recalls,
    t2i: Recalls,
}

#[derive(Serialize)]
struct Recalls {
    #[serde(rename = "r@1")]
    r1: f64,
    #[serde(rename = "r@5")]
    r5: f64,
    #[serde(rename = "r@10")]
    r10: f64,
}

impl Scores {
    /// The scores of a retrieval among `all` evaluated images.
    pub(crate) fn new(
        language: &str,
        result: Retrieval,
        text_to_image: &[usize],
        all: usize,
        pairing: &Pairing,
    ) -> Self {
        let [r1, r5, r10] = [1, 5, 10].map(|k| chance_recall(text_to_image, result.n_images, k));
        let recalls = |side: usize| Recalls { r1: r1[side], r5: r5[side], r10: r10[side] };
        let chance = Chance { i2t: recalls(0), t2i: recalls(1) };
        let missing_images = all - result.n_images;
        Self { language: language.to_owned(), result, missing_images, chance, pairing: pairing.clone() }
    }
}

/// Evaluates the captions of every language on the images that have one.
pub(crate) fn evaluate(
    languages: &[Language],
    verify: &VerifyArgs,
    head: &Head,
    images: &Images<'_>,
) -> Result<Vec<Scores>, CliError> {
    let position: HashMap<usize, usize> =
        images.rows.iter().enumerate().map(|(index, &row)| (row, index)).collect();
    let of_language = |language: &Language| {
        let texts = verify.open(&language.texts, Modality::Text)?;
        head.accepts(Side::Text, texts.dim(), texts.provenance())?;
        // Translations may be missing, and those of images that are not evaluated are left out.
        let pairs = Pairs::join(images.pairs.images().clone(), vec![texts], Unmatched::Drop)?;
        let (mut found, mut rows, mut text_to_image) = (Vec::new(), Vec::new(), Vec::new());
        for pair in 0..pairs.len() {
            if let Some(&index) = position.get(&pairs.image_row(pair)) {
                for &row in pairs.caption_rows(0, pair) {
                    rows.push(row as usize);
                    text_to_image.push(found.len());
                }
                found.push(index as i64);
            }
        }
        if found.is_empty() {
            let Language { name, texts } = language;
            return Err(CliError::Usage(format!(
                "`--language {name}={texts}`: none of the {} evaluated images has a caption there: its keys must be those of \
                 the images",
                images.rows.len()
            )));
        }
        let count = found.len();
        let indices = TensorData::new(found, [count]);
        let indices = Tensor::<1, Int>::from_data(indices, &images.embeddings.device());
        let embeddings = images.embeddings.clone().select(0, indices);
        let texts = project_texts(head, &**pairs.captions(0), &rows, MICRO_BATCH)?;
        let result = retrieval(embeddings, texts, &text_to_image, &BlockSize::default())?;
        Ok(Scores::new(&language.name, result, &text_to_image, images.rows.len(), pairs.pairing()))
    };
    languages.iter().map(of_language).collect()
}

const HEADINGS: [&str; 10] = [
    "language",
    "images",
    "missing",
    "texts",
    "i2t R@1",
    "chance",
    "t2i R@1",
    "chance (t2i)",
    "i2t R@10",
    "t2i R@10",
];

fn cells(scores: &Scores) -> [String; 10] {
    let Scores { language, result, missing_images, chance, .. } = scores;
    let percent = |value: f64| format!("{value:.2}");
    [
        language.clone(),
        result.n_images.to_string(),
        missing_images.to_string(),
        result.n_texts.to_string(),
        percent(result.i2t.r1),
        percent(chance.i2t.r1),
        percent(result.t2i.r1),
        percent(chance.t2i.r1),
        percent(result.i2t.r10),
        percent(result.t2i.r10),
    ]
}

/// Writes a line for every language.
pub(crate) fn write(out: &mut impl Write, scores: &[Scores]) -> io::Result<()> {
    let rows = scores.iter().map(cells).chain([HEADINGS.map(str::to_owned)]);
    let width = rows.map(|cells| cells[0].chars().count()).max().unwrap_or(0);
    let mut line = |cells: &[String; 10]| {
        let [name, values @ ..] = cells;
        let values: String = values.iter().map(|value| format!("{value:>14}")).collect();
        writeln!(out, "{name:<width$}{values}")
    };
    line(&HEADINGS.map(str::to_owned))?;
    scores.iter().try_for_each(|scores| line(&cells(scores)))
}

/// The section of a report.
pub(crate) fn section(scores: &[Scores]) -> Section {
    let table = scores.iter().fold(Table::new(HEADINGS), |table, scores| table.row(cells(scores)));
    let caption = "Captions of each language with the images that have one; images without a caption in it are missing. \
                   Chance is the R@1 of a random ranking.";
    Section::new("Languages").table(table.caption(caption))
}
