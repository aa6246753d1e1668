//! Directions of the largest variance.

use pulp::Arch;
use rayon::prelude::*;
use sail_core::{FeatureError, FeatureSource, gather_checked};

use super::cosine::dot;

/// The largest number of directions.
pub(super) const MAX_DIRECTIONS: usize = 32;
/// Rows per direction, of which a collection of a few has fewer.
const ROWS: usize = 64;
/// Dimensions per direction, so that they add little to the codes.
const DIMS: usize = 8;
/// Rows that the directions are computed from.
const SAMPLE: usize = 4096;
/// Rows whose products are summed by one task. Part of the result, since sums in floating point depend on their order.
const BLOCK: usize = 256;
/// Iterations. The directions need not be accurate: codes keep what they leave over.
const ITERATIONS: usize = 6;

/// The number of directions of a collection, at least 1.
pub(super) fn count(rows: usize, dim: usize) -> usize {
    (rows / ROWS).min(dim / DIMS).clamp(1, MAX_DIRECTIONS)
}

/// Returns `[count, dim]`, orthonormal directions in which the centred unit rows vary most: orthogonal iteration on up to 4,096
/// rows at equal distances. Where the rows vary in fewer directions, the others are zeros.
///
/// Sums are in f64 and in a fixed order, so that the result is the same on every machine.
pub(super) fn directions(source: &dyn FeatureSource, centre: &[f32]) -> Result<Vec<f32>, FeatureError> {
    let dim = centre.len();
    let count = count(source.rows(), dim);
    let sample = source.rows().min(SAMPLE);
    let rows: Vec<usize> = (0..sample).map(|index| index * source.rows() / sample).collect();
    let mut values = vec![0.0; sample * dim];
    gather_checked(source, &rows, &mut values)?;
    values.par_chunks_exact_mut(dim).for_each(|row| centre_row(row, centre));

    let mut directions = vec![0.0; count * dim];
    for (index, direction) in directions.chunks_exact_mut(dim).enumerate().take(sample) {
        let first = index * sample / count.min(sample);
        direction.copy_from_slice(&values[first * dim..][..dim]);
    }
    for _ in 0..ITERATIONS {
        let products: Vec<Vec<f64>> = values
            .par_chunks(BLOCK * dim)
            .map(|rows| Arch::new().dispatch(|| covariance_products(rows, &directions, dim)))
            .collect();
        let mut sums = vec![0.0; count * dim];
        for products in products {
            sums.iter_mut().zip(products).for_each(|(sum, product)| *sum += product);
        }
        orthonormalise(&mut sums, dim);
        directions = sums.into_iter().map(|value| value as f32).collect();
    }
    Ok(directions)
}

/// Replaces a row by its difference to the centre in unit length.
#[inline(always)]
pub(super) fn centre_row(row: &mut [f32], centre: &[f32]) {
    let scale = 1.0 / dot(row, row).sqrt();
    for (value, &centre) in row.iter_mut().zip(centre) {
        *value = (f64::from(*value) * scale - f64::from(centre)) as f32;
    }
}

/// For each direction, the sum over rows of the row times its product with the direction.
#[inline(always)]
fn covariance_products(rows: &[f32], directions: &[f32], dim: usize) -> Vec<f64> {
    let mut sums = vec![0.0; directions.len()];
    for row in rows.chunks_exact(dim) {
        for (direction, sums) in directions.chunks_exact(dim).zip(sums.chunks_exact_mut(dim)) {
            let product = dot(row, direction);
            sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += product * f64::from(value));
        }
    }
    sums
}

/// Gram-Schmidt, twice against every earlier vector. A vector that depends on those becomes zeros.
fn orthonormalise(vectors: &mut [f64], dim: usize) {
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for index in 0..vectors.len() / dim {
        let (earlier, rest) = vectors.split_at_mut(index * dim);
        let vector = &mut rest[..dim];
        let before = product(vector, vector).sqrt();
        for _ in 0..2 {
            for other in earlier.chunks_exact(dim) {
                let shared = product(vector, other);
                vector.iter_mut().zip(other).for_each(|(value, other)| *value -= shared * other);
            }
        }
        let norm = product(vector, vector).sqrt();
        let scale = if norm > 1e-6 * before { 1.0 / norm } else { 0.0 };
        vector.iter_mut().for_each(|value| *value *= scale);
    }
}

#[cfg(test)]
mod tests {
    use sail_data::MatrixFeatures;

    use super::*;

    #[test]
    fn finds_the_directions_of_a_plane() {
        // Rows in a plane of 16 dimensions, with less variance in the second direction.
        let (dim, rows) = (16, 300usize);
        let mut values = Vec::new();
        for row in 0..rows {
            let angle = row as f32;
            let mut value = vec![0.0; dim];
            (value[3], value[5], value[9]) = (4.0, 2.0 * angle.sin(), angle.cos());
            values.extend(value);
        }
        let source = MatrixFeatures::new(dim, values).unwrap();
        let centre = crate::centre(&source, |_| {}).unwrap();
        let found = directions(&source, &centre).unwrap();
        assert_eq!(found.len(), 2 * dim);
        assert!(found[5].abs() > 0.99, "{found:?}");
        assert!(found[dim + 9].abs() > 0.99, "{found:?}");
    }

    #[test]
    fn equal_rows_have_no_direction() {
        let source = MatrixFeatures::new(16, [[1.0; 16]; 300].concat()).unwrap();
        let centre = crate::centre(&source, |_| {}).unwrap();
        let norms = directions(&source, &centre).unwrap();
        assert!(norms.iter().all(|value| value.is_finite()));
    }
}
