//! Data sets written by reference tools.

use super::*;

/// Creates files with their names as contents.
fn folder(names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    folder
}

#[test]
fn folders_are_sorted_by_key() {
    let names = ["b.PNG", "a/z.jpg", "a.jpg", "a/b/c.webp", "é.tiff", "a-b.gif", "x.bmp", "y.TIF", "w.jpeg"];
    let folder = folder(&[&names[..], &["notes.txt", "a/jpg", "c.jpg.part"]].concat());
    let mut sorted = names;
    sorted.sort_unstable();
    let records = images(folder.path(), &SourceOptions::default());
    assert_eq!(keys(&records), sorted);
    for Record { key, value } in records {
        let Ok(ImageData::File(path)) = value else { panic!("{value:?}") };
        assert_eq!(fs::read_to_string(path).unwrap(), key);
    }
}

/// Everything that is an image to Pillow is listed, and decoded or skipped with a reason.
#[test]
fn all_suffixes_of_images_are_listed() {
    let names = [
        "a.JFIF", "b.jpe", "c.jif", "d.apng", "e.dib", "f.ppm", "g.ico", "h.tga", "i.avif", "j.heic", "k.jxl",
    ];
    let folder = folder(&[&names[..], &["notes.txt"]].concat());
    assert_eq!(keys(&images(folder.path(), &SourceOptions::default())), names);
}

#[test]
fn reads_csv_and_tsv_of_python() {
    let keys_expected = expected_text("keys");
    let texts = expected("captions");
    for name in ["comma.csv", "quoted.csv", "tab.tsv"] {
        let records = captions(&fixture(name), &SourceOptions::default());
        assert_eq!(usable(&records), texts.iter().map(caption_of).collect::<Vec<_>>(), "{name}");
        for ((record, key), text) in records.iter().zip(&keys_expected).zip(&texts) {
            // Python writes nothing for null. Keys do not depend on this.
            assert_eq!((&record.key, record.value.is_err()), (key, caption_of(text).is_none()), "{name}");
        }
        let records = images(&fixture(name), &options("key", "file", &[]));
        assert_eq!(keys(&records), keys_expected, "{name}");
        assert!(reason(&records[0]).contains("the file `folder/0.jpg`"), "{:?}", records[0]);
        // Without a key column the paths are the keys of both sides.
        let by_path = options("file", "file", &[]);
        assert_eq!(keys(&captions(&fixture(name), &by_path)), expected_text("paths"));
        assert_eq!(keys(&images(&fixture(name), &by_path)), expected_text("paths"));
    }
}

#[test]
fn reads_json_lines_of_python() {
    let path = fixture("lines.jsonl");
    let records = captions(&path, &SourceOptions::default());
    assert_eq!(usable(&records), expected("captions").iter().map(caption_of).collect::<Vec<_>>());
    assert_eq!(keys(&records), expected_text("keys"));
    assert_eq!(keys(&images(&path, &SourceOptions::default())), expected_text("keys"));

    let records = captions(&path, &options("id", "", &["captions", "caption"]));
    let (lists, texts, ids) = (expected("lists"), expected("captions"), expected("ids"));
    let both: Vec<(String, Option<&str>)> = (lists.iter().zip(&texts).zip(&ids))
        .flat_map(|((list, text), id)| {
            let captions = captions_of(list).into_iter().chain([caption_of(text)]);
            captions.map(|caption| (id.to_string(), caption))
        })
        .collect();
    let found: Vec<_> = records.iter().map(|r| (r.key.clone(), r.value.as_deref().ok())).collect();
    assert_eq!(found, both);
}

#[test]
fn tables_without_keys_have_row_numbers() {
    let folder = folder(&["sub/1.jpg"]);
    let at = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let numbered = at("numbered.csv", "caption\none\n\n\"two\"\n");
    assert_eq!(keys(&captions(&numbered, &SourceOptions::default())), ["1", "2"]);
    let numbered = at("numbered.jsonl", "\n{\"text\": \"one\"}\n \n{\"text\": \"two\"}");
    assert_eq!(keys(&captions(&numbered, &SourceOptions::default())), ["2", "4"]);
    let by_path = at("path.csv", "file_name,text\nsub/1.jpg,one\n");
    assert_eq!(keys(&captions(&by_path, &SourceOptions::default())), ["sub/1.jpg"]);
    let records = images(&by_path, &SourceOptions::default());
    assert_eq!(keys(&records), ["sub/1.jpg"]);
    assert!(records[0].value.is_ok());
    // The folder has the same keys.
    assert_eq!(keys(&images(folder.path(), &SourceOptions::default())), ["sub/1.jpg"]);
    // The images can be in another folder than the table.
    let from_root = at("root.csv", "path\n1.jpg\n");
    let options = SourceOptions { image_root: Some(folder.path().join("sub")), ..SourceOptions::default() };
    assert!(images(&from_root, &options)[0].value.is_ok());
}

#[test]
fn reads_text_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("captions.txt");
    fs::write(&path, b"\xef\xbb\xbfone\r\ntwo \n\nfour").unwrap();
    let records = captions(&path, &SourceOptions::default());
    assert_eq!(usable(&records), [Some("one"), Some("two "), None, Some("four")]);
    assert_eq!(keys(&records), ["1", "2", "line 3", "4"]);
    fs::write(&path, b"").unwrap();
    assert_eq!(captions(&path, &SourceOptions::default()), []);
}

#[test]
fn reads_tars_of_img2dataset() {
    let keys_expected = ["000000001", "000000002", "000000003", "000000004", "000000005"];
    let default = SourceOptions { key_scope: KeyScope::Source, ..SourceOptions::default() };
    for path in ["shards", "shards/{00000..00002}.tar", "shards/0000?.tar", "shards/*.tar"] {
        let records = images(&fixture(path), &default);
        assert_eq!(keys(&records), keys_expected, "{path}");
        for (record, number) in records.iter().zip(1u8..) {
            assert_eq!(record.value, Ok(ImageData::Bytes(vec![number; number.into()])));
        }
        let records = captions(&fixture(path), &default);
        assert_eq!(keys(&records), keys_expected, "{path}");
        assert_eq!(usable(&records)[4], Some("caption 5"));
    }
    let by_field = SourceOptions { key_scope: KeyScope::Source, ..options("", "", &["long", "caption"]) };
    let records = captions(&fixture("shards"), &by_field);
    assert_eq!(keys(&records[..4]), ["000000001", "000000001", "000000001", "000000002"]);
    assert_eq!(usable(&records[..3]), [Some("long 1"), Some("longer 1"), Some("caption 1")]);
    assert_eq!(records.len(), 15);
    assert_eq!(keys(&images(&fixture("shards/00001.tar"), &SourceOptions::default())), ["000000003"]);
}

#[test]
fn reads_names_in_extended_headers() {
    for name in ["long_gnu.tar", "long_pax.tar"] {
        let records = images(&fixture(name), &SourceOptions::default());
        assert_eq!(keys(&records), expected_text("long"), "{name}");
        assert!(records.iter().all(|record| record.value == Ok(ImageData::Bytes(b"jpg".to_vec()))));
    }
}

#[test]
fn reads_coco_captions() {
    let records = captions(&fixture("coco.json"), &SourceOptions::default());
    assert_eq!(usable(&records), [Some("first"), Some("second"), Some("third"), Some("fourth")]);
    let (nine, three) = ("000000000009.jpg", "val/000000000003.jpg");
    assert_eq!(keys(&records), [nine, nine, three, three]);

    let folder = folder(&[nine, three]);
    let root = SourceOptions { image_root: Some(folder.path().to_owned()), ..SourceOptions::default() };
    let records = images(&fixture("coco.json"), &root);
    assert_eq!(keys(&records), [nine, three, "lonely.jpg"]);
    assert!(records[0].value.is_ok() && records[1].value.is_ok());
    assert!(reason(&records[2]).contains("is missing"));
    let mut from_folder = images(folder.path(), &SourceOptions::default());
    from_folder.truncate(2);
    assert_eq!(keys(&from_folder), [nine, three]);
}
