//! Expansion of a path or pattern to files.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::image_root::is_image_extension;
use super::listing::{is_hidden, list};
use super::options::SourceOptions;
use super::passed_over::PassedOver;
use super::sidecar::is_caption_suffix;
use crate::DataError;
use crate::file::open_file;

/// What is opened, in messages.
pub(super) const IMAGES: &str = "images";

/// Maximum number of files of a pattern.
const MAX_FILES: usize = 1 << 20;

/// The files of a path or pattern.
pub(super) struct Files {
    pub(super) files: Vec<PathBuf>,
    /// The files of the folder that are passed over for those.
    pub(super) passed_over: PassedOver,
}

/// Returns the tars or tables of a folder, the files that match a pattern, or the path itself.
///
/// If the path does not exist, its last component may be a pattern: `{00000..00099}` is a range, `{a,b}` are alternatives,
/// `*` matches any string and `?` one character. All files of a brace expansion must exist. A file that matches twice is read
/// once.
pub(super) fn find(path: &Path, wanted: &'static str, options: &SourceOptions) -> Result<Files, DataError> {
    let none = || DataError::NotASource { path: path.to_owned(), wanted, passed_over: PassedOver::default() };
    let folder = path.parent().unwrap_or(Path::new(""));
    let pattern = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if path.is_dir() {
        return in_folder(path, wanted, options);
    }
    let found = |files| Ok(Files { files, passed_over: PassedOver::default() });
    if path.exists() || !pattern.contains(['*', '?', '{']) {
        open_file(path)?;
        return found(vec![path.to_owned()]);
    }
    let mut names = Vec::new();
    expand(pattern, &mut names).ok_or_else(none)?;
    let mut files = Vec::new();
    for name in names {
        if name.contains(['*', '?']) {
            files.extend(matching(folder, &name)?);
        } else {
            let file = folder.join(name);
            open_file(&file)?;
            files.push(file);
        }
    }
    let mut known = HashSet::new();
    files.retain(|file| known.insert(file.clone()));
    if files.is_empty() { Err(none()) } else { found(files) }
}

/// Tables of the captions of a folder of images, as in the layout of Hugging Face's `imagefolder`.
const METADATA: [&str; 3] = ["metadata.csv", "metadata.jsonl", "metadata.parquet"];

/// Returns the archives or tables of a folder, or the folder itself.
///
/// Beside images, tables are used for captions only, and only if these are not in files of their own.
fn in_folder(folder: &Path, wanted: &'static str, options: &SourceOptions) -> Result<Files, DataError> {
    let mut files = matching(folder, "*.tar")?;
    if files.is_empty() {
        files = METADATA.iter().map(|name| folder.join(name)).filter(|path| path.is_file()).take(1).collect();
    }
    if files.is_empty() {
        files = matching(folder, "*.parquet")?;
    }
    let itself = || Files { files: vec![folder.to_owned()], passed_over: PassedOver::default() };
    let Some(first) = files.first() else { return Ok(itself()) };
    let is_table = first.extension().is_some_and(|extension| extension != "tar");
    let known: HashSet<&str> =
        files.iter().filter_map(|file| file.file_name().and_then(|name| name.to_str())).collect();
    let (mut passed_over, mut images, mut captions) = (PassedOver::default(), HashSet::new(), Vec::new());
    list(folder, options.follow_links, |entry| {
        if !known.contains(entry.key.as_str()) {
            passed_over.add(&entry.key);
        }
        if let (true, Some((stem, suffix))) = (is_table, entry.key.rsplit_once('.')) {
            if is_image_extension(suffix) {
                images.insert(stem.to_owned());
            } else if is_caption_suffix(suffix, options) {
                captions.push(stem.to_owned());
            }
        }
    })?;
    let has_captions = || captions.iter().any(|stem| images.contains(stem));
    if !images.is_empty() && (wanted == IMAGES || has_captions()) {
        return Ok(itself());
    }
    Ok(Files { files, passed_over })
}

/// Returns the files of a folder whose names match, sorted by name.
fn matching(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, DataError> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(DataError::io(folder))? {
        let entry = entry.map_err(DataError::io(folder))?;
        let matches = entry
            .file_name()
            .to_str()
            // As in a shell, `*` does not match a leading dot.
            .filter(|name| !is_hidden(name) || pattern.starts_with('.'))
            .is_some_and(|name| matches_wildcards(pattern.as_bytes(), name.as_bytes()));
        if matches && !entry.path().is_dir() {
            files.push(entry.path());
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Returns whether a name matches a pattern with `*` and `?`.
fn matches_wildcards(pattern: &[u8], name: &[u8]) -> bool {
    // After a mismatch, the last `*` matches one more byte.
    let (mut at, mut in_name) = (0, 0);
    let mut star = None;
    while in_name < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at + 1, in_name));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[in_name] => {
                at += 1;
                in_name += 1;
            }
            _ => match star {
                Some((after, from)) => {
                    star = Some((after, from + 1));
                    (at, in_name) = (after, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

/// Expands the braces of a pattern. Returns `None` if they are invalid or expand to too many names.
fn expand(pattern: &str, into: &mut Vec<String>) -> Option<()> {
    let Some((before, rest)) = pattern.split_once('{') else {
        into.push(pattern.to_owned());
        return (into.len() <= MAX_FILES).then_some(());
    };
    let (inside, after) = rest.split_once('}')?;
    if let Some((first, last)) = inside.split_once("..") {
        let (from, to): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        let width = first.len();
        (from..=to).try_for_each(|number| expand(&format!("{before}{number:0width$}{after}"), into))
    } else {
        inside.split(',').try_for_each(|part| expand(&format!("{before}{part}{after}"), into))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(pattern: &str) -> Option<Vec<String>> {
        let mut names = Vec::new();
        expand(pattern, &mut names).map(|()| names)
    }

    #[test]
    fn expands_braces() {
        assert_eq!(expanded("a.tar").unwrap(), ["a.tar"]);
        assert_eq!(expanded("{098..101}.tar").unwrap(), ["098.tar", "099.tar", "100.tar", "101.tar"]);
        assert_eq!(expanded("{a,b}-{0..1}").unwrap(), ["a-0", "a-1", "b-0", "b-1"]);
        assert_eq!(expanded("{3..1}").unwrap(), Vec::<String>::new());
        for bad in ["{", "{a", "{a..b}", "{0..99999999999}", "{0..9999}{0..9999}"] {
            assert_eq!(expanded(bad), None, "{bad}");
        }
    }

    #[test]
    fn matches_wildcard_patterns() {
        for (pattern, name, expected) in [
            ("*.tar", "00000.tar", true),
            ("*.tar", ".tar", true),
            ("*.tar", "a.tar.gz", false),
            ("a*b*c", "axxbxxbc", true),
            ("a*b*c", "axxbxxb", false),
            ("?.tar", "a.tar", true),
            ("?.tar", "ab.tar", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches_wildcards(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }
}
