//! Training on a store of token states.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use sail_core::{AlignmentHead, HeadError, Modality, Provenance, Side, TokenLayout};
use sail_data::{MatrixFeatures, Pairs, StoreConfig, StoreWriter};
use sail_layers::{Head, HeadConfig, ProjectorConfig, SideConfig};
use sail_losses::SigmoidLoss;
use sail_train::{OptimizerConfig, Outcome, TrainConfig, TrainError, Trainer};

use crate::ROWS;

const LAYOUT: TokenLayout = TokenLayout::Image { class_token: true, grid: [2, 2], dim: 8 };

/// Pseudo-random values from -1 to 1.
fn noise(i: usize) -> f32 {
    (((i * 7919 + 13) as f64).sin() * 43_758.545_3).rem_euclid(1.0) as f32 * 2.0 - 1.0
}

/// A store of images, one patch of which shows what the text says.
fn pairs(folder: &Path) -> Pairs {
    let provenance = Provenance { tokens: Some(LAYOUT), ..Provenance::new("tiny") };
    let config = StoreConfig::new(Modality::Image, provenance, LAYOUT.row_values());
    let mut store = StoreWriter::create(folder, config).unwrap();
    let text = |row: usize| (0..8).map(move |i| noise(8 * row + i));
    for row in 0..ROWS {
        let mut tokens: Vec<f32> =
            (0..LAYOUT.row_values()).map(|i| noise(1000 + 40 * row + i) / 4.0).collect();
        let at = 8 * (1 + row % 4);
        tokens.splice(at..at + 8, text(row));
        store.push(&format!("k{row}"), &tokens).unwrap();
    }
    let images = store.finish().unwrap();
    let texts = MatrixFeatures::new(8, (0..ROWS).flat_map(text).collect()).unwrap();
    let texts = texts.with_keys((0..ROWS).map(|row| format!("k{row}"))).unwrap();
    Pairs::new(Arc::new(images), vec![Arc::new(texts)]).unwrap()
}

fn train(pairs: &Pairs, projector: &ProjectorConfig, micro_batch: Option<usize>) -> Outcome<Head> {
    let config = HeadConfig {
        image: Some(SideConfig::of_tokens(LAYOUT, projector.clone())),
        ..HeadConfig::new(8, 8, 8, ProjectorConfig::MLP)
    };
    let head = Head::new(&config, 0, &Device::flex()).unwrap();
    let provenance = pairs.images().provenance();
    head.accepts(Side::Image, LAYOUT.row_values(), provenance).unwrap();
    let config = TrainConfig::default()
        .with_batch_size(24)
        .with_epochs(20)
        .with_optimizer(OptimizerConfig::ADAMW)
        .with_learning_rate(3e-3);
    let head = head.with_provenance(provenance, None);
    let trainer = Trainer::new(config, head, Arc::new(SigmoidLoss::new()), pairs.clone());
    match micro_batch.and_then(NonZeroUsize::new) {
        Some(rows) => trainer.micro_batch(rows).run().unwrap(),
        None => trainer.run().unwrap(),
    }
}

#[test]
fn a_store_of_tokens_trains_in_micro_batches_as_in_whole_batches() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = pairs(&folder.path().join("store"));
    for projector in
        [ProjectorConfig::Token {}, ProjectorConfig::TokenTransformer { depth: 1, head_width: 4 }]
    {
        let whole = train(&pairs, &projector, None);
        let losses = |outcome: &Outcome<Head>| -> Vec<f64> {
            outcome.history.steps.iter().map(|step| step.loss).collect()
        };
        let expected = losses(&whole);
        assert!(expected[expected.len() - 1] < 0.5 * expected[0], "{projector:?}: {expected:?}");
        for (found, expected) in losses(&train(&pairs, &projector, Some(5))).iter().zip(&expected) {
            assert!((found / expected - 1.0).abs() < 1e-3, "{projector:?}: {found}, expected {expected}");
        }
        assert_eq!(whole.head.trained_on(Side::Image).unwrap().tokens, Some(LAYOUT));
    }
    // A head on pooled features of as many values.
    let config = HeadConfig::new(LAYOUT.row_values(), 8, 8, ProjectorConfig::Linear {});
    let head = Head::new(&config, 0, &Device::flex()).unwrap();
    let config = TrainConfig::default().with_batch_size(24);
    let refused = Trainer::new(config, head, Arc::new(SigmoidLoss::new()), pairs).check();
    assert!(matches!(refused, Err(TrainError::Head(HeadError::Tokens { found: LAYOUT, .. }))), "{refused:?}");
}
