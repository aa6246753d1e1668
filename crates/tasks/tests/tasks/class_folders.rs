//! Class folders as people have them. The scores of `image_folder`, whose folders are WordNet ids in the order of their
//! names, are those of the published script; other names of the same folders have the same scores.

use std::fs;
use std::path::{Path, PathBuf};

use sail_data::source::SourceOptions;
use sail_tasks::{ClassificationResult, LabelledImages, PairingError, TaskError, classify};

use crate::lab::{Lab, fixture};

const NAMES: [&str; 6] = ["tree", "red bird", "house", "dog", "cat", "blue door"];

fn score(lab: &Lab, folder: &Path) -> ClassificationResult {
    let data = LabelledImages::open(folder, "test", None, &SourceOptions::default()).unwrap();
    lab.cached(|model, cache| classify(model, &data, cache)).unwrap()
}

fn published(lab: &Lab) -> ClassificationResult {
    score(lab, &fixture("image_folder"))
}

/// Copies the data set with other names of its folders.
fn renamed(lab: &Lab, names: [&str; 6]) -> PathBuf {
    let folder = lab.copy("image_folder");
    for (index, name) in names.iter().enumerate() {
        fs::rename(folder.join(format!("n{index:02}")), folder.join(name)).unwrap();
    }
    folder
}

/// Compares everything but the notes.
fn assert_same(found: &ClassificationResult, expected: &ClassificationResult) {
    let expected = ClassificationResult { notes: found.notes.clone(), ..expected.clone() };
    assert_eq!(*found, expected);
}

#[test]
fn numbered_folders_take_the_names_in_the_order_of_the_numbers() {
    for names in [
        ["0", "1", "2", "10", "11", "100"],
        ["class_7", "class_8", "class_9", "class_10", "class_11", "class_12"],
        ["1.tree", "2.bird", "3.house", "9.dog", "10.cat", "11.door"],
    ] {
        let lab = Lab::new();
        let found = score(&lab, &renamed(&lab, names));
        assert_same(&found, &published(&lab));
        assert!(found.notes[0].contains("in the order of the numbers"), "{:?}", found.notes);
    }
}

#[test]
fn folders_take_the_names_that_they_have() {
    let lab = Lab::new();
    let folder = renamed(&lab, NAMES.map(|name| if name == "red bird" { "Red_bird" } else { name }));
    // Names, or lines that begin with the folder, in any order.
    let mut lines = NAMES.map(str::to_owned);
    lines.reverse();
    fs::write(folder.join("classnames.txt"), format!("\u{feff}{}\r\n", lines.join("\r\n"))).unwrap();
    let (found, expected) = (score(&lab, &folder), published(&lab));
    assert_eq!((found.scores.top1, found.classes.as_slice()), (expected.scores.top1, &lines[..]));
    let mut per_class = expected.scores.per_class.clone();
    per_class.reverse();
    assert_eq!(found.scores.per_class, per_class);

    let lab = Lab::new();
    let folder = lab.copy("image_folder");
    let lines: Vec<String> = (0..6).rev().map(|class| format!("n{class:02} {}", NAMES[class])).collect();
    fs::write(folder.join("classnames.txt"), lines.join("\n")).unwrap();
    let found = score(&lab, &folder);
    assert_eq!((found.scores.top1, found.scores.per_class), (expected.scores.top1, per_class));
    assert_eq!(found.classes[0], "blue door");
}

#[test]
fn order_against_names_is_an_error() {
    let lab = Lab::new();
    let folder = renamed(&lab, ["tree", "bird", "house", "dog", "cat", "door"]);
    let error =
        LabelledImages::open(&folder, "test", None, &SourceOptions::default()).map(|_| ()).unwrap_err();
    let TaskError::Pairing { source, .. } = error else { panic!("{error}") };
    assert!(source.to_string().contains("although another class has its name"), "{source}");
}

#[test]
fn hidden_files_and_folders_are_no_images() {
    let lab = Lab::new();
    let (folder, expected) = (lab.copy("image_folder"), published(&lab));
    let bird = fs::read(folder.join("n01/0.png")).unwrap();
    for name in [
        "n00/.ipynb_checkpoints/0-checkpoint.png",
        "n00/._0.png",
        "n00/deep/@eaDir/0.png",
        ".git/0.png",
        "__MACOSX/n00/._0.png",
        "__MACOSX/n00/0.png",
        "@eaDir/0.png",
    ] {
        lab.write(&format!("image_folder/{name}"), &bird);
    }
    let found = score(&lab, &folder);
    assert_eq!(found, expected);
}

#[test]
fn folders_without_a_usable_image_are_no_classes() {
    let lab = Lab::new();
    let folder = renamed(&lab, NAMES.map(|name| if name == "red bird" { "red_bird" } else { name }));
    fs::remove_file(folder.join("classnames.txt")).unwrap();
    let expected = score(&lab, &folder);
    let mut names = NAMES;
    names.sort();
    assert_eq!(expected.classes, names);
    lab.write("image_folder/notes/readme.txt", "no image");
    lab.write("image_folder/damaged/0.png", "not an image");
    let found = score(&lab, &folder);
    assert_eq!((&found.scores, &found.classes), (&expected.scores, &expected.classes));
    assert_eq!(found.skipped.count, expected.skipped.count + 1);
    assert!(found.notes[0].contains("folders without an image are left out: notes"), "{:?}", found.notes);
    assert!(found.notes[1].contains("without a usable image are left out: damaged"), "{:?}", found.notes);
}

#[test]
fn listed_classes_keep_their_places() {
    let lab = Lab::new();
    let folder = lab.copy("image_folder");
    for image in 0..3 {
        fs::remove_file(folder.join(format!("n02/{image}.png"))).unwrap();
    }
    let (found, expected) = (score(&lab, &folder), published(&lab));
    assert!(found.notes[0].contains("folders without an image keep the places"), "{:?}", found.notes);
    assert_eq!((found.absent_classes, &found.classes), (1, &expected.classes));
    for class in [0, 1, 3, 4, 5] {
        assert_eq!(found.scores.per_class[class], expected.scores.per_class[class]);
    }
    // More folders than names: those without an image are left out.
    let lab = Lab::new();
    let folder = lab.copy("image_folder");
    fs::create_dir(folder.join("a")).unwrap();
    let found = score(&lab, &folder);
    assert!(found.notes[0].contains("folders without an image are left out: a"), "{:?}", found.notes);
    assert_same(&found, &expected);
    // It never takes the place of a numbered class that is missing.
    fs::remove_dir_all(folder.join("n05")).unwrap();
    let found = score(&lab, &folder);
    assert_eq!(found.scores.per_class[..5], expected.scores.per_class[..5]);
    for (index, id) in ["n01440764", "n01443537", "n01484850", "n01491361", "n01494475"].iter().enumerate() {
        fs::rename(folder.join(format!("n{index:02}")), folder.join(id)).unwrap();
    }
    let error =
        LabelledImages::open(&folder, "test", None, &SourceOptions::default()).map(|_| ()).unwrap_err();
    let TaskError::Pairing { source, .. } = error else { panic!("{error}") };
    assert_eq!(source, PairingError::Count { names: 6, folders: 5 });
}

#[test]
fn classes_of_one_name_are_one_class() {
    let lab = Lab::new();
    let folder = lab.copy("image_folder");
    // Half of the trees are in a folder of their own.
    fs::create_dir(folder.join("n06")).unwrap();
    fs::rename(folder.join("n00/2.png"), folder.join("n06/2.png")).unwrap();
    fs::write(folder.join("classnames.txt"), format!("{}\nTree\n", NAMES.join("\n"))).unwrap();
    let (found, expected) = (score(&lab, &folder), published(&lab));
    assert_eq!((&found.scores, &found.classes), (&expected.scores, &expected.classes));
    assert_eq!(found.merged_classes, 1);
    assert!(found.notes[0].contains("one with another of their name: Tree"), "{:?}", found.notes);
}

#[test]
fn identifiers_without_names_are_pointed_out() {
    for names in [["0", "1", "2", "3", "4", "5"], ["n01440764", "n01443537", "n1", "n2", "n3", "n4"]] {
        let lab = Lab::new();
        let folder = renamed(&lab, names);
        fs::remove_file(folder.join("classnames.txt")).unwrap();
        let found = score(&lab, &folder);
        assert_eq!(found.notes.len(), usize::from(names[0] == "0"), "{:?}", found.notes);
    }
}

#[test]
fn folders_of_splits_are_refused() {
    let lab = Lab::new();
    for split in ["train", "val"] {
        lab.write(&format!("data/{split}/cat/0.png"), "");
    }
    let open =
        || LabelledImages::open(&lab.path("data"), "test", None, &SourceOptions::default()).map(|_| ());
    let error = open().unwrap_err().to_string();
    assert!(error.contains("splits instead of class folders") && error.ends_with("data/train"), "{error}");
    // Classes that are called so.
    lab.write("data/train/0.png", "");
    lab.write("data/val/0.png", "");
    open().unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_utf8_are_named() {
    use std::os::unix::ffi::OsStrExt;

    let lab = Lab::new();
    let folder = lab.copy("image_folder");
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9");
    fs::create_dir(folder.join(name)).unwrap();
    fs::copy(folder.join("n00/0.png"), folder.join(name).join("0.png")).unwrap();
    let found = score(&lab, &folder);
    assert_same(&found, &ClassificationResult { skipped: found.skipped.clone(), ..published(&lab) });
    assert_eq!(found.skipped.count, 2);
    assert!(found.skipped.first.iter().any(|skip| skip.reason.contains("not valid UTF-8")), "{found:?}");
}

/// Classes and images that are links, as DVC, git-annex and subsets of ImageNet have them.
#[cfg(unix)]
#[test]
fn links_are_followed_if_asked() {
    use std::os::unix::fs::symlink;

    let lab = Lab::new();
    let (real, expected) = (lab.copy("image_folder"), published(&lab));
    let links = lab.path("links");
    fs::create_dir(&links).unwrap();
    fs::copy(real.join("classnames.txt"), links.join("classnames.txt")).unwrap();
    fs::copy(real.join("cover.png"), links.join("cover.png")).unwrap();
    for class in 0..5 {
        symlink(real.join(format!("n{class:02}")), links.join(format!("n{class:02}"))).unwrap();
    }
    fs::create_dir(links.join("n05")).unwrap();
    for image in 0..3 {
        symlink(real.join(format!("n05/{image}.png")), links.join(format!("n05/{image}.png"))).unwrap();
    }
    let open = |options: &SourceOptions| LabelledImages::open(&links, "test", None, options);
    let data = open(&SourceOptions { follow_links: true, ..SourceOptions::default() }).unwrap();
    let found = lab.cached(|model, cache| classify(model, &data, cache)).unwrap();
    assert_same(&found, &expected);
    fs::remove_file(links.join("cover.png")).unwrap();
    let error = open(&SourceOptions::default()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("all 8 images are unusable, first `n00`: it is a link"), "{error}");
    // A link to a folder that contains it ends nothing.
    symlink(&links, links.join("n05/loop")).unwrap();
    let data = open(&SourceOptions { follow_links: true, ..SourceOptions::default() }).unwrap();
    let found = lab.cached(|model, cache| classify(model, &data, cache)).unwrap();
    assert_eq!((found.scores, found.skipped.count), (expected.scores, 1));
}

#[test]
fn files_with_other_suffixes_are_counted() {
    let lab = Lab::new();
    let folder = lab.copy("image_folder");
    for name in ["n00/a.nef", "n01/b.NEF", "n01/Thumbs.db"] {
        lab.write(&format!("image_folder/{name}"), "");
    }
    let found = score(&lab, &folder);
    assert_same(&found, &published(&lab));
    assert_eq!(found.notes, ["passed over 3 files: 2 .nef, 1 .db"]);
}
