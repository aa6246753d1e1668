//! Cosines of selected pairs.

use burn::tensor::Tensor;

use crate::EvalError;
use crate::unit_rows::{UnitRows, dot, same_dim};

/// Pairs per gather.
const CHUNK: usize = 4096;

/// Computes the cosine of every pair in f64, for benchmarks with a few candidates per image.
///
/// # Shapes
/// - images: `[n_images, dim]`, not necessarily normalised
/// - texts: `[n_texts, dim]`, not necessarily normalised
/// - pairs: the index of an image and of a text
///
/// # Errors
/// [`EvalError`] if a side is empty or the two differ in dimension, if an index is out of range, if an embedding of a
/// pair is not finite or all zeros, and if the device fails.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// let images = Tensor::<2>::from_floats([[2.0, 0.0], [3.0, 4.0]], &Device::flex());
/// let texts = Tensor::<2>::from_floats([[0.0, 1.0]], &Device::flex());
/// let cosines = sail_eval::cosines(images, texts, &[[1, 0], [0, 0]])?;
/// assert!((cosines[0] - 0.8).abs() < 1e-6 && cosines[1] == 0.0);
/// # Ok::<(), sail_eval::EvalError>(())
/// ```
pub fn cosines(images: Tensor<2>, texts: Tensor<2>, pairs: &[[usize; 2]]) -> Result<Vec<f64>, EvalError> {
    let images = UnitRows::new(images, "image")?;
    let texts = UnitRows::new(texts, "text")?;
    same_dim(&images, &texts)?;
    for (row, [image, text]) in pairs.iter().enumerate() {
        for (what, found, expected) in [("image", *image, images.len()), ("text", *text, texts.len())] {
            if found >= expected {
                return Err(EvalError::OutOfRange { what, found, expected, of: "pair", row });
            }
        }
    }
    let mut cosines = Vec::with_capacity(pairs.len());
    for pairs in pairs.chunks(CHUNK) {
        let [first, second] = [0, 1].map(|side| pairs.iter().map(|pair| pair[side]).collect::<Vec<_>>());
        let (first, second) = (images.gather(&first)?, texts.gather(&second)?);
        let rows = first.chunks_exact(images.dim()).zip(second.chunks_exact(texts.dim()));
        cosines.extend(rows.map(|(image, text)| dot(image, text)));
    }
    Ok(cosines)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn rejects_indices_out_of_range() {
        let rows = || Tensor::<2>::from_floats([[1.0, 0.0], [0.0, 1.0]], &Device::flex());
        assert_eq!(cosines(rows(), rows(), &[]).unwrap(), [0.0; 0]);
        for (pair, side) in [([2, 0], "image"), ([0, 2], "text")] {
            let error = cosines(rows(), rows(), &[[0, 0], pair]).unwrap_err();
            let expected = format!("pair 1 has {side} index 2, expected less than 2");
            assert_eq!(error.to_string(), expected);
        }
    }
}
