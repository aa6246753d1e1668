//! Which files of a model hold its weights.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::ModelError;

/// Published names in the order of preference: safetensors are mapped and checked more simply than pickles.
const PUBLISHED: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];
/// Endings of a file that may have any name, if it is the only one.
const ENDINGS: [&str; 4] = [".safetensors", ".bin", ".pt", ".pth"];
/// What a training script leaves beside the weights under such endings.
const NOT_WEIGHTS: [&str; 5] =
    ["training_args.bin", "optimizer.pt", "optimizer.bin", "scheduler.pt", "rng_state.pth"];

/// Where the weights are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WeightFiles {
    /// One file.
    Single(String),
    /// An index that names the shards.
    Index(String),
}

impl WeightFiles {
    /// Chooses among the names of a folder; `folder` is what an error calls it.
    pub(super) fn choose<'a>(
        folder: &str,
        names: impl Iterator<Item = &'a str> + Clone,
    ) -> Result<Self, ModelError> {
        if let Some(name) =
            PUBLISHED.into_iter().find(|published| names.clone().any(|name| name == *published))
        {
            let name = name.to_owned();
            return Ok(if name.ends_with(".json") { Self::Index(name) } else { Self::Single(name) });
        }
        let is_weights = |name: &&str| {
            ENDINGS.iter().any(|ending| name.ends_with(ending))
                && !name.contains('/')
                && !NOT_WEIGHTS.contains(name)
        };
        let mut others: Vec<&str> = names.filter(is_weights).collect();
        others.sort_unstable();
        match others[..] {
            [name] => Ok(Self::Single(name.to_owned())),
            [] => {
                let looked_for = PUBLISHED.iter().map(|name| (*name).to_owned());
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
                    "any of {} could be its weights: rename the right one to `{}`",
                    others.join(", "),
                    if others.iter().any(|name| name.ends_with(".safetensors")) {
                        PUBLISHED[0]
                    } else {
                        PUBLISHED[2]
                    },
                ),
            }),
        }
    }
}

/// The shards that an index names, in the order of names.
///
/// A name must be a plain file name: an index cannot lead out of its folder.
pub(super) fn shards(path: &Path, index: &Value) -> Result<BTreeSet<String>, ModelError> {
    let format = |reason: String| ModelError::Format { path: path.to_owned(), reason };
    let map = index
        .get("weight_map")
        .and_then(Value::as_object)
        .ok_or_else(|| format("it has no `weight_map` from tensors to files".into()))?;
    let mut shards = BTreeSet::new();
    for (tensor, file) in map {
        let is_shard = |file: &&str| is_plain(file) && ENDINGS.iter().any(|ending| file.ends_with(ending));
        let file = file.as_str().filter(is_shard).ok_or_else(|| {
            format(format!("it places `{tensor}` in {file}, expected the name of a file in the same folder"))
        })?;
        shards.insert(file.to_owned());
    }
    if shards.is_empty() {
        return Err(format("its `weight_map` names no tensors".into()));
    }
    Ok(shards)
}

/// Whether a name can be a file of the same folder and part of an address: letters, digits, `-`, `_` and `.`.
pub(super) fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.len() <= 255 && !name.starts_with('.') && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn choose(names: &[&str]) -> Result<WeightFiles, String> {
        WeightFiles::choose("folder", names.iter().copied()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_published_order_then_the_only_file() {
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
    }

    #[test]
    fn none_and_several_are_errors_that_say_what_to_do() {
        let none = choose(&["config.json", "onnx/model.bin"]).unwrap_err();
        assert!(none.starts_with("folder has no weights: looked for model.safetensors, "), "{none}");
        assert!(none.ends_with("a single *.pth"), "{none}");
        let several = choose(&["b.pt", "a.bin"]).unwrap_err();
        assert!(several.contains("any of a.bin, b.pt could be its weights"), "{several}");
        assert!(several.ends_with("rename the right one to `pytorch_model.bin`"), "{several}");
    }

    #[test]
    fn an_index_names_files_of_its_own_folder_only() {
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
            assert!(error.contains("places `w` in"), "{file:?}: {error}");
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
