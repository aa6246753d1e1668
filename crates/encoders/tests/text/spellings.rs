//! Checkpoints with the names that transformers 5 has in memory instead of those on the hub.

use std::fs;

use burn::tensor::Device;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use sail_core::{Dtype, TokenIds};

use crate::bad_input::Copy;
use crate::open_text_tower;

/// Parts of names on the hub with their replacements; a tensor with several is cut into rows.
type Names = &'static [(&'static str, &'static [&'static str])];

const QKV: &[&str] = &[".self_attn.q_proj.", ".self_attn.k_proj.", ".self_attn.v_proj."];

const GTE: Names = &[
    ("encoder.layer.", &["layers."]),
    (".attention.qkv_proj.", QKV),
    (".attention.o_proj.", &[".self_attn.o_proj."]),
    (".attn_ln.", &[".post_attention_layernorm."]),
    (".mlp.up_gate_proj.", &[".mlp.up_proj.", ".mlp.gate_proj."]),
    (".mlp_ln.", &[".post_mlp_layernorm."]),
];
const NOMIC: Names = &[
    ("emb_ln.", &["embeddings.LayerNorm."]),
    ("encoder.layers.", &["layers."]),
    (".attn.Wqkv.", QKV),
    (".attn.out_proj.", &[".self_attn.o_proj."]),
    (".norm1.", &[".post_attention_layernorm."]),
    (".mlp.fc11.", &[".mlp.up_proj."]),
    (".mlp.fc12.", &[".mlp.gate_proj."]),
    (".mlp.fc2.", &[".mlp.down_proj."]),
    (".norm2.", &[".post_mlp_layernorm."]),
];
const JINA: Names = &[
    ("emb_ln.", &["embeddings.LayerNorm."]),
    ("encoder.layers.", &["layers."]),
    (".mixer.Wqkv.", QKV),
    (".mixer.out_proj.", &[".self_attn.o_proj."]),
    (".norm1.", &[".post_attention_layernorm."]),
    (".norm2.", &[".post_mlp_layernorm."]),
];
/// A text tower of CLIP by itself has no prefix in memory.
const CLIP: Names = &[("text_model.", &[""])];

fn rewrite(copy: &Copy, names: Names) {
    let path = copy.path("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors = Vec::new();
    for (name, tensor) in file.iter() {
        let mut targets = vec![name.to_owned()];
        for (part, replacements) in names {
            let replaced = |target: String| -> Vec<String> {
                match target.contains(part) {
                    true => replacements.iter().map(|new| target.replace(part, new)).collect(),
                    false => vec![target],
                }
            };
            targets = targets.into_iter().flat_map(replaced).collect();
        }
        let mut shape = tensor.shape().to_vec();
        if targets.len() > 1 {
            shape[0] /= targets.len();
        }
        let parts = tensor.data().chunks_exact(tensor.data().len() / targets.len());
        tensors.extend(
            targets.into_iter().zip(parts).map(|(target, part)| {
                (target, TensorView::new(tensor.dtype(), shape.clone(), part).unwrap())
            }),
        );
    }
    let bytes = safetensors::serialize(tensors, None).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn names_of_transformers_5_give_the_same_embeddings() {
    let texts = [TokenIds(vec![3, 7, 12, 30, 1]), TokenIds(vec![5, 1])];
    for (model, names) in [("gte", GTE), ("nomic_bert", NOMIC), ("jina", JINA), ("clip_projection", CLIP)] {
        let copy = Copy::of(model);
        let embed = || {
            let tower = open_text_tower(copy.folder(), Dtype::F32, &Device::flex()).unwrap();
            tower.embed(&texts).unwrap().into_data().try_to_vec::<f32>().unwrap()
        };
        let expected = embed();
        rewrite(&copy, names);
        assert_eq!(embed(), expected, "{model}");
    }
}
