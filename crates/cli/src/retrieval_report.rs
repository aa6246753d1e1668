//! The HTML report of a retrieval: the best texts of images, and similarities of images and texts.

use std::path::Path;

use sail_vl::burn::tensor::Tensor;
use sail_vl::eval::{BlockSize, Match, Retrieval, cosines, top_k};
use sail_vl::report::{Facts, Matrix, Report, Section, Table};
use sail_vl::tasks::Candidate;
use serde::Serialize;

use crate::error::CliError;
use crate::galleries::{self, CANDIDATES, Galleries, spread};
use crate::shown_images::ShownImages;

/// Images and texts in the matrix.
const MATRIX: usize = 10;

/// Embeddings with their keys.
pub(crate) struct Embedded<'a> {
    pub(crate) images: Tensor<2>,
    pub(crate) texts: Tensor<2>,
    /// The index of each text's image.
    pub(crate) text_to_image: &'a [usize],
    pub(crate) image_keys: Vec<String>,
    pub(crate) text_keys: Vec<String>,
}

/// Builds a table of the scores in both directions.
pub(crate) fn table(scores: &Retrieval) -> Table {
    let mut table = Table::new(["direction", "R@1", "R@5", "R@10", "mean rank", "median rank"]);
    for (direction, scores) in [("image to text", &scores.i2t), ("text to image", &scores.t2i)] {
        let recalls = [scores.r1, scores.r5, scores.r10].map(|recall| format!("{recall:.2}"));
        let ranks = [scores.mean_rank, scores.median_rank].map(|rank| format!("{rank:.1}"));
        table = table.row([direction.to_owned()].into_iter().chain(recalls).chain(ranks));
    }
    table
}

/// An image with its best texts.
#[derive(Serialize)]
struct Found {
    key: String,
    candidates: Vec<Candidate>,
}

impl Embedded<'_> {
    fn candidate(&self, image: usize, found: &Match) -> Candidate {
        Candidate {
            label: self.text_keys[found.index].clone(),
            score: found.score,
            correct: self.text_to_image[found.index] == image,
        }
    }
}

/// The values of a report that are not in the result.
#[derive(Serialize)]
pub(crate) struct Shown {
    galleries: Galleries<Found>,
    similarities: Similarities,
}

/// Cosine similarities of some images with the first text of each.
#[derive(Serialize)]
struct Similarities {
    images: Vec<String>,
    texts: Vec<String>,
    /// A row for each image.
    cosines: Vec<Vec<f64>>,
}

/// Builds a report, and returns the values in it that are not in the result. The keys of the images are file names in the
/// folder `images`, if it is given; an image that cannot be shown has the reason in its place, unless all have one.
pub(crate) fn report(
    facts: Facts,
    result: &Retrieval,
    embedded: &Embedded<'_>,
    images: Option<&Path>,
) -> Result<(Report, Shown), CliError> {
    let found = top_k(embedded.images.clone(), embedded.texts.clone(), CANDIDATES, &BlockSize::SEARCH)?;
    let mut report = Report::new("Retrieval")
        .subtitle(format!("{} images and {} texts.", result.n_images, result.n_texts))
        .key_figure(format!("{:.2} %", result.i2t.r1), "recall@1, image to text")
        .key_figure(format!("{:.2} %", result.t2i.r1), "recall@1, text to image")
        .section(Section::new("Results").table(table(result)));
    let is_right = |image: usize| embedded.text_to_image[found[image][0].index] == image;
    let shown = |image: usize| Found {
        key: embedded.image_keys[image].clone(),
        candidates: found[image].iter().map(|found| embedded.candidate(image, found)).collect(),
    };
    let galleries = Galleries::new(found.len(), is_right, shown);
    let images = ShownImages::open(None, images)?;
    report = galleries.show(report, "Images", |Found { key, candidates }| {
        let (image, problem) = images.show(key);
        let item = galleries::item(image, key, candidates);
        Ok(problem.iter().fold(item, |item, problem| item.note(problem)))
    })?;
    images.check()?;
    let similarities = similarities(embedded)?;
    let mut matrix = Matrix::new(&similarities.texts).corner("cosine");
    for (image, row) in similarities.images.iter().zip(&similarities.cosines) {
        matrix = matrix.row(image, row.iter().map(|cosine| (100.0 * cosine).round() / 100.0));
    }
    let caption = "Images in rows, the first text of each in columns; matching pairs are on the diagonal.";
    let section = Section::new("Similarities").matrix(matrix.caption(caption));
    report = report.section(section).section(Section::new("Settings").facts(facts));
    Ok((report, Shown { galleries, similarities }))
}

fn similarities(embedded: &Embedded<'_>) -> Result<Similarities, CliError> {
    let all: Vec<usize> = (0..embedded.image_keys.len()).collect();
    let images: Vec<usize> = spread(&all, MATRIX).collect();
    let first = |image: usize| embedded.text_to_image.iter().position(|&of| of == image);
    let texts: Vec<usize> = images.iter().filter_map(|&image| first(image)).collect();
    let pairs: Vec<[usize; 2]> =
        images.iter().flat_map(|&image| texts.iter().map(move |&text| [image, text])).collect();
    let scores = cosines(embedded.images.clone(), embedded.texts.clone(), &pairs)?;
    Ok(Similarities {
        images: images.iter().map(|&image| embedded.image_keys[image].clone()).collect(),
        texts: texts.iter().map(|&text| embedded.text_keys[text].clone()).collect(),
        cosines: scores.chunks(texts.len().max(1)).map(<[f64]>::to_vec).collect(),
    })
}
