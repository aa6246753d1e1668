//! WebDataset tars, as written by img2dataset.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::cell::Texts;
use super::image_root::{check_size, is_image_extension};
use super::members::{Contents, Member, Members};
use super::once::once;
use super::options::SourceOptions;
use super::passed_over::PassedOver;
use super::record::{ImageData, Record, RecordSource, Records};
use super::sample::{Name, Named, Samples, choose, members, not_chosen};
use super::seen::Seen;
use super::sidecar::{Fields, is_text_suffix, object, text_file};
use super::text::too_long;
use super::window::{Window, count};
use crate::DataError;

/// The record of a skipped member. Its key is the whole name.
fn skipped<T>(member: &Member, reason: String) -> Record<T> {
    Record { key: String::from_utf8_lossy(&member.name).into_owned(), value: Err(reason) }
}

fn fault(name: &Name, member: &Member) -> Option<String> {
    name.fault.or(member.fault).map(str::to_owned)
}

/// The reason for skipping the members of a sample whose key an earlier sample of the archive has.
const AGAIN: &str = "an earlier sample of the archive has the same key";

/// Iterates over the members of a WebDataset tar with the given extension, such as `cls` for labels. The keys are those of
/// [`open_images`](super::open_images) for this file alone.
///
/// The record of a member that is a link or a device, has a path outside the archive or is longer than `max_bytes` has a
/// reason instead of a value.
///
/// # Errors
/// [`DataError::Io`] and, also during iteration, [`DataError::Damaged`].
///
/// # Examples
/// ```no_run
/// for label in sail_data::source::tar_members("test/0.tar".as_ref(), "cls", 64)? {
///     let label = label?;
///     println!("{}: {:?}", label.key, label.value.map(String::from_utf8));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn tar_members(path: &Path, extension: &str, max_bytes: u64) -> Result<Records<Vec<u8>>, DataError> {
    let (extension, mut contents) = (extension.to_owned(), Contents::open(path)?);
    let wanted = members(path)?
        .filter(move |member| member.as_ref().map_or(true, |(name, _)| name.field == extension));
    Ok(Box::new(wanted.map(move |member| {
        let (name, member) = member?;
        let too_many = (member.size > max_bytes).then(|| too_long("member", member.size, max_bytes));
        if let Some(reason) = fault(&name, &member).or(too_many) {
            return Ok(skipped(&member, reason));
        }
        Ok(Record { key: name.key, value: Ok(contents.read(&member)?) })
    })))
}

/// What the headers of an archive say.
#[derive(Debug)]
struct Scan {
    /// Number of members that are read.
    wanted: u64,
    passed_over: PassedOver,
}

/// Reads all headers. `by_field` counts by field instead of suffix.
fn scan(path: &Path, wanted: impl Fn(&Name) -> bool, by_field: bool) -> Result<Scan, DataError> {
    let mut scan = Scan { wanted: 0, passed_over: PassedOver::default() };
    for member in members(path)? {
        let (name, member) = member?;
        if wanted(&name) {
            scan.wanted += 1;
        } else if !member.is_folder {
            let label = if by_field { &name.field } else { name.suffix() };
            scan.passed_over.add_as(label, &String::from_utf8_lossy(&member.name));
        }
    }
    Ok(scan)
}

/// The images of a tar, at most one per sample.
#[derive(Debug)]
pub(super) struct TarImages {
    path: PathBuf,
    field: Option<String>,
    max: u64,
    scan: OnceLock<Scan>,
}

impl TarImages {
    pub(super) fn open(path: &Path, options: &SourceOptions) -> Result<Self, DataError> {
        Members::open(path)?;
        let (field, max) = (options.image_column.clone(), options.max_image_bytes);
        Ok(Self { path: path.to_owned(), field, max, scan: OnceLock::new() })
    }

    fn wanted(&self) -> impl Fn(&Name) -> bool + Clone + Send + use<> {
        let field = self.field.clone();
        move |name: &Name| {
            is_image_extension(name.suffix()) && field.as_deref().is_none_or(|field| name.has_field(field))
        }
    }

    fn scan(&self) -> Result<&Scan, DataError> {
        once(&self.scan, || scan(&self.path, self.wanted(), self.field.is_some()))
    }

    /// Iterates over the wanted members, with the reason where one is skipped.
    fn walk(
        &self,
    ) -> Result<impl Iterator<Item = Result<(Named, Option<String>), DataError>> + use<>, DataError> {
        let wanted = self.wanted();
        let mut samples = Samples::new(members(&self.path)?, self.field.is_none());
        let mut seen = Seen::default();
        let mut pending = VecDeque::new();
        let mut next = move || -> Result<Option<(Named, Option<String>)>, DataError> {
            while pending.is_empty() {
                let Some(mut sample) = samples.next().transpose()? else { return Ok(None) };
                sample.retain(|(name, _)| wanted(name));
                if sample.is_empty() {
                    continue;
                }
                let again = seen.insert(&sample[0].0.key, ()).is_some();
                let chosen = choose(&sample, &wanted);
                let reason = |index: usize| match (chosen == Some(index), again) {
                    (true, false) => None,
                    (true, true) => Some(AGAIN.to_owned()),
                    _ => Some(not_chosen(index, &sample, chosen, "--image-column")),
                };
                let reasons: Vec<_> = (0..sample.len()).map(reason).collect();
                pending.extend(sample.into_iter().zip(reasons));
            }
            Ok(pending.pop_front())
        };
        Ok(std::iter::from_fn(move || next().transpose()))
    }
}

impl RecordSource<ImageData> for TarImages {
    fn count(&self) -> Result<u64, DataError> {
        Ok(self.scan()?.wanted)
    }

    fn records(&self, range: Range<u64>) -> Result<Records<ImageData>, DataError> {
        let (max, mut contents) = (self.max, Contents::open(&self.path)?);
        Ok(Box::new(Window::new(self.walk()?, 0, &range).map(move |member| {
            let ((name, member), reason) = member?;
            if let Some(reason) = reason.or(check_size(member.size, max).err()) {
                return Ok(skipped(&member, reason));
            }
            Ok(Record { key: name.key, value: Ok(ImageData::Bytes(contents.read(&member)?)) })
        })))
    }

    fn passed_over(&self) -> Result<PassedOver, DataError> {
        Ok(self.scan()?.passed_over.clone())
    }
}

/// Where a caption of a sample is.
#[derive(Debug, Clone)]
enum Column {
    /// In a text member; of any field, if there is none.
    Text(Option<String>),
    /// In a field of the `.json` member.
    Json(String),
}

impl Column {
    /// Names of text members have their suffix: others are fields of JSON.
    fn parse(name: &str) -> Self {
        let suffix = name.rsplit_once('.').map_or("", |(_, suffix)| suffix);
        match name == "txt" || is_text_suffix(suffix) {
            true => Self::Text(Some(name.to_owned())),
            false => Self::Json(name.to_owned()),
        }
    }

    fn wants(&self, name: &Name) -> bool {
        match self {
            Self::Text(None) => is_text_suffix(name.suffix()),
            Self::Text(Some(field)) => name.field.eq_ignore_ascii_case(field),
            Self::Json(_) => name.suffix() == "json",
        }
    }
}

/// The captions of a tar: its text members, or fields of its `.json` members.
#[derive(Debug)]
pub(super) struct TarCaptions {
    path: PathBuf,
    columns: Vec<Column>,
    texts: Texts,
    scan: OnceLock<Scan>,
}

impl TarCaptions {
    pub(super) fn open(path: &Path, options: &SourceOptions) -> Result<Self, DataError> {
        Members::open(path)?;
        let columns = match options.caption_columns.as_slice() {
            [] => vec![Column::Text(None)],
            names => names.iter().map(|name| Column::parse(name)).collect(),
        };
        Ok(Self { path: path.to_owned(), columns, texts: Texts::new(options), scan: OnceLock::new() })
    }

    fn scan(&self) -> Result<&Scan, DataError> {
        let by_field = self.columns.iter().any(|column| matches!(column, Column::Text(Some(_))));
        let wanted = |name: &Name| self.columns.iter().any(|column| column.wants(name));
        once(&self.scan, || scan(&self.path, wanted, by_field))
    }

    /// Iterates over all records.
    fn walk(&self) -> Result<impl Iterator<Item = Result<Record<String>, DataError>> + use<>, DataError> {
        let has_field = self.columns.iter().any(|column| matches!(column, Column::Text(Some(_))));
        let mut samples = Samples::new(members(&self.path)?, !has_field);
        let mut seen = Seen::default();
        let mut reader = Reader {
            columns: self.columns.clone(),
            texts: self.texts,
            contents: Contents::open(&self.path)?,
        };
        let mut pending = VecDeque::new();
        let mut next = move || -> Result<Option<Record<String>>, DataError> {
            while pending.is_empty() {
                let Some(mut sample) = samples.next().transpose()? else { return Ok(None) };
                sample.retain(|(name, _)| reader.columns.iter().any(|column| column.wants(name)));
                if sample.is_empty() {
                    continue;
                }
                let again = seen.insert(&sample[0].0.key, ()).is_some();
                reader.read(&sample, again, &mut pending)?;
            }
            Ok(pending.pop_front())
        };
        Ok(std::iter::from_fn(move || next().transpose()))
    }
}

/// Reads the captions of samples.
struct Reader {
    columns: Vec<Column>,
    texts: Texts,
    contents: Contents,
}

/// The content of a member.
enum Content {
    Text(Vec<u8>),
    Json(Fields),
}

impl Reader {
    /// Appends the captions of a sample and the records of its skipped members.
    fn read(
        &mut self,
        sample: &[Named],
        again: bool,
        into: &mut VecDeque<Record<String>>,
    ) -> Result<(), DataError> {
        let chosen: Vec<Option<usize>> =
            self.columns.iter().map(|column| choose(sample, |name| column.wants(name))).collect();
        let (mut contents, mut skips) = (Vec::new(), Vec::new());
        for (index, (name, member)) in sample.iter().enumerate() {
            let content = match chosen.contains(&Some(index)) {
                true if again => Err(AGAIN.to_owned()),
                true => self.content(name, member)?,
                false => {
                    let column = self.columns.iter().position(|column| column.wants(name));
                    let other = column.and_then(|column| chosen[column]);
                    Err(not_chosen(index, sample, other, "--caption-column"))
                }
            };
            contents.push(match content {
                Ok(content) => Some(content),
                Err(reason) => {
                    skips.push(skipped(member, reason));
                    None
                }
            });
        }
        let mut captions = Vec::new();
        // A sample without any usable member has no captions that could be missing.
        let columns = self.columns.iter().zip(chosen).filter(|_| contents.iter().any(Option::is_some));
        for (column, chosen) in columns {
            match (column, chosen.map(|index| &contents[index])) {
                (_, None) => captions.push(Err("the caption is missing".to_owned())),
                (Column::Json(field), Some(Some(Content::Json(fields)))) => {
                    fields.captions(field, self.texts, &mut captions);
                }
                (_, Some(Some(Content::Text(bytes)))) => captions.push(text_file(bytes, self.texts.max)),
                _ => {}
            }
        }
        let key = &sample[0].0.key;
        into.extend(captions.into_iter().map(|value| Record { key: key.clone(), value }));
        into.extend(skips);
        Ok(())
    }

    /// Reads a member, or returns the reason why it is skipped.
    fn content(&mut self, name: &Name, member: &Member) -> Result<Result<Content, String>, DataError> {
        if member.size > self.texts.max as u64 {
            return Ok(Err(too_long("member", member.size, self.texts.max as u64)));
        }
        let bytes = self.contents.read(member)?;
        Ok(match name.suffix() == "json" {
            true => object(&bytes).map(Content::Json),
            false => Ok(Content::Text(bytes)),
        })
    }
}

impl RecordSource<String> for TarCaptions {
    fn count(&self) -> Result<u64, DataError> {
        match self.columns.as_slice() {
            // Every member is a caption or skipped.
            [Column::Text(_)] => Ok(self.scan()?.wanted),
            _ => count(self.walk()?),
        }
    }

    fn records(&self, range: Range<u64>) -> Result<Records<String>, DataError> {
        Ok(Box::new(Window::new(self.walk()?, 0, &range)))
    }

    fn passed_over(&self) -> Result<PassedOver, DataError> {
        Ok(self.scan()?.passed_over.clone())
    }
}
