//! The classes of image processors of transformers with their defaults.

use super::{Normalize, Resample, Resize};

/// A class of image processors with its defaults.
pub(super) struct Class {
    /// Name without the suffix `ImageProcessor` or `FeatureExtractor`.
    pub(super) name: &'static str,
    /// Values of `model_type` in `config.json` that imply the class.
    pub(super) models: &'static [&'static str],
    pub(super) rule: Rule,
    pub(super) resample: Resample,
    pub(super) resize: Resize,
    /// Whether a size given as one integer is a square or the shortest edge.
    pub(super) square: bool,
    pub(super) crop: Option<[usize; 2]>,
    /// Whether images are cropped unless the settings say otherwise.
    pub(super) crops: bool,
    /// `None` if images are not normalized unless the settings say otherwise.
    pub(super) normalize: Option<Normalize>,
}

/// What a class does with the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Resize, crop, rescale, normalize.
    Plain,
    /// Rescale, resize in floats, normalize.
    Floats,
    /// A shortest edge below 384 is divided by `crop_pct` before a crop, others are squares.
    CropFraction,
    /// `rescale_offset` subtracts one, `include_top` divides by the standard deviation again.
    Offset,
    /// To at most `max_num_patches` patches of the side `patch_size`.
    Patches,
}

/// The most common defaults.
const COMMON: Class = Class {
    name: "",
    models: &[],
    rule: Rule::Plain,
    resample: Resample::Bicubic,
    resize: square(224),
    square: true,
    crop: None,
    crops: false,
    normalize: Some(Normalize::HALF),
};

const fn square(side: usize) -> Resize {
    Resize::Exact { height: side, width: side }
}

pub(super) const CLASSES: [Class; 11] = [
    Class { name: "Beit", models: &["beit", "data2vec-vision"], crop: Some([224, 224]), ..COMMON },
    Class {
        name: "Bit",
        models: &["dinov2", "dinov2_with_registers", "pixio"],
        resize: Resize::ShortestEdge(224),
        square: false,
        crop: Some([224, 224]),
        crops: true,
        normalize: Some(Normalize::CLIP),
        ..COMMON
    },
    Class {
        name: "CLIP",
        models: &[
            "clip",
            "clip_vision_model",
            "metaclip_2",
            "metaclip_2_vision_model",
            "mlcd",
            "mlcd_vision_model",
            "aimv2",
            "aimv2_vision_model",
        ],
        resize: Resize::ShortestEdge(224),
        square: false,
        crop: Some([224, 224]),
        crops: true,
        normalize: Some(Normalize::CLIP),
        ..COMMON
    },
    Class {
        name: "ConvNext",
        models: &["convnext", "convnextv2", "resnet", "regnet"],
        rule: Rule::CropFraction,
        resize: Resize::ShortestEdge(384),
        square: false,
        ..COMMON
    },
    Class {
        name: "DINOv3ViT",
        models: &["dinov3_vit", "dinov3_convnext"],
        rule: Rule::Floats,
        resample: Resample::Bilinear,
        normalize: Some(Normalize::IMAGENET),
        ..COMMON
    },
    Class {
        name: "DeiT",
        models: &["deit"],
        resize: square(256),
        crop: Some([224, 224]),
        crops: true,
        ..COMMON
    },
    Class {
        name: "EfficientNet",
        models: &["efficientnet"],
        rule: Rule::Offset,
        resize: square(346),
        crop: Some([289, 289]),
        ..COMMON
    },
    Class { name: "Siglip", models: &["siglip", "siglip_vision_model"], square: false, ..COMMON },
    Class {
        name: "Siglip2",
        models: &["siglip2", "siglip2_vision_model"],
        rule: Rule::Patches,
        resample: Resample::Bilinear,
        resize: Resize::Patches { side: 16, count: 256 },
        ..COMMON
    },
    Class {
        name: "Tipsv2",
        models: &["tipsv2", "tipsv2_vision_model"],
        resample: Resample::Bilinear,
        resize: square(448),
        normalize: None,
        ..COMMON
    },
    Class {
        name: "ViT",
        models: &["vit", "vit_mae", "vit_msn", "ijepa"],
        resample: Resample::Bilinear,
        ..COMMON
    },
];
