//! The names of tensors here and in the reference implementation.

use sail_core::HeadError;

use crate::{HeadConfig, ProjectorConfig, SideConfig};

/// A tensor of a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    /// The name in our files.
    pub(super) ours: String,
    /// The name in the files of the reference implementation.
    pub(super) theirs: String,
    pub(super) shape: Vec<usize>,
}

/// Our name of the learned scale, which is a scalar in some files of the reference implementation.
pub(super) const LOG_SCALE: &str = "logit.log_scale";
/// Our name of the learned bias, likewise.
pub(super) const BIAS: &str = "logit.bias";

/// The tensors of a head.
///
/// # Errors
/// [`HeadError::Export`] if the reference implementation does not have such a head.
pub(super) fn slots(config: &HeadConfig) -> Result<Vec<Slot>, HeadError> {
    let mut slots = Slots(Vec::new());
    if let Some(side) = &config.image {
        slots.side("image", "vision", side, config.dim)?;
    }
    if let Some(side) = &config.text {
        slots.side("text", "text", side, config.dim)?;
    }
    slots.add(LOG_SCALE, "logit_scale", &[1]);
    slots.add(BIAS, "logit_bias", &[1]);
    Ok(slots.0)
}

struct Slots(Vec<Slot>);

impl Slots {
    fn add(&mut self, ours: &str, theirs: &str, shape: &[usize]) {
        self.0.push(Slot { ours: ours.to_owned(), theirs: theirs.to_owned(), shape: shape.to_owned() });
    }

    fn vectors(&mut self, ours: &str, theirs: &str, parts: &[&str], dim: usize) {
        for part in parts {
            self.add(&format!("{ours}.{part}"), &format!("{theirs}.{part}"), &[dim]);
        }
    }

    fn linear(&mut self, ours: &str, theirs: &str, [output, input]: [usize; 2]) {
        self.add(&format!("{ours}.weight"), &format!("{theirs}.weight"), &[output, input]);
        self.vectors(ours, theirs, &["bias"], output);
    }

    fn side(&mut self, ours: &str, theirs: &str, side: &SideConfig, dim: usize) -> Result<(), HeadError> {
        let &SideConfig { input, norm, ref projector, .. } = side;
        let refuse =
            |reason: String| Err(HeadError::Export { reason: format!("its {ours} side has {reason}") });
        if side.translation.is_some() {
            return refuse("a translation, which the reference implementation does not have".to_owned());
        }
        if side.adapter.is_some() {
            return refuse(
                "adapters of the encoder, which the reference implementation does not have".to_owned(),
            );
        }
        let is_identity = *projector == ProjectorConfig::Identity {};
        let has_projector = match projector {
            ProjectorConfig::Linear {} | ProjectorConfig::Mlp { .. } | ProjectorConfig::Glu { .. } => true,
            ProjectorConfig::Identity {} => ours == "image",
            ProjectorConfig::ShareLock { .. } => ours == "text",
            ProjectorConfig::SwiGlu { .. }
            | ProjectorConfig::ResidualMlp { .. }
            | ProjectorConfig::WeightedCosine { .. }
            | ProjectorConfig::Token {}
            | ProjectorConfig::TokenTransformer { .. } => false,
        };
        if !has_projector {
            let name = projector.name();
            return refuse(format!(
                "the projector `{name}`, which the reference implementation does not have there"
            ));
        }
        if norm == is_identity {
            let found = if norm { "a" } else { "no" };
            return refuse(format!("{found} LayerNorm, unlike that of the reference implementation"));
        }
        if norm {
            self.vectors(
                &format!("{ours}.norm"),
                &format!("{theirs}_layer_norm"),
                &["weight", "bias"],
                input,
            );
        }
        let (ours, theirs) = (format!("{ours}.projector"), format!("{theirs}_mapping_network"));
        let mut linear = |own: &str, other: &str, shape| {
            self.linear(&format!("{ours}{own}"), &format!("{theirs}{other}"), shape);
        };
        match *projector {
            ProjectorConfig::Identity {}
            | ProjectorConfig::SwiGlu { .. }
            | ProjectorConfig::ResidualMlp { .. }
            | ProjectorConfig::WeightedCosine { .. }
            | ProjectorConfig::Token {}
            | ProjectorConfig::TokenTransformer { .. } => {}
            ProjectorConfig::Linear {} => linear("", "", [dim, input]),
            ProjectorConfig::Mlp { expansion } => {
                linear(".hidden", ".proj.0", [expansion * input, input]);
                linear(".output", ".proj.2", [dim, expansion * input]);
            }
            ProjectorConfig::Glu { width } => {
                linear(".gate", ".f1", [width * input, input]);
                linear(".value", ".f2", [width * input, input]);
                linear(".output", ".g", [dim, width * input]);
            }
            ProjectorConfig::ShareLock { hidden, layers, .. } => {
                // A sequence of linear layer, batch norm, ReLU and dropout.
                for layer in 0..layers - 1 {
                    let input = if layer == 0 { input } else { hidden };
                    let own = format!("{ours}.hidden.{layer}");
                    let place = |offset| format!("{theirs}.layers.{}", 4 * layer + offset);
                    self.linear(&format!("{own}.linear"), &place(0), [hidden, input]);
                    let statistics = ["weight", "bias", "running_mean", "running_var"];
                    self.vectors(&format!("{own}.norm"), &place(1), &statistics, hidden);
                }
                let input = if layers == 1 { input } else { hidden };
                let last = format!("{theirs}.layers.{}", 4 * (layers - 1));
                self.linear(&format!("{ours}.output"), &last, [dim, input]);
            }
        }
        Ok(())
    }
}
