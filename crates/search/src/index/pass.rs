//! A pass of an update over its source.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Instant;

use sail_core::{Pixels, Progress};
use sail_data::source::Record;
use sail_extract::{Ahead, Event, Observer, Prepared as Records, Skipped, prepare_ahead};
use sail_support::{KeyTable, write_atomic};

use super::annotate::annotate;
use super::compact;
use super::content::Content;
use super::error::IndexError;
use super::folder::Folder;
use super::known::{Known, NewContents, content_hash, embeddings};
use super::manifest::SKIPPED;
use super::options::{IndexModel, IndexSource, UpdateOptions, Updated};
use super::read::Index;
use super::segment_log::{Resumed, Row};
use super::segment_writer::{SegmentConfig, SegmentWriter};
use super::work::{Inputs, Preparation, Prepared};
use crate::RowSet;

/// Rows that are copied at once.
const COPIED: usize = 1024;

/// Goes over the source once. Returns `None` if it is not that of the unfinished segment.
pub(crate) fn pass(
    folder: &mut Folder,
    model: &IndexModel<'_>,
    source: &IndexSource<'_>,
    records: u64,
    options: &UpdateOptions,
    observer: &mut dyn Observer,
) -> Result<Option<Updated>, IndexError> {
    let index = folder.index()?;
    let known = Known::new(index.as_ref())?;
    let config = SegmentConfig::new(&folder.path, &folder.manifest, options.segment_rows)?;
    let (writer, resumed) =
        SegmentWriter::resume(&folder.next_segment(), folder.manifest.next_segment, &config)?;
    let root = folder.manifest.root.clone();
    let preparation = Preparation {
        known: &known,
        resumed: &resumed,
        embedder: model.embedder,
        root: root.as_deref().map(Path::new),
        urls: options.urls.as_ref(),
        thumbnails: folder.manifest.thumbnails,
        reread: options.reread,
    };
    let threads = options.urls.as_ref().map_or(0, |urls| urls.at_once).max(options.threads);
    let ahead = Ahead { threads, chunk: 1, records: 2 * options.block + threads };
    let rows = known.rows();
    let mut session = Session {
        folder,
        model,
        options,
        config,
        known: &known,
        resumed: &resumed,
        records,
        writer,
        index: None,
        kept: RowSet::empty(rows),
        unusable: RowSet::empty(rows),
        replaced: Vec::new(),
        contents: NewContents::new(),
        confirmed: 0,
        pending: Vec::new(),
        pixels: Vec::new(),
        skipped: Vec::new(),
        first_reason: None,
        saved: Instant::now(),
        updated: Updated::default(),
    };
    let prepare = |input| preparation.prepare(input);
    let is_done = prepare_ahead(&Inputs(source.images), 0..records, &ahead, &prepare, |images| {
        session.consume(images, observer)
    })?;
    if is_done { session.finish(index.as_ref(), source).map(Some) } else { Ok(None) }
}

/// An image whose row is written with the next block.
struct Pending {
    row: Row,
    /// The row whose embedding and thumbnail it has. `None` for an image to embed.
    copied: Option<u32>,
}

/// A pass over the source.
struct Session<'a> {
    folder: &'a mut Folder,
    model: &'a IndexModel<'a>,
    options: &'a UpdateOptions,
    config: SegmentConfig,
    known: &'a Known,
    resumed: &'a Resumed,
    records: u64,
    writer: Option<SegmentWriter>,
    /// The index with the segments so far, once rows are copied from it.
    index: Option<Index>,
    /// Rows of the index at the start of the pass that are in the source.
    kept: RowSet,
    /// Those whose image cannot be used any more.
    unusable: RowSet,
    /// Rows whose key has a row in the segment that is being written.
    replaced: Vec<u32>,
    /// Contents of the segments of this pass.
    contents: NewContents,
    /// Rows of the unfinished segment that were found in the source.
    confirmed: usize,
    pending: Vec<Pending>,
    /// The images among them that are embedded.
    pixels: Vec<Pixels>,
    /// Lines of `skipped.jsonl`.
    skipped: Vec<u8>,
    first_reason: Option<String>,
    saved: Instant,
    updated: Updated,
}

impl Session<'_> {
    /// Returns `false` if the source is not that of the unfinished segment.
    fn consume(
        &mut self,
        images: &mut Records<'_, Prepared>,
        observer: &mut dyn Observer,
    ) -> Result<bool, IndexError> {
        let mut keys = KeyTable::with_capacity(usize::try_from(self.records).unwrap_or(usize::MAX));
        let progress = |done| Event::Progress(Progress { done, total: self.records, unit: "images" });
        observer.observe(progress(0));
        let total = self.records;
        for (done, image) in (1..).zip(images) {
            if self.options.stop.load(Ordering::Relaxed) {
                if let Some(writer) = &mut self.writer {
                    writer.save()?;
                }
                return Err(IndexError::Stopped { done: done - 1, records: total });
            }
            let Record { key, value } = image.map_err(IndexError::Source)?;
            let value = value.and_then(|value| match keys.insert_key(&key, ()) {
                None => Ok(value),
                Some(()) => Err("an earlier image has the same key".to_owned()),
            });
            match value {
                Ok(image) => {
                    if !self.take(key, image)? {
                        return Ok(false);
                    }
                }
                Err(reason) => self.skip(Skipped { key, reason }, observer)?,
            }
            observer.observe(Event::Progress(Progress { done, total, unit: "images" }));
        }
        self.flush()?;
        if self.confirmed < self.resumed.len() {
            return Ok(false);
        }
        self.publish()?;
        Ok(true)
    }

    /// Adds an image to the index unless it is there. Returns `false` if it is not the next of the unfinished segment.
    fn take(&mut self, key: String, image: Prepared) -> Result<bool, IndexError> {
        let (content, copied, thumbnail) = match image {
            Prepared::Unchanged(row) => {
                self.updated.unchanged += 1;
                self.kept.insert(row as usize);
                return Ok(true);
            }
            Prepared::Resumed(row) if row == self.confirmed => {
                self.confirmed += 1;
                if let Some((_, content)) = self.resumed.row(&key) {
                    self.replace(&key, content);
                }
                if self.confirmed == self.resumed.len() && self.confirmed >= self.config.segment_rows {
                    self.publish()?;
                }
                return Ok(true);
            }
            Prepared::Resumed(_) => return Ok(false),
            Prepared::Known { content, row } => (content, Some(row), None),
            Prepared::New { content, pixels, thumbnail } => {
                let copied = self.contents.get(&content_hash(&content.sha256)).copied();
                if copied.is_none() {
                    self.pixels.push(pixels);
                }
                (content, copied, thumbnail)
            }
        };
        if self.confirmed < self.resumed.len() {
            return Ok(false);
        }
        if self.writer.as_ref().is_some_and(|writer| !writer.is_open()) {
            self.publish()?;
        }
        self.replace(&key, &content);
        let row = Row { key, content, thumbnail: thumbnail.unwrap_or_default() };
        self.pending.push(Pending { row, copied });
        let rows = self.writer.as_ref().map_or(0, SegmentWriter::rows) + self.pending.len();
        let is_copy = self.pixels.is_empty() && self.pending.len() >= COPIED;
        if self.pixels.len() >= self.options.block || is_copy || rows >= self.config.segment_rows {
            self.flush()?;
        }
        if rows >= self.config.segment_rows {
            self.publish()?;
        }
        Ok(true)
    }

    /// Notes that a key has a new row.
    fn replace(&mut self, key: &str, content: &Content) {
        let Some(row) = self.known.row(key) else {
            self.updated.added += 1;
            return;
        };
        self.replaced.push(row);
        match self.known.content(row) == Some(content_hash(&content.sha256)) {
            // Its time or its place is another.
            true => self.updated.unchanged += 1,
            false => self.updated.changed += 1,
        }
    }

    fn skip(&mut self, skipped: Skipped, observer: &mut dyn Observer) -> Result<(), IndexError> {
        if let Some(row) = self.known.row(&skipped.key) {
            self.unusable.insert(row as usize);
        }
        let line = serde_json::to_writer(&mut self.skipped, &skipped);
        line.map_err(|error| IndexError::io(&self.folder.path)(error.into()))?;
        self.skipped.push(b'\n');
        self.updated.skipped += 1;
        observer.observe(Event::Skipped(&skipped));
        self.first_reason.get_or_insert(skipped.reason);
        Ok(())
    }

    /// Embeds the images of a block and writes its rows.
    fn flush(&mut self) -> Result<(), IndexError> {
        let pending = std::mem::take(&mut self.pending);
        let (Some(first), Some(last)) = (pending.first(), pending.last()) else { return Ok(()) };
        let pixels = std::mem::take(&mut self.pixels);
        let embedded = self.model.embedder.embed_images(&pixels).map_err(|source| IndexError::Embed {
            first: first.row.key.clone(),
            last: last.row.key.clone(),
            source,
        })?;
        let dim = self.config.dim;
        if embedded.len() != pixels.len() || embedded.iter().any(|row| row.len() != dim) {
            return Err(IndexError::Rows {
                found: format!("{} rows of {} values", embedded.len(), embedded.first().map_or(0, Vec::len)),
                expected: format!("{} rows of {dim} values", pixels.len()),
            });
        }
        self.updated.embedded += embedded.len() as u64;
        let mut embedded = embedded.into_iter();
        let mut pending = pending.into_iter().peekable();
        while pending.peek().is_some() {
            let mut block: Vec<Pending> = pending.by_ref().take(COPIED).collect();
            let copies = self.copy(&mut block)?;
            let mut copies = copies.chunks_exact(dim);
            let mut values = Vec::with_capacity(block.len() * dim);
            for Pending { copied, .. } in &block {
                match copied {
                    Some(_) => values.extend_from_slice(copies.next().unwrap_or_default()),
                    None => values.extend(embedded.next().unwrap_or_default()),
                }
            }
            self.writer()?.append(block.into_iter().map(|pending| pending.row).collect(), &values)?;
        }
        if self.writer()?.is_full() || self.saved.elapsed() >= self.options.checkpoint_every {
            self.writer()?.save()?;
            self.saved = Instant::now();
        }
        Ok(())
    }

    /// Copies thumbnails, and returns the embeddings of the rows that are copied.
    fn copy(&mut self, block: &mut [Pending]) -> Result<Vec<f32>, IndexError> {
        let rows: Vec<usize> =
            block.iter().filter_map(|pending| pending.copied).map(|row| row as usize).collect();
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        if self.index.is_none() {
            self.index = self.folder.index()?;
        }
        let Some(index) = &self.index else { return Ok(Vec::new()) };
        for Pending { row, copied } in block {
            if let Some(copied) = copied
                && row.thumbnail.is_empty()
            {
                row.thumbnail = index.thumbnail(*copied as usize)?.unwrap_or_default();
            }
        }
        embeddings(index, &rows)
    }

    fn writer(&mut self) -> Result<&mut SegmentWriter, IndexError> {
        if let Some(ref mut writer) = self.writer {
            return Ok(writer);
        }
        let number = self.folder.manifest.next_segment;
        let writer = SegmentWriter::create(self.folder.next_segment(), number, &self.config)?;
        Ok(self.writer.insert(writer))
    }

    /// Completes the segment and makes it part of the index.
    fn publish(&mut self) -> Result<(), IndexError> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let first = self.folder.manifest.rows() as u32;
        for (row, Content { sha256, .. }) in (first..).zip(writer.contents()) {
            self.contents.entry(content_hash(sha256)).or_insert(row);
        }
        let entry = writer.finish(&mut self.config)?;
        self.folder.add(entry, &self.replaced)?;
        self.replaced.clear();
        self.index = None;
        Ok(())
    }

    /// Removes the rows that are no longer in the source, and publishes the result.
    fn finish(mut self, index: Option<&Index>, source: &IndexSource<'_>) -> Result<Updated, IndexError> {
        let path = self.folder.path.join(SKIPPED);
        write_atomic(&path, |out| out.write_all(&self.skipped)).map_err(IndexError::io(&path))?;
        let rows = self.known.rows() as u32;
        let mut gone = Vec::new();
        if let Some(index) = index {
            let current = self.folder.index()?;
            let is_live = |row: usize| current.as_ref().is_some_and(|current| current.live().contains(row));
            gone.extend((0..rows).filter(|&row| is_live(row as usize) && !self.kept.contains(row as usize)));
            let is_moved = |row: u32| {
                self.known.content(row).is_some_and(|content| {
                    let mut others = self.known.rows_of(content);
                    self.contents.contains_key(&content)
                        || others.any(|other| self.kept.contains(other as usize))
                })
            };
            let missing: Vec<u32> = gone
                .iter()
                .copied()
                .filter(|&row| !self.unusable.contains(row as usize) && !is_moved(row))
                .collect();
            let images = index.live().len();
            if let Some(&first) = missing.first()
                && !self.options.prune
                && missing.len() * 2 > images
            {
                let first = index.key(first as usize)?;
                return Err(IndexError::Missing { missing: missing.len(), rows: images, first });
            }
            let unusable = gone.iter().filter(|row| self.unusable.contains(**row as usize)).count();
            self.updated.removed = (missing.len() + unusable) as u64;
            self.updated.moved = (gone.len() - missing.len() - unusable) as u64;
            // The new rows of moved images were counted as added.
            self.updated.added = self.updated.added.saturating_sub(self.updated.moved);
        }
        if self.folder.manifest.images() <= gone.len() {
            let reason = self.first_reason.unwrap_or_default();
            return Err(IndexError::AllSkipped { records: self.records, reason, path });
        }
        if !gone.is_empty() {
            self.folder.remove(&gone)?;
        }
        if let Some(index) = self.folder.index()? {
            self.updated.noted = annotate(self.folder, &index, source)?;
        }
        let wanted = compact::wanted(self.folder, self.config.segment_rows, self.options.compact);
        self.folder.manifest.complete = wanted.is_empty();
        self.folder.publish()?;
        if let Some(index) = self.folder.index()?.filter(|_| !wanted.is_empty()) {
            compact::compact(self.folder, &index, &wanted, &mut self.config)?;
        }
        self.updated.images = self.folder.manifest.images();
        Ok(self.updated)
    }
}
