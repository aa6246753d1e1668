//! Detecting and opening sources.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::chain::Chain;
use super::coco::{CocoCaptions, CocoImages};
use super::delimited::Delimited;
use super::folder::Folder;
use super::folder_captions::FolderCaptions;
use super::json_lines::JsonLines;
use super::layout::Layout;
use super::lines::TextLines;
use super::options::{KeyScope, SourceOptions};
use super::passed_over::PassedOver;
use super::record::{ImageData, RecordSource};
use super::scope::{self, KeyKind, OneOf};
use super::shards::{self, Files, IMAGES};
use super::table::{Table, TableCaptions, TableImages};
use super::tar::{TarCaptions, TarImages};
use crate::DataError;
use crate::error::ensure_file;
use crate::file::open_file;

const CAPTIONS: &str = "captions";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Folder,
    Tar,
    Delimited(Layout),
    JsonLines,
    Parquet,
    Coco,
    TextLines,
}

impl Format {
    /// Detects the format of a file by its extension, and of delimited text by its first line.
    fn of(path: &Path, options: &SourceOptions) -> Result<Option<Self>, DataError> {
        if path.is_dir() {
            return Ok(Some(Self::Folder));
        }
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let layout = || Layout::detect(path, options.header, options.quotes, options.max_text_bytes);
        Ok(Some(match extension.to_ascii_lowercase().as_str() {
            "tar" => Self::Tar,
            "csv" | "tsv" | "txt" => layout()?.map_or(Self::TextLines, Self::Delimited),
            "jsonl" | "ndjson" => Self::JsonLines,
            "parquet" => Self::Parquet,
            "json" => Self::Coco,
            _ => return Ok(None),
        }))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Folder => "a folder of images",
            Self::Tar => "a WebDataset tar",
            Self::Delimited(_) | Self::JsonLines | Self::Parquet => "a table",
            Self::Coco => "a COCO file",
            Self::TextLines => "a text file with one caption per line",
        }
    }

    fn is_table(self) -> bool {
        matches!(self, Self::Delimited(_) | Self::JsonLines | Self::Parquet)
    }

    /// Checks that the options apply to this format.
    fn check(
        self,
        path: &Path,
        options: &SourceOptions,
        more: &[(&'static str, bool)],
    ) -> Result<(), DataError> {
        let is_delimited = matches!(self, Self::Delimited(_));
        let own = [
            ("key_column", options.key_column.is_some() && !self.is_table()),
            ("image_column", options.image_column.is_some() && !self.is_table() && self != Self::Tar),
            ("header", !options.header && !is_delimited),
            ("quotes", !options.quotes && !is_delimited),
        ];
        match own.iter().chain(more).find(|(_, refused)| *refused) {
            Some(&(option, _)) => {
                Err(DataError::SourceOption { path: path.to_owned(), kind: self.name(), option })
            }
            None => Ok(()),
        }
    }
}

/// Opens images.
///
/// | path | images | key |
/// |---|---|---|
/// | a folder | the files with the extension of an image ([`is_image_name`](super::is_image_name)) in it and its subfolders, sorted by the bytes of their keys | the path relative to the folder, with `/` |
/// | a folder of `.tar`, or `.tar` | the members with these extensions ([WebDataset], as written by img2dataset), at most one per sample, in the order of the file names and of the members | the name of the member without its field |
/// | `.csv`, `.tsv`, `.jsonl`, `.ndjson`, `.parquet`, a folder of `.parquet` | [`image_column`](SourceOptions::image_column): paths, or bytes if a Parquet column is binary | [`key_column`](SourceOptions::key_column), else the path, else the row number |
/// | `.json` | `file_name` of the `images` of COCO captions | `file_name` |
///
/// The images and captions of a dataset have the same keys if both are opened with the same options. The last component of
/// the path may be a pattern such as `{00000..00099}.tar` or `train-*.parquet`; the files are concatenated. Keys of several
/// files begin with the name of their file, as in `00001/000000042`, unless they are paths of images
/// ([`KeyScope`]).
///
/// The delimiter of a CSV file is the comma, or what its header has instead: a tab, `;` or `|`. Tables are also `.txt` files
/// with columns of images and captions, as Flickr8k's `captions.txt`. Quotes are read as pandas reads them; a row with a quote
/// that does not close is skipped alone. Fields of structs in Parquet are named by their path, such as `image.bytes`. Parquet
/// needs the feature `parquet`.
///
/// The name of a member of a tar is split into the key of its sample and a field as in WebDataset, at the first dot behind
/// the last `/`: `a/0001.jpg`, `a/0001.seg.png`. Parts that are not names, as in `IMG_2020.01.05.jpg`, belong to the key. Of
/// several images of a sample, the [`image_column`](SourceOptions::image_column) chooses one by its field; without it, it is
/// the one with a plain suffix, else the first, and the others are skipped records. So are samples with the key of an earlier
/// one.
///
/// Files with other extensions are [counted](RecordSource::passed_over). Hidden ones are ignored: those with a leading dot,
/// and `__MACOSX` and `@eaDir`.
///
/// An unusable record has a reason instead of a value. Reasons include: an image that is missing, not a regular file or too
/// large; an absolute path outside the [`image_root`](SourceOptions::image_root), a path with `..`, or a link to a file
/// outside that folder; members of tars that are links, devices or sparse files, or have absolute names or `..`; names and
/// cells that are not valid UTF-8; invalid rows. Nothing is unpacked to disk.
///
/// Iterating over a corrupt or truncated tar or Parquet file returns the records before the corruption and then an error.
/// Memory does not grow with the number of records, with three exceptions: the names of a folder (about 80 bytes each), the
/// contents of COCO files, and hashes of keys that have to be unique, those of the samples of a tar and of tables with keys
/// beside paths (about 50 bytes each).
///
/// [WebDataset]: https://github.com/webdataset/webdataset
///
/// # Errors
/// [`DataError::NotASource`], [`DataError::NoColumn`], [`DataError::SourceOption`] for an option that does not apply,
/// [`DataError::Malformed`], [`DataError::Damaged`] and [`DataError::StandIn`] for invalid files,
/// [`DataError::NoParquet`], [`DataError::Io`].
///
/// # Examples
/// ```
/// use sail_data::source::{ImageData, SourceOptions, open_captions, open_images};
///
/// let folder = tempfile::tempdir()?;
/// std::fs::write(folder.path().join("cat.png"), b"the bytes of an image")?;
/// let table = folder.path().join("pets.csv");
/// std::fs::write(&table, "path,caption\ncat.png,a cat\n../dog.png,a dog\n")?;
///
/// let images = open_images(&table, &SourceOptions::default())?;
/// let images = images.records(0..2)?.collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(images[0].key, "cat.png");
/// assert!(matches!(&images[0].value, Ok(ImageData::File(path)) if path.ends_with("cat.png")));
/// assert!(images[1].value.is_err()); // outside the folder of the table
///
/// let captions = open_captions(&table, &SourceOptions::default())?;
/// assert_eq!(captions.count()?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open_images(
    path: &Path,
    options: &SourceOptions,
) -> Result<Box<dyn RecordSource<ImageData>>, DataError> {
    open(path, IMAGES, options, |format, path| {
        let rootless = matches!(format, Format::Folder | Format::Tar);
        format.check(path, options, &[("image_root", options.image_root.is_some() && rootless)])?;
        Ok(match format {
            Format::Folder => Some((Box::new(Folder::open(path, options)?), KeyKind::Path)),
            Format::Tar => Some((Box::new(TarImages::open(path, options)?), KeyKind::Name)),
            Format::Coco => Some((Box::new(CocoImages::open(path, options)?), KeyKind::Path)),
            Format::TextLines => None,
            table => {
                let table = TableImages::new(open_table(table, path, options)?, options)?;
                let keys = table.keys();
                Some((Box::new(table), keys))
            }
        })
    })
}

/// Opens captions.
///
/// | path | captions | key |
/// |---|---|---|
/// | `.csv`, `.tsv`, `.jsonl`, `.ndjson`, `.parquet` | [`caption_columns`](SourceOptions::caption_columns), row by row; every element of a list is a caption | [`key_column`](SourceOptions::key_column), else the path of the image, else the row number |
/// | a folder of images | the files `.txt` (or `.text`, `.caption`) of the same names, or fields of the `.json` files if columns are given; without such files, `metadata.csv`, `metadata.jsonl` or Parquet files in it | the path of the image |
/// | a folder of `.tar`, or `.tar` | the `.txt` (or `.text`, `.caption`) members, at most one per sample; or fields of the `.json` members and text members such as `outputs.txt`, if columns are given | the name of the member without its field |
/// | `.json` | COCO captions, in the order of `images`, then of the annotation ids | `file_name` of the image |
/// | `.txt` | the lines | the line number, from 1 |
///
/// Everything else is as in [`open_images`]. A caption that is missing, blank, not valid UTF-8 or too long is a record with a
/// reason. Captions are not modified, except that white space after the text of a `.txt` member or file is removed.
///
/// # Errors
/// Those of [`open_images`]. Counting returns [`DataError::KeyInFiles`] if two files have the same key although keys are
/// [unique in the source](KeyScope::Source).
///
/// # Examples
/// ```
/// use sail_data::source::{SourceOptions, open_captions};
///
/// let folder = tempfile::tempdir()?;
/// let lines = folder.path().join("captions.jsonl");
/// std::fs::write(&lines, r#"{"key": "cat", "captions": ["a cat", "a pet"], "long": "a cat sits"}"#)?;
/// let options =
///     SourceOptions { caption_columns: vec!["captions".into(), "long".into()], ..SourceOptions::default() };
/// let captions = open_captions(&lines, &options)?.records(1..3)?.collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(captions[0].value.as_deref(), Ok("a pet"));
/// assert_eq!(captions[1].value.as_deref(), Ok("a cat sits"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open_captions(
    path: &Path,
    options: &SourceOptions,
) -> Result<Box<dyn RecordSource<String>>, DataError> {
    open(path, CAPTIONS, options, |format, path| {
        let fixed = matches!(format, Format::Coco | Format::TextLines);
        format.check(path, options, &[("caption_columns", !options.caption_columns.is_empty() && fixed)])?;
        Ok(match format {
            Format::Folder => Some((Box::new(FolderCaptions::open(path, options)?), KeyKind::Path)),
            Format::Tar => Some((Box::new(TarCaptions::open(path, options)?), KeyKind::Name)),
            Format::Coco => Some((Box::new(CocoCaptions::open(path, options)?), KeyKind::Path)),
            Format::TextLines => {
                Some((Box::new(TextLines::open(path, options.max_text_bytes)?), KeyKind::Name))
            }
            table => {
                let table = TableCaptions::new(open_table(table, path, options)?, options)?;
                let keys = table.keys();
                Some((Box::new(table), keys))
            }
        })
    })
}

/// A source, and what its keys are.
type Opened<T> = (Box<dyn RecordSource<T>>, KeyKind);

/// Opens the files of a path or pattern with `open_file`, which returns `None` for a format without the wanted records.
fn open<T: 'static>(
    path: &Path,
    wanted: &'static str,
    options: &SourceOptions,
    open_file: impl Fn(Format, &Path) -> Result<Option<Opened<T>>, DataError>,
) -> Result<Box<dyn RecordSource<T>>, DataError> {
    let Files { files, passed_over } = shards::find(path, wanted, options)?;
    let mut sources: Vec<Box<dyn RecordSource<T>>> = Vec::with_capacity(files.len());
    let mut has_names = false;
    for (path, name) in files.iter().zip(scope::names(&files)) {
        check_content(path)?;
        let none =
            || DataError::NotASource { path: path.clone(), wanted, passed_over: PassedOver::default() };
        let format = Format::of(path, options)?.ok_or_else(none)?;
        let (source, keys) = open_file(format, path)?.ok_or_else(none)?;
        has_names |= keys == KeyKind::Name;
        sources.push(if files.len() == 1 {
            source
        } else {
            let prefixed = keys == KeyKind::Name && options.key_scope == KeyScope::File;
            Box::new(OneOf { source, file: name, prefixed })
        });
    }
    match sources.pop() {
        Some(source) if sources.is_empty() && passed_over.is_empty() => Ok(source),
        last => {
            sources.extend(last);
            // A second image of a key has no row, and a caption of it would be one of the first image.
            let distinct = has_names && options.key_scope == KeyScope::Source && wanted == CAPTIONS;
            Ok(Box::new(Chain::new(sources, distinct.then_some(files), passed_over)))
        }
    }
}

/// Checks that a file is not a pointer or a page in its place, and not in UTF-16, whose lines would be read as text with
/// zeros.
fn check_content(path: &Path) -> Result<(), DataError> {
    if path.is_dir() {
        return Ok(());
    }
    let mut start = Vec::new();
    open_file(path)?.take(512).read_to_end(&mut start).map_err(DataError::io(path))?;
    if let Some(found) = sail_support::stand_in(&start) {
        return Err(DataError::StandIn { path: path.to_owned(), found });
    }
    let is_utf16 = start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff");
    ensure_file(
        !is_utf16,
        path,
        "the encoding",
        "UTF-16",
        "UTF-8: convert it, for example with `iconv -f UTF-16 -t UTF-8`",
    )
}

fn open_table(format: Format, path: &Path, options: &SourceOptions) -> Result<Arc<dyn Table>, DataError> {
    let max = options.max_text_bytes;
    Ok(match format {
        Format::Delimited(layout) => Arc::new(Delimited::open(path, layout, max)?),
        Format::Parquet => open_parquet(path, options)?,
        _ => Arc::new(JsonLines::open(path, max)?),
    })
}

#[cfg(feature = "parquet")]
fn open_parquet(path: &Path, options: &SourceOptions) -> Result<Arc<dyn Table>, DataError> {
    Ok(Arc::new(super::parquet::Parquet::open(path, options)?))
}

#[cfg(not(feature = "parquet"))]
fn open_parquet(path: &Path, _: &SourceOptions) -> Result<Arc<dyn Table>, DataError> {
    Err(DataError::NoParquet { path: path.to_owned() })
}
