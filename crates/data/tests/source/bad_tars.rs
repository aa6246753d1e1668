//! Unusable members of tars are skipped with a reason; corrupt tars are errors.

use super::*;

/// A tar of members with these names, types and contents.
pub(super) fn tar(members: &[(&[u8], tar::EntryType, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for &(name, kind, content) in members {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_cksum();
        bytes.extend(header.as_bytes());
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.extend([0; 1024]);
    bytes
}

#[test]
fn skips_invalid_tar_members() {
    use tar::EntryType as E;
    let folder = tempfile::tempdir().unwrap();
    let long = [b'x'; 101];
    let bytes = tar(&[
        (b"./ok.jpg", E::Regular, b"1"),
        (b"/etc/passwd.jpg", E::Regular, b"1"),
        (b"../up.jpg", E::Regular, b"1"),
        (b"a/../../up.jpg", E::Regular, b"1"),
        (b"..\\a/up.jpg", E::Regular, b"1"),
        (b"C:\\up.jpg", E::Regular, b"1"),
        (b"soft.jpg", E::Symlink, b""),
        (b"hard.jpg", E::Link, b""),
        (b"device.jpg", E::Block, b""),
        (b"pipe.jpg", E::Fifo, b""),
        (b"folder.jpg", E::Directory, b""),
        (b"\xff.jpg", E::Regular, b"1"),
        (b"big.jpg", E::Regular, &long),
        (b"mask.seg.png", E::Regular, b"1"),
        (b"README", E::Regular, b"1"),
        (b".jpg", E::Regular, b"1"),
        (b"../up.txt", E::Regular, b"1"),
        (b"a.b/c.d/e.JPG", E::Continuous, b"2"),
        (b"empty.jpg", E::Regular, b""),
    ]);
    let records = images(&file(&folder, "a.tar", bytes), &small());
    let outcomes: Vec<(&str, &str)> = records
        .iter()
        .map(|record| (record.key.as_str(), record.value.as_ref().err().map_or("", String::as_str)))
        .collect();
    let outside = "the name of the member is a path outside the archive";
    let special = "the member is a folder or a device, expected a regular file";
    assert_eq!(
        outcomes,
        [
            ("ok", ""),
            ("/etc/passwd.jpg", outside),
            ("../up.jpg", outside),
            ("a/../../up.jpg", outside),
            ("..\\a/up.jpg", outside),
            ("C:\\up.jpg", outside),
            ("soft.jpg", "the member is a link, expected a regular file"),
            ("hard.jpg", "the member is a link, expected a regular file"),
            ("device.jpg", special),
            ("pipe.jpg", special),
            ("folder.jpg", special),
            ("\u{fffd}.jpg", "the name of the member is not valid UTF-8"),
            ("big.jpg", "the image has 101 bytes, expected at most 100"),
            ("mask", ""),
            ("a.b/c.d/e", ""),
            ("empty", ""),
        ]
    );

    // The size in an extended header applies to the member, not to the next header.
    let described: [(&[u8], _, &[u8]); 3] = [
        (b"x", E::XHeader, b"9 size=3\n"),
        (b"././@LongLink", E::GNULongName, b"longer.jpg\0"),
        (b"l", E::Regular, b"abc"),
    ];
    assert_eq!(keys(&images(&file(&folder, "d.tar", tar(&described)), &small())), ["longer"]);

    let bytes = tar(&[
        (b"a.txt", E::Regular, b" one\n"),
        (b"b.txt", E::Regular, b"\n"),
        (b"c.txt", E::Regular, b"\xff"),
        (b"d.txt", E::Regular, &long),
        (b"e.txt", E::Symlink, b""),
        (b"a.json", E::Regular, b"{\"t\": [\"x\", null]}"),
        (b"b.json", E::Regular, b"{\"u\": 1}"),
        (b"c.json", E::Regular, b"{"),
    ]);
    let path = file(&folder, "b.tar", bytes);
    let records = captions(&path, &small());
    assert_eq!(keys(&records), ["a", "b", "c", "d.txt", "e.txt"]);
    assert_eq!(usable(&records), [Some(" one"), None, None, None, None]);
    assert_eq!(reason(&records[3]), "the member has 101 bytes, expected at most 40");
    let records = captions(&path, &options("", "", &["t"]));
    assert_eq!(keys(&records), ["a", "a", "b", "c.json"]);
    assert_eq!(usable(&records), [Some("x"), None, None, None]);
}

#[test]
fn rejects_truncated_and_corrupt_tars() {
    use tar::EntryType as E;
    let folder = tempfile::tempdir().unwrap();
    let whole = tar(&[(b"a.jpg", E::Regular, &[1; 600]), (b"b.jpg", E::Regular, &[2; 600])]);
    for length in (0..whole.len() - 1024 + 512).step_by(37) {
        let path = file(&folder, "cut.tar", &whole[..length]);
        let source = open_images(&path, &SourceOptions::default()).unwrap();
        let (records, error) = until_error(&*source);
        let complete = [1112, 2648].iter().filter(|&&end| length >= end).count();
        assert_eq!(records.len(), complete, "{length}");
        assert!(matches!(error, DataError::Damaged { .. }), "{length}: {error}");
        assert!(source.count().is_err(), "{length}");
        // An error before the range is returned, too.
        assert!(source.records(5..9).unwrap().next().unwrap().is_err(), "{length}");
    }
    // The end-of-archive marker is two blocks, but one suffices.
    assert_eq!(
        images(&file(&folder, "one.tar", &whole[..whole.len() - 512]), &SourceOptions::default()).len(),
        2
    );

    let damaged = |bytes: Vec<u8>, part: &str| {
        let source = open_images(&file(&folder, "lie.tar", bytes), &SourceOptions::default()).unwrap();
        let error = until_error(&*source).1;
        assert!(error.to_string().contains(part), "{part}: {error}");
    };
    let mut flipped = whole.clone();
    flipped[0] ^= 1;
    damaged(flipped, "checksum");
    let mut header = tar::Header::new_gnu();
    header.set_size(u64::MAX / 2);
    header.set_cksum();
    damaged([header.as_bytes().as_slice(), &[0; 1024]].concat(), "exceeds the end");
    damaged(tar(&[(b"././@LongLink", E::GNULongName, &vec![b'a'; 1 << 17])]), "extended header");
    damaged(tar(&[(b"x", E::XHeader, b"11 size=ab\n")]), "not a number");
    damaged(tar(&[(b"x", E::XHeader, b"nonsense\n")]), "");
    damaged(b"not a tar at all".repeat(64), "");

    // The holes of a sparse member are never read.
    let path = file(&folder, "sparse.tar", tar(&[(b"a.jpg", E::GNUSparse, b"1")]));
    assert!(reason(&images(&path, &SourceOptions::default())[0]).contains("sparse"));
    let bytes = tar(&[(b"x", E::XHeader, b"22 GNU.sparse.major=1\n"), (b"a.jpg", E::Regular, b"1")]);
    let path = file(&folder, "sparse.tar", bytes);
    assert!(reason(&images(&path, &SourceOptions::default())[0]).contains("sparse"));
}

#[test]
fn huge_members_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge.tar");
    let mut header = tar::Header::new_gnu();
    header.set_path("huge.jpg").unwrap();
    header.set_size(1 << 40);
    header.set_cksum();
    fs::write(&path, header.as_bytes()).unwrap();
    // A sparse file of a terabyte.
    if fs::File::options().write(true).open(&path).unwrap().set_len((1 << 40) + 512 + 1024).is_ok() {
        let records = images(&path, &SourceOptions::default());
        assert_eq!(reason(&records[0]), "the image has 1099511627776 bytes, expected at most 268435456");
    }
}
