//! Generates a burn module from `model/tiny_vit.onnx`: the graph as `forward`, and the weights.

use burn_onnx::{LoadStrategy, ModelGen};

fn main() {
    println!("cargo::rerun-if-changed=model/tiny_vit.onnx");
    ModelGen::new()
        .input("model/tiny_vit.onnx")
        .out_dir("model")
        // For large weights, `LoadStrategy::File` stores them in a file instead of in the binary.
        .load_strategy(LoadStrategy::Embedded)
        .run_from_script();
}
