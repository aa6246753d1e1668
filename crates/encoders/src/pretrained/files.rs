//! Selection of the files with the weights of a model.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::ModelError;

/// The library whose files a folder has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// `config.json` and `model.safetensors`, as written by transformers and timm.
    Transformers,
    /// `open_clip_config.json` and `open_clip_model.safetensors`.
    OpenClip,
}

/// Names of transformers and timm in order of preference: safetensors before pickles.
pub(super) const PUBLISHED: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];
/// Names of OpenCLIP in order of preference.
pub(super) const OPEN_CLIP: [&str; 4] = [
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
];
/// Extensions of a single file with any name.
const ENDINGS: [&str; 5] = [".safetensors", ".bin", ".pt", ".pth", ".pth.tar"];
/// Other files with these extensions, as written by training scripts.
const NOT_WEIGHTS: [&str; 5] =
    ["training_args.bin", "optimizer.pt", "optimizer.bin", "scheduler.pt", "rng_state.pth"];

/// The files with the weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WeightFiles {
    /// A single file.
    Single(String),
    /// An index of shards.
    Index(String),
}

impl WeightFiles {
    /// Selects from the names of a folder; `folder` is its name in errors.
    pub(super) fn choose(folder: &str, names: &[&str], layout: Layout) -> Result<Self, ModelError> {
        let published = match layout {
            Layout::Transformers => PUBLISHED,
            Layout::OpenClip => OPEN_CLIP,
        };
        if let Some(name) = published.into_iter().find(|published| names.contains(published)) {
            let name = name.to_owned();
            return Ok(if name.ends_with(".json") { Self::Index(name) } else { Self::Single(name) });
        }
        let is_weights = |name: &&str| {
            ENDINGS.iter().any(|ending| name.ends_with(ending))
                && !name.contains('/')
                && !NOT_WEIGHTS.contains(name)
        };
        let mut others: Vec<&str> = names.iter().copied().filter(is_weights).collect();
        others.sort_unstable();
        match others[..] {
            [name] => Ok(Self::Single(name.to_owned())),
            [] => {
                let looked_for = published.iter().map(|name| (*name).to_owned());
                let any = ENDINGS.iter().map(|ending| format!("a single *{ending}"));
                Err(ModelError::Missing {
                    folder: folder.to_owned(),
                    what: "weights",
                    looked_for: looked_for.chain(any).collect(),
                })
            }
            _ => Err(ModelError::Format {
                path: folder.into(),
                reason: format!(
                    "ambiguous weights, {}: rename the right file to `{}`",
                    others.join(", "),
                    if others.iter().any(|name| name.ends_with(".safetensors")) {
                        published[0]
                    } else {
                        published[2]
                    },
                ),
            }),
        }
    }
}

/// Returns the names of the shards in an index, sorted. They must be plain file names, which cannot lead out of the folder.
pub(super) fn shards(path: &Path, index: &Value) -> Result<BTreeSet<String>, ModelError> {
    let format = |reason: String| ModelError::Format { path: path.to_owned(), reason };
    let map = index
        .get("weight_map")
        .and_then(Value::as_object)
        .ok_or_else(|| format("no `weight_map` from tensors to files".into()))?;
    let mut shards = BTreeSet::new();
    for (tensor, file) in map {
        let is_shard = |file: &&str| is_plain(file) && ENDINGS.iter().any(|ending| file.ends_with(ending));
        let file = file.as_str().filter(is_shard).ok_or_else(|| {
            format(format!(
                "the file of `{tensor}` is {file}, expected the name of a file in the same folder"
            ))
        })?;
        shards.insert(file.to_owned());
    }
    if shards.is_empty() {
        return Err(format("empty `weight_map`".into()));
    }
    Ok(shards)
}

/// Returns whether a name consists of letters, digits, `-`, `_` and `.`, and so is a file in the same folder.
pub(super) fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.len() <= 255 && !name.starts_with('.') && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn choose(names: &[&str]) -> Result<WeightFiles, String> {
        WeightFiles::choose("folder", names, Layout::Transformers).map_err(|error| error.to_string())
    }

    #[test]
    fn prefers_standard_names_then_a_single_file() {
        let single = |name: &str| Ok(WeightFiles::Single(name.into()));
        let index = |name: &str| Ok(WeightFiles::Index(name.into()));
        let mut names = vec!["pytorch_model.bin.index.json", "x.pth", "config.json"];
        assert_eq!(choose(&names), index("pytorch_model.bin.index.json"));
        names.push("pytorch_model.bin");
        assert_eq!(choose(&names), single("pytorch_model.bin"));
        names.push("model.safetensors.index.json");
        assert_eq!(choose(&names), index("model.safetensors.index.json"));
        names.push("model.safetensors");
        assert_eq!(choose(&names), single("model.safetensors"));
        assert_eq!(choose(&["training_args.bin", "efficientnet.pth"]), single("efficientnet.pth"));
        assert_eq!(choose(&["IN1K-vit.h.14-300e.pth.tar"]), single("IN1K-vit.h.14-300e.pth.tar"));

        let mut names = vec!["pytorch_model.bin"];
        for preferred in OPEN_CLIP.iter().rev() {
            names.push(preferred);
            let found = WeightFiles::choose("folder", &names, Layout::OpenClip).unwrap();
            assert_eq!(found, WeightFiles::Single((*preferred).into()));
        }
    }

    #[test]
    fn rejects_missing_and_ambiguous_weights() {
        let none = choose(&["config.json", "onnx/model.bin"]).unwrap_err();
        assert!(none.starts_with("folder has no weights: looked for model.safetensors, "), "{none}");
        assert!(none.ends_with("a single *.pth, a single *.pth.tar"), "{none}");
        let several = choose(&["b.pt", "a.bin"]).unwrap_err();
        assert!(several.contains("ambiguous weights, a.bin, b.pt"), "{several}");
        assert!(several.ends_with("rename the right file to `pytorch_model.bin`"), "{several}");
    }

    #[test]
    fn index_must_not_name_files_outside_the_folder() {
        let read = |index: Value| shards(Path::new("index.json"), &index).map_err(|error| error.to_string());
        let good =
            read(json!({"weight_map": {"b": "2.safetensors", "a": "1.safetensors", "c": "1.safetensors"}}));
        assert_eq!(good.unwrap().into_iter().collect::<Vec<_>>(), ["1.safetensors", "2.safetensors"]);

        for file in [
            "../secret.bin",
            "/etc/shadow.bin",
            "a/b.bin",
            "..",
            ".",
            "",
            ".hidden.bin",
            "C:x.bin",
            "a\\b.bin",
            "a\0.bin",
            "a.bin?x=1",
            "a.bin#x",
            "%2e%2e.bin",
            "config.json",
            "a b.bin",
            "ä.bin",
        ] {
            let error = read(json!({"weight_map": {"a": "ok.bin", "w": file}})).unwrap_err();
            assert!(error.contains("the file of `w` is"), "{file:?}: {error}");
        }
        for index in [
            json!({"weight_map": {"w": 3}}),
            json!({"weight_map": {"w": null}}),
            json!({"weight_map": {}}),
            json!({"weight_map": []}),
            json!({}),
            json!([]),
            json!(null),
            json!("weight_map"),
        ] {
            assert!(read(index.clone()).is_err(), "{index}");
        }
    }
}
