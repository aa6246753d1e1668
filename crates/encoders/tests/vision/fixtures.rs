//! Fixtures from `fixtures/vision/generate.py`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;
use sail_core::Dtype;
use sail_encoders::{ImageEncoder, ModelError};

/// A tiny model.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
}

/// An input with the outputs of the reference.
pub(crate) struct Row {
    pub(crate) pixels: Tensor<4>,
    pub(crate) class: Option<Vec<f32>>,
    pub(crate) patches: Option<Vec<f32>>,
    pub(crate) pooled: Option<Vec<f32>>,
}

impl Case {
    pub(crate) fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vision").join(name);
        Self { name: name.to_owned(), folder }
    }

    pub(crate) fn all() -> Vec<Self> {
        let names = [
            "dinov2",
            "dinov2_swiglu",
            "registers",
            "registers_swiglu",
            "vit",
            "vit_pooler",
            "vit_relu",
            "dino_original",
            "dino_training",
            "ibot_original",
            "ibot_training",
            "dinov3_vit",
            "dinov3_vit_gated",
            "vit_mae",
            "vit_mae_decoder",
            "mae_original",
            "ijepa",
            "ijepa_original",
            "aimv2_vision_model",
            "aimv2_native",
            "aimv2_lit",
            "aimv2_original",
            "clip",
            "clip_vision_model",
            "metaclip_2",
            "siglip",
            "siglip_vision_model",
            "siglip2_vision_model",
            "tipsv2",
            "tipsv2_vision_model",
            "pixio",
            "timm_vit",
            "timm_vit_gap",
            "timm_vit_registers",
            "timm_dinov2",
            "timm_dinov3",
            "timm_clip",
            "timm_siglip",
            "timm_rope",
            "eva02_small",
            "eva02_base",
            "eva02_clip",
            "eva02_enormous",
            "pe_core",
            "pe_spatial",
            "pe_original",
            "open_clip",
            "open_clip_options",
            "open_clip_timm",
            "open_clip_timm_projection",
            "open_clip_timm_classifier",
            "convnext",
            "convnext_original",
            "convnext_timm",
            "convnextv2",
            "convnextv2_original",
            "convnextv2_timm",
            "dinov3_convnext",
            "dinov3_convnext_original",
            "resnet",
            "resnet_dino",
            "resnet_strides",
            "resnet_timm",
            "efficientnet_lite",
        ];
        names.map(Self::new).into()
    }

    /// Those of transformers, which have dense features.
    pub(crate) fn transformers() -> Vec<Self> {
        Self::all().into_iter().filter(|case| !case.is_convolutional()).collect()
    }

    pub(crate) fn is_convolutional(&self) -> bool {
        ["convnext", "efficientnet", "resnet"].iter().any(|name| self.name.contains(name))
    }

    pub(crate) fn config(&self) -> String {
        let names = ["config.json", "open_clip_config.json"].map(|name| self.folder.join(name));
        std::fs::read_to_string(names.iter().find(|path| path.exists()).unwrap()).unwrap()
    }

    pub(crate) fn weights(&self) -> PathBuf {
        let is_weights = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.contains("model.") || [".pt", ".pth"].iter().any(|end| name.ends_with(end))
        };
        let mut files = std::fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path());
        files.find(is_weights).unwrap()
    }

    pub(crate) fn load(&self, config: &str, dtype: Dtype) -> Result<Arc<dyn ImageEncoder>, ModelError> {
        sail_encoders::load_image_encoder(config, &self.weights(), dtype, &Device::flex())
    }

    pub(crate) fn encoder(&self, dtype: Dtype) -> Arc<dyn ImageEncoder> {
        self.load(&self.config(), dtype).unwrap()
    }

    /// Rows or columns of the grid for a side in pixels.
    pub(crate) fn cells(&self, side: usize) -> usize {
        let config: serde_json::Value = serde_json::from_str(&self.config()).unwrap();
        let sides =
            [&config, &config["vision_config"], &config["model_args"], &config["model_cfg"]["vision_cfg"]];
        let patch = sides.iter().find_map(|sizes| sizes["patch_size"].as_u64());
        // The towers of timm in OpenCLIP do not say.
        let patch = patch.or(self.name.starts_with("open_clip_timm").then_some(4));
        match patch.filter(|_| !self.is_convolutional()) {
            Some(patch) => side / patch as usize,
            // Only ConvNeXt does not pad.
            None if self.name.contains("convnext") => side / 32,
            None if self.name == "resnet_strides" => side.div_ceil(64),
            None => side.div_ceil(32),
        }
    }

    pub(crate) fn expected(&self) -> Vec<Row> {
        let bytes = std::fs::read(self.folder.join("expected.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let read = |index: usize, part: &str| {
            let tensor = file.tensor(&format!("{index}.{part}")).ok()?;
            let values = tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
            Some((values.collect::<Vec<_>>(), tensor.shape().to_vec()))
        };
        let row = |index| {
            let (values, shape) = read(index, "pixels")?;
            let pixels = Tensor::from_data(TensorData::new(values, shape), &Device::flex());
            let part = |part| read(index, part).map(|(values, _)| values);
            Some(Row { pixels, class: part("class"), patches: part("patches"), pooled: part("pooled") })
        };
        let rows: Vec<_> = (0..).map_while(row).collect();
        assert!(!rows.is_empty());
        rows
    }
}

pub(crate) fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_to_vec::<f32>().unwrap()
}
