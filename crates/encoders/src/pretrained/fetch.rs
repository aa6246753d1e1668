//! Models from the hub.

use std::path::{Path, PathBuf};

use sail_hub::{HubOptions, RepoId, RepoKind, Repository};

use super::configuration;
use super::files::{WeightFiles, is_plain, shards};
use super::modules::{self, Module, WEIGHTS};
use super::small_file::{MAX_JSON, read_json};
use super::{ModelError, ModelFolder};
use crate::text::limit::SENTENCE_CONFIGS;

/// The file with the prompts of a model of sentence-transformers.
const PROMPTS: &str = "config_sentence_transformers.json";
/// The files that are fetched in addition to the weights, if the folder of a backbone has them.
const BACKBONE_FILES: [&str; 8] = [
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
];

/// Fetches the configuration, preprocessing, tokenizer, modules and weights of a model unless the cache has them; no code.
///
/// A complete snapshot in the cache is used without a connection even if the branch has moved since, unless
/// [`refresh`](HubOptions::refresh) is set. [`ModelFolder::revision`] is the commit.
pub(super) fn fetch(id: &RepoId, options: &HubOptions) -> Result<ModelFolder, ModelError> {
    let repository = Repository::new(RepoKind::Model, id, options)?;
    if let Some(snapshot) = repository.cached()
        && (repository.is_offline() || !options.refresh && knows(&repository, &snapshot))
        && let Ok(folder) = ModelFolder::open(snapshot)
    {
        return Ok(folder);
    }
    let listing = repository.list()?;
    let get = |name: &str, what| -> Result<PathBuf, ModelError> {
        if listing.contains(name) {
            return Ok(listing.fetch(name)?);
        }
        let (folder, looked_for) = (id.name().to_owned(), vec![name.to_owned()]);
        Err(ModelError::Missing { folder, what, looked_for })
    };
    let modules = match listing.contains(modules::FILE) {
        true => modules::read(listing.fetch(modules::FILE)?.parent().unwrap_or(Path::new("")))?,
        false => Vec::new(),
    };
    let backbone = |name: &str| modules.first().map_or_else(|| name.to_owned(), |first| first.file(name));
    let prefix = backbone("");
    let names = listing.files().filter_map(|name| name.strip_prefix(prefix.as_str()));
    let names: Vec<&str> = names.filter(|name| is_plain(name)).collect();
    let mut folder = PathBuf::new();
    for name in [configuration::ADAPTER, configuration::OPEN_CLIP, configuration::TRANSFORMERS] {
        if names.contains(&name) {
            folder = listing.fetch(&backbone(name))?.parent().unwrap_or(Path::new("")).to_owned();
        }
    }
    let (_, layout) = configuration::read(&folder, id.name(), &names)?;
    let weights = WeightFiles::choose(id.name(), &names, layout)?;
    let (present, absent): (Vec<String>, Vec<String>) =
        small_files(&modules).into_iter().partition(|name| listing.contains(name));
    listing.fetch_all(&present)?;
    absent.iter().try_for_each(|name| listing.set_absent(name))?;
    for module in modules.iter().filter(|module| module.kind.has_weights()) {
        let [preferred, other] = WEIGHTS.map(|name| module.file(name));
        get(if listing.contains(&preferred) { &preferred } else { &other }, "weights")?;
    }
    match weights {
        WeightFiles::Single(name) => drop(get(&backbone(&name), "weights")?),
        WeightFiles::Index(name) => {
            let index = get(&backbone(&name), "weights")?;
            let shards = shards(&index, &read_json(&index, MAX_JSON)?.unwrap_or_default())?;
            let shards: Vec<String> = shards.iter().map(|shard| backbone(shard)).collect();
            if let Some(missing) = shards.iter().find(|shard| !listing.contains(shard)) {
                get(missing, "shard")?;
            }
            listing.fetch_all(&shards)?;
        }
    }
    ModelFolder::open(listing.finish()?)
}

/// Returns whether the cache records of every small file of a snapshot whether the repository has it.
fn knows(repository: &Repository<'_>, snapshot: &Path) -> bool {
    let names = modules::read(snapshot).map(|modules| small_files(&modules));
    names.is_ok_and(|names| repository.knows(snapshot, &names.iter().map(String::as_str).collect::<Vec<_>>()))
}

/// Returns the names of the files other than weights that a model with these modules may have.
fn small_files(modules: &[Module]) -> Vec<String> {
    let backbone = |name: &str| modules.first().map_or_else(|| name.to_owned(), |first| first.file(name));
    let mut names: Vec<String> = [modules::FILE, PROMPTS].map(str::to_owned).into();
    names.extend(BACKBONE_FILES.iter().map(|name| backbone(name)));
    names.extend(SENTENCE_CONFIGS.iter().map(|name| backbone(name)));
    names.extend(modules.iter().skip(1).map(|module| module.file("config.json")));
    names
}
