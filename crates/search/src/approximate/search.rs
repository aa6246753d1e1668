//! The approximate search.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rayon::prelude::*;
use sail_core::{FeatureSource, Progress};

use super::graph::Graph;
use super::points::{Points, Query};
use super::{GraphConfig, GraphError, file};
use crate::exact::{Rotation, check_set, nearest, unit_queries};
use crate::{Codes, ExactSearch, Hit, RowSet, SearchError, VectorSearch};

/// Rows that are read for each one that is wanted.
const CANDIDATES: usize = 2;
/// Rows that are read at least.
const MIN_CANDIDATES: usize = 32;

/// A search that walks through a graph of nearest neighbours, for collections in which a scan of all codes takes too long.
///
/// The graph is that of DiskANN (Subramanya et al., NeurIPS 2019) over codes of [`CodeKind::Int8`](crate::CodeKind::Int8). A walk
/// keeps the [`search_beam`](GraphConfig::search_beam) nearest rows by code; the best of them are read and their cosines computed, so
/// scores are exact and only recall depends on the graph.
///
/// A search among some rows keeps as many more candidates as these are fewer. Where that visits more rows than a scan of the
/// set would, or finds fewer than `k`, the set is scanned as by [`ExactSearch`].
pub struct ApproximateSearch {
    graph: Graph,
    scan: ExactSearch,
    source: Arc<dyn FeatureSource>,
    rotation: Rotation,
    beam: usize,
    /// Number of rows that were not removed.
    live: usize,
}

impl ApproximateSearch {
    /// Builds the graph of the rows of a source. The codes are those of its parts, in order, with the same centre.
    /// `progress` counts rows; the graph does not depend on the number of threads.
    ///
    /// # Errors
    /// [`GraphError`]: settings out of range, codes of another kind or of other rows; [`GraphError::Stopped`] after `stop` is set.
    pub fn build(
        codes: Vec<Arc<Codes>>,
        source: Arc<dyn FeatureSource>,
        config: GraphConfig,
        stop: &AtomicBool,
        progress: impl FnMut(Progress),
    ) -> Result<Self, GraphError> {
        let scan = ExactSearch::new(codes.clone(), source.clone())?;
        let mut graph = Graph::new(Points::new(codes)?, config)?;
        graph.link(stop, progress)?;
        Ok(Self::of(graph, scan, source))
    }

    /// Opens a graph that [`save`](Self::save) wrote, with the codes and rows that it was built of. There may be rows behind them:
    /// searches scan these, until [`extend`](Self::extend) adds them to the graph.
    ///
    /// # Errors
    /// [`GraphError::Data`]; [`GraphError::Malformed`] if the file is no graph or one of other codes.
    pub fn open(
        path: impl AsRef<Path>,
        codes: Vec<Arc<Codes>>,
        source: Arc<dyn FeatureSource>,
    ) -> Result<Self, GraphError> {
        let scan = ExactSearch::new(codes.clone(), source.clone())?;
        let graph = file::load(path.as_ref(), Points::new(codes)?)?;
        Ok(Self::of(graph, scan, source))
    }

    fn of(graph: Graph, scan: ExactSearch, source: Arc<dyn FeatureSource>) -> Self {
        let (beam, live) = (graph.config().search_beam, graph.store().live.len());
        let rotation = Rotation::new(source.dim());
        Self { graph, scan, source, rotation, beam, live }
    }

    /// Sets the number of candidates of a walk, in place of [`GraphConfig::search_beam`].
    #[must_use]
    pub fn with_beam(mut self, beam: usize) -> Self {
        self.beam = beam;
        self
    }

    /// Adds the rows that are behind those of the graph. Codes and source are those of all rows.
    ///
    /// # Errors
    /// [`GraphError::Fewer`] and [`GraphError::Changed`] if the source does not begin with the rows of the graph; otherwise as
    /// [`build`](Self::build).
    pub fn extend(
        mut self,
        codes: Vec<Arc<Codes>>,
        source: Arc<dyn FeatureSource>,
        stop: &AtomicBool,
        progress: impl FnMut(Progress),
    ) -> Result<Self, GraphError> {
        let scan = ExactSearch::new(codes.clone(), source.clone())?;
        self.graph.replace(Points::new(codes)?)?;
        self.graph.link(stop, progress)?;
        Ok(Self::of(self.graph, scan, source))
    }

    /// Removes rows: they keep their numbers and are not found any more.
    ///
    /// # Errors
    /// [`SearchError::Rows`] if the set is of another collection, and [`GraphError::Engine`].
    pub fn remove(&mut self, rows: &RowSet) -> Result<(), GraphError> {
        check_set(Some(rows), self.rows())?;
        self.graph.remove(rows)?;
        self.live = self.graph.store().live.len();
        Ok(())
    }

    /// Returns the number of rows that the graph has.
    #[must_use]
    pub fn linked(&self) -> usize {
        self.graph.store().edges.rows()
    }

    /// Returns the size of the graph in memory, in bytes. Codes are shared with other searches.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.graph.bytes()
    }

    /// Writes the graph to a file, atomically. Codes and rows are not part of it.
    ///
    /// # Errors
    /// [`GraphError::Data`]; an existing file is then left unchanged.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), GraphError> {
        file::save(&self.graph, path.as_ref())
    }

    /// Returns the candidates that a walk should keep for `k` of `members` rows, or nothing if a scan of these is as fast.
    fn plan(&self, k: usize, members: usize) -> Option<usize> {
        let beam = self.beam.max(2 * k).saturating_mul(self.rows()).checked_div(members)?;
        let visited = beam.saturating_mul(self.graph.config().degree);
        (self.linked() > 0 && visited < members).then_some(beam)
    }
}

impl VectorSearch for ApproximateSearch {
    fn rows(&self) -> usize {
        self.source.rows()
    }

    fn dim(&self) -> usize {
        self.source.dim()
    }

    fn search(
        &self,
        queries: &[f32],
        k: usize,
        among: Option<&RowSet>,
    ) -> Result<Vec<Vec<Hit>>, SearchError> {
        let queries = unit_queries(queries, self.dim())?;
        check_set(among, self.rows())?;
        let live = &self.graph.store().live;
        let all = self.live == self.rows();
        let mut both = None;
        if let (Some(among), false) = (among, all) {
            both.insert(among.clone()).intersect(live);
        }
        let set = both.as_ref().or(among).or((!all).then_some(live));
        let members = set.map_or(self.rows(), RowSet::len);
        let k = k.min(members);
        let Some(beam) = self.plan(k, members) else { return self.scan.search(&queries, k, set) };
        let linked = self.linked();
        let behind = (linked < self.rows()).then(|| {
            let mut behind = RowSet::empty(self.rows());
            let rows = (linked..self.rows()).filter(|&row| set.is_none_or(|set| set.contains(row)));
            rows.for_each(|row| behind.insert(row));
            behind
        });
        let within = members - behind.as_ref().map_or(0, RowSet::len);
        queries
            .par_chunks_exact(self.dim())
            .map(|query| {
                let mut rotated = query.to_vec();
                rotated.resize(self.rotation.width(), 0.0);
                self.rotation.apply(&mut rotated);
                let mut rows = self.graph.search(Query::new(&rotated).target(), beam)?;
                rows.retain(|&row| set.is_none_or(|set| set.contains(row as usize)));
                let candidates = (k * CANDIDATES).max(MIN_CANDIDATES);
                let mut rows: Vec<usize> =
                    rows.into_iter().take(candidates).map(|row| row as usize).collect();
                if rows.len() < k.min(within) {
                    return Ok(self.scan.search(query, k, set)?.into_iter().flatten().collect());
                }
                rows.sort_unstable();
                let mut hits: Vec<Hit> =
                    nearest(self.source.as_ref(), query, k, Some(&rows))?.into_iter().flatten().collect();
                if let Some(behind) = &behind {
                    hits.extend(self.scan.search(query, k, Some(behind))?.into_iter().flatten());
                    hits.sort_unstable_by(Hit::rank);
                    hits.truncate(k);
                }
                Ok(hits)
            })
            .collect()
    }
}
