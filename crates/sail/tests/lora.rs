//! Training of adapters with a head, from token states in a store to an encoder with merged weights.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sail_vl::burn::module::{Module, ModuleVisitor, Param};
use sail_vl::burn::optim::GradientsParams;
use sail_vl::burn::tensor::{Device, Tensor};
use sail_vl::core::{
    AlignmentHead, FeatureSource, ImagePooling, Layer, Modality, Pixels, Provenance, RgbImage, Side,
    StoreDtype, VisionTower, gather_tensor,
};
use sail_vl::data::{EmbeddingStore, StoreConfig, StoreWriter};
use sail_vl::encoders::{
    Arithmetic, CropRounding, ImageProcessorConfig, ModelFolder, Normalize, Resample, VisionOptions,
    load_vision,
};
use sail_vl::layers::{Head, ProjectorConfig};
use sail_vl::losses::SigmoidLoss;
use sail_vl::recipe::{HeadRecipe, LoraRecipe, Recipe, RecipeError, StructureRecipe};
use sail_vl::train::{
    AlignmentBatch, AlignmentStep, Event, Finish, Interrupter, Interval, Outcome, TrainConfig,
};

const ROWS: usize = 40;
const HOLDOUT: usize = 8;

/// A random DINOv2 of two blocks.
fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../encoders/tests/fixtures/vision/dinov2")
}

fn options() -> VisionOptions {
    let processor = ImageProcessorConfig {
        resize: None,
        resample: Resample::Bicubic,
        arithmetic: Arithmetic::default(),
        center_crop: Some([20, 20]),
        crop_rounding: CropRounding::default(),
        fill: [0; 3],
        rescale: Some(1.0 / 255.0),
        normalize: Some(Normalize { mean: [0.5; 3], std: [0.3; 3] }),
    };
    VisionOptions { processor: Some(processor), ..VisionOptions::default() }
}

fn tower(options: &VisionOptions) -> VisionTower {
    load_vision(&ModelFolder::open(model()).unwrap(), options, &Device::flex()).unwrap()
}

/// Images of stripes, of which each has a direction and a width.
fn images() -> Vec<RgbImage> {
    let image = |index: u32| {
        RgbImage::from_fn(20, 20, |x, y| {
            let wave = |scale: f32| ((x * (index % 7) + y * (index % 5)) as f32 * scale).sin();
            [0.1, 0.2, 0.3].map(|scale| (127.0 + 120.0 * wave(scale + index as f32 * 0.01)) as u8).into()
        })
    };
    (0..ROWS as u32).map(image).collect()
}

fn rows(tower: &VisionTower) -> Vec<Vec<f32>> {
    let pixels: Vec<Pixels> =
        images().iter().map(|image| tower.preprocessor.preprocess(image).unwrap()).collect();
    let rows = tower.embed(&pixels).unwrap();
    let dim = rows.dims()[1];
    rows.into_data().try_to_vec::<f32>().unwrap().chunks(dim).map(<[f32]>::to_vec).collect()
}

fn write(path: &Path, modality: Modality, provenance: Provenance, rows: &[Vec<f32>]) -> String {
    let config =
        StoreConfig { dtype: StoreDtype::F32, ..StoreConfig::new(modality, provenance, rows[0].len()) };
    let mut writer = StoreWriter::create(path, config).unwrap();
    for (index, row) in rows.iter().enumerate() {
        writer.push(&format!("k{index}"), row).unwrap();
    }
    writer.finish().unwrap();
    path.display().to_string()
}

/// Stores of token states before both blocks, of pooled features, and of texts.
struct Stores {
    folder: tempfile::TempDir,
    tokens: String,
    pooled: String,
    texts: String,
}

impl Stores {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name| folder.path().join(name);
        let tokens = VisionOptions { pooling: Some(ImagePooling::Tokens), ..options() };
        let tokens = tower(&tokens).at_layer(Layer::FromEnd(3));
        let tokens = write(&path("tokens"), Modality::Image, tokens.provenance(), &rows(&tokens));
        let pooled = tower(&options());
        let pooled = write(&path("pooled"), Modality::Image, pooled.provenance(), &rows(&pooled));
        let text = |index: usize| (0..6).map(|i| ((index * 6 + i) as f32 * 1.7).sin()).collect();
        let texts: Vec<Vec<f32>> = (0..ROWS).map(text).collect();
        let texts = write(&path("texts"), Modality::Text, Provenance::new("words"), &texts);
        Self { folder, tokens, pooled, texts }
    }

    fn recipe(&self, images: &str, lora: Option<&str>) -> Recipe {
        let head = HeadRecipe::Layers { projector: ProjectorConfig::Linear {}, dim: 8 };
        let train = TrainConfig::default().with_batch_size(16).with_epochs(4).with_learning_rate(1e-2);
        let lora =
            lora.map(|lora| LoraRecipe::new(lora.parse().unwrap()).with_model(model().display().to_string()));
        Recipe::new(images, &self.texts)
            .with_holdout(HOLDOUT)
            .with_head(head)
            .with_train(train.with_evaluate_every(Interval::epochs(1)))
            .with_lora_image(lora)
    }

    fn adapted(&self, lora: &str) -> Recipe {
        self.recipe(&self.tokens, Some(lora))
    }
}

fn run(recipe: &Recipe) -> Outcome<Head> {
    recipe.prepare(&Device::flex()).unwrap().trainer().run().unwrap()
}

fn values(x: Tensor<2>) -> Vec<f32> {
    x.into_data().try_to_vec().unwrap()
}

#[test]
fn rank_zero_equals_frozen_features_byte_for_byte() {
    let stores = Stores::new();
    let frozen = run(&stores.recipe(&stores.pooled, None));
    let zero = run(&stores.adapted("0"));
    assert!(zero.head.to_bytes().unwrap() == frozen.head.to_bytes().unwrap());
    assert_eq!(zero.history.evaluations, frozen.history.evaluations);
}

#[test]
fn a_trained_head_takes_the_features_of_the_merged_encoder() {
    let stores = Stores::new();
    let recipe = stores.adapted("3:2:query,value,down");
    let frozen = run(&stores.adapted("0"));
    let outcome = run(&recipe);
    let loss = |outcome: &Outcome<Head>| outcome.history.steps.last().unwrap().loss;
    assert!(loss(&outcome) < 0.99 * loss(&frozen), "{} of {}", loss(&outcome), loss(&frozen));

    let path = stores.folder.path().join("head.safetensors");
    outcome.head.save(&path).unwrap();
    let head = Head::load(&path, &Device::flex()).unwrap();
    assert_eq!(outcome.head.clone().without_blocks().unwrap().config(), head.config());
    let adapter = head.adapter(Side::Image).unwrap().unwrap();
    assert_eq!(adapter.config.layers.len(), 6);
    let merged = tower(&VisionOptions { adapter: Some(Arc::new(adapter)), ..options() });
    head.accepts_provenance(Side::Image, &merged.provenance()).unwrap();
    assert!(head.accepts_provenance(Side::Image, &tower(&options()).provenance()).is_err());

    let tokens = EmbeddingStore::open(&stores.tokens).unwrap();
    let all: Vec<usize> = (0..tokens.rows()).collect();
    let states = gather_tensor(&tokens, &all, &Device::flex()).unwrap();
    let expected = values(outcome.head.project_images(states).unwrap());
    let features = rows(&merged).concat();
    let features = Tensor::<1>::from_floats(features.as_slice(), &Device::flex()).reshape([ROWS as i32, -1]);
    let found = values(head.project_images(features).unwrap());
    let scale = expected.iter().fold(0.0_f32, |scale, x| scale.max(x.abs()));
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() <= 1e-5 * scale, "{found}, expected {expected}");
    }

    // A later training continues from the adapters.
    let further = recipe.clone().with_head(HeadRecipe::Trained { from: path });
    let further = further.prepare(&Device::flex()).unwrap();
    assert_eq!(further.head().adapter(Side::Image).unwrap(), head.adapter(Side::Image).unwrap());
    assert!(further.head().to_bytes().unwrap() == head.to_bytes().unwrap());
}

/// Compares the gradients of every parameter by the norm of their difference.
struct Compare<'a> {
    found: &'a GradientsParams,
    expected: &'a GradientsParams,
    parameters: usize,
}

impl ModuleVisitor for Compare<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let length = |x: Tensor<D>| (x.clone() * x).sum().sqrt().into_scalar::<f32>();
        let [found, expected] = [self.found, self.expected].map(|of| of.get::<D>(param.id).unwrap());
        let (difference, size) = (length(found - expected.clone()), length(expected));
        assert!(size > 0.0 && difference <= 1e-4 * size, "{difference:e} of {size:e}");
        self.parameters += 1;
    }
}

#[test]
fn micro_batches_and_devices_compute_the_undivided_step() {
    let stores = Stores::new();
    let head = run(&stores.adapted("2")).head;
    let device = Device::flex().autodiff();
    let head = head.fork(&device).train();
    let gather = |spec: &str| {
        let store = EmbeddingStore::open(spec).unwrap();
        let rows: Vec<usize> = (0..24).collect();
        Tensor::from_inner(gather_tensor(&store, &rows, &Device::flex()).unwrap())
    };
    let batch =
        AlignmentBatch { images: gather(&stores.tokens), texts: vec![gather(&stores.texts)], groups: None };
    let step = |rows: Option<usize>, others| {
        AlignmentStep::new(Arc::new(SigmoidLoss::new()))
            .with_micro_batch(rows.and_then(NonZeroUsize::new))
            .with_devices(vec![Device::flex(); others])
            .gradients(&head, batch.clone())
            .unwrap()
            .gradients
    };
    let expected = step(None, 0);
    for (rows, others) in [(Some(1), 0), (Some(7), 0), (None, 1), (Some(5), 1)] {
        let found = step(rows, others);
        let mut compare = Compare { found: &found, expected: &expected, parameters: 0 };
        head.visit(&mut compare);
        // Both sides with norm and linear layer, scale and bias, `A` and `B` of two layers of two blocks.
        assert_eq!(compare.parameters, 8 + 2 + 8);
    }
}

#[test]
fn an_interrupted_run_resumes_to_the_same_head() {
    let stores = Stores::new();
    let recipe = stores.adapted("2:1");
    let expected = run(&recipe).head.to_bytes().unwrap();
    let path = stores.folder.path().join("run");
    let prepared = recipe.prepare(&Device::flex()).unwrap();
    let folder = prepared.create(&path).unwrap();
    let interrupter = Interrupter::new();
    let handle = interrupter.clone();
    let stop = move |event: Event<'_>, _: &Head| {
        if let Event::Step(step) = event
            && step.step == 2
        {
            handle.stop();
        }
    };
    let first = prepared.trainer().folder(folder).interrupter(interrupter).observer(stop).run().unwrap();
    assert_eq!(first.finish, Finish::Interrupted);
    // The checkpoint has the adapters, and no weights of the encoder.
    let size = std::fs::metadata(path.join("checkpoint.safetensors")).unwrap().len();
    assert!(size < 40_000, "{size}");
    let prepared = recipe.prepare(&Device::flex()).unwrap();
    let folder = prepared.resume(&path).unwrap();
    let second = prepared.trainer().folder(folder).run().unwrap();
    assert!(second.head.to_bytes().unwrap() == expected);
    assert!(std::fs::read(path.join("head.safetensors")).unwrap() == expected);
    let loaded = Recipe::load(path.join("config.json")).unwrap();
    assert_eq!(loaded.lora_image, recipe.lora_image);
}

#[test]
fn what_cannot_be_adapted_is_refused() {
    let stores = Stores::new();
    let refused = |recipe: &Recipe| {
        let error = recipe.prepare(&Device::flex()).err().unwrap();
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        text
    };
    for (recipe, expected) in [
        (stores.adapted("2:3"), "`blocks` is 3, expected at most 2"),
        (stores.adapted("2:1:gate"), "`layers` is gate"),
        (stores.adapted("25"), "`rank` is 25, expected 1 to 24"),
        (
            stores.recipe(&stores.pooled, Some("2")),
            "`tokens` is none, expected a class token and patches of 24 values: encode images",
        ),
        (stores.adapted("2").with_structure(StructureRecipe::new(1.0)), "`structure` is set, expected none"),
    ] {
        let found = refused(&recipe);
        assert!(found.contains(expected), "{found}");
    }
    let other =
        LoraRecipe::new("2".parse().unwrap()).with_model(model().with_file_name("vit").display().to_string());
    let found = refused(&stores.adapted("2").with_lora_image(other));
    assert!(found.starts_with("cannot adapt the image encoder"), "{found}");
    let unrecorded = LoraRecipe::new("2".parse().unwrap()).with_pooling(ImagePooling::Pooled);
    let unrecorded = unrecorded.with_model(model().display().to_string());
    assert!(refused(&stores.adapted("2").with_lora_image(unrecorded)).contains("a pooled output"));
    // Without blocks, a plain head does not take token states.
    assert!(matches!(
        stores.recipe(&stores.tokens, None).prepare(&Device::flex()),
        Err(RecipeError::Head(_))
    ));
}
