//! Comparison with images decoded by Pillow, written by `fixtures/generate_decode.py`.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use sail_data::{DecodeLimits, decode_image};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The maximum and mean difference to Pillow that is allowed for a format.
fn tolerance(name: &str) -> (u8, f64) {
    match name {
        "422.jpg" | "422-progressive.jpg" => (4, 0.3),
        "420.jpg" | "420-progressive.jpg" | "restart.jpg" | "thumbnail.jpg" => (5, 0.5),
        _ if name.ends_with(".jpg") => (2, 0.05),
        // Rounding of samples that do not have 8 bits, and of JPEGs within TIFF.
        "rgb-100.ppm" | "grey-100.pgm" | "rgb-565.bmp" | "rgb-555.bmp" | "jpeg.tif" => (1, 0.5),
        _ => (0, 0.0),
    }
}

#[test]
fn matches_pillow() {
    let folder = fixtures().join("decode");
    let bytes = std::fs::read(folder.join("expected.safetensors")).unwrap();
    let expected = SafeTensors::deserialize(&bytes).unwrap();
    let mut wrong = Vec::new();
    for name in expected.names() {
        let view = expected.tensor(name).unwrap();
        let file = std::fs::read(folder.join(name)).unwrap();
        let image = match decode_image(&file, &DecodeLimits::default()) {
            Ok(image) => image,
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
        };
        let size = [image.height() as usize, image.width() as usize, 3];
        if size != view.shape() {
            wrong.push(format!("{name}: {size:?} instead of {:?}", view.shape()));
            continue;
        }
        let differences: Vec<u8> =
            image.as_raw().iter().zip(view.data()).map(|(a, b)| a.abs_diff(*b)).collect();
        let largest = *differences.iter().max().unwrap();
        let mean = differences.iter().map(|value| f64::from(*value)).sum::<f64>() / differences.len() as f64;
        let (most, mean_most) = tolerance(name);
        if largest > most || mean > mean_most {
            wrong.push(format!("{name}: differs by up to {largest}, {mean:.3} on average"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(expected.names().len() > 95);
}

/// The markers that decide what the components of a JPEG are, in all combinations; see `generate_jpeg_colours.py`.
#[test]
fn jpeg_colors_are_those_of_libjpeg() {
    let bytes = std::fs::read(fixtures().join("jpeg-colours.safetensors")).unwrap();
    let files = SafeTensors::deserialize(&bytes).unwrap();
    let mut wrong = Vec::new();
    let names: Vec<_> = files.names().into_iter().filter(|name| !name.ends_with(".rgb")).collect();
    for name in &names {
        let expected = files.tensor(&format!("{name}.rgb")).unwrap();
        match decode_image(files.tensor(name).unwrap().data(), &DecodeLimits::default()) {
            Ok(image) => {
                let pairs = image.as_raw().iter().zip(expected.data());
                let largest = pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap();
                // Wrong colors differ by more than 80.
                if image.as_raw().len() != expected.data().len() || largest > 3 {
                    wrong.push(format!("{name}: differs by up to {largest}"));
                }
            }
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    wrong.sort();
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), names.len(), wrong.join("\n"));
    assert!(names.len() > 300);
}
