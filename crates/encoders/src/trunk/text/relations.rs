//! What the attention of the blocks needs to know about pairs of tokens: masks, biases and rotations.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData, module};

use crate::blocks::{Attend, Rotary, buckets};
use crate::pretrained::Weights;
use crate::spec::{AttentionSpec, RelativeSpec, RotarySpec, TextSpec};

/// The relations of the tokens of a text in all blocks.
#[derive(Debug)]
pub(super) struct Relations {
    /// The distinct kinds of attention, at most a few.
    kinds: Vec<Kind>,
    /// The kind of every block.
    blocks: Vec<usize>,
    /// A bias of the scores for every bucket of distances and every head, `[buckets, heads]`.
    relative: Option<(RelativeSpec, Tensor<2>)>,
}

/// What distinguishes the relations of one block from those of another.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Kind {
    causal: bool,
    window: Option<usize>,
    rotary: Option<(RotarySpec, usize)>,
}

impl Kind {
    fn of(attention: &AttentionSpec) -> Self {
        let AttentionSpec { causal, window, rotary, head_width, .. } = *attention;
        Self { causal, window, rotary: rotary.map(|rotary| (rotary, head_width)) }
    }
}

impl Relations {
    pub(super) fn load(weights: &mut Weights, spec: &TextSpec) -> Self {
        let mut kinds = Vec::new();
        let blocks = spec.blocks.iter().map(|block| {
            let kind = Kind::of(&block.attention);
            kinds.iter().position(|known| *known == kind).unwrap_or_else(|| {
                kinds.push(kind);
                kinds.len() - 1
            })
        });
        let blocks = blocks.collect();
        let heads = spec.blocks.first().map_or(0, |block| block.attention.heads);
        let relative = spec.relative.map(|relative| {
            let table = weights.take("relative.weight", [relative.rows, heads]);
            (relative, table.cast(weights.dtype()))
        });
        Self { kinds, blocks, relative }
    }

    /// Returns the relations for every kind of attention.
    ///
    /// # Shapes
    /// - padding (true for tokens to ignore): `[batch, length]`
    pub(super) fn attends(
        &self,
        padding: Option<Tensor<2, Bool>>,
        length: usize,
        device: &Device,
    ) -> Vec<Attend> {
        let bias = self.relative.as_ref().map(|(spec, table)| {
            let pairs = TensorData::new(buckets(length, spec), [1, length * length]);
            let bias = module::embedding(table.clone(), Tensor::<2, Int>::from_data(pairs, device));
            bias.reshape([1, length, length, table.dims()[1]]).permute([0, 3, 1, 2])
        });
        let attend = |kind: &Kind| Attend {
            mask: mask(padding.clone(), length, *kind, device),
            bias: bias.clone(),
            rotary: kind.rotary.map(|(spec, width)| Rotary::of_text(&spec, width, length, device)),
        };
        self.kinds.iter().map(attend).collect()
    }

    /// Returns which of the [`attends`](Self::attends) is that of a block.
    pub(super) fn kind(&self, block: usize) -> usize {
        self.blocks.get(block).copied().unwrap_or(usize::MAX)
    }
}

/// Returns the keys that a query ignores, `[batch or 1, 1, queries, keys]`; `None` if there are none.
///
/// No query ignores itself. Padding is ignored by all others, but would otherwise ignore everything itself, which is not a
/// number in some kernels.
fn mask(
    padding: Option<Tensor<2, Bool>>,
    length: usize,
    kind: Kind,
    device: &Device,
) -> Option<Tensor<4, Bool>> {
    let index = Tensor::<1, Int>::arange(0..length as i64, device);
    // From key to query.
    let distance = || index.clone().unsqueeze_dim::<2>(1) - index.clone().unsqueeze_dim::<2>(0);
    let later = kind.causal.then(|| distance().lower_elem(0));
    let window = kind.window.filter(|window| *window + 1 < length);
    let far = window.map(|window| distance().abs().greater_elem(window as i64));
    let structure = match (later, far) {
        (Some(later), Some(far)) => Some(later.bool_or(far)),
        (later, far) => later.or(far),
    };
    let structure = structure.map(|mask| mask.unsqueeze::<4>());
    let Some(padding) = padding else { return structure };
    let [batch, _] = padding.dims();
    let shape = [batch, 1, length, length];
    let others = distance().not_equal_elem(0).unsqueeze::<4>().expand(shape);
    let padding = padding.reshape([batch, 1, 1, length]).expand(shape).bool_and(others);
    Some(match structure {
        Some(structure) => padding.bool_or(structure.expand(shape)),
        None => padding,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(padding: Option<[bool; 4]>, causal: bool, window: Option<usize>) -> Option<Vec<String>> {
        let device = Device::flex();
        let padding = padding.map(|padding| Tensor::<2, Bool>::from_data([padding], &device));
        let mask = mask(padding, 4, Kind { causal, window, rotary: None }, &device)?;
        assert_eq!(mask.dims(), [1, 1, 4, 4]);
        let ignored: Vec<bool> = mask.into_data().iter::<bool>().collect();
        let mark = |ignored: &bool| if *ignored { '.' } else { 'x' };
        Some(ignored.chunks(4).map(|row| row.iter().map(mark).collect()).collect())
    }

    #[test]
    fn masks_combine_direction_window_and_padding() {
        let left = Some([true, true, false, false]);
        assert_eq!(rows(None, false, None), None);
        assert_eq!(rows(None, false, Some(3)), None);
        for (padding, causal, window, expected) in [
            (None, true, None, ["x...", "xx..", "xxx.", "xxxx"]),
            (None, false, Some(1), ["xx..", "xxx.", ".xxx", "..xx"]),
            (None, true, Some(2), ["x...", "xx..", "xxx.", ".xxx"]),
            (left, false, None, ["x.xx", ".xxx", "..xx", "..xx"]),
            (left, true, None, ["x...", ".x..", "..x.", "..xx"]),
            (left, false, Some(0), ["x...", ".x..", "..x.", "...x"]),
            (Some([false, false, true, true]), true, Some(1), ["x...", "xx..", ".xx.", "...x"]),
        ] {
            assert_eq!(rows(padding, causal, window).unwrap(), expected, "{padding:?}, {causal}, {window:?}");
        }
    }
}
