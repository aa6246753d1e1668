//! Tokenizers of published models.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use sail_core::{InputError, Padding, PaddingSide, Processor, TokenIds, Tokenizer};
use sail_support::{catch_panic, hex, strip_bom};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokenizers::normalizers::{Lowercase, NormalizerWrapper, Sequence};
use tokenizers::utils::truncation::{TruncationDirection, TruncationParams};
use tokenizers::{PaddingDirection, PostProcessor};

use super::end;
use super::growth::growth;
use super::limit;
use super::wordpiece::{CONVERT, from_vocabulary};
use crate::families::{self, Source};
use crate::pretrained::small_file::{MAX_JSON, format, read, read_json};
use crate::pretrained::{Checkpoint, ModelError};
use crate::spec::TextSpec;

/// Maximum size of a tokenizer file, far above published ones.
const MAX_BYTES: u64 = 256 << 20;

/// Bytes of text per token of the limit that are tokenized, and their minimum. Typical text has four to five bytes per token,
/// so the rest would be truncated anyway.
const BYTES_PER_TOKEN: usize = 64;
const MIN_BYTES: usize = 1 << 16;
/// Maximum growth of a text by the normalizer. Common ones replace a character by a few.
const MAX_GROWTH: usize = 1024;

/// The tokenizer of a published model with its limit and special tokens.
///
/// Reads `tokenizer.json`, else the `vocab.txt` of BERT, and the options of sentence-transformers and transformers:
///
/// | option | source |
/// |---|---|
/// | limit | `max_seq_length` of `sentence_bert_config.json` (or `model_max_length` in its tokenizer arguments), else the minimum of `model_max_length` of `tokenizer_config.json` and the positions of `config.json`; at most the positions of the model |
/// | side of padding and truncation | `tokenizer_config.json`, else `tokenizer.json`, else right |
/// | padding token | `pad_token` of `tokenizer_config.json` or `special_tokens_map.json`, else `tokenizer.json`, else `config.json` |
/// | fixed length | models that are always padded, such as SigLIP |
/// | end of a text | `tokenizer.json`; with `add_eos_token` of `tokenizer_config.json`, its `eos_token` is appended, too |
/// | lower case | `do_lower_case` of `tokenizer_config.json`, which overrides the normalizer of BERT, and of `sentence_bert_config.json` |
///
/// Truncation and padding in `tokenizer.json` are ignored. Very long texts are cut to 64 KiB, or to 64 bytes per token of
/// the limit if that is more, before they are tokenized. An empty text consists of the special tokens.
pub struct PretrainedTokenizer {
    tokenizer: tokenizers::Tokenizer,
    limit: usize,
    padding: Padding,
    /// Whether all texts are padded to the limit, with tokens like all others.
    padded: bool,
    truncation: PaddingSide,
    /// Comes before every text.
    prompt: String,
    /// Comes after every text.
    suffix: String,
    /// Hash of the tokenizer without truncation, and the tokens of an empty text.
    identity: [String; 2],
}

impl std::fmt::Debug for PretrainedTokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PretrainedTokenizer").field(&self.describe()).finish()
    }
}

impl PretrainedTokenizer {
    /// Opens the tokenizer of a model folder.
    ///
    /// # Errors
    /// Returns [`ModelError`] if the tokenizer is missing, invalid or unsupported.
    pub fn open(folder: &Path) -> Result<Self, ModelError> {
        let config: Value = read_json(&folder.join("config.json"), MAX_JSON)?.unwrap_or_default();
        let checkpoint = Checkpoint::default();
        let known = families::find(&config).is_some_and(|family| family.text.is_some());
        let plan = known.then(|| families::text(&Source { config: &config, checkpoint: &checkpoint }));
        Self::of_model(folder, plan.transpose()?.as_ref().map(|plan| &plan.spec))
    }

    /// Opens the tokenizer of a model with this specification, if it is known.
    pub(crate) fn of_model(folder: &Path, spec: Option<&TextSpec>) -> Result<Self, ModelError> {
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
        let lower_case = sentence["do_lower_case"] == true || spec.is_some_and(|spec| spec.lower_case);
        if let Some(normalizer) = normalizer(tokenizer.get_normalizer(), &options, lower_case) {
            // Normalizes the added tokens again, which may panic like the tokenization of a text.
            let replaced = contained(|| tokenizer.with_normalizer(Some(normalizer)).map(|_| ()));
            replaced.map_err(|reason| format(&path, reason))?;
        }

        let suffix = end(folder, &mut tokenizer, &options, &special, spec)?;
        let longest = spec.map(|spec| spec.max_length);
        let limit = limit::limit(folder, &options, &config, &sentence, truncation.as_ref(), longest)?;
        let added = tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
        if added >= limit {
            let reason = format!("{added} special tokens, but the model supports at most {limit} tokens");
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
            // Padding is masked, so any token is a valid default.
            id: named.or(padding.map(|padding| padding.pad_id)).or_else(configured).unwrap_or(0),
            side: side(folder, &options, "padding_side", padded_left)?,
        };

        let bytes = tokenizer.to_string(false).map_err(broken)?;
        let hash = hex(&Sha256::digest(&bytes)[..8]);
        let identity = [hash, String::new()];
        let padded = spec.is_some_and(|spec| spec.padded);
        let prompt = String::new();
        let mut tokenizer = Self { tokenizer, limit, padding, padded, truncation, prompt, suffix, identity };
        tokenizer.identity[1] =
            tokenizer.special_tokens().map_err(|InputError(reason)| format(&path, reason))?;
        let direction = match truncation {
            PaddingSide::Left => TruncationDirection::Left,
            PaddingSide::Right => TruncationDirection::Right,
        };
        let truncation = TruncationParams { max_length: limit, direction, ..TruncationParams::default() };
        tokenizer.tokenizer.with_truncation(Some(truncation)).map_err(broken)?;
        Ok(tokenizer)
    }

    /// Returns the maximum number of tokens of a text, including special tokens.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Returns the tokenizer with a prompt before every text.
    #[must_use]
    pub fn with_prompt(self, prompt: impl Into<String>) -> Self {
        Self { prompt: prompt.into(), ..self }
    }

    /// Returns the number of tokens at the start of every text that belong to the prompt, including a special token before
    /// it, as in sentence-transformers.
    ///
    /// # Errors
    /// Returns [`InputError`] if the prompt cannot be tokenized.
    pub fn prompt_tokens(&self) -> Result<usize, InputError> {
        if self.prompt.is_empty() {
            return Ok(0);
        }
        let ids = self.encode("")?;
        let tokens = self.tokenizer.get_added_tokens_decoder();
        let is_special = |id: &u32| tokens.get(id).is_some_and(|token| token.special);
        Ok(ids.len() - usize::from(ids.last().is_some_and(is_special)))
    }

    /// Returns the special tokens around a text, for the description.
    fn special_tokens(&self) -> Result<String, InputError> {
        let ids = self.encode("")?;
        let tokens = ids.iter().map(|&id| self.tokenizer.id_to_token(id).unwrap_or_else(|| id.to_string()));
        let tokens: Vec<String> = tokens.collect();
        Ok(if tokens.is_empty() { "no special tokens".to_owned() } else { tokens.join(" ") })
    }

    /// Returns the tokens of a text with its prompt and suffix, without padding.
    fn encode(&self, text: &str) -> Result<Vec<u32>, InputError> {
        let whole = [&self.prompt, text, &self.suffix];
        let text = if whole == ["", text, ""] { Cow::Borrowed(text) } else { Cow::Owned(whole.concat()) };
        let text = self.cut(&text);
        let encoding = contained(|| self.tokenizer.encode_fast(text, true)).map_err(InputError)?;
        let ids = encoding.get_ids();
        if ids.len() > self.limit {
            let reason =
                format!("the tokenizer returns {} tokens, more than its limit of {}", ids.len(), self.limit);
            return Err(InputError(reason));
        }
        Ok(ids.to_vec())
    }

    /// Cuts a text to the part that can contribute tokens.
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
        let mut ids = self.encode(text)?;
        if self.padded {
            let length = ids.len();
            ids.resize(self.limit.max(length), self.padding.id);
            if self.padding.side == PaddingSide::Left {
                ids.rotate_left(length);
            }
        }
        Ok(TokenIds(ids))
    }

    fn padding(&self) -> Padding {
        self.padding
    }

    fn describe(&self) -> String {
        let [hash, special_tokens] = &self.identity;
        format!(
            "tokenizer {hash}, {} {} tokens with {special_tokens}, cut at the {}, padded with {} at the {}",
            if self.padded { "always" } else { "at most" },
            self.limit,
            name(self.truncation),
            self.padding.id,
            name(self.padding.side)
        )
    }

    fn processor(&self) -> Processor {
        let [hash, special_tokens] = &self.identity;
        let mut settings = json!({
            "tokenizer": hash,
            "max_length": self.limit,
            "special_tokens": special_tokens,
            "truncation_side": name(self.truncation),
            "padding_side": name(self.padding.side),
            "pad_token_id": self.padding.id,
        });
        if self.padded {
            settings["min_length"] = self.limit.into();
        }
        settings.as_object().map_or_else(
            || Processor::Description(self.describe()),
            |settings| Processor::Settings(settings.clone()),
        )
    }
}

/// Calls the `tokenizers` library, which may panic on an invalid tokenizer file.
fn contained<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    match catch_panic(work) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(message) => {
            Err(format!("the tokenizer file causes a panic in the tokenizers library: {message}"))
        }
    }
}

fn read_tokenizer(folder: &Path, path: &Path, options: &Value) -> Result<tokenizers::Tokenizer, ModelError> {
    let Some(bytes) = read(path, MAX_BYTES)? else {
        let path = folder.join("vocab.txt");
        if let Some(bytes) = read(&path, MAX_BYTES)? {
            return from_vocabulary(&path, strip_bom(&bytes), options);
        }
        if let Some(path) = sentence_piece(folder) {
            return Err(format(&path, format!("models of SentencePiece are not read: {CONVERT}")));
        }
        return Err(ModelError::Missing {
            folder: folder.display().to_string(),
            what: "tokenizer",
            looked_for: vec!["tokenizer.json".into(), format!("vocab.txt ({CONVERT})")],
        });
    };
    let tokenizer = contained(|| tokenizers::Tokenizer::from_bytes(strip_bom(&bytes)))
        .map_err(|reason| format(path, reason))?;
    let normalizer = serde_json::to_value(tokenizer.get_normalizer());
    let normalizer = normalizer.map_err(|error| format(path, error.to_string()))?;
    match growth(&normalizer) {
        Some(growth) if growth <= MAX_GROWTH => Ok(tokenizer),
        _ => Err(format(path, format!("its normalizer can make a text more than {MAX_GROWTH} times longer"))),
    }
}

/// Finds the only tokenizer of some older models.
fn sentence_piece(folder: &Path) -> Option<PathBuf> {
    let names = ["spiece.model", "sentencepiece.bpe.model", "tokenizer.model"];
    names.map(|name| folder.join(name)).into_iter().find(|path| path.exists())
}

/// Sets the end of texts, and returns what to put after every text.
fn end(
    folder: &Path,
    tokenizer: &mut tokenizers::Tokenizer,
    options: &Value,
    special: &Value,
    spec: Option<&TextSpec>,
) -> Result<String, ModelError> {
    let as_token = options["add_eos_token"] == true;
    let as_text = spec.is_some_and(|spec| spec.appends_end);
    if !as_token && !as_text {
        return Ok(String::new());
    }
    let path = folder.join("tokenizer_config.json");
    let end = content(options, "eos_token").or_else(|| content(special, "eos_token"));
    let end = end.ok_or_else(|| format(&path, "no `eos_token`, which the model puts after every text"))?;
    if as_token {
        contained(|| end::append(tokenizer, end)).map_err(|reason| format(&path, reason))?;
    }
    Ok(if as_text { end.to_owned() } else { String::new() })
}

/// Returns the normalizer if the options override that of the file.
fn normalizer(
    file: Option<&NormalizerWrapper>,
    options: &Value,
    lower_case: bool,
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
    if !lower_case {
        return changed;
    }
    let rest = changed.or_else(|| file.cloned());
    let lower = std::iter::once(NormalizerWrapper::Lowercase(Lowercase));
    Some(NormalizerWrapper::Sequence(Sequence::new(lower.chain(rest).collect())))
}

/// Returns a side of `tokenizer_config.json`, else that of `tokenizer.json`.
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

/// Returns the text of a special token, which is a string or an object with properties.
fn content<'a>(value: &'a Value, token: &str) -> Option<&'a str> {
    let token = value.get(token)?;
    token.as_str().or_else(|| token.get("content")?.as_str())
}
