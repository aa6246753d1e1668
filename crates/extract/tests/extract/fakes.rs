//! Small towers whose rows depend on the batch, and generated sources.

use std::io::Cursor;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use sail_core::{
    EncodeError, ImageEncoder, ImageFeatures, ImagePooling, ImagePreprocessor, InputError, Padding,
    PaddingSide, PatchTokens, Pixels, Provenance, RgbImage, TextEncoder, TextFeatures, TextPooling,
    TextTower, TokenBatch, TokenIds, Tokenizer, VisionTower,
};
use sail_data::DataError;
use sail_data::source::{ImageData, Record, RecordSource, Records};
use sail_extract::{Event, ExtractError, ExtractOptions, Extraction, extract_images, extract_texts};

pub(crate) const DIM: usize = 64;

/// A row depends on its input and, slightly, on the rest of the batch, as rounding in real kernels may.
fn rows(x: Tensor<2>) -> Tensor<2> {
    let [batch, width] = x.dims();
    let mean = x.clone().mean_dim(0).repeat_dim(0, batch) * (0.001 * batch as f32);
    (x + mean + 1.0).repeat_dim(1, DIM.div_ceil(width)).narrow(1, 0, DIM)
}

pub(crate) struct Eye;

impl ImageEncoder for Eye {
    fn encode_images(&self, pixels: Tensor<4>) -> Result<ImageFeatures, EncodeError> {
        let [batch, channels, height, width] = pixels.dims();
        let means = pixels.reshape([batch, channels, height * width]).mean_dim(2).reshape([batch, channels]);
        let pooled = rows(means);
        let tokens = pooled.clone().reshape([batch, 4, DIM / 4]);
        let patches = Some(PatchTokens { tokens, grid: [2, 2] });
        Ok(ImageFeatures { class_token: None, patches, pooled: Some(pooled) })
    }
}

/// Keeps the size of images, so that the encoder gets several sizes. Fails on images with a red corner.
pub(crate) struct AsIs;

impl ImagePreprocessor for AsIs {
    fn preprocess(&self, image: &RgbImage) -> Result<Pixels, InputError> {
        let [red, green, blue] = image.get_pixel(0, 0).0;
        match (red, green, blue) {
            (255, 0, 0) => return Err(InputError("it is red".to_owned())),
            (255, 0, 1) => panic!("an unexpected bug"),
            _ => {}
        }
        let channel = |channel: usize| image.pixels().map(move |pixel| f32::from(pixel.0[channel]) / 255.0);
        let values = (0..3).flat_map(channel).collect();
        Ok(Pixels { size: [image.height() as usize, image.width() as usize], values })
    }

    fn describe(&self) -> String {
        "as is".to_owned()
    }
}

pub(crate) fn vision() -> VisionTower {
    VisionTower {
        encoder: Arc::new(Eye),
        preprocessor: Arc::new(AsIs),
        pooling: ImagePooling::Pooled,
        model: Provenance::new("eye"),
        device: Device::flex(),
    }
}

/// The tower whose rows are token states.
pub(crate) fn tokens() -> VisionTower {
    vision().with_tokens().unwrap()
}

pub(crate) struct Ear;

impl TextEncoder for Ear {
    fn encode_texts(&self, batch: TokenBatch) -> Result<TextFeatures, EncodeError> {
        let mask = batch.mask.clone().float();
        let sums = (batch.ids.float() * mask.clone()).sum_dim(1);
        let pooled = Tensor::cat(vec![sums * 0.001, mask.sum_dim(1)], 1);
        let [batch_size, length] = batch.mask.dims();
        let tokens = Tensor::zeros([batch_size, length, 1], &pooled.device());
        Ok(TextFeatures { tokens, mask: batch.mask, pooled: Some(rows(pooled)) })
    }
}

pub(crate) struct Bytes;

impl Tokenizer for Bytes {
    fn tokenize(&self, text: &str) -> Result<TokenIds, InputError> {
        Ok(TokenIds(text.bytes().map(u32::from).take(32).collect()))
    }

    fn padding(&self) -> Padding {
        Padding { id: 0, side: PaddingSide::Right }
    }

    fn describe(&self) -> String {
        "bytes".to_owned()
    }
}

pub(crate) fn text() -> TextTower {
    TextTower {
        encoder: Arc::new(Ear),
        tokenizer: Arc::new(Bytes),
        pooling: TextPooling::Pooled,
        model: Provenance::new("ear"),
        device: Device::flex(),
    }
}

/// Generates records by position.
pub(crate) struct Made<F> {
    pub(crate) count: u64,
    pub(crate) record: F,
}

impl<T: 'static, F: Fn(u64) -> Record<T> + Clone + Send + Sync + 'static> RecordSource<T> for Made<F> {
    fn count(&self) -> Result<u64, DataError> {
        Ok(self.count)
    }

    fn records(&self, range: Range<u64>) -> Result<Records<T>, DataError> {
        let record = self.record.clone();
        Ok(Box::new((range.start..range.end.min(self.count)).map(move |position| Ok(record(position)))))
    }
}

pub(crate) fn png(width: u32, height: u32, colour: [u8; 3]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let image = RgbImage::from_pixel(width, height, image::Rgb(colour));
    image.write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
    bytes
}

pub(crate) fn image(position: u64) -> Record<ImageData> {
    let colour = [(position % 251) as u8, (position / 251) as u8, (position % 7) as u8];
    let size = if position.is_multiple_of(5) { 3 } else { 2 };
    Record { key: format!("p{position:05}"), value: Ok(ImageData::Bytes(png(size, 2, colour))) }
}

/// Images, some of them truncated, missing or duplicates.
pub(crate) fn with_faults(position: u64) -> Record<ImageData> {
    let mut record = image(position);
    if position % 13 == 5 {
        let ImageData::Bytes(bytes) = record.value.unwrap() else { panic!() };
        record.value = Ok(ImageData::Bytes(bytes[..bytes.len() - 20].to_vec()));
    } else if position % 17 == 3 {
        record.value = Err("gone".to_owned());
    } else if position % 29 == 20 {
        record.key = image(position - 1).key;
    }
    record
}

pub(crate) fn image_source(count: u64) -> Made<fn(u64) -> Record<ImageData>> {
    Made { count, record: with_faults }
}

/// Two captions per key, of various lengths, some of them empty.
pub(crate) fn caption(position: u64) -> Record<String> {
    let text = "a caption ".repeat((position * 7 % 11) as usize);
    Record {
        key: format!("p{:05}", position / 2),
        value: Ok(format!("{text}{}", if text.is_empty() { "" } else { "." })),
    }
}

pub(crate) fn captions(count: u64) -> Made<fn(u64) -> Record<String>> {
    Made { count, record: caption }
}

/// Blocks and shards with different boundaries, and lossless values.
pub(crate) fn options() -> ExtractOptions {
    ExtractOptions {
        dtype: sail_core::StoreDtype::F32,
        block: 8,
        rows_per_shard: 37,
        source: "made up".to_owned(),
        ..ExtractOptions::images()
    }
}

pub(crate) fn images(
    source: &dyn RecordSource<ImageData>,
    out: &Path,
    options: &ExtractOptions,
) -> Result<Extraction, ExtractError> {
    extract_images(&vision(), source, out, options, &mut |_: Event<'_>| ())
}

pub(crate) fn texts(
    source: &dyn RecordSource<String>,
    out: &Path,
    options: &ExtractOptions,
) -> Result<Extraction, ExtractError> {
    extract_texts(&text(), source, out, options, &mut |_: Event<'_>| ())
}

/// The files of a folder, sorted by name.
pub(crate) fn files(path: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    let mut files: Vec<_> = entries
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

pub(crate) fn names(path: &Path) -> Vec<String> {
    files(path).into_iter().map(|(name, _)| name).collect()
}

/// Asserts that two folders have the same files, byte for byte.
pub(crate) fn assert_same(found: &Path, expected: &Path) {
    assert_eq!(names(found), names(expected));
    for ((name, found), (_, expected)) in files(found).iter().zip(files(expected)) {
        assert!(*found == expected, "{name} differs");
    }
}
