//! Right or wrong in groups: MMVP-VLM and SugarCrepe.

use serde::{Deserialize, Serialize};

use crate::EvalError;
use crate::winoground::{exceeds, texts_pick_images};

/// Whether both statements of a pair pick their own image, as MMVP-VLM asks (Tong et al., 2024, arXiv 2401.06209,
/// section 3.2): `s(t0, i0) > s(t0, i1)` and `s(t1, i1) > s(t1, i0)`. A tie counts against, as does a NaN.
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

/// Whether an image scores its true caption above a false one, as SugarCrepe asks (Hsieh et al., 2023, arXiv
/// 2306.14610). A tie counts against, as does a NaN.
///
/// # Examples
/// ```
/// assert!(sail_eval::prefers_true_caption(0.31, 0.30));
/// assert!(!sail_eval::prefers_true_caption(0.31, 0.31));
/// ```
pub fn prefers_true_caption(of_true: f64, of_false: f64) -> bool {
    exceeds(of_true, of_false)
}

/// Accuracies in percent, by group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupAccuracy {
    /// The mean over the groups that have items, each counting alike.
    pub mean: f64,
    /// The accuracy over all items.
    pub overall: f64,
    /// The accuracy of every group; `None` (`null`) for one without items.
    pub per_group: Vec<Option<f64>>,
    /// How many items each group has.
    pub counts: Vec<usize>,
}

/// Counts what is right, group by group: the categories of MMVP-VLM, the subsets of SugarCrepe.
///
/// # Shapes
/// - correct: for each item, whether it is right
/// - group_of_item: for each item, its group
///
/// # Errors
/// [`EvalError::Empty`] without an item, [`EvalError::Length`] for lists of different lengths, and
/// [`EvalError::OutOfRange`] for a group that is not there.
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
    let (mut right, mut counts) = (vec![0usize; n_groups], vec![0usize; n_groups]);
    for (row, (&correct, &group)) in correct.iter().zip(group_of_item).enumerate() {
        if group >= n_groups {
            let (found, expected) = (group, n_groups);
            return Err(EvalError::OutOfRange { what: "group", found, expected, of: "item", row });
        }
        counts[group] += 1;
        right[group] += usize::from(correct);
    }
    let percent = |right: usize, count: usize| 100.0 * right as f64 / count as f64;
    let per_group: Vec<Option<f64>> = right
        .iter()
        .zip(&counts)
        .map(|(&right, &count)| (count > 0).then(|| percent(right, count)))
        .collect();
    let occurring = per_group.iter().flatten().count();
    Ok(GroupAccuracy {
        mean: per_group.iter().flatten().sum::<f64>() / occurring as f64,
        overall: percent(right.iter().sum(), correct.len()),
        per_group,
        counts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_right_only_as_a_whole() {
        assert!(statements_pick_images([[0.9, 0.1], [0.1, 0.9]]));
        assert!(!statements_pick_images([[0.9, 0.1], [0.9, 0.1]]));
        assert!(!statements_pick_images([[0.1, 0.9], [0.1, 0.9]]));
        assert!(!statements_pick_images([[0.5, 0.5], [0.1, 0.9]]));
        // The two statements are not compared with each other.
        assert!(statements_pick_images([[0.2, 0.1], [0.8, 0.9]]));
        assert!(!prefers_true_caption(f64::NAN, 0.0) && !prefers_true_caption(0.0, f64::NAN));
    }

    #[test]
    fn groups_count_alike_and_empty_ones_not() {
        let accuracy = group_accuracy(&[true, false, false, true, true], &[2, 0, 0, 2, 0], 4).unwrap();
        assert_eq!(accuracy.counts, [3, 0, 2, 0]);
        let third = 100.0 / 3.0;
        assert_eq!(accuracy.per_group, [Some(third), None, Some(100.0), None]);
        assert_eq!((accuracy.mean, accuracy.overall), ((third + 100.0) / 2.0, 60.0));
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        assert!(matches!(group_accuracy(&[], &[], 1), Err(EvalError::Empty { what: "item" })));
        let error = group_accuracy(&[true], &[], 1).unwrap_err().to_string();
        assert_eq!(error, "there are 0 groups, expected 1: one for each item");
        let error = group_accuracy(&[true], &[3], 3).unwrap_err().to_string();
        assert_eq!(error, "item 0 belongs to group 3, expected less than 3");
    }
}
