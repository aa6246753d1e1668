//! Checked gathering of features.

use burn::tensor::{Device, Tensor, TensorData};

use crate::{FeatureError, FeatureSource};

/// Gathers rows into `out` as [`FeatureSource::gather`] and checks that they are finite and not all zeros.
///
/// # Shapes
/// - out: `rows.len() * dim`, row-major
///
/// # Errors
/// Returns the errors of `gather`, [`FeatureError::OutputSize`], and those of [`check_rows`].
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

/// Gathers rows into a tensor and checks them as [`gather_checked`].
///
/// # Shapes
/// - result: `[rows.len(), dim]`, `f32`
///
/// # Errors
/// As [`gather_checked`].
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

/// Checks that gathered rows are finite and not all zeros.
///
/// # Shapes
/// - values: `rows.len() * dim`, row-major, as written by [`FeatureSource::gather`]
///
/// # Errors
/// Returns [`FeatureError::NotFinite`] or [`FeatureError::ZeroNorm`] for the first invalid row.
pub fn check_rows(source: &dyn FeatureSource, rows: &[usize], values: &[f32]) -> Result<(), FeatureError> {
    // `chunks_exact` rejects a chunk size of 0.
    for (&row, values) in rows.iter().zip(values.chunks_exact(source.dim().max(1))) {
        // Fast path: the sum of squares of a valid row is finite and positive unless it overflows or underflows.
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

/// Sum of squares in 16 partial sums, which vectorizes.
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
    use std::borrow::Cow;

    use super::*;
    use crate::Provenance;

    /// A source with a single row.
    struct SingleRow(Vec<f32>);

    impl FeatureSource for SingleRow {
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
        gather_checked(&SingleRow(row.to_vec()), &[0], &mut vec![0.0; row.len()])
    }

    #[test]
    fn rejects_non_finite_and_zero_rows() {
        let message = check(&[1.0, f32::NAN]).unwrap_err().to_string();
        assert!(message.contains("row 0 (key `only`)") && message.contains("NaN in column 1"), "{message}");
        assert!(matches!(check(&[f32::NEG_INFINITY, 1.0]), Err(FeatureError::NotFinite { column: 0, .. })));
        assert!(matches!(check(&[0.0, -0.0]), Err(FeatureError::ZeroNorm { row: 0, .. })));
    }

    #[test]
    fn accepts_extreme_but_finite_rows() {
        check(&[f32::MAX, f32::MAX]).unwrap();
        check(&[f32::MIN_POSITIVE, 0.0]).unwrap();
    }
}
