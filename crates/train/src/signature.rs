//! The signature of a run: everything except the weights that its continuation depends on.

use sail_core::{AlignmentHead, ContrastiveLoss};
use sail_data::Pairs;
use serde_json::{Map, Value, json};

use crate::parameters::parameters;
use crate::{Auxiliary, TrainConfig, TrainError, Unpaired};

/// Settings that do not affect the weights and may change when a run is resumed.
const FREE: [&str; 3] = ["evaluate_every", "keep_every", "statistics_every"];

/// Returns the settings, the loss, the parameters of the head and the keys of the data. The signature is part of the
/// checkpoint and must be the same when the run is resumed.
pub(crate) fn signature<H: AlignmentHead>(
    config: &TrainConfig,
    loss: &dyn ContrastiveLoss,
    head: &H,
    pairs: &Pairs,
    auxiliary: &[Auxiliary],
    unpaired: Option<&Unpaired>,
) -> Result<Value, TrainError> {
    let mut settings =
        serde_json::to_value(config).map_err(|error| TrainError::Signature(error.to_string()))?;
    if let Value::Object(fields) = &mut settings {
        fields.retain(|name, _| !FREE.contains(&name.as_str()));
    }
    let head: Map<String, Value> =
        parameters(head).into_iter().map(|parameter| (parameter.path, parameter.shape.into())).collect();
    let keys = pairs.fingerprint()?;
    let mut signature = json!({"settings": settings, "loss": loss.describe(), "head": head, "pairs": pairs.len(), "keys": keys});
    // Absent without them, as in the checkpoints of earlier versions.
    if !auxiliary.is_empty() {
        signature["auxiliary"] = auxiliary.iter().map(Auxiliary::describe).collect();
    }
    if let Some(unpaired) = unpaired {
        signature["unpaired"] = unpaired.signature()?;
    }
    Ok(signature)
}

/// Lists the fields in which two JSON values differ, each as `path (this, now that)`.
pub(crate) fn differences(a: &Value, b: &Value) -> Vec<String> {
    let mut fields = Vec::new();
    collect("", a, b, &mut fields);
    fields
}

fn collect(path: &str, a: &Value, b: &Value, fields: &mut Vec<String>) {
    if let (Value::Object(a), Value::Object(b)) = (a, b) {
        for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
            let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let (a, b) = (a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null));
            collect(&inner, a, b, fields);
        }
    } else if a != b {
        fields.push(format!("`{path}` ({a}, now {b})"));
    }
}
