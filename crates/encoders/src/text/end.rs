//! The end of a text, where the files of a tokenizer leave it to code.

use tokenizers::PostProcessorWrapper;
use tokenizers::processors::sequence::Sequence;
use tokenizers::processors::template::TemplateProcessing;

/// Appends the end token to the special tokens of every text, unless the tokenizer does so already.
///
/// For `add_eos_token` of `tokenizer_config.json`, which classes of transformers and those of models apply (E5-Mistral,
/// GTE-Qwen2): without its end, the last token of a text is a word.
pub(super) fn append(tokenizer: &mut tokenizers::Tokenizer, end: &str) -> tokenizers::Result<()> {
    let id =
        tokenizer.token_to_id(end).ok_or_else(|| format!("the end token {end} is not in the vocabulary"))?;
    if tokenizer.encode_fast("", true)?.get_ids().last() == Some(&id) {
        return Ok(());
    }
    let template = TemplateProcessing::builder()
        .try_single(vec!["$A", end])?
        .special_tokens(vec![(end.to_owned(), id)])
        .build()?;
    let own = tokenizer.get_post_processor().cloned();
    let processors = own.into_iter().chain([PostProcessorWrapper::Template(template)]).collect();
    tokenizer.with_post_processor(Some(PostProcessorWrapper::Sequence(Sequence::new(processors))));
    Ok(())
}
