//! Pairs of two images and two texts: Winoground and MMVP-VLM.

use sail_core::AlignmentHead;
use sail_eval::cosines;

use crate::cache::FeatureCache;
use crate::error::TaskError;
use crate::inputs::{Images, Texts};
use crate::model::TaskModel;
use crate::skips::Skips;

/// Two images, by name, and their texts, by index.
pub(crate) struct Pair {
    pub(crate) name: String,
    pub(crate) images: [String; 2],
    pub(crate) texts: [usize; 2],
}

/// The index and the four similarities, `scores[text][image]`, of each pair that can be scored; and the skipped pairs.
pub(crate) struct PairScores {
    pub(crate) scores: Vec<(usize, [[f64; 2]; 2])>,
    pub(crate) skipped: Skips,
}

pub(crate) fn score_pairs<H: AlignmentHead>(
    model: &TaskModel<'_, H>,
    task: &str,
    images: &Images,
    texts: &Texts,
    pairs: &[Pair],
    cache: &mut FeatureCache<'_>,
) -> Result<PairScores, TaskError> {
    let images = model.images(task, images, cache)?;
    let captions = model.texts(task, texts, cache)?;
    let rows = |pair: &Pair| -> Result<[[usize; 2]; 4], String> {
        let [i0, i1] = [images.features.row(&pair.images[0])?, images.features.row(&pair.images[1])?];
        let row = |text| captions.features.row(&Texts::key(text));
        let [t0, t1] = [row(pair.texts[0])?, row(pair.texts[1])?];
        Ok([[i0, t0], [i1, t0], [i0, t1], [i1, t1]])
    };
    let (mut indices, mut wanted, mut skipped) = (Vec::new(), Vec::new(), Skips::default());
    for (index, pair) in pairs.iter().enumerate() {
        match rows(pair) {
            Ok(four) => {
                indices.push(index);
                wanted.extend(four);
            }
            Err(reason) => skipped.add(&pair.name, reason),
        }
    }
    if indices.is_empty() {
        return Err(skipped.nothing_left("pairs"));
    }
    let cosines = cosines(images.embeddings, captions.embeddings, &wanted)?;
    let scores = cosines.chunks_exact(4).map(|s| [[s[0], s[1]], [s[2], s[3]]]);
    Ok(PairScores { scores: indices.into_iter().zip(scores).collect(), skipped })
}
