//! Runs the documented command lines whose data is in the repository.

use std::path::Path;

use crate::console::documented;
use crate::lab::Lab;

/// In one folder and in order: a page may use the files of an earlier command.
#[test]
fn documented_commands_with_example_data_succeed() {
    let lab = Lab::empty();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data");
    std::fs::create_dir_all(lab.path("examples/data")).unwrap();
    for file in ["emoji-features.safetensors", "emoji-rows.json"] {
        std::fs::copy(data.join(file), lab.path("examples/data").join(file)).unwrap();
    }
    let commands: Vec<_> = documented().into_iter().filter(|command| command.runnable).collect();
    assert!(commands.len() >= 8, "found {}", commands.len());
    for command in commands {
        println!("{}", command.source);
        lab.run(&command.words[1..].join(" ")).succeeded();
    }
}
