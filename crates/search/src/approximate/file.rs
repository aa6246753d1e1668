//! Files of graphs.

use std::io::{self, Write};
use std::path::Path;

use safetensors::Dtype;
use sail_support::{hex, write_atomic};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::graph::Graph;
use super::points::Points;
use super::{GraphConfig, GraphError};
use crate::tensors::{Layout, TensorFile, TensorsError, malformed, write_header};

/// The only entry of the file's metadata.
const METADATA: &str = "sail_graph";
const VERSION: u32 = 1;
/// Values that are written at once.
const CHUNK: usize = 1 << 16;

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
    /// Of the tensors.
    sha256: String,
}

impl Description {
    fn layout(&self) -> Layout {
        vec![
            ("edges", Dtype::U32, vec![self.edges]),
            ("removed", Dtype::U32, vec![self.removed]),
            ("degrees", Dtype::U16, vec![self.rows]),
        ]
    }
}

/// The values of the tensors.
struct Tensors {
    /// The neighbours of all rows, one row after the other.
    edges: Vec<u32>,
    removed: Vec<u32>,
    degrees: Vec<u16>,
}

impl Tensors {
    fn of(graph: &Graph) -> Self {
        let store = graph.store();
        let rows = 0..store.edges.rows() as u32;
        Self {
            edges: rows.clone().flat_map(|row| store.edges.of(row)).collect(),
            removed: rows.clone().filter(|&row| !store.live.contains(row as usize)).collect(),
            degrees: rows.map(|row| store.edges.of(row).len() as u16).collect(),
        }
    }

    /// Calls `write` with the bytes of the tensors, in order.
    fn write<E>(&self, mut write: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        for values in [&self.edges, &self.removed].into_iter().flat_map(|values| values.chunks(CHUNK)) {
            write(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())?;
        }
        for values in self.degrees.chunks(CHUNK) {
            write(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())?;
        }
        Ok(())
    }

    fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        let Ok(()) = self.write(|bytes| {
            hash.update(bytes);
            Ok::<_, std::convert::Infallible>(())
        });
        hex(&hash.finalize())
    }
}

/// Writes a graph: safetensors with `edges` U32, the neighbours of all rows, `degrees` U16 `[rows]`, how many each has, and
/// `removed` U32, the rows that were removed.
pub(crate) fn save(graph: &Graph, path: &Path) -> Result<(), GraphError> {
    let (store, tensors) = (graph.store(), Tensors::of(graph));
    let description = Description {
        version: VERSION,
        config: graph.config(),
        entry: store.entry,
        rows: store.edges.rows(),
        edges: tensors.edges.len(),
        removed: tensors.removed.len(),
        codes_sha256: codes_sha256(&store.points, store.edges.rows()),
        sha256: tensors.sha256(),
    };
    let write = |out: &mut dyn Write| {
        write_header(out, METADATA, &description, description.layout())?;
        tensors.write(|bytes| out.write_all(bytes))
    };
    write_atomic(path, write).map_err(|source: io::Error| GraphError::Io { path: path.to_owned(), source })
}

/// Reads a graph of these rows, or the first ones.
pub(crate) fn load(path: &Path, points: Points) -> Result<Graph, GraphError> {
    let failed = |error| match error {
        TensorsError::Io(source) => GraphError::Io { path: path.to_owned(), source },
        TensorsError::Malformed { what, found, expected } => {
            GraphError::Malformed { path: path.to_owned(), what, found, expected }
        }
    };
    let (description, tensors) = read(path, &points).map_err(failed)?;
    let mut graph = Graph::new(points, description.config)?;
    let store = graph.store_mut()?;
    store.entry = description.entry;
    tensors.removed.iter().for_each(|&row| store.live.remove(row as usize));
    store.edges.resize(description.rows);
    let mut edges = tensors.edges.as_slice();
    for (row, &degree) in tensors.degrees.iter().enumerate() {
        let (neighbours, rest) = edges.split_at(usize::from(degree));
        if usize::from(degree) > store.edges.capacity() {
            let expected = format!("at most {}", store.edges.capacity());
            return Err(failed(malformed(format!("the number of edges of row {row}"), degree, expected)));
        }
        store.edges.set(row as u32, neighbours.iter().copied());
        edges = rest;
    }
    Ok(graph)
}

/// Reads and checks all that does not depend on the engine.
fn read(path: &Path, points: &Points) -> Result<(Description, Tensors), TensorsError> {
    let mut file = TensorFile::open(path)?;
    let fields = "version, config, entry, rows, edges, removed, codes_sha256 and sha256";
    let description: Description = file.description(METADATA, fields)?;
    let rows = description.rows;
    let expect = |what: &str, found: &dyn ToString, expected: &dyn ToString| {
        let same = found.to_string() == expected.to_string();
        if same { Ok(()) } else { Err(malformed(what, found.to_string(), expected.to_string())) }
    };
    expect("the version", &description.version, &VERSION)?;
    if rows > points.rows() {
        return Err(malformed("the number of rows", rows, format_args!("at most {}", points.rows())));
    }
    expect("the SHA-256 of the codes", &description.codes_sha256, &codes_sha256(points, rows))?;
    file.check(description.layout())?;
    let tensors = Tensors {
        edges: file.values(description.edges, u32::from_le_bytes)?,
        removed: file.values(description.removed, u32::from_le_bytes)?,
        degrees: file.values(rows, u16::from_le_bytes)?,
    };
    expect("the SHA-256 of the tensors", &tensors.sha256(), &description.sha256)?;
    let degrees: u64 = tensors.degrees.iter().map(|&degree| u64::from(degree)).sum();
    expect("the sum of the degrees", &degrees, &description.edges)?;
    let named = tensors.edges.iter().chain(&tensors.removed).chain((rows > 0).then_some(&description.entry));
    match named.max() {
        Some(&row) if row as usize >= rows => Err(malformed("a row", row, format_args!("less than {rows}"))),
        _ => Ok((description, tensors)),
    }
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
