//! Prompts, which are put before every text.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::pretrained::small_file::{MAX_JSON, format, read_json};
use crate::pretrained::{ModelError, ModelFolder};

/// The file with the prompts of a model.
pub(super) const FILE: &str = "config_sentence_transformers.json";

/// The prompt of a text model, which is put before every text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PromptChoice {
    /// The default of the model, if it has one.
    #[default]
    Default,
    /// No prompt.
    None,
    /// This text.
    Text(String),
    /// As people write it: the name of one of the model's prompts, `none`, or a text. A single word that is not the name of a
    /// prompt is an error, because no text starts with a word that the next one is glued to.
    Written(String),
}

/// The prompts of a model.
pub(crate) struct Prompts {
    path: PathBuf,
    texts: BTreeMap<String, String>,
    default: Option<String>,
}

impl Prompts {
    /// Reads the prompts of a model. As in sentence-transformers, the default applies only with `modules.json`.
    pub(crate) fn read(folder: &ModelFolder) -> Result<Self, ModelError> {
        let path = folder.path().join(FILE);
        let config = read_json(&path, MAX_JSON)?.unwrap_or_default();
        let mut texts = BTreeMap::new();
        match config.get("prompts") {
            None | Some(Value::Null) => {}
            Some(Value::Object(prompts)) => {
                for (name, text) in prompts {
                    let text = match text {
                        Value::Null => "",
                        Value::String(text) => text,
                        other => {
                            return Err(format(
                                &path,
                                format!("prompt `{name}` is {other}, expected a text"),
                            ));
                        }
                    };
                    texts.insert(name.clone(), text.to_owned());
                }
            }
            Some(other) => {
                return Err(format(&path, format!("`prompts` is {other}, expected texts by name")));
            }
        }
        let default = match config.get("default_prompt_name") {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) => Some(name.clone()),
            Some(other) => {
                return Err(format(&path, format!("`default_prompt_name` is {other}, expected a name")));
            }
        };
        Ok(Self { path, texts, default: default.filter(|_| !folder.modules().is_empty()) })
    }

    /// Returns the names of the prompts.
    pub(crate) fn all(&self) -> impl Iterator<Item = &str> {
        self.texts.keys().map(String::as_str)
    }

    /// Returns the text of a prompt, empty if there is none.
    pub(crate) fn choose(&self, choice: &PromptChoice) -> Result<String, ModelError> {
        match choice {
            PromptChoice::None => Ok(String::new()),
            PromptChoice::Text(text) => Ok(text.clone()),
            PromptChoice::Default => match &self.default {
                None => Ok(String::new()),
                // Names that sentence-transformers defines as empty.
                Some(name) if ["query", "document"].contains(&name.as_str()) => {
                    Ok(self.texts.get(name).cloned().unwrap_or_default())
                }
                Some(name) => self.texts.get(name).cloned().ok_or_else(|| {
                    let reason = format!("`default_prompt_name` is `{name}`, expected {}", self.names());
                    format(&self.path, reason)
                }),
            },
            PromptChoice::Written(text) => match self.texts.get(text) {
                Some(prompt) => Ok(prompt.clone()),
                None if text == "none" => Ok(String::new()),
                None if !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "-_".contains(c)) => {
                    Err(ModelError::Config {
                        field: "prompt",
                        found: format!("`{text}`"),
                        expected: format!("{}, `none`, or a text such as `query: `", self.names()),
                    })
                }
                None => Ok(text.clone()),
            },
        }
    }

    fn names(&self) -> String {
        if self.texts.is_empty() {
            return "no name, since the model has no prompts".to_owned();
        }
        let names: Vec<String> = self.texts.keys().map(|name| format!("`{name}`")).collect();
        format!("one of the model's {}", names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompts(default: Option<&str>) -> Prompts {
        let texts = [("query", "query: "), ("plain", ""), ("none", "nothing: ")];
        let texts = texts.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
        Prompts { path: FILE.into(), texts, default: default.map(str::to_owned) }
    }

    fn choose(default: Option<&str>, choice: PromptChoice) -> Result<String, String> {
        prompts(default).choose(&choice).map_err(|error| error.to_string())
    }

    #[test]
    fn prompts_are_names_or_texts() {
        let written = |text: &str| choose(Some("query"), PromptChoice::Written(text.to_owned()));
        assert_eq!(written("query"), Ok("query: ".to_owned()));
        assert_eq!(written("plain"), Ok(String::new()));
        assert_eq!(written("none"), Ok("nothing: ".to_owned()), "a name of the model");
        assert_eq!(written("passage: "), Ok("passage: ".to_owned()));
        assert_eq!(written(""), Ok(String::new()));
        let error = written("qurey").unwrap_err();
        assert!(
            error.contains(
                "`prompt` of the model is `qurey`, expected one of the model's `none`, `plain`, `query`, "
            ),
            "{error}"
        );
        assert_eq!(choose(None, PromptChoice::Text("word".into())), Ok("word".to_owned()));
        assert_eq!(choose(Some("query"), PromptChoice::None), Ok(String::new()));
    }

    #[test]
    fn the_default_is_that_of_the_model() {
        assert_eq!(choose(Some("query"), PromptChoice::Default), Ok("query: ".to_owned()));
        assert_eq!(choose(None, PromptChoice::Default), Ok(String::new()));
        assert_eq!(choose(Some("document"), PromptChoice::Default), Ok(String::new()));
        let error = choose(Some("passage"), PromptChoice::Default).unwrap_err();
        assert!(error.contains("`default_prompt_name` is `passage`, expected one of the model's"), "{error}");
    }
}
