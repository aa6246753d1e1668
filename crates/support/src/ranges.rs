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

/// Returns how many rows of features a head projects at a time without gradients: at most `rows`, and fewer if the features
/// are as wide as the token states of images, so that they take 64 MiB.
///
/// # Examples
/// ```
/// assert_eq!(sail_support::chunk_rows(1024, 384), 1024);
/// assert_eq!(sail_support::chunk_rows(1024, 257 * 384), 170);
/// ```
pub fn chunk_rows(rows: usize, dim: usize) -> usize {
    const VALUES: usize = 1 << 24;
    rows.min(VALUES / dim.max(1)).max(1)
}
