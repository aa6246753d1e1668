//! Tokenizers and sentence embeddings.

mod end;
mod growth;
pub(crate) mod limit;
pub(crate) mod sentence;
mod tokenizer;
mod wordpiece;

pub use sentence::PromptChoice;
pub use tokenizer::PretrainedTokenizer;
