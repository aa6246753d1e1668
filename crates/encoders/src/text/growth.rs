//! Growth of texts by the normalizer of a tokenizer.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Returns an upper bound of the output bytes per input byte for the replacements of a normalizer, or `None` if the
/// normalizer is malformed. Unicode normalization is not counted, because its growth is bounded.
pub(super) fn growth(normalizer: &Value) -> Option<usize> {
    match normalizer.get("type").and_then(Value::as_str) {
        Some("Sequence") => {
            let mut parts = normalizer.get("normalizers")?.as_array()?.iter();
            parts.try_fold(1_usize, |product, part| Some(product.saturating_mul(growth(part)?)))
        }
        Some("Replace") => Some(normalizer.get("content")?.as_str()?.len().max(1)),
        Some("Prepend") => Some(normalizer.get("prepend")?.as_str()?.len() + 1),
        Some("Precompiled") => longest_replacement(normalizer.get("precompiled_charsmap")?.as_str()?),
        _ => Some(1),
    }
}

/// Returns the length of the longest replacement in a SentencePiece character map, which has the length of a trie, the trie,
/// and zero-terminated replacements.
fn longest_replacement(map: &str) -> Option<usize> {
    let bytes = STANDARD.decode(map).ok()?;
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let replacements = rest.get(u32::from_le_bytes(*length) as usize..)?;
    Some(replacements.split(|&byte| byte == 0).map(<[u8]>::len).max().unwrap_or(0).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn growth_of_a_sequence_is_the_product() {
        let replace =
            |content: &str| json!({"type": "Replace", "pattern": {"String": "a"}, "content": content});
        let chain = |parts: Vec<Value>| json!({"type": "Sequence", "normalizers": parts});
        assert_eq!(growth(&replace("")), Some(1));
        assert_eq!(growth(&chain(vec![replace("aaaa"), chain(vec![replace("aaaaa"); 3])])), Some(500));
        assert_eq!(growth(&chain(vec![replace("aaaaaaaaaa"); 100])), Some(usize::MAX));
        assert_eq!(growth(&json!({"type": "NFKC"})), Some(1));
        assert_eq!(growth(&Value::Null), Some(1));
    }

    #[test]
    fn growth_of_a_character_map_is_its_longest_replacement() {
        let mut map = vec![4, 0, 0, 0, 9, 9, 9, 9];
        map.extend(b"ab\0abcdefg\0c\0");
        let normalizer =
            |map: &[u8]| json!({"type": "Precompiled", "precompiled_charsmap": STANDARD.encode(map)});
        assert_eq!(growth(&normalizer(&map)), Some(7));
        assert_eq!(growth(&normalizer(&map[..6])), None);
    }
}
