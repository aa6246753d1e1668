//! The WordPiece tokenizer of BERT from `vocab.txt`, for checkpoints without `tokenizer.json`.

use std::path::Path;

use serde_json::Value;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::{AddedToken, Tokenizer};

use crate::pretrained::ModelError;
use crate::pretrained::small_file::format;

/// The remedy for a tokenizer in an unsupported format.
pub(super) const CONVERT: &str = "convert it with \
    `AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)` of Python's transformers";

/// Builds the tokenizer from a file with one token per line and the options of `tokenizer_config.json`. The id of a token is
/// the index of its line.
pub(super) fn from_vocabulary(path: &Path, bytes: &[u8], options: &Value) -> Result<Tokenizer, ModelError> {
    let broken = |error: tokenizers::Error| format(path, error.to_string());
    let vocabulary = WordPiece::read_bytes(bytes).map_err(broken)?;
    let id = |token: &str| {
        vocabulary
            .get(token)
            .copied()
            .ok_or_else(|| format(path, format!("no token `{token}`, which BERT requires: {CONVERT}")))
    };
    let (cls, sep, _) = (id("[CLS]")?, id("[SEP]")?, id("[UNK]")?);
    let special =
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].into_iter().filter(|token| id(token).is_ok());
    let special: Vec<AddedToken> = special.map(|token| AddedToken::from(token, true)).collect();
    let model = WordPiece::builder().vocab(vocabulary);
    let model = model.unk_token("[UNK]".to_owned()).build();
    let mut tokenizer = Tokenizer::new(model.map_err(broken)?);
    let flag = |name: &str| options.get(name).and_then(Value::as_bool);
    let normalizer = BertNormalizer::new(
        true,
        flag("tokenize_chinese_chars").unwrap_or(true),
        flag("strip_accents"),
        flag("do_lower_case").unwrap_or(true),
    );
    tokenizer
        .with_normalizer(Some(normalizer))
        .map_err(broken)?
        .with_pre_tokenizer(Some(BertPreTokenizer))
        .with_post_processor(Some(BertProcessing::new(("[SEP]".to_owned(), sep), ("[CLS]".to_owned(), cls))));
    tokenizer.add_special_tokens(special).map_err(broken)?;
    Ok(tokenizer)
}
