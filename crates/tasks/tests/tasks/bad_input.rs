//! Data that is not in the published layout, or says what cannot be.

use std::path::Path;

use sail_tasks::{
    CaptionData, LabelledImages, MmvpData, SugarCrepeData, TaskError, Templates, WinogroundData,
    caption_retrieval, classify, mmvp, winoground,
};

use crate::lab::{Lab, fixture};

fn says<T>(result: Result<T, TaskError>, words: &[&str]) {
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
fn winoground_lines() {
    let lab = Lab::new();
    let open = || WinogroundData::open(&lab.path("data"));
    says(open(), &["examples.jsonl", "Winoground"]);
    std::fs::create_dir_all(lab.path("data/images")).unwrap();
    lab.write("data/examples.jsonl", "\n");
    says(open(), &["has no example"]);
    let line = r#"{"id": 0, "image_0": "../../secret", "image_1": "b", "caption_0": "x", "caption_1": "y"}"#;
    lab.write("data/examples.jsonl", format!("{line}\n{{\"id\": 1}}\n"));
    says(open(), &["line 2", "image_0"]);
    // An image outside the folder is not looked at, even where there is one.
    lab.write("secret.png", std::fs::read(fixture("winoground/images/ex_0_img_0.png")).unwrap());
    lab.write("data/images/b.png", std::fs::read(fixture("winoground/images/ex_0_img_0.png")).unwrap());
    lab.write("data/examples.jsonl", line);
    let result = lab.cached(|model, cache| winoground(model, &open().unwrap(), cache));
    says(result, &["none of the 1 pairs", "could lead out"]);
    lab.write("data/examples.jsonl", b"\xff\xfe");
    says(open(), &["byte 0", "UTF-8"]);
}

#[test]
fn mmvp_rows() {
    let lab = Lab::new();
    std::fs::create_dir_all(lab.path("MLLM_VLM Images")).unwrap();
    let open = |content: &str| {
        lab.write("Questions.csv", content);
        MmvpData::open(lab.folder.path())
    };
    let header = "Question ID,Type,Statement\n";
    says(open(header), &["has no question"]);
    says(open("Question ID,Statement\n1,a cat\n"), &["no column `Type`", "Question ID, Statement"]);
    says(open(&format!("{header}1,Texts,a cat\n")), &["1 rows, expected an even number"]);
    says(open(&format!("{header}1,Texts,a cat\n2,Color,a dog\n")), &["rows 1 and 2", "`Texts` and `Color`"]);
    says(open(&format!("{header}1,Texts,a cat\n../2,Texts,a dog\n")), &["`../2`, expected a number"]);
    says(open(&format!("{header}1,Texts\n")), &["CSV"]);
    // A category is a folder in the folder of images, or nothing.
    let data = open(&format!("{header}1,..,a cat\n2,..,a dog\n")).unwrap();
    says(
        lab.cached(|model, cache| mmvp(model, &data, cache)).map(drop),
        &["none of the 2 records could be used"],
    );
}

#[test]
fn sugar_crepe_files() {
    let lab = Lab::new();
    let folder = lab.copy("sugarcrepe");
    let open = || SugarCrepeData::open(&folder, &folder.join("val2017"));
    open().unwrap();
    lab.write("sugarcrepe/swap_obj.json", "{}");
    says(open(), &["swap_obj.json has no item"]);
    lab.write("sugarcrepe/swap_obj.json", r#"{"0": {"filename": "a.jpg", "caption": "x"}}"#);
    says(open(), &["swap_obj.json", "negative_caption"]);
    std::fs::remove_file(folder.join("swap_obj.json")).unwrap();
    says(open(), &["swap_obj.json", "a subset of SugarCrepe"]);
}

#[test]
fn caption_splits() {
    let lab = Lab::new();
    let folder = lab.copy("karpathy");
    let json = folder.join("dataset_coco.json");
    let open = |split: &str| CaptionData::open(&json, &folder.join("images"), split, 5);
    says(open("restval"), &["`restval`", "test (14), train (2), val (14)"]);
    lab.write("karpathy/dataset_coco.json", r#"{"images": []}"#);
    says(open("test"), &["its splits are none"]);
    let image = r#"{"filename": "a.jpg", "split": "test", "sentences": [{"raw": "a cat"}]}"#;
    lab.write("karpathy/dataset_coco.json", format!(r#"{{"images": [{image}, {image}]}}"#));
    says(open("test"), &["the image `a.jpg` twice"]);
    let image = r#"{"filename": "a.jpg", "split": "test", "sentences": []}"#;
    lab.write("karpathy/dataset_coco.json", format!(r#"{{"images": [{image}]}}"#));
    says(open("test"), &["none of the 1 images", "`a.jpg`: it has no caption"]);
    // An empty caption is left out alone.
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
    assert!(result.skipped.first[0].reason.contains("empty"), "{:?}", result.skipped);
}

#[test]
fn class_folders() {
    let lab = Lab::new();
    let folder = lab.copy("image_folder");
    let open = || LabelledImages::image_folder(&folder, None);
    assert_eq!((open().unwrap().len(), open().unwrap().classes()[1].as_str()), (18, "red bird"));
    std::fs::create_dir(folder.join("n99_empty")).unwrap();
    says(open(), &["classnames.txt has 6 names, expected 7"]);
    std::fs::remove_file(folder.join("classnames.txt")).unwrap();
    says(open(), &["n99_empty has no image"]);
    lab.write("image_folder/n99_empty/a.png", "not an image");
    let data = open().unwrap();
    assert_eq!(data.classes()[6], "n99 empty");
    let result = lab.cached(|model, cache| classify(model, &data, cache)).unwrap();
    assert_eq!((result.skipped.count, result.absent_classes), (2, 1));
    lab.write("image_folder/zeroshot_classification_templates.txt", "a {c}\na image\n");
    says(open(), &["template 2, `an image`", "{c}"]);
    lab.write("image_folder/zeroshot_classification_templates.txt", "\n");
    says(open(), &["has no template"]);
    assert_eq!(LabelledImages::image_folder(&folder, Some(Templates::default())).unwrap().len(), 19);
    lab.write("nothing/a.png", "");
    says(LabelledImages::image_folder(&lab.path("nothing"), None), &["has no class folder"]);
    says(LabelledImages::image_folder(Path::new("absent"), None), &["absent"]);
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
fn web_datasets() {
    let lab = Lab::new();
    let folder = lab.copy("web_dataset");
    let open = || LabelledImages::open(&folder, "test", None);
    assert_eq!(open().unwrap().len(), 18);
    lab.write("web_dataset/dataset_type.txt", "retrieval\n");
    says(open(), &["for retrieval, expected one for classification"]);
    lab.write("web_dataset/dataset_type.txt", "classification");
    lab.write("web_dataset/test/nshards.txt", "many");
    says(open(), &["nshards.txt", "`many`, expected a number"]);
    lab.write("web_dataset/test/nshards.txt", "3");
    says(open(), &["cannot read the images", "2.tar"]);
    lab.write("web_dataset/test/nshards.txt", "1");
    let png = std::fs::read(fixture("image_folder/n00/0.png")).unwrap();
    let write = |members: &[(&str, &[u8])]| lab.write("web_dataset/test/0.tar", tar(members));
    for (label, words) in [("7", "is 7, expected a number from 0 to 6"), ("cat", "is cat"), ("-1", "is -1")] {
        write(&[("s0.cls", label.as_bytes()), ("s0.png", &png)]);
        says(open(), &["`s0`", words]);
    }
    write(&[("s0.cls", b"1"), ("s0.cls", b"2"), ("s0.png", &png)]);
    says(open(), &["the label of `s0` twice"]);
    write(&[("s0.png", &png)]);
    says(open(), &["has no label"]);
    write(&[("s0.cls", b"1"), ("s0.png", &png), ("s1.png", &png)]);
    let data = open().unwrap();
    says(lab.cached(|model, cache| classify(model, &data, cache)), &["image `s1` has no label"]);
    write(&[("s0.cls", b"1"), ("s0.png", &png), ("s1.cls", b"2")]);
    let data = open().unwrap();
    let result = lab.cached(|model, cache| classify(model, &data, cache)).unwrap();
    assert_eq!((result.scores.n_images, result.skipped.count, result.absent_classes), (1, 1, 6));
    assert_eq!(result.skipped.first[0].reason, "there is a label but no image");
    lab.write("web_dataset/classnames.txt", "a\n\nb\n");
    says(open(), &["classnames.txt, line 2", "empty"]);
    lab.write("web_dataset/classnames.txt", "");
    says(open(), &["has no class"]);
}
