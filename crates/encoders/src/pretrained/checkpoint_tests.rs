use burn::tensor::{DType, Device};
use burn_store::bridge;

use super::super::WeightMap;
use super::*;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pretrained");

/// Shapes and `f32` values by name.
type Values = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn fixture(name: &str) -> PathBuf {
    Path::new(FIXTURES).join(name)
}

fn open(name: &str) -> Checkpoint {
    Checkpoint::open(&fixture(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn expected() -> Values {
    let bytes = std::fs::read(fixture("expected.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let values = |view: &safetensors::tensor::TensorView<'_>| {
        let floats = view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        (view.shape().to_vec(), floats.collect())
    };
    tensors.iter().map(|(name, view)| (name.to_owned(), values(&view))).collect()
}

/// Takes the tensors of the fixtures.
pub(in crate::pretrained) fn take_tiny(checkpoint: &Checkpoint) -> Result<(), ModelError> {
    take(checkpoint, &WeightMap::default()).map(drop)
}

fn take(checkpoint: &Checkpoint, map: &WeightMap) -> Result<Values, ModelError> {
    let mut weights = checkpoint.weights(map, DType::F32, &Device::flex());
    let mut values = Values::new();
    for (name, (shape, _)) in expected() {
        let data = match shape[..] {
            [a] => weights.take(&name, [a]).into_data(),
            [a, b] => weights.take(&name, [a, b]).into_data(),
            [a, b, c, d] => weights.take(&name, [a, b, c, d]).into_data(),
            _ => panic!("{shape:?}"),
        };
        values.insert(name, (data.shape().to_vec(), data.try_to_vec::<f32>().unwrap()));
    }
    weights.finish()?;
    Ok(values)
}

fn error(name: &str) -> String {
    take_tiny(&open(name)).unwrap_err().to_string()
}

#[test]
fn all_formats_have_the_same_values() {
    let expected = expected();
    assert_eq!(expected.len(), 15);
    for name in [
        "model.safetensors",
        "mixed.safetensors",
        "zip.bin",
        "legacy.bin",
        "zip_permuted.pth",
        "legacy_permuted.pth",
        "zip_mixed.pt",
        "legacy_mixed.pt",
        "zip_shared.bin",
        "legacy_shared.bin",
        "zip_nested.pt",
        "legacy_nested.pt",
        "zip_call.bin",
        "legacy_call.bin",
    ] {
        let values =
            take(&open(name), &WeightMap::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(values == expected, "{name}");
    }
    let shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"].map(fixture);
    let values = take(&Checkpoint::open_all(&shards).unwrap(), &WeightMap::default()).unwrap();
    assert!(values == expected);
}

#[test]
fn one_set_of_weights_of_a_training_checkpoint_is_taken() {
    // The other sets are zeros.
    for name in ["dino.pth", "ijepa.pth.tar", "mae.pth", "weights.pt"] {
        let values =
            take(&open(name), &WeightMap::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(values == expected(), "{name}");
    }
    // Part of the names.
    let map = WeightMap { prefixes: &["encoder."], ..WeightMap::default() };
    let flat = open("flat.bin");
    assert!(flat.names().any(|name| name == "pooler.weight"));
    assert!(take(&flat, &map).unwrap() == expected());
}

#[test]
fn names_and_shapes_are_known() {
    let checkpoint = open("legacy.bin");
    assert_eq!(checkpoint.shape("conv.weight"), Some([2, 3, 3, 3].as_slice()));
    assert_eq!(checkpoint.shape("conv"), None);
    assert_eq!(checkpoint.names().filter(|name| name.starts_with("bn.")).count(), 5);
    let tensor = &checkpoint.tensors["conv.weight"];
    assert_eq!(bridge::to_data(tensor).unwrap().shape().as_slice(), [2, 3, 3, 3]);
}

#[test]
fn stand_ins_for_weights_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["model.safetensors", "pytorch_model.bin"] {
        let path = folder.path().join(name);
        std::fs::write(&path, "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 43\n")
            .unwrap();
        let error = Checkpoint::open(&path).err().unwrap().to_string();
        assert!(error.contains(name) && error.contains("run `git lfs pull`"), "{error}");
    }
}

#[test]
fn rejects_non_finite_values() {
    // Nothing is read after the first.
    let reason = "cannot be read: not all values are finite in f32";
    let not_finite = error("not_finite.safetensors");
    assert!(not_finite.ends_with(&format!("1 invalid: `conv.bias` {reason}")), "{not_finite}");
    let too_large = error("too_large.safetensors");
    assert!(too_large.ends_with(&format!(": `conv.bias` {reason}")), "{too_large}");
}

#[test]
fn rejects_duplicate_tensors() {
    let error =
        Checkpoint::open_all(&[fixture("model.safetensors"), fixture("mixed.safetensors")]).err().unwrap();
    assert!(error.to_string().ends_with("`bn.bias` is also in another shard"), "{error}");
}

#[test]
fn quantized_tensors_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let write = |dtype: &str| {
        let header = format!(
            r#"{{"a":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}},"w":{{"dtype":"{dtype}","shape":[8],"data_offsets":[4,12]}}}}"#
        );
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 12]].concat();
        std::fs::write(&path, bytes).unwrap();
    };
    let take = |checkpoint: Checkpoint| {
        let mut weights = checkpoint.weights(&WeightMap::default(), DType::F32, &Device::flex());
        weights.take("a", [1]);
        weights.take("w", [8]);
        weights.finish()
    };
    for (dtype, expected) in
        [("F8_E4M3", "`w` has dtype F8_E4M3"), ("I8", "`w` has dtype I8"), ("U8", "`w` has dtype U8")]
    {
        write(dtype);
        let error = Checkpoint::open(&path).and_then(take).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("quantized"), "{error}");
    }
}
