//! The specification of a text transformer.

use super::{BlockSpec, NormSpec};

/// A text transformer: embeddings of tokens through transformer blocks, encoder or decoder.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TextSpec {
    pub(crate) vocabulary: usize,
    /// Width of the token states.
    pub(crate) width: usize,
    /// Factor of the embeddings of tokens (Gemma).
    pub(crate) embedding_scale: Option<f64>,
    pub(crate) positions: TextPositions,
    /// Number of token types; the first is added to all tokens. Zero if there are none.
    pub(crate) token_types: usize,
    /// A norm of the embeddings.
    pub(crate) embedding_norm: Option<NormSpec>,
    /// A learned bias of the scores by distance, shared by all blocks (T5, MPNet).
    pub(crate) relative: Option<RelativeSpec>,
    pub(crate) blocks: Vec<BlockSpec>,
    pub(crate) final_norm: Option<NormSpec>,
    /// How the model itself pools, if it does; the modules of sentence-transformers come after the trunk.
    pub(crate) head: Option<TextHead>,
    /// Most tokens of a text.
    pub(crate) max_length: usize,
    /// Whether all texts are padded to `max_length` with tokens like all others (SigLIP).
    pub(crate) padded: bool,
    /// Whether texts are lower-cased, even where the files of the tokenizer do not say so (SigLIP).
    pub(crate) lower_case: bool,
    /// Whether the name of the end token is put after every text before it is truncated, as the code of NV-Embed does.
    pub(crate) appends_end: bool,
    /// Whether states exceed the range of `f16` (T5, Gemma).
    pub(crate) exceeds_f16: bool,
}

/// Maximum length of a text for models with relative positions, and an upper bound for all others.
pub(crate) const MAX_TOKENS: usize = 1 << 17;

impl TextSpec {
    /// A transformer without anything around its blocks, of this vocabulary and width.
    pub(crate) fn new(vocabulary: usize, width: usize, blocks: Vec<BlockSpec>, max_length: usize) -> Self {
        Self {
            vocabulary,
            width,
            embedding_scale: None,
            positions: TextPositions::None,
            token_types: 0,
            embedding_norm: None,
            relative: None,
            blocks,
            final_norm: None,
            head: None,
            max_length,
            padded: false,
            lower_case: false,
            appends_end: false,
            exceeds_f16: false,
        }
    }

    /// The token that is the pooled output, if one is.
    pub(crate) fn pooled_token(&self) -> Option<Token> {
        match self.head {
            Some(TextHead::Token { token, .. }) => Some(token),
            Some(TextHead::Latent(_)) | None => None,
        }
    }

    /// Whether the sentence embedding has length one by the model itself, without modules of sentence-transformers.
    pub(crate) fn normalizes(&self) -> bool {
        matches!(self.head, Some(TextHead::Latent(LatentSpec { normalize: true, .. })))
    }

    /// The dimension of the pooled output, if there is one.
    pub(crate) fn pooled_width(&self) -> Option<usize> {
        match self.head {
            Some(TextHead::Token { projection, .. }) => Some(projection.unwrap_or(self.width)),
            Some(TextHead::Latent(_)) | None => None,
        }
    }
}

/// Absolute positions of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextPositions {
    /// None, or rotary or relative only.
    None,
    /// Fixed sines, then cosines, for at most `count` tokens (TIPSv2).
    SinCos { count: usize },
    /// A table of `count` rows.
    Table { count: usize, offset: Offset },
}

/// The row of the first token in a table of positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offset {
    Zero,
    /// RoBERTa: after the id of the padding token; tokens with this id do not advance the position.
    AfterPadding(usize),
}

/// A learned bias of the scores for every bucket of distances and every head (T5, arXiv 1910.10683).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RelativeSpec {
    /// Rows of the table, at least the number of buckets.
    pub(crate) rows: usize,
    /// Number of buckets, half for each direction.
    pub(crate) buckets: usize,
    /// Distances from this on share the last bucket.
    pub(crate) max_distance: usize,
}

impl RelativeSpec {
    /// That of all published models.
    pub(crate) const T5: Self = Self { rows: 32, buckets: 32, max_distance: 128 };
}

/// What follows the final norm of a text transformer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextHead {
    /// The pooled output: the state of one token, then a linear layer to `projection` dimensions if there is one (CLIP,
    /// SigLIP).
    Token { token: Token, projection: Option<usize>, bias: bool },
    /// Latent attention on the token states, whose mean is the sentence embedding (NV-Embed).
    Latent(LatentSpec),
}

/// Which token is the pooled output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// The one with the largest id (CLIP of OpenAI).
    LargestId,
    /// The first with this id, the end of the text.
    First(i64),
    /// The last (SigLIP).
    Last,
}

/// Latent attention of NV-Embed (arXiv 2405.17428): tokens attend to learned latents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LatentSpec {
    pub(crate) latents: usize,
    pub(crate) latent_width: usize,
    pub(crate) heads: usize,
    pub(crate) head_width: usize,
    /// Factor of the width of the feed-forward network.
    pub(crate) multiplier: usize,
    /// Whether the sentence embedding has length one.
    pub(crate) normalize: bool,
    /// Whether the tokens of a prompt are pooled.
    pub(crate) pools_prompt: bool,
}
