//! Content that is found in the place of a file.

use std::fmt;

use crate::strip_bom;

/// What a tool or a server left in the place of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandIn {
    /// A pointer of Git LFS.
    GitLfs,
    /// A pointer of git-annex.
    GitAnnex,
    /// An HTML page, such as a login or error page.
    Html,
    /// An XML error message of an object store.
    XmlError,
}

impl fmt::Display for StandIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GitLfs => "a Git LFS pointer instead of the file; run `git lfs pull` where it was cloned",
            Self::GitAnnex => {
                "a git-annex pointer instead of the file; run `git annex get` where it was cloned"
            }
            Self::Html => {
                "an HTML page instead of the file, such as a login or error page; download it again"
            }
            Self::XmlError => "an error message of an object store instead of the file; download it again",
        })
    }
}

/// Recognises content that stands in the place of another file, by its first bytes (512 suffice).
///
/// # Examples
/// ```
/// use sail_support::{StandIn, stand_in};
/// assert_eq!(stand_in(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a"), Some(StandIn::GitLfs));
/// assert_eq!(stand_in(b"\n<!DOCTYPE html><title>404</title>"), Some(StandIn::Html));
/// assert_eq!(stand_in(b"a caption"), None);
/// ```
pub fn stand_in(bytes: &[u8]) -> Option<StandIn> {
    let start = strip_bom(bytes).trim_ascii_start();
    let starts =
        |tag: &str| start.get(..tag.len()).is_some_and(|found| found.eq_ignore_ascii_case(tag.as_bytes()));
    let is_error = || start[..start.len().min(512)].windows(7).any(|window| window == b"<Error>");
    if starts("version https://git-lfs.github.com/spec/") {
        Some(StandIn::GitLfs)
    } else if starts("/annex/objects/") {
        Some(StandIn::GitAnnex)
    } else if starts("<!doctype html") || starts("<html") || starts("<head") {
        Some(StandIn::Html)
    } else if starts("<Error>") || starts("<?xml") && is_error() {
        Some(StandIn::XmlError)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_and_pointers_are_recognised() {
        let cases = [
            (&b"/annex/objects/SHA256E-s12--ab.png\n"[..], Some(StandIn::GitAnnex)),
            (b"\xEF\xBB\xBF<HTML lang=en>", Some(StandIn::Html)),
            (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code>", Some(StandIn::XmlError)),
            (b"<?xml version='1.0'?><svg/>", None),
            (b"<", None),
            (b"", None),
            (b"version 2", None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(stand_in(bytes), expected, "{}", bytes.escape_ascii());
        }
    }
}
