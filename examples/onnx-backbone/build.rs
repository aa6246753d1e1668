//! Turns `model/tiny_vit.onnx` into Rust: a burn module with the graph as its `forward`, and its weights.

use burn_onnx::{LoadStrategy, ModelGen};

fn main() {
    println!("cargo::rerun-if-changed=model/tiny_vit.onnx");
    ModelGen::new()
        .input("model/tiny_vit.onnx")
        .out_dir("model")
        // For weights of megabytes `LoadStrategy::File` keeps them beside the program instead of inside.
        .load_strategy(LoadStrategy::Embedded)
        .run_from_script();
}
