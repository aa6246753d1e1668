//! Ranges of rows.

use std::ops::Range;

/// Splits `0..len` into consecutive ranges of `step` elements; the last one may be shorter. A step of 0 counts as 1.
///
/// # Examples
/// ```
/// assert_eq!(sail_support::ranges(7, 3).collect::<Vec<_>>(), [0..3, 3..6, 6..7]);
/// ```
pub fn ranges(len: usize, step: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(step.max(1)).map(move |start| start..start.saturating_add(step.max(1)).min(len))
}
