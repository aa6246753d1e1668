//! WebDataset tars, as written by img2dataset.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::image_root::{check_size, is_image_extension};
use super::json_lines::cell;
use super::members::{Contents, Member, Members};
use super::options::SourceOptions;
use super::record::{ImageData, Record, RecordSource, Records};
use super::table::Cell;
use super::text::{caption, too_long};
use super::window::{Window, count};
use crate::DataError;

/// The key of the sample and the extension in the name of a member. As in WebDataset, they are separated by the first dot
/// after the last `/`.
struct Name {
    key: String,
    extension: String,
    fault: Option<&'static str>,
}

/// Returns `None` for a name without key or extension; WebDataset ignores such members.
fn parse(name: &[u8]) -> Option<Name> {
    let mut fault = std::str::from_utf8(name).is_err().then_some("the name of the member is not valid UTF-8");
    let name = String::from_utf8_lossy(name);
    let name = name.strip_prefix("./").unwrap_or(&name);
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = file + name[file..].find('.')?;
    let extension = name[dot + 1..].to_ascii_lowercase();
    if dot == file {
        return None;
    }
    let outside = name.starts_with(['/', '\\'])
        || name.split(['/', '\\']).any(|part| part == "..")
        || name.as_bytes().get(1..3).is_some_and(|drive| matches!(drive, b":\\" | b":/"));
    if outside {
        fault = Some("the name of the member is a path outside the archive");
    }
    Some(Name { key: name[..dot].to_owned(), extension, fault })
}

/// Iterates over the members with the wanted extensions.
fn members<F: Fn(&str) -> bool>(
    path: &Path,
    wanted: F,
) -> Result<impl Iterator<Item = Result<(Name, Member), DataError>> + use<F>, DataError> {
    Ok(Members::open(path)?.filter_map(move |member| {
        let member = match member {
            Ok(member) => member,
            Err(error) => return Some(Err(error)),
        };
        let name = parse(&member.name).filter(|name| wanted(&name.extension))?;
        Some(Ok((name, member)))
    }))
}

/// The record of a skipped member. Its key is the whole name.
fn skipped<T>(member: &Member, reason: String) -> Record<T> {
    Record { key: String::from_utf8_lossy(&member.name).into_owned(), value: Err(reason) }
}

fn fault(name: &Name, member: &Member) -> Option<String> {
    name.fault.or(member.fault).map(str::to_owned)
}

/// Iterates over the members of a WebDataset tar with the given extension, such as `cls` for labels. The keys are those of
/// [`open_images`](super::open_images).
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
    let members = members(path, move |found| found == extension)?;
    Ok(Box::new(members.map(move |member| {
        let (name, member) = member?;
        let too_many = (member.size > max_bytes).then(|| too_long("member", member.size, max_bytes));
        if let Some(reason) = fault(&name, &member).or(too_many) {
            return Ok(skipped(&member, reason));
        }
        Ok(Record { key: name.key, value: Ok(contents.read(&member)?) })
    })))
}

/// The images of a tar.
#[derive(Debug)]
pub(super) struct TarImages {
    path: PathBuf,
    max: u64,
}

impl TarImages {
    pub(super) fn open(path: &Path, options: &SourceOptions) -> Result<Self, DataError> {
        Members::open(path)?;
        Ok(Self { path: path.to_owned(), max: options.max_image_bytes })
    }
}

impl RecordSource<ImageData> for TarImages {
    fn count(&self) -> Result<u64, DataError> {
        count(members(&self.path, is_image_extension)?)
    }

    fn records(&self, range: Range<u64>) -> Result<Records<ImageData>, DataError> {
        let (max, mut contents) = (self.max, Contents::open(&self.path)?);
        let members = Window::new(members(&self.path, is_image_extension)?, 0, &range);
        Ok(Box::new(members.map(move |member| {
            let (name, member) = member?;
            if let Some(reason) = fault(&name, &member).or(check_size(member.size, max).err()) {
                return Ok(skipped(&member, reason));
            }
            Ok(Record { key: name.key, value: Ok(ImageData::Bytes(contents.read(&member)?)) })
        })))
    }
}

/// The captions of a tar: its `.txt` members, or fields of its `.json` members.
#[derive(Debug)]
pub(super) struct TarCaptions {
    path: PathBuf,
    fields: Vec<String>,
    max: usize,
}

impl TarCaptions {
    pub(super) fn open(path: &Path, options: &SourceOptions) -> Result<Self, DataError> {
        Members::open(path)?;
        Ok(Self {
            path: path.to_owned(),
            fields: options.caption_columns.clone(),
            max: options.max_text_bytes,
        })
    }

    fn wanted(&self) -> fn(&str) -> bool {
        if self.fields.is_empty() { |extension| extension == "txt" } else { |extension| extension == "json" }
    }

    /// Iterates over all records.
    fn walk(&self) -> Result<impl Iterator<Item = Result<Record<String>, DataError>> + use<>, DataError> {
        let (fields, max, mut contents) = (self.fields.clone(), self.max, Contents::open(&self.path)?);
        let mut members = members(&self.path, self.wanted())?;
        let mut pending = VecDeque::new();
        let mut next = move || -> Result<Option<Record<String>>, DataError> {
            loop {
                if let Some(record) = pending.pop_front() {
                    return Ok(Some(record));
                }
                let Some((name, member)) = members.next().transpose()? else { return Ok(None) };
                if let Some(reason) = fault(&name, &member) {
                    pending.push_back(skipped(&member, reason));
                } else if member.size > max as u64 {
                    pending.push_back(skipped(&member, too_long("member", member.size, max as u64)));
                } else {
                    let captions = captions(contents.read(&member)?, &fields, max);
                    match captions {
                        Ok(captions) => pending.extend(
                            captions.into_iter().map(|value| Record { key: name.key.clone(), value }),
                        ),
                        Err(reason) => pending.push_back(skipped(&member, reason)),
                    }
                }
            }
        };
        Ok(std::iter::from_fn(move || next().transpose()))
    }
}

/// Returns the captions of a member, or the reason why there are none. White space after a text is removed.
fn captions(
    mut bytes: Vec<u8>,
    fields: &[String],
    max: usize,
) -> Result<Vec<Result<String, String>>, String> {
    if fields.is_empty() {
        bytes.truncate(bytes.trim_ascii_end().len());
        return Ok(vec![caption(bytes, max)]);
    }
    let object: Map<String, Value> = serde_json::from_slice(&bytes)
        .map_err(|error| format!("the member is not a JSON object: {error}"))?;
    let mut captions = Vec::new();
    for field in fields {
        let cell = object.get(field).cloned().map_or(Cell::Missing, cell);
        cell.captions(max, &mut captions);
    }
    Ok(captions)
}

impl RecordSource<String> for TarCaptions {
    fn count(&self) -> Result<u64, DataError> {
        match self.fields.is_empty() {
            true => count(members(&self.path, self.wanted())?),
            false => count(self.walk()?),
        }
    }

    fn records(&self, range: Range<u64>) -> Result<Records<String>, DataError> {
        Ok(Box::new(Window::new(self.walk()?, 0, &range)))
    }
}
