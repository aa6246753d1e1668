//! Null calibration against the package of its authors (fixtures/calibration.py), and the distribution of p-values.

#![allow(clippy::unwrap_used, clippy::panic)]

use burn::tensor::{Device, Int, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sail_eval::{
    BlockSize, Calibrated, EvalError, Measured, Neighbours, Permutations, cca, cka, cka_and_cca, mutual_knn,
    silhouette_test,
};
use serde_json::Value;

fn tensor(values: Vec<f32>, dim: usize) -> Tensor<2> {
    let rows = values.len() / dim;
    Tensor::from_data(TensorData::new(values, [rows, dim]), &Device::flex())
}

fn reordered(rows: &Tensor<2>, order: &[usize]) -> Tensor<2> {
    let order: Vec<i64> = order.iter().map(|&row| row as i64).collect();
    let order = TensorData::new(order.clone(), [order.len()]);
    rows.clone().select(0, Tensor::<1, Int>::from_data(order, &rows.device()))
}

/// Standard normal rows, a function of the seed.
fn noise(seed: u64, rows: usize, dim: usize) -> Tensor<2> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut unit = || (f64::from(rng.next_u32()) + 0.5) / f64::from(u32::MAX);
    let mut normal = || ((-2.0 * unit().ln()).sqrt() * (std::f64::consts::TAU * unit()).cos()) as f32;
    tensor((0..rows * dim).map(|_| normal()).collect(), dim)
}

fn features() -> [Tensor<2>; 2] {
    let bytes = include_bytes!("fixtures/measures.safetensors");
    let file = safetensors::SafeTensors::deserialize(bytes).unwrap();
    ["first", "second"].map(|name| {
        let view = file.tensor(name).unwrap();
        let (values, _) = view.data().as_chunks::<4>();
        tensor(values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(), view.shape()[1])
    })
}

fn mutual(first: &Tensor<2>, second: &Tensor<2>, permutations: &Permutations) -> Measured {
    mutual_knn(first.clone(), second.clone(), 10, permutations, &BlockSize::SEARCH).unwrap()
}

#[test]
fn calibration_matches_the_package_of_its_authors() {
    let expected: Value = serde_json::from_str(include_str!("fixtures/calibration.json")).unwrap();
    let floats = |value: &Value| -> Vec<f64> {
        value.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
    };
    let orders: Vec<Vec<usize>> = expected["orders"]
        .as_array()
        .unwrap()
        .iter()
        .map(|order| floats(order).into_iter().map(|row| row as usize).collect())
        .collect();
    let [first, second] = features();
    let unrelated = floats(&expected["unrelated"]).into_iter().map(|value| value as f32).collect();
    let narrow = first.clone().slice([0..120, 0..4]);
    let layers = [("related", first), ("narrow", narrow), ("unrelated", tensor(unrelated, 30))];
    let alpha = expected["alpha"].as_f64().unwrap();

    let mutual_knn = |x: &Tensor<2>, y: &Tensor<2>| mutual(x, y, &Permutations::NONE).value;
    let debiased =
        |x: &Tensor<2>, y: &Tensor<2>| cka(x.clone(), y.clone(), &Permutations::NONE).unwrap().debiased.value;
    let compare = |measure: &str, what: &str, found: &Measured| {
        let Calibrated { score, p_value, threshold, .. } = found.calibrate(alpha, 1.0).unwrap();
        for (name, found) in [("score", score), ("p_value", p_value), ("threshold", threshold)] {
            let expected = expected[measure][what][name].as_f64().unwrap();
            let found = found.unwrap();
            assert!((found - expected).abs() < 2e-6, "{measure} {what} {name}: {found}, expected {expected}");
        }
    };
    type Measure<'a> = &'a dyn Fn(&Tensor<2>, &Tensor<2>) -> f64;
    let measures: [(&str, Measure<'_>); 2] = [("mutual_knn", &mutual_knn), ("cka_debiased", &debiased)];
    for (measure, of) in measures {
        let found = layers.each_ref().map(|(layer, x)| {
            let null = orders.iter().map(|order| of(x, &reordered(&second, order))).collect();
            let found = Measured { value: of(x, &second), null };
            compare(measure, layer, &found);
            found
        });
        compare(measure, "maximum", &Measured::maximum(&found).unwrap().unwrap().1);
        let (best, maximum) = Measured::maximum(&found[1..]).unwrap().unwrap();
        assert_eq!(best, 0);
        compare(measure, "maximum of narrow and unrelated", &maximum);
    }
}

#[test]
fn permutations_give_what_permuted_rows_give() {
    let [first, second] = features();
    let permutations = Permutations { count: 6, seed: 9 };
    let orders = permutations.each(120, |order| Ok::<_, EvalError>(order.to_vec())).unwrap();
    let close = |found: &Measured, of: &dyn Fn(&Tensor<2>) -> f64| {
        assert!((found.value - of(&second)).abs() < 1e-6);
        assert_eq!(found.null.len(), orders.len());
        for (null, order) in found.null.iter().zip(&orders) {
            let expected = of(&reordered(&second, order));
            assert!((null - expected).abs() < 1e-6, "{null}, expected {expected}");
        }
    };
    let none = Permutations::NONE;
    close(&mutual(&first, &second, &permutations), &|rows| mutual(&first, rows, &none).value);
    let found_cka = cka(first.clone(), second.clone(), &permutations).unwrap();
    close(&found_cka.debiased, &|rows| cka(first.clone(), rows.clone(), &none).unwrap().debiased.value);
    let found_cca = cca(first.clone(), second.clone(), 0.1, &permutations).unwrap();
    close(&found_cca, &|rows| cca(first.clone(), rows.clone(), 0.1, &none).unwrap().value);
    // Together they are the same.
    assert_eq!(cka_and_cca(first, second, 0.1, &permutations).unwrap(), (found_cka, found_cca));
}

/// The largest distance of the values' distribution function from that of the uniform distribution.
fn kolmogorov_smirnov(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len() as f64;
    let distance = |(index, value): (usize, &f64)| {
        let index = index as f64;
        (value - index / n).abs().max(((index + 1.0) / n - value).abs())
    };
    values.iter().enumerate().map(distance).fold(0.0, f64::max)
}

#[test]
fn p_values_of_unrelated_features_are_uniform() {
    let draws = 200;
    let p = |measured: &Measured| measured.calibrate(0.05, 1.0).unwrap().p_value.unwrap();
    let mut found: [Vec<f64>; 4] = Default::default();
    for draw in 0..draws {
        // Other permutations for every draw, so that the draws are independent.
        let permutations = Permutations { count: 99, seed: draw };
        // More dimensions than rows on one side: raw CCA and CKA are high.
        let (first, second) = (noise(3 * draw, 40, 60), noise(3 * draw + 1, 40, 8));
        let (cka, cca) = cka_and_cca(first.clone(), second.clone(), 0.1, &permutations).unwrap();
        let neighbours = |rows: Tensor<2>| Neighbours::new(rows, 5, &BlockSize::SEARCH).unwrap();
        let second = neighbours(second);
        let layers = [first, noise(3 * draw + 2, 40, 5)]
            .map(|rows| neighbours(rows).mutual(&second, &permutations).unwrap());
        let (_, maximum) = Measured::maximum(&layers).unwrap().unwrap();
        for (found, measured) in found.iter_mut().zip([&layers[0], &maximum, &cka.debiased, &cca]) {
            found.push(p(measured));
        }
    }
    // With 200 draws, a distance of 0.115 is exceeded with a probability of 1%. Mutual k-NN takes few values, and ties count
    // against significance, which makes its p-values larger than uniform ones.
    let [mutual, maximum, cka, cca] = found;
    for (name, values) in [("CKA", &cka), ("CCA", &cca)] {
        let distance = kolmogorov_smirnov(values.clone());
        assert!(distance < 0.115, "{name}: {distance}");
    }
    for (name, values) in [("mutual k-NN", mutual), ("maximum", maximum), ("CKA", cka), ("CCA", cca)] {
        for level in [0.05, 0.1, 0.2, 0.5] {
            let share = values.iter().filter(|&&value| value <= level).count() as f64 / draws as f64;
            let deviation = (level * (1.0 - level) / draws as f64).sqrt();
            assert!(share < level + 2.6 * deviation, "{name}: {share} at most {level}");
        }
    }
}

#[test]
fn the_same_features_have_the_smallest_p_value_and_the_score_1() {
    let permutations = Permutations { count: 99, seed: 4 };
    let rows = noise(1, 50, 12);
    let (cka, _) = cka_and_cca(rows.clone(), rows.clone(), 0.1, &permutations).unwrap();
    let cca = cca(rows.clone(), rows.clone(), 0.0, &permutations).unwrap();
    for measured in [mutual(&rows, &rows, &permutations), cka.debiased, cca] {
        let found = measured.calibrate(0.05, 1.0).unwrap();
        assert_eq!(found.p_value, Some(0.01));
        assert!(found.score.unwrap() > 1.0 - 1e-5, "{found:?}");
    }
}

#[test]
fn chance_of_mutual_knn_is_its_expectation() {
    let [first, second] = features();
    let found = mutual(&first, &second, &Permutations { count: 200, seed: 3 }).calibrate(0.05, 1.0).unwrap();
    assert!((found.chance.unwrap() - 10.0 / 119.0).abs() < 0.003, "{found:?}");
    assert_eq!((found.p_value, found.is_above_chance()), (Some(1.0 / 201.0), Some(true)));
}

#[test]
fn few_rows_of_many_dimensions_have_a_high_cca_and_no_score() {
    let (cka, cca) = cka_and_cca(noise(1, 12, 12), noise(2, 12, 12), 1e-6, &Permutations::default()).unwrap();
    let found = cca.calibrate(0.05, 1.0).unwrap();
    // Centred rows have a rank of 11.
    assert!(found.value > 0.91 && found.score == Some(0.0) && found.p_value > Some(0.05), "{found:?}");
    assert!(cka.biased > 0.3 && cka.debiased.value.abs() < 0.3, "{cka:?}");
}

/// Cosines between 0.99 and 1, as those of language models.
#[test]
fn products_in_f32_are_precise_for_rows_of_nearly_one_direction() {
    let narrow = |seed| noise(seed, 300, 16) * 0.02 + 1.0;
    let (first, second) = (narrow(1), narrow(1) * 0.9 + narrow(2) * 0.1);
    // An oracle in f64 on the unit rows.
    let unit = |rows: &Tensor<2>| -> Vec<Vec<f64>> {
        let values: Vec<f32> = rows.clone().into_data().try_to_vec().unwrap();
        let row = |row: &[f32]| {
            let norm = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
            row.iter().map(|&v| f64::from(v) / norm).collect()
        };
        values.chunks_exact(16).map(row).collect()
    };
    let kernel = |rows: &[Vec<f64>]| -> Vec<Vec<f64>> {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum();
        let n = rows.len();
        (0..n).map(|i| (0..n).map(|j| if i == j { 0.0 } else { dot(&rows[i], &rows[j]) }).collect()).collect()
    };
    let hsic = |k: &[Vec<f64>], l: &[Vec<f64>]| {
        let n = k.len() as f64;
        let sums = |k: &[Vec<f64>]| -> Vec<f64> { k.iter().map(|row| row.iter().sum()).collect() };
        let (a, b) = (sums(k), sums(l));
        let trace: f64 = k.iter().flatten().zip(l.iter().flatten()).map(|(a, b)| a * b).sum();
        let joint: f64 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
        trace + a.iter().sum::<f64>() * b.iter().sum::<f64>() / ((n - 1.0) * (n - 2.0))
            - 2.0 * joint / (n - 2.0)
    };
    let (k, l) = (kernel(&unit(&first)), kernel(&unit(&second)));
    let expected = hsic(&k, &l) / (hsic(&k, &k) * hsic(&l, &l)).sqrt();
    let found = cka(first, second, &Permutations::NONE).unwrap().debiased.value;
    assert!((found - expected).abs() < 1e-4, "{found}, expected {expected}");
}

#[test]
fn silhouettes_of_permuted_labels_are_those_of_other_labels() {
    let rows = noise(5, 60, 8);
    let labels: Vec<usize> = (0..60).map(|row| row % 4).collect();
    let permutations = Permutations { count: 30, seed: 2 };
    let found = silhouette_test(rows.clone(), &labels, 4, &permutations).unwrap();
    let orders = permutations.each(60, |order| Ok::<_, EvalError>(order.to_vec())).unwrap();
    for (null, order) in found.null.iter().zip(orders) {
        let labels: Vec<usize> = order.iter().map(|&row| labels[row]).collect();
        assert_eq!(*null, silhouette_test(rows.clone(), &labels, 4, &Permutations::NONE).unwrap().value);
    }
}

#[test]
fn invalid_rows_are_errors() {
    let rows = noise(1, 20, 4);
    let permutations = Permutations { count: 19, seed: 0 };
    let nan = rows.clone().slice_assign([7..8, 2..3], tensor(vec![f32::NAN], 1));
    let zero = rows.clone().slice_assign([5..6, 0..4], tensor(vec![0.0; 4], 4));
    let same = tensor(vec![0.3; 80], 4);
    for [first, second] in [[&nan, &rows], [&rows, &nan]] {
        let found = mutual_knn(first.clone(), second.clone(), 3, &permutations, &BlockSize::SEARCH);
        assert!(matches!(found, Err(EvalError::NotFinite { row: 7, column: 2, .. })), "{found:?}");
        let found = cka_and_cca(first.clone(), second.clone(), 0.1, &permutations);
        assert!(matches!(found, Err(EvalError::NotFinite { row: 7, column: 2, .. })), "{found:?}");
    }
    let found = mutual_knn(zero, rows.clone(), 3, &permutations, &BlockSize::SEARCH);
    assert!(matches!(found, Err(EvalError::ZeroNorm { row: 5, .. })), "{found:?}");
    let found = cka_and_cca(rows.clone(), same.clone(), 0.1, &permutations);
    assert!(matches!(found, Err(EvalError::Constant { .. })), "{found:?}");
    let found = mutual_knn(same, rows.clone(), 3, &permutations, &BlockSize::SEARCH);
    assert!(matches!(found, Err(EvalError::Constant { what: "first row" })), "{found:?}");
    let neighbours = |rows: Tensor<2>, k| Neighbours::new(rows, k, &BlockSize::SEARCH);
    assert!(matches!(neighbours(rows.clone(), 20), Err(EvalError::Config(_))));
    let (a, b) = (neighbours(rows.clone(), 3).unwrap(), neighbours(rows.clone(), 4).unwrap());
    assert!(matches!(a.mutual(&b, &permutations), Err(EvalError::Config(_))));
    let fewer = neighbours(rows.slice(0..19), 3).unwrap();
    assert!(matches!(
        a.mutual(&fewer, &permutations),
        Err(EvalError::Length { found: 19, expected: 20, .. })
    ));
}
