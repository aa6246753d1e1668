//! Captions and columns of the images of an index.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;

use sail_data::source::{Record, RecordSource};

use super::entry::EntryId;
use super::error::IndexError;
use super::folder::Folder;
use super::manifest::{NOTES, NotesEntry, of_generation};
use super::notes::{self, MAX_BYTES, Note};
use super::options::IndexSource;
use super::read::Index;

/// Segments whose notes are in memory at a time. The sources are read once for each group of them.
const GROUP: usize = 16;

/// Writes the captions and columns of a source, and returns how many images have some then. They are published with the next
/// state of the index.
///
/// What the source does not give stays as it is: that of a row, or, for a row in a new segment, of the former row of its key.
pub(crate) fn annotate(
    folder: &mut Folder,
    index: &Index,
    source: &IndexSource<'_>,
) -> Result<u64, IndexError> {
    let is_given = source.captions.is_some() || !source.columns.is_empty();
    let has_notes: Vec<bool> = index.segments().map(|(_, segment)| segment.notes().is_some()).collect();
    // Without new ones, only new segments are written, and only if there are some to inherit.
    let is_written = |segment: usize| is_given || !has_notes[segment];
    if !is_given && (!has_notes.contains(&true) || !has_notes.contains(&false)) {
        return Ok(0);
    }
    let keys = Keys::new(folder, index)?;
    if !source.columns.is_empty() {
        folder.manifest.columns = source.columns.keys().cloned().collect();
    }
    let segments: Vec<_> = index.segments().map(|(start, segment)| start..start + segment.rows).collect();
    let mut found = BTreeSet::new();
    let mut noted = 0;
    for (group, segments) in segments.chunks(GROUP).enumerate() {
        let first = group * GROUP;
        if !(first..first + segments.len()).any(is_written) {
            continue;
        }
        let rows = segments[0].start..segments[segments.len() - 1].end;
        let mut notes = former(folder, index, &keys, rows.clone())?;
        if let Some(captions) = source.captions {
            live(folder, &rows, &mut notes).for_each(|note| note.captions.clear());
            let add = |note: &mut Note, text| note.captions.push(text);
            join(captions, &keys, &rows, &mut notes, "captions", &mut found, add)?;
        }
        if !source.columns.is_empty() {
            live(folder, &rows, &mut notes).for_each(|note| note.columns.clear());
        }
        for (name, column) in &source.columns {
            let add = |note: &mut Note, text| {
                note.columns.entry(name.clone()).or_insert(text);
            };
            join(*column, &keys, &rows, &mut notes, name, &mut found, add)?;
        }
        noted += live(folder, &rows, &mut notes).filter(|note| **note != Note::default()).count() as u64;
        for (segment, range) in (first..).zip(segments).filter(|(segment, _)| is_written(*segment)) {
            let notes = &notes[range.start - rows.start..range.end - rows.start];
            write(folder, segment, notes)?;
        }
    }
    check_found(index, source, &found)?;
    Ok(if is_given { noted } else { 0 })
}

/// The notes of the rows that are not removed. Those of others stay as they are, so that removing a row changes no file of notes.
fn live<'a>(
    folder: &Folder,
    rows: &Range<usize>,
    notes: &'a mut [Note],
) -> impl Iterator<Item = &'a mut Note> {
    rows.clone().zip(notes).filter(|(row, _)| !folder.is_removed(*row)).map(|(_, note)| note)
}

/// Ids of rows.
struct Keys {
    /// Of the rows that are not removed, in ascending order.
    live: Vec<(EntryId, u32)>,
    /// Of those that are removed.
    removed: Vec<(EntryId, u32)>,
}

impl Keys {
    fn new(folder: &Folder, index: &Index) -> Result<Self, IndexError> {
        let (mut live, mut removed) = (Vec::new(), Vec::new());
        for (start, segment) in index.segments() {
            for (id, row) in segment.ids()?.into_iter().zip(start..) {
                let rows = if folder.is_removed(row) { &mut removed } else { &mut live };
                rows.push((id, row as u32));
            }
        }
        live.sort_unstable();
        removed.sort_unstable();
        Ok(Self { live, removed })
    }

    /// The newest of the rows of an id.
    fn last(rows: &[(EntryId, u32)], id: EntryId) -> Option<usize> {
        let end = rows.partition_point(|(other, _)| *other <= id);
        rows[..end].last().filter(|(other, _)| *other == id).map(|(_, row)| *row as usize)
    }
}

/// The notes that rows have, or those of the former rows of their keys.
fn former(folder: &Folder, index: &Index, keys: &Keys, rows: Range<usize>) -> Result<Vec<Note>, IndexError> {
    let mut notes = vec![Note::default(); rows.len()];
    for (start, segment) in index.segments() {
        if start < rows.start || start >= rows.end {
            continue;
        }
        let base = start - rows.start;
        match segment.notes() {
            Some(own) => own.each(|row, note| {
                notes[base + row] = note;
                Ok(())
            })?,
            None => {
                for (row, id) in segment.ids()?.into_iter().enumerate() {
                    if !folder.is_removed(start + row)
                        && let Some(former) = Keys::last(&keys.removed, id)
                    {
                        let (segment, within) = index.locate(former)?;
                        let note = segment.notes().map(|notes| notes.read(within)).transpose()?;
                        notes[base + row] = note.unwrap_or_default();
                    }
                }
            }
        }
    }
    Ok(notes)
}

/// Adds the records of a source to the notes of some rows.
fn join(
    source: &dyn RecordSource<String>,
    keys: &Keys,
    rows: &Range<usize>,
    notes: &mut [Note],
    what: &str,
    found: &mut BTreeSet<String>,
    add: impl Fn(&mut Note, String),
) -> Result<(), IndexError> {
    for record in source.records(0..u64::MAX).map_err(IndexError::Source)? {
        let Record { key, value } = record.map_err(IndexError::Source)?;
        let row = Keys::last(&keys.live, EntryId::of(&key)).filter(|row| rows.contains(row));
        if let (Ok(text), Some(row)) = (value, row) {
            let note = &mut notes[row - rows.start];
            add(note, text);
            if !found.contains(what) {
                found.insert(what.to_owned());
            }
            let texts = note.captions.iter().chain(note.columns.values());
            // Escaped in JSON, a text may be six times as long.
            if texts.map(String::len).sum::<usize>() > MAX_BYTES / 8 {
                return Err(IndexError::LongNote { key, limit: MAX_BYTES / 8 });
            }
        }
    }
    Ok(())
}

/// Writes the notes of a segment if they have changed.
fn write(folder: &mut Folder, segment: usize, notes: &[Note]) -> Result<(), IndexError> {
    let generation = folder.manifest.generation + 1;
    let entry = &folder.manifest.segments[segment];
    let old = entry.notes_file();
    let path = folder.path.join(entry.folder()).join(of_generation(NOTES, generation));
    let new = match notes.iter().all(|note| *note == Note::default()) {
        true => None,
        false => Some(NotesEntry { generation, sha256: notes::write(&path, notes)? }),
    };
    let hash = |notes: &Option<NotesEntry>| notes.as_ref().map(|notes| notes.sha256.clone());
    if hash(&entry.notes) == hash(&new) {
        if new.is_some() {
            fs::remove_file(&path).map_err(IndexError::io(&path))?;
        }
        return Ok(());
    }
    folder.manifest.superseded.extend(old);
    folder.manifest.segments[segment].notes = new;
    Ok(())
}

/// Checks that of every source some record is of an image.
fn check_found(index: &Index, source: &IndexSource<'_>, found: &BTreeSet<String>) -> Result<(), IndexError> {
    let captions = source.captions.map(|captions| ("captions", captions));
    let columns = source.columns.iter().map(|(name, column)| (name.as_str(), *column));
    for (what, records) in captions.into_iter().chain(columns) {
        if found.contains(what) {
            continue;
        }
        let mut first = records.records(0..1).map_err(IndexError::Source)?;
        let key = first.next().transpose().map_err(IndexError::Source)?.map(|record| record.key);
        let expected = index.live().iter().next().map(|row| index.key(row)).transpose()?;
        return Err(IndexError::Unpaired {
            what: what.to_owned(),
            records: records.count().map_err(IndexError::Source)?,
            found: key.unwrap_or_default(),
            expected: expected.unwrap_or_default(),
        });
    }
    Ok(())
}
