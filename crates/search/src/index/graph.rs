//! The graph of an index.

use std::path::PathBuf;
#[cfg(feature = "approximate")]
use std::sync::atomic::AtomicBool;

#[cfg(feature = "approximate")]
use sail_core::Progress;

use super::Index;
#[cfg(feature = "approximate")]
use super::IndexError;
#[cfg(feature = "approximate")]
use crate::{ApproximateSearch, GraphConfig, GraphError, RowSet};

/// The file of the graph, which belongs to an index if the codes of its rows are those of the graph.
const GRAPH: &str = "graph.safetensors";

impl Index {
    /// Returns the file of the graph for approximate search, if the index has one.
    #[must_use]
    pub fn graph_path(&self) -> Option<PathBuf> {
        let path = self.path().join(GRAPH);
        path.is_file().then_some(path)
    }

    /// Builds a graph for approximate search. A graph that the index has keeps its settings: new rows are added to it and
    /// removed ones removed, unless the index was compacted since. `progress` counts rows.
    ///
    /// # Errors
    /// [`IndexError::Graph`] if the index has no codes of [`CodeKind::Int8`](crate::CodeKind::Int8) or after `stop` is set, when the
    /// index is left as it was; errors of reading and writing.
    #[cfg(feature = "approximate")]
    pub fn build_graph(
        &self,
        config: GraphConfig,
        stop: &AtomicBool,
        progress: impl FnMut(Progress),
    ) -> Result<(), IndexError> {
        if self.manifest().codes.is_none() {
            let (what, found) = ("the kind", "is none".to_owned());
            return Err(GraphError::Codes { what, part: 0, found, expected: "int8" }.into());
        }
        let path = self.path().join(GRAPH);
        let (codes, rows) = (self.codes()?, self.embeddings());
        let opened = self.graph_path().map(|path| ApproximateSearch::open(path, codes.clone(), rows.clone()));
        let mut search = match opened {
            Some(Ok(search)) => search.extend(codes, rows, stop, progress)?,
            // Of other rows, or damaged.
            _ => ApproximateSearch::build(codes, rows, config, stop, progress)?,
        };
        search.remove(&RowSet::from_fn(self.rows(), |row| !self.live().contains(row)))?;
        Ok(search.save(path)?)
    }
}
