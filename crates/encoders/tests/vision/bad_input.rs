//! Invalid configurations, weights and images.

use crate::fixtures::Case;
use burn::tensor::{Device, Tensor};
use sail_core::Dtype;
use sail_encoders::ModelError;
use serde_json::{Value, json};

/// Returns the error of loading a fixture with modified fields.
fn load_error(case: &str, fields: Value) -> ModelError {
    let case = Case::new(case);
    let mut config: Value = serde_json::from_str(&case.config()).unwrap();
    for (name, value) in fields.as_object().unwrap() {
        config[name] = value.clone();
    }
    match case.load(&config.to_string(), Dtype::F32) {
        Ok(_) => panic!("{fields} is accepted"),
        Err(error) => error,
    }
}

#[test]
fn unknown_model_types_list_the_supported_ones() {
    for family in [json!("resnet"), json!(7), Value::Null] {
        let message = load_error("vit", json!({ "model_type": family })).to_string();
        for known in ["dinov2", "dinov2_with_registers", "efficientnet_lite", "vit"] {
            assert!(message.contains(known), "{message}");
        }
    }
}

#[test]
fn names_fields_out_of_range() {
    let huge = u64::MAX;
    let cases = [
        ("dinov2", "hidden_size", json!(0)),
        ("dinov2", "hidden_size", json!(huge)),
        ("dinov2", "num_hidden_layers", json!(0)),
        ("dinov2", "num_hidden_layers", json!(1_000_000_000)),
        ("dinov2", "num_attention_heads", json!(0)),
        ("dinov2", "num_attention_heads", json!(5)),
        ("dinov2", "mlp_ratio", json!(huge)),
        ("dinov2", "patch_size", json!(0)),
        ("dinov2", "patch_size", json!([5, 4])),
        ("dinov2", "image_size", json!(4)),
        ("dinov2", "image_size", json!(huge)),
        ("dinov2", "num_channels", json!(1)),
        ("dinov2", "hidden_act", json!("swish9")),
        ("dinov2", "layer_norm_eps", json!(-1.0)),
        ("registers", "num_register_tokens", json!(huge)),
        ("vit", "intermediate_size", json!(0)),
        ("vit", "intermediate_size", json!(huge)),
        ("vit_pooler", "pooler_act", json!("relu")),
        ("vit_pooler", "pooler_output_size", json!(huge)),
        ("efficientnet_lite", "width_coefficient", json!(1e30)),
        ("efficientnet_lite", "depth_coefficient", json!(-1.0)),
    ];
    for (case, field, value) in cases {
        let error = load_error(case, json!({ field: value }));
        assert!(
            matches!(error, ModelError::Config { field: found, .. } if found == field),
            "{field} {value}: {error}"
        );
    }
}

#[test]
fn rejects_fields_of_the_wrong_type() {
    for case in ["dinov2", "vit"] {
        for value in [json!("wide"), json!(-3), json!(2.5), json!([1]), json!({})] {
            assert!(matches!(load_error(case, json!({ "hidden_size": value })), ModelError::Config { .. }));
        }
    }
    let error = load_error("efficientnet_lite", json!({ "width_coefficient": "wide" }));
    assert!(matches!(error, ModelError::Config { .. }));
}

#[test]
fn names_tensors_that_do_not_match_the_configuration() {
    let cases = [
        ("dinov2", "hidden_size", json!(48), "cls_token"),
        ("dinov2", "image_size", json!(40), "position_embeddings"),
        ("dinov2", "num_hidden_layers", json!(3), "layer.2."),
        ("dinov2", "num_hidden_layers", json!(1), "layer.1."),
        ("dinov2", "qkv_bias", json!(false), "bias"),
        ("dinov2", "use_swiglu_ffn", json!(true), "fc1"),
        ("registers", "num_register_tokens", json!(2), "register_tokens"),
        ("registers", "model_type", json!("dinov2"), "register_tokens"),
        ("vit", "model_type", json!("dinov2"), "layer_scale1"),
        ("efficientnet_lite", "depth_coefficient", json!(1.0), "blocks.12"),
        ("efficientnet_lite", "width_coefficient", json!(1.0), "conv_head"),
    ];
    for (case, field, value, named) in cases {
        let error = load_error(case, json!({ field: value }));
        let ModelError::Tensors { problems } = &error else { panic!("{field} {value}: {error}") };
        assert!(format!("{problems:?}").contains(named), "{field} {value}: {problems:?}");
        assert!(error.to_string().len() < 1000, "{error}");
    }
    // The largest valid configuration would require terabytes.
    let largest = json!({ "hidden_size": 65536, "num_hidden_layers": 1024, "image_size": 16384, "patch_size": 1,
        "num_attention_heads": 1 });
    assert!(matches!(load_error("dinov2", largest), ModelError::Tensors { .. }));
}

#[test]
fn rejects_unsupported_shapes() {
    for (case, shape) in [
        ("dinov2", [1, 3, 21, 20]),
        ("dinov2", [1, 3, 20, 4]),
        ("dinov2", [1, 3, 0, 20]),
        ("dinov2", [1, 1, 20, 20]),
        ("dinov2", [0, 3, 20, 20]),
        ("efficientnet_lite", [1, 4, 64, 64]),
        ("efficientnet_lite", [1, 3, 64, 0]),
        ("efficientnet_lite", [0, 3, 64, 64]),
    ] {
        let encoder = Case::new(case).encoder(Dtype::F32);
        let error = encoder.encode_images(Tensor::zeros(shape, &Device::flex())).unwrap_err();
        assert!(error.to_string().starts_with("pixels has shape"), "{error}");
    }
}

#[test]
fn efficientnet_supports_any_image_size() {
    let encoder = Case::new("efficientnet_lite").encoder(Dtype::F32);
    for (height, width) in [(1_usize, 1_usize), (33, 2), (64, 31)] {
        let features = encoder.encode_images(Tensor::zeros([1, 3, height, width], &Device::flex())).unwrap();
        assert_eq!(features.patches.unwrap().grid, [height.div_ceil(32), width.div_ceil(32)]);
    }
}
