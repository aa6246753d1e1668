//! What a user may say about a source.

use std::path::PathBuf;

/// Which columns of a table to read, where its images are, and how much a record may ask for.
///
/// The default suits a dataset that uses the usual names. What does not apply to the kind of source that is
/// opened, such as a column of a folder, is an error and not ignored.
///
/// # Examples
/// ```
/// use sail_data::source::SourceOptions;
/// let options = SourceOptions { caption_columns: vec!["long_caption".into()], ..SourceOptions::default() };
/// assert_eq!(options.max_text_bytes, 1 << 20);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceOptions {
    /// The column of a table that holds the keys. By default `key`; where there is none, the image's
    /// path is the key, and where there is no path either, the number of the row (from 1; of the line in
    /// JSON lines).
    pub key_column: Option<String>,
    /// The column of a table that holds paths or bytes of images. By default the first there is of
    /// `image`, `image.bytes`, `path`, `file_name` and `filepath`.
    pub image_column: Option<String>,
    /// The columns of a table, or fields of the `.json` members of a tar, that hold captions. By default
    /// the first column there is of `caption`, `captions` and `text`, and the `.txt` members of a tar.
    pub caption_columns: Vec<String>,
    /// The folder that the paths in a table or a COCO file are relative to, and that they cannot leave; by
    /// default the folder of that file.
    pub image_root: Option<PathBuf>,
    /// Whether images may be symbolic links that lead out of their folder. Links within it are always
    /// followed, links to folders never while a folder is walked over.
    pub follow_links: bool,
    /// The most bytes that an image may have. By default 256 MiB.
    pub max_image_bytes: u64,
    /// The most bytes that a caption, a line, a row of CSV or a list of captions may have. By default 1 MiB.
    pub max_text_bytes: usize,
}

impl Default for SourceOptions {
    fn default() -> Self {
        Self {
            key_column: None,
            image_column: None,
            caption_columns: Vec::new(),
            image_root: None,
            follow_links: false,
            max_image_bytes: 256 << 20,
            max_text_bytes: 1 << 20,
        }
    }
}
