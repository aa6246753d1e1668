//! Validation of captions.

/// Validates a caption of at most `max` bytes. The error is the reason why it is skipped.
pub(super) fn caption(bytes: Vec<u8>, max: usize) -> Result<String, String> {
    if bytes.len() > max {
        return Err(too_long("caption", bytes.len() as u64, max as u64));
    }
    let text = text(bytes, "caption")?;
    if text.chars().all(char::is_whitespace) {
        return Err("the caption is empty".to_owned());
    }
    Ok(text)
}

/// Decodes a text. The error is the reason why it is skipped.
pub(super) fn text(bytes: Vec<u8>, what: &str) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|_| format!("the {what} is not valid UTF-8"))
}

/// The reason for skipping a value that is too long.
pub(super) fn too_long(what: &str, bytes: u64, max: u64) -> String {
    format!("the {what} has {bytes} bytes, expected at most {max}")
}
