//! Rewriting small segments, and those with removed rows, into full ones.

use std::fs;
use std::path::Path;

use sail_data::DataError;
use sail_support::TEMPORARY_PREFIX;

use super::content::Place;
use super::error::IndexError;
use super::folder::Folder;
use super::known::embeddings;
use super::manifest::{NOTES, NotesEntry, SEGMENTS, SegmentEntry, of_generation, segment_folder};
use super::notes::{self, Note};
use super::read::Index;
use super::segment_log::Row;
use super::segment_writer::{SegmentConfig, SegmentWriter, discard, published};

/// Small segments that an index may have before they are joined.
const SMALL: usize = 8;
/// Rows that are copied at once.
const ROWS: usize = 1024;

/// The segments to rewrite, which are none while the index is in good shape.
///
/// Segments with less than half of the rows of a full one are joined when there are more than 8, and segments of which more than a
/// quarter is removed are rewritten. With `all`, those that are not full or have any removed row are.
pub(crate) fn wanted(folder: &Folder, segment_rows: usize, all: bool) -> Vec<u64> {
    let mut start = 0;
    let (mut small, mut sparse) = (Vec::new(), Vec::new());
    for entry in &folder.manifest.segments {
        let rows = start..start + entry.rows;
        start = rows.end;
        let live = rows.filter(|&row| !folder.is_removed(row)).count();
        let removed = entry.rows - live;
        if removed * 4 > entry.rows || all && removed > 0 {
            sparse.push(entry.number);
        } else if live * 2 < segment_rows || all && live < segment_rows {
            small.push(entry.number);
        }
    }
    // A single small one would be rewritten to itself.
    let joins = small.len() > if all { 1 } else { SMALL } || all && !sparse.is_empty();
    let mut wanted = sparse;
    if joins {
        wanted.extend(small);
    }
    // Without any row there is no segment.
    if folder.manifest.images() == 0 { Vec::new() } else { wanted }
}

/// Rewrites segments and publishes the result as a complete state. A killed process has changed nothing.
pub(crate) fn compact(
    folder: &mut Folder,
    index: &Index,
    wanted: &[u64],
    config: &mut SegmentConfig,
) -> Result<(), IndexError> {
    let mut rows = Vec::new();
    let mut start = 0;
    for entry in &folder.manifest.segments {
        if wanted.contains(&entry.number) {
            rows.extend((start..start + entry.rows).filter(|row| index.live().contains(*row)));
        }
        start += entry.rows;
    }
    let (first, generation) = (folder.manifest.next_segment, folder.manifest.generation + 1);
    let mut copy = Copy::new(&folder.path, first, generation, config);
    copy.rows(index, &rows, |_| true, |place, _| place)?;
    let entries = copy.finish()?;
    folder.replace(wanted, entries)
}

/// Copies rows of indexes into new segments.
pub(crate) struct Copy<'a> {
    index: &'a Path,
    next: u64,
    generation: u64,
    config: &'a mut SegmentConfig,
    writer: Option<SegmentWriter>,
    notes: Vec<Note>,
    entries: Vec<SegmentEntry>,
}

impl<'a> Copy<'a> {
    /// Writes segments from a number on into the folder of an index, whose state will have this generation.
    pub(crate) fn new(index: &'a Path, first: u64, generation: u64, config: &'a mut SegmentConfig) -> Self {
        Self { index, next: first, generation, config, writer: None, notes: Vec::new(), entries: Vec::new() }
    }

    /// Copies rows in ascending order. `copied` receives the number of rows so far and may stop the copy; `place` says where the
    /// image of a key is.
    pub(crate) fn rows(
        &mut self,
        index: &Index,
        rows: &[usize],
        mut copied: impl FnMut(usize) -> bool,
        place: impl Fn(Place, &str) -> Place,
    ) -> Result<(), IndexError> {
        let source = index.embeddings();
        let mut done = 0;
        for (start, segment) in index.segments() {
            let within = start..start + segment.rows;
            let from = rows.partition_point(|row| *row < within.start);
            let rows = &rows[from..rows.partition_point(|row| *row < within.end)];
            if rows.is_empty() {
                continue;
            }
            let contents = segment.contents()?;
            for rows in rows.chunks(ROWS) {
                let mut rest = rows;
                while !rest.is_empty() {
                    let room = self.config.segment_rows - self.writer.as_ref().map_or(0, SegmentWriter::rows);
                    let (block, after) = rest.split_at(rest.len().min(room));
                    rest = after;
                    let values = embeddings(index, block)?;
                    let keys = source.keys(block).map_err(DataError::from)?;
                    let mut new = Vec::with_capacity(block.len());
                    for (key, row) in keys.into_iter().zip(block) {
                        let within = row - start;
                        let mut content = contents[within].clone();
                        content.place = place(content.place, &key);
                        let thumbnail = match self.config.has_thumbnails {
                            true => segment.thumbnail(within)?.unwrap_or_default(),
                            false => Vec::new(),
                        };
                        let note = segment.notes().map(|notes| notes.read(within)).transpose()?;
                        self.notes.push(note.unwrap_or_default());
                        new.push(Row { key, content, thumbnail });
                    }
                    let writer = self.writer()?;
                    writer.append(new, &values)?;
                    if writer.is_full() {
                        writer.save()?;
                    }
                    if self.writer.as_ref().is_some_and(|writer| writer.rows() >= self.config.segment_rows) {
                        self.close()?;
                    }
                    done += block.len();
                    if !copied(done) {
                        return Err(DataError::Stopped.into());
                    }
                }
            }
        }
        Ok(())
    }

    /// Completes the last segment.
    pub(crate) fn finish(mut self) -> Result<Vec<SegmentEntry>, IndexError> {
        self.close()?;
        Ok(self.entries)
    }

    /// The folder of an unfinished segment, which no update continues.
    fn temporary(&self) -> std::path::PathBuf {
        self.index.join(format!("{SEGMENTS}/{TEMPORARY_PREFIX}{:06}", self.next))
    }

    fn writer(&mut self) -> Result<&mut SegmentWriter, IndexError> {
        if let Some(ref mut writer) = self.writer {
            return Ok(writer);
        }
        let folder = self.temporary();
        discard(&folder)?;
        let writer = SegmentWriter::create(folder, self.next, self.config)?;
        Ok(self.writer.insert(writer))
    }

    fn close(&mut self) -> Result<(), IndexError> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let folder = self.temporary();
        let mut entry = writer.finish(self.config)?;
        published(&folder)?;
        let notes = std::mem::take(&mut self.notes);
        if notes.iter().any(|note| *note != Note::default()) {
            let path = folder.join(of_generation(NOTES, self.generation));
            entry.notes =
                Some(NotesEntry { generation: self.generation, sha256: notes::write(&path, &notes)? });
        }
        let path = self.index.join(segment_folder(self.next));
        discard(&path)?;
        fs::rename(&folder, &path).map_err(IndexError::io(&path))?;
        self.entries.push(entry);
        self.next += 1;
        Ok(())
    }
}
