//! Files of graphs.

use std::path::Path;

use sail_data::{Array, ArrayFile, write_arrays};
use sail_support::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::graph::Graph;
use super::points::Points;
use super::{GraphConfig, GraphError};

const VERSION: u32 = 1;
/// Enough for the description, many times over.
const MAX_DESCRIPTION_BYTES: usize = 1 << 16;

/// JSON.
const DESCRIPTION: &str = "description";
/// The neighbours of all rows, one row after the other: 4 bytes each, the lowest first.
const EDGES: &str = "edges";
/// How many neighbours each row has: 2 bytes, the lowest first.
const DEGREES: &str = "degrees";
/// The rows that were removed: 4 bytes each, the lowest first.
const REMOVED: &str = "removed";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    version: u32,
    config: GraphConfig,
    /// The row where searches begin.
    entry: u32,
    rows: usize,
    edges: usize,
    removed: usize,
    /// Of the codes of the rows.
    codes_sha256: String,
    /// Of the arrays, in the order of the fields of [`Arrays`].
    sha256: String,
}

/// The arrays of a file.
struct Arrays {
    edges: Vec<u8>,
    degrees: Vec<u8>,
    removed: Vec<u8>,
}

impl Arrays {
    fn of(graph: &Graph) -> Self {
        let store = graph.store();
        let rows = 0..store.edges.rows() as u32;
        let removed = rows.clone().filter(|&row| !store.live.contains(row as usize));
        Self {
            edges: rows.clone().flat_map(|row| store.edges.of(row)).flat_map(u32::to_le_bytes).collect(),
            degrees: rows.flat_map(|row| (store.edges.of(row).len() as u16).to_le_bytes()).collect(),
            removed: removed.flat_map(u32::to_le_bytes).collect(),
        }
    }

    fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        [&self.edges, &self.degrees, &self.removed].into_iter().for_each(|bytes| hash.update(bytes));
        hex(&hash.finalize())
    }

    fn edges(&self) -> impl Iterator<Item = u32> {
        self.edges.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes))
    }

    fn degrees(&self) -> impl Iterator<Item = usize> {
        self.degrees.as_chunks().0.iter().map(|bytes| usize::from(u16::from_le_bytes(*bytes)))
    }

    fn removed(&self) -> impl Iterator<Item = u32> {
        self.removed.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes))
    }
}

/// Writes a graph.
pub(crate) fn save(graph: &Graph, path: &Path) -> Result<(), GraphError> {
    let (store, arrays) = (graph.store(), Arrays::of(graph));
    let rows = store.edges.rows();
    let description = Description {
        version: VERSION,
        config: graph.config(),
        entry: store.entry,
        rows,
        edges: arrays.edges.len() / 4,
        removed: arrays.removed.len() / 4,
        codes_sha256: codes_sha256(&store.points, rows),
        sha256: arrays.sha256(),
    };
    let json = serde_json::to_vec(&description).map_err(|error| GraphError::Engine(error.to_string()))?;
    let array = |width, values| Array::Bytes { width, values };
    write_arrays(
        path,
        &[
            (EDGES, array(4, &arrays.edges)),
            (REMOVED, array(4, &arrays.removed)),
            (DEGREES, array(2, &arrays.degrees)),
            (DESCRIPTION, array(1, &json)),
        ],
    )?;
    Ok(())
}

/// Reads a graph of these rows, or the first ones.
pub(crate) fn load(path: &Path, points: Points) -> Result<Graph, GraphError> {
    let expect = |what: &str, found: &dyn ToString, expected: &dyn ToString| {
        let (found, expected) = (found.to_string(), expected.to_string());
        let what = what.to_owned();
        if found == expected {
            Ok(())
        } else {
            Err(GraphError::Malformed { path: path.to_owned(), what, found, expected })
        }
    };
    let limit = |what: &str, found: usize, limit: usize| {
        let valid = if found <= limit { found.to_string() } else { format!("at most {limit}") };
        expect(what, &found, &valid)
    };
    let file = ArrayFile::open(path)?;
    let length = file.length(DESCRIPTION)?;
    limit("the length of the description", length, MAX_DESCRIPTION_BYTES)?;
    let description: Description =
        serde_json::from_slice(&file.bytes(DESCRIPTION, 0..length)?).map_err(|error| {
            let (what, expected) = ("the description".to_owned(), format!("that of version {VERSION}"));
            GraphError::Malformed { path: path.to_owned(), what, found: error.to_string(), expected }
        })?;
    let Description { rows, edges, removed, entry, .. } = description;
    expect("the version", &description.version, &VERSION)?;
    limit("the number of rows", rows, points.rows())?;
    expect("the SHA-256 of the codes", &description.codes_sha256, &codes_sha256(&points, rows))?;
    for (name, count, width) in [(EDGES, edges, 4), (REMOVED, removed, 4), (DEGREES, rows, 2)] {
        file.check_bytes(name, count, width)?;
    }
    let arrays = Arrays {
        edges: file.bytes(EDGES, 0..4 * edges)?,
        degrees: file.bytes(DEGREES, 0..2 * rows)?,
        removed: file.bytes(REMOVED, 0..4 * removed)?,
    };
    expect("the SHA-256 of the arrays", &arrays.sha256(), &description.sha256)?;
    expect("the sum of the degrees", &arrays.degrees().sum::<usize>(), &edges)?;
    let mut graph = Graph::new(points, description.config)?;
    limit("the highest degree", arrays.degrees().max().unwrap_or(0), graph.store().edges.capacity())?;
    let named = arrays.edges().chain(arrays.removed()).chain((rows > 0).then_some(entry));
    limit("the number of a row", named.max().unwrap_or(0) as usize, rows.saturating_sub(1))?;

    let store = graph.store_mut()?;
    store.entry = entry;
    arrays.removed().for_each(|row| store.live.remove(row as usize));
    store.edges.resize(rows);
    let mut edges = arrays.edges();
    for (row, degree) in arrays.degrees().enumerate() {
        store.edges.set(row as u32, edges.by_ref().take(degree));
    }
    Ok(graph)
}

/// The hash of what the codes of the first rows depend on: their centre, and the largest value of every row.
fn codes_sha256(points: &Points, rows: usize) -> String {
    let mut hash = Sha256::new();
    let mut update = |values: &[f32]| values.iter().for_each(|value| hash.update(value.to_le_bytes()));
    let mut left = rows;
    for codes in points.parts() {
        if left == rows {
            update(codes.centre());
        }
        let factors = codes.int8().unwrap_or_default().1;
        let taken = left.min(factors.len());
        update(&factors[..taken]);
        left -= taken;
    }
    hex(&hash.finalize())
}
