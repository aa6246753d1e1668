//! Published tokenizers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use sail_core::{InputError, Padding, PaddingSide, TokenIds, Tokenizer};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokenizers::normalizers::{Lowercase, NormalizerWrapper, Sequence};
use tokenizers::utils::truncation::{TruncationDirection, TruncationParams};
use tokenizers::{PaddingDirection, PostProcessor};

use super::growth::growth;
use super::limit;
use super::wordpiece::from_vocabulary;
use crate::pretrained::ModelError;
use crate::pretrained::small_file::{MAX_JSON, format, read, read_json};

/// Far beyond any published tokenizer: what a file of more bytes holds is not one.
const MAX_BYTES: u64 = 256 << 20;

/// How a tokenizer in another form becomes one that can be read.
pub(super) const CONVERT: &str = "save it in the form of the `tokenizers` library, with \
    `AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)` of Python's transformers";

/// Bytes of text for each token of the limit, and the least number of them, that are looked at: normal text has
/// four or five a token, and what lies beyond cannot come into the first tokens.
const BYTES_PER_TOKEN: usize = 64;
const MIN_BYTES: usize = 1 << 16;
/// How much longer a normalizer may make a text. Those in use replace one character by a few.
const MAX_GROWTH: usize = 1024;

/// The tokenizer of a published model, with the limits and special tokens that the model uses.
///
/// It reads `tokenizer.json`, or else BERT's `vocab.txt`, and beside it what sentence-transformers and transformers
/// read:
///
/// | what | from |
/// |---|---|
/// | limit | `max_seq_length` of `sentence_bert_config.json`, else the lower of `model_max_length` of `tokenizer_config.json` and the positions of `config.json`; never more than the model has positions |
/// | side of padding and truncation | `tokenizer_config.json`, else `tokenizer.json`, else the right |
/// | padding token | `pad_token` of `tokenizer_config.json` or `special_tokens_map.json`, else `tokenizer.json`, else `config.json` |
/// | lower case | `do_lower_case` of `tokenizer_config.json` where it contradicts BERT's normalizer, and of `sentence_bert_config.json` |
///
/// The truncation and padding within `tokenizer.json` are not applied. Of a text that is far too long only the
/// first 64 KiB, or 64 bytes a token of the limit if that is more, are looked at. An empty text has the model's
/// special tokens alone.
pub struct PretrainedTokenizer {
    tokenizer: tokenizers::Tokenizer,
    limit: usize,
    padding: Padding,
    truncation: PaddingSide,
    description: String,
}

impl std::fmt::Debug for PretrainedTokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PretrainedTokenizer").field(&self.description).finish()
    }
}

impl PretrainedTokenizer {
    /// Reads the tokenizer of a model folder in the hub's layout.
    ///
    /// # Errors
    /// [`ModelError`] for a folder without a tokenizer, or with one that cannot be used.
    pub fn open(folder: &Path) -> Result<Self, ModelError> {
        let json = |name: &str| {
            Ok::<Value, ModelError>(read_json(&folder.join(name), MAX_JSON)?.unwrap_or_default())
        };
        let options: Value = json("tokenizer_config.json")?;
        let special: Value = json("special_tokens_map.json")?;
        let config: Value = json("config.json")?;
        let sentence = limit::sentence_config(folder)?;

        let path = folder.join("tokenizer.json");
        let broken = |error: tokenizers::Error| format(&path, error.to_string());
        let mut tokenizer = read_tokenizer(folder, &path, &options)?;
        let padding = tokenizer.get_padding().cloned();
        let truncation = tokenizer.get_truncation().cloned();
        tokenizer.with_padding(None).with_truncation(None).map_err(broken)?;
        if let Some(normalizer) = normalizer(tokenizer.get_normalizer(), &options, &sentence) {
            // Tokens that are normalised are normalised anew, which the file may make as costly as a text.
            let renewed = guarded(|| tokenizer.with_normalizer(Some(normalizer)).map(|_| ()));
            renewed.map_err(|reason| format(&path, reason))?;
        }

        let limit = limit::limit(folder, &options, &config, &sentence, truncation.as_ref())?;
        let added = tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
        if added >= limit {
            let reason = format!("it adds {added} special tokens to a text, of {limit} that the model takes");
            return Err(format(&path, reason));
        }
        let left = |direction: &TruncationDirection| matches!(direction, TruncationDirection::Left);
        let truncated_left = truncation.is_some_and(|truncation| left(&truncation.direction));
        let truncation = side(folder, &options, "truncation_side", truncated_left)?;
        let padded_left =
            matches!(padding.as_ref().map(|padding| padding.direction), Some(PaddingDirection::Left));
        let token = content(&options, "pad_token").or_else(|| content(&special, "pad_token"));
        let named = token.and_then(|token| tokenizer.token_to_id(token));
        let configured =
            || config.get("pad_token_id").and_then(Value::as_u64).and_then(|id| id.try_into().ok());
        let padding = Padding {
            // The mask hides it, so that where none is named any token will do.
            id: named.or(padding.map(|padding| padding.pad_id)).or_else(configured).unwrap_or(0),
            side: side(folder, &options, "padding_side", padded_left)?,
        };

        let bytes = tokenizer.to_string(false).map_err(broken)?;
        let hash: String = Sha256::digest(&bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let mut tokenizer = Self { tokenizer, limit, padding, truncation, description: String::new() };
        let ends = tokenizer.special_tokens().map_err(|InputError(reason)| format(&path, reason))?;
        tokenizer.description = format!(
            "tokenizer {hash}, at most {limit} tokens with {ends}, cut at the {}, padded with {} at the {}",
            name(truncation),
            padding.id,
            name(padding.side)
        );
        let direction = match truncation {
            PaddingSide::Left => TruncationDirection::Left,
            PaddingSide::Right => TruncationDirection::Right,
        };
        let truncation = TruncationParams { max_length: limit, direction, ..TruncationParams::default() };
        tokenizer.tokenizer.with_truncation(Some(truncation)).map_err(broken)?;
        Ok(tokenizer)
    }

    /// The most tokens that a text has, special tokens included.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// What surrounds a text, in the words of the description.
    fn special_tokens(&self) -> Result<String, InputError> {
        let TokenIds(ids) = self.tokenize("")?;
        let tokens = ids.iter().map(|&id| self.tokenizer.id_to_token(id).unwrap_or_else(|| id.to_string()));
        let tokens: Vec<String> = tokens.collect();
        Ok(if tokens.is_empty() { "no special tokens".to_owned() } else { tokens.join(" ") })
    }

    /// As much of a text as can come into its tokens.
    fn cut<'a>(&self, text: &'a str) -> &'a str {
        let bytes = (BYTES_PER_TOKEN * self.limit).max(MIN_BYTES);
        match self.truncation {
            PaddingSide::Right => &text[..text.floor_char_boundary(bytes)],
            PaddingSide::Left => &text[text.ceil_char_boundary(text.len().saturating_sub(bytes))..],
        }
    }
}

impl Tokenizer for PretrainedTokenizer {
    fn tokenize(&self, text: &str) -> Result<TokenIds, InputError> {
        let text = self.cut(text);
        let encoding = guarded(|| self.tokenizer.encode_fast(text, true)).map_err(InputError)?;
        let ids = encoding.get_ids();
        if ids.len() > self.limit {
            let reason =
                format!("the tokenizer gives {} tokens, more than its limit of {}", ids.len(), self.limit);
            return Err(InputError(reason));
        }
        Ok(TokenIds(ids.to_vec()))
    }

    fn padding(&self) -> Padding {
        self.padding
    }

    fn describe(&self) -> String {
        self.description.clone()
    }
}

/// Runs a part of the `tokenizers` library, which may panic on what a file makes it do.
fn guarded<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("the tokenizer's file makes the tokenizers library fail".to_owned()),
    }
}

fn read_tokenizer(folder: &Path, path: &Path, options: &Value) -> Result<tokenizers::Tokenizer, ModelError> {
    let Some(bytes) = read(path, MAX_BYTES)? else {
        let path = folder.join("vocab.txt");
        return match read(&path, MAX_BYTES)? {
            Some(bytes) => from_vocabulary(&path, &bytes, options),
            None => Err(format(&folder.join("tokenizer.json"), format!("there is no such file: {CONVERT}"))),
        };
    };
    let tokenizer =
        guarded(|| tokenizers::Tokenizer::from_bytes(&bytes)).map_err(|reason| format(path, reason))?;
    let normalizer = serde_json::to_value(tokenizer.get_normalizer());
    let normalizer = normalizer.map_err(|error| format(path, error.to_string()))?;
    match growth(&normalizer) {
        Some(growth) if growth <= MAX_GROWTH => Ok(tokenizer),
        _ => Err(format(path, format!("its normalizer makes a text more than {MAX_GROWTH} times as long"))),
    }
}

/// The normalizer in place of the file's, where the options beside it ask for another.
fn normalizer(
    file: Option<&NormalizerWrapper>,
    options: &Value,
    sentence: &Value,
) -> Option<NormalizerWrapper> {
    let flag = |options: &Value, name: &str| options.get(name).and_then(Value::as_bool);
    let mut changed = None;
    if let Some(NormalizerWrapper::BertNormalizer(bert)) = file {
        let mut bert = *bert;
        bert.lowercase = flag(options, "do_lower_case").unwrap_or(bert.lowercase);
        bert.strip_accents = flag(options, "strip_accents").or(bert.strip_accents);
        bert.handle_chinese_chars =
            flag(options, "tokenize_chinese_chars").unwrap_or(bert.handle_chinese_chars);
        changed = Some(NormalizerWrapper::BertNormalizer(bert));
    }
    if flag(sentence, "do_lower_case") != Some(true) {
        return changed;
    }
    let rest = changed.or_else(|| file.cloned());
    let lower = std::iter::once(NormalizerWrapper::Lowercase(Lowercase));
    Some(NormalizerWrapper::Sequence(Sequence::new(lower.chain(rest).collect())))
}

/// A side that `tokenizer_config.json` names, or the one of `tokenizer.json`.
fn side(folder: &Path, options: &Value, field: &'static str, left: bool) -> Result<PaddingSide, ModelError> {
    match options.get(field) {
        None | Some(Value::Null) => Ok(if left { PaddingSide::Left } else { PaddingSide::Right }),
        Some(side) if side == "left" => Ok(PaddingSide::Left),
        Some(side) if side == "right" => Ok(PaddingSide::Right),
        Some(other) => {
            let path = folder.join("tokenizer_config.json");
            Err(format(&path, format!("`{field}` is {other}, expected \"left\" or \"right\"")))
        }
    }
}

fn name(side: PaddingSide) -> &'static str {
    match side {
        PaddingSide::Left => "left",
        PaddingSide::Right => "right",
    }
}

/// A special token, which files write as a text or as an object with its properties.
fn content<'a>(value: &'a Value, token: &str) -> Option<&'a str> {
    let token = value.get(token)?;
    token.as_str().or_else(|| token.get("content")?.as_str())
}
