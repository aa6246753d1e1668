//! KLOT and its transport plans.

use std::num::NonZeroUsize;

use burn::tensor::{Device, Tensor};
use sail_core::{AlignmentHead, AuxiliaryBatch, AuxiliaryError, AuxiliaryLoss, Check};
use sail_layers::{Head, HeadConfig, ProjectorConfig};
use sail_losses::{Klot, Sinkhorn, TransportPlan};

use super::{Matrix, assert_close, differences, dot, floats, matrix, tensor, unit};

const ROWS: usize = 7;

/// The entropic plan with unit marginals, iterated until it no longer changes: the scaling algorithm on the matrix itself.
fn plan(images: &Matrix, texts: &Matrix, epsilon: f64) -> Matrix {
    let kernel = |image: &Vec<f64>| texts.iter().map(|text| (dot(image, text) / epsilon).exp()).collect();
    let kernel: Matrix = images.iter().map(kernel).collect();
    let count = images.len();
    let (mut a, mut b) = (vec![1.0; count], vec![1.0; count]);
    for _ in 0..20_000 {
        for i in 0..count {
            a[i] = 1.0 / dot(&kernel[i], &b);
        }
        let before = b.clone();
        for j in 0..count {
            b[j] = 1.0 / (0..count).map(|i| kernel[i][j] * a[i]).sum::<f64>();
        }
        if before.iter().zip(&b).all(|(before, now)| (before / now - 1.0).abs() < 1e-14) {
            break;
        }
    }
    (0..count).map(|i| (0..count).map(|j| a[i] * kernel[i][j] * b[j]).collect()).collect()
}

/// The divergence from the plan of the teacher to that of the student, as distributions over all pairs.
fn divergence(teacher: &Matrix, student: &Matrix) -> f64 {
    let count = teacher.len() as f64;
    let entries = teacher.iter().flatten().zip(student.iter().flatten());
    entries.map(|(t, s)| t / count * (t / s).ln()).sum()
}

fn klot(student: f64, teacher: f64) -> Klot {
    let precise = |epsilon| Sinkhorn::new(epsilon).with_tolerance(1e-6).with_max_iterations(20_000);
    Klot::new(precise(student), precise(teacher))
}

#[test]
fn plan_is_that_of_the_scaling_algorithm_and_has_unit_marginals() {
    let (images, texts) = (unit(matrix(ROWS, 3, 1)), unit(matrix(ROWS, 3, 2)));
    for epsilon in [0.05, 0.3, 5.0] {
        let settings = Sinkhorn::new(epsilon).with_tolerance(1e-6).with_max_iterations(20_000);
        let found = TransportPlan::solve(tensor(&images), tensor(&texts), &settings).unwrap();
        let found = found.log_tile(0..ROWS, 0..ROWS).exp();
        for dim in [0, 1] {
            for sum in floats(found.clone().sum_dim(dim)) {
                assert!((sum - 1.0).abs() < 2e-5, "{sum}");
            }
        }
        assert_close(&floats(found), &plan(&images, &texts, epsilon).concat(), 1e-4, "plan");
    }
}

#[test]
fn value_and_gradients_are_those_of_the_exact_problem() {
    let (images, texts) = (unit(matrix(ROWS, 3, 1)), unit(matrix(ROWS, 3, 2)));
    let (teacher_images, teacher_texts) = (unit(matrix(ROWS, 4, 3)), unit(matrix(ROWS, 4, 4)));
    for (student, teacher) in [(0.2, 0.1), (0.1, 0.3), (1.0, 1.0)] {
        let target = plan(&teacher_images, &teacher_texts, teacher);
        let value = |images: &Matrix, texts: &Matrix| divergence(&target, &plan(images, texts, student));
        let d_images = differences(&images, |images| value(images, &texts));
        let d_texts = differences(&texts, |texts| value(&images, texts));
        for tile_size in [1, 2, 3, ROWS, 100] {
            let klot = klot(student, teacher).with_tile_size(NonZeroUsize::new(tile_size).unwrap());
            let found = klot
                .gradients(
                    [tensor(&images), tensor(&texts)],
                    [tensor(&teacher_images), tensor(&teacher_texts)],
                )
                .unwrap();
            assert_close(&floats(found.value), &[value(&images, &texts)], 1e-4, "value");
            assert_close(&floats(found.images), &d_images, 1e-3, "images");
            assert_close(&floats(found.texts[0].clone()), &d_texts, 1e-3, "texts");
        }
    }
}

#[test]
fn vanishes_where_the_plans_agree() {
    let (x, y) = (tensor(&unit(matrix(ROWS, 3, 1))), tensor(&unit(matrix(ROWS, 3, 2))));
    let found = klot(0.1, 0.1).gradients([x.clone(), y.clone()], [x, y]).unwrap();
    assert!(floats(found.value)[0].abs() < 1e-6);
    assert!(floats(found.images).into_iter().chain(floats(found.texts[0].clone())).all(|x| x.abs() < 1e-5));
}

#[test]
fn a_plan_that_has_not_converged_is_an_error() {
    let (x, y) = (tensor(&unit(matrix(ROWS, 3, 1))), tensor(&unit(matrix(ROWS, 3, 2))));
    let settings = Sinkhorn::new(0.001).with_tolerance(1e-6).with_max_iterations(3);
    let error = TransportPlan::solve(x, y, &settings).unwrap_err();
    assert!(
        matches!(error, AuxiliaryError::NotConverged { epsilon: 0.001, iterations: 3, deviation, .. } if deviation > 1e-6)
    );
    let message = error.to_string();
    assert!(message.contains("epsilon 0.001") && message.contains("3 iterations"), "{message}");
}

#[test]
fn the_teacher_projects_the_features() {
    let device = Device::flex();
    let config = HeadConfig::new(5, 4, 6, ProjectorConfig::Linear {});
    let teacher = Head::new(&config, 0, &device).unwrap();
    let (images, texts) = (unit(matrix(ROWS, 3, 1)), unit(matrix(ROWS, 3, 2)));
    let batch = |image_dim| AuxiliaryBatch {
        image_features: tensor(&matrix(ROWS, image_dim, 5)),
        text_features: vec![tensor(&matrix(ROWS, 4, 6))],
        images: tensor(&images),
        texts: vec![tensor(&texts)],
    };
    let embeddings = |x: Tensor<2>| -> Matrix {
        let [_, dim] = x.dims();
        unit(floats(x).chunks(dim).map(<[f64]>::to_vec).collect())
    };
    let AuxiliaryBatch { image_features, text_features, .. } = batch(5);
    let teacher_images = embeddings(teacher.project_images(image_features).unwrap());
    let teacher_texts = embeddings(teacher.project_texts(text_features[0].clone()).unwrap());
    let expected = divergence(&plan(&teacher_images, &teacher_texts, 0.3), &plan(&images, &texts, 0.2));
    let loss = klot(0.2, 0.3).with_teacher(teacher, "linear");
    assert_close(&floats(loss.gradients(&batch(5)).unwrap().value), &[expected], 1e-4, "value");
    assert!(matches!(loss.gradients(&batch(6)), Err(AuxiliaryError::Teacher(_))));
}

#[test]
fn rejects_other_shapes_and_settings() {
    let x = |rows| tensor(&unit(matrix(rows, 3, 1)));
    let error = klot(0.1, 0.1).gradients([x(4), x(5)], [x(4), x(4)]);
    assert!(matches!(error, Err(AuxiliaryError::Batch(_))));
    for (settings, field) in [
        (Sinkhorn::new(0.0), "epsilon"),
        (Sinkhorn::new(f64::NAN), "epsilon"),
        (Sinkhorn::default().with_tolerance(0.0), "tolerance"),
        (Sinkhorn::default().with_max_iterations(0), "max_iterations"),
    ] {
        assert_eq!(Klot::new(settings, Sinkhorn::default()).check().unwrap_err().field, field);
    }
}
