//! Rows of features as tokens.

use burn::tensor::{FloatDType, Tensor};

/// Splits rows into their tokens.
///
/// # Shapes
/// - rows: `[batch, tokens * dim]`
/// - output: `[batch, tokens, dim]`
pub(crate) fn of_rows(rows: Tensor<2>, dim: usize) -> Tensor<3> {
    let [batch, values] = rows.dims();
    rows.reshape([batch, values / dim, dim])
}

/// Splits tokens into the class token, which is the first if there is one, and the patches.
///
/// # Shapes
/// - tokens: `[batch, tokens, dim]`
/// - output: `[batch, dim]` and `[batch, patches, dim]`
pub(crate) fn split(tokens: Tensor<3>, class_token: bool) -> (Option<Tensor<2>>, Tensor<3>) {
    if !class_token {
        return (None, tokens);
    }
    let [_, count, _] = tokens.dims();
    let class = tokens.clone().narrow(1, 0, 1).squeeze_dim(1);
    (Some(class), tokens.narrow(1, 1, count - 1))
}

/// Applies a layer to every token.
pub(crate) fn each(tokens: Tensor<3>, layer: impl FnOnce(Tensor<2>) -> Tensor<2>) -> Tensor<3> {
    let [batch, count, dim] = tokens.dims();
    let output = layer(tokens.reshape([batch * count, dim]));
    let [_, dim] = output.dims();
    output.reshape([batch, count, dim])
}

/// The mean over the tokens. It is computed in f32, because f16 cannot hold a sum of many large values.
///
/// # Shapes
/// - tokens: `[batch, tokens, dim]`
/// - output: `[batch, dim]`, in the dtype of the tokens
pub(crate) fn mean(tokens: Tensor<3>) -> Tensor<2> {
    let dtype = FloatDType::from(tokens.dtype());
    tokens.cast(FloatDType::F32).mean_dim(1).squeeze_dim(1).cast(dtype)
}
