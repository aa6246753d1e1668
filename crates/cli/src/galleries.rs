//! Images that were wrong and right, with what they found: the same for a report and for `--json`.

use sail_vl::report::{Gallery, GalleryItem, Image, Report, Section};
use sail_vl::tasks::Candidate;
use serde::Serialize;

use crate::error::CliError;

/// How many candidates an image is shown with.
pub(crate) const CANDIDATES: usize = 5;
/// Images in each gallery.
const IMAGES: usize = 12;
/// The longer side of an image.
pub(crate) const SIDE: u32 = 240;

/// Some of the images that were wrong and right, spread over all of them.
#[derive(Serialize)]
pub(crate) struct Galleries<A> {
    n_wrong: usize,
    wrong: Vec<A>,
    n_right: usize,
    right: Vec<A>,
}

impl<A> Galleries<A> {
    /// Chooses among so many images.
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
            [("wrong", self.n_wrong, &self.wrong), ("right", self.n_right, &self.right)]
        {
            let gallery = chosen.iter().map(&item).collect::<Result<Gallery, _>>()?;
            let text = format!("{} of {count}, spread over all of them, with what they find.", chosen.len());
            let heading = format!("{what} that were {verdict}");
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

/// At most so many of many, at equal distances.
pub(crate) fn spread<T: Copy>(all: &[T], most: usize) -> impl Iterator<Item = T> {
    let count = all.len().min(most);
    (0..count).map(move |place| all[place * all.len() / count])
}
