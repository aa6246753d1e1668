//! Images before their EXIF orientation is applied.

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};

/// An image as it is stored, with its EXIF orientation.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredImage {
    pixels: RgbImage,
    orientation: Orientation,
}

impl StoredImage {
    pub(super) fn new(pixels: RgbImage, orientation: Orientation) -> Self {
        Self { pixels, orientation }
    }

    /// Returns the stored pixels.
    pub fn pixels(&self) -> &RgbImage {
        &self.pixels
    }

    /// Returns the stored pixels without copying them.
    pub fn into_pixels(self) -> RgbImage {
        self.pixels
    }

    /// Returns whether the metadata ask to flip or rotate the image.
    pub fn has_orientation(&self) -> bool {
        self.orientation != Orientation::NoTransforms
    }

    /// Returns the width and the height of the upright image.
    pub fn oriented_dimensions(&self) -> (u32, u32) {
        let (width, height) = self.pixels.dimensions();
        // Orientations 5 to 8 exchange the sides.
        if self.orientation.to_exif() < 5 { (width, height) } else { (height, width) }
    }

    /// Flips and rotates the image as its metadata ask.
    pub fn oriented(self) -> RgbImage {
        let mut image = DynamicImage::ImageRgb8(self.pixels);
        image.apply_orientation(self.orientation);
        image.into_rgb8()
    }
}
