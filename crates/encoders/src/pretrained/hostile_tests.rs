//! Corrupt and malicious weight files are errors: no code is executed, no stack overflows, and allocations are bounded by the
//! size of the file.

use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use zip::CompressionMethod::{self, Deflated, Stored};
use zip::write::SimpleFileOptions;

use super::checkpoint::tests::take_tiny;
use super::{Checkpoint, ModelError};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pretrained");
const LEGACY: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\
    \x80\x02}X\x0d\0\0\0little_endian\x88s.";

/// Opens a file with these bytes, reads every tensor and loads a module.
fn open(name: &str, bytes: &[u8]) -> Result<(), ModelError> {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let weights = Checkpoint::open(&path)?;
    weights.read_all();
    take_tiny(&weights)
}

fn error(name: &str, bytes: &[u8]) -> String {
    open(name, bytes).unwrap_err().to_string()
}

fn archive(entries: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        writer.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A file of `torch.save` with this pickle, and eight floats in storage `0`.
fn zipped(pickle: &[u8]) -> Vec<u8> {
    archive(&[("x/data.pkl", pickle), ("x/byteorder", b"little"), ("x/data/0", &[0; 32])], Stored)
}

/// The same in the format before PyTorch 1.6.
fn legacy(pickle: &[u8]) -> Vec<u8> {
    [LEGACY, pickle, b"\x80\x02]X\x01\0\0\x000a.", &8_u64.to_le_bytes(), &[0; 32]].concat()
}

fn int(value: i64) -> Vec<u8> {
    [b"\x8a\x08".as_slice(), &value.to_le_bytes()].concat()
}

fn text(value: &str) -> Vec<u8> {
    [b"X".as_slice(), &u32::try_from(value.len()).unwrap().to_le_bytes(), value.as_bytes()].concat()
}

fn tuple(items: &[i64]) -> Vec<u8> {
    [b"(".to_vec(), items.iter().flat_map(|item| int(*item)).collect(), b"t".to_vec()].concat()
}

/// The pickle of a dictionary with one tensor `w`.
fn tensor(key: &str, elements: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    [
        b"\x80\x02}".to_vec(),
        text("w"),
        b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
        text("storage"),
        b"ctorch\nFloatStorage\n".to_vec(),
        text(key),
        text("cpu"),
        int(elements),
        b"tQ".to_vec(),
        int(offset),
        tuple(shape),
        tuple(strides),
        b"\x89ccollections\nOrderedDict\n)RtRs.".to_vec(),
    ]
    .concat()
}

#[test]
fn reads_a_valid_pickle() {
    for bytes in [zipped(&tensor("0", 8, 0, &[2, 4], &[4, 1])), legacy(&tensor("0", 8, 0, &[2, 4], &[4, 1]))]
    {
        let error = error("x.bin", &bytes);
        assert!(error.contains("1 unexpected: `w`"), "{error}");
    }
}

#[test]
fn rejects_tensors_that_exceed_the_storage() {
    let huge = i64::MAX;
    let cases: [(i64, i64, &[i64], &[i64]); 12] = [
        (8, 0, &[1 << 20, 1 << 10], &[0, 0]),
        (8, 0, &[1 << 33], &[0]),
        (huge, 0, &[huge], &[1]),
        (huge, 0, &[1 << 32, 1 << 32], &[1, 1]),
        (1 << 40, 0, &[1 << 40], &[1]),
        (8, huge, &[2], &[1]),
        (8, 7, &[2], &[1]),
        (8, 0, &[2], &[huge]),
        (8, 0, &[-2], &[1]),
        (8, 0, &[2], &[-1]),
        (8, -1, &[2], &[1]),
        (-8, 0, &[2], &[1]),
    ];
    for (elements, offset, shape, strides) in cases {
        let pickle = tensor("0", elements, offset, shape, strides);
        for bytes in [zipped(&pickle), legacy(&pickle)] {
            let error = error("x.bin", &bytes);
            assert!(error.starts_with("invalid file "), "{elements} {offset} {shape:?} {strides:?}: {error}");
        }
    }
    let many = vec![1; 100];
    let error = error("x.bin", &zipped(&tensor("0", 8, 0, &many, &many)));
    assert!(error.contains("`w` has 100 dimensions"), "{error}");
}

#[test]
fn storages_are_entries_of_the_archive_only() {
    for key in ["../../../../etc/passwd", "/etc/passwd", "..", "1", ""] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.bin");
        std::fs::write(&path, zipped(&tensor(key, 8, 0, &[8], &[1]))).unwrap();
        let weights = Checkpoint::open(&path).unwrap();
        assert_eq!(weights.read_all(), 0, "{key}");
    }
}

#[test]
fn never_executes_calls() {
    let here = std::env::current_dir().unwrap().join("executed-by-pickle");
    for name in ["zip_call.bin", "legacy_call.bin"] {
        open(name, &std::fs::read(Path::new(FIXTURES).join(name)).unwrap()).unwrap();
    }
    let plain = error("plain.bin", &std::fs::read(Path::new(FIXTURES).join("plain_call.bin")).unwrap());
    assert!(plain.contains("not a file written by `torch.save`"), "{plain}");
    assert!(!here.exists());
}

#[test]
fn limits_nesting() {
    let lists =
        |depth: usize| [b"\x80\x02".as_slice(), &b"]".repeat(depth), &b"a".repeat(depth - 1), b"."].concat();
    let tuples = |depth: usize| [b"\x80\x02)".as_slice(), &b"\x85".repeat(depth), b"."].concat();
    let dicts = |depth: usize| {
        [b"\x80\x02".as_slice(), &b"}K\0".repeat(depth), b"}", &b"s".repeat(depth), b"."].concat()
    };
    let call = b"ctorch._tensor\n_rebuild_from_type_v2\n";
    let calls = |depth: usize| {
        let inner = [call.as_slice(), b"N"].concat().repeat(depth);
        [b"\x80\x02".as_slice(), &inner, b")", &b"\x87".repeat(depth), b"R."].concat()
    };
    for depth in [10, 900, 1_100, 50_000] {
        for pickle in [lists(depth), tuples(depth), dicts(depth), calls(depth)] {
            assert!(open("x.bin", &zipped(&pickle)).is_err());
            assert!(open("x.bin", &legacy(&pickle)).is_err());
        }
    }
}

#[test]
fn limits_memo_copies() {
    // A list doubled forty times; a string of 100 kB repeated a hundred thousand times.
    let doubled = [b"\x80\x02]".as_slice(), &b"2\x86".repeat(40), b"."].concat();
    let memo = [
        b"\x80\x02(".to_vec(),
        text(&"a".repeat(100_000)),
        b"q\0".to_vec(),
        b"h\0".repeat(100_000),
        b"l.".to_vec(),
    ];
    for pickle in [doubled, memo.concat()] {
        for bytes in [zipped(&pickle), legacy(&pickle)] {
            let error = error("x.bin", &bytes);
            assert!(error.contains("memo bomb"), "{error}");
        }
    }
}

#[test]
fn rejects_large_and_compressed_pickles() {
    let pickle = [b"\x80\x02(".as_slice(), &vec![b'N'; 90 << 20], b"l."].concat();
    let bomb = archive(&[("x/data.pkl", &pickle)], Deflated);
    assert!(bomb.len() < 1 << 20);
    let compressed = error("x.bin", &bomb);
    assert!(compressed.contains("the entry `x/data.pkl` is compressed"), "{compressed}");
    let large = error("x.bin", &archive(&[("x/data.pkl", &pickle)], Stored));
    assert!(large.contains("expected at most 2097152"), "{large}");
    let large = error("x.bin", &legacy(&pickle));
    assert!(large.contains("larger than 2097152 bytes"), "{large}");
    // Compressed storages could claim any size.
    let pickle = tensor("0", 1 << 26, 0, &[1 << 26], &[1]);
    let bomb = archive(&[("x/data.pkl", &pickle), ("x/data/0", &vec![0; 4 << 26])], Deflated);
    let compressed = error("x.bin", &bomb);
    assert!(compressed.contains("is compressed"), "{compressed}");
}

#[test]
fn rejects_other_files() {
    let tar = [&[b'x'; 257], b"ustar".as_slice(), &[0; 250]].concat();
    let cases: [&[u8]; 7] = [
        b"",
        b"PK",
        b"PK\x03\x04",
        b"\x80",
        b"version https://git-lfs.github.com/spec/v1\n",
        b"\x80\x02}.",
        &tar,
    ];
    for bytes in cases {
        for name in ["x.bin", "x.pth", "x.safetensors"] {
            assert!(error(name, bytes).starts_with("invalid file "), "{name} {bytes:?}");
        }
    }
    assert!(error("x.bin", &zipped(b"\x80\x02}.")).contains("no tensors"));
    assert!(error("x.bin", &archive(&[("readme", b"hello")], Stored)).contains("No data.pkl"));
}

#[test]
fn rejects_invalid_safetensors_headers() {
    let file = |header: &str| [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 32]].concat();
    let good = r#"{"w":{"dtype":"F32","shape":[8],"data_offsets":[0,32]}}"#;
    assert!(error("x.safetensors", &file(good)).contains("1 unexpected: `w`"));
    for (from, to) in [
        ("[8]", "[9]"),
        ("[8]", "[18446744073709551615]"),
        ("[8]", "[4294967296,4294967296,4294967296]"),
        ("[8]", "[-8]"),
        ("32]", "33]"),
        ("[0,", "[8,"),
        ("[0,32]", "[32,0]"),
        ("32]", "18446744073709551615]"),
        ("F32", "F8_E4M3"),
        ("F32", "no"),
        ("\"shape\"", "\"form\""),
        ("}}", "}"),
    ] {
        let error = error("x.safetensors", &file(&good.replacen(from, to, 1)));
        assert!(error.starts_with("invalid file "), "{from} {to}: {error}");
    }
    for length in [u64::MAX, 1 << 40, 1 << 27, 1000, 0] {
        assert!(
            error("x.safetensors", &[&length.to_le_bytes(), good.as_bytes()].concat())
                .starts_with("invalid file ")
        );
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(error("x.safetensors", &file(&deep)).starts_with("invalid file "));
}

/// The fixtures to mutate.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let names = [
        "zip.bin",
        "zip_mixed.pt",
        "zip_call.bin",
        "legacy.bin",
        "legacy_nested.pt",
        "legacy_mixed.pt",
        "model.safetensors",
    ];
    names.map(|name| (name, std::fs::read(Path::new(FIXTURES).join(name)).unwrap())).into()
}

/// The entries of an archive.
fn entries(name: &str) -> Vec<(String, Vec<u8>)> {
    let file = std::fs::File::open(Path::new(FIXTURES).join(name)).unwrap();
    let mut archive = zip::ZipArchive::new(file).unwrap();
    (0..archive.len())
        .map(|index| {
            let mut entry = archive.by_index(index).unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (entry.name().unwrap().into_owned(), bytes)
        })
        .collect()
}

/// Mutations at relative positions.
fn changes() -> impl Strategy<Value = Vec<(f64, u8, u8)>> {
    proptest::collection::vec((0.0..1.0, 0..6_u8, any::<u8>()), 1..8)
}

fn mutate(bytes: &mut Vec<u8>, changes: &[(f64, u8, u8)]) {
    for (position, kind, value) in changes {
        if bytes.is_empty() {
            return;
        }
        let index = (position * bytes.len() as f64) as usize;
        match kind {
            0 => bytes[index] = *value,
            1 => bytes[index] ^= 1 << (value % 8),
            2 => bytes.insert(index, *value),
            3 => bytes.truncate(index),
            4 => drop(bytes.drain(index..(index + usize::from(*value)).min(bytes.len()))),
            _ => {
                let copy = bytes[index..(index + usize::from(*value)).min(bytes.len())].to_vec();
                bytes.splice(index..index, copy);
            }
        }
    }
}

/// Opcodes of a pickle with meaningful arguments.
fn opcode() -> impl Strategy<Value = Vec<u8>> {
    let plain = proptest::sample::select(
        b"(012NQRabdelstu)]}\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94".to_vec(),
    );
    const NAMES: [&str; 7] = [
        "torch._utils\n_rebuild_tensor_v2",
        "torch._utils\n_rebuild_parameter",
        "torch\nFloatStorage",
        "torch._tensor\n_rebuild_from_type_v2",
        "collections\nOrderedDict",
        "os\nsystem",
        "__builtin__\nset",
    ];
    prop_oneof![
        6 => plain.prop_map(|operation| vec![operation]),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
        1 => (0..4_u8).prop_map(|slot| vec![b'q', slot]),
        1 => (0..4_u8).prop_map(|slot| vec![b'h', slot]),
        2 => any::<i64>().prop_map(int),
        2 => (0..9_i64).prop_map(int),
        2 => proptest::sample::select(&["storage", "0", "cpu", "w", "state_dict", "teacher", "_parameters", "_modules", "_buffers"][..])
            .prop_map(text),
        2 => proptest::sample::select(&NAMES[..]).prop_map(|name| format!("c{name}\n").into_bytes()),
        1 => Just(tensor("0", 8, 0, &[2, 4], &[4, 1])[2..].strip_suffix(b".").unwrap().to_vec()),
    ]
}

/// Whether a module was loaded, or the file or its tensors were rejected.
fn is_expected(result: &Result<(), ModelError>) -> bool {
    matches!(result, Ok(()) | Err(ModelError::Format { .. } | ModelError::Tensors { .. }))
}

proptest! {
    // `PROPTEST_CASES` sets the number of cases.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1_000)) })]

    #[test]
    fn corrupt_files_never_panic(seed in proptest::sample::select(seeds()), changes in changes()) {
        let (name, mut bytes) = seed;
        mutate(&mut bytes, &changes);
        prop_assert!(is_expected(&open(name, &bytes)));
    }

    #[test]
    fn corrupt_pickles_never_panic(changes in changes()) {
        let mut entries = entries("zip_mixed.pt");
        for (name, bytes) in &mut entries {
            if name.ends_with("data.pkl") {
                mutate(bytes, &changes);
            }
        }
        let entries: Vec<_> = entries.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
        prop_assert!(is_expected(&open("x.bin", &archive(&entries, Stored))));
    }

    #[test]
    fn random_pickles_never_panic(operations in proptest::collection::vec(opcode(), 0..60)) {
        let pickle = [b"\x80\x02}".as_slice(), &operations.concat(), b"."].concat();
        prop_assert!(is_expected(&open("x.bin", &zipped(&pickle))));
        prop_assert!(is_expected(&open("x.bin", &legacy(&pickle))));
    }
}
