//! From an id to a folder.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::cache::{CachedRepo, RemoteFile};
use super::client::Client;
use super::{HubError, HubOptions, RepoKind};
use crate::pretrained::files::{WeightFiles, is_plain, shards};
use crate::pretrained::small_file::{MAX_JSON, read_json};
use crate::pretrained::spec::{is_id, is_revision};
use crate::pretrained::{ModelError, ModelFolder};

/// What is fetched beside the weights, where a model has it.
const BESIDE_WEIGHTS: [&str; 12] = [
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

/// Fetches a model by its id, unless the cache has it.
///
/// Configuration, preprocessing, tokenizer and weights come into the cache that the hub's own tools use; nothing else
/// of the model does, and no code. Every file is compared with the checksum that the hub states before it
/// gets its name. A download that broke off is taken up where it ended, by the next call too.
///
/// A complete copy in the cache is used without a connection, even if a branch has moved since: pin a commit to say
/// which one you mean, or set [`refresh`](HubOptions::refresh) to ask. The commit is the
/// [`revision`](ModelFolder::revision) of the result either way.
///
/// # Errors
/// [`ModelError::Hub`] for an id or revision that does not exist or may not be had, no network, an incomplete copy when
/// [`offline`](HubOptions::offline), a file that arrived damaged, a full disk;
/// [`ModelError::Missing`] for a model without configuration or weights that this crate reads.
///
/// # Examples
/// ```no_run
/// use sail_encoders::{HubOptions, fetch};
///
/// let options = HubOptions { revision: Some("main".into()), ..HubOptions::from_env()? };
/// let folder = fetch("sentence-transformers/all-MiniLM-L6-v2", &options)?;
/// assert_eq!(folder.name(), "sentence-transformers/all-MiniLM-L6-v2");
/// # Ok::<(), sail_encoders::ModelError>(())
/// ```
pub fn fetch(id: &str, options: &HubOptions) -> Result<ModelFolder, ModelError> {
    let revision = options.revision.as_deref().unwrap_or("main");
    if !is_id(id) || !is_revision(revision) {
        return Err(HubError::Id(format!("{id}@{revision}")).into());
    }
    let cached = CachedRepo::new(&options.cache, RepoKind::Model, id);
    if let Some(snapshot) = cached.snapshot(revision)
        && (options.offline || !options.refresh && cached.knows(&snapshot, &BESIDE_WEIGHTS))
        && let Ok(folder) = ModelFolder::open(snapshot)
    {
        return Ok(folder);
    }
    if options.offline {
        return Err(HubError::Offline { id: id.to_owned(), cache: options.cache.clone() }.into());
    }

    let client = Client::new(RepoKind::Model, id, options)?;
    let (commit, files) = client.list(revision)?;
    let files: BTreeMap<&str, &RemoteFile> = files.iter().map(|file| (file.name.as_str(), file)).collect();
    let get = |name: &str, what| -> Result<PathBuf, ModelError> {
        let file = files.get(name).ok_or_else(|| ModelError::Missing {
            folder: id.to_owned(),
            what,
            looked_for: vec![name.to_owned()],
        })?;
        Ok(cached.get(&commit, file, |partial| client.download(&commit, file, partial))?)
    };

    let weights = WeightFiles::choose(id, files.keys().copied().filter(|name| is_plain(name)))?;
    get("config.json", "configuration")?;
    for name in BESIDE_WEIGHTS {
        if files.contains_key(name) {
            get(name, "file")?;
        } else {
            cached.set_absent(&commit, name)?;
        }
    }
    match weights {
        WeightFiles::Single(name) => drop(get(&name, "weights")?),
        WeightFiles::Index(name) => {
            let index = get(&name, "weights")?;
            for shard in shards(&index, &read_json(&index, MAX_JSON)?.unwrap_or_default())? {
                get(&shard, "shard")?;
            }
        }
    }
    // Last, so that a revision is known only once it is complete.
    cached.set_ref(revision, &commit)?;
    ModelFolder::open(cached.snapshot_of(&commit))
}
