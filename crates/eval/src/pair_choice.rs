//! Choices between two candidates, and accuracies by group: MMVP-VLM and SugarCrepe.

use serde::{Deserialize, Serialize};

use crate::EvalError;
use crate::winoground::{exceeds, texts_pick_images};

/// Returns true if both statements of a pair score higher with the matching image, the criterion of MMVP-VLM (Tong et al.
/// 2024, arXiv 2401.06209, section 3.2): `s(t0, i0) > s(t0, i1)` and `s(t1, i1) > s(t1, i0)`. False for ties and NaN.
///
/// # Shapes
/// - scores: `[[s(t0, i0), s(t0, i1)], [s(t1, i0), s(t1, i1)]]`
///
/// # Examples
/// ```
/// use sail_eval::statements_pick_images;
/// assert!(statements_pick_images([[0.3, 0.2], [0.5, 0.6]]));
/// assert!(!statements_pick_images([[0.3, 0.2], [0.6, 0.6]]));
/// ```
pub fn statements_pick_images(scores: [[f64; 2]; 2]) -> bool {
    texts_pick_images(scores)
}

/// Returns true if the true caption of an image scores higher than the false one, the criterion of SugarCrepe (Hsieh et al.
/// 2023, arXiv 2306.14610). False for ties and NaN.
///
/// # Examples
/// ```
/// assert!(sail_eval::prefers_true_caption(0.31, 0.30));
/// assert!(!sail_eval::prefers_true_caption(0.31, 0.31));
/// ```
pub fn prefers_true_caption(of_true: f64, of_false: f64) -> bool {
    exceeds(of_true, of_false)
}

/// Accuracies by group, in percent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupAccuracy {
    /// Unweighted mean over the groups that have items.
    pub mean: f64,
    /// Accuracy over all items.
    pub overall: f64,
    /// Accuracy of every group; `None` (`null`) if it has no items.
    pub per_group: Vec<Option<f64>>,
    /// Number of items of each group.
    pub counts: Vec<usize>,
}

/// Computes the accuracy of each group: the categories of MMVP-VLM, the subsets of SugarCrepe.
///
/// # Shapes
/// - correct: for each item, whether it is correct
/// - group_of_item: for each item, the index of its group
///
/// # Errors
/// [`EvalError::Empty`] without an item, [`EvalError::Length`] for lists of different lengths, and
/// [`EvalError::OutOfRange`] for a group index that is not less than `n_groups`.
///
/// # Examples
/// ```
/// let accuracy = sail_eval::group_accuracy(&[true, true, true, false], &[0, 0, 0, 1], 2)?;
/// assert_eq!((accuracy.mean, accuracy.overall), (50.0, 75.0));
/// # Ok::<(), sail_eval::EvalError>(())
/// ```
pub fn group_accuracy(
    correct: &[bool],
    group_of_item: &[usize],
    n_groups: usize,
) -> Result<GroupAccuracy, EvalError> {
    if correct.is_empty() {
        return Err(EvalError::Empty { what: "item" });
    }
    if group_of_item.len() != correct.len() {
        let (found, expected) = (group_of_item.len(), correct.len());
        return Err(EvalError::Length { what: "groups", found, expected, of: "item" });
    }
    let (mut hits, mut counts) = (vec![0usize; n_groups], vec![0usize; n_groups]);
    for (row, (&correct, &group)) in correct.iter().zip(group_of_item).enumerate() {
        if group >= n_groups {
            let (found, expected) = (group, n_groups);
            return Err(EvalError::OutOfRange { what: "group", found, expected, of: "item", row });
        }
        counts[group] += 1;
        hits[group] += usize::from(correct);
    }
    let percent = |hits: usize, count: usize| 100.0 * hits as f64 / count as f64;
    let per_group: Vec<Option<f64>> =
        hits.iter().zip(&counts).map(|(&hits, &count)| (count > 0).then(|| percent(hits, count))).collect();
    let occurring = per_group.iter().flatten().count();
    Ok(GroupAccuracy {
        mean: per_group.iter().flatten().sum::<f64>() / occurring as f64,
        overall: percent(hits.iter().sum(), correct.len()),
        per_group,
        counts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_statements_have_to_be_correct() {
        assert!(statements_pick_images([[0.9, 0.1], [0.1, 0.9]]));
        assert!(!statements_pick_images([[0.9, 0.1], [0.9, 0.1]]));
        assert!(!statements_pick_images([[0.1, 0.9], [0.1, 0.9]]));
        assert!(!statements_pick_images([[0.5, 0.5], [0.1, 0.9]]));
        // The two statements are not compared with each other.
        assert!(statements_pick_images([[0.2, 0.1], [0.8, 0.9]]));
        assert!(!prefers_true_caption(f64::NAN, 0.0) && !prefers_true_caption(0.0, f64::NAN));
    }

    #[test]
    fn the_mean_is_over_groups_with_items() {
        let accuracy = group_accuracy(&[true, false, false, true, true], &[2, 0, 0, 2, 0], 4).unwrap();
        assert_eq!(accuracy.counts, [3, 0, 2, 0]);
        let third = 100.0 / 3.0;
        assert_eq!(accuracy.per_group, [Some(third), None, Some(100.0), None]);
        assert_eq!((accuracy.mean, accuracy.overall), ((third + 100.0) / 2.0, 60.0));
    }

    #[test]
    fn rejects_empty_input_and_invalid_groups() {
        assert!(matches!(group_accuracy(&[], &[], 1), Err(EvalError::Empty { what: "item" })));
        let error = group_accuracy(&[true], &[], 1).unwrap_err().to_string();
        assert_eq!(error, "found 0 groups, expected 1: one for each item");
        let error = group_accuracy(&[true], &[3], 3).unwrap_err().to_string();
        assert_eq!(error, "item 0 has group index 3, expected less than 3");
    }
}
