use std::path::Path;

use burn::tensor::Tolerance;
use half::{bf16, f16};
use proptest::prelude::*;

use super::super::Rule;
use super::*;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pretrained");

/// Counts from zero.
fn count(shape: &[usize]) -> TensorData {
    let size = shape.iter().product::<usize>();
    TensorData::new((0..size).map(|i| i as f32).collect(), shape)
}

fn take_all(tensors: Vec<(&str, TensorData)>, map: WeightMap, dtype: DType) -> Weights {
    Checkpoint::of(tensors).weights(&map, dtype, &Device::flex())
}

fn weights(tensors: Vec<(&str, TensorData)>, map: WeightMap) -> Weights {
    take_all(tensors, map, DType::F32)
}

fn message(result: Result<(), ModelError>) -> String {
    let error = result.unwrap_err().to_string();
    error.strip_prefix("the weights do not match the configuration of the model: ").unwrap().to_owned()
}

fn rules(rules: &'static [Rule]) -> WeightMap {
    WeightMap { rules, ..WeightMap::default() }
}

#[test]
fn takes_tensors_under_mapped_names() {
    let map = WeightMap {
        prefixes: &["bert.", "vit."],
        rules: &[Rule::Rename("encoder.layer", "blocks")],
        ignored: &["pooler."],
    };
    let tensors = vec![
        ("vit.encoder.layer.0.weight", count(&[2, 3])),
        ("vit.pooler.weight", count(&[2])),
        ("classifier.weight", count(&[2])),
        ("vit.position_ids", TensorData::from([0_i64, 1])),
        ("vit.empty", count(&[1, 0, 4])),
    ];
    let mut weights = weights(tensors, map);
    assert!(weights.has("blocks.0.weight") && !weights.has("pooler.weight"));
    assert_eq!(weights.take("blocks.0.weight", [2, 3]).into_data(), count(&[2, 3]));
    weights.finish().unwrap();
}

#[test]
fn dimensions_of_size_one_do_not_count() {
    let tensors =
        vec![("probe", count(&[1, 1, 4])), ("conv", count(&[4, 3, 1, 1])), ("none", count(&[1, 0, 4]))];
    let mut weights = weights(tensors, WeightMap::default());
    assert_eq!(weights.take("probe", [4]).into_data(), count(&[4]));
    assert_eq!(weights.take("conv", [4, 3]).into_data(), count(&[4, 3]));
    assert_eq!(weights.take("none", [0, 4]).dims(), [0, 4]);
    assert_eq!(weights.take("absent", [0, 4]).dims(), [0, 4]);
    weights.finish().unwrap();
}

#[test]
fn splits_and_transposes() {
    let map = rules(&[
        Rule::Transpose("c_attn"),
        Rule::Split("c_attn", &["q", "k"]),
        Rule::Split("qkv", &["q", "k", "v"]),
    ]);
    let tensors = vec![
        ("a.qkv.weight", count(&[6, 2])),
        ("a.qkv.bias", count(&[6])),
        ("b.c_attn.weight", count(&[2, 6])),
        ("b.c_attn.bias", count(&[6])),
    ];
    let mut weights = weights(tensors, map);
    let value = weights.take("a.v.weight", [2, 2]).into_data();
    assert_eq!(value, TensorData::from([[8_f32, 9.0], [10.0, 11.0]]));
    assert_eq!(weights.take("a.k.bias", [2]).into_data(), TensorData::from([2_f32, 3.0]));
    // Columns 3 to 5 of the stored matrix are the rows of the second part.
    let key = weights.take("b.k.weight", [3, 2]).into_data();
    assert_eq!(key, TensorData::from([[3_f32, 9.0], [4.0, 10.0], [5.0, 11.0]]));
    assert_eq!(weights.take("b.k.bias", [3]).into_data(), TensorData::from([3_f32, 4.0, 5.0]));
    let error = message(weights.finish());
    // The parts that nobody took.
    let expected = "4 unexpected: `a.qkv.bias`, `a.qkv.weight`, `b.c_attn.bias`, `b.c_attn.weight`";
    assert_eq!(error, expected);
}

#[test]
fn a_fused_tensor_must_have_all_parts() {
    let map = rules(&[Rule::Split("qkv", &["q", "k", "v"])]);
    let mut weights = weights(vec![("qkv", count(&[7, 2]))], map);
    for part in ["q", "k", "v"] {
        assert_eq!(weights.take(part, [2, 2]).dims(), [1, 1]);
    }
    assert_eq!(message(weights.finish()), "1 invalid: `qkv` has shape [7, 2], expected [6, 2]");
}

#[test]
fn names_are_spelled_as_in_the_checkpoint() {
    let map = WeightMap {
        prefixes: &["vit."],
        rules: &[
            Rule::Rename("encoder.layer.", "blocks."),
            Rule::Rename("attention.", ""),
            Rule::Rename("dense", "linear"),
        ],
        ignored: &[],
    };
    let tensors = vec![
        ("vit.encoder.layer.0.attention.dense.weight", count(&[2])),
        ("vit.encoder.layer.0.norm_1.weight", count(&[2])),
        ("vit.encoder.layer.0.norm_1.bias", count(&[2])),
        ("vit.encoder.layer.0.norm_3.bias", count(&[2])),
    ];
    let mut weights = weights(tensors, map);
    for block in 0..2 {
        weights.take(&format!("blocks.{block}.linear.weight"), [2]);
    }
    weights.take("blocks.0.norm1.bias", [2]);
    let expected = "2 missing: `vit.encoder.layer.0.norm1.bias` (similar to `vit.encoder.layer.0.norm_1.bias` and \
        `vit.encoder.layer.0.norm_3.bias`), `vit.encoder.layer.1.attention.dense.weight`; 3 unexpected: ";
    let error = message(weights.finish());
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn nothing_is_read_after_a_problem() {
    let not_finite = TensorData::from([f32::NAN]);
    let tensors = vec![("a", count(&[2])), ("b", not_finite.clone()), ("c", TensorData::from([1_i32]))];
    let mut weights = weights(tensors, WeightMap::default());
    assert_eq!(weights.take("a", [1 << 40]).dims(), [1]);
    assert_eq!(weights.take("b", [1]).into_data(), TensorData::from([0_f32]));
    weights.take("c", [1]);
    let found = message(weights.check());
    assert_eq!(
        found,
        "2 invalid: `a` has shape [2], expected [1099511627776], `c` has dtype I32, expected a float: quantized weights \
        are not supported, use a checkpoint in bf16, f16 or f32"
    );
    assert_eq!(message(weights.finish()), found);
}

#[test]
fn two_tensors_of_one_name_are_an_error() {
    let map = rules(&[Rule::Rename("gamma", "weight")]);
    let tensors = || vec![("norm.gamma", count(&[2])), ("norm.weight", count(&[2])), ("x", count(&[1]))];
    let mut weights = weights(tensors(), map);
    weights.take("norm.weight", [2]);
    weights.take("x", [1]);
    let error = message(weights.finish());
    assert_eq!(error, "1 invalid: `norm.gamma` and `norm.weight` are both `norm.weight` of the model");
}

#[test]
fn values_stored_with_more_precision_stay_f32() {
    let cases = [
        (count(&[2]), DType::BF16, DType::F32),
        (TensorData::from([0_f64, 1.0]), DType::F16, DType::F32),
        (TensorData::from([bf16::ZERO, bf16::ONE]), DType::BF16, DType::BF16),
        (TensorData::from([bf16::ZERO, bf16::ONE]), DType::F16, DType::F16),
        (TensorData::from([f16::ZERO, f16::ONE]), DType::BF16, DType::BF16),
        (TensorData::from([f16::ZERO, f16::ONE]), DType::F32, DType::F32),
    ];
    for (stored, dtype, expected) in cases {
        let mut weights = take_all(vec![("x", stored.clone())], WeightMap::default(), dtype);
        let taken = weights.take("x", [2]);
        assert_eq!(taken.dtype(), expected, "{:?} {dtype:?}", stored.dtype());
        taken.into_data().convert::<f32>().assert_approx_eq::<f32>(&count(&[2]), Tolerance::strict());
        weights.finish().unwrap();
    }
}

#[test]
fn values_must_be_finite_in_the_dtype_of_the_computation() {
    let cases = [
        (TensorData::from([65_520_f32]), DType::F16, "f16"),
        (TensorData::from([f32::MAX]), DType::BF16, "bf16"),
        (TensorData::from([f64::MAX]), DType::F32, "f32"),
        (TensorData::from([bf16::from_f32(1e6)]), DType::F16, "f16"),
        (TensorData::from([f16::NAN]), DType::F32, "f32"),
        (TensorData::from([bf16::NEG_INFINITY]), DType::BF16, "bf16"),
    ];
    for (stored, dtype, name) in cases {
        let mut weights = take_all(vec![("x", stored)], WeightMap::default(), dtype);
        weights.take("x", [1]);
        let expected = format!("1 invalid: `x` cannot be read: not all values are finite in {name}");
        assert_eq!(message(weights.finish()), expected);
    }
    for (value, dtype) in
        [(65_504_f32, DType::F16), (-f32::MAX, DType::F32), (3e38, DType::BF16), (1e-45, DType::F32)]
    {
        assert!(is_finite(&TensorData::from([1.0, value, 2.0]), dtype), "{value}");
    }
}

#[test]
fn a_checkpoint_of_another_family_is_recognized() {
    let checkpoint = Checkpoint::open(&Path::new(FIXTURES).join("model.safetensors")).unwrap();
    let map = WeightMap { prefixes: &["bert."], ..WeightMap::default() };
    let mut weights = checkpoint.weights(&map, DType::F32, &Device::flex());
    weights.take("encoder.weight", [2]);
    let error = message(weights.finish());
    assert!(error.starts_with("1 missing: `encoder.weight`; 15 unexpected: "), "{error}");
    assert!(error.contains("; no name is known: they start with `layers.` (8), "), "{error}");
}

proptest! {
    #[test]
    fn the_parts_of_a_tensor_are_the_tensor(rows in 1..5_usize, columns in 1..5_usize, transposed: bool) {
        let map = match transposed {
            true => rules(&[Rule::Transpose("x"), Rule::Split("x", &["a", "b", "c"])]),
            false => rules(&[Rule::Split("x", &["a", "b", "c"])]),
        };
        let stored = if transposed { count(&[columns, 3 * rows]) } else { count(&[3 * rows, columns]) };
        // A single column is a vector, which is the same in both layouts.
        let whole = Tensor::<2>::from_data(stored.clone(), &Device::flex());
        let whole = if transposed { whole.transpose() } else { whole };
        let mut weights = weights(vec![("x", stored)], map);
        let parts = ["a", "b", "c"].map(|name| weights.take(name, [rows, columns])).to_vec();
        weights.finish().unwrap();
        prop_assert_eq!(Tensor::cat(parts, 0).into_data(), whole.into_data());
    }
}
