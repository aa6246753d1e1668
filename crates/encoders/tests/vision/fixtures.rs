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
            "efficientnet_lite",
        ];
        names.map(Self::new).into()
    }

    pub(crate) fn config(&self) -> String {
        std::fs::read_to_string(self.folder.join("config.json")).unwrap()
    }

    pub(crate) fn load(&self, config: &str, dtype: Dtype) -> Result<Arc<dyn ImageEncoder>, ModelError> {
        let names = ["model.safetensors", "pytorch_model.bin"];
        let weights =
            names.map(|name| self.folder.join(name)).into_iter().find(|path| path.exists()).unwrap();
        sail_encoders::load_image_encoder(config, &weights, dtype, &Device::flex())
    }

    pub(crate) fn encoder(&self, dtype: Dtype) -> Arc<dyn ImageEncoder> {
        self.load(&self.config(), dtype).unwrap()
    }

    /// Rows or columns of the grid for a side in pixels.
    pub(crate) fn cells(&self, side: usize) -> usize {
        let config: serde_json::Value = serde_json::from_str(&self.config()).unwrap();
        match config["patch_size"].as_u64() {
            Some(patch) => side / patch as usize,
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
