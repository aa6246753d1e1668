//! Options of sources.

use std::path::PathBuf;

use sail_core::{Named, display_and_parse_by_name};

/// Where a key is unique, in a source of several files.
///
/// Paths of images are the same in every file, so this does not apply to them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KeyScope {
    /// Within a file: two files may number their records anew. The keys begin with the name of the file without its suffix,
    /// as in `00001/000000042`; with its suffix, if files differ in nothing else.
    #[default]
    File,
    /// In all files. The keys remain as they are; captions of one key in two files are an error, and a second image of a key
    /// is skipped when it is encoded.
    Source,
}

impl Named for KeyScope {
    const ALL: &'static [Self] = &[Self::File, Self::Source];

    fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Source => "source",
        }
    }
}

display_and_parse_by_name!(KeyScope, "key_scope");

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
    /// Where keys are unique, if the source has several files.
    pub key_scope: KeyScope,
    /// The column with paths, URLs or bytes of images. Default: the first of `image`, `image.bytes`, `path`, `file_name`,
    /// `filepath`, `filename`, `image_path`, `image_name`, `url`, `image_url` and `URL` that exists. In tars, the field of the images, such as
    /// `target.jpg` or `target`.
    pub image_column: Option<String>,
    /// The caption columns of a table. Default: the first column of `caption`, `captions`, `text`, `comment` and `TEXT` that exists.
    /// In tars and folders, fields of the `.json` members, or in tars the names of text members, such as `outputs.txt`.
    /// Default: the text members or files.
    pub caption_columns: Vec<String>,
    /// Whether numbers and booleans in caption columns are texts: decimal numbers, `true` and `false`. By default they are unusable,
    /// since captions are words.
    pub scalars: bool,
    /// The folder that paths in a table or a COCO file are relative to and cannot leave. Default: the folder of that file.
    pub image_root: Option<PathBuf>,
    /// Whether the first row of a CSV or TSV file has the names of the columns. Without it, the columns are called `1`, `2`
    /// and so on.
    pub header: bool,
    /// Whether fields of a CSV or TSV file can be quoted. Without it, quotes are characters like others.
    pub quotes: bool,
    /// Whether symbolic links may lead out of the folder of images, and links to folders are listed. Links to files within
    /// the folder are always followed. In the hub's cache, whose files are links, it does not apply: they may lead to the
    /// files of their repository only.
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
            key_scope: KeyScope::File,
            image_column: None,
            caption_columns: Vec::new(),
            scalars: false,
            image_root: None,
            header: true,
            quotes: true,
            follow_links: false,
            max_image_bytes: 256 << 20,
            max_text_bytes: 1 << 20,
        }
    }
}
