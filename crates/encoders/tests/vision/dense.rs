//! Dense features of a layer of choice are what transformers' `hidden_states` and a computation in PyTorch gave.

use crate::fixtures::{Case, numbers};
use burn::tensor::{Device, FloatDType, Tensor};
use safetensors::SafeTensors;
use sail_core::{Attention, DenseOptions, EncodeError, ImageFeatures, Layer};

/// The tokens as transformers orders them: class token, then patches.
fn tokens(features: ImageFeatures) -> Vec<f32> {
    let class = features.class_token.unwrap().unsqueeze_dim::<3>(1);
    numbers(Tensor::cat(vec![class, features.patches.unwrap().tokens], 1))
}

fn assert_close(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(0.0_f32, |scale, x| scale.max(x.abs()));
    let error = found.iter().zip(expected).fold(0.0_f32, |error, (a, b)| error.max((a - b).abs()));
    assert!(error <= 1e-4 * scale, "{what}: error {error} at scale {scale}");
}

#[test]
fn layers_and_query_query_attention_are_the_references() {
    let mut seen = 0;
    for case in Case::all() {
        let Ok(bytes) = std::fs::read(case.folder.join("dense.safetensors")) else { continue };
        let mut inputs = case.expected();
        let pixels = inputs.swap_remove(usize::from(inputs.len() > 1)).pixels;
        let encoder = case.encoder(FloatDType::F32);
        for (name, expected) in SafeTensors::deserialize(&bytes).unwrap().iter() {
            let expected = expected.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
            let options = match name.strip_prefix("hidden.") {
                Some(n) => {
                    DenseOptions { layer: Layer::FromEnd(n.parse().unwrap()), ..DenseOptions::default() }
                }
                None => DenseOptions { attention: Attention::QueryQuery, ..DenseOptions::default() },
            };
            let found = encoder.encode_dense(pixels.clone(), options).unwrap();
            assert!(found.pooled.is_none());
            let what = format!("{} {name}", case.name);
            assert_close(&what, &tokens(found), &expected.collect::<Vec<_>>());
            seen += 1;
        }
    }
    assert_eq!(seen, 7 * 4);
}

#[test]
fn the_default_is_what_pooling_takes() {
    for case in Case::all() {
        let (encoder, pixels) = (case.encoder(FloatDType::F32), case.expected().swap_remove(0).pixels);
        // More than go through side by side at once.
        let pixels = pixels.repeat_dim(0, 3);
        let plain = encoder.encode_images(pixels.clone()).unwrap();
        let dense = encoder.encode_dense(pixels, DenseOptions::default()).unwrap();
        assert_eq!(numbers(dense.patches.unwrap().tokens), numbers(plain.patches.unwrap().tokens));
        assert_eq!(dense.pooled.map(numbers), plain.pooled.map(numbers));
    }
}

#[test]
fn what_an_architecture_does_not_have_is_refused() {
    let refused = |case: &str, layer, attention| {
        let encoder = Case::new(case).encoder(FloatDType::F32);
        let options = DenseOptions { layer, attention };
        let side = if case == "efficientnet_lite" { 64 } else { 20 };
        let error = encoder.encode_dense(Tensor::zeros([1, 3, side, side], &Device::flex()), options);
        match error.unwrap_err() {
            EncodeError::Dense { asked, expected } => {
                assert_eq!(asked, options);
                expected
            }
            other => panic!("{other}"),
        }
    };
    for n in [0, 4, usize::MAX] {
        let expected = refused("dinov2", Layer::FromEnd(n), Attention::Standard);
        assert!(expected.contains("-1 to -3"), "{expected}");
    }
    // Embeddings come before all attention.
    refused("dinov2", Layer::FromEnd(3), Attention::QueryQuery);
    let expected = refused("efficientnet_lite", Layer::FromEnd(2), Attention::Standard);
    assert_eq!(expected, "the last layer with standard attention alone");
    refused("efficientnet_lite", Layer::Last, Attention::QueryQuery);
}
