//! How well images and captions match.

use sail_core::{AlignmentHead, Progress};
use sail_data::Pairs;
use sail_eval::{cosines, project_images, project_texts};
use sail_support::ranges;

use super::CurationError;

/// Pairs that go through the head at once.
const BATCH: usize = 1024;

/// The similarity of images and captions under a head.
#[derive(Debug, Clone, PartialEq)]
pub struct PairScores {
    /// For each pair, the mean cosine of the image with its captions.
    pub matched: Vec<f32>,
    /// Cosines of images with the first caption of the next image, a reference for what no match looks like.
    pub mismatched: Vec<f32>,
}

/// Computes the similarity of the image and the captions of every pair under a head: the score that data sets are filtered
/// by, with CLIP in the place of the head, in [LAION-400M](https://arxiv.org/abs/2111.02114) and
/// [DataComp](https://arxiv.org/abs/2304.14108). The captions are those of the first caption set.
///
/// `progress` counts pairs.
///
/// # Errors
/// [`CurationError::Eval`] if features cannot be read or have no direction, or the head does not accept them.
///
/// # Examples
/// ```
/// use sail_core::AlignmentHead;
/// use sail_data::Pairs;
/// use sail_search::curation::{CurationError, Selection, pair_scores};
///
/// /// The pairs whose captions match better than those of half of all pairs.
/// fn better_half(head: &impl AlignmentHead, pairs: &Pairs) -> Result<Vec<usize>, CurationError> {
///     let scores = pair_scores(head, pairs, |_| {})?;
///     Ok(Selection::Quantile(0.5).select(&scores.matched)?)
/// }
/// ```
pub fn pair_scores<H: AlignmentHead>(
    head: &H,
    pairs: &Pairs,
    mut progress: impl FnMut(Progress),
) -> Result<PairScores, CurationError> {
    let _span = tracing::info_span!("pair_scores", pairs = pairs.len()).entered();
    let mut scores = PairScores { matched: Vec::with_capacity(pairs.len()), mismatched: Vec::new() };
    for batch in ranges(pairs.len(), BATCH) {
        let image_rows: Vec<usize> = batch.clone().map(|pair| pairs.image_row(pair)).collect();
        let captions = || batch.clone().map(|pair| pairs.caption_rows(0, pair));
        let text_rows: Vec<usize> = captions().flatten().map(|&row| row as usize).collect();
        let images = project_images(head, &**pairs.images(), &image_rows, BATCH)?;
        let texts = project_texts(head, &**pairs.captions(0), &text_rows, BATCH)?;
        // The image of every caption, and the first caption of every image.
        let (mut matches, mut first) = (Vec::new(), Vec::new());
        for (image, captions) in captions().enumerate() {
            first.push(matches.len());
            matches.extend(captions.iter().enumerate().map(|(offset, _)| [image, first[image] + offset]));
        }
        let of_captions = cosines(images.clone(), texts.clone(), &matches)?;
        for (captions, start) in captions().zip(&first) {
            let sum: f64 = of_captions[*start..][..captions.len()].iter().sum();
            scores.matched.push((sum / captions.len() as f64) as f32);
        }
        if first.len() > 1 {
            let next = |image: usize| [image, first[(image + 1) % first.len()]];
            let others: Vec<[usize; 2]> = (0..first.len()).map(next).collect();
            scores
                .mismatched
                .extend(cosines(images, texts, &others)?.into_iter().map(|cosine| cosine as f32));
        }
        progress(Progress { done: batch.end as u64, total: pairs.len() as u64, unit: "pairs" });
    }
    Ok(scores)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use burn::tensor::Device;
    use sail_data::MatrixFeatures;
    use sail_layers::{Head, HeadConfig, ProjectorConfig};

    use super::*;

    #[test]
    fn scores_are_the_mean_cosine_of_the_captions() {
        let n = 1500;
        let value =
            |seed: usize, column: usize| ((seed * 31 + column * 17 + seed * column * 7) % 97) as f32 - 40.5;
        let image = |key: usize| [0, 1, 2].map(|column| value(key, column));
        // One to three captions, and the captions in another order than the images.
        let text_keys: Vec<usize> = (0..n).rev().flat_map(|key| vec![key; 1 + key % 3]).collect();
        let text = |row: usize| [3, 4, 5].map(|column| value(row + 9, column));
        let images = MatrixFeatures::new(3, (0..n).flat_map(image).collect()).unwrap();
        let images = images.with_keys((0..n).map(|key| key.to_string())).unwrap();
        let texts = MatrixFeatures::new(3, (0..text_keys.len()).flat_map(text).collect()).unwrap();
        let texts = texts.with_keys(text_keys.iter().map(|key| key.to_string())).unwrap();
        let pairs = Pairs::new(Arc::new(images), vec![Arc::new(texts)]).unwrap();
        let config = HeadConfig::new(3, 3, 3, ProjectorConfig::Identity {});
        let head = Head::new(&config, 0, &Device::flex()).unwrap();

        let scores = pair_scores(&head, &pairs, |_| {}).unwrap();
        let cosine = |a: [f32; 3], b: [f32; 3]| {
            let dot = |a: [f32; 3], b: [f32; 3]| a.iter().zip(b).map(|(x, y)| f64::from(x * y)).sum::<f64>();
            dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
        };
        let text_keys = &text_keys;
        let rows_of = |key: usize| (0..text_keys.len()).filter(move |&row| text_keys[row] == key);
        for key in [0, 1, 2, 1023, 1024, 1499] {
            let cosines: Vec<f64> = rows_of(key).map(|row| cosine(image(key), text(row))).collect();
            let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
            assert!((f64::from(scores.matched[key]) - mean).abs() < 1e-5, "{key}");
        }
        let other = rows_of(8).next().map(|row| cosine(image(7), text(row))).unwrap();
        assert!((f64::from(scores.mismatched[7]) - other).abs() < 1e-5);
        assert_eq!((scores.matched.len(), scores.mismatched.len()), (n, n));
    }
}
