//! Names of members and files, and what is passed over.

use super::bad_tars::tar;
use super::*;

fn passed_over<T>(source: &dyn RecordSource<T>) -> PassedOver {
    source.passed_over().unwrap()
}

/// A tar with members of these names, which are also their contents.
fn named(folder: &tempfile::TempDir, names: &[&str]) -> PathBuf {
    let members: Vec<(&[u8], _, &[u8])> =
        names.iter().map(|name| (name.as_bytes(), ::tar::EntryType::Regular, name.as_bytes())).collect();
    file(folder, "a.tar", tar(&members))
}

#[test]
fn base_names_with_dots_are_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = named(
        &folder,
        &[
            "IMG_2020.01.05.jpg",
            "IMG_2020.01.05.txt",
            "cat.0.jpg",
            "cat.0.txt",
            "cat.1.jpg",
            "cat.1.txt",
            "d/e.v1.5.png",
        ],
    );
    let default = SourceOptions::default();
    let expected = ["IMG_2020.01.05", "cat.0", "cat.1", "d/e.v1.5"];
    assert_eq!(keys(&images(&path, &default)), expected);
    let captions = captions(&path, &default);
    assert_eq!(keys(&captions), expected[..3]);
    assert_eq!(usable(&captions)[1], Some("cat.0.txt"));
}

#[test]
fn images_with_captions_of_their_own_are_samples() {
    let folder = tempfile::tempdir().unwrap();
    // More members behind the key `www` than are kept together; the last sample has no caption.
    let stems: Vec<String> = (0..300).map(|number| format!("www.Cats.org_{number}")).collect();
    let mut names: Vec<String> =
        stems.iter().flat_map(|stem| [format!("{stem}.jpg"), format!("{stem}.txt")]).collect();
    names.pop();
    // One image with captions of two kinds, and two images with one caption.
    names.extend(
        ["0.jpg", "0.seg.png", "0.txt", "0.long.txt", "1.a.jpg", "1.b.jpg", "1.txt"].map(str::to_owned),
    );
    let path = named(&folder, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let expected: Vec<&str> = stems.iter().map(String::as_str).collect();

    let records = images(&path, &SourceOptions::default());
    assert_eq!(keys(&records)[..300], expected);
    assert_eq!(keys(&records)[300..], ["0", "0.seg.png", "1", "1.b.jpg"]);
    let records = captions(&path, &SourceOptions::default());
    assert_eq!(keys(&records)[..299], expected[..299]);
    assert_eq!(keys(&records)[299..], ["0", "0.long.txt", "1"]);
    let own = |record: &Record<String>| record.value.as_deref() == Ok(format!("{}.txt", record.key).as_str());
    assert!(records[..299].iter().all(own));
}

#[test]
fn fields_of_a_sample_are_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let names = [
        "0.input.jpg",
        "0.target.jpg",
        "0.prompt.txt",
        "0.outputs.txt",
        "1.input.jpg",
        "1.target.jpg",
        "1.outputs.txt",
    ];
    let path = named(&folder, &names);
    // The others are skipped, by name.
    let records = images(&path, &SourceOptions::default());
    assert_eq!(keys(&records), ["0", "0.target.jpg", "1", "1.target.jpg"]);
    assert_eq!(
        reason(&records[1]),
        "the sample has another member of its kind, `input.jpg`: choose one by its field, as in \
         `--image-column target.jpg`"
    );
    let records = captions(&path, &SourceOptions::default());
    assert_eq!(keys(&records), ["0", "0.outputs.txt", "1"]);
    assert!(reason(&records[1]).contains("`--caption-column outputs.txt`"), "{:?}", records[1]);

    for field in ["target.jpg", "target", "TARGET.JPG"] {
        let source = open_images(&path, &options("", field, &[])).unwrap();
        let records = all(&*source);
        assert_eq!(keys(&records), ["0", "1"]);
        assert_eq!(records[1].value, Ok(ImageData::Bytes(b"1.target.jpg".to_vec())));
        let passed = passed_over(&*source);
        assert_eq!((passed.files, passed.suffixes["input.jpg"].files), (5, 2), "{passed}");
    }
    let records = captions(&path, &options("", "target", &["outputs.txt"]));
    assert_eq!(
        (keys(&records), usable(&records)),
        (vec!["0", "1"], vec![Some("0.outputs.txt"), Some("1.outputs.txt")])
    );
    // A sample without one of the columns is skipped for that column.
    let records = captions(&path, &options("", "", &["outputs.txt", "prompt.txt"]));
    assert_eq!(keys(&records), ["0", "0", "1", "1"]);
    assert_eq!(usable(&records), [Some("0.outputs.txt"), Some("0.prompt.txt"), Some("1.outputs.txt"), None]);
    // A plain suffix is the image, wherever it is; others are masks and the like.
    let path = named(&folder, &["0.depth.png", "0.jpg", "0.seg.png"]);
    let records = images(&path, &SourceOptions::default());
    assert_eq!(keys(&records), ["0.depth.png", "0", "0.seg.png"]);
    assert_eq!(records[1].value, Ok(ImageData::Bytes(b"0.jpg".to_vec())));
}

#[test]
fn fields_of_text_and_json_are_mixed() {
    let folder = tempfile::tempdir().unwrap();
    let regular = ::tar::EntryType::Regular;
    let members: [(&[u8], _, &[u8]); 5] = [
        (b"0.json", regular, b"\xef\xbb\xbf{\"a\": [\"x\", \"y\"]}"),
        (b"0.txt", regular, b"\xef\xbb\xbfz"),
        (b"1.meta.json", regular, b"{}"),
        (b"1.json", regular, b"{\"a\": \"w\"}"),
        (b"2.txt", regular, b"v"),
    ];
    let path = file(&folder, "a.tar", tar(&members));
    let records = captions(&path, &options("", "", &["txt", "a"]));
    let found: Vec<_> = records.iter().map(|r| (r.key.as_str(), r.value.as_deref().ok())).collect();
    let expected = [
        ("0", Some("z")),
        ("0", Some("x")),
        ("0", Some("y")),
        ("1", None),
        ("1", Some("w")),
        ("1.meta.json", None),
        ("2", Some("v")),
        ("2", None),
    ];
    assert_eq!(found, expected);
}

#[test]
fn other_suffixes_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let names = [
        "0.jpg",
        "0.txt",
        "0.mov",
        "1.mov",
        "2.cls",
        "README",
        "._0.jpg",
        "__MACOSX/0.jpg",
        ".DS_Store",
        "a/.b/c.jpg",
    ];
    let path = named(&folder, &names);
    for name in names {
        file(&folder, &format!("files/{name}"), name);
    }
    for path in [path, folder.path().join("files")] {
        let source = open_images(&path, &SourceOptions::default()).unwrap();
        assert_eq!(all(&*source).len(), 1, "{}", path.display());
        let passed = passed_over(&*source);
        assert_eq!(
            passed.to_string(),
            "5 files: 2 .mov, 1 without suffix, 1 .cls, 1 .txt",
            "{}",
            path.display()
        );
        // A folder is listed in the order of the file system.
        let mut examples = passed.suffixes["mov"].examples.clone();
        examples.sort();
        assert_eq!(examples, ["0.mov", "1.mov"]);
        let source = open_captions(&path, &SourceOptions::default()).unwrap();
        assert_eq!(usable(&all(&*source)), [Some("0.txt")]);
    }
    // Files beside the archives of a folder, and in archives.
    let source = open_images(folder.path(), &SourceOptions::default()).unwrap();
    assert_eq!((source.count().unwrap(), passed_over(&*source).files), (1, 5 + 6));
    // A chain has the files of its parts.
    fs::copy(folder.path().join("a.tar"), folder.path().join("b.tar")).unwrap();
    let source = open_images(&folder.path().join("{a,b}.tar"), &SourceOptions::default()).unwrap();
    assert_eq!((source.count().unwrap(), passed_over(&*source).files), (2, 10));
}

#[test]
fn an_empty_source_says_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a/1.mov", "a/2.mov", "a/c.db"] {
        file(&folder, name, "x");
    }
    let error = open_images(&folder.path().join("a"), &SourceOptions::default()).err().unwrap();
    assert!(error.to_string().contains("contains no images (passed over 3 files: 2 .mov, 1 .db)"), "{error}");
    let error = open_captions(&folder.path().join("a"), &SourceOptions::default()).err().unwrap();
    assert!(
        error.to_string().contains("contains no captions (passed over 3 files: 2 .mov, 1 .db)"),
        "{error}"
    );
    let path = named(&folder, &["0.jpg", "0.json"]);
    let source = open_captions(&path, &SourceOptions::default()).unwrap();
    assert_eq!(
        (source.count().unwrap(), passed_over(&*source).to_string().as_str()),
        (0, "2 files: 1 .jpg, 1 .json")
    );
}
