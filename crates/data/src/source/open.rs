//! Detecting and opening sources.

use std::path::Path;
use std::sync::Arc;

use super::chain::Chain;
use super::coco::{CocoCaptions, CocoImages};
use super::delimited::Delimited;
use super::folder::Folder;
use super::json_lines::JsonLines;
use super::lines::TextLines;
use super::options::SourceOptions;
use super::record::{ImageData, RecordSource};
use super::shards;
use super::table::{Table, TableCaptions, TableImages, key_column};
use super::tar::{TarCaptions, TarImages};
use crate::DataError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Folder,
    Tar,
    Delimited(u8),
    JsonLines,
    Parquet,
    Coco,
    TextLines,
}

impl Format {
    fn of(path: &Path) -> Option<Self> {
        if path.is_dir() {
            return Some(Self::Folder);
        }
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "tar" => Some(Self::Tar),
            "csv" => Some(Self::Delimited(b',')),
            "tsv" => Some(Self::Delimited(b'\t')),
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            "parquet" => Some(Self::Parquet),
            "json" => Some(Self::Coco),
            "txt" => Some(Self::TextLines),
            _ => None,
        }
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
        let columns = [
            ("key_column", options.key_column.is_some() && !self.is_table()),
            ("image_column", options.image_column.is_some() && !self.is_table()),
        ];
        match columns.iter().chain(more).find(|(_, refused)| *refused) {
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
/// | a folder | all `.jpg`, `.jpeg`, `.png`, `.webp`, `.gif`, `.bmp`, `.tif` and `.tiff` in it and its subfolders, sorted by the bytes of their keys | the path relative to the folder, with `/` |
/// | a folder of `.tar`, or `.tar` | the members with these extensions ([WebDataset], as written by img2dataset), in the order of the file names and of the members | the name of the member up to the first dot after the last `/` |
/// | `.csv`, `.tsv`, `.jsonl`, `.ndjson`, `.parquet` | [`image_column`](SourceOptions::image_column): paths, or bytes if a Parquet column is binary | [`key_column`](SourceOptions::key_column), else the path, else the row number |
/// | `.json` | `file_name` of the `images` of COCO captions | `file_name` |
///
/// The images and captions of a dataset have the same keys if both are opened with the same options. The last component of
/// the path may be a pattern such as `{00000..00099}.tar` or `train-*.parquet`; the files are concatenated, so their keys
/// must not be row numbers. CSV and TSV files need a header. Fields of structs in Parquet are named by their path, such as
/// `image.bytes`. Parquet needs the feature `parquet`.
///
/// An unusable record has a reason instead of a value. Reasons include: an image that is missing, not a regular file or too
/// large; an absolute path outside the [`image_root`](SourceOptions::image_root), a path with `..`, or a link to a file
/// outside that folder; members of tars that are links, devices or sparse files, or have absolute names or `..`; names and
/// cells that are not valid UTF-8; invalid rows. Nothing is unpacked to disk.
///
/// Iterating over a corrupt or truncated tar or Parquet file returns the records before the corruption and then an error.
/// Memory does not grow with the number of records, with two exceptions: the names of a folder (about 80 bytes each) and
/// the contents of COCO files are kept.
///
/// [WebDataset]: https://github.com/webdataset/webdataset
///
/// # Errors
/// [`DataError::NotASource`], [`DataError::NoColumn`], [`DataError::SourceOption`] for an option that does not apply,
/// [`DataError::Malformed`] and [`DataError::Damaged`] for invalid files, [`DataError::IndexKeys`],
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
    open(path, "images", options, |format, path| {
        let rootless = matches!(format, Format::Folder | Format::Tar);
        format.check(path, options, &[("image_root", options.image_root.is_some() && rootless)])?;
        Ok(match format {
            Format::Folder => Some(Box::new(Folder::open(path, options)?)),
            Format::Tar => Some(Box::new(TarImages::open(path, options)?)),
            Format::Coco => Some(Box::new(CocoImages::open(path, options)?)),
            Format::TextLines => None,
            table => Some(Box::new(TableImages::new(open_table(table, path, options)?, options)?)),
        })
    })
}

/// Opens captions.
///
/// | path | captions | key |
/// |---|---|---|
/// | `.csv`, `.tsv`, `.jsonl`, `.ndjson`, `.parquet` | [`caption_columns`](SourceOptions::caption_columns), row by row; every element of a list is a caption | [`key_column`](SourceOptions::key_column), else the path of the image, else the row number |
/// | a folder of `.tar`, or `.tar` | the `.txt` members, or fields of the `.json` members if columns are given | the name of the member up to the first dot after the last `/` |
/// | `.json` | COCO captions, in the order of `images`, then of the annotation ids | `file_name` of the image |
/// | `.txt` | the lines | the line number, from 1 |
///
/// Everything else is as in [`open_images`]. A caption that is missing, blank, not valid UTF-8 or too long is a record with a
/// reason. Captions are not modified, except that white space after the text of a `.txt` member is removed.
///
/// # Errors
/// Those of [`open_images`].
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
    open(path, "captions", options, |format, path| {
        let fixed = matches!(format, Format::Coco | Format::TextLines);
        format.check(path, options, &[("caption_columns", !options.caption_columns.is_empty() && fixed)])?;
        Ok(match format {
            Format::Folder => None,
            Format::Tar => Some(Box::new(TarCaptions::open(path, options)?)),
            Format::Coco => Some(Box::new(CocoCaptions::open(path, options)?)),
            Format::TextLines => Some(Box::new(TextLines::open(path, options.max_text_bytes)?)),
            table => Some(Box::new(TableCaptions::new(open_table(table, path, options)?, options)?)),
        })
    })
}

/// Opens the files of a path or pattern with `open_file`, which returns `None` for a format without the wanted records.
fn open<T: 'static>(
    path: &Path,
    wanted: &'static str,
    options: &SourceOptions,
    open_file: impl Fn(Format, &Path) -> Result<Option<Box<dyn RecordSource<T>>>, DataError>,
) -> Result<Box<dyn RecordSource<T>>, DataError> {
    let files = shards::find(path, wanted)?;
    let mut sources = Vec::with_capacity(files.len());
    for file in &files {
        let none = || DataError::NotASource { path: file.clone(), wanted };
        let format = Format::of(file).ok_or_else(none)?;
        if files.len() > 1 && has_index_keys(format, file, options)? {
            return Err(DataError::IndexKeys { path: file.clone() });
        }
        sources.push(open_file(format, file)?.ok_or_else(none)?);
    }
    match sources.pop() {
        Some(source) if sources.is_empty() => Ok(source),
        last => Ok(Box::new(Chain::new(sources.into_iter().chain(last).collect()))),
    }
}

/// Returns whether the keys of a file are row or line numbers, which are not unique across files.
fn has_index_keys(format: Format, path: &Path, options: &SourceOptions) -> Result<bool, DataError> {
    if format.is_table() {
        return Ok(key_column(&*open_table(format, path, options)?, options)?.is_none());
    }
    Ok(format == Format::TextLines)
}

fn open_table(format: Format, path: &Path, options: &SourceOptions) -> Result<Arc<dyn Table>, DataError> {
    let max = options.max_text_bytes;
    Ok(match format {
        Format::Delimited(delimiter) => Arc::new(Delimited::open(path, delimiter, max)?),
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
