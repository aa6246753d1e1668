//! Checked token ids and what follows from them.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use sail_core::{EncodeError, TokenBatch};

use crate::spec::{Offset, TextPositions, TextSpec, Token};

/// A batch of token ids that the model supports.
pub(super) struct Tokens {
    shape: [usize; 2],
    /// Rows in the table of positions, if there is one.
    positions: Option<Vec<i64>>,
    /// Whether some tokens are padding.
    padded: bool,
    /// Index of the pooled token of every text among all tokens of the batch, if one is pooled.
    pooled: Option<Vec<i64>>,
}

impl Tokens {
    /// Checks shapes, ids and lengths.
    pub(super) fn check(batch: &TokenBatch, spec: &TextSpec) -> Result<Self, EncodeError> {
        let [rows, length] = batch.ids.dims();
        if batch.mask.dims() != [rows, length] {
            let found = batch.mask.dims().to_vec();
            let expected = format!("{:?}, the shape of the token ids", [rows, length]);
            return Err(EncodeError::Shape { what: "mask", found, expected });
        }
        let ids = batch.ids.clone().into_data().iter::<i64>().collect::<Vec<_>>();
        let mask = batch.mask.clone().into_data().iter::<bool>().collect::<Vec<_>>();
        let vocabulary = spec.vocabulary;
        let unknown = |token: &&i64| !usize::try_from(**token).is_ok_and(|token| token < vocabulary);
        if let Some(&token) = ids.iter().find(unknown) {
            return Err(EncodeError::Token { token, vocabulary });
        }
        let texts = || ids.chunks(length).zip(mask.chunks(length));

        let skipped = spec.positions.padding();
        let counts = |(token, real): (&i64, &bool)| *real && Some(*token) != skipped;
        let longest = texts().map(|(ids, mask)| ids.iter().zip(mask).filter(|token| counts(*token)).count());
        if longest.max().is_some_and(|longest| longest > spec.max_length) {
            let expected = format!("at most {} tokens per text: truncate the texts", spec.max_length);
            return Err(EncodeError::Shape { what: "token ids", found: vec![rows, length], expected });
        }
        let positions = spec.positions.first().map(|first| {
            let numbered = texts().flat_map(|(ids, mask)| {
                let mut next = first;
                ids.iter().zip(mask).map(move |token| {
                    let position = if counts(token) { next } else { skipped.unwrap_or(0) };
                    next += i64::from(counts(token));
                    position
                })
            });
            numbered.collect()
        });
        let pooled = spec.pooled_token().map(|token| {
            let indices = texts().enumerate().map(|(row, (ids, mask))| {
                let index = pooled(token, ids, mask)?;
                Ok((row * length + index) as i64)
            });
            indices.collect::<Result<Vec<_>, _>>()
        });
        let padded = mask.contains(&false);
        Ok(Self { shape: [rows, length], positions, padded, pooled: pooled.transpose()? })
    }

    /// Returns the rows in the table of positions, `[batch, length]`, if there is one.
    pub(super) fn positions(&self, device: &Device) -> Option<Tensor<2, Int>> {
        let positions = TensorData::new(self.positions.clone()?, self.shape);
        Some(Tensor::from_data(positions, device))
    }

    /// Returns the inverse of the mask if there is padding.
    pub(super) fn padding(&self, mask: &Tensor<2, Bool>) -> Option<Tensor<2, Bool>> {
        self.padded.then(|| mask.clone().bool_not())
    }

    /// Returns the states of the pooled tokens, `[batch, width]`, if the model pools a token.
    pub(super) fn pool(&self, states: &Tensor<2>) -> Option<Tensor<2>> {
        let indices = self.pooled.clone()?;
        let indices = TensorData::new(indices, [self.shape[0]]);
        Some(states.clone().select(0, Tensor::<1, Int>::from_data(indices, &states.device())))
    }
}

impl TextPositions {
    /// The row of the first token in the table.
    fn first(self) -> Option<i64> {
        match self {
            Self::None => None,
            Self::SinCos { .. } | Self::Table { offset: Offset::Zero, .. } => Some(0),
            Self::Table { offset: Offset::AfterPadding(padding), .. } => Some(padding as i64 + 1),
        }
    }

    /// The id of tokens that do not advance the position, and their row.
    fn padding(self) -> Option<i64> {
        match self {
            Self::Table { offset: Offset::AfterPadding(padding), .. } => Some(padding as i64),
            _ => None,
        }
    }
}

/// Returns the index of the pooled token of a text.
fn pooled(token: Token, ids: &[i64], mask: &[bool]) -> Result<usize, EncodeError> {
    let mut real =
        ids.iter().zip(mask).enumerate().filter(|(_, (_, real))| **real).map(|(i, (id, _))| (i, *id));
    Ok(match token {
        // The first of equal ones.
        Token::LargestId => {
            real.max_by_key(|(index, id)| (*id, std::cmp::Reverse(*index))).map_or(0, |(index, _)| index)
        }
        Token::First(end) => match real.find(|(_, id)| *id == end) {
            Some((index, _)) => index,
            None => return Err(EncodeError::NoEnd { token: end }),
        },
        Token::Last => real.next_back().map_or(0, |(index, _)| index),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooled_tokens_are_found_with_padding_on_either_side() {
        let find = |token, ids: &[i64], mask: &[u8]| {
            let mask: Vec<bool> = mask.iter().map(|real| *real == 1).collect();
            pooled(token, ids, &mask)
        };
        // The padding token is that of the end, as in CLIP.
        let (right, left) = ([8, 3, 9, 9, 9], [9, 9, 8, 3, 9]);
        for token in [Token::LargestId, Token::First(9), Token::Last] {
            assert_eq!(find(token, &right, &[1, 1, 1, 0, 0]), Ok(2), "{token:?}");
            assert_eq!(find(token, &left, &[0, 0, 1, 1, 1]), Ok(4), "{token:?}");
        }
        assert_eq!(find(Token::LargestId, &right, &[1, 1, 1, 1, 1]), Ok(2));
        assert_eq!(find(Token::First(9), &right, &[1, 1, 1, 1, 1]), Ok(2));
        assert_eq!(find(Token::Last, &right, &[1, 1, 1, 1, 1]), Ok(4));
        assert_eq!(find(Token::LargestId, &right, &[0; 5]), Ok(0));
        assert_eq!(find(Token::First(9), &right, &[1, 1, 0, 0, 0]), Err(EncodeError::NoEnd { token: 9 }));
    }
}
