//! The YAML file beside a checkpoint, with `target_dimension`, `linear_type` and `width_factor`.

use std::path::{Path, PathBuf};

use sail_core::HeadError;
use sail_support::read_bounded;

use crate::{HeadConfig, ProjectorConfig};

/// Maximum length of the file in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The settings of a head, as text. The file may have others, which concern the training.
#[derive(Debug)]
pub(super) struct Settings {
    path: PathBuf,
    /// Keys and values.
    found: Vec<(&'static str, String)>,
}

const DIM: &str = "target_dimension";
const KIND: &str = "linear_type";
const WIDTH: &str = "width_factor";

impl Settings {
    /// Returns the file beside a checkpoint, of the same name with another extension.
    pub(super) fn beside(checkpoint: &Path) -> Option<PathBuf> {
        ["yaml", "yml"]
            .map(|extension| checkpoint.with_extension(extension))
            .into_iter()
            .find(|path| path.exists())
    }

    /// Reads the keys at the top level. The values of others, which may have several lines, are not looked at.
    pub(super) fn read(path: &Path) -> Result<Self, HeadError> {
        let io = |source| HeadError::Io { path: path.to_owned(), source };
        let bytes = read_bounded(path, MAX_BYTES).map_err(|error| io(error.into()))?;
        let text = String::from_utf8(bytes).map_err(|error| invalid(path, error))?;
        let mut found = Vec::new();
        for (index, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with([' ', '\t', '-', '#', '.', '%']) {
                continue;
            }
            let Some((key, value)) = line.split_once(':') else {
                return Err(invalid(path, format!("line {} is not `key: value`", index + 1)));
            };
            let Some(key) = [DIM, KIND, WIDTH].into_iter().find(|known| *known == key.trim_end()) else {
                continue;
            };
            if found.iter().any(|(known, _)| *known == key) {
                return Err(invalid(path, format!("`{key}` occurs twice")));
            }
            let value = value.split(" #").next().unwrap_or_default().trim();
            found.push((key, value.trim_matches(['"', '\'']).to_owned()));
        }
        if found.is_empty() {
            let reason = format!("none of `{DIM}`, `{KIND}` and `{WIDTH}` at the top level");
            return Err(invalid(path, reason));
        }
        Ok(Self { path: path.to_owned(), found })
    }

    /// Compares the settings with what the tensors say.
    pub(super) fn check(&self, config: &HeadConfig) -> Result<(), HeadError> {
        for side in config.image.iter().chain(&config.text) {
            let (kind, width) = match side.projector {
                ProjectorConfig::Linear {} => ("linear", None),
                ProjectorConfig::Mlp { .. } => ("mlp", None),
                ProjectorConfig::Glu { width } => ("star", Some(width)),
                // ShareLock has neither setting.
                _ => continue,
            };
            for (key, value) in &self.found {
                let expected = match *key {
                    DIM => config.dim.to_string(),
                    KIND => kind.to_owned(),
                    _ => match width {
                        Some(width) => width.to_string(),
                        None => continue,
                    },
                };
                if *value != expected {
                    let reason = format!("`{key}` is `{value}`, but the tensors are those of `{expected}`");
                    return Err(invalid(&self.path, reason));
                }
            }
        }
        Ok(())
    }
}

fn invalid(path: &Path, reason: impl std::fmt::Display) -> HeadError {
    HeadError::Import { reason: format!("{}: {reason}", path.display()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, projector: ProjectorConfig) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("head.yaml");
        std::fs::write(&path, text).unwrap();
        let config = HeadConfig::new(8, 6, 4, projector);
        Settings::read(&path).and_then(|settings| settings.check(&config)).map_err(|error| error.to_string())
    }

    #[test]
    fn settings_of_the_head_are_compared_and_others_ignored() {
        let text = "# a run\n---\ntarget_dimension: 4 # d\nlinear_type: 'star'\nwidth_factor: 2\nlr: 1.0e-05\n\
                    data:\n  linear_type: mlp\n- a list\nimage: [\"a:b\",\n  c]\n";
        assert_eq!(check(text, ProjectorConfig::Glu { width: 2 }), Ok(()));
        let error = check(text, ProjectorConfig::Glu { width: 3 }).unwrap_err();
        assert!(
            error.ends_with("head.yaml: `width_factor` is `2`, but the tensors are those of `3`"),
            "{error}"
        );
        assert!(check(text, ProjectorConfig::MLP).unwrap_err().contains("`linear_type` is `star`"));
        let error = check("target_dimension: 5", ProjectorConfig::Linear {}).unwrap_err();
        assert!(error.contains("`target_dimension` is `5`, but the tensors are those of `4`"), "{error}");
        let sharelock = ProjectorConfig::ShareLock { hidden: 8, layers: 2, dropout: 0.2 };
        assert_eq!(check(text, sharelock), Ok(()));
    }

    #[test]
    fn other_files_are_refused() {
        for (text, expected) in [
            ("head\n", "line 1 is not `key: value`"),
            ("linear_type: mlp\nlinear_type: star\n", "`linear_type` occurs twice"),
            ("model:\n  target_dimension: 4\n", "none of `target_dimension`"),
            ("", "none of `target_dimension`"),
        ] {
            let error = check(text, ProjectorConfig::MLP).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
