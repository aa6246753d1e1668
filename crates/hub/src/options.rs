//! Options of the hub.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sail_support::Progress;

use crate::HubError;

/// Progress of the download of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileProgress<'a> {
    /// Name of the file in the repository.
    pub file: &'a str,
    /// Bytes received, of the size of the file.
    pub progress: Progress,
}

/// A callback for progress, called for every received block and once when a file is complete.
///
/// Files are received at the same time, each on a thread of its own.
pub type ProgressFn = Arc<dyn Fn(FileProgress<'_>) + Send + Sync>;

/// A callback that tells whether downloads should stop.
pub type StopFn = Arc<dyn Fn() -> bool + Send + Sync>;

/// Options for fetching from the hub.
#[derive(Clone)]
pub struct HubOptions {
    /// Branch, tag or commit for ids without a revision; `None` is the branch `main`.
    pub revision: Option<String>,
    /// The cache folder, shared with `huggingface_hub` and its relatives.
    pub cache: PathBuf,
    /// Address of the hub.
    pub endpoint: String,
    /// Access token; sent to the endpoint only.
    pub token: Option<String>,
    /// Use the cache only, without network access.
    pub offline: bool,
    /// Ask the hub whether a branch or tag has moved, even if the cache is complete.
    pub refresh: bool,
    /// Callback for progress.
    pub progress: Option<ProgressFn>,
    /// Callback that is asked about ten times a second whether to stop. A stopped download can be resumed.
    pub stop: Option<StopFn>,
    /// Maximum number of files that are received at the same time.
    pub connections: usize,
    /// Maximum number of attempts in a row without progress.
    pub attempts: u32,
    /// Delay before the second attempt; it doubles with each further one. A server may ask for another delay.
    pub retry_delay: Duration,
}

impl HubOptions {
    /// Creates options for a cache folder, without reading the environment.
    ///
    /// # Examples
    /// ```
    /// let options = sail_hub::HubOptions::new("models");
    /// assert_eq!(options.endpoint, "https://huggingface.co");
    /// assert!(!options.offline);
    /// ```
    pub fn new(cache: impl Into<PathBuf>) -> Self {
        Self {
            revision: None,
            cache: cache.into(),
            endpoint: "https://huggingface.co".into(),
            token: None,
            offline: false,
            refresh: false,
            progress: None,
            stop: None,
            connections: 8,
            attempts: 5,
            retry_delay: Duration::from_secs(1),
        }
    }

    /// Creates options from the environment variables of the Hugging Face tools.
    ///
    /// | variable | meaning |
    /// |---|---|
    /// | `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE` | the cache folder |
    /// | `HF_HOME` | the folder of the cache `hub` and of `token`; default `huggingface` in `XDG_CACHE_HOME` or `~/.cache` |
    /// | `HF_ENDPOINT` | address of the hub |
    /// | `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN` | access token |
    /// | `HF_TOKEN_PATH` | file with the token, if no variable has it |
    /// | `HF_HUB_DISABLE_IMPLICIT_TOKEN` | no token is sent |
    /// | `HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE` | use the cache only |
    ///
    /// Connections also respect `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.
    ///
    /// # Errors
    /// Returns [`HubError::NoCache`] if there is neither a variable nor a home folder.
    pub fn from_env() -> Result<Self, HubError> {
        Self::from_vars(|name| std::env::var(name).ok(), std::env::home_dir())
    }

    fn from_vars(var: impl Fn(&str) -> Option<String>, home: Option<PathBuf>) -> Result<Self, HubError> {
        let var =
            |name: &str| var(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let is_set = |name: &str| {
            var(name).is_some_and(|value| {
                ["1", "true", "yes", "on"].contains(&value.to_ascii_lowercase().as_str())
            })
        };
        let home = home.filter(|home| home.is_absolute());
        let folder = |name: &str| var(name).map(|value| expand(&value, home.as_deref()));
        let caches = folder("XDG_CACHE_HOME").or_else(|| Some(home.as_ref()?.join(".cache")));
        let base = folder("HF_HOME").or_else(|| Some(caches?.join("huggingface")));
        let cache = folder("HF_HUB_CACHE")
            .or_else(|| folder("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| Some(base.as_ref()?.join("hub")))
            .ok_or(HubError::NoCache)?;
        let stored = || {
            let path = folder("HF_TOKEN_PATH").or_else(|| Some(base.as_ref()?.join("token")))?;
            let token = std::fs::read_to_string(path).ok()?;
            Some(token.trim().to_owned()).filter(|token| !token.is_empty())
        };
        let token = var("HF_TOKEN").or_else(|| var("HUGGING_FACE_HUB_TOKEN")).or_else(stored);
        let mut options = Self::new(cache);
        options.token = token.filter(|_| !is_set("HF_HUB_DISABLE_IMPLICIT_TOKEN"));
        options.offline = is_set("HF_HUB_OFFLINE") || is_set("TRANSFORMERS_OFFLINE");
        if let Some(endpoint) = var("HF_ENDPOINT") {
            options.endpoint = endpoint.trim_end_matches('/').to_owned();
        }
        Ok(options)
    }
}

/// Replaces a leading `~` by the home folder.
fn expand(path: &str, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix('~'), home) {
        (Some(""), Some(home)) => home.to_owned(),
        (Some(rest), Some(home)) if rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
        _ => path.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(vars: &[(&str, &str)], home: Option<&Path>) -> Result<HubOptions, HubError> {
        let find =
            |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        HubOptions::from_vars(find, home.map(Path::to_owned))
    }

    #[test]
    fn finds_the_cache_of_the_hugging_face_tools() {
        let home = Path::new("/home/me");
        let cache = |vars: &[(&str, &str)]| options(vars, Some(home)).map(|options| options.cache).unwrap();
        assert_eq!(cache(&[]), Path::new("/home/me/.cache/huggingface/hub"));
        assert_eq!(cache(&[("XDG_CACHE_HOME", "/x")]), Path::new("/x/huggingface/hub"));
        assert_eq!(cache(&[("XDG_CACHE_HOME", "/x"), ("HF_HOME", "~/hf")]), Path::new("/home/me/hf/hub"));
        assert_eq!(cache(&[("HF_HOME", "/hf"), ("HUGGINGFACE_HUB_CACHE", "/old")]), Path::new("/old"));
        assert_eq!(cache(&[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HUB_CACHE", "/new")]), Path::new("/new"));
        assert_eq!(cache(&[("HF_HOME", " ")]), cache(&[]), "empty variables are ignored");
        assert!(matches!(options(&[], None), Err(HubError::NoCache)));
        assert_eq!(options(&[("HF_HOME", "/hf")], None).unwrap().cache, Path::new("/hf/hub"));
    }

    #[test]
    fn reads_offline_mode_and_endpoint() {
        let offline = |name, value| options(&[("HF_HOME", "/hf"), (name, value)], None).unwrap().offline;
        assert!(offline("HF_HUB_OFFLINE", "1") && offline("TRANSFORMERS_OFFLINE", "True"));
        assert!(!offline("HF_HUB_OFFLINE", "0") && !offline("HF_HUB_OFFLINE", "") && !offline("OTHER", "1"));
        let mirror =
            options(&[("HF_HOME", "/hf"), ("HF_ENDPOINT", "https://mirror.example/")], None).unwrap();
        assert_eq!(mirror.endpoint, "https://mirror.example");
    }

    #[test]
    fn reads_the_token_from_variables_then_from_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        let token =
            |vars: &[(&str, &str)]| options(&[vars, &[("HF_HOME", home)]].concat(), None).unwrap().token;
        assert_eq!(token(&[]), None);
        std::fs::write(folder.path().join("token"), "hf_file\n").unwrap();
        assert_eq!(token(&[]).as_deref(), Some("hf_file"));
        assert_eq!(token(&[("HF_TOKEN", "hf_var")]).as_deref(), Some("hf_var"));
        assert_eq!(token(&[("HF_TOKEN", "hf_var"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), None);
        std::fs::write(folder.path().join("other"), "hf_other").unwrap();
        let other = folder.path().join("other");
        assert_eq!(token(&[("HF_TOKEN_PATH", other.to_str().unwrap())]).as_deref(), Some("hf_other"));
    }
}
