//! `sail eval segment`: what it refuses before a model is loaded. `examples/segmentation.py` runs it on real models.

use crate::lab::Lab;

const COMMAND: &str = "eval segment --data scenes --head head.safetensors --vision vision --text text";

#[test]
fn layouts_and_data_that_are_not_there_are_refused() {
    let lab = Lab::empty();
    let with = |options: &str| format!("{COMMAND} {options}");
    lab.refuses(&with("--layout pascal"), 2, &["layout", "pascal", "voc21"]);
    lab.refuses(&with("--layout folder --limit 0"), 2, &["limit", "at least 1"]);
    lab.refuses(&with("--layout ade20k"), 1, &["scenes", "images/validation"]);
    for folder in ["scenes/images", "scenes/masks"] {
        std::fs::create_dir_all(lab.path(folder)).unwrap();
    }
    lab.refuses(&with("--layout folder"), 1, &["classes.txt"]);
}
