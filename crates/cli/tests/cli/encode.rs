//! `sail encode`.

use crate::lab::Lab;

const IMAGES: &str = "encode images --model model --input images --out store";
const TEXTS: &str = "encode texts --model model --input captions.jsonl --out store";

#[test]
fn rejects_invalid_settings() {
    let lab = Lab::empty();
    for command in [IMAGES, TEXTS] {
        for (change, words) in [
            ("--part 3/2", ["'3/2' for '--part", "from 1 to N"]),
            ("--part 0/2", ["'0/2' for '--part", "from 1 to N"]),
            ("--part half", ["'half' for '--part", "from 1 to N"]),
            ("--batch 0", ["`block` is 0", "at least 1"]),
            ("--limit 0", ["`limit` is 0", "at least 1"]),
            ("--dtype f64", ["'f64'", "[possible values: f16, bf16, f32, int8]"]),
            ("--device abacus", ["`abacus`", "expected one of cpu"]),
        ] {
            lab.refuses(&format!("{command} {change}"), 2, &words);
        }
        for (change, words) in [
            ("--pooling most", ["'most'", "class"]),
            ("--precision f64", ["'f64'", "[possible values: f16, bf16, f32]"]),
            ("--colour blue", ["--colour", "unexpected"]),
            ("--batch -1", ["-1", "unexpected"]),
        ] {
            lab.refuses(&format!("{command} {change}"), 2, &words);
        }
    }
    assert_eq!(lab.run("encode images --input images --out store").code, Some(2));
}

#[test]
fn existing_folders_are_not_overwritten() {
    let lab = Lab::empty();
    std::fs::create_dir(lab.path("store")).unwrap();
    std::fs::write(lab.path("store/notes.txt"), "mine").unwrap();
    for command in [IMAGES, TEXTS] {
        lab.refuses(command, 2, &["store exists", "choose another folder, or resume"]);
        lab.refuses(&format!("{command} --resume"), 2, &["store contains no extraction to resume"]);
    }
}

#[test]
#[cfg(not(feature = "objects"))]
fn builds_without_object_stores_say_so() {
    let lab = Lab::empty();
    for command in [
        "encode images --model model --input s3://bucket/shards --out store",
        "encode texts --model model --input captions.jsonl --out s3://bucket/texts",
        "train --images s3://bucket/images --texts texts --out run",
    ] {
        lab.refuses(command, 2, &["s3://bucket", "has no object stores", "--features objects"]);
    }
}
