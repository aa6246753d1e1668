//! The head as an [`AlignmentHead`].

use burn::tensor::{FloatDType, Tensor};
use sail_core::{AlignmentHead, HeadError, Provenance, Side, TokenLayout};

use crate::{Head, HeadSide, Projector, ProjectorConfig, SideConfig};

impl Head {
    fn project(
        &self,
        side: Side,
        layers: &Option<HeadSide>,
        features: Tensor<2>,
    ) -> Result<Tensor<2>, HeadError> {
        self.accepts(side, features.dims()[1], None)?;
        let layers = layers.as_ref().ok_or(HeadError::MissingSide { side })?;
        let features = layers
            .features(features)
            .map_err(|source| HeadError::Encode { side, source: Box::new(source) })?;
        Ok(layers.forward(features))
    }
}

impl AlignmentHead for Head {
    fn project_images(&self, features: Tensor<2>) -> Result<Tensor<2>, HeadError> {
        self.project(Side::Image, &self.image, features)
    }

    fn project_patches(&self, tokens: Tensor<3>) -> Result<Tensor<3>, HeadError> {
        let side = Side::Image;
        let config = self.side(side).ok_or(HeadError::MissingSide { side })?;
        let layers = self.image.as_ref().ok_or(HeadError::MissingSide { side })?;
        let [_, count, found] = tokens.dims();
        let expected = config.tokens.as_ref().map_or(config.input, TokenLayout::dim);
        if found != expected {
            return Err(HeadError::Dimension { side, found, expected });
        }
        let least = 1 + usize::from(config.has_class_token());
        if count < least {
            return Err(HeadError::TooFewTokens { found: count, expected: least });
        }
        Ok(layers.patches(tokens))
    }

    fn project_texts(&self, features: Tensor<2>) -> Result<Tensor<2>, HeadError> {
        self.project(Side::Text, &self.text, features)
    }

    fn log_scale(&self) -> Tensor<1> {
        self.logit.log_scale()
    }

    fn bias(&self) -> Tensor<1> {
        self.logit.bias()
    }

    fn clamp_parameters(mut self) -> Self {
        self.logit = self.logit.clamp();
        self
    }

    fn rows_are_independent(&self) -> bool {
        let sides = self.config.image.iter().chain(&self.config.text);
        !sides.into_iter().any(|side| match side.projector {
            ProjectorConfig::ShareLock { .. } => true,
            ProjectorConfig::ResidualMlp { dropout, .. } => dropout > 0.0,
            _ => false,
        })
    }

    fn computing_in(&self, dtype: FloatDType) -> Option<Self> {
        let device = self.log_scale().device();
        let side = |side: &Option<HeadSide>| match side {
            Some(side) => side.computing_in(dtype, &device).map(Some),
            None => Some(None),
        };
        Some(Self { image: side(&self.image)?, text: side(&self.text)?, ..self.clone() })
    }

    fn activations(&self, side: Side) -> Option<usize> {
        // LayerNorm keeps the deviations, their squares and the normalised values; l2_normalize as much of the output.
        let of_side = |side: &SideConfig| {
            let input = side.projected();
            let translation = if side.translation.is_some() { side.input + 2 * input } else { 0 };
            let norm = if side.norm { 6 * input } else { 0 };
            translation + norm + Projector::activations(side, self.config.dim) + 5 * self.config.dim
        };
        let blocks = self.blocks(side).map_or(0, |blocks| blocks.activations());
        Some(self.side(side).map_or(0, of_side) + blocks)
    }

    fn trained_on(&self, side: Side) -> Option<&Provenance> {
        match self.blocks(side) {
            Some(blocks) => Some(blocks.provenance()),
            None => self.side(side)?.trained_on.as_ref(),
        }
    }

    fn accepts_provenance(&self, side: Side, found: &Provenance) -> Result<(), HeadError> {
        self.accepts_tokens(side, found)?;
        HeadError::check_provenance(side, self.trained_on(side), found)
    }

    fn to_bytes(&self) -> Result<Vec<u8>, HeadError> {
        crate::file::to_bytes(self)
    }
}
