//! Two images and two captions of the same words.

use serde::{Deserialize, Serialize};

use crate::{EvalError, rank};

/// Whether a score exceeds another. A tie does not, nor does a NaN.
pub(crate) fn exceeds(own: f64, other: f64) -> bool {
    rank(own, [other]) == 1
}

/// Whether both texts prefer their own image, `scores[text][image]`.
pub(crate) fn texts_pick_images([[c0_i0, c0_i1], [c1_i0, c1_i1]]: [[f64; 2]; 2]) -> bool {
    exceeds(c0_i0, c0_i1) && exceeds(c1_i1, c1_i0)
}

/// Whether both images prefer their own text, `scores[text][image]`.
fn images_pick_texts([[c0_i0, c0_i1], [c1_i0, c1_i1]]: [[f64; 2]; 2]) -> bool {
    exceeds(c0_i0, c1_i0) && exceeds(c1_i1, c0_i1)
}

/// The three scores of Winoground, in percent of the examples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Winoground {
    /// Each image prefers its own caption: `s(c0, i0) > s(c1, i0)` and `s(c1, i1) > s(c0, i1)`.
    pub text: f64,
    /// Each caption prefers its own image: `s(c0, i0) > s(c0, i1)` and `s(c1, i1) > s(c1, i0)`.
    pub image: f64,
    /// Both of these.
    pub group: f64,
    /// How many examples there are.
    pub n_examples: usize,
}

/// The scores of Winoground (Thrush et al., 2022, arXiv 2204.03162, section 3.2) from the four similarities of every
/// example. Chance is 25, 25 and 16.67.
///
/// The inequalities are strict: scores within [`TIE_TOLERANCE`](crate::TIE_TOLERANCE) of each other are a tie, which
/// counts against, and so does a NaN.
///
/// # Shapes
/// - scores: for every example `[[s(c0, i0), s(c0, i1)], [s(c1, i0), s(c1, i1)]]`
///
/// # Errors
/// [`EvalError::Empty`] without an example.
///
/// # Examples
/// ```
/// // Both images prefer their caption, but the second caption prefers the first image.
/// let scores = sail_eval::winoground(&[[[0.9, 0.2], [0.6, 0.5]]])?;
/// assert_eq!([scores.text, scores.image, scores.group], [100.0, 0.0, 0.0]);
/// # Ok::<(), sail_eval::EvalError>(())
/// ```
pub fn winoground(scores: &[[[f64; 2]; 2]]) -> Result<Winoground, EvalError> {
    if scores.is_empty() {
        return Err(EvalError::Empty { what: "example" });
    }
    let percent = |right: &dyn Fn([[f64; 2]; 2]) -> bool| {
        let count = scores.iter().filter(|&&example| right(example)).count();
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
    fn each_score_asks_its_own_question() {
        assert_eq!(scores(&[[[0.9, 0.1], [0.2, 0.8]]]), [100.0, 100.0, 100.0]);
        assert_eq!(scores(&[[[0.9, 0.2], [0.6, 0.5]]]), [100.0, 0.0, 0.0]);
        assert_eq!(scores(&[[[0.5, 0.2], [0.6, 0.9]]]), [0.0, 100.0, 0.0]);
        assert_eq!(scores(&[[[0.1, 0.9], [0.8, 0.2]]]), [0.0, 0.0, 0.0]);
        // Right by text in one example and by image in another is not right by both in either.
        assert_eq!(scores(&[[[0.9, 0.2], [0.6, 0.5]], [[0.5, 0.2], [0.6, 0.9]]]), [50.0, 50.0, 0.0]);
    }

    #[test]
    fn ties_and_nan_count_against() {
        assert_eq!(scores(&[[[0.5, 0.5], [0.5, 0.5]]]), [0.0, 0.0, 0.0]);
        assert_eq!(scores(&[[[0.5, 0.4], [0.5 - 0.5e-6, 0.6]]]), [0.0, 100.0, 0.0]);
        assert_eq!(scores(&[[[f64::NAN, 0.1], [0.2, 0.8]]]), [0.0, 0.0, 0.0]);
        assert!(matches!(winoground(&[]), Err(EvalError::Empty { what: "example" })));
    }
}
