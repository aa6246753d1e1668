//! Rows of frozen features, wherever they are kept.

use std::borrow::Cow;
use std::path::PathBuf;

use burn::tensor::{Device, Tensor, TensorData};

use crate::Provenance;

/// Rows of frozen features, each with a key that says what it shows.
///
/// Rows pair by key: the rows of two sources that carry the same key belong together. A source of texts may
/// carry a key several times (several captions of one image); a source of images carries each once.
pub trait FeatureSource: Send + Sync {
    /// How many rows there are.
    fn rows(&self) -> usize;

    /// How many numbers a row has.
    fn dim(&self) -> usize;

    /// The key of a row, for showing it. `row` is less than [`rows`](FeatureSource::rows). Where the medium fails it may
    /// be empty, so whatever depends on keys takes them from [`keys`](FeatureSource::keys).
    fn key(&self, row: usize) -> Cow<'_, str>;

    /// The keys of rows, in the order of `rows`. A source that does not hold its keys in memory can read many at once
    /// much faster than one by one, neighbours above all.
    ///
    /// # Errors
    /// I/O errors of the medium.
    fn keys(&self, rows: &[usize]) -> Result<Vec<String>, FeatureError> {
        Ok(rows.iter().map(|&row| self.key(row).into_owned()).collect())
    }

    /// True where the keys are nothing but row numbers, as in a bare matrix. Such a source pairs by position.
    fn positional(&self) -> bool {
        false
    }

    /// Which backbone, pooling and preprocessing made the rows, where that is known.
    fn provenance(&self) -> Option<&Provenance>;

    /// Copies rows into `out` as f32, in the order of `rows`.
    ///
    /// # Shapes
    /// - out: `rows.len() * dim`, row-major
    ///
    /// # Errors
    /// [`FeatureError::OutOfRange`] for a row that is not there, and I/O errors of the medium.
    fn gather(&self, rows: &[usize], out: &mut [f32]) -> Result<(), FeatureError>;
}

/// Features that cannot be read or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeatureError {
    /// A row index beyond the end.
    #[error("row {row} is out of range: the source has {rows} rows")]
    OutOfRange {
        /// The row asked for.
        row: usize,
        /// How many there are.
        rows: usize,
    },
    /// The output slice has another size than the rows need.
    #[error("the output holds {found} numbers, expected {expected}")]
    OutputSize {
        /// The slice's length.
        found: usize,
        /// `rows * dim`.
        expected: usize,
    },
    /// A number that is NaN or infinite.
    #[error(
        "row {row} (key `{key}`) has the value {value} in column {column}: encode it again or leave it out"
    )]
    NotFinite {
        /// The row.
        row: usize,
        /// Its key.
        key: String,
        /// The first such column.
        column: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// A row of zeros has no direction and so cannot be aligned.
    #[error("row {row} (key `{key}`) is all zeros and has no direction: encode it again or leave it out")]
    ZeroNorm {
        /// The row.
        row: usize,
        /// Its key.
        key: String,
    },
    /// A file that is not what it was when it was opened.
    #[error(
        "{path} was changed or replaced while it was in use: its {what} is {found}, expected {expected} as when it was \
         opened; put the same file back, or start again with what is there now"
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// What it is now.
        found: String,
        /// What it was.
        expected: String,
    },
    /// The medium failed.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// [`FeatureSource::gather`], and a check that every row can be used: finite, and not all zeros.
///
/// # Errors
/// Those of `gather`, [`FeatureError::OutputSize`], [`FeatureError::NotFinite`] and [`FeatureError::ZeroNorm`], which name the row.
pub fn gather_checked(
    source: &dyn FeatureSource,
    rows: &[usize],
    out: &mut [f32],
) -> Result<(), FeatureError> {
    let expected = rows.len() * source.dim();
    if out.len() != expected {
        return Err(FeatureError::OutputSize { found: out.len(), expected });
    }
    source.gather(rows, out)?;
    check_rows(source, rows, out)
}

/// [`gather_checked`], onto a device.
///
/// # Shapes
/// - result: `[rows.len(), dim]` in f32
///
/// # Errors
/// Those of [`gather_checked`].
pub fn gather_tensor(
    source: &dyn FeatureSource,
    rows: &[usize],
    device: &Device,
) -> Result<Tensor<2>, FeatureError> {
    let shape = [rows.len(), source.dim()];
    let mut values = vec![0.0; shape[0] * shape[1]];
    gather_checked(source, rows, &mut values)?;
    Ok(Tensor::from_data(TensorData::new(values, shape), device))
}

/// Checks that gathered rows can be used: finite, and not all zeros.
///
/// # Shapes
/// - values: `rows.len() * dim`, row-major, as [`FeatureSource::gather`] left them
///
/// # Errors
/// [`FeatureError::NotFinite`] and [`FeatureError::ZeroNorm`], which name the row.
pub fn check_rows(source: &dyn FeatureSource, rows: &[usize], values: &[f32]) -> Result<(), FeatureError> {
    // A source without columns has nothing to check, and `chunks_exact` takes no 0.
    for (&row, values) in rows.iter().zip(values.chunks_exact(source.dim().max(1))) {
        // A sum of squares is finite and positive exactly for usable rows, save where it overflows or
        // underflows, which the second look below decides.
        let square = sum_of_squares(values);
        if square.is_finite() && square > 0.0 {
            continue;
        }
        let key = || source.key(row).into_owned();
        if let Some(column) = values.iter().position(|value| !value.is_finite()) {
            return Err(FeatureError::NotFinite { row, key: key(), column, value: values[column] });
        }
        if values.iter().all(|&value| value == 0.0) {
            return Err(FeatureError::ZeroNorm { row, key: key() });
        }
    }
    Ok(())
}

/// In sixteen partial sums: a single one would have to be added in order, which does not vectorise.
fn sum_of_squares(values: &[f32]) -> f32 {
    let mut lanes = [0f32; 16];
    let chunks = values.chunks_exact(lanes.len());
    let rest: f32 = chunks.remainder().iter().map(|value| value * value).sum();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value * value;
        }
    }
    rest + lanes.iter().sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One(Vec<f32>);

    impl FeatureSource for One {
        fn rows(&self) -> usize {
            1
        }
        fn dim(&self) -> usize {
            self.0.len()
        }
        fn key(&self, _: usize) -> Cow<'_, str> {
            "only".into()
        }
        fn provenance(&self) -> Option<&Provenance> {
            None
        }
        fn gather(&self, _: &[usize], out: &mut [f32]) -> Result<(), FeatureError> {
            out.copy_from_slice(&self.0);
            Ok(())
        }
    }

    fn check(row: &[f32]) -> Result<(), FeatureError> {
        gather_checked(&One(row.to_vec()), &[0], &mut vec![0.0; row.len()])
    }

    #[test]
    fn unusable_rows_are_named() {
        let message = check(&[1.0, f32::NAN]).unwrap_err().to_string();
        assert!(message.contains("row 0 (key `only`)") && message.contains("NaN in column 1"), "{message}");
        assert!(matches!(check(&[f32::NEG_INFINITY, 1.0]), Err(FeatureError::NotFinite { column: 0, .. })));
        assert!(matches!(check(&[0.0, -0.0]), Err(FeatureError::ZeroNorm { row: 0, .. })));
    }

    #[test]
    fn extreme_but_finite_rows_are_usable() {
        check(&[f32::MAX, f32::MAX]).unwrap();
        check(&[f32::MIN_POSITIVE, 0.0]).unwrap();
    }
}
