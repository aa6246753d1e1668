//! Writing and reading stores.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use half::{bf16, f16};
use proptest::prelude::*;
use sail_core::{
    FeatureError, FeatureSource, Modality, Processor, Progress, Provenance, StoreDtype, TokenLayout,
};
use sail_data::{DataError, EmbeddingStore, StoreConfig, StoreWriter};

fn config(dim: usize, dtype: StoreDtype, rows_per_shard: usize) -> StoreConfig {
    let provenance = Provenance { pooling: Some("concat".into()), ..Provenance::new("dinov2") };
    StoreConfig { dtype, rows_per_shard, ..StoreConfig::new(Modality::Image, provenance, dim) }
}

fn all_rows(store: &EmbeddingStore) -> Vec<f32> {
    let rows: Vec<usize> = (0..store.rows()).collect();
    let mut out = vec![0.0; rows.len() * store.dim()];
    store.gather(&rows, &mut out).unwrap();
    out
}

fn files(path: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = std::fs::read_dir(path).unwrap().map(name).collect();
    names.sort();
    names
}

fn dtypes() -> impl Strategy<Value = StoreDtype> {
    prop_oneof![Just(StoreDtype::F16), Just(StoreDtype::BF16), Just(StoreDtype::F32), Just(StoreDtype::Int8)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn rows_and_keys_round_trip_in_every_dtype(
        dtype in dtypes(),
        dim in 1usize..6,
        rows_per_shard in 1usize..5,
        rows in prop::collection::vec((".{0,6}", prop::collection::vec(-60000f32..60000.0, 5)), 1..14),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let mut writer = StoreWriter::create(&path, config(dim, dtype, rows_per_shard)).unwrap();
        for (key, values) in &rows {
            writer.push(key, &values[..dim]).unwrap();
        }
        let written = writer.finish().unwrap();
        let store = EmbeddingStore::open(&path).unwrap();
        store.verify(|_| {}).unwrap();
        prop_assert_eq!((store.rows(), store.dim(), store.dtype()), (rows.len(), dim, dtype));
        prop_assert_eq!(store.provenance(), written.provenance());

        let oracle = |values: &[f32]| -> Vec<f32> {
            let round = |x: &f32| match dtype {
                StoreDtype::F16 => f32::from(f16::from_f32(*x)),
                StoreDtype::BF16 => f32::from(bf16::from_f32(*x)),
                StoreDtype::F32 => *x,
                StoreDtype::Int8 => {
                    // The largest magnitude is 127 steps, of 17 significant bits.
                    let step = f64::from(values.iter().fold(0.0_f32, |most, x| most.max(x.abs())) / 127.0);
                    let bit = (step.log2().floor() - 16.0).exp2();
                    let step = (step / bit).ceil() * bit;
                    ((f64::from(*x) / step).round() * step) as f32
                }
            };
            values.iter().map(round).collect()
        };
        let expected: Vec<f32> = rows.iter().flat_map(|(_, values)| oracle(&values[..dim])).collect();
        prop_assert_eq!(all_rows(&store), expected);
        for (row, (key, _)) in rows.iter().enumerate() {
            let found = store.key(row);
            prop_assert_eq!(found.as_ref(), key.as_str());
        }
        prop_assert_eq!(store.positional(), false);
    }
}

#[test]
fn shards_are_plain_safetensors_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/store");
    let mut writer = StoreWriter::create(&path, config(2, StoreDtype::F32, 2)).unwrap();
    writer.extend([("a", [1.0, 2.0]), ("\u{e9}", [3.0, 4.0]), ("b", [5.0, 6.0])]).unwrap();
    writer.finish().unwrap();
    assert_eq!(files(&path), ["manifest.json", "shard-00000.safetensors", "shard-00001.safetensors"]);

    let bytes = std::fs::read(path.join("shard-00000.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let embeddings = tensors.tensor("embeddings").unwrap();
    assert_eq!((embeddings.dtype(), embeddings.shape()), (safetensors::Dtype::F32, [2, 2].as_slice()));
    let values: Vec<f32> = embeddings.data().as_chunks().0.iter().map(|&x| f32::from_le_bytes(x)).collect();
    assert_eq!(values, [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(tensors.tensor("key_bytes").unwrap().data(), "a\u{e9}".as_bytes());
    let offsets = tensors.tensor("key_offsets").unwrap();
    let offsets: Vec<u64> = offsets.data().as_chunks().0.iter().map(|&x| u64::from_le_bytes(x)).collect();
    assert_eq!(offsets, [0, 1, 3]);

    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(path.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["format"], "sail-embeddings");
    assert_eq!(manifest["version"], 1);
    assert_eq!(manifest["modality"], "image");
    assert_eq!(manifest["provenance"]["pooling"], "concat");
    assert_eq!(manifest["dtype"], "f32");
    assert_eq!(manifest["rows"], 3);
    assert_eq!(manifest["shards"][0]["rows"], 2);
    assert_eq!(manifest["shards"][0]["bytes"], bytes.len());
}

/// A store of two tokens of three values.
fn tokens(path: &Path, dtype: StoreDtype) -> Result<StoreWriter, DataError> {
    let layout = TokenLayout::Image { class_token: true, grid: [1, 1], dim: 3 };
    let provenance = Provenance { tokens: Some(layout), ..Provenance::new("dinov2") };
    let config = StoreConfig { dtype, ..StoreConfig::new(Modality::Image, provenance, 6) };
    StoreWriter::create(path, config)
}

#[test]
fn every_token_has_a_scale_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut writer = tokens(&path, StoreDtype::Int8).unwrap();
    writer.push("a", &[127.0, -1.0, 0.4, 1270.0, -10.0, 6.0]).unwrap();
    let store = writer.finish().unwrap();
    assert_eq!(all_rows(&store), [127.0, -1.0, 0.0, 1270.0, -10.0, 10.0]);
    store.verify(|_| {}).unwrap();

    // As the format is described: a scale and integers for each token.
    let bytes = std::fs::read(path.join("shard-00000.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let embeddings = tensors.tensor("embeddings").unwrap();
    assert_eq!((embeddings.dtype(), embeddings.shape()), (safetensors::Dtype::U8, [1, 14].as_slice()));
    let expected = [&1_f32.to_le_bytes()[..], &[127, 255, 0], &10_f32.to_le_bytes(), &[127, 255, 1]].concat();
    assert_eq!(embeddings.data(), expected);
    let manifest = std::fs::read(path.join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!((&manifest["version"], &manifest["dtype"]), (&3.into(), &"int8".into()));
    assert_eq!(manifest["provenance"]["tokens"]["image"]["grid"], serde_json::json!([1, 1]));
}

#[test]
fn token_states_have_the_dimension_of_their_layout() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut writer = tokens(&path, StoreDtype::F16).unwrap();
    let error = writer.push("a", &[1.0; 5]).unwrap_err();
    assert!(matches!(error, DataError::RowSize { found: 5, expected: 6, .. }), "{error}");
    let layout = TokenLayout::Text { length: 2, dim: 3 };
    let provenance = Provenance { tokens: Some(layout), ..Provenance::new("minilm") };
    let config = StoreConfig::new(Modality::Text, provenance, 7);
    let error = StoreWriter::create(folder.path().join("other"), config).unwrap_err();
    let DataError::Config(error) = error else { panic!("{error}") };
    assert_eq!(error.expected, "6 for 2 tokens of text of 3 values");
}

#[test]
fn version_1_is_read_and_values_are_written_as_version_2() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let read = |path: &std::path::Path| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
    let mut writer = StoreWriter::create(&path, config(1, StoreDtype::F32, 9)).unwrap();
    writer.push("a", &[1.0]).unwrap();
    writer.finish().unwrap();
    let manifest = path.join("manifest.json");
    let mut earlier = read(&manifest);
    let line = "resize to 20x20 (bicubic); center crop 16x16; rescale 0.5";
    earlier["provenance"]["preprocessing"] = line.into();
    std::fs::write(&manifest, earlier.to_string()).unwrap();
    let store = EmbeddingStore::open(&path).unwrap();
    let provenance = store.provenance().unwrap().clone();
    let Some(Processor::Settings(settings)) = &provenance.processor else { panic!("{provenance:?}") };
    assert_eq!(settings["center_crop"], serde_json::json!([16, 16]));

    let again = folder.path().join("again");
    let config = StoreConfig { provenance: provenance.clone(), ..config(1, StoreDtype::F32, 9) };
    let mut writer = StoreWriter::create(&again, config).unwrap();
    writer.push("a", &[1.0]).unwrap();
    let written = writer.finish().unwrap();
    assert_eq!(written.provenance(), Some(&provenance));
    let written = read(&again.join("manifest.json"));
    assert_eq!(
        (&written["version"], &written["provenance"]["processor"]["rescale"]),
        (&2.into(), &0.5.into())
    );
}

#[test]
fn push_rejects_unusable_rows() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer =
        StoreWriter::create(folder.path().join("store"), config(2, StoreDtype::F16, 10)).unwrap();
    writer.push("good", &[1.0, 2.0]).unwrap();

    let error = writer.push("short", &[1.0]).unwrap_err();
    assert_eq!(error.to_string(), "row 1 (key `short`) has 1 values, expected 2");
    let error = writer.push("nan", &[1.0, f32::NAN]).unwrap_err();
    assert!(
        matches!(&error, DataError::Feature(FeatureError::NotFinite { row: 1, column: 1, .. })),
        "{error}"
    );
    let error = writer.push("inf", &[f32::NEG_INFINITY, 1.0]).unwrap_err();
    assert!(
        matches!(&error, DataError::Feature(FeatureError::NotFinite { row: 1, column: 0, .. })),
        "{error}"
    );
    let error = writer.push("zero", &[0.0, -0.0]).unwrap_err();
    assert!(matches!(&error, DataError::Feature(FeatureError::ZeroNorm { row: 1, .. })), "{error}");
    let error = writer.push("large", &[1.0, 65520.0]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "row 1 (key `large`) has the value 65520 in column 1, beyond the range of f16: \
         write the store as bf16 or f32"
    );
    let error = writer.push("small", &[1e-8, -1e-8]).unwrap_err();
    assert!(matches!(&error, DataError::Underflow { row: 1, dtype: StoreDtype::F16, .. }), "{error}");

    writer.push("largest", &[65519.0, 1e-8]).unwrap();
    let store = writer.finish().unwrap();
    assert_eq!(all_rows(&store), [1.0, 2.0, 65504.0, 0.0]);
    assert_eq!((store.key(0).as_ref(), store.key(1).as_ref()), ("good", "largest"));
}

#[test]
fn bf16_overflows_at_the_end_of_the_f32_range() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer =
        StoreWriter::create(folder.path().join("store"), config(1, StoreDtype::BF16, 10)).unwrap();
    writer.push("fits", &[3.38e38]).unwrap();
    assert!(matches!(writer.push("no", &[f32::MAX]), Err(DataError::Overflow { row: 1, column: 0, .. })));
}

#[test]
fn create_rejects_existing_and_finish_rejects_empty_stores() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let writer = StoreWriter::create(&path, config(1, StoreDtype::F32, 1)).unwrap();
    let again = StoreWriter::create(&path, config(1, StoreDtype::F32, 1));
    assert!(matches!(again, Err(DataError::Exists { .. })));
    assert!(matches!(writer.finish(), Err(DataError::Empty)));
    assert!(!path.exists());

    let error = StoreWriter::create(&path, config(0, StoreDtype::F32, 1)).unwrap_err();
    assert!(matches!(&error, DataError::Config(error) if error.field == "dim"), "{error}");
    let error = StoreWriter::create(&path, config(1, StoreDtype::F32, 0)).unwrap_err();
    assert!(matches!(&error, DataError::Config(error) if error.field == "rows_per_shard"), "{error}");
    assert!(!path.exists());
}

#[test]
fn an_interrupted_store_can_only_be_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let (cut, whole) = (folder.path().join("cut"), folder.path().join("whole"));
    let rows: Vec<(String, [f32; 1])> = (1..=7).map(|i| (format!("k{i}"), [i as f32])).collect();
    let mut writer = StoreWriter::create(&whole, config(1, StoreDtype::F16, 2)).unwrap();
    writer.extend(rows.clone()).unwrap();
    let whole = writer.finish().unwrap();

    // Five rows are two shards and a lost row.
    let mut writer = StoreWriter::create(&cut, config(1, StoreDtype::F16, 2)).unwrap();
    writer.extend(rows[..5].to_vec()).unwrap();
    drop(writer);
    assert!(matches!(EmbeddingStore::open(&cut), Err(DataError::Unfinished { .. })));
    let wider = StoreWriter::resume(&cut, config(2, StoreDtype::F16, 2)).unwrap_err().to_string();
    assert!(wider.contains("`dim` is 1, expected 2"), "{wider}");
    let other = StoreConfig { provenance: Provenance::new("other"), ..config(1, StoreDtype::F16, 2) };
    assert!(matches!(StoreWriter::resume(&cut, other), Err(DataError::Malformed { .. })));

    let mut writer = StoreWriter::resume(&cut, config(1, StoreDtype::F16, 2)).unwrap();
    let done = writer.rows();
    assert_eq!((done, writer.resumed_keys().last().unwrap().unwrap().as_str()), (4, "k4"));
    writer.extend(rows[done..].to_vec()).unwrap();
    let resumed = writer.finish().unwrap();
    assert_eq!(all_rows(&resumed), all_rows(&whole));
    for file in files(whole.path()) {
        let read = |store: &EmbeddingStore| std::fs::read(store.path().join(&file)).unwrap();
        assert!(read(&resumed) == read(&whole), "{file} differs from that of an uninterrupted run");
    }
    assert_eq!(files(resumed.path()), files(whole.path()));
    assert!(matches!(
        StoreWriter::resume(&cut, config(1, StoreDtype::F16, 2)),
        Err(DataError::Exists { .. })
    ));
}

#[test]
fn resumes_before_the_first_shard() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let absent = StoreWriter::resume(&path, config(1, StoreDtype::F32, 9));
    assert!(matches!(absent, Err(DataError::NotAStore { .. })));
    drop(StoreWriter::create(&path, config(1, StoreDtype::F32, 9)).unwrap());
    let mut writer = StoreWriter::resume(&path, config(1, StoreDtype::F32, 9)).unwrap();
    assert!(writer.rows() == 0 && writer.resumed_keys().next().is_none());
    writer.push("a", &[1.0]).unwrap();
    assert_eq!(writer.finish().unwrap().rows(), 1);
}

/// Appends the rows up to `end` in blocks of three, each followed by a skipped record.
fn append_blocks(writer: &mut StoreWriter, end: u64) {
    while writer.position() < end {
        let start = writer.position();
        let rows: Vec<_> = (start..start + 3).map(|i| (format!("k{i}"), [i as f32 + 1.0])).collect();
        writer.append(&rows, start + 4).unwrap();
    }
}

#[test]
fn resumes_between_shards() {
    let folder = tempfile::tempdir().unwrap();
    let (cut, whole) = (folder.path().join("cut"), folder.path().join("whole"));
    let config = config(1, StoreDtype::F16, 5);
    let mut writer = StoreWriter::create(&whole, config.clone()).unwrap();
    append_blocks(&mut writer, 40);
    writer.finish().unwrap();

    drop(StoreWriter::create(&cut, config).unwrap());
    for end in [4, 8, 12, 24, 40] {
        let mut writer = StoreWriter::reopen(&cut, 5).unwrap();
        append_blocks(&mut writer, end);
        writer.save().unwrap();
        // Lost when the process is killed.
        writer.append(&[("lost", [1.0])], 99).unwrap();
        drop(writer);
        let writer = StoreWriter::reopen(&cut, 5).unwrap();
        let keys: Vec<_> = writer.resumed_keys().map(Result::unwrap).collect();
        let expected: Vec<_> = (0..end).filter(|i| i % 4 < 3).map(|i| format!("k{i}")).collect();
        assert_eq!((writer.position(), writer.rows(), keys), (end, expected.len(), expected));
    }
    // Files that a killed process can leave.
    for name in ["shard-00009.tail", "shard-00007.safetensors", ".tmp-x1Y2z3"] {
        std::fs::write(cut.join(name), "half").unwrap();
    }
    std::fs::write(cut.join("notes.txt"), "mine").unwrap();
    let tail = cut.join("shard-00006.tail");
    assert!(!tail.exists(), "30 rows are six full shards");
    let mut writer = StoreWriter::reopen(&cut, 5).unwrap();
    assert!(writer.push("bad", &[f32::NAN]).is_err() && writer.rows() == 30 && writer.position() == 40);
    writer.save().unwrap();
    writer.finish().unwrap();
    std::fs::remove_file(cut.join("notes.txt")).unwrap();
    assert_eq!(files(&cut), files(&whole));
    for file in files(&whole) {
        assert!(
            std::fs::read(cut.join(&file)).unwrap() == std::fs::read(whole.join(&file)).unwrap(),
            "{file}"
        );
    }
}

#[test]
fn resume_validates_the_tail() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut writer = StoreWriter::create(&path, config(1, StoreDtype::F32, 99)).unwrap();
    append_blocks(&mut writer, 8);
    writer.save().unwrap();
    drop(writer);
    let tail = path.join("shard-00000.tail");
    let whole = std::fs::read(&tail).unwrap();
    // A process that was killed during its next save.
    std::fs::write(&tail, [&whole[..], b"\x02\0\0\0k"].concat()).unwrap();
    let mut writer = StoreWriter::reopen(&path, 99).unwrap();
    assert_eq!((writer.rows(), writer.position()), (6, 8));
    append_blocks(&mut writer, 12);
    writer.save().unwrap();
    drop(writer);
    assert_eq!(StoreWriter::reopen(&path, 99).unwrap().resumed_keys().last().unwrap().unwrap(), "k10");

    let whole = std::fs::read(&tail).unwrap();
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    std::fs::write(&tail, flipped).unwrap();
    assert!(matches!(StoreWriter::reopen(&path, 99), Err(DataError::Checksum { .. })));
    std::fs::write(&tail, &whole[..whole.len() - 1]).unwrap();
    assert!(matches!(StoreWriter::reopen(&path, 99), Err(DataError::Malformed { .. })));
    let mut long = whole.clone();
    long[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    std::fs::write(&tail, long).unwrap();
    assert!(matches!(StoreWriter::reopen(&path, 99), Err(DataError::Io { .. })));
    std::fs::remove_file(&tail).unwrap();
    assert!(matches!(StoreWriter::reopen(&path, 99), Err(DataError::Io { .. })));
    // `partial.json` is not a manifest.
    std::fs::rename(path.join("partial.json"), path.join("manifest.json")).unwrap();
    assert!(matches!(EmbeddingStore::open(&path), Err(DataError::Malformed { .. })));
}

#[test]
fn resumes_after_a_kill_before_the_first_or_last_step() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    // The folder has only temporary files.
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join(".tmp-x1Y2z3"), "{").unwrap();
    let mut writer = StoreWriter::create(&path, config(1, StoreDtype::F32, 9)).unwrap();
    writer.push("a", &[1.0]).unwrap();
    writer.save().unwrap();
    let partial = std::fs::read(path.join("partial.json")).unwrap();
    writer.finish().unwrap();
    std::fs::write(path.join("partial.json"), partial).unwrap();
    std::fs::write(path.join("shard-00000.tail"), "rows of the last shard").unwrap();
    assert_eq!(EmbeddingStore::open(&path).unwrap().rows(), 1);
    assert!(matches!(StoreWriter::reopen(&path, 9), Err(DataError::Exists { .. })));
    assert_eq!(files(&path), ["manifest.json", "shard-00000.safetensors"]);
    EmbeddingStore::open(&path).unwrap().verify(|_| {}).unwrap();
}

#[test]
fn gather_checks_indices_and_sizes() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = StoreWriter::create(folder.path().join("store"), config(1, StoreDtype::F32, 2)).unwrap();
    writer.extend((1..=5).map(|i| (i.to_string(), [i as f32]))).unwrap();
    let store = writer.finish().unwrap();
    let mut out = [0.0; 4];
    store.gather(&[4, 0, 3, 4], &mut out).unwrap();
    assert_eq!(out, [5.0, 1.0, 4.0, 5.0]);
    let range = store.gather(&[0, 5], &mut out[..2]);
    assert!(matches!(range, Err(FeatureError::OutOfRange { row: 5, rows: 5 })));
    let size = store.gather(&[0, 1], &mut out[..3]);
    assert!(matches!(size, Err(FeatureError::OutputSize { found: 3, expected: 2 })));
}

#[test]
fn verify_reads_every_byte_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = StoreWriter::create(folder.path().join("store"), config(3, StoreDtype::F32, 2)).unwrap();
    writer.extend((1..=5).map(|i| (i.to_string(), [i as f32; 3]))).unwrap();
    let store = writer.finish().unwrap();
    let mut last = None;
    store.verify(|progress| last = Some(progress)).unwrap();
    assert_eq!(last, Some(Progress { done: store.bytes(), total: store.bytes(), unit: "bytes" }));
}
