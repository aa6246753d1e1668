//! Matches against scores computed in f64.

use burn::tensor::{Device, Tensor, TensorData};
use proptest::prelude::*;
use sail_eval::{BlockSize, EvalError, top_k};

type Rows = Vec<Vec<f32>>;

fn tensor(rows: &Rows) -> Tensor<2> {
    let data = TensorData::new(rows.concat(), [rows.len(), rows[0].len()]);
    Tensor::from_data(data, &Device::flex())
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| -> f64 { x.iter().zip(y).map(|(&x, &y)| x as f64 * y as f64).sum() };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn rows(n: usize, dim: usize) -> impl Strategy<Value = Rows> {
    let row = prop::collection::vec(prop_oneof![Just(1f32), Just(-1.0), 0.05f32..1.0], dim);
    prop::collection::vec(row, n)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn finds_the_best_matches(
        (queries, gallery, k, block) in (1usize..9, 1usize..40, 1usize..5).prop_flat_map(|(n, m, dim)| {
            let block = (1usize..5, 1usize..9).prop_map(|(rows, columns)| BlockSize { rows, columns });
            (rows(n, dim), rows(m, dim), 1usize..50, block)
        })
    ) {
        let found = top_k(tensor(&queries), tensor(&gallery), k, &block).unwrap();
        prop_assert_eq!(found.len(), queries.len());
        for (query, found) in queries.iter().zip(&found) {
            prop_assert_eq!(found.len(), k.min(gallery.len()));
            for pair in found.windows(2) {
                let tie = pair[0].score == pair[1].score;
                prop_assert!(pair[0].score > pair[1].score || tie && pair[0].index < pair[1].index);
            }
            for found in found {
                let expected = cosine(query, &gallery[found.index]);
                prop_assert!((f64::from(found.score) - expected).abs() < 1e-6);
            }
            let last = f64::from(found[found.len() - 1].score);
            for (index, row) in gallery.iter().enumerate() {
                let returned = found.iter().filter(|found| found.index == index).count();
                prop_assert!(returned == 1 || returned == 0 && cosine(query, row) <= last + 1e-6);
            }
        }
    }
}

#[test]
fn equal_rows_are_ordered_by_index() {
    let mut gallery = vec![vec![0.3, -0.7, 0.1]; 100];
    gallery[60] = vec![0.3, 0.7, 0.1];
    for columns in [1, 7, 100] {
        let block = BlockSize { rows: 1, columns };
        let found = top_k(tensor(&vec![vec![1.0, 1.0, 1.0]; 2]), tensor(&gallery), 5, &block).unwrap();
        for found in found {
            let indices: Vec<usize> = found.iter().map(|found| found.index).collect();
            assert_eq!(indices, [60, 0, 1, 2, 3], "columns {columns}");
        }
    }
}

#[test]
fn rejects_invalid_input() {
    let good = vec![vec![1.0, 0.0]];
    let block = BlockSize::default();
    let error = top_k(tensor(&good), tensor(&good), 0, &block).unwrap_err();
    assert!(matches!(error, EvalError::Config(error) if error.field == "k"));
    let error = top_k(tensor(&good), tensor(&vec![vec![1.0]]), 1, &block).unwrap_err();
    assert!(matches!(error, EvalError::Dimension { first_dim: 2, second_dim: 1, .. }));
    let error = top_k(tensor(&good), tensor(&vec![vec![0.0, 0.0]]), 1, &block).unwrap_err();
    assert!(matches!(error, EvalError::ZeroNorm { what: "gallery row", row: 0 }));
}
