//! Rotary position embedding in configurations.

use crate::config::Fields;
use crate::pretrained::ModelError;
use crate::spec::{Pairs, RotarySpec, Scaling};

/// The kinds of scaling by their names.
const KINDS: &[(&str, Kind)] =
    &[("default", Kind::Default), ("linear", Kind::Linear), ("llama3", Kind::Llama3), ("ntk", Kind::Ntk)];

#[derive(Debug, Clone, Copy)]
enum Kind {
    Default,
    Linear,
    Llama3,
    Ntk,
}

/// Reads `rope_parameters`, or `rope_theta` and `rope_scaling` of older files.
pub(super) fn rotary(fields: Fields<'_>, theta: f64, head_width: usize) -> Result<RotarySpec, ModelError> {
    if let Some(parameters) = fields.object("rope_parameters")? {
        return scaled(parameters, theta, head_width);
    }
    let theta = base(fields, "rope_theta", theta)?;
    match fields.object("rope_scaling")? {
        Some(scaling) => scaled(scaling, theta, head_width),
        None => Ok(plain(theta)),
    }
}

/// The rotation of halves without scaling.
pub(super) const fn plain(theta: f64) -> RotarySpec {
    RotarySpec { theta, scaling: Scaling::None, pairs: Pairs::Halves }
}

/// Reads the base of the inverse frequencies.
pub(super) fn base(fields: Fields<'_>, field: &'static str, default: f64) -> Result<f64, ModelError> {
    fields.number(field, default, 1.0..=1e12)
}

/// Reads the parameters of one rotation.
pub(super) fn scaled(fields: Fields<'_>, theta: f64, head_width: usize) -> Result<RotarySpec, ModelError> {
    let kind = if fields.get("rope_type").is_some() { "rope_type" } else { "type" };
    let theta = base(fields, "rope_theta", theta)?;
    let factor = || fields.number("factor", f64::NAN, 1.0..=1e6);
    let positive = |field, default| fields.number(field, default, 1e-6..=1e9);
    let spec = plain(theta);
    Ok(match fields.choice(kind, Some(Kind::Default), KINDS)? {
        Kind::Default => spec,
        Kind::Linear => RotarySpec { scaling: Scaling::Linear(factor()?), ..spec },
        Kind::Llama3 => {
            let (low, high) = (positive("low_freq_factor", 1.0)?, positive("high_freq_factor", 4.0)?);
            if low >= high {
                return Err(fields.error("high_freq_factor", format!("more than `low_freq_factor`, {low}")));
            }
            let original = positive("original_max_position_embeddings", f64::NAN)?;
            RotarySpec { scaling: Scaling::Llama3 { factor: factor()?, low, high, original }, ..spec }
        }
        // Fixed, as in GTE: at every length, not only beyond the lengths of training.
        Kind::Ntk => {
            let factor = factor()?;
            let scaling = Scaling::Linear(factor.powf(2.0 / head_width.max(1) as f64));
            RotarySpec { theta: theta * factor, scaling, ..spec }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(config: &Value) -> Result<RotarySpec, String> {
        rotary(Fields(config), 10_000.0, 64).map_err(|error| error.to_string())
    }

    #[test]
    fn both_spellings_of_a_scaling_are_read() {
        let linear = RotarySpec { scaling: Scaling::Linear(2.0), ..plain(5e5) };
        let llama = Scaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 8192.0 };
        let ntk = RotarySpec { scaling: Scaling::Linear(2.0_f64.powf(2.0 / 64.0)), ..plain(320_000.0) };
        for (config, expected) in [
            (json!({}), plain(1e4)),
            (json!({"rope_theta": 1e6, "rope_scaling": null}), plain(1e6)),
            (json!({"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}), plain(5e5)),
            (json!({"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2}}), linear),
            (json!({"rope_parameters": {"rope_type": "linear", "rope_theta": 5e5, "factor": 2.0}}), linear),
            (json!({"rope_theta": 160000, "rope_scaling": {"factor": 2.0, "type": "ntk"}}), ntk),
            (
                json!({"rope_theta": 5e5, "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0, "original_max_position_embeddings": 8192, "rope_type": "llama3"}}),
                RotarySpec { scaling: llama, ..plain(5e5) },
            ),
        ] {
            assert_eq!(read(&config), Ok(expected), "{config}");
        }
    }

    #[test]
    fn other_scalings_are_refused_by_name() {
        for (config, expected) in [
            (
                json!({"rope_scaling": {"type": "yarn", "factor": 4.0}}),
                "`type` of the model is \"yarn\", expected one of",
            ),
            (json!({"rope_parameters": {"rope_type": "dynamic"}}), "`rope_type` of the model is \"dynamic\""),
            (json!({"rope_scaling": {"type": "linear"}}), "`factor` of the model is missing"),
            (json!({"rope_scaling": 3}), "`rope_scaling` of the model is 3, expected an object"),
            (json!({"rope_theta": 0}), "`rope_theta` of the model is 0"),
        ] {
            let error = read(&config).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
