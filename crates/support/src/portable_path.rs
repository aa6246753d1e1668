//! Names of files from elsewhere.

/// Returns whether a file name is a relative path inside its folder on every operating system.
///
/// # Examples
/// ```
/// use sail_support::is_portable_path;
/// assert!(is_portable_path("test/0.tar") && !is_portable_path("../0.tar") && !is_portable_path("C:/0.tar"));
/// ```
pub fn is_portable_path(name: &str) -> bool {
    let is_part = |part: &str| {
        let plain = |c: char| !c.is_control() && !matches!(c, '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|');
        !part.is_empty() && part != "." && part != ".." && part.len() <= 255 && part.chars().all(plain)
    };
    name.len() <= 1024 && name.split('/').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_plain_relative_paths_only() {
        for name in ["a.csv", "test/0.tar", "MLLM_VLM Images/Colour & light/1.jpg", "größe/ä.png", "a/.b/..c"]
        {
            assert!(is_portable_path(name), "{name}");
        }
        for name in ["", "/a", "a/", "a//b", "../a", "a/../../b", "a/./b", "a\\..\\b", "C:/a", "a\0b", "a\nb"]
        {
            assert!(!is_portable_path(name), "{name:?}");
        }
    }
}
