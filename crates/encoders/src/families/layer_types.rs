//! Kinds of attention of the layers in configurations.

use super::rotary::scaled;
use crate::config::Fields;
use crate::pretrained::ModelError;
use crate::spec::RotarySpec;

/// Attention over the whole text, in `layer_types`.
pub(super) const FULL: &str = "full_attention";
/// Attention in a window.
pub(super) const SLIDING: &str = "sliding_attention";

/// Returns for every layer whether its attention is in a window: from `layer_types`, or `default` in older files.
pub(super) fn windowed(
    fields: Fields<'_>,
    layers: usize,
    default: impl Fn(usize) -> bool,
) -> Result<Vec<bool>, ModelError> {
    let names = "`full_attention` or `sliding_attention` for every layer";
    let Some(types) = fields.read::<Vec<String>>("layer_types", names)? else {
        return Ok((0..layers).map(default).collect());
    };
    if types.len() != layers || types.iter().any(|name| ![FULL, SLIDING].contains(&name.as_str())) {
        return Err(fields.error("layer_types", names));
    }
    Ok(types.iter().map(|name| name == SLIDING).collect())
}

/// Reads the rotation of a kind of attention from `rope_parameters`, or `older` from older files.
pub(super) fn rotary(
    fields: Fields<'_>,
    kind: &'static str,
    theta: f64,
    head_width: usize,
    older: impl FnOnce() -> Result<RotarySpec, ModelError>,
) -> Result<RotarySpec, ModelError> {
    let parameters = fields.object("rope_parameters")?.map(|all| all.object(kind)).transpose()?.flatten();
    match parameters {
        Some(parameters) => scaled(parameters, theta, head_width),
        None => older(),
    }
}
