//! Files of codes: round trips, fixed bytes and damage.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use sail_core::Named;
use sail_data::MatrixFeatures;
use sail_search::{CodeKind, Codes, CodesError, centre};
use sha2::{Digest, Sha256};

/// Rows of an integer sequence, the same everywhere.
fn rows(count: usize, dim: usize) -> MatrixFeatures {
    let value = |index: usize| ((index * 7919 + index / dim * 104_729) % 1000) as f32 / 500.0 - 0.9;
    MatrixFeatures::new(dim, (0..count * dim).map(value).collect()).unwrap()
}

fn codes(count: usize, dim: usize, kind: CodeKind) -> Codes {
    let rows = rows(count, dim);
    Codes::encode(&rows, kind, centre(&rows, |_| {}).unwrap(), |_| {}).unwrap()
}

fn saved(codes: &Codes, folder: &Path) -> Vec<u8> {
    let path = folder.join("codes.safetensors");
    codes.save(&path).unwrap();
    fs::read(path).unwrap()
}

fn load(bytes: &[u8], folder: &Path) -> Result<Codes, CodesError> {
    let path = folder.join("changed.safetensors");
    fs::write(&path, bytes).unwrap();
    Codes::load(path)
}

#[test]
fn round_trip_of_every_shape() {
    let folder = tempfile::tempdir().unwrap();
    for &kind in CodeKind::ALL {
        for (count, dim) in [(1, 1), (7, 3), (8, 64), (1025, 65), (2100, 192)] {
            let codes = codes(count, dim, kind);
            assert_eq!((codes.rows(), codes.dim(), codes.kind()), (count, dim, kind));
            let bytes = saved(&codes, folder.path());
            assert_eq!(load(&bytes, folder.path()).unwrap(), codes);
            // Any reader of safetensors opens it.
            let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            assert_eq!(tensors.tensor("factors").unwrap().shape(), [count]);
        }
    }
}

#[test]
fn the_same_bytes_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let hashes = CodeKind::ALL.iter().map(|&kind| {
        let hash = Sha256::digest(saved(&codes(3000, 100, kind), folder.path()));
        hash[..8].iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    });
    assert_eq!(hashes.collect::<Vec<_>>(), ["d9322a32b2df307c", "3b29d4c215386bfe"]);
}

#[test]
fn a_file_with_other_contents_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = saved(&codes(20, 70, CodeKind::Bit), folder.path());
    let refused = |bytes: &[u8]| load(bytes, folder.path()).unwrap_err().to_string();
    for length in [0, 7, 8, 100, bytes.len() - 1] {
        assert!(refused(&bytes[..length]).contains("is not a file of codes"), "{length}");
    }
    assert!(refused(&[bytes.as_slice(), &[0]].concat()).contains("the length"));
    let replaced = |from: &str, to: &str| {
        let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let text = std::str::from_utf8(&bytes[8..header]).unwrap();
        assert!(text.contains(from), "{text}");
        let text = text.replace(from, to);
        [&(text.len() as u64).to_le_bytes(), text.as_bytes(), &bytes[header..]].concat()
    };
    let newer = refused(&replaced(r#"\"version\":1"#, r#"\"version\":2"#));
    assert!(newer.contains("the version is 2, expected 1, the newest"), "{newer}");
    for (from, to) in [
        (r#"\"rows\":20"#, r#"\"rows\":21"#),
        (r#"\"rows\":20"#, r#"\"rows\":18446744073709551615"#),
        (r#"\"dim\":70"#, r#"\"dim\":0"#),
        (r#"\"dim\":70"#, r#"\"dim\":71"#),
        (r#"\"dim\":70"#, r#"\"dim\":99999999999"#),
        (r#"\"kind\":\"bit\""#, r#"\"kind\":\"int8\""#),
        (r#"\"kind\":\"bit\""#, r#"\"kind\":\"pq\""#),
        (r#"\"directions\":1"#, r#"\"directions\":0"#),
        (r#"\"directions\":1"#, r#"\"directions\":2"#),
        (r#"\"directions\":1"#, r#"\"directions\":33"#),
        (r#",\"directions\":1"#, ""),
        ("sail_codes", "other"),
        ("factors", "others"),
    ] {
        refused(&replaced(from, to));
    }
    // Factors, centre and directions that no rows have. The file ends with the directions, two factors and 20 bytes.
    let (dim, factor) = (4 * 70, 4 * 20);
    let coefficients = bytes.len() - 20;
    let directions = coefficients - factor - dim;
    for value in [f32::NAN, f32::INFINITY, -3.0, 3.0] {
        for (offset, message) in [
            (coefficients - 4, "the factor of row 19"),
            (directions, "the norm of a direction"),
            (directions - 4, "the factor of row 19"),
            (directions - factor - dim, "the norm of the centre"),
        ] {
            let mut changed = bytes.clone();
            changed[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
            let refused = refused(&changed);
            assert!(refused.contains(message), "{refused}");
        }
    }
    assert!(matches!(Codes::load(folder.path()), Err(CodesError::Io { .. })));
    assert!(matches!(Codes::load(folder.path().join("none")), Err(CodesError::Io { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damaged_files_are_errors_or_codes(
        int8 in any::<bool>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let kind = if int8 { CodeKind::Int8 } else { CodeKind::Bit };
        let mut bytes = saved(&codes(12, 66, kind), folder.path());
        for (index, value) in edits {
            let length = bytes.len();
            bytes[index.index(length)] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(codes) = load(&bytes, folder.path()) {
            prop_assert_eq!((codes.rows(), codes.dim()), (12, 66));
        }
    }
}
