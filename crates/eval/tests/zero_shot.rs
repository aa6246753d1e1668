//! Zero-shot classification against plain loops.

use burn::tensor::{Device, Tensor, TensorData};
use proptest::prelude::*;
use sail_eval::{EvalError, TIE_TOLERANCE, class_weights, zero_shot};

type Rows = Vec<Vec<f32>>;

fn tensor(rows: &Rows) -> Tensor<2> {
    let data = TensorData::new(rows.concat(), [rows.len(), rows[0].len()]);
    Tensor::from_data(data, &Device::flex())
}

fn unit(row: &[f64]) -> Vec<f64> {
    let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
    row.iter().map(|x| x / norm).collect()
}

fn wide(row: &[f32]) -> Vec<f64> {
    row.iter().map(|&x| f64::from(x)).collect()
}

fn rows(n: usize, dim: usize) -> impl Strategy<Value = Rows> {
    // Away from zero, so rows have a direction.
    let value = prop_oneof![0.05f32..1.0, -1f32..-0.05];
    prop::collection::vec(prop::collection::vec(value, dim), n)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn accuracies_agree_with_plain_loops(
        (images, classes, labels) in (1usize..40, 1usize..12, 1usize..6).prop_flat_map(|(n, c, dim)| {
            (rows(n, dim), rows(c, dim), prop::collection::vec(0..c, n))
        })
    ) {
        let (mut top1, mut top5) = (0, 0);
        let mut right = vec![0.0; classes.len()];
        let mut seen = vec![0.0; classes.len()];
        for (image, &label) in images.iter().zip(&labels) {
            // Sort the classes by score, ties before the true class.
            let mut scores: Vec<(f64, usize)> = classes.iter().enumerate().map(|(class, weights)| {
                let cosine: f64 = unit(&wide(image)).iter().zip(unit(&wide(weights))).map(|(a, b)| a * b).sum();
                (cosine + if class == label { 0.0 } else { TIE_TOLERANCE }, class)
            }).collect();
            let own = scores[label].0;
            prop_assume!(scores.iter().all(|&(score, class)| class == label || (score - own).abs() > 3e-7));
            scores.sort_by(|a, b| b.0.total_cmp(&a.0));
            let position = scores.iter().position(|&(_, class)| class == label).unwrap();
            top1 += usize::from(position < 1);
            top5 += usize::from(position < 5);
            right[label] += f64::from(u8::from(position < 1));
            seen[label] += 1.0;
        }
        let found = zero_shot(tensor(&images), tensor(&classes), &labels).unwrap();
        let n = images.len() as f64;
        prop_assert!((found.top1 - 100.0 * top1 as f64 / n).abs() < 1e-9);
        prop_assert!((found.top5 - 100.0 * top5 as f64 / n).abs() < 1e-9);
        let mut recalls = Vec::new();
        for class in 0..classes.len() {
            let expected = (seen[class] > 0.0).then(|| 100.0 * right[class] / seen[class]);
            prop_assert_eq!(found.per_class[class], expected);
            recalls.extend(expected);
        }
        let balanced = recalls.iter().sum::<f64>() / recalls.len() as f64;
        prop_assert!((found.per_class_mean - balanced).abs() < 1e-9);
        prop_assert_eq!((found.n_images, found.n_classes), (images.len(), classes.len()));
    }

    #[test]
    fn weights_agree_with_plain_loops(
        (prompts, classes, n) in (1usize..6, 0usize..20, 1usize..6).prop_flat_map(|(n, extra, dim)| {
            let classes = prop::collection::vec(0..n, extra)
                .prop_map(move |extra| (0..n).chain(extra).collect::<Vec<_>>())
                .prop_shuffle();
            (rows(n + extra, dim), classes, Just(n))
        })
    ) {
        let dim = prompts[0].len();
        let mut expected = Vec::new();
        for class in 0..n {
            let mut mean = vec![0.0; dim];
            let own: Vec<_> = (0..prompts.len()).filter(|&prompt| classes[prompt] == class).collect();
            for &prompt in &own {
                for (mean, x) in mean.iter_mut().zip(unit(&wide(&prompts[prompt]))) {
                    *mean += x / own.len() as f64;
                }
            }
            prop_assume!(mean.iter().any(|x| x.abs() > 1e-2));
            expected.extend(unit(&mean));
        }
        let found = class_weights(tensor(&prompts), &classes, n).unwrap();
        prop_assert_eq!(found.dims(), [n, dim]);
        for (found, expected) in found.into_data().try_to_vec::<f32>().unwrap().iter().zip(expected) {
            prop_assert!((f64::from(*found) - expected).abs() < 1e-5);
        }
    }
}

#[test]
fn a_tie_with_the_true_class_counts_against_it() {
    // Collapsed class weights: six classes are tied, so the true one is not among the first five.
    let found =
        zero_shot(tensor(&vec![vec![0.3; 700]; 4]), tensor(&vec![vec![0.9; 700]; 6]), &[0, 1, 2, 5]).unwrap();
    assert_eq!((found.top1, found.top5, found.per_class_mean), (0.0, 0.0, 0.0));
    assert_eq!(found.per_class[3..5], [None, None]);
}

#[test]
fn errors_name_the_invalid_row() {
    let good = vec![vec![1.0, 0.0], vec![0.0, 1.0]];
    let message = |labels: &[usize]| zero_shot(tensor(&good), tensor(&good), labels).unwrap_err().to_string();
    assert_eq!(message(&[0, 2]), "image 1 has class index 2, expected less than 2");
    assert_eq!(message(&[0]), "found 1 class labels, expected 2: one for each image");
    let nan = vec![vec![f32::NAN, 0.0], vec![0.0, 1.0]];
    let error = zero_shot(tensor(&good), tensor(&nan), &[0, 1]).unwrap_err();
    assert!(matches!(error, EvalError::NotFinite { what: "class weight", row: 0, column: 0, .. }));

    let weights = |classes: &[usize], n| class_weights(tensor(&good), classes, n).unwrap_err();
    assert!(matches!(weights(&[0, 0], 2), EvalError::ClassWithoutPrompt { class: 1 }));
    assert!(matches!(weights(&[0, 2], 2), EvalError::OutOfRange { found: 2, row: 1, .. }));
    assert!(matches!(weights(&[0], 1), EvalError::Length { found: 1, expected: 2, .. }));
    let opposite = vec![vec![0.1, 0.7], vec![-0.2, -1.4]];
    let error = class_weights(tensor(&opposite), &[0, 0], 1).unwrap_err();
    assert!(matches!(error, EvalError::PromptsCancel { class: 0 }));
}

#[test]
fn serializes_missing_classes_as_null() {
    let good = vec![vec![1.0, 0.0], vec![0.0, 1.0]];
    let found = zero_shot(tensor(&good), tensor(&good), &[1, 1]).unwrap();
    assert_eq!(
        serde_json::to_string(&found).unwrap(),
        r#"{"top1":50.0,"top5":100.0,"per_class_mean":50.0,"per_class":[null,50.0],"n_images":2,"n_classes":2}"#
    );
}
