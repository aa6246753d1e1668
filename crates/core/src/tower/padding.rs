//! Padding of tokenized texts.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

use crate::{Padding, PaddingSide, TokenBatch, TokenIds};

/// Pads texts to the longest of them, and to at least one token.
///
/// # Shapes
/// - ids and mask: `[texts.len(), length]`
pub(super) fn pad(texts: &[&TokenIds], padding: Padding, device: &Device) -> TokenBatch {
    let length = texts.iter().map(|text| text.0.len()).max().unwrap_or(0).max(1);
    let mut ids = Vec::with_capacity(texts.len() * length);
    let mut mask = Vec::with_capacity(texts.len() * length);
    for TokenIds(text) in texts {
        let fill = length - text.len();
        let before = if padding.side == PaddingSide::Left { fill } else { 0 };
        ids.resize(ids.len() + before, i64::from(padding.id));
        ids.extend(text.iter().map(|&id| i64::from(id)));
        ids.resize(ids.len() + fill - before, i64::from(padding.id));
        mask.extend((0..length).map(|position| (before..before + text.len()).contains(&position)));
    }
    let shape = [texts.len(), length];
    TokenBatch {
        ids: Tensor::<2, Int>::from_data(TensorData::new(ids, shape), device),
        mask: Tensor::<2, Bool>::from_data(TensorData::new(mask, shape), device),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pads_on_either_side() {
        let texts = [TokenIds(vec![1, 2, 3]), TokenIds(vec![4])];
        let texts: Vec<&TokenIds> = texts.iter().collect();
        for (side, expected) in
            [(PaddingSide::Left, [1, 2, 3, 9, 9, 4]), (PaddingSide::Right, [1, 2, 3, 4, 9, 9])]
        {
            let batch = pad(&texts, Padding { id: 9, side }, &Device::flex());
            assert_eq!(batch.ids.into_data().iter::<i64>().collect::<Vec<_>>(), expected);
            let real = expected.map(|id| id != 9);
            assert_eq!(batch.mask.into_data().iter::<bool>().collect::<Vec<_>>(), real);
        }
    }
}
