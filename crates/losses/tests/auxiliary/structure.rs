//! STRUCTURE.

use burn::tensor::{Device, Tensor, TensorData};
use sail_core::{AuxiliaryBatch, AuxiliaryError, AuxiliaryLoss, Check};
use sail_losses::Structure;

use super::{Matrix, assert_close, differences, dot, floats, matrix, tensor, unit};

const ROWS: usize = 9;

fn centred(x: &Matrix) -> Matrix {
    let mean = |column: usize| x.iter().map(|row| row[column]).sum::<f64>() / x.len() as f64;
    let means: Vec<f64> = (0..x[0].len()).map(mean).collect();
    x.iter().map(|row| row.iter().zip(&means).map(|(x, mean)| x - mean).collect()).collect()
}

/// The transition matrix of rows that are normalized already.
fn transitions(x: &Matrix, temperature: f64) -> Matrix {
    let x = centred(x);
    let row = |a: &Vec<f64>| {
        let weights: Vec<f64> = x.iter().map(|b| (dot(a, b) / temperature).exp()).collect();
        let sum: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / sum).collect()
    };
    x.iter().map(row).collect()
}

fn product(a: &Matrix, b: &Matrix) -> Matrix {
    let entry = |row: &Vec<f64>, column: usize| row.iter().zip(b).map(|(x, b)| x * b[column]).sum();
    a.iter().map(|row| (0..b[0].len()).map(|column| entry(row, column)).collect()).collect()
}

/// The regularizer of one side, with whole matrices and their powers.
fn value(features: &Matrix, embeddings: &Matrix, levels: usize, temperature: f64) -> f64 {
    let kl = |p: &[f64], q: &[f64]| p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum::<f64>();
    let one = transitions(&unit64(features), temperature);
    let other = transitions(embeddings, temperature);
    let (mut p, mut q) = (one.clone(), other.clone());
    let mut sum = 0.0;
    for level in 1..=levels {
        if level > 1 {
            (p, q) = (product(&p, &one), product(&q, &other));
        }
        for (p, q) in p.iter().zip(&q) {
            let mean: Vec<f64> = p.iter().zip(q).map(|(p, q)| (p + q) / 2.0).collect();
            let divergence = (kl(p, &mean) + kl(q, &mean)) / 2.0;
            sum += divergence / (level * levels * features.len()) as f64;
        }
    }
    sum
}

fn unit64(x: &Matrix) -> Matrix {
    let normalize = |row: &Vec<f64>| row.iter().map(|x| x / dot(row, row).sqrt()).collect();
    x.iter().map(normalize).collect()
}

fn batch(image: &Matrix, texts: &[Matrix], [images, others]: [&Matrix; 2]) -> AuxiliaryBatch {
    AuxiliaryBatch {
        image_features: tensor(image),
        text_features: texts.iter().map(tensor).collect(),
        images: tensor(images),
        texts: vec![tensor(others); texts.len()],
    }
}

#[test]
fn value_and_gradients_are_those_of_whole_matrices() {
    let (image_features, text_features) = (matrix(ROWS, 6, 1), [matrix(ROWS, 4, 2), matrix(ROWS, 4, 3)]);
    let (images, texts) = (unit(matrix(ROWS, 5, 4)), unit(matrix(ROWS, 5, 5)));
    for (levels, temperature) in [(1, 0.2), (1, 1.0), (2, 0.2), (3, 0.5), (4, 0.3)] {
        let of_image = |images: &Matrix| value(&image_features, images, levels, temperature);
        let of_texts =
            |set: usize, texts: &Matrix| value(&text_features[set], texts, levels, temperature) / 2.0;
        let expected = of_image(&images) + of_texts(0, &texts) + of_texts(1, &texts);
        for block_rows in [1, 2, 4, ROWS, 100] {
            let structure = Structure::default()
                .with_levels(levels)
                .with_temperature(temperature)
                .with_block_rows(block_rows);
            let found =
                structure.gradients(&batch(&image_features, &text_features, [&images, &texts])).unwrap();
            assert_close(&floats(found.value), &[expected], 1e-4, "value");
            assert_close(&floats(found.images), &differences(&images, of_image), 1e-3, "images");
            for (set, gradient) in found.texts.into_iter().enumerate() {
                let expected = differences(&texts, |texts| of_texts(set, texts));
                assert_close(&floats(gradient), &expected, 1e-3, "texts");
            }
        }
    }
}

#[test]
fn vanishes_for_features_that_are_rotated_and_scaled() {
    let features = matrix(ROWS, 2, 1);
    let rotated: Matrix = features.iter().map(|row| vec![3.0 * -row[1], 3.0 * row[0]]).collect();
    let (unit, rotated) = (unit(features.clone()), unit(rotated));
    let structure = Structure::default().with_levels(3).with_temperature(0.1);
    let found =
        structure.gradients(&batch(&features, std::slice::from_ref(&features), [&rotated, &unit])).unwrap();
    assert!(floats(found.value)[0].abs() < 1e-6);
    assert!(floats(found.images).into_iter().all(|x| x.abs() < 1e-5));
}

#[test]
fn a_sharp_softmax_stays_finite() {
    let x = unit(matrix(ROWS, 3, 1));
    let y = unit(matrix(ROWS, 3, 2));
    for levels in [1, 3] {
        let structure = Structure::default().with_levels(levels).with_temperature(1e-3);
        let found = structure.gradients(&batch(&x, std::slice::from_ref(&x), [&y, &y])).unwrap();
        let value = floats(found.value)[0];
        assert!(value > 0.01 && value <= 2.0 * 2f64.ln(), "{value}");
        assert!(floats(found.images).into_iter().all(f64::is_finite));
    }
}

#[test]
fn rejects_other_shapes_and_settings() {
    let x = unit(matrix(ROWS, 3, 1));
    let mut other = batch(&x, std::slice::from_ref(&x), [&x, &x]);
    other.image_features = Tensor::from_data(TensorData::new(vec![1f32; 6], [2, 3]), &Device::flex());
    let error = Structure::default().gradients(&other);
    assert!(matches!(error, Err(AuxiliaryError::Rows { found: 2, expected: ROWS })));
    for (structure, field) in [
        (Structure::default().with_levels(0), "levels"),
        (Structure::default().with_levels(17), "levels"),
        (Structure::default().with_temperature(0.0), "temperature"),
        (Structure::default().with_temperature(f64::NAN), "temperature"),
    ] {
        assert_eq!(structure.check().unwrap_err().field, field);
    }
}
