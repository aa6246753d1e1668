//! Fixed inputs to compare models by, and known results.
//!
//! A wrong mask, processor or pooling gives plausible embeddings. The row of a fixed image or sentence shows it before a large
//! data set is encoded: it is compared with the reference library's, which is known for some models, or printed by
//! [`reference_code`](crate::reference_code).

use sail_core::Modality;
use sail_core::RgbImage;
use serde::{Deserialize, Serialize};

/// A sentence with capitals, punctuation, digits and letters outside of ASCII.
pub const TEXT: &str = "Two Zebras graze at noon, 5 km from Zürich.";

/// Returns an image of 256 x 192 pixels with slow and fast changes: red is `x`, green `y * 4 / 3`, blue `x * y % 256`.
pub fn image() -> RgbImage {
    RgbImage::from_fn(256, 192, |x, y| [x, y * 4 / 3, x * y].map(|value| value as u8).into())
}

/// The row of a side of a model, as the reference library computes it in `f32`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Reference {
    /// Name of the model.
    pub model: String,
    /// SHA-256 of the weights.
    pub weights_sha256: String,
    /// The input: that of images or that of texts.
    pub side: Modality,
    /// Library and version.
    pub library: String,
    /// Number of values.
    pub dim: usize,
    /// Euclidean norm of the row.
    pub norm: f64,
    /// The first values.
    pub first: Vec<f64>,
}

/// Returns the references that are known.
///
/// # Examples
/// ```
/// let known = sail_encoders::check::references();
/// assert!(known.iter().any(|reference| reference.model == "sentence-transformers/all-MiniLM-L6-v2"));
/// ```
pub fn references() -> Vec<Reference> {
    // The file is a part of the crate, and a test reads it.
    serde_json::from_str(include_str!("references.json")).unwrap_or_default()
}

impl Reference {
    /// Creates a reference from a whole row.
    pub fn of_row(model: impl Into<String>, side: Modality, row: &[f64]) -> Self {
        Self {
            model: model.into(),
            weights_sha256: String::new(),
            side,
            library: String::new(),
            dim: row.len(),
            norm: row.iter().map(|value| value * value).sum::<f64>().sqrt(),
            first: row.to_vec(),
        }
    }

    /// Sets what computed the row.
    #[must_use]
    pub fn computed_by(self, library: impl Into<String>) -> Self {
        Self { library: library.into(), ..self }
    }

    /// Returns how far a row is from the reference: the largest difference, in units of the root mean square of its values.
    /// Infinite if the dimensions differ or a value is not finite.
    pub fn distance(&self, row: &[f32]) -> f64 {
        if row.len() != self.dim || !row.iter().all(|value| value.is_finite()) {
            return f64::INFINITY;
        }
        let scale = self.norm / (self.dim.max(1) as f64).sqrt();
        let norm = row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        let values =
            row.iter().zip(&self.first).map(|(found, expected)| (f64::from(*found) - expected).abs());
        // The norm stands for the values that are not listed.
        let norms = (norm - self.norm).abs() / (self.dim.max(1) as f64).sqrt();
        values.fold(norms, f64::max) / scale.max(f64::MIN_POSITIVE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_is_the_one_in_python() {
        let image = image();
        // np.stack([x, y * 4 // 3, x * y % 256], -1)[191, 255] and [100, 77]
        assert_eq!(image.get_pixel(255, 191).0, [255, 254, 65]);
        assert_eq!(image.get_pixel(77, 100).0, [77, 133, 20]);
    }

    #[test]
    fn known_references_are_valid() {
        let known = references();
        assert!(!known.is_empty());
        for reference in known {
            assert!(reference.weights_sha256.len() == 64 && reference.first.len() >= 8, "{reference:?}");
            assert!(reference.norm > 0.0 && reference.dim >= reference.first.len());
        }
    }

    #[test]
    fn distance_is_relative_to_the_scale_of_values() {
        let row = [3.0, -4.0, 0.0, 0.0];
        let reference = Reference::of_row("m", Modality::Text, &row);
        let single = row.map(|value| value as f32);
        assert_eq!(reference.distance(&single), 0.0);
        // The root mean square is 2.5.
        assert!((reference.distance(&[3.0, -4.0, 0.25, 0.0]) - 0.1).abs() < 1e-6);
        assert_eq!(reference.distance(&single[..3]), f64::INFINITY);
        assert_eq!(reference.distance(&[3.0, f32::NAN, 0.0, 0.0]), f64::INFINITY);
        let partial = Reference { first: vec![3.0], ..reference };
        assert!(partial.distance(&[3.0, 4.0, 0.0, 0.0]) < 1e-6, "other values are known by their norm only");
        assert!(partial.distance(&[3.0, -8.0, 0.0, 0.0]) > 0.5);
    }
}
