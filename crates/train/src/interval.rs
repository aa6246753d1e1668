//! Intervals in epochs or steps.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use sail_core::ConfigError;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An interval of a run, in epochs or steps.
///
/// In a configuration, an integer is a number of epochs, `0` means never, and a string such as `"200 steps"` is a
/// number of steps. The command line accepts the same values.
///
/// # Examples
/// ```
/// use std::num::NonZeroUsize;
/// use sail_train::Interval;
/// assert_eq!("5".parse(), Ok(Interval::epochs(5)));
/// assert_eq!("200 steps".parse(), Ok(Interval::steps(200)));
/// assert_eq!("0".parse(), Ok(Interval::Never));
/// assert!(Interval::epochs(2).is_due(20, 10) && !Interval::epochs(2).is_due(10, 10));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interval {
    /// Never.
    Never,
    /// Every given number of epochs.
    Epochs(NonZeroUsize),
    /// Every given number of steps.
    Steps(NonZeroUsize),
}

impl Interval {
    /// Returns an interval of `count` epochs, or [`Never`](Self::Never) for 0.
    pub const fn epochs(count: usize) -> Self {
        match NonZeroUsize::new(count) {
            Some(count) => Self::Epochs(count),
            None => Self::Never,
        }
    }

    /// Returns an interval of `count` steps, or [`Never`](Self::Never) for 0.
    pub const fn steps(count: usize) -> Self {
        match NonZeroUsize::new(count) {
            Some(count) => Self::Steps(count),
            None => Self::Never,
        }
    }

    /// Returns `true` if the interval is due after `done` steps, with `steps_per_epoch` steps per epoch.
    pub fn is_due(self, done: usize, steps_per_epoch: usize) -> bool {
        match self {
            Self::Never => false,
            Self::Epochs(count) => done.is_multiple_of(steps_per_epoch.saturating_mul(count.get())),
            Self::Steps(count) => done.is_multiple_of(count.get()),
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("0"),
            Self::Epochs(count) => write!(f, "{count}"),
            Self::Steps(count) => write!(f, "{count} steps"),
        }
    }
}

impl FromStr for Interval {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let error = || ConfigError {
            field: "interval".to_owned(),
            found: format!("`{text}`"),
            expected: "a number of epochs such as `5`, or of steps such as `200 steps`".to_owned(),
        };
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let count = digits.parse().map_err(|_| error())?;
        match text[digits.len()..].trim() {
            "" | "epoch" | "epochs" => Ok(Self::epochs(count)),
            "step" | "steps" => Ok(Self::steps(count)),
            _ => Err(error()),
        }
    }
}

impl Serialize for Interval {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Never => serializer.serialize_u64(0),
            Self::Epochs(count) => serializer.serialize_u64(count.get() as u64),
            Self::Steps(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Epochs(usize),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Epochs(count) => Ok(Self::epochs(count)),
            Written::Text(text) => text.parse().map_err(D::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_as_epochs_or_steps() {
        for interval in [Interval::Never, Interval::epochs(5), Interval::steps(200)] {
            let json = serde_json::to_string(&interval).unwrap();
            assert_eq!(serde_json::from_str::<Interval>(&json).unwrap(), interval);
            assert_eq!(interval.to_string().parse(), Ok(interval));
        }
        assert_eq!(serde_json::to_value(Interval::epochs(5)).unwrap(), 5);
        assert_eq!("20steps".parse(), Ok(Interval::steps(20)));
        for invalid in ["", "steps", "-3", "5 hours", "1.5"] {
            let error = invalid.parse::<Interval>().unwrap_err().to_string();
            assert!(error.contains("`5`") && error.contains(invalid), "{error}");
        }
    }
}
