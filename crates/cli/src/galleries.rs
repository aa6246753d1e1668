//! Samples of correct and incorrect images with their candidates, for a report and for `--json`.

use sail_vl::report::{Gallery, GalleryItem, Image, Report, Section};
use sail_vl::tasks::Candidate;
use serde::Serialize;

use crate::error::CliError;

/// Candidates that are shown with an image.
pub(crate) const CANDIDATES: usize = 5;
/// Images in each gallery.
const IMAGES: usize = 12;
/// Longer side of an image.
pub(crate) const SIDE: u32 = 240;

/// Samples of the correct and incorrect images, evenly spread over all of them.
#[derive(Serialize)]
pub(crate) struct Galleries<A> {
    n_wrong: usize,
    wrong: Vec<A>,
    n_right: usize,
    right: Vec<A>,
}

impl<A> Galleries<A> {
    /// Samples from `count` images.
    pub(crate) fn new(count: usize, is_right: impl Fn(usize) -> bool, answer: impl Fn(usize) -> A) -> Self {
        let (right, wrong): (Vec<usize>, Vec<usize>) = (0..count).partition(|&image| is_right(image));
        let chosen = |all: &[usize]| spread(all, IMAGES).map(&answer).collect();
        Self { n_wrong: wrong.len(), wrong: chosen(&wrong), n_right: right.len(), right: chosen(&right) }
    }

    /// Adds both galleries to a report.
    pub(crate) fn show(
        &self,
        mut report: Report,
        what: &str,
        item: impl Fn(&A) -> Result<GalleryItem, CliError>,
    ) -> Result<Report, CliError> {
        for (verdict, count, chosen) in
            [("incorrect", self.n_wrong, &self.wrong), ("correct", self.n_right, &self.right)]
        {
            let gallery = chosen.iter().map(&item).collect::<Result<Gallery, _>>()?;
            let text = format!("{} of {count}, evenly spread, with their best candidates.", chosen.len());
            let heading = format!("{what}: {verdict}");
            report = report.section(Section::new(heading).text(text).gallery(gallery));
        }
        Ok(report)
    }
}

/// An image with its candidates.
pub(crate) fn item(image: Image, title: &str, candidates: &[Candidate]) -> GalleryItem {
    candidates
        .iter()
        .fold(GalleryItem::new(image).title(title), |item, Candidate { label, score, correct }| {
            item.candidate(label, f64::from(*score), *correct)
        })
}

/// Returns at most `most` items, evenly spread.
pub(crate) fn spread<T: Copy>(all: &[T], most: usize) -> impl Iterator<Item = T> {
    let count = all.len().min(most);
    (0..count).map(move |index| all[index * all.len() / count])
}
