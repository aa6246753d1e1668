//! Towers whose features are the pixels and sums over the bytes, as in `fixtures/generate.py`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::{Device, Tensor, TensorData};
use sail_core::{
    EncodeError, ImageEncoder, ImageFeatures, ImagePooling, ImagePreprocessor, InputError, Padding,
    PaddingSide, Pixels, Provenance, RgbImage, TextEncoder, TextFeatures, TextPooling, TextTower, TokenBatch,
    TokenIds, Tokenizer, VisionTower,
};
use sail_layers::{Head, HeadConfig, ProjectorConfig};
use sail_tasks::{FeatureCache, TaskModel};
use tempfile::TempDir;

const DIM: usize = 24;

/// Counts the rows that it computes.
#[derive(Default)]
pub(crate) struct Plain {
    pub(crate) rows: AtomicUsize,
}

impl ImagePreprocessor for Plain {
    fn preprocess(&self, image: &RgbImage) -> Result<Pixels, InputError> {
        let size = [image.height() as usize, image.width() as usize];
        let channel = |c: usize| image.pixels().map(move |pixel| f32::from(pixel.0[c]) - 127.5);
        Ok(Pixels { size, values: (0..3).flat_map(channel).collect() })
    }

    fn describe(&self) -> String {
        "rgb - 127.5".to_owned()
    }
}

impl ImageEncoder for Plain {
    fn encode_images(&self, pixels: Tensor<4>) -> Result<ImageFeatures, EncodeError> {
        self.rows.fetch_add(pixels.dims()[0], Ordering::Relaxed);
        Ok(ImageFeatures { class_token: None, patches: None, pooled: Some(pixels.flatten(1, 3)) })
    }
}

impl Tokenizer for Plain {
    fn tokenize(&self, text: &str) -> Result<TokenIds, InputError> {
        Ok(TokenIds(text.bytes().map(u32::from).collect()))
    }

    fn padding(&self) -> Padding {
        Padding { id: 0, side: PaddingSide::Right }
    }

    fn describe(&self) -> String {
        "bytes".to_owned()
    }
}

impl TextEncoder for Plain {
    fn encode_texts(&self, texts: TokenBatch) -> Result<TextFeatures, EncodeError> {
        let [rows, length] = texts.ids.dims();
        self.rows.fetch_add(rows, Ordering::Relaxed);
        let ids: Vec<i64> = texts.ids.clone().into_data().iter::<i64>().collect();
        let feature = |text: &[i64], k: i64| {
            let bytes = text.iter().take_while(|&&byte| byte > 0).zip(0..);
            bytes.map(|(byte, i)| (byte * (k + 3) + i * (2 * k + 5)) % 23 - 11).sum::<i64>() as f32
        };
        let values: Vec<f32> = ids
            .chunks_exact(length)
            .flat_map(|text| (0..DIM as i64).map(move |k| feature(text, k)))
            .collect();
        let device = texts.mask.device();
        let pooled = Tensor::from_data(TensorData::new(values, [rows, DIM]), &device);
        Ok(TextFeatures {
            tokens: Tensor::zeros([rows, length, 1], &device),
            mask: texts.mask,
            pooled: Some(pooled),
        })
    }
}

/// Two towers, an identity head, and a folder for the cache and the data.
pub(crate) struct Lab {
    pub(crate) folder: TempDir,
    pub(crate) eye: Arc<Plain>,
    pub(crate) ear: Arc<Plain>,
    pub(crate) vision: VisionTower,
    pub(crate) text: TextTower,
    pub(crate) head: Head,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let (eye, ear, device) = (Arc::new(Plain::default()), Arc::new(Plain::default()), Device::flex());
        let config = HeadConfig::new(DIM, DIM, DIM, ProjectorConfig::Identity {});
        Self {
            folder: tempfile::tempdir().unwrap(),
            vision: VisionTower {
                encoder: eye.clone(),
                preprocessor: eye.clone(),
                pooling: ImagePooling::Pooled,
                model: Provenance::new("eye"),
                device: device.clone(),
            },
            text: TextTower {
                encoder: ear.clone(),
                tokenizer: ear.clone(),
                pooling: TextPooling::Pooled,
                model: Provenance::new("ear"),
                device: device.clone(),
            },
            head: Head::new(&config, 0, &device).unwrap(),
            eye,
            ear,
        }
    }

    pub(crate) fn model(&self) -> TaskModel<'_, Head> {
        TaskModel { vision: &self.vision, text: &self.text, head: &self.head }
    }

    /// Runs a task with the cache.
    pub(crate) fn cached<T>(&self, run: impl FnOnce(&TaskModel<'_, Head>, &mut FeatureCache<'_>) -> T) -> T {
        let mut observer = |_: sail_extract::Event<'_>| ();
        run(&self.model(), &mut FeatureCache::new(self.path("cache"), &mut observer))
    }

    /// The number of images and texts that were embedded.
    pub(crate) fn embedded(&self) -> [usize; 2] {
        [&self.eye, &self.ear].map(|tower| tower.rows.load(Ordering::Relaxed))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file and its parent folders.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Copies a fixture that a test may modify.
    pub(crate) fn copy(&self, name: &str) -> PathBuf {
        fn copy(from: &Path, to: &Path) {
            std::fs::create_dir_all(to).unwrap();
            for entry in std::fs::read_dir(from).unwrap() {
                let path = entry.unwrap().path();
                let to = to.join(path.file_name().unwrap());
                match path.is_dir() {
                    true => copy(&path, &to),
                    false => _ = std::fs::copy(&path, &to).unwrap(),
                }
            }
        }
        copy(&fixture(name), &self.path(name));
        self.path(name)
    }
}

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}
