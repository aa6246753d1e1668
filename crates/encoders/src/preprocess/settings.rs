//! Settings of the image processors of transformers.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::class::{CLASSES, Class, Rule};
use super::{Arithmetic, ImageProcessorConfig, Normalize, Resample, Resize};
use crate::config::Fields;
use crate::pretrained::ModelError;
use crate::pretrained::small_file::{MAX_JSON, read_json};

/// The settings that affect pixels. Null means missing, as in transformers.
pub(super) struct Settings {
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
    crop_pct: Option<f64>,
    rescale_offset: Option<bool>,
    include_top: Option<bool>,
    patch_size: Option<usize>,
    max_num_patches: Option<usize>,
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

pub(super) fn unsupported(field: &'static str, found: impl ToString, expected: impl ToString) -> ModelError {
    ModelError::Config { field, found: found.to_string(), expected: expected.to_string() }
}

impl Settings {
    pub(super) fn read(fields: Fields<'_>) -> Result<Self, ModelError> {
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
            crop_pct: fields.read("crop_pct", "a number")?,
            rescale_offset: flag("rescale_offset")?,
            include_top: flag("include_top")?,
            patch_size: fields.read("patch_size", "an integer")?,
            max_num_patches: fields.read("max_num_patches", "an integer")?,
        })
    }

    /// Returns the class that is named, or that the `model_type` in `config.json` implies.
    pub(super) fn class(&self, folder: &Path) -> Result<&'static Class, ModelError> {
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

    pub(super) fn config(&self, class: &Class) -> Result<ImageProcessorConfig, ModelError> {
        for (field, value) in [("do_pad", self.do_pad), ("use_square_size", self.use_square_size)] {
            if value == Some(true) {
                return Err(unsupported(field, "true", "false"));
            }
        }
        // Values that are not rescaled are 8-bit, and so would be the resizing.
        if class.rule == Rule::Floats && self.do_rescale == Some(false) {
            return Err(unsupported("do_rescale", "false", "true"));
        }
        let resample = match &self.resample {
            Some(value) => value
                .as_u64()
                .and_then(Resample::from_pillow)
                .ok_or_else(|| unsupported("resample", value, "an integer from 0 to 5"))?,
            None => class.resample,
        };
        let (resize, center_crop) = self.sizes(class)?;
        let config = ImageProcessorConfig {
            resize: self.do_resize.unwrap_or(true).then_some(resize),
            resample,
            center_crop,
            rescale: self.do_rescale.unwrap_or(true).then(|| self.rescale_factor.unwrap_or(1.0 / 255.0)),
            normalize: self.normalize(class)?,
            ..ImageProcessorConfig::default()
        };
        Ok(match class.rule {
            Rule::Floats => ImageProcessorConfig { arithmetic: Arithmetic::Floats, ..config },
            Rule::Offset => self.offset(config, class),
            Rule::Plain | Rule::CropFraction | Rule::Patches => config,
        })
    }

    /// Returns the sizes of resizing and of the crop.
    fn sizes(&self, class: &Class) -> Result<(Resize, Option<[usize; 2]>), ModelError> {
        let resize = match &self.size {
            Some(size) => size.resize(class.square)?,
            None => class.resize,
        };
        let crops = self.do_center_crop.unwrap_or(class.crops);
        if crops && !matches!(class.rule, Rule::Plain | Rule::Offset) {
            return Err(unsupported("do_center_crop", "true", "false"));
        }
        match (class.rule, resize) {
            (Rule::CropFraction, Resize::ShortestEdge(edge)) => {
                if self.do_resize == Some(false) {
                    return Ok((resize, None));
                }
                if edge >= 384 {
                    return Ok((Resize::Exact { height: edge, width: edge }, None));
                }
                let fraction = self.crop_pct.unwrap_or(224.0 / 256.0);
                if !(fraction > 0.0 && fraction <= 1.0) {
                    return Err(unsupported("crop_pct", fraction, "a number above 0 and up to 1"));
                }
                return Ok((Resize::ShortestEdge((edge as f64 / fraction) as usize), Some([edge, edge])));
            }
            (Rule::CropFraction, _) => {
                return Err(unsupported("size", resize, "an integer or `shortest_edge`"));
            }
            (Rule::Patches, _) => {
                let side = self.patch_size.unwrap_or(16);
                return Ok((Resize::Patches { side, count: self.max_num_patches.unwrap_or(256) }, None));
            }
            (Rule::Plain | Rule::Floats | Rule::Offset, _) => {}
        }
        if !crops {
            return Ok((resize, None));
        }
        let crop = match &self.crop_size {
            Some(size) => Some(size.crop()?),
            None => class.crop,
        };
        let missing = "height and width, because `do_center_crop` is true";
        Ok((resize, Some(crop.ok_or_else(|| unsupported("crop_size", "missing", missing))?)))
    }

    fn normalize(&self, class: &Class) -> Result<Option<Normalize>, ModelError> {
        if !self.do_normalize.unwrap_or(class.normalize.is_some()) {
            return Ok(None);
        }
        let channels = |field, found: &Option<Channels>, default: Option<[f64; 3]>| {
            let found = found.as_ref().map(Channels::values).or(default);
            found
                .ok_or_else(|| unsupported(field, "missing", "three numbers, because `do_normalize` is true"))
        };
        Ok(Some(Normalize {
            mean: channels("image_mean", &self.image_mean, class.normalize.map(|normalize| normalize.mean))?,
            std: channels("image_std", &self.image_std, class.normalize.map(|normalize| normalize.std))?,
        }))
    }

    /// Expresses the steps of EfficientNet around the normalization by one normalization.
    fn offset(&self, config: ImageProcessorConfig, class: &Class) -> ImageProcessorConfig {
        let [offset, top] = [self.rescale_offset.unwrap_or(false), self.include_top.unwrap_or(true)];
        if !offset && !top {
            return config;
        }
        let identity = Normalize { mean: [0.0; 3], std: [1.0; 3] };
        let Normalize { mut mean, mut std } = config.normalize.unwrap_or(identity);
        if offset && config.rescale.is_some() {
            mean = mean.map(|mean| mean + 1.0);
        }
        if top {
            let again =
                self.image_std.as_ref().map(Channels::values).or(class.normalize.map(|known| known.std));
            for (std, again) in std.iter_mut().zip(again.unwrap_or(identity.std)) {
                *std *= again;
            }
        }
        ImageProcessorConfig { normalize: Some(Normalize { mean, std }), ..config }
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
