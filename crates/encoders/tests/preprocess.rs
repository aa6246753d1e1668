//! Preprocessing against transformers, timm and OpenCLIP; fixtures from `fixtures/generate_preprocess.py`.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use sail_core::{ImagePreprocessor, Processor, Provenance, RgbImage};
use sail_encoders::{
    Arithmetic, CropRounding, ImageProcessor, ImageProcessorConfig, ModelError, Normalize, Resample, Resize,
};
use serde_json::{Value, json};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/preprocess")
}

fn read_json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder().join(name)).unwrap()).unwrap()
}

fn open_file(name: &str, content: &Value) -> Result<ImageProcessor, ModelError> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), r#"{"model_type": "vit"}"#).unwrap();
    std::fs::write(folder.path().join(name), content.to_string()).unwrap();
    ImageProcessor::open(folder.path())
}

fn open(config: &Value) -> Result<ImageProcessor, ModelError> {
    open_file("preprocessor_config.json", config)
}

fn plain(resize: Option<Resize>, center_crop: Option<[usize; 2]>) -> ImageProcessorConfig {
    ImageProcessorConfig { resize, center_crop, ..ImageProcessorConfig::default() }
}

/// An image so large that the precision of positions matters, as in the generator.
fn formula() -> RgbImage {
    let bytes = |x: u32, y: u32| [x * y / 7 + x, x * x / 11 + y, y * y / 5].map(|value| value as u8);
    RgbImage::from_fn(4001, 2999, |x, y| bytes(x, y).into())
}

#[test]
fn pixels_match_the_libraries_that_define_them() {
    let bytes = std::fs::read(folder().join("expected.safetensors")).unwrap();
    let expected = SafeTensors::deserialize(&bytes).unwrap();
    let configs = read_json("configs.json");
    let cases = read_json("cases.json");
    for case in cases.as_array().unwrap() {
        let (config, name) = (case["config"].as_str().unwrap(), case["image"].as_str().unwrap());
        let source = &configs[config];
        let processor = open_file(source["file"].as_str().unwrap(), &source["content"]).unwrap();
        let image = match name {
            "formula" => formula(),
            _ => image::open(folder().join(format!("{name}.png"))).unwrap().into_rgb8(),
        };
        let pixels = processor.preprocess(&image).unwrap();
        assert_eq!(json!(pixels.size), case["size"], "{config} of {name}");
        let stride = case["stride"].as_u64().unwrap() as usize;
        let [height, width] = pixels.size;
        let found = pixels.values.chunks_exact(height * width).flat_map(|plane| {
            let rows = plane.chunks_exact(width).step_by(stride);
            rows.flat_map(|row| row.iter().step_by(stride))
        });
        let view = expected.tensor(&format!("{config}/{name}")).unwrap();
        let values = view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        assert_eq!(values.len(), found.clone().count(), "{config} of {name}");
        let tolerance = case["tolerance"].as_f64().unwrap_or(0.0) as f32;
        for (found, expected) in found.zip(values) {
            assert!((found - expected).abs() <= tolerance, "{config} of {name}: {found}, not {expected}");
        }
    }
    assert!(cases.as_array().unwrap().len() > 120);
}

#[test]
fn reads_processor_config() {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({"image_processor": {"image_processor_type": "ViTImageProcessor", "size": {"height": 8, "width": 6}}});
    std::fs::write(folder.path().join("processor_config.json"), config.to_string()).unwrap();
    let processor = ImageProcessor::open(folder.path()).unwrap();
    assert_eq!(processor.config().resize, Some(Resize::Exact { height: 8, width: 6 }));
}

#[test]
fn names_unsupported_settings() {
    let error = |setting: &str, value: Value| {
        let mut config = json!({"image_processor_type": "BitImageProcessor"});
        config[setting] = value;
        open(&config).unwrap_err().to_string()
    };
    assert_eq!(
        error("image_processor_type", json!("LevitImageProcessor")),
        "`image_processor_type` of the model is LevitImageProcessor, expected one of BeitImageProcessor, \
         BitImageProcessor, CLIPImageProcessor, ConvNextImageProcessor, DINOv3ViTImageProcessor, DeiTImageProcessor, \
         EfficientNetImageProcessor, SiglipImageProcessor, Siglip2ImageProcessor, Tipsv2ImageProcessor, \
         ViTImageProcessor"
    );
    assert_eq!(error("do_pad", json!(true)), "`do_pad` of the model is true, expected false");
    assert_eq!(error("resample", json!(6)), "`resample` of the model is 6, expected an integer from 0 to 5");
    assert_eq!(
        error("size", json!({"longest_edge": 9})),
        "`size` of the model is {\"longest_edge\":9}, expected height and width, or shortest_edge with or without \
         longest_edge"
    );
    assert_eq!(
        error("crop_size", json!({"shortest_edge": 9})),
        "`crop_size` of the model is {\"shortest_edge\":9}, expected height and width"
    );
    for (setting, value) in [
        ("size", json!({"height": 0, "width": 3})),
        ("size", json!({"height": -1, "width": 3})),
        ("size", json!(1e300)),
        ("size", json!({})),
        ("crop_size", json!(u64::MAX)),
        ("rescale_factor", json!("a third")),
        ("rescale_factor", json!(0)),
        ("image_std", json!([0.1, 0.0, 0.1])),
        ("image_mean", json!([0.1, 0.2])),
        ("image_mean", json!([])),
    ] {
        let message = error(setting, value.clone());
        let names_the_field = message.starts_with(&format!("`{setting}` of the model is "));
        assert!(names_the_field || message.contains("preprocessor_config.json: `"), "{value}: {message}");
    }
}

#[test]
fn names_unsupported_settings_of_timm_and_open_clip() {
    let timm = |setting: &str, value: Value| {
        open_file("config.json", &json!({"architecture": "vit", "pretrained_cfg": {setting: value}}))
    };
    let open_clip = |setting: &str, value: Value| {
        open_file("open_clip_config.json", &json!({"model_cfg": {}, "preprocess_cfg": {setting: value}}))
    };
    for (result, message) in [
        (
            timm("input_size", json!([4, 8, 8])),
            "`input_size` of the model is [4,8,8], expected three channels",
        ),
        (
            timm("input_size", json!([3, -1, 8])),
            "`input_size` of the model is [3,-1,8], expected channels, height and width",
        ),
        (
            timm("crop_mode", json!("tile")),
            "`crop_mode` of the model is \"tile\", expected one of center, squash, border",
        ),
        (
            timm("crop_pct", json!(1.5)),
            "`crop_pct` of the model is 1.5, expected a number above 0 and up to 1",
        ),
        (
            timm("interpolation", json!("random")),
            "`interpolation` of the model is \"random\", expected one of nearest, lanczos, bilinear, bicubic, box, hamming",
        ),
        (timm("mean", json!([1, 2])), "`mean` of the model is [1,2], expected three numbers"),
        (
            open_clip("resize_mode", json!("tile")),
            "`resize_mode` of the model is \"tile\", expected one of shortest, longest, squash",
        ),
        (
            open_clip("fill_color", json!(256)),
            "`fill_color` of the model is 256, expected an integer from 0 to 255",
        ),
        (
            open_clip("size", json!([1, 2, 3])),
            "`size` of the model is [1,2,3], expected an integer, or height and width",
        ),
    ] {
        assert_eq!(result.unwrap_err().to_string(), message);
    }
    // Out of range.
    assert!(timm("crop_pct", json!(1e-300)).unwrap_err().to_string().contains("resize.shortest_edge"));
    assert!(timm("std", json!([0, 1, 1])).unwrap_err().to_string().contains("normalize.std"));
    assert!(open_clip("size", json!(0)).unwrap_err().to_string().contains("resize.shortest_edge"));
}

#[test]
fn names_unsupported_settings_of_a_class() {
    let error = |class: &str, setting: &str, value: Value| {
        open(&json!({"image_processor_type": class, setting: value})).unwrap_err().to_string()
    };
    for class in ["ConvNextImageProcessor", "DINOv3ViTImageProcessorFast", "Siglip2ImageProcessor"] {
        assert_eq!(
            error(class, "do_center_crop", json!(true)),
            "`do_center_crop` of the model is true, expected false"
        );
    }
    assert_eq!(
        error("ConvNextImageProcessor", "size", json!({"height": 3, "width": 3})),
        "`size` of the model is 3x3, expected an integer or `shortest_edge`"
    );
    let fraction = json!({"image_processor_type": "ConvNextImageProcessor", "size": 224, "crop_pct": 0});
    assert!(open(&fraction).unwrap_err().to_string().starts_with("`crop_pct` of the model is 0,"));
    assert!(error("DINOv3ViTImageProcessor", "resample", json!(1)).contains("`resample` is lanczos"));
    assert_eq!(
        error("DINOv3ViTImageProcessor", "do_rescale", json!(false)),
        "`do_rescale` of the model is false, expected true"
    );
    assert!(error("Siglip2ImageProcessor", "max_num_patches", json!(0)).contains("`resize.count` is 0"));
    assert_eq!(
        error("Tipsv2ImageProcessor", "do_normalize", json!(true)),
        "`image_mean` of the model is missing, expected three numbers, because `do_normalize` is true"
    );
}

#[test]
fn models_of_authors_without_files_have_their_transforms() {
    let config = |model_type: &str, settings: Value| {
        let mut config = settings;
        config["model_type"] = model_type.into();
        *open_file("config.json", &config).unwrap().config()
    };
    // The usual evaluation on ImageNet, as timm describes it.
    let timm = |size: usize| json!({"pretrained_cfg": {"input_size": [3, size, size], "crop_pct": 0.875}});
    for model_type in ["dino", "ibot", "vit_mae", "ijepa"] {
        let expected = open_file("config.json", &timm(224)).unwrap();
        assert_eq!(&config(model_type, json!({})), expected.config());
        let expected = open_file("config.json", &timm(448)).unwrap();
        assert_eq!(&config(model_type, json!({"image_size": 448})), expected.config());
    }
    assert_eq!(
        config("perception_encoder", json!({"image_size": 336})).to_string(),
        "resize to 336x336 (bilinear); rescale 0.00392156862745098; mean 0.5 0.5 0.5; std 0.5 0.5 0.5"
    );
    // Others come with a file.
    assert!(open_file("config.json", &json!({"model_type": "vit"})).is_err());
}

#[test]
fn files_are_read_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let size = |file: &str, content: Value| {
        std::fs::write(folder.path().join(file), content.to_string()).unwrap();
        ImageProcessor::open(folder.path()).unwrap().preprocess(&RgbImage::new(9, 9)).unwrap().size
    };
    // Without any file of preprocessing.
    assert_eq!(size("config.json", json!({"model_type": "ibot", "image_size": 7})), [7, 7]);
    // As timm wrote it first.
    assert_eq!(size("config.json", json!({"architecture": "vit", "input_size": [3, 2, 2]})), [2, 2]);
    assert_eq!(size("config.json", json!({"pretrained_cfg": {"input_size": [3, 3, 3]}})), [3, 3]);
    assert_eq!(size("open_clip_config.json", json!({"preprocess_cfg": {"size": 4}})), [4, 4]);
    let vit = |side| json!({"image_processor_type": "ViTImageProcessor", "size": side});
    // Without the part about images.
    assert_eq!(size("processor_config.json", json!({"processor_class": "CLIPProcessor"})), [4, 4]);
    assert_eq!(size("processor_config.json", json!({"image_processor": vit(5)})), [5, 5]);
    assert_eq!(size("preprocessor_config.json", vit(6)), [6, 6]);
}

#[test]
fn rejects_invalid_folders() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("preprocessor_config.json");
    let missing = ImageProcessor::open(folder.path()).unwrap_err().to_string();
    assert!(
        missing.ends_with(
            "no image preprocessing: looked for preprocessor_config.json, processor_config.json, \
                        open_clip_config.json, `pretrained_cfg` in config.json"
        ),
        "{missing}"
    );
    for text in ["", "[]", "7", "{\"size\": ", "\"\u{0}\"", &"[".repeat(100_000)] {
        std::fs::write(&path, text).unwrap();
        assert!(matches!(ImageProcessor::open(folder.path()), Err(ModelError::Format { .. })), "{text:.20}");
    }
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(ImageProcessor::open(folder.path()).is_err());
    // No class, and no model type that implies one.
    std::fs::write(&path, "{}").unwrap();
    assert!(ImageProcessor::open(folder.path()).is_err());
}

#[test]
fn with_size_scales_resize_and_crop() {
    let processor = |resize, crop| ImageProcessor::new(plain(resize, crop)).unwrap();
    let dinov2 = processor(Some(Resize::ShortestEdge(256)), Some([224, 224])).with_size(518).unwrap();
    assert_eq!(dinov2.config(), &plain(Some(Resize::ShortestEdge(592)), Some([518, 518])));
    let vit = processor(Some(Resize::Exact { height: 224, width: 224 }), None).with_size(384).unwrap();
    assert_eq!(vit.config(), &plain(Some(Resize::Exact { height: 384, width: 384 }), None));
    let bare = processor(None, None).with_size(9).unwrap();
    assert_eq!(bare.config(), &plain(Some(Resize::Exact { height: 9, width: 9 }), None));
    let patches = processor(Some(Resize::Patches { side: 16, count: 256 }), None).with_size(384).unwrap();
    assert_eq!(patches.config().resize, Some(Resize::Patches { side: 16, count: 576 }));
    assert_eq!(patches.preprocess(&RgbImage::new(7, 7)).unwrap().size, [384, 384]);
    let border =
        processor(Some(Resize::Contain { height: 10, width: 20 }), Some([9, 18])).with_size(36).unwrap();
    assert_eq!(border.config(), &plain(Some(Resize::Contain { height: 40, width: 40 }), Some([36, 36])));
    for size in [0, 65_536, usize::MAX] {
        assert!(vit.with_size(size).is_err() && dinov2.with_size(size).is_err());
    }
}

#[test]
fn describes_all_steps() {
    let mut config = ImageProcessorConfig {
        rescale: Some(1.0 / 255.0),
        normalize: Some(Normalize { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] }),
        ..plain(Some(Resize::ShortestEdge(256)), Some([224, 224]))
    };
    assert_eq!(
        ImageProcessor::new(config).unwrap().describe(),
        "resize to shortest edge 256 (bicubic); center crop 224x224; rescale 0.00392156862745098; \
         mean 0.485 0.456 0.406; std 0.229 0.224 0.225"
    );
    config.resample = Resample::Bilinear;
    assert!(ImageProcessor::new(config).unwrap().describe().contains("bilinear"));
    config.arithmetic = Arithmetic::Floats;
    config.fill = [0, 0, 9];
    config.crop_rounding = CropRounding::Even;
    for (resize, line) in [
        (Resize::Cover { height: 3, width: 4 }, "resize to cover 3x4 (bilinear, in floats)"),
        (Resize::Contain { height: 3, width: 4 }, "resize to fit within 3x4 (bilinear, in floats)"),
        (Resize::Patches { side: 3, count: 4 }, "resize to at most 4 patches of 3x3 (bilinear, in floats)"),
    ] {
        config.resize = Some(resize);
        let described = ImageProcessor::new(config).unwrap().describe();
        assert!(
            described.starts_with(&format!("{line}; center crop 224x224, odd to even, padded with 0 0 9; "))
        );
    }
}

#[test]
fn recorded_settings_are_those_of_the_description_and_give_the_same_processor() {
    let normalize = Some(Normalize { mean: [0.485, 0.0, 1.0 / 3.0], std: [0.229, 1.0, 1e-7] });
    let within = Resize::ShortestEdgeWithin { shortest: 3, longest: 9 };
    let resizes =
        [None, Some(Resize::ShortestEdge(256)), Some(Resize::Exact { height: 3, width: 4 }), Some(within)];
    for (resize, normalize) in resizes.into_iter().zip([None, normalize, None, normalize]) {
        let config = ImageProcessorConfig {
            rescale: normalize.map(|_| 1.0 / 255.0),
            normalize,
            ..plain(resize, resize.map(|_| [224, 22]))
        };
        let processor = ImageProcessor::new(config).unwrap();
        // The line that version 1 of stores and heads has in the place of the settings.
        let earlier = json!({"model": "m", "preprocessing": processor.describe()});
        let earlier: Provenance = serde_json::from_value(earlier).unwrap();
        assert_eq!(earlier.processor, Some(processor.processor()));
        let again = ImageProcessorConfig::from_processor(&processor.processor()).unwrap();
        assert_eq!(again.to_string(), config.to_string());
    }
    let other = Processor::Description("resize".to_owned());
    assert_eq!(ImageProcessorConfig::from_processor(&other), None);
}

#[test]
fn settings_that_are_not_recorded_have_the_values_of_earlier_versions() {
    let recorded = |config: ImageProcessorConfig| match config.processor() {
        Processor::Settings(settings) => settings,
        Processor::Description(text) => panic!("{text}"),
    };
    let earlier = plain(Some(Resize::ShortestEdge(8)), Some([7, 7]));
    let names: Vec<_> = recorded(earlier).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["center_crop", "resample", "resize"]);
    let later = ImageProcessorConfig {
        resize: Some(Resize::Contain { height: 8, width: 9 }),
        arithmetic: Arithmetic::Floats,
        crop_rounding: CropRounding::Even,
        fill: [1, 2, 3],
        ..earlier
    };
    let settings = recorded(later);
    assert_eq!(
        Value::Object(settings.clone()),
        json!({
            "resize": {"contain": {"height": 8, "width": 9}}, "resample": "bicubic", "arithmetic": "floats",
            "center_crop": [7, 7], "crop_rounding": "even", "fill": [1, 2, 3],
        })
    );
    assert_eq!(ImageProcessorConfig::from_processor(&Processor::Settings(settings)), Some(later));
    // What has no effect is not recorded.
    let unused = ImageProcessorConfig { resize: None, center_crop: None, ..later };
    assert_eq!(recorded(unused), recorded(plain(None, None)));
}

#[test]
fn extreme_aspect_ratios_are_resized_within_the_crop_only() {
    // 40,000 x 1 at a shortest edge of 256 would be 10,240,000 x 256 pixels.
    let narrow = RgbImage::from_fn(40_000, 1, |x, _| [x as u8; 3].into());
    let cropped = ImageProcessor::new(plain(Some(Resize::ShortestEdge(256)), Some([224, 224]))).unwrap();
    assert_eq!(cropped.preprocess(&narrow).unwrap().size, [224, 224]);
    let whole = ImageProcessor::new(plain(Some(Resize::ShortestEdge(256)), None)).unwrap();
    let error = whole.preprocess(&narrow).unwrap_err();
    assert!(error.to_string().contains("40000 x 1 pixels is resized to 10240000 x 256"), "{error}");
}

#[test]
fn rejects_empty_images() {
    let processor = ImageProcessor::new(plain(Some(Resize::ShortestEdge(8)), None)).unwrap();
    for size in [(0, 0), (0, 5), (5, 0)] {
        assert!(processor.preprocess(&RgbImage::new(size.0, size.1)).is_err());
    }
    let within = Resize::ShortestEdgeWithin { shortest: 8, longest: 8 };
    let processor = ImageProcessor::new(plain(Some(within), None)).unwrap();
    assert!(processor.preprocess(&RgbImage::new(100, 1)).is_err(), "the height rounds to 0");
}

proptest::proptest! {
    #[test]
    fn any_size_returns_the_requested_shape(
        from in (1_u32..60, 1_u32..60),
        to in (1_usize..40, 1_usize..40),
        crop in proptest::option::of((1_usize..50, 1_usize..50)),
        filter in 0..6_usize,
        shade in 0_u8..,
    ) {
        use Resample::{Bicubic, Bilinear, Box, Hamming, Lanczos, Nearest};
        let crop = crop.map(|(height, width)| [height, width]);
        let config = ImageProcessorConfig {
            resample: [Nearest, Lanczos, Bilinear, Bicubic, Box, Hamming][filter],
            ..plain(Some(Resize::Exact { height: to.0, width: to.1 }), crop)
        };
        let flat = RgbImage::from_pixel(from.0, from.1, [shade; 3].into());
        let pixels = ImageProcessor::new(config).unwrap().preprocess(&flat).unwrap();
        let size = crop.unwrap_or([to.0, to.1]);
        assert_eq!((pixels.size, pixels.values.len()), (size, 3 * size[0] * size[1]));
        // A constant image stays constant; padding is black.
        assert!(pixels.values.iter().all(|value| *value == f32::from(shade) || *value == 0.0));
        let kept = to.0.min(size[0]) * to.1.min(size[1]);
        let shaded = pixels.values.iter().filter(|value| **value == f32::from(shade)).count();
        assert!(shade == 0 || shaded == 3 * kept);
    }

    #[test]
    fn patches_are_whole_and_at_most_as_many_as_asked_for(
        height in 1_u32..500,
        width in 1_u32..500,
        side in 1_usize..12,
        count in 1_usize..200,
    ) {
        let processor = ImageProcessor::new(plain(Some(Resize::Patches { side, count }), None)).unwrap();
        let [rows, columns] = processor.preprocess(&RgbImage::new(width, height)).unwrap().size.map(|edge| {
            assert_eq!(edge % side, 0);
            edge / side
        });
        assert!((1..=count).contains(&(rows * columns)), "{rows} x {columns}");
    }
}
