//! Images and captions in the columns of tables.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::cell::{Cell, Row, Rows, Texts};
use super::image_root::{ImageRoot, check_size};
use super::once::once;
use super::options::SourceOptions;
use super::owners::{check_owners, repeats_a_key};
use super::record::{ImageData, Record, RecordSource, Records};
use super::scope::KeyKind;
use super::text::text;
use super::window::{Window, count};
use crate::DataError;

/// A table whose rows can be iterated any number of times.
pub(super) trait Table: Send + Sync {
    fn path(&self) -> &Path;

    fn columns(&self) -> &[Column];

    /// The word for a row in the description of one without a key.
    fn unit(&self) -> &'static str;

    fn count(&self) -> Result<u64, DataError>;

    /// Iterates over the rows from a position on, reading only these columns.
    fn rows(&self, columns: &[usize], start: u64) -> Result<Rows, DataError>;

    /// Returns the number of rows that can be skipped before a value of these columns, and the number of values in these rows.
    /// The elements of lists are values.
    fn skippable(&self, _columns: &[usize], _value: u64) -> (u64, u64) {
        (0, 0)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: ColumnKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColumnKind {
    /// Text, or any type: CSV and JSON have no column types.
    Text,
    /// Arbitrary bytes.
    #[cfg_attr(not(feature = "parquet"), expect(dead_code, reason = "only Parquet has them"))]
    Bytes,
    /// The bytes of an image, or its path.
    #[cfg_attr(not(feature = "parquet"), expect(dead_code, reason = "only Parquet has them"))]
    Image,
}

const KEY_COLUMNS: [&str; 1] = ["key"];
pub(super) const IMAGE_COLUMNS: [&str; 11] = [
    "image",
    "image.bytes",
    "path",
    "file_name",
    "filepath",
    "filename",
    "image_path",
    "image_name",
    "url",
    "image_url",
    "URL",
];
pub(super) const CAPTION_COLUMNS: [&str; 5] = ["caption", "captions", "text", "comment", "TEXT"];

/// Returns the chosen column, or the first of the usual ones that exists.
fn choose(table: &dyn Table, chosen: Option<&str>, usual: &[&str]) -> Result<usize, DataError> {
    let columns = table.columns();
    let usual = if chosen.is_some() { &[] } else { usual };
    let wanted = usual.iter().copied().chain(chosen);
    if let Some(found) = wanted.clone().find_map(|name| columns.iter().position(|column| column.name == name))
    {
        return Ok(found);
    }
    let list = |names: &mut dyn Iterator<Item = &str>| {
        names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    };
    Err(DataError::NoColumn {
        path: table.path().to_owned(),
        wanted: list(&mut wanted.clone()),
        columns: list(&mut columns.iter().map(|column| column.name.as_str())),
    })
}

/// The columns that a record is known by.
#[derive(Clone, Copy)]
struct Keys {
    /// The key column, or `None` if the key is the row number.
    column: Option<usize>,
    kind: KeyKind,
    /// The column of the images, if another column has the keys.
    image: Option<usize>,
    /// Whether the images are in the table, so that reading them takes long.
    embedded: bool,
}

impl Keys {
    /// Returns the column of the images if a key may stand for several of them. Images in the table are compared only if a
    /// key repeats.
    fn owner(self, table: &dyn Table, repeats: &OnceLock<bool>) -> Result<Option<usize>, DataError> {
        let (Some(image), Some(column)) = (self.image, self.column) else { return Ok(None) };
        let compared = !self.embedded || *once(repeats, || repeats_a_key(table.rows(&[column], 0)?))?;
        Ok(Some(image).filter(|_| compared))
    }
}

/// Returns the columns of the keys.
///
/// They are the same for images and captions of a table, so that they pair.
fn key_column(table: &dyn Table, options: &SourceOptions) -> Result<Keys, DataError> {
    let image = match options.image_column.as_deref() {
        Some(name) => Some(choose(table, Some(name), &[])?),
        None => choose(table, None, &IMAGE_COLUMNS).ok(),
    };
    let path = image.filter(|&image| table.columns()[image].kind == ColumnKind::Text);
    let column = match options.key_column.as_deref() {
        Some(name) => Some(choose(table, Some(name), &[])?),
        None => choose(table, None, &KEY_COLUMNS).ok().or(path),
    };
    let is_path = column.is_some() && column == path;
    let kind = if is_path { KeyKind::Path } else { KeyKind::Name };
    let embedded = path.is_none();
    Ok(Keys { column, kind, image: image.filter(|&image| Some(image) != column), embedded })
}

/// Returns the key of a row. If it is a cell, it is removed from the end of the cells.
fn take_key(cells: &mut Vec<Cell>, keyed: bool, number: u64, max: usize) -> Result<String, String> {
    match keyed {
        true => cells.pop().unwrap_or(Cell::Missing).key(max),
        false => Ok(number.to_string()),
    }
}

pub(super) struct TableImages {
    table: Arc<dyn Table>,
    columns: Vec<usize>,
    keys: Keys,
    /// Whether a key repeats, once this is known.
    repeats: OnceLock<bool>,
    /// Where the images are; `None` where the cells hold them.
    root: Option<Arc<ImageRoot>>,
    kind: ColumnKind,
    max_image_bytes: u64,
    max_text_bytes: usize,
}

impl TableImages {
    pub(super) fn new(table: Arc<dyn Table>, options: &SourceOptions) -> Result<Self, DataError> {
        let image = choose(&*table, options.image_column.as_deref(), &IMAGE_COLUMNS)?;
        let keys = key_column(&*table, options)?;
        let kind = table.columns()[image].kind;
        let root = match kind {
            ColumnKind::Bytes if options.image_root.is_some() => {
                return Err(DataError::SourceOption {
                    path: table.path().to_owned(),
                    kind: "a table that holds the images themselves",
                    option: "image_root",
                });
            }
            ColumnKind::Bytes => None,
            ColumnKind::Text | ColumnKind::Image => {
                let folder = options.image_root.as_deref().or(table.path().parent());
                Some(Arc::new(ImageRoot::new(folder.unwrap_or(Path::new("")), options)?))
            }
        };
        Ok(Self {
            table,
            columns: [image].into_iter().chain(keys.column).collect(),
            keys,
            repeats: OnceLock::new(),
            root,
            kind,
            max_image_bytes: options.max_image_bytes,
            max_text_bytes: options.max_text_bytes,
        })
    }

    pub(super) fn keys(&self) -> KeyKind {
        self.keys.kind
    }
}

impl RecordSource<ImageData> for TableImages {
    fn count(&self) -> Result<u64, DataError> {
        self.table.count()
    }

    fn records(&self, range: Range<u64>) -> Result<Records<ImageData>, DataError> {
        let keyed = self.keys.column.is_some();
        let (root, unit, kind) = (self.root.clone(), self.table.unit(), self.kind);
        let (max_image_bytes, max_text_bytes) = (self.max_image_bytes, self.max_text_bytes);
        let image = move |cell: Cell| match (&root, cell) {
            (Some(root), Cell::Path(path)) => root.image(&text(path, "path")?),
            (Some(root), cell) if kind == ColumnKind::Text => {
                root.image(&text(cell.bytes("path", max_text_bytes as u64)?, "path")?)
            }
            (_, cell) => {
                let bytes = cell.bytes("image", max_image_bytes)?;
                check_size(bytes.len() as u64, max_image_bytes)?;
                Ok(ImageData::Bytes(bytes))
            }
        };
        let record = move |Row { number, cells }: Row| {
            let unnamed = |reason| Record { key: format!("{unit} {number}"), value: Err(reason) };
            let mut cells = match cells {
                Ok(cells) => cells,
                Err(reason) => return unnamed(reason),
            };
            match take_key(&mut cells, keyed, number, max_text_bytes) {
                Ok(key) => Record { key, value: image(cells.pop().unwrap_or(Cell::Missing)) },
                Err(reason) => unnamed(reason),
            }
        };
        let (rows, first) = match self.keys.owner(&*self.table, &self.repeats)? {
            Some(_) => (check_owners(self.table.rows(&self.columns, 0)?, true), 0),
            None => (self.table.rows(&self.columns, range.start)?, range.start),
        };
        Ok(Box::new(Window::new(rows, first, &range).map(move |row| row.map(&record))))
    }
}

pub(super) struct TableCaptions {
    table: Arc<dyn Table>,
    captions: Vec<usize>,
    keys: Keys,
    /// Whether a key repeats, once this is known.
    repeats: OnceLock<bool>,
    texts: Texts,
}

impl TableCaptions {
    pub(super) fn new(table: Arc<dyn Table>, options: &SourceOptions) -> Result<Self, DataError> {
        let captions = match options.caption_columns.as_slice() {
            [] => vec![choose(&*table, None, &CAPTION_COLUMNS)?],
            names => names.iter().map(|name| choose(&*table, Some(name), &[])).collect::<Result<_, _>>()?,
        };
        let keys = key_column(&*table, options)?;
        let repeats = OnceLock::new();
        Ok(Self { table, captions, keys, repeats, texts: Texts::new(options) })
    }

    pub(super) fn keys(&self) -> KeyKind {
        self.keys.kind
    }

    /// Returns the number of rows that can be skipped before a record, and the number of their records.
    fn skippable(&self, record: u64) -> Result<(u64, u64), DataError> {
        Ok(match self.keys.owner(&*self.table, &self.repeats)? {
            // All keys are needed.
            Some(_) => (0, 0),
            None => self.table.skippable(&self.captions, record),
        })
    }

    /// Iterates over all records from the first of a row on.
    fn walk(&self, row: u64) -> Result<Walk, DataError> {
        let (column, owner) = (self.keys.column, self.keys.owner(&*self.table, &self.repeats)?);
        let columns: Vec<usize> = self.captions.iter().copied().chain(owner).chain(column).collect();
        let rows = self.table.rows(&columns, row)?;
        Ok(Walk {
            rows: if owner.is_some() { check_owners(rows, false) } else { rows },
            pending: VecDeque::new(),
            keyed: column.is_some(),
            unit: self.table.unit(),
            texts: self.texts,
        })
    }
}

impl RecordSource<String> for TableCaptions {
    fn count(&self) -> Result<u64, DataError> {
        let (rows, records) = self.skippable(u64::MAX)?;
        Ok(records + count(self.walk(rows)?)?)
    }

    fn records(&self, range: Range<u64>) -> Result<Records<String>, DataError> {
        let (rows, records) = self.skippable(range.start)?;
        Ok(Box::new(Window::new(self.walk(rows)?, records, &range)))
    }
}

/// Iterates over the captions of rows.
struct Walk {
    rows: Rows,
    pending: VecDeque<Record<String>>,
    keyed: bool,
    unit: &'static str,
    texts: Texts,
}

impl Walk {
    fn fill(&mut self, Row { number, cells }: Row) {
        let name = || format!("{} {number}", self.unit);
        let mut cells = match cells {
            Ok(cells) => cells,
            Err(reason) => return self.pending.push_back(Record { key: name(), value: Err(reason) }),
        };
        let key = take_key(&mut cells, self.keyed, number, self.texts.max);
        let mut captions = Vec::new();
        for cell in cells {
            cell.captions(self.texts, &mut captions);
        }
        self.pending.extend(captions.into_iter().map(|value| match &key {
            Ok(key) => Record { key: key.clone(), value },
            Err(reason) => Record { key: name(), value: Err(reason.clone()) },
        }));
    }
}

impl Iterator for Walk {
    type Item = Result<Record<String>, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.pending.pop_front() {
                return Some(Ok(record));
            }
            match self.rows.next()? {
                Ok(row) => self.fill(row),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
