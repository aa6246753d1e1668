//! Near-duplicates of pairs.

use std::borrow::Cow;

use sail_core::{
    Check, ConfigError, FeatureError, FeatureSource, Named, Progress, Provenance, gather_checked,
};
use sail_data::Pairs;
use sail_support::dot;
use serde::{Deserialize, Serialize};

use super::near_duplicates::ROUNDING;
use super::nearest::Near;
use super::visit::visit;
use super::{CurationError, Duplicate, DuplicateConfig, NearDuplicates};

/// Which pairs are near-duplicates of each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PairMatch {
    /// Those whose images are near-duplicates, and whose captions are too. A photo with another caption says something new.
    #[default]
    Both,
    /// Those whose images are near-duplicates, or whose captions are.
    Either,
}

impl Named for PairMatch {
    const ALL: &'static [Self] = &[Self::Both, Self::Either];

    fn name(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Either => "either",
        }
    }
}

sail_core::display_and_parse_by_name!(PairMatch, "match");

/// What counts as a near-duplicate of a pair.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairDuplicateConfig {
    /// When images are near-duplicates.
    pub images: DuplicateConfig,
    /// When captions are.
    pub texts: DuplicateConfig,
    /// Which of them must be, or both.
    pub matching: PairMatch,
}

impl Check for PairDuplicateConfig {
    fn check(&self) -> Result<(), ConfigError> {
        self.images.check()?;
        self.texts.check()
    }
}

/// Finds the near-duplicates of image-caption pairs, as [`near_duplicates`](super::near_duplicates) finds those of rows: a pair is
/// one if its image, its captions, or both are close to those of a pair that was kept before. The rows of the result are the
/// indices of pairs.
///
/// Captions are those of the first caption set; several captions of an image are compared by the mean of their unit vectors. Of
/// several kept pairs, a pair is the near-duplicate of the one that is furthest above the thresholds: by the lower of the two
/// margins with [`PairMatch::Both`], by the higher one with [`PairMatch::Either`]. `progress` counts pairs.
///
/// # Errors
/// [`CurationError::Config`] for an invalid threshold, [`CurationError::Features`] for rows that cannot be read or have no
/// direction.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use sail_data::{MatrixFeatures, Pairs};
/// use sail_search::curation::{PairDuplicateConfig, PairMatch, near_duplicate_pairs};
/// // Pairs 0 and 1 have the same image, 0 and 2 the same caption.
/// let images = MatrixFeatures::new(2, vec![1.0, 0.0, 1.0, 0.0, 0.0, 1.0])?;
/// let texts = MatrixFeatures::new(2, vec![0.0, 1.0, 1.0, 0.0, 0.0, 1.0])?;
/// let pairs = Pairs::new(Arc::new(images), vec![Arc::new(texts)])?;
/// let mut config = PairDuplicateConfig::default();
/// assert_eq!(near_duplicate_pairs(&pairs, &config, |_| {})?.kept(), 3);
/// config.matching = PairMatch::Either;
/// assert_eq!(near_duplicate_pairs(&pairs, &config, |_| {})?.kept(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn near_duplicate_pairs(
    pairs: &Pairs,
    config: &PairDuplicateConfig,
    progress: impl FnMut(Progress) + Send,
) -> Result<NearDuplicates, CurationError> {
    config.check()?;
    let floors = [&config.images, &config.texts].map(|config| config.threshold - ROUNDING);
    let near = Near { floors, any: config.matching == PairMatch::Either };
    let _span = tracing::info_span!("near_duplicate_pairs", pairs = pairs.len()).entered();
    let found = visit([&PairImages(pairs), &PairCaptions(pairs)], &near, None, progress)?;
    let duplicate = |(row, kept, [similarity, text]): (usize, usize, [f64; 2])| Duplicate {
        row,
        kept,
        similarity,
        text_similarity: Some(text),
    };
    Ok(NearDuplicates::new(pairs.len(), found.into_iter().map(duplicate)))
}

/// The images of pairs, in the order of the pairs.
struct PairImages<'a>(&'a Pairs);

impl FeatureSource for PairImages<'_> {
    fn rows(&self) -> usize {
        self.0.len()
    }

    fn dim(&self) -> usize {
        self.0.images().dim()
    }

    fn key(&self, row: usize) -> Cow<'_, str> {
        self.0.images().key(self.0.image_row(row))
    }

    fn provenance(&self) -> Option<&Provenance> {
        self.0.images().provenance()
    }

    fn gather(&self, rows: &[usize], out: &mut [f32]) -> Result<(), FeatureError> {
        let rows: Vec<usize> = rows.iter().map(|&pair| self.0.image_row(pair)).collect();
        self.0.images().gather(&rows, out)
    }
}

/// The captions of pairs: for each pair the mean of the unit vectors of its captions.
struct PairCaptions<'a>(&'a Pairs);

impl FeatureSource for PairCaptions<'_> {
    fn rows(&self) -> usize {
        self.0.len()
    }

    fn dim(&self) -> usize {
        self.0.captions(0).dim()
    }

    fn key(&self, row: usize) -> Cow<'_, str> {
        self.0.images().key(self.0.image_row(row))
    }

    fn provenance(&self) -> Option<&Provenance> {
        self.0.captions(0).provenance()
    }

    fn gather(&self, rows: &[usize], out: &mut [f32]) -> Result<(), FeatureError> {
        let (source, dim) = (&**self.0.captions(0), self.dim());
        let captions = || rows.iter().map(|&pair| self.0.caption_rows(0, pair));
        let text_rows: Vec<usize> = captions().flatten().map(|&row| row as usize).collect();
        let mut values = vec![0.0; text_rows.len() * dim];
        gather_checked(source, &text_rows, &mut values)?;
        let mut values = values.chunks_exact(dim);
        let mut sum = vec![0.0f64; dim];
        for (captions, out) in captions().zip(out.chunks_exact_mut(dim)) {
            sum.fill(0.0);
            for values in values.by_ref().take(captions.len()) {
                let scale = 1.0 / (dot(values, values).sqrt() * captions.len() as f64);
                sum.iter_mut().zip(values).for_each(|(sum, &value)| *sum += f64::from(value) * scale);
            }
            out.iter_mut().zip(&sum).for_each(|(out, &sum)| *out = sum as f32);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sail_data::MatrixFeatures;

    use super::*;

    const DIM: usize = 6;

    fn value(seed: usize) -> f32 {
        ((seed as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / (1u32 << 23) as f32 - 1.0
    }

    /// A row near one of a few centers.
    fn near(center: usize, seed: usize) -> [f32; DIM] {
        std::array::from_fn(|column| value(center * 31 + column) + 0.1 * value(seed * 97 + column))
    }

    fn unit(row: &[f32]) -> Vec<f64> {
        let norm = row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        row.iter().map(|&x| f64::from(x) / norm).collect()
    }

    #[test]
    fn pairs_are_those_of_the_definition() {
        // More than one group of rows.
        let n = 1300;
        let image = |pair: usize| near(pair % 40, pair);
        // One to three captions of each image.
        let captions =
            |pair: usize| (0..1 + pair % 3).map(move |at| near(100 + pair % 56, 3 * pair + at + 7));
        let images = MatrixFeatures::new(DIM, (0..n).flat_map(image).collect()).unwrap();
        let images = images.with_keys((0..n).map(|pair| pair.to_string())).unwrap();
        let texts = MatrixFeatures::new(DIM, (0..n).flat_map(captions).flatten().collect()).unwrap();
        let keys = (0..n).flat_map(|pair| captions(pair).map(move |_| pair.to_string()));
        let pairs = Pairs::new(Arc::new(images), vec![Arc::new(texts.with_keys(keys).unwrap())]).unwrap();

        let of_images: Vec<Vec<f64>> = (0..n).map(|pair| unit(&image(pair))).collect();
        let of_texts: Vec<Vec<f64>> = (0..n)
            .map(|pair| {
                let mut sum = vec![0.0; DIM];
                for caption in captions(pair) {
                    unit(&caption).iter().zip(&mut sum).for_each(|(x, sum)| *sum += x);
                }
                let norm = sum.iter().map(|x| x * x).sum::<f64>().sqrt();
                sum.into_iter().map(|x| x / norm).collect()
            })
            .collect();
        let cosine = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        for (matching, images, texts) in
            [(PairMatch::Both, 0.97, 0.95), (PairMatch::Either, 0.995, 0.99), (PairMatch::Both, 0.5, 0.985)]
        {
            let (mut kept, mut expected) = (Vec::<usize>::new(), Vec::new());
            for pair in 0..n {
                let best = kept
                    .iter()
                    .map(|&other| {
                        let image = cosine(&of_images[pair], &of_images[other]) - images;
                        let text = cosine(&of_texts[pair], &of_texts[other]) - texts;
                        let margin =
                            if matching == PairMatch::Both { image.min(text) } else { image.max(text) };
                        (other, margin + 1e-6)
                    })
                    .reduce(|best, next| if next.1 > best.1 { next } else { best });
                match best.filter(|(_, margin)| *margin >= 0.0) {
                    Some((other, _)) => expected.push((pair, other)),
                    None => kept.push(pair),
                }
            }
            assert!(kept.len() > 30 && expected.len() > 100, "{} {}", kept.len(), expected.len());
            let config = PairDuplicateConfig {
                images: DuplicateConfig { threshold: images },
                texts: DuplicateConfig { threshold: texts },
                matching,
            };
            let found = near_duplicate_pairs(&pairs, &config, |_| {}).unwrap();
            let rows: Vec<(usize, usize)> =
                found.duplicates().iter().map(|found| (found.row, found.kept)).collect();
            let different = rows.iter().zip(&expected).find(|(found, expected)| found != expected);
            assert_eq!((different, rows.len()), (None, expected.len()), "{matching}");
            for found in found.duplicates().iter().step_by(50) {
                let text = cosine(&of_texts[found.row], &of_texts[found.kept]);
                assert!((found.text_similarity.unwrap() - text).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn captions_that_cancel_are_an_error() {
        let images = MatrixFeatures::new(1, vec![1.0]).unwrap().with_keys(["a"]).unwrap();
        let texts = MatrixFeatures::new(1, vec![1.0, -2.0]).unwrap().with_keys(["a", "a"]).unwrap();
        let pairs = Pairs::new(Arc::new(images), vec![Arc::new(texts)]).unwrap();
        let error = near_duplicate_pairs(&pairs, &PairDuplicateConfig::default(), |_| {}).unwrap_err();
        assert!(error.to_string().contains("key `a`"), "{error}");
    }
}
