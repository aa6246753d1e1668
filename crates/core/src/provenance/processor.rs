//! The preprocessing of images, or the tokenizer, as recorded values.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::flat;

/// The preprocessing of images, or the tokenizer: equal values mean equal pixels or tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Processor {
    /// Settings by name, for example `max_length`.
    Settings(Map<String, Value>),
    /// A line of text, for types that do not list their settings.
    Description(String),
}

impl Processor {
    /// Returns the first setting that differs, as name and value of both.
    pub(super) fn difference(&self, other: &Self) -> Option<[String; 2]> {
        let (Self::Settings(own), Self::Settings(others)) = (self, other) else {
            return (self != other).then(|| [format!("`{self}`"), format!("`{other}`")]);
        };
        let names = own.keys().chain(others.keys());
        let differs = |name: &&String| own.get(*name) != others.get(*name);
        names.into_iter().find(differs).map(|name| {
            [own, others].map(|settings| {
                let value = settings.get(name).map_or_else(|| "unset".to_owned(), Value::to_string);
                format!("`{name}` {value}")
            })
        })
    }
}

impl fmt::Display for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Description(text) => f.write_str(text),
            Self::Settings(settings) => {
                for (place, (name, value)) in settings.iter().enumerate() {
                    write!(f, "{}{name} {value}", if place > 0 { ", " } else { "" })?;
                }
                Ok(())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Processor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected an object of settings, or a text")]
        enum Stored {
            Settings(Map<String, Value>),
            Description(String),
        }
        Ok(match Stored::deserialize(deserializer)? {
            Stored::Settings(settings) => Self::Settings(settings),
            Stored::Description(text) => flat::parse(&text).map_or(Self::Description(text), Self::Settings),
        })
    }
}
