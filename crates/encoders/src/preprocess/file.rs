//! Preprocessing from the files of a model.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{ImageProcessorConfig, Normalize, Resample, Resize};
use crate::config::Fields;
use crate::pretrained::ModelError;
use crate::pretrained::small_file::{MAX_JSON, read_json};

/// Maximum size of a file; published ones have a few hundred bytes.
const MAX_BYTES: u64 = 1 << 20;

/// A class of image processors with its defaults.
struct Class {
    /// Name without the suffix `ImageProcessor` or `FeatureExtractor`.
    name: &'static str,
    /// Values of `model_type` in `config.json` that imply the class.
    models: &'static [&'static str],
    resample: Resample,
    resize: Resize,
    /// Whether a size given as one integer is a square or the shortest edge.
    square: bool,
    crop: Option<[usize; 2]>,
    normalize: Normalize,
}

const HALF: Normalize = Normalize { mean: [0.5; 3], std: [0.5; 3] };
const CLIP: Normalize =
    Normalize { mean: [0.48145466, 0.4578275, 0.40821073], std: [0.26862954, 0.26130258, 0.27577711] };

const CLASSES: [Class; 5] = [
    Class {
        name: "Bit",
        models: &["dinov2", "dinov2_with_registers"],
        resample: Resample::Bicubic,
        resize: Resize::ShortestEdge(224),
        square: false,
        crop: Some([224, 224]),
        normalize: CLIP,
    },
    Class {
        name: "CLIP",
        models: &["clip", "clip_vision_model", "aimv2", "aimv2_vision_model"],
        resample: Resample::Bicubic,
        resize: Resize::ShortestEdge(224),
        square: false,
        crop: Some([224, 224]),
        normalize: CLIP,
    },
    Class {
        name: "DeiT",
        models: &["deit"],
        resample: Resample::Bicubic,
        resize: Resize::Exact { height: 256, width: 256 },
        square: true,
        crop: Some([224, 224]),
        normalize: HALF,
    },
    Class {
        name: "Siglip",
        models: &["siglip", "siglip_vision_model"],
        resample: Resample::Bicubic,
        resize: Resize::Exact { height: 224, width: 224 },
        square: false,
        crop: None,
        normalize: HALF,
    },
    Class {
        name: "ViT",
        models: &["vit", "vit_mae", "vit_msn", "ijepa"],
        resample: Resample::Bilinear,
        resize: Resize::Exact { height: 224, width: 224 },
        square: true,
        crop: None,
        normalize: HALF,
    },
];

/// The settings that affect pixels. Null means missing, as in transformers.
struct Settings {
    image_processor_type: Option<String>,
    feature_extractor_type: Option<String>,
    do_resize: Option<bool>,
    size: Option<Size>,
    resample: Option<Value>,
    do_center_crop: Option<bool>,
    crop_size: Option<Size>,
    do_rescale: Option<bool>,
    rescale_factor: Option<f64>,
    do_normalize: Option<bool>,
    image_mean: Option<Channels>,
    image_std: Option<Channels>,
    do_pad: Option<bool>,
    use_square_size: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Size {
    Integer(usize),
    Pair([usize; 2]),
    Object(Map<String, Value>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Channels {
    One(f64),
    Each([f64; 3]),
}

impl Channels {
    fn values(&self) -> [f64; 3] {
        match *self {
            Self::One(value) => [value; 3],
            Self::Each(values) => values,
        }
    }
}

/// Reads the preprocessing of a model folder and returns it with the path of the file.
pub(super) fn read(folder: &Path) -> Result<(ImageProcessorConfig, PathBuf), ModelError> {
    // Newer models with a tokenizer have one file for both.
    let files = ["preprocessor_config.json", "processor_config.json"];
    let [own, shared] = files.map(|name| folder.join(name));
    let (settings, path) = match read_json(&own, MAX_BYTES)? {
        Some(settings) => (settings, own),
        None => {
            let mut processor = read_json(&shared, MAX_BYTES)?.ok_or_else(|| ModelError::Missing {
                folder: folder.display().to_string(),
                what: "image preprocessing",
                looked_for: files.map(str::to_owned).into(),
            })?;
            (processor.get_mut("image_processor").map(Value::take).unwrap_or_default(), shared)
        }
    };
    if !settings.is_object() {
        return Err(ModelError::Format {
            path,
            reason: "no object with the settings of an image processor".into(),
        });
    }
    let settings = Settings::read(Fields(&settings))?;
    let class = settings.class(folder)?;
    Ok((settings.config(class)?, path))
}

fn unsupported(field: &'static str, found: impl ToString, expected: impl ToString) -> ModelError {
    ModelError::Config { field, found: found.to_string(), expected: expected.to_string() }
}

impl Settings {
    fn read(fields: Fields<'_>) -> Result<Self, ModelError> {
        let flag = |field| fields.read(field, "true or false");
        let size = |field| fields.read(field, "an integer, a pair of integers or an object of lengths");
        let channels = |field| fields.read(field, "one number or three");
        Ok(Self {
            image_processor_type: fields.read("image_processor_type", "the name of a class")?,
            feature_extractor_type: fields.read("feature_extractor_type", "the name of a class")?,
            do_resize: flag("do_resize")?,
            size: size("size")?,
            resample: fields.read("resample", "an integer from 0 to 5")?,
            do_center_crop: flag("do_center_crop")?,
            crop_size: size("crop_size")?,
            do_rescale: flag("do_rescale")?,
            rescale_factor: fields.read("rescale_factor", "a number")?,
            do_normalize: flag("do_normalize")?,
            image_mean: channels("image_mean")?,
            image_std: channels("image_std")?,
            do_pad: flag("do_pad")?,
            use_square_size: flag("use_square_size")?,
        })
    }

    fn class(&self, folder: &Path) -> Result<&'static Class, ModelError> {
        let known = || {
            let names: Vec<_> = CLASSES.iter().map(|class| format!("{}ImageProcessor", class.name)).collect();
            format!("one of {}", names.join(", "))
        };
        if let Some(name) = self.image_processor_type.as_ref().or(self.feature_extractor_type.as_ref()) {
            let stem = name.trim_end_matches("Fast").trim_end_matches("Pil");
            let stem = stem.trim_end_matches("ImageProcessor").trim_end_matches("FeatureExtractor");
            let class = CLASSES.iter().find(|class| class.name == stem);
            return class.ok_or_else(|| unsupported("image_processor_type", name, known()));
        }
        let config = read_json(&folder.join("config.json"), MAX_JSON)?.unwrap_or_default();
        let model = config.get("model_type").and_then(Value::as_str).unwrap_or("missing");
        let class = CLASSES.iter().find(|class| class.models.contains(&model));
        let found = || format!("missing, and the `model_type` is {model}");
        class.ok_or_else(|| unsupported("image_processor_type", found(), known()))
    }

    fn config(&self, class: &Class) -> Result<ImageProcessorConfig, ModelError> {
        for (field, value) in [("do_pad", self.do_pad), ("use_square_size", self.use_square_size)] {
            if value == Some(true) {
                return Err(unsupported(field, "true", "false"));
            }
        }
        let resize = match &self.size {
            Some(size) => size.resize(class.square)?,
            None => class.resize,
        };
        let crop = match &self.crop_size {
            Some(size) => Some(size.crop()?),
            None => class.crop,
        };
        let crops = self.do_center_crop.unwrap_or(class.crop.is_some());
        if crops && crop.is_none() {
            return Err(unsupported(
                "crop_size",
                "missing",
                "height and width, because `do_center_crop` is true",
            ));
        }
        let resample = match &self.resample {
            Some(value) => value
                .as_u64()
                .and_then(Resample::from_pillow)
                .ok_or_else(|| unsupported("resample", value, "an integer from 0 to 5"))?,
            None => class.resample,
        };
        let normalize = Normalize {
            mean: self.image_mean.as_ref().map_or(class.normalize.mean, Channels::values),
            std: self.image_std.as_ref().map_or(class.normalize.std, Channels::values),
        };
        Ok(ImageProcessorConfig {
            resize: self.do_resize.unwrap_or(true).then_some(resize),
            resample,
            center_crop: crop.filter(|_| crops),
            rescale: self.do_rescale.unwrap_or(true).then(|| self.rescale_factor.unwrap_or(1.0 / 255.0)),
            normalize: self.do_normalize.unwrap_or(true).then_some(normalize),
        })
    }
}

impl Size {
    fn resize(&self, square: bool) -> Result<Resize, ModelError> {
        Ok(match self {
            Self::Integer(edge) if square => Resize::Exact { height: *edge, width: *edge },
            Self::Integer(edge) => Resize::ShortestEdge(*edge),
            Self::Pair([height, width]) => Resize::Exact { height: *height, width: *width },
            Self::Object(lengths) => match parse_lengths(lengths).as_slice() {
                [("height", height), ("width", width)] => Resize::Exact { height: *height, width: *width },
                [("shortest_edge", edge)] => Resize::ShortestEdge(*edge),
                [("longest_edge", longest), ("shortest_edge", shortest)] => {
                    Resize::ShortestEdgeWithin { shortest: *shortest, longest: *longest }
                }
                // Transformers accepts `longest_edge` alone but fails to resize.
                _ => {
                    return Err(self.unsupported(
                        "size",
                        "height and width, or shortest_edge with or without longest_edge",
                    ));
                }
            },
        })
    }

    fn crop(&self) -> Result<[usize; 2], ModelError> {
        match self {
            Self::Integer(edge) => Ok([*edge, *edge]),
            Self::Pair(size) => Ok(*size),
            Self::Object(lengths) => match parse_lengths(lengths).as_slice() {
                [("height", height), ("width", width)] => Ok([*height, *width]),
                _ => Err(self.unsupported("crop_size", "height and width")),
            },
        }
    }

    fn unsupported(&self, field: &'static str, expected: &str) -> ModelError {
        let found = match self {
            Self::Object(lengths) => Value::Object(lengths.clone()).to_string(),
            _ => String::new(),
        };
        unsupported(field, found, expected)
    }
}

/// Parses the lengths of an object, sorted by name; other values are ignored.
fn parse_lengths(object: &Map<String, Value>) -> Vec<(&str, usize)> {
    let length = |value: &Value| usize::try_from(value.as_u64()?).ok();
    let mut lengths: Vec<_> =
        object.iter().filter_map(|(name, value)| Some((name.as_str(), length(value)?))).collect();
    lengths.sort_unstable();
    lengths
}
