//! Evaluations on data as people have it.

use sail_vl::core::Modality;
use serde_json::Value;

use crate::benchmark;
use crate::lab::{IMAGE_DIM, Lab, TEXT_DIM, TRAIN, key, row};

/// Twelve classes of two images; the keys of the images begin with the folders of the classes.
fn zero_shot(folders: [&str; 12], classes: [&str; 12]) -> (Lab, String) {
    let lab = Lab::new(200);
    lab.run(&format!("{TRAIN} --epochs 5 --out run")).succeeded();
    let images =
        (0..24).map(|image| (format!("{}/{image}.jpg", folders[image % 12]), row(image % 12, 0, IMAGE_DIM)));
    lab.store("photos", Modality::Image, "vision", images);
    let prompts = (0..12).map(|class| (classes[class].to_owned(), row(class, 1, TEXT_DIM)));
    lab.store("prompts", Modality::Text, "language", prompts);
    lab.labels("labels.safetensors", &(0..24).map(|image| image % 12).collect::<Vec<_>>());
    let eval = "eval zero-shot --head run/head.safetensors --images photos --prompts prompts --json --labels";
    (lab, eval.to_owned())
}

#[test]
fn folders_of_keys_are_paired_with_the_keys_of_prompts() {
    let numbers = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"];
    let names = ["l", "k", "j", "i", "h", "g", "f", "e", "d", "c", "b", "a"];
    for (folders, classes) in [(numbers, names), (numbers, numbers), (names, names)] {
        let (lab, eval) = zero_shot(folders, classes);
        let expected = lab.run(&format!("{eval} labels.safetensors:labels")).json();
        assert!(expected["top1"].as_f64().unwrap() > 20.0, "{expected}");
        assert_eq!(lab.run(&format!("{eval} folders")).json(), expected, "{folders:?} {classes:?}");
    }
    let (lab, eval) = zero_shot(numbers, names);
    let few = (0..11).map(|class| (class.to_string() + "x", row(class, 1, TEXT_DIM)));
    lab.store("few", Modality::Text, "language", few);
    let eval = eval.replace("--prompts prompts", "--prompts few");
    lab.refuses(&format!("{eval} folders"), 1, &["11 class names for 12 class folders"]);
}

/// A key that cannot be read is not the key of another class.
#[test]
fn damaged_keys_of_prompts_are_an_error() {
    let (lab, eval) = zero_shot(["a"; 12], ["l", "k", "j", "i", "h", "g", "f", "e", "d", "c", "b", "a"]);
    let mut shard = lab.read("prompts/shard-00000.safetensors");
    let length = u64::from_le_bytes(shard[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&shard[8..8 + length]).unwrap();
    let start = 8 + length + header["key_bytes"]["data_offsets"][0].as_u64().unwrap() as usize;
    shard[start] = 0xff;
    std::fs::write(lab.path("prompts/shard-00000.safetensors"), shard).unwrap();
    lab.refuses(
        &format!("{eval} labels.safetensors:labels --no-verify"),
        1,
        &["cannot use prompts", "shard-00000.safetensors"],
    );
}

#[test]
fn report_of_a_retrieval_shows_images_below_the_folder_only() {
    let lab = Lab::new(200);
    lab.run(&format!("{TRAIN} --epochs 1 --out run")).succeeded();
    let photo = std::fs::read(benchmark::fixtures("tasks").join("image_folder/n00/0.png")).unwrap();
    std::fs::create_dir(lab.path("photos")).unwrap();
    std::fs::write(lab.path("secret.png"), &photo).unwrap();
    std::fs::write(lab.path("photos/a.png"), &photo).unwrap();
    std::fs::write(lab.path("photos/b.png"), "damaged").unwrap();
    let keys = ["a.png", "b.png", "../secret.png"];
    let store = |name: &str, modality, model: &str, dim| {
        let rows = keys.iter().enumerate().map(|(item, &key)| (key.to_owned(), row(item, 0, dim)));
        lab.store(name, modality, model, rows.collect::<Vec<_>>());
    };
    store("few", Modality::Image, "vision", IMAGE_DIM);
    store("captions", Modality::Text, "language", TEXT_DIM);
    let eval = "eval retrieval --head run/head.safetensors --images few --texts captions --report out.html";
    lab.run(&format!("{eval} --image-dir photos")).succeeded();
    let html = String::from_utf8(lab.read("out.html")).unwrap();
    assert_eq!(html.matches("data:image/jpeg;base64,").count(), 1);
    for words in ["may not leave the folder", "not an image"] {
        assert!(html.contains(words), "{words}");
    }
    // No image at all is the wrong folder.
    std::fs::remove_file(lab.path("photos/a.png")).unwrap();
    lab.run(&format!("{eval} --image-dir photos")).failed(2, &["cannot show", "nor any other image"]);
}

#[test]
fn languages_have_rows_with_their_chance_and_missing_captions() {
    let lab = Lab::new(200);
    lab.run(&format!("{TRAIN} --holdout 50 --epochs 8 --out run")).succeeded();
    // Every second image has no caption in this language, and one caption has no image.
    let rows = (0..201).filter(|item| item % 2 == 0);
    let rows = rows.map(|item| (key(item), row(item, 1, TEXT_DIM)));
    lab.store("german", Modality::Text, "language", rows);
    // A caption of a training image only.
    lab.store("foreign", Modality::Text, "language", [(key(0), row(0, 1, TEXT_DIM))]);
    lab.store("other", Modality::Text, "another-model", [(key(0), row(0, 1, TEXT_DIM))]);
    let eval = "eval retrieval --head run/head.safetensors --images images --texts texts --holdout";
    let found =
        lab.run(&format!("{eval} --language more=more --language de=german --json")).succeeded().json();
    let [texts, more, german] = [0, 1, 2].map(|index| &found["languages"][index]);
    assert_eq!(
        (&texts["language"], &texts["i2t"], &texts["t2i"]),
        (&"texts".into(), &found["i2t"], &found["t2i"])
    );
    assert_eq!(
        (&more["n_images"], &more["n_texts"], &more["missing_images"]),
        (&50.into(), &50.into(), &0.into())
    );
    assert_eq!(more["chance"]["t2i"]["r@1"], 2.0);
    let (images, missing) =
        (german["n_images"].as_u64().unwrap(), german["missing_images"].as_u64().unwrap());
    assert!(images > 10 && missing > 10 && images + missing == 50, "{german}");
    assert_eq!(german["pairing"]["captions"][0]["matched"], 100);

    let text = lab.run(&format!("{eval} --language de=german --report out.html")).succeeded().out;
    let line = text.lines().find(|line| line.starts_with("de ")).unwrap();
    assert_eq!(line.split_whitespace().nth(2), Some(missing.to_string().as_str()), "{text}");
    assert!(String::from_utf8(lab.read("out.html")).unwrap().contains("Languages"));
    for (option, code, words) in [
        ("--language german", 2, ["NAME=FEATURES", "de="]),
        ("--language xx=foreign", 2, ["xx=foreign", "none of the 50 evaluated images"]),
        ("--language xx=other", 1, ["another-model", "language"]),
    ] {
        lab.run(&format!("{eval} {option}")).failed(code, &words);
    }
}

#[test]
fn notes_on_classes_are_printed() {
    let lab = benchmark::lab();
    let classify = benchmark::command(&lab, "classify", "image_folder", "");
    for (index, name) in ["0", "1", "2", "10", "11", "100"].into_iter().enumerate() {
        let folder = lab.path("image_folder");
        std::fs::rename(folder.join(format!("n{index:02}")), folder.join(name)).unwrap();
    }
    let note = "in the order of the numbers";
    let text = lab.run(&classify).succeeded().out;
    assert!(text.contains("note: ") && text.contains(note), "{text}");
    let found = lab.run(&format!("{classify} --json --report out.html")).json();
    assert!(found["notes"][0].as_str().unwrap().contains(note), "{found}");
    assert!(String::from_utf8(lab.read("out.html")).unwrap().contains(note));
}

/// The reader of the output, such as `head`, may stop reading.
#[cfg(unix)]
#[test]
fn broken_pipes_are_quiet() {
    let lab = benchmark::lab();
    let eval = benchmark::command(&lab, "winoground", "winoground", "");
    for arguments in [
        "completions bash",
        "devices",
        "devices --json",
        "head show head.safetensors",
        "--help",
        "eval --help",
        &eval,
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran = lab.run_to_pipe(writer, arguments);
        assert_eq!((ran.code, ran.err.contains("error")), (Some(0), false), "{arguments}: {}", ran.err);
    }
    // Neither are logs and progress.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let code = lab.run_all_to_pipe(writer, &format!("-vvv --progress plain {eval}"));
    assert_eq!(code, Some(0));
}

/// DVC, git-annex and subsets of ImageNet are links.
#[cfg(unix)]
#[test]
fn linked_classes_are_followed_unless_refused() {
    let lab = benchmark::lab();
    let classify = benchmark::command(&lab, "classify", "image_folder", "--json");
    std::fs::create_dir(lab.path("links")).unwrap();
    for entry in std::fs::read_dir(lab.path("image_folder")).unwrap().map(|entry| entry.unwrap()) {
        std::os::unix::fs::symlink(entry.path(), lab.path("links").join(entry.file_name())).unwrap();
    }
    let linked = classify.replace("--data image_folder", "--data links");
    assert_eq!(lab.run(&linked).json(), lab.run(&classify).json());
    lab.run(&format!("{linked} --no-follow-links")).failed(1, &["no class folder"]);
}
