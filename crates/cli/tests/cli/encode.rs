//! `sail encode`, as far as it goes without a model.

use crate::lab::Lab;

const IMAGES: &str = "encode images --model model --input images --out store";
const TEXTS: &str = "encode texts --model model --input captions.jsonl --out store";

#[test]
fn settings_out_of_their_range_are_wrong_usage() {
    let lab = Lab::empty();
    for command in [IMAGES, TEXTS] {
        for (change, words) in [
            ("--part 3/2", ["`part` is `3/2`", "from 1 to N"]),
            ("--part 0/2", ["`part` is `0/2`", "from 1 to N"]),
            ("--part half", ["`part` is `half`", "from 1 to N"]),
            ("--batch 0", ["`block` is 0", "at least 1"]),
            ("--limit 0", ["`limit` is 0", "at least 1"]),
            ("--dtype f64", ["`f64`", "f16"]),
            ("--device abacus", ["`abacus`", "flex"]),
            ("--resume", ["store contains no extraction to resume", "encode.json"]),
        ] {
            lab.refuses(&format!("{command} {change}"), 2, &words);
        }
        for change in ["--pooling max", "--precision f64", "--colour blue", "--batch -1"] {
            assert_eq!(lab.run(&format!("{command} {change}")).code, Some(2), "{change}");
        }
    }
    assert_eq!(lab.run("encode images --input images --out store").code, Some(2));
}

#[test]
fn nothing_is_written_over() {
    let lab = Lab::empty();
    std::fs::create_dir(lab.path("store")).unwrap();
    for command in [IMAGES, TEXTS] {
        lab.refuses(command, 2, &["store exists", "choose another folder, or resume"]);
        lab.refuses(&format!("{command} --resume"), 2, &["store contains no extraction to resume"]);
    }
}
