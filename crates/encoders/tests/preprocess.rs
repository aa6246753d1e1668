//! Preprocessing against transformers with Pillow; fixtures from `fixtures/generate_preprocess.py`.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use sail_core::{ImagePreprocessor, Processor, Provenance, RgbImage};
use sail_encoders::{ImageProcessor, ImageProcessorConfig, ModelError, Normalize, Resample, Resize};
use serde_json::{Value, json};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/preprocess")
}

fn read_json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder().join(name)).unwrap()).unwrap()
}

fn open(config: &Value) -> Result<ImageProcessor, ModelError> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("preprocessor_config.json"), config.to_string()).unwrap();
    std::fs::write(folder.path().join("config.json"), r#"{"model_type": "vit"}"#).unwrap();
    ImageProcessor::open(folder.path())
}

fn plain(resize: Option<Resize>, center_crop: Option<[usize; 2]>) -> ImageProcessorConfig {
    ImageProcessorConfig { resize, resample: Resample::Bicubic, center_crop, rescale: None, normalize: None }
}

#[test]
fn pixels_match_transformers() {
    let bytes = std::fs::read(folder().join("expected.safetensors")).unwrap();
    let expected = SafeTensors::deserialize(&bytes).unwrap();
    let configs = read_json("configs.json");
    let cases = read_json("cases.json");
    for case in cases.as_array().unwrap() {
        let (config, name) = (case["config"].as_str().unwrap(), case["image"].as_str().unwrap());
        let processor = open(&configs[config]).unwrap();
        let image = image::open(folder().join(format!("{name}.png"))).unwrap().into_rgb8();
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
        for (found, expected) in found.zip(values) {
            assert_eq!(*found, expected, "{config} of {name}");
        }
    }
    assert!(cases.as_array().unwrap().len() > 50);
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
        error("image_processor_type", json!("ConvNextImageProcessor")),
        "`image_processor_type` of the model is ConvNextImageProcessor, expected one of BitImageProcessor, \
         CLIPImageProcessor, DeiTImageProcessor, SiglipImageProcessor, ViTImageProcessor"
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
fn rejects_invalid_folders() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("preprocessor_config.json");
    let missing = ImageProcessor::open(folder.path()).unwrap_err().to_string();
    assert!(
        missing
            .ends_with("no image preprocessing: looked for preprocessor_config.json, processor_config.json"),
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
}
