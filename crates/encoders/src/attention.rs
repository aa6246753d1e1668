//! Multi-head attention.

use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, Tensor, module};

/// Computes multi-head attention, `softmax(q k^T / sqrt(width) + bias) v`, and concatenates the heads.
///
/// # Shapes
/// - query, key, value: `[batch, tokens, heads, width]`
/// - mask (true for keys to ignore) and bias: `[batch or 1, heads or 1, tokens, tokens]`
/// - result: `[batch * tokens, heads * width]`
pub(crate) fn multi_head(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    mask: Option<Tensor<4, Bool>>,
    bias: Option<Tensor<4>>,
) -> Tensor<2> {
    let [batch, tokens, heads, width] = query.dims();
    let [query, key, value] = [query, key, value].map(|x| x.swap_dims(1, 2));
    let context = module::attention(query, key, value, mask, bias, AttentionModuleOptions::default());
    context.swap_dims(1, 2).reshape([batch * tokens, heads * width])
}
