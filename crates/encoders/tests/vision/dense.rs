//! Dense features against transformers' `hidden_states` and PyTorch.

use crate::fixtures::{Case, values};
use burn::tensor::{Device, Tensor};
use safetensors::SafeTensors;
use sail_core::{Attention, DenseOptions, Dtype, EncodeError, ImageFeatures, Layer};

/// Class token and patch tokens, in the order of transformers.
fn tokens(features: ImageFeatures) -> Vec<f32> {
    let class = features.class_token.map(|class| class.unsqueeze_dim::<3>(1));
    values(Tensor::cat(class.into_iter().chain([features.patches.unwrap().tokens]).collect(), 1))
}

fn assert_close(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(0.0_f32, |scale, x| scale.max(x.abs()));
    let error = found.iter().zip(expected).fold(0.0_f32, |error, (a, b)| error.max((a - b).abs()));
    assert!(error <= 1e-4 * scale, "{what}: error {error} at scale {scale}");
}

#[test]
fn layers_and_query_query_attention_match_the_reference() {
    let mut seen = 0;
    for case in Case::transformers() {
        let bytes = std::fs::read(case.folder.join("dense.safetensors")).unwrap();
        let mut inputs = case.expected();
        let pixels = inputs.swap_remove(usize::from(inputs.len() > 1)).pixels;
        let encoder = case.encoder(Dtype::F32);
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let hidden: Vec<_> = file.names().into_iter().filter(|name| name.starts_with("hidden.")).collect();
        let layers: Vec<Layer> =
            hidden.iter().map(|name| name.replace("hidden.", "-").parse().unwrap()).collect();
        let in_one_pass = encoder.encode_layers(pixels.clone(), &layers).unwrap();
        for (layer, found) in layers.iter().zip(in_one_pass) {
            let options = DenseOptions { layer: *layer, ..DenseOptions::default() };
            let alone = encoder.encode_dense(pixels.clone(), options).unwrap();
            assert_eq!(tokens(found), tokens(alone), "{} {layer}", case.name);
        }
        for (name, expected) in file.iter() {
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
    assert_eq!(seen, 160);
}

#[test]
fn default_options_match_encode_images() {
    for case in Case::all() {
        let (encoder, pixels) = (case.encoder(Dtype::F32), case.expected().swap_remove(0).pixels);
        // More than a micro-batch.
        let pixels = pixels.repeat_dim(0, 3);
        let plain = encoder.encode_images(pixels.clone()).unwrap();
        let dense = encoder.encode_dense(pixels, DenseOptions::default()).unwrap();
        assert_eq!(values(dense.patches.unwrap().tokens), values(plain.patches.unwrap().tokens));
        assert_eq!(dense.pooled.map(values), plain.pooled.map(values));
    }
}

#[test]
fn rejects_unsupported_options() {
    let reject = |case: &str, layer, attention| {
        let encoder = Case::new(case).encoder(Dtype::F32);
        let options = DenseOptions { layer, attention };
        let side = if case == "efficientnet_lite" { 64 } else { 20 };
        let error = encoder.encode_dense(Tensor::zeros([1, 3, side, side], &Device::flex()), options);
        match error.unwrap_err() {
            EncodeError::Dense { requested, expected } => {
                assert_eq!(requested, options);
                expected
            }
            other => panic!("{other}"),
        }
    };
    for n in [0, 4, usize::MAX] {
        let expected = reject("dinov2", Layer::FromEnd(n), Attention::Standard);
        assert!(expected.contains("-1 to -3"), "{expected}");
    }
    // The embeddings come before the first attention.
    reject("dinov2", Layer::FromEnd(3), Attention::QueryQuery);
    let expected = reject("efficientnet_lite", Layer::FromEnd(2), Attention::Standard);
    assert_eq!(expected, "the last layer with standard attention");
    reject("efficientnet_lite", Layer::Last, Attention::QueryQuery);
}
