//! Heads with blocks of an encoder in front of a side, and the updates of these blocks.

use std::sync::Arc;

use sail_core::{Adapter, AdapterConfig, AlignmentHead, ConfigError, HeadError, Side, TokenBlocks};

use crate::adapter::LowRankUpdates;
use crate::head::STREAMS;
use crate::{Head, HeadSide, SideConfig, WeightInit};

impl Head {
    /// Puts the last blocks of an encoder in front of a side, which then takes rows of token states instead of pooled features.
    ///
    /// With `adapter`, updates of the blocks are trained with the head and saved in its file (LoRA, arXiv 2106.09685). They
    /// start at zero, or where an earlier training with the same configuration left them. Without, the blocks stay as they are.
    /// A head that is loaded takes the pooled features of the encoder again, see [`without_blocks`](Self::without_blocks).
    ///
    /// # Errors
    /// [`HeadError::MissingSide`]; [`HeadError::Dimension`] and [`HeadError::Provenance`] if the side was made for other features
    /// than those of the blocks; [`HeadError::Config`] if the side has a translation or other updates.
    pub fn with_blocks(
        mut self,
        side: Side,
        blocks: Arc<dyn TokenBlocks>,
        adapter: Option<AdapterConfig>,
        seed: u64,
    ) -> Result<Self, HeadError> {
        let device = self.log_scale().device();
        let mut pooled = blocks.pooled_provenance();
        if let Some(trained_on) = self.side(side).and_then(|config| config.trained_on.as_ref()) {
            // A training continues from its own updates.
            pooled.adapter.clone_from(&trained_on.adapter);
        }
        self.accepts(side, blocks.dim(), Some(&pooled))?;
        let (Some(config), Some(layers)) = self.parts_mut(side) else {
            return Err(HeadError::MissingSide { side });
        };
        match (&config.adapter, &adapter) {
            (None, Some(adapter)) => {
                let [_, stream] = STREAMS[side as usize];
                layers.adapter =
                    Some(LowRankUpdates::new(adapter, &mut WeightInit::new(seed, stream, &device)));
            }
            (earlier, adapter) if earlier == adapter => {}
            (earlier, _) => {
                let found =
                    earlier.as_ref().map_or("none".to_owned(), |earlier| format!("rank {}", earlier.rank));
                let expected =
                    "the same rank, alpha and layers as those of the head to start from".to_owned();
                return Err(ConfigError { field: "adapter".to_owned(), found, expected }.into());
            }
        }
        (config.adapter, config.trained_on) = (adapter, Some(pooled));
        layers.blocks = Some(blocks);
        Ok(self)
    }

    /// Removes the blocks in front of both sides: a head as one that is loaded, which takes the pooled features of the encoders,
    /// with the updates [merged](Adapter) into their weights.
    ///
    /// # Errors
    /// [`HeadError::Format`] if the updates cannot be read from the device.
    pub fn without_blocks(mut self) -> Result<Self, HeadError> {
        for layers in [self.image.as_mut(), self.text.as_mut()].into_iter().flatten() {
            layers.blocks = None;
        }
        self.with_adapter_hashes()
    }

    /// Returns the trained updates of the encoder of a side, to be merged into its weights.
    ///
    /// # Errors
    /// [`HeadError::Format`] if the values cannot be read from the device.
    pub fn adapter(&self, side: Side) -> Result<Option<Adapter>, HeadError> {
        let updates = self.layers(side).and_then(|layers| layers.adapter.as_ref());
        updates.map(LowRankUpdates::to_adapter).transpose()
    }

    /// Returns the blocks in front of a side.
    pub(crate) fn blocks(&self, side: Side) -> Option<&Arc<dyn TokenBlocks>> {
        self.layers(side)?.blocks.as_ref()
    }

    /// Records the updates in the provenance of the features.
    pub(crate) fn with_adapter_hashes(mut self) -> Result<Self, HeadError> {
        for side in [Side::Image, Side::Text] {
            let Some(Adapter { sha256, .. }) = self.adapter(side)? else { continue };
            if let (Some(SideConfig { trained_on: Some(trained_on), .. }), _) = self.parts_mut(side) {
                trained_on.adapter = Some(sha256);
            }
        }
        Ok(self)
    }

    fn parts_mut(&mut self, side: Side) -> (Option<&mut SideConfig>, Option<&mut HeadSide>) {
        match side {
            Side::Image => (self.config.image.as_mut(), self.image.as_mut()),
            Side::Text => (self.config.text.as_mut(), self.text.as_mut()),
        }
    }
}
