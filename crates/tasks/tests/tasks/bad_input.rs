//! Invalid data sets are errors.

use std::path::Path;

use sail_data::source::SourceOptions;
use sail_tasks::{
    CaptionData, LabelledImages, MmvpData, SugarCrepeData, TaskError, Templates, WinogroundData,
    caption_answers, caption_retrieval, classify, mmvp, winoground,
};

use crate::lab::{Lab, fixture};

fn assert_error<T>(result: Result<T, TaskError>, words: &[&str]) {
    let Err(error) = result else { panic!("no error, expected one with {words:?}") };
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        message.push_str(&format!(": {error}"));
        cause = error.source();
    }
    words.iter().for_each(|word| assert!(message.contains(word), "no `{word}` in: {message}"));
}

#[test]
fn rejects_invalid_winoground_lines() {
    let lab = Lab::new();
    let open = || WinogroundData::open(&lab.path("data"), &SourceOptions::default());
    assert_error(open(), &["examples.jsonl", "Winoground"]);
    std::fs::create_dir_all(lab.path("data/images")).unwrap();
    lab.write("data/examples.jsonl", "\n");
    assert_error(open(), &["contains no example"]);
    let line = r#"{"id": 0, "image_0": "../../secret", "image_1": "b", "caption_0": "x", "caption_1": "y"}"#;
    lab.write("data/examples.jsonl", format!("{line}\n{{\"id\": 1}}\n"));
    assert_error(open(), &["line 2", "image_0"]);
    // An existing image outside the folder is not read.
    lab.write("secret.png", std::fs::read(fixture("winoground/images/ex_0_img_0.png")).unwrap());
    lab.write("data/images/b.png", std::fs::read(fixture("winoground/images/ex_0_img_0.png")).unwrap());
    lab.write("data/examples.jsonl", line);
    let result = lab.cached(|model, cache| winoground(model, &open().unwrap(), cache));
    assert_error(result, &["all 1 pairs are unusable", "may not leave"]);
    lab.write("data/examples.jsonl", b"\xff\xfe");
    assert_error(open(), &["byte 0", "UTF-8"]);
}

#[test]
fn rejects_invalid_mmvp_rows() {
    let lab = Lab::new();
    std::fs::create_dir_all(lab.path("MLLM_VLM Images")).unwrap();
    let open = |content: &str| {
        lab.write("Questions.csv", content);
        MmvpData::open(lab.folder.path(), &SourceOptions::default())
    };
    let header = "Question ID,Type,Statement\n";
    assert_error(open(header), &["contains no question"]);
    assert_error(
        open("Question ID,Statement\n1,a cat\n"),
        &["column `Type` is missing", "Question ID, Statement"],
    );
    assert_error(open(&format!("{header}1,Texts,a cat\n")), &["1 rows, expected an even number"]);
    assert_error(
        open(&format!("{header}1,Texts,a cat\n2,Color,a dog\n")),
        &["rows 1 and 2", "`Texts` and `Color`"],
    );
    assert_error(
        open(&format!("{header}1,Texts,a cat\n../2,Texts,a dog\n")),
        &["`../2`, expected an integer"],
    );
    assert_error(open(&format!("{header}1,Texts\n")), &["CSV"]);
    // A category cannot be a path outside the folder of images.
    let data = open(&format!("{header}1,..,a cat\n2,..,a dog\n")).unwrap();
    assert_error(
        lab.cached(|model, cache| mmvp(model, &data, cache)).map(drop),
        &["all 2 records are unusable"],
    );
}

#[test]
fn rejects_invalid_sugar_crepe_files() {
    let lab = Lab::new();
    let folder = lab.copy("sugarcrepe");
    let open = || SugarCrepeData::open(&folder, &folder.join("val2017"), &SourceOptions::default());
    open().unwrap();
    lab.write("sugarcrepe/swap_obj.json", "{}");
    assert_error(open(), &["swap_obj.json contains no item"]);
    lab.write("sugarcrepe/swap_obj.json", r#"{"0": {"filename": "a.jpg", "caption": "x"}}"#);
    assert_error(open(), &["swap_obj.json", "negative_caption"]);
    std::fs::remove_file(folder.join("swap_obj.json")).unwrap();
    assert_error(open(), &["swap_obj.json", "a subset of SugarCrepe"]);
}

#[test]
fn rejects_invalid_caption_splits() {
    let lab = Lab::new();
    let folder = lab.copy("karpathy");
    let json = folder.join("dataset_coco.json");
    let open =
        |split: &str| CaptionData::open(&json, &folder.join("images"), split, 5, &SourceOptions::default());
    assert_error(open("restval"), &["`restval`", "test (14), train (2), val (14)"]);
    lab.write("karpathy/dataset_coco.json", r#"{"images": []}"#);
    assert_error(open("test"), &["available splits: none"]);
    let image = r#"{"filename": "a.jpg", "split": "test", "sentences": [{"raw": "a cat"}]}"#;
    lab.write("karpathy/dataset_coco.json", format!(r#"{{"images": [{image}, {image}]}}"#));
    assert_error(open("test"), &["duplicate image `a.jpg`"]);
    let image = r#"{"filename": "a.jpg", "split": "test", "sentences": []}"#;
    lab.write("karpathy/dataset_coco.json", format!(r#"{{"images": [{image}]}}"#));
    assert_error(open("test"), &["all 1 images are unusable", "`a.jpg`: the image has no captions"]);
    // Only the empty caption is skipped.
    let name =
        std::fs::read_dir(folder.join("images/test2014")).unwrap().next().unwrap().unwrap().file_name();
    let name = name.to_str().unwrap();
    let image = format!(
        r#"{{"filename": "{name}", "filepath": "test2014", "split": "test", "sentences": [{{"raw": " "}}, {{"raw": "a"}}]}}"#
    );
    lab.write("karpathy/dataset_coco.json", format!(r#"{{"images": [{image}]}}"#));
    let data = open("test").unwrap();
    let result = lab.cached(|model, cache| caption_retrieval(model, &data, cache)).unwrap();
    assert_eq!((result.retrieval.n_texts, result.skipped.count), (1, 1));
    // JSON as Python writes it.
    let image = format!(
        r#"{{"filename": "{name}", "filepath": "test2014", "split": "test", "area": Infinity, "cocoid": NaN,
            "sentences": [{{"raw": NaN}}, {{"raw": "a \ud83d", "sentid": 1e999}}]}}"#
    );
    let other = r#"{"filename": "b.jpg", "split": "val", "sentences": [{"raw": NaN}]}"#;
    lab.write("karpathy/dataset_coco.json", format!("\u{feff}{{\"images\": [{image}, {other}]}}"));
    let data = open("test").unwrap();
    let (found, answers) = lab.cached(|model, cache| caption_answers(model, &data, cache, 1)).unwrap();
    assert_eq!((found.retrieval.n_texts, found.skipped.count), (1, 1));
    assert_eq!(answers[0].truth, ["a \u{fffd}"]);
    assert!(result.skipped.first[0].reason.contains("empty"), "{:?}", result.skipped);
}

#[test]
fn rejects_invalid_class_folders() {
    let lab = Lab::new();
    let folder = lab.copy("image_folder");
    let open = || LabelledImages::image_folder(&folder, None, &SourceOptions::default());
    assert_eq!((open().unwrap().len(), open().unwrap().classes()[1].as_str()), (18, "red bird"));
    lab.write("image_folder/n99_more/a.png", "not an image");
    assert_error(open(), &["classnames.txt", "found 6 class names for 7 class folders"]);
    std::fs::remove_file(folder.join("classnames.txt")).unwrap();
    assert_eq!(open().unwrap().classes()[6], "n99 more");
    lab.write("image_folder/zeroshot_classification_templates.txt", "a {c}\na photo\n");
    assert_error(open(), &["template 2, `a photo`", "{c}"]);
    lab.write("image_folder/zeroshot_classification_templates.txt", "\n");
    assert_error(open(), &["contains no template"]);
    assert_eq!(
        LabelledImages::image_folder(&folder, Some(Templates::default()), &SourceOptions::default())
            .unwrap()
            .len(),
        19
    );
    lab.write("nothing/a.png", "");
    assert_error(
        LabelledImages::image_folder(&lab.path("nothing"), None, &SourceOptions::default()),
        &["contains no class folder"],
    );
    assert_error(
        LabelledImages::image_folder(Path::new("absent"), None, &SourceOptions::default()),
        &["absent"],
    );
}

/// A tar of these members.
fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, content) in members {
        let mut header = [0u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000644");
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[148..156].fill(b' ');
        header[156] = b'0';
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        bytes.extend(header);
        bytes.extend(*content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

#[test]
fn rejects_invalid_web_datasets() {
    let lab = Lab::new();
    let folder = lab.copy("web_dataset");
    let open = || LabelledImages::open(&folder, "test", None, &SourceOptions::default());
    assert_eq!(open().unwrap().len(), 18);
    lab.write("web_dataset/dataset_type.txt", "retrieval\n");
    assert_error(open(), &["`retrieval`, expected `classification`"]);
    lab.write("web_dataset/dataset_type.txt", "classification");
    lab.write("web_dataset/test/nshards.txt", "many");
    assert_error(open(), &["nshards.txt", "`many`, expected an integer"]);
    lab.write("web_dataset/test/nshards.txt", "3");
    assert_error(open(), &["cannot read the images", "2.tar"]);
    lab.write("web_dataset/test/nshards.txt", "1");
    let png = std::fs::read(fixture("image_folder/n00/0.png")).unwrap();
    let write = |members: &[(&str, &[u8])]| lab.write("web_dataset/test/0.tar", tar(members));
    for (label, words) in [("7", "is 7, expected an integer from 0 to 6"), ("cat", "is cat"), ("-1", "is -1")]
    {
        write(&[("s0.cls", label.as_bytes()), ("s0.png", &png)]);
        assert_error(open(), &["`s0`", words]);
    }
    write(&[("s0.cls", b"1"), ("s0.cls", b"2"), ("s0.png", &png)]);
    assert_error(open(), &["duplicate label of `s0`"]);
    write(&[("s0.png", &png)]);
    assert_error(open(), &["contains no label"]);
    // Archives that number their images anew.
    write(&[("s0.cls", b"1"), ("s0.png", &png)]);
    lab.write("web_dataset/test/1.tar", tar(&[("s0.cls", b"2"), ("s0.png", &png), ("s0.json", b"{}")]));
    lab.write("web_dataset/test/nshards.txt", "2");
    let result = lab.cached(|model, cache| classify(model, &open().unwrap(), cache)).unwrap();
    assert_eq!((result.counts, result.skipped.count), (vec![0, 1, 1, 0, 0, 0], 0));
    lab.write("web_dataset/test/nshards.txt", "1");
    write(&[("s0.cls", b"1"), ("s0.png", &png), ("s1.png", &png)]);
    let data = open().unwrap();
    assert_error(lab.cached(|model, cache| classify(model, &data, cache)), &["image `s1` has no label"]);
    write(&[("s0.cls", b"1"), ("s0.png", &png), ("s1.cls", b"2")]);
    let data = open().unwrap();
    let result = lab.cached(|model, cache| classify(model, &data, cache)).unwrap();
    assert_eq!((result.scores.n_images, result.skipped.count, result.absent_classes), (1, 1, 5));
    assert_eq!(result.skipped.first[0].reason, "the label has no image");
    lab.write("web_dataset/classnames.txt", "a\n\nb\n");
    assert_error(open(), &["classnames.txt, line 2", "empty"]);
    lab.write("web_dataset/classnames.txt", "");
    assert_error(open(), &["contains no class"]);
}
