//! The footer of Parquet files.
//!
//! See <https://github.com/apache/parquet-format>; field ids are those of `parquet.thrift`.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use super::thrift::Struct;
use crate::source::table::ColumnKind;

const MAGIC: &[u8] = b"PAR1";
/// Enough for a hundred thousand column chunks.
const MAX_FOOTER: u64 = 16 << 20;
/// Maximum nesting of columns.
const MAX_NESTING: usize = 32;
/// Maximum number of values, so that sums over repeated columns do not overflow.
const MAX_VALUES: u64 = 1 << 48;

/// The supported columns, and their location.
#[derive(Debug)]
pub(super) struct Metadata {
    pub(super) leaves: Vec<Leaf>,
    pub(super) groups: Vec<Group>,
}

/// A supported column.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) name: String,
    pub(super) kind: ColumnKind,
    pub(super) physical: Physical,
    /// The definition level of a value that is not null.
    pub(super) max_definition: u32,
    /// Whether a row can have several values.
    pub(super) repeated: bool,
    /// Its index among the columns of the file.
    index: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Physical {
    Bytes,
    /// Bytes of the same length in all rows.
    Fixed(u32),
    Int32 {
        unsigned: bool,
    },
    Int64 {
        unsigned: bool,
    },
    Float,
    Double,
    /// Bits in a page.
    Boolean,
}

impl Physical {
    /// Returns the length of a value in bytes, or `None` if it varies or is a bit.
    pub(super) fn width(self) -> Option<u32> {
        match self {
            Self::Bytes | Self::Boolean => None,
            Self::Fixed(width) => Some(width),
            Self::Int32 { .. } | Self::Float => Some(4),
            Self::Int64 { .. } | Self::Double => Some(8),
        }
    }
}

/// A row group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) rows: u64,
    /// One per leaf.
    pub(super) chunks: Vec<Chunk>,
}

/// The bytes of a column in a row group.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pub(super) start: u64,
    pub(super) length: u64,
    /// Number of values, including nulls and empty lists.
    pub(super) values: u64,
    pub(super) codec: i64,
}

impl Metadata {
    /// Reads the footer. The error is the reason why it is invalid.
    pub(super) fn read(file: &mut File) -> Result<Self, String> {
        let io = |error: std::io::Error| error.to_string();
        let length = file.seek(SeekFrom::End(0)).map_err(io)?;
        let mut tail = [0; 8];
        if length < 12 {
            return Err(format!("it has {length} bytes, too few for a Parquet file"));
        }
        file.seek(SeekFrom::Start(length - 8)).and_then(|_| file.read_exact(&mut tail)).map_err(io)?;
        let (size, magic) = tail.split_at(4);
        match magic {
            MAGIC => {}
            b"PARE" => return Err("it is encrypted".to_owned()),
            _ => return Err("the magic bytes at its end are missing".to_owned()),
        }
        let size = size.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        if size > MAX_FOOTER || size > length - 12 {
            return Err(format!(
                "its footer has {size} bytes, expected at most {}",
                MAX_FOOTER.min(length - 12)
            ));
        }
        let mut footer = vec![0; size as usize];
        file.seek(SeekFrom::Start(length - 8 - size))
            .and_then(|_| file.read_exact(&mut footer))
            .map_err(io)?;
        let footer = Struct::parse(&mut footer.as_slice()).ok_or("its footer cannot be parsed")?;
        Self::from_footer(&footer, length)
            .ok_or_else(|| "its footer is inconsistent with itself or the file".to_owned())
    }

    fn from_footer(footer: &Struct, length: u64) -> Option<Self> {
        let leaves = leaves(footer)?;
        let mut groups = Vec::new();
        for group in footer.structures(4)? {
            let group = group?;
            let rows = u64::try_from(group.integer(3)?).ok()?;
            let columns: Vec<&Struct> = group.structures(1)?.collect::<Option<_>>()?;
            let chunks = leaves.iter().map(|leaf| chunk(columns.get(leaf.index)?, leaf, length));
            let chunks: Vec<Chunk> = chunks.collect::<Option<_>>()?;
            // Positions are computed from these counts.
            let fits = leaves
                .iter()
                .zip(&chunks)
                .all(|(leaf, chunk)| if leaf.repeated { chunk.values >= rows } else { chunk.values == rows });
            if !fits {
                return None;
            }
            groups.push(Group { rows, chunks });
        }
        // Sums over groups and columns must not overflow.
        let values = groups.iter().flat_map(|group| &group.chunks).map(|chunk| chunk.values);
        let mut counts = values.chain(groups.iter().map(|group| group.rows));
        let sum = counts.try_fold(0u64, u64::checked_add)?;
        (sum <= MAX_VALUES).then_some(Self { leaves, groups })
    }
}

fn chunk(column: &Struct, leaf: &Leaf, length: u64) -> Option<Chunk> {
    // Chunks in other files are unsupported.
    if column.has(1) {
        return None;
    }
    let metadata = column.structure(3)?;
    let physical = match leaf.physical {
        Physical::Boolean => 0,
        Physical::Int32 { .. } => 1,
        Physical::Int64 { .. } => 2,
        Physical::Float => 4,
        Physical::Double => 5,
        Physical::Bytes => 6,
        Physical::Fixed(_) => 7,
    };
    if metadata.integer(1)? != physical {
        return None;
    }
    let data = u64::try_from(metadata.integer(9)?).ok()?;
    // Some writers store 0 if there is none.
    let dictionary = metadata.integer(11).and_then(|at| u64::try_from(at).ok()).filter(|&at| at > 0);
    let start = dictionary.map_or(data, |at| at.min(data));
    let size = u64::try_from(metadata.integer(7)?).ok()?;
    let values = u64::try_from(metadata.integer(5)?).ok()?;
    let inside = start.checked_add(size).is_some_and(|end| end <= length);
    inside.then_some(Chunk { start, length: size, values, codec: metadata.integer(4)? })
}

/// An open group of the schema.
struct Open<'a> {
    name: &'a str,
    children: u64,
    definition: u32,
    repetition: u32,
    /// The enclosing list.
    list: Option<List>,
    /// Whether it is marked as a list.
    is_list: bool,
}

/// The groups from the root that a list and its element end at. Those between are not part of names.
#[derive(Clone, Copy)]
struct List {
    named: usize,
    element: usize,
}

impl List {
    /// Returns the list of a repeated field, which is at position `at`.
    ///
    /// See <https://github.com/apache/parquet-format/blob/master/LogicalTypes.md#lists> for the layouts of earlier writers.
    fn new(parent: &Open, at: usize, name: &str, children: u64) -> Self {
        let is_element = children != 1 || name == "array" || name == format!("{}_tuple", parent.name);
        match (parent.is_list, is_element) {
            (false, _) => Self { named: at + 1, element: at + 1 },
            (true, true) => Self { named: at, element: at + 1 },
            (true, false) => Self { named: at, element: at + 2 },
        }
    }
}

/// Returns the supported columns: text, bytes, numbers and booleans, and lists of them, or of structs with them.
fn leaves(footer: &Struct) -> Option<Vec<Leaf>> {
    let mut leaves = Vec::new();
    let mut index = 0;
    let mut open: Vec<Open> = Vec::new();
    for element in footer.structures(2)? {
        let element = element?;
        let name = std::str::from_utf8(element.bytes(4)?).ok()?;
        let children = u64::try_from(element.integer(5).unwrap_or(0)).ok()?;
        // The first is the root, which has no repetition and is not part of names.
        let Some(parent) = open.last() else {
            if index > 0 {
                return None;
            }
            open.push(Open { name, children, definition: 0, repetition: 0, list: None, is_list: false });
            continue;
        };
        let (optional, repeats) = match element.integer(3)? {
            0 => (0, 0),
            1 => (1, 0),
            2 => (1, 1),
            _ => return None,
        };
        let list = match (parent.list, repeats) {
            (None, 1) => Some(List::new(parent, open.len(), name, children)),
            (list, _) => list,
        };
        let entry = Open {
            name,
            children,
            definition: parent.definition + optional,
            repetition: parent.repetition + repeats,
            list,
            is_list: element.integer(6) == Some(3) || element.structure(10).is_some_and(|kind| kind.has(3)),
        };
        open.push(entry);
        if open.len() > MAX_NESTING {
            return None;
        }
        if children == 0 {
            leaves.extend(leaf(element, &open, index));
            index += 1;
            open.pop();
            // Groups end with their last child.
            while let Some(group) = open.last_mut() {
                group.children = group.children.checked_sub(1)?;
                if group.children > 0 {
                    break;
                }
                open.pop();
            }
        }
    }
    open.is_empty().then_some(leaves)
}

fn leaf(element: &Struct, open: &[Open], index: usize) -> Option<Leaf> {
    let entry = open.last()?;
    // Lists of lists are unsupported.
    if entry.repetition > 1 {
        return None;
    }
    let converted = element.integer(6);
    let logical = element.structure(10);
    let marked = |id| logical.is_some_and(|kind| kind.has(id));
    // Text, enumerations and JSON.
    let is_text = matches!(converted, Some(0 | 4 | 19)) || marked(1) || marked(4) || marked(12);
    let unsigned = matches!(converted, Some(11..=14));
    // Plain integers, not other types that are stored as integers, such as timestamps.
    let is_integer = matches!(converted, None | Some(11..=18)) && logical.is_none_or(|kind| kind.has(10));
    let is_plain = converted.is_none() && logical.is_none();
    let (physical, kind) = match element.integer(1)? {
        0 if is_plain => (Physical::Boolean, ColumnKind::Text),
        1 if is_integer => (Physical::Int32 { unsigned }, ColumnKind::Text),
        2 if is_integer => (Physical::Int64 { unsigned }, ColumnKind::Text),
        4 if is_plain => (Physical::Float, ColumnKind::Text),
        5 if is_plain => (Physical::Double, ColumnKind::Text),
        6 if is_text => (Physical::Bytes, ColumnKind::Text),
        6 if is_plain => (Physical::Bytes, ColumnKind::Bytes),
        7 if is_plain => {
            let width = i32::try_from(element.integer(2)?).ok().filter(|&width| width > 0)?;
            (Physical::Fixed(width.unsigned_abs()), ColumnKind::Bytes)
        }
        _ => return None,
    };
    let List { named, element } = entry.list.unwrap_or(List { named: open.len(), element: open.len() });
    let names = open[1..named].iter().chain(open.get(element..).unwrap_or_default());
    Some(Leaf {
        name: names.map(|group| group.name).collect::<Vec<_>>().join("."),
        kind,
        physical,
        max_definition: entry.definition,
        repeated: entry.repetition > 0,
        index,
    })
}
