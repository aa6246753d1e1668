//! Winoground: two images and two captions with the same words.

use serde::{Deserialize, Serialize};

use crate::{EvalError, rank};

/// Returns true if a score exceeds another, false for ties and NaN.
pub(crate) fn exceeds(own: f64, other: f64) -> bool {
    rank(own, [other]) == 1
}

/// Returns true if both texts score higher with the matching image; `scores[text][image]`.
pub(crate) fn texts_pick_images([[c0_i0, c0_i1], [c1_i0, c1_i1]]: [[f64; 2]; 2]) -> bool {
    exceeds(c0_i0, c0_i1) && exceeds(c1_i1, c1_i0)
}

/// Returns true if both images score higher with the matching text; `scores[text][image]`.
fn images_pick_texts([[c0_i0, c0_i1], [c1_i0, c1_i1]]: [[f64; 2]; 2]) -> bool {
    exceeds(c0_i0, c1_i0) && exceeds(c1_i1, c0_i1)
}

/// The three scores of Winoground, in percent of the examples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Winoground {
    /// Both images score higher with the matching caption: `s(c0, i0) > s(c1, i0)` and `s(c1, i1) > s(c0, i1)`.
    pub text: f64,
    /// Both captions score higher with the matching image: `s(c0, i0) > s(c0, i1)` and `s(c1, i1) > s(c1, i0)`.
    pub image: f64,
    /// Both conditions hold.
    pub group: f64,
    /// Number of examples.
    pub n_examples: usize,
}

/// Computes the scores of Winoground (Thrush et al. 2022, arXiv 2204.03162, section 3.2) from the four similarities of
/// every example. The chance levels are 25, 25 and 16.67.
///
/// The inequalities are strict: they do not hold for scores within [`TIE_TOLERANCE`](crate::TIE_TOLERANCE) of each other,
/// nor for NaN.
///
/// # Shapes
/// - scores: for every example `[[s(c0, i0), s(c0, i1)], [s(c1, i0), s(c1, i1)]]`
///
/// # Errors
/// [`EvalError::Empty`] without examples.
///
/// # Examples
/// ```
/// // Both images score higher with their caption, but the second caption scores higher with the first image.
/// let scores = sail_eval::winoground(&[[[0.9, 0.2], [0.6, 0.5]]])?;
/// assert_eq!([scores.text, scores.image, scores.group], [100.0, 0.0, 0.0]);
/// # Ok::<(), sail_eval::EvalError>(())
/// ```
pub fn winoground(scores: &[[[f64; 2]; 2]]) -> Result<Winoground, EvalError> {
    if scores.is_empty() {
        return Err(EvalError::Empty { what: "example" });
    }
    let percent = |correct: &dyn Fn([[f64; 2]; 2]) -> bool| {
        let count = scores.iter().filter(|&&example| correct(example)).count();
        100.0 * count as f64 / scores.len() as f64
    };
    Ok(Winoground {
        text: percent(&images_pick_texts),
        image: percent(&texts_pick_images),
        group: percent(&|example| images_pick_texts(example) && texts_pick_images(example)),
        n_examples: scores.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(examples: &[[[f64; 2]; 2]]) -> [f64; 3] {
        let Winoground { text, image, group, n_examples } = winoground(examples).unwrap();
        assert_eq!(n_examples, examples.len());
        [text, image, group]
    }

    #[test]
    fn text_image_and_group_scores_differ() {
        assert_eq!(scores(&[[[0.9, 0.1], [0.2, 0.8]]]), [100.0, 100.0, 100.0]);
        assert_eq!(scores(&[[[0.9, 0.2], [0.6, 0.5]]]), [100.0, 0.0, 0.0]);
        assert_eq!(scores(&[[[0.5, 0.2], [0.6, 0.9]]]), [0.0, 100.0, 0.0]);
        assert_eq!(scores(&[[[0.1, 0.9], [0.8, 0.2]]]), [0.0, 0.0, 0.0]);
        // The group score requires both conditions in the same example.
        assert_eq!(scores(&[[[0.9, 0.2], [0.6, 0.5]], [[0.5, 0.2], [0.6, 0.9]]]), [50.0, 50.0, 0.0]);
    }

    #[test]
    fn ties_and_nan_are_incorrect() {
        assert_eq!(scores(&[[[0.5, 0.5], [0.5, 0.5]]]), [0.0, 0.0, 0.0]);
        assert_eq!(scores(&[[[0.5, 0.4], [0.5 - 0.5e-6, 0.6]]]), [0.0, 100.0, 0.0]);
        assert_eq!(scores(&[[[f64::NAN, 0.1], [0.2, 0.8]]]), [0.0, 0.0, 0.0]);
        assert!(matches!(winoground(&[]), Err(EvalError::Empty { what: "example" })));
    }
}
