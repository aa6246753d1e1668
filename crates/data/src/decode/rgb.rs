//! Conversion of any channel layout to 8-bit RGB, with Pillow's arithmetic.

use image::{DynamicImage, RgbImage};

/// Composites on white and reduces to 8 bits. Returns `None` for floating-point layouts.
pub(super) fn to_rgb(image: DynamicImage) -> Option<RgbImage> {
    let (width, height) = (image.width(), image.height());
    let pixels = match image {
        DynamicImage::ImageRgb8(image) => return Some(image),
        DynamicImage::ImageLuma8(image) => map(&image, |&[grey]| [grey; 3]),
        DynamicImage::ImageLumaA8(image) => map(&image, |&[grey, alpha]| [on_white(grey, alpha); 3]),
        DynamicImage::ImageRgba8(image) => {
            map(&image, |&[red, green, blue, alpha]| [red, green, blue].map(|value| on_white(value, alpha)))
        }
        DynamicImage::ImageLuma16(image) => map(&image, |&[grey]| [to_u8(grey); 3]),
        DynamicImage::ImageLumaA16(image) => {
            map(&image, |&[grey, alpha]| [on_white(to_u8(grey), to_u8(alpha)); 3])
        }
        DynamicImage::ImageRgb16(image) => map(&image, |pixel: &[u16; 3]| pixel.map(to_u8)),
        DynamicImage::ImageRgba16(image) => map(&image, |&[red, green, blue, alpha]| {
            [red, green, blue].map(|value| on_white(to_u8(value), to_u8(alpha)))
        }),
        _ => return None,
    };
    RgbImage::from_raw(width, height, pixels)
}

pub(super) fn map<T, const N: usize>(values: &[T], pixel: impl Fn(&[T; N]) -> [u8; 3]) -> Vec<u8> {
    let (pixels, _) = values.as_chunks::<N>();
    let mut rgb = vec![0; pixels.len() * 3];
    for (to, from) in rgb.as_chunks_mut::<3>().0.iter_mut().zip(pixels) {
        *to = pixel(from);
    }
    rgb
}

/// Returns the high byte, as Pillow does for 16-bit colours of a PNG.
fn to_u8(value: u16) -> u8 {
    (value >> 8) as u8
}

/// `(value * alpha + 255 * (255 - alpha)) / 255`, rounded to nearest.
fn on_white(value: u8, alpha: u8) -> u8 {
    let (value, alpha) = (u32::from(value), u32::from(alpha));
    let sum = value * alpha + 255 * (255 - alpha) + 128;
    ((sum + (sum >> 8)) >> 8) as u8
}

/// `value * factor / 255`, rounded to nearest.
pub(super) fn scale(value: u8, factor: u8) -> u8 {
    let product = u32::from(value) * u32::from(factor) + 128;
    ((product + (product >> 8)) >> 8) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_white_rounds_to_nearest() {
        for value in 0..=255 {
            for alpha in 0..=255 {
                let exact =
                    (f64::from(value) * f64::from(alpha) + 255.0 * (255.0 - f64::from(alpha))) / 255.0;
                assert_eq!(on_white(value, alpha), exact.round() as u8, "{value} at {alpha}");
            }
        }
    }
}
