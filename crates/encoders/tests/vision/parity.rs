//! Vision backbones give what the reference libraries gave for tiny models of each family.

use crate::fixtures::{Case, numbers};
use burn::tensor::{FloatDType, Tensor};

/// Largest error allowed, of the largest expected number; and the least cosine.
fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32, cosine: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(0.0_f32, |scale, x| scale.max(x.abs()));
    let error = found.iter().zip(expected).fold(0.0_f32, |error, (a, b)| error.max((a - b).abs()));
    assert!(error <= tolerance * scale, "{what}: error {error} at scale {scale}");
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let similarity = dot(found, expected) / (dot(found, found) * dot(expected, expected)).sqrt();
    assert!(similarity >= cosine, "{what}: cosine {similarity}");
}

fn check(case: &Case, precision: FloatDType, tolerance: f32, cosine: f64) {
    let encoder = case.encoder(precision);
    for (number, row) in case.expected().iter().enumerate() {
        let features = encoder.encode_images(row.pixels.clone()).unwrap();
        let compare = |part: &str, found: Option<Vec<f32>>, expected: &Option<Vec<f32>>| {
            let what = format!("{} {number} {part} in {precision:?}", case.name);
            assert_eq!(found.is_some(), expected.is_some(), "{what}");
            if let (Some(found), Some(expected)) = (found, expected) {
                assert_close(&what, &found, expected, tolerance, cosine);
            }
        };
        compare("class token", features.class_token.map(numbers), &row.class);
        compare("pooled", features.pooled.map(numbers), &row.pooled);
        let patches = features.patches.unwrap();
        assert_eq!(patches.grid, [row.pixels.dims()[2], row.pixels.dims()[3]].map(|side| case.cells(side)));
        compare("patches", Some(numbers(patches.tokens)), &row.patches);
    }
}

#[test]
fn features_are_the_references() {
    for case in Case::all() {
        check(&case, FloatDType::F32, 1e-4, 0.99999);
    }
}

#[test]
fn half_precision_is_near() {
    for case in Case::all() {
        let pixels = case.expected().swap_remove(0).pixels;
        let patches = |precision| {
            let features = case.encoder(precision).encode_images(pixels.clone()).unwrap();
            numbers(features.patches.unwrap().tokens)
        };
        for precision in [FloatDType::F16, FloatDType::BF16] {
            check(&case, precision, 1.0, 0.99);
            assert_ne!(patches(precision), patches(FloatDType::F32), "{} in {precision:?}", case.name);
        }
    }
}

#[test]
fn threads_do_not_change_results() {
    for case in Case::all() {
        let encoder = case.encoder(FloatDType::F32);
        let pixels = case.expected().swap_remove(0).pixels.repeat_dim(0, 5);
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let features = pool.install(|| encoder.encode_images(pixels.clone()).unwrap());
            numbers(features.patches.unwrap().tokens)
        };
        assert_eq!(on(1), on(3), "{}", case.name);
    }
}

#[test]
fn an_image_alone_is_the_same_as_in_a_batch() {
    for case in Case::all() {
        let encoder = case.encoder(FloatDType::F32);
        let pixels = case.expected().swap_remove(0).pixels;
        // An odd number, and more than are encoded at once.
        let batch = Tensor::cat(vec![pixels.clone() * 0.5, pixels.clone().narrow(0, 0, 1), pixels * -1.0], 0);
        let together = encoder.encode_images(batch.clone()).unwrap();
        let [rows, tokens, hidden] = together.patches.as_ref().unwrap().tokens.dims();
        assert_eq!(rows, batch.dims()[0]);
        let patches = numbers(together.patches.unwrap().tokens);
        let class = together.class_token.map(numbers);
        for (row, image) in batch.split(1, 0).into_iter().enumerate() {
            let alone = encoder.encode_images(image).unwrap();
            let of_row = |all: &[f32], width: usize| all[row * width..(row + 1) * width].to_vec();
            let expected = of_row(&patches, tokens * hidden);
            assert_close(&case.name, &numbers(alone.patches.unwrap().tokens), &expected, 1e-5, 0.9999999);
            if let Some(class) = &class {
                let found = numbers(alone.class_token.unwrap());
                assert_close(&case.name, &found, &of_row(class, hidden), 1e-5, 0.9999999);
            }
        }
    }
}
