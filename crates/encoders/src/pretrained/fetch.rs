//! Models from the hub.

use std::path::PathBuf;

use sail_hub::{HubOptions, RepoId, RepoKind, Repository};

use super::files::{WeightFiles, is_plain, shards};
use super::small_file::{MAX_JSON, read_json};
use super::{ModelError, ModelFolder};

/// The files that are fetched in addition to the weights, if a model has them.
const OTHER_FILES: [&str; 12] = [
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
];

/// Fetches the configuration, preprocessing, tokenizer and weights of a model unless the cache has them; no code.
///
/// A complete snapshot in the cache is used without a connection even if the branch has moved since, unless
/// [`refresh`](HubOptions::refresh) is set. [`ModelFolder::revision`] is the commit.
pub(super) fn fetch(id: &RepoId, options: &HubOptions) -> Result<ModelFolder, ModelError> {
    let repository = Repository::new(RepoKind::Model, id, options)?;
    if let Some(snapshot) = repository.cached()
        && (repository.is_offline() || !options.refresh && repository.knows(&snapshot, &OTHER_FILES))
        && let Ok(folder) = ModelFolder::open(snapshot)
    {
        return Ok(folder);
    }
    let listing = repository.list()?;
    let has = |name: &str, what| match listing.contains(name) {
        true => Ok(()),
        false => {
            let (folder, looked_for) = (id.name().to_owned(), vec![name.to_owned()]);
            Err(ModelError::Missing { folder, what, looked_for })
        }
    };
    let get = |name: &str, what| -> Result<PathBuf, ModelError> {
        has(name, what)?;
        Ok(listing.fetch(name)?)
    };
    let weights = WeightFiles::choose(id.name(), listing.files().filter(|name| is_plain(name)))?;
    get("config.json", "configuration")?;
    let (present, absent): (Vec<&str>, Vec<&str>) =
        OTHER_FILES.into_iter().partition(|name| listing.contains(name));
    listing.fetch_all(&present)?;
    absent.into_iter().try_for_each(|name| listing.set_absent(name))?;
    match weights {
        WeightFiles::Single(name) => drop(get(&name, "weights")?),
        WeightFiles::Index(name) => {
            let index = get(&name, "weights")?;
            let shards = shards(&index, &read_json(&index, MAX_JSON)?.unwrap_or_default())?;
            shards.iter().try_for_each(|shard| has(shard, "shard"))?;
            listing.fetch_all(&shards.into_iter().collect::<Vec<_>>())?;
        }
    }
    ModelFolder::open(listing.finish()?)
}
