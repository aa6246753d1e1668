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
    for family in [json!("alexnet"), json!(7), Value::Null] {
        let message = load_error("vit", json!({ "model_type": family })).to_string();
        for known in ["dinov2", "dinov2_with_registers", "efficientnet_lite", "resnet", "convnextv2", "vit"] {
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
        ("dinov3_vit", "num_attention_heads", json!(12)),
        ("dinov3_vit", "rope_theta", json!(0.0)),
        ("dinov3_vit", "key_bias", json!("no")),
        ("clip", "vision_config", json!([])),
        ("clip", "projection_dim", json!(0)),
        ("siglip2_vision_model", "num_patches", json!(10)),
        ("aimv2_native", "hidden_size", json!(18)),
        ("aimv2_original", "use_bias", json!(true)),
        ("efficientnet_lite", "width_coefficient", json!(1e30)),
        ("efficientnet_lite", "depth_coefficient", json!(-1.0)),
        ("resnet", "hidden_sizes", json!([12, 16, 0, 24])),
        ("resnet", "hidden_sizes", json!([12, 16, huge, 24])),
        ("resnet", "hidden_sizes", json!([])),
        ("resnet", "depths", json!([1, 2, 1])),
        ("resnet", "depths", json!([1, 2, 1, 1_000_000_000])),
        ("resnet", "depths", json!("1212")),
        ("resnet", "depths", json!([1024, 1, 1, 1])),
        ("resnet", "embedding_size", json!(0)),
        ("resnet", "num_channels", json!(1)),
        ("resnet", "hidden_act", json!("gelu")),
        ("resnet", "layer_type", json!("wide")),
        ("convnext", "patch_size", json!(0)),
        ("convnext", "layer_norm_eps", json!(0)),
        ("convnext", "layer_scale_init_value", json!("small")),
        ("convnextv2", "depths", json!([1, 1, 2, -1])),
        ("dinov3_convnext", "hidden_act", json!("softplus9")),
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
        ("dinov3_vit", "key_bias", json!(true), "k_proj"),
        ("dinov3_vit", "use_gated_mlp", json!(true), "gate_proj"),
        ("dinov3_vit", "num_register_tokens", json!(4), "register_tokens"),
        ("vit_mae", "intermediate_size", json!(21), "intermediate"),
        ("mae_original", "num_hidden_layers", json!(1), "blocks.1."),
        ("ijepa", "model_type", json!("vit"), "cls_token"),
        ("clip", "projection_dim", json!(9), "visual_projection"),
        ("clip_vision_model", "model_type", json!("clip"), "visual_projection"),
        ("siglip_vision_model", "vision_use_head", json!(false), "head."),
        ("aimv2_native", "is_native", json!(false), "position_embedding"),
        ("efficientnet_lite", "depth_coefficient", json!(1.0), "blocks.12"),
        ("efficientnet_lite", "width_coefficient", json!(1.0), "conv_head"),
        ("resnet", "embedding_size", json!(9), "embedder"),
        ("resnet", "depths", json!([1, 2, 1, 2]), "stages.3.layers.1"),
        ("resnet", "depths", json!([1, 1, 1, 1]), "stages.1.layers.1"),
        ("resnet", "layer_type", json!("basic"), "layer.2"),
        ("convnext", "model_type", json!("convnextv2"), "grn"),
        ("convnext", "layer_scale_init_value", json!(0.0), "layer_scale_parameter"),
        ("convnext", "patch_size", json!(2), "patch_embeddings"),
        ("convnextv2", "model_type", json!("convnext"), "grn"),
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
    let largest = json!({ "hidden_sizes": vec![1 << 22; 8], "depths": vec![128; 8] });
    assert!(matches!(load_error("convnext", largest.clone()), ModelError::Tensors { .. }));
    assert!(matches!(load_error("resnet", largest), ModelError::Tensors { .. }));
}

#[test]
fn rejects_unsupported_shapes() {
    for (case, shape) in [
        ("dinov2", [1, 3, 21, 20]),
        ("dinov2", [1, 3, 20, 4]),
        ("dinov2", [1, 3, 0, 20]),
        ("dinov2", [1, 1, 20, 20]),
        ("dinov2", [0, 3, 20, 20]),
        // The positions of AIMv2 are those of one size.
        ("aimv2_vision_model", [1, 3, 16, 12]),
        ("efficientnet_lite", [1, 4, 64, 64]),
        ("efficientnet_lite", [1, 3, 64, 0]),
        ("efficientnet_lite", [0, 3, 64, 64]),
        ("resnet", [1, 1, 64, 64]),
        ("resnet", [1, 3, 0, 64]),
        ("convnext", [1, 3, 31, 64]),
        ("convnext", [1, 3, 64, 31]),
    ] {
        let encoder = Case::new(case).encoder(Dtype::F32);
        let error = encoder.encode_images(Tensor::zeros(shape, &Device::flex())).unwrap_err();
        assert!(error.to_string().starts_with("pixels has shape"), "{error}");
    }
}

#[test]
fn padded_convolutions_support_any_image_size() {
    for case in ["efficientnet_lite", "resnet"] {
        let encoder = Case::new(case).encoder(Dtype::F32);
        for (height, width) in [(1_usize, 1_usize), (33, 2), (64, 31)] {
            let features =
                encoder.encode_images(Tensor::zeros([1, 3, height, width], &Device::flex())).unwrap();
            assert_eq!(features.patches.unwrap().grid, [height.div_ceil(32), width.div_ceil(32)], "{case}");
        }
    }
}

#[test]
fn options_that_are_not_supported_are_named() {
    let cases = [
        ("timm_vit", "/architecture", json!("swin_tiny_patch4_window7_224"), "vit_"),
        ("timm_vit", "/architecture", json!("vit_base_patch16_rope_mixed_224"), "supported"),
        ("timm_vit", "/model_args/rope_type", json!("mixed"), "rope_type"),
        ("timm_vit", "/model_args/num_heads", json!(5), "num_heads"),
        ("timm_vit", "/model_args/act_layer", json!("hard_swish"), "act_layer"),
        ("timm_vit", "/global_pool", json!("avgmax"), "global_pool"),
        ("eva02_base", "/model_args/ref_feat_shape", json!([0, 4]), "ref_feat_shape"),
        ("pe_original", "/heads", json!(5), "heads"),
        ("pe_original", "/attn_pooler_heads", json!(0), "attn_pooler_heads"),
        ("open_clip", "/model_cfg/embed_dim", json!(null), "embed_dim"),
        ("open_clip", "/model_cfg/multimodal_cfg", json!({}), "CoCa"),
        ("open_clip", "/model_cfg/vision_cfg", json!(null), "vision_cfg"),
        ("open_clip", "/model_cfg/vision_cfg/attentional_pool", json!(true), "attentional_pool"),
        ("open_clip", "/model_cfg/vision_cfg/layers", json!([3, 4, 6, 3]), "layers"),
        ("open_clip", "/model_cfg/vision_cfg/head_width", json!(5), "head_width"),
        ("open_clip", "/model_cfg/vision_cfg/pool_type", json!("none"), "pool_type"),
        ("open_clip_timm", "/model_cfg/vision_cfg/timm_pool", json!("rot_attn"), "timm_pool"),
        ("open_clip_timm", "/model_cfg/vision_cfg/timm_proj", json!("mlp"), "timm_proj"),
        (
            "open_clip_timm",
            "/model_cfg/vision_cfg/timm_model_name",
            json!("vit_base_patch16_rope_224"),
            "timm_model_name",
        ),
    ];
    for (case, pointer, value, named) in cases {
        let case = Case::new(case);
        let mut config: Value = serde_json::from_str(&case.config()).unwrap();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        config.pointer_mut(parent).unwrap()[field] = value;
        let error = match case.load(&config.to_string(), Dtype::F32) {
            Err(error @ ModelError::Config { .. }) => error.to_string(),
            Err(error) => panic!("{pointer}: {error}"),
            Ok(_) => panic!("{pointer} is accepted"),
        };
        assert!(error.contains(named), "{pointer}: {error}");
    }
}

#[test]
fn files_without_the_tensors_of_a_vision_transformer_are_rejected() {
    for (config, case) in [("timm_vit", "clip"), ("pe_original", "clip"), ("open_clip_timm", "open_clip")] {
        let error = Case::new(case).load(&Case::new(config).config(), Dtype::F32).err().unwrap();
        assert!(matches!(error, ModelError::Config { .. }), "{config}: {error}");
    }
}
