//! Features of tiny models against the reference libraries.

use crate::fixtures::{Case, values};
use burn::tensor::Tensor;
use sail_core::Dtype;
use sail_matmul::Bf16Products;

/// Checks the maximum error relative to the largest expected value, and the cosine similarity.
fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32, cosine: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(0.0_f32, |scale, x| scale.max(x.abs()));
    let error = found.iter().zip(expected).fold(0.0_f32, |error, (a, b)| error.max((a - b).abs()));
    assert!(error <= tolerance * scale, "{what}: error {error} at scale {scale}");
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let similarity = dot(found, expected) / (dot(found, found) * dot(expected, expected)).sqrt();
    assert!(similarity >= cosine, "{what}: cosine {similarity}");
}

fn check(case: &Case, dtype: Dtype, tolerance: f32, cosine: f64) {
    let encoder = case.encoder(dtype);
    for (index, row) in case.expected().iter().enumerate() {
        let features = encoder.encode_images(row.pixels.clone()).unwrap();
        let compare = |part: &str, found: Option<Vec<f32>>, expected: &Option<Vec<f32>>| {
            let what = format!("{} {index} {part} in {dtype:?}", case.name);
            assert_eq!(found.is_some(), expected.is_some(), "{what}");
            if let (Some(found), Some(expected)) = (found, expected) {
                assert_close(&what, &found, expected, tolerance, cosine);
            }
        };
        compare("class token", features.class_token.map(values), &row.class);
        compare("pooled", features.pooled.map(values), &row.pooled);
        let patches = features.patches.unwrap();
        assert_eq!(patches.grid, [row.pixels.dims()[2], row.pixels.dims()[3]].map(|side| case.cells(side)));
        compare("patches", Some(values(patches.tokens)), &row.patches);
    }
}

#[test]
fn features_match_the_reference() {
    for case in Case::all() {
        check(&case, Dtype::F32, 1e-4, 0.99999);
    }
}

#[test]
fn half_precision_is_close() {
    for case in Case::all() {
        let pixels = case.expected().swap_remove(0).pixels;
        let patches = |dtype| {
            let features = case.encoder(dtype).encode_images(pixels.clone()).unwrap();
            values(features.patches.unwrap().tokens)
        };
        // The random weights of the convolutional networks amplify rounding.
        let limits = if case.is_convolutional() {
            [(0.1, 0.999), (0.6, 0.99)]
        } else {
            [(0.01, 0.9999), (0.1, 0.998)]
        };
        for (dtype, (tolerance, cosine)) in [Dtype::F16, Dtype::BF16].into_iter().zip(limits) {
            check(&case, dtype, tolerance, cosine);
            // On the CPU, bf16 is for the products of transformers, if there are instructions for it.
            let computed =
                dtype == Dtype::F16 || (!case.is_convolutional() && Bf16Products::detect().is_some());
            assert_eq!(patches(dtype) != patches(Dtype::F32), computed, "{} in {dtype:?}", case.name);
        }
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    for case in Case::all() {
        let encoder = case.encoder(Dtype::F32);
        let pixels = case.expected().swap_remove(0).pixels.repeat_dim(0, 5);
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let features = pool.install(|| encoder.encode_images(pixels.clone()).unwrap());
            values(features.patches.unwrap().tokens)
        };
        assert_eq!(on(1), on(3), "{}", case.name);
    }
}

#[test]
fn results_do_not_depend_on_the_batch() {
    for case in Case::all() {
        let encoder = case.encoder(Dtype::F32);
        let pixels = case.expected().swap_remove(0).pixels;
        // An odd number, and more than a micro-batch.
        let batch = Tensor::cat(vec![pixels.clone() * 0.5, pixels.clone().narrow(0, 0, 1), pixels * -1.0], 0);
        let together = encoder.encode_images(batch.clone()).unwrap();
        let [rows, tokens, hidden] = together.patches.as_ref().unwrap().tokens.dims();
        assert_eq!(rows, batch.dims()[0]);
        let patches = values(together.patches.unwrap().tokens);
        let class = together.class_token.map(values);
        for (row, image) in batch.split(1, 0).into_iter().enumerate() {
            let alone = encoder.encode_images(image).unwrap();
            let of_row = |all: &[f32], width: usize| all[row * width..(row + 1) * width].to_vec();
            let expected = of_row(&patches, tokens * hidden);
            assert_close(&case.name, &values(alone.patches.unwrap().tokens), &expected, 1e-5, 0.9999999);
            if let Some(class) = &class {
                let found = values(alone.class_token.unwrap());
                assert_close(&case.name, &found, &of_row(class, hidden), 1e-5, 0.9999999);
            }
        }
    }
}
