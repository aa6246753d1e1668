//! The stages of convolutional backbones.

use std::ops::RangeInclusive;

use crate::config::{Fields, LAYERS, SIZE};
use crate::pretrained::{Checkpoint, ModelError};

/// Reads channels and number of blocks of every stage from a configuration of transformers, with a default for missing fields.
pub(super) fn of_config(
    fields: &Fields<'_>,
    channels: [usize; 4],
    blocks: [usize; 4],
) -> Result<Vec<(usize, usize)>, ModelError> {
    let list = |field, default: [usize; 4], range: RangeInclusive<usize>| {
        let (low, high) = (range.start(), range.end());
        let expected = format!("integers from {low} to {high}, one for each of up to 8 stages");
        let list = fields.read::<Vec<usize>>(field, &expected)?.unwrap_or(default.into());
        let valid = (1..=8).contains(&list.len()) && list.iter().all(|size| range.contains(size));
        if valid { Ok(list) } else { Err(fields.error(field, expected)) }
    };
    let channels = list("hidden_sizes", channels, SIZE)?;
    let blocks = list("depths", blocks, LAYERS)?;
    if channels.len() != blocks.len() {
        return Err(fields.error("depths", format!("{} integers, as in `hidden_sizes`", channels.len())));
    }
    if !LAYERS.contains(&blocks.iter().sum::<usize>()) {
        return Err(fields.error("depths", format!("at most {} blocks", LAYERS.end())));
    }
    Ok(channels.into_iter().zip(blocks).collect())
}

/// Returns channels and number of blocks of the four stages of a checkpoint without a configuration of them.
///
/// Each block has a tensor with a row for every channel, whose name `name` returns for the stage and the block. `None` if a
/// stage has none.
pub(super) fn of_tensors(
    checkpoint: &Checkpoint,
    name: impl Fn(usize, usize) -> String,
) -> Option<Vec<(usize, usize)>> {
    let stage = |stage| {
        let rows = |block| checkpoint.shape(&name(stage, block))?.first().copied();
        let channels = rows(0).filter(|channels| SIZE.contains(channels))?;
        Some((channels, (0..).take_while(|block| rows(*block).is_some()).count()))
    };
    (0..4).map(stage).collect()
}
