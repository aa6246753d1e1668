//! Tests of dense features and segmentation.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sail_vl::burn::tensor::{Device, Tensor, TensorData};
use sail_vl::core::{
    AlignmentHead, Attention, DenseOptions, Dtype, EncodeError, ImageEncoder, ImageFeatures, ImagePooling,
    ImagePreprocessor, InputError, Layer, Padding, PaddingSide, PatchTokens, Pixels, Provenance, RgbImage,
    TextEncoder, TextFeatures, TextPooling, TextTower, TokenBatch, TokenIds, TokenLayout, Tokenizer,
    TowerError, VisionTower,
};
use sail_vl::eval::SlidingWindow;
use sail_vl::layers::{Head, HeadConfig, ProjectorConfig, SideConfig};
use sail_vl::{DenseTower, SailError, SailModel, SegmentOptions};

/// The token of a 2 x 2 patch is its mean color; the class token is the mean color of the image minus one.
struct Colors;

impl ImageEncoder for Colors {
    fn encode_images(&self, pixels: Tensor<4>) -> Result<ImageFeatures, EncodeError> {
        let [batch, _, height, width] = pixels.dims();
        let grid @ [rows, columns] = [height / 2, width / 2];
        let patches = pixels.reshape([batch, 3, rows, 2, columns, 2]).mean_dim(3).mean_dim(5);
        let tokens = patches.reshape([batch, 3, rows * columns]).swap_dims(1, 2);
        let mean = tokens.clone().mean_dim(1).reshape([batch, 3]);
        let patches = Some(PatchTokens { tokens, grid });
        Ok(ImageFeatures { class_token: Some(mean.clone() - 1.0), patches, pooled: Some(mean) })
    }
}

impl ImagePreprocessor for Colors {
    fn preprocess(&self, image: &RgbImage) -> Result<Pixels, InputError> {
        self.normalize(image)
    }

    fn normalize(&self, image: &RgbImage) -> Result<Pixels, InputError> {
        let channel = |c: usize| image.pixels().map(move |pixel| f32::from(pixel.0[c]) / 255.0);
        let size = [image.height() as usize, image.width() as usize];
        Ok(Pixels { size, values: (0..3).flat_map(channel).collect() })
    }

    fn describe(&self) -> String {
        "rgb / 255".into()
    }
}

struct Words;

impl Tokenizer for Words {
    fn tokenize(&self, text: &str) -> Result<TokenIds, InputError> {
        let id = |word: &str| ["red", "green", "blue"].iter().position(|known| *known == word);
        Ok(TokenIds(text.split(' ').map(|word| id(word).map_or(3, |id| id as u32)).collect()))
    }

    fn padding(&self) -> Padding {
        Padding { id: 3, side: PaddingSide::Right }
    }

    fn describe(&self) -> String {
        "three words".into()
    }
}

impl TextEncoder for Words {
    fn encode_texts(&self, texts: TokenBatch) -> Result<TextFeatures, EncodeError> {
        let tokens = texts.ids.one_hot::<3>(4).float().narrow(2, 0, 3);
        Ok(TextFeatures { tokens, mask: texts.mask, pooled: None })
    }
}

fn vision(pooling: ImagePooling) -> VisionTower {
    VisionTower {
        encoder: Arc::new(Colors),
        preprocessor: Arc::new(Colors),
        pooling,
        model: Provenance::new("colors"),
        device: Device::flex(),
    }
}

fn identity(dim: usize) -> Head {
    Head::new(&HeadConfig::new(dim, dim, dim, ProjectorConfig::Identity {}), 0, &Device::flex()).unwrap()
}

fn model() -> SailModel {
    let text = TextTower {
        encoder: Arc::new(Words),
        tokenizer: Arc::new(Words),
        pooling: TextPooling::Mean,
        model: Provenance::new("words"),
        device: Device::flex(),
    };
    SailModel::new(vision(ImagePooling::Pooled), text, identity(3)).unwrap()
}

/// Returns an image with the given color per column.
fn columns(width: u32, height: u32, color: impl Fn(u32) -> [u8; 3]) -> RgbImage {
    let row: Vec<u8> = (0..width).flat_map(color).collect();
    RgbImage::from_raw(width, height, row.repeat(height as usize)).unwrap()
}

/// Returns an image with a red left half and a blue right half.
fn halves(width: u32, height: u32) -> RgbImage {
    columns(width, height, |x| if x < width / 2 { [255, 0, 0] } else { [0, 0, 255] })
}

fn values(x: Tensor<4>) -> Vec<f32> {
    x.into_data().try_to_vec::<f32>().unwrap()
}

#[test]
fn patch_features_match_the_pooling_of_the_head() {
    let image = [halves(4, 2)];
    let (red, blue) = ([1.0, 0.0, 0.0], [0.0, 0.0, 1.0]);
    for pooling in [ImagePooling::PatchMean, ImagePooling::Pooled] {
        let found = DenseTower::new(vision(pooling), identity(3)).unwrap().encode(&image).unwrap();
        assert_eq!(found.dims(), [1, 1, 2, 3]);
        assert_eq!(values(found), [red, blue].concat());
    }
    let found = DenseTower::new(vision(ImagePooling::Concat), identity(6)).unwrap().encode(&image).unwrap();
    let class = [-0.5, -1.0, -0.5];
    assert_eq!(found.dims(), [1, 1, 2, 6]);
    assert_eq!(values(found), [class, red, class, blue].concat());
}

#[test]
fn interpolates_to_the_grid_in_batches() {
    let images: Vec<_> = (0..5).map(|_| halves(4, 2)).collect();
    let tower = model().with_batch(2).unwrap().dense().with_grid([1, 4]).unwrap();
    let found = tower.encode(&images).unwrap();
    assert_eq!(found.dims(), [5, 1, 4, 3]);
    let line = [1.0, 0.0, 0.0, 0.75, 0.0, 0.25, 0.25, 0.0, 0.75, 0.0, 0.0, 1.0];
    assert_eq!(values(found), line.repeat(5));
}

#[test]
fn rejects_unsupported_options_and_inputs() {
    let tower = || DenseTower::new(vision(ImagePooling::Pooled), identity(3)).unwrap();
    assert!(matches!(tower().encode(&[]), Err(SailError::Empty { what: "image" })));
    assert!(matches!(tower().with_grid([0, 1]), Err(SailError::Config(_))));
    for options in [
        DenseOptions { layer: Layer::FromEnd(2), ..DenseOptions::default() },
        DenseOptions { attention: Attention::QueryQuery, ..DenseOptions::default() },
    ] {
        let error = tower().with_options(options).encode(&[halves(4, 2)]).unwrap_err();
        let SailError::Tower { source: TowerError::Encode(EncodeError::Dense { requested, .. }), .. } = error
        else {
            panic!("{error}")
        };
        assert_eq!(requested, options);
    }
    let class = DenseTower::new(vision(ImagePooling::Class), identity(3)).unwrap();
    let error = class.encode(&[halves(4, 2)]).unwrap_err();
    assert!(matches!(error, SailError::Tower { source: TowerError::Pooling(_), .. }), "{error}");
    let wide = DenseTower::new(vision(ImagePooling::Pooled), identity(6)).unwrap();
    assert!(matches!(wide.encode(&[halves(4, 2)]), Err(SailError::Head(_))));
    let other = Provenance::new("another");
    let head = identity(3).with_provenance(Some(&other), None);
    assert!(DenseTower::new(vision(ImagePooling::Pooled), head).is_err());
}

#[test]
fn segments_colors_by_name() {
    let classes = [vec!["green"], vec!["red"], vec!["blue", "blue blue"]];
    let classes = classes.map(|names| names.into_iter().map(str::to_owned).collect::<Vec<_>>());
    let sliding = SlidingWindow { short_side: 8, window: 8, stride: 4 };
    let options = SegmentOptions { sliding, ..SegmentOptions::default() };
    let segmenter = model().segmenter(&classes, &["{}"], &options).unwrap();
    // Images of the window size, and with sides below and above it.
    for (width, height) in [(8, 8), (16, 4), (24, 16)] {
        let found = segmenter.segment(&halves(width, height)).unwrap();
        assert_eq!(found.size(), [height as usize, width as usize]);
        for row in found.labels().chunks_exact(width as usize) {
            let (left, right) = row.split_at(width as usize / 2);
            assert!(left.iter().all(|&label| label == 1) && right.iter().all(|&label| label == 2), "{row:?}");
        }
    }
    // Gray is equally similar to all colors, so no probability is above a third.
    let gray = columns(8, 8, |_| [90; 3]);
    let threshold = SegmentOptions { background_threshold: Some(0.9), ..options };
    let found = model().segmenter(&classes, &["{}"], &threshold).unwrap().segment(&gray).unwrap();
    assert!(found.labels().iter().all(|&label| label == 0));
}

#[test]
fn rejects_invalid_segmentation_settings() {
    let names = [vec!["red".to_owned()]];
    let message = |options: SegmentOptions, templates: &[&str]| {
        model().segmenter(&names, templates, &options).err().unwrap().to_string()
    };
    let options = SegmentOptions::default();
    let sliding = SlidingWindow { stride: 0, ..SlidingWindow::default() };
    assert!(message(SegmentOptions { sliding, ..options }, &["{}"]).contains("`stride`"));
    let threshold = SegmentOptions { background_threshold: Some(2.0), ..options };
    assert!(message(threshold, &["{}"]).contains("`background_threshold`"));
    assert!(message(options, &["a photo"]).contains("`a photo`"));
    let none: [Vec<String>; 0] = [];
    assert!(matches!(model().segmenter(&none, &["{}"], &options), Err(SailError::Empty { what: "label" })));
    let segmenter = model().segmenter(&names, &["{}"], &options).unwrap();
    let sliver = RgbImage::new(1, 4000);
    assert!(matches!(segmenter.segment(&sliver), Err(SailError::Segmentation(_))));
    // The embedding of black is zero.
    assert!(matches!(segmenter.segment(&RgbImage::new(8, 8)), Err(SailError::Direction { .. })));
}

/// An encoder that counts the encoded images.
struct Counted(Arc<AtomicUsize>);

impl ImageEncoder for Counted {
    fn encode_images(&self, pixels: Tensor<4>) -> Result<ImageFeatures, EncodeError> {
        self.0.fetch_add(pixels.dims()[0], Ordering::Relaxed);
        Colors.encode_images(pixels)
    }
}

/// A head that reads tokens, or a class token and patches.
fn of_tokens(grid: [usize; 2]) -> Head {
    let layout = TokenLayout::Image { class_token: true, grid, dim: 3 };
    let config = HeadConfig {
        image: Some(SideConfig::of_tokens(
            layout,
            ProjectorConfig::TokenTransformer { depth: 1, head_width: 3 },
        )),
        ..HeadConfig::new(3, 3, 5, ProjectorConfig::Linear {})
    };
    Head::new(&config, 4, &Device::flex()).unwrap()
}

#[test]
fn heads_on_tokens_get_all_of_them_at_any_size() {
    let folder = tempfile::tempdir().unwrap();
    let tower = || DenseTower::new(vision(ImagePooling::Tokens), of_tokens([1, 2])).unwrap();
    for (width, height) in [(4, 2), (6, 8)] {
        let image = [halves(width, height)];
        let (rows, columns) = (height as usize / 2, width as usize / 2);
        let found = tower().encode(&image).unwrap();
        assert_eq!(found.dims(), [1, rows, columns, 5]);
        // The class token takes part in the attention.
        let pixels = Colors.preprocess(&image[0]).unwrap();
        let size = [1, 3, height as usize, width as usize];
        let pixels = Tensor::from_data(TensorData::new(pixels.values, size), &Device::flex());
        let ImageFeatures { class_token, patches, .. } = Colors.encode_images(pixels).unwrap();
        let tokens = Tensor::cat(vec![class_token.unwrap().unsqueeze_dim(1), patches.unwrap().tokens], 1);
        let expected = of_tokens([1, 2]).project_patches(tokens).unwrap();
        let found = values(found);
        assert_eq!(found, expected.into_data().try_to_vec::<f32>().unwrap());
        let cached = || tower().with_cache(folder.path().join("cache"), Dtype::F32).unwrap();
        for _ in 0..2 {
            assert_eq!(values(cached().encode(&image).unwrap()), found);
        }
    }
    let pooled = vision(ImagePooling::PatchMean);
    let tokens = VisionTower { pooling: ImagePooling::Tokens, ..pooled.clone() };
    let head = of_tokens([1, 2]).with_provenance(Some(&tokens.provenance()), None);
    let error = DenseTower::new(pooled, head).err().unwrap().to_string();
    assert!(error.contains("`token-transformer` takes token states"), "{error}");
}

#[test]
fn cached_features_equal_those_of_the_backbone() {
    let (folder, count) = (tempfile::tempdir().unwrap(), Arc::new(AtomicUsize::new(0)));
    let tower = |seed| {
        let head = Head::new(&HeadConfig::new(3, 3, 5, ProjectorConfig::Linear {}), seed, &Device::flex());
        let vision =
            VisionTower { encoder: Arc::new(Counted(count.clone())), ..vision(ImagePooling::Pooled) };
        DenseTower::new(vision, head.unwrap()).unwrap()
    };
    let cached = |seed, dtype| tower(seed).with_cache(folder.path().join("cache"), dtype).unwrap();
    let images: Vec<_> = (0..6u8).map(|red| columns(4, 2, |x| [red, x as u8 * 60, 9])).collect();
    let encoded = || count.swap(0, Ordering::Relaxed);
    for seed in [1, 2] {
        let expected = values(tower(seed).encode(&images).unwrap());
        assert_eq!(encoded(), 6);
        // With the first head, each call encodes three new images; with the second, all are cached.
        for (part, new) in [(3, 3), (6, 3)] {
            let found = cached(seed, Dtype::F32).encode(&images[..part]).unwrap();
            assert_eq!(values(found), expected[..expected.len() / 6 * part]);
            assert_eq!(encoded(), if seed == 1 { new } else { 0 });
        }
    }
    // Another dtype uses other files. New and cached features are rounded alike.
    let rounded = [(); 2].map(|()| values(cached(1, Dtype::F16).encode(&images).unwrap()));
    assert_eq!((encoded(), &rounded[0]), (6, &rounded[1]));
    let exact = values(tower(1).encode(&images).unwrap());
    assert!(rounded[0].iter().zip(&exact).all(|(a, b)| (a - b).abs() < 1e-3) && rounded[0] != exact);
    assert_eq!(std::fs::read_dir(folder.path().join("cache")).unwrap().count(), 12);
    // Different sizes are rejected as without a cache.
    let sizes = [columns(4, 2, |_| [0; 3]), columns(2, 2, |_| [0; 3])];
    let error = cached(1, Dtype::F32).encode(&sizes).unwrap_err();
    assert!(matches!(error, SailError::Tower { source: TowerError::Sizes { .. }, .. }), "{error:?}");
    for file in std::fs::read_dir(folder.path().join("cache")).unwrap() {
        std::fs::write(file.unwrap().path(), b"damaged").unwrap();
    }
    let error = cached(1, Dtype::F32).encode(&images).unwrap_err();
    assert!(matches!(error, SailError::PatchCache { .. }), "{error:?}");
}
