//! Options of sources.

use std::path::PathBuf;

/// The columns of a table, the folder of its images, and limits on the size of records.
///
/// The default is for datasets with the usual column names. An option that does not apply to a source, such as a column of
/// a folder, is an error.
///
/// # Examples
/// ```
/// use sail_data::source::SourceOptions;
/// let options = SourceOptions { caption_columns: vec!["long_caption".into()], ..SourceOptions::default() };
/// assert_eq!(options.max_text_bytes, 1 << 20);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceOptions {
    /// The key column of a table. Default: `key`, else the column of image paths, else the row number (from 1; in JSON lines
    /// the line number).
    pub key_column: Option<String>,
    /// The column with paths, URLs or bytes of images. Default: the first of `image`, `image.bytes`, `path`, `file_name`,
    /// `filepath`, `url`, `image_url` and `URL` that exists.
    pub image_column: Option<String>,
    /// The caption columns of a table, or caption fields of the `.json` members of a tar. Default: the first column of
    /// `caption`, `captions`, `text` and `TEXT` that exists, and the `.txt` members of a tar.
    pub caption_columns: Vec<String>,
    /// The folder that paths in a table or a COCO file are relative to and cannot leave. Default: the folder of that file.
    pub image_root: Option<PathBuf>,
    /// Whether images may be symbolic links to files outside their folder. Links within the folder are always followed;
    /// links to folders are never followed when a folder is listed.
    pub follow_links: bool,
    /// Maximum length of an image file in bytes. Default: 256 MiB.
    pub max_image_bytes: u64,
    /// Maximum length of a caption, a line, a CSV row or a list of captions in bytes. Default: 1 MiB.
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
