//! A graph of nearest neighbours.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use diskann::graph::config::{Builder, IntraBatchCandidates, MaxDegree, PruneKind};
use diskann::graph::glue::CopyIds;
use diskann::graph::search::Knn;
use diskann::graph::{Config, DiskANNIndex};
use diskann::provider::DefaultContext;
use rayon::prelude::*;
use sail_core::{Check, Progress};

use super::edges::Edges;
use super::engine::{Batch, Found, Store, Strategy, now};
use super::points::{Points, Target};
use super::{GraphConfig, GraphError};
use crate::{RowSet, SearchError};

/// How much longer than the shortest detour an edge must be to be left out: of squared distances, as DiskANN recommends.
const ALPHA: f32 = 1.2;
/// Rows that are linked at once are this fraction of those before them, because they do not see each other.
const SHARE: usize = 20;
/// Rows that are linked at once, at most.
const BATCH: usize = 4096;

/// A graph in which a walk towards a query finds the nearest rows, and its store.
#[derive(Debug)]
pub(crate) struct Graph {
    engine: Arc<DiskANNIndex<Store>>,
    config: GraphConfig,
}

impl Graph {
    /// Creates a graph of rows without edges.
    pub(crate) fn new(points: Points, config: GraphConfig) -> Result<Self, GraphError> {
        config.check()?;
        let threads = rayon::current_num_threads();
        let mut builder = Builder::new(
            config.degree,
            MaxDegree::default_slack(),
            config.build_beam,
            PruneKind::TriangleInequality,
        );
        builder.alpha(ALPHA).max_minibatch_par(threads).intra_batch_candidates(IntraBatchCandidates::None);
        let engine: Config = builder.build().map_err(engine_error)?;
        let edges = Edges::new(engine.max_degree().get());
        let live = RowSet::from_fn(points.rows(), |_| true);
        let store = Store { points, edges, entry: 0, live };
        let engine = Arc::new(DiskANNIndex::new(engine, store, NonZeroUsize::new(threads)));
        Ok(Self { engine, config })
    }

    pub(crate) fn config(&self) -> GraphConfig {
        self.config
    }

    pub(crate) fn bytes(&self) -> usize {
        self.store().edges.bytes() + self.store().points.bytes()
    }

    pub(crate) fn store(&self) -> &Store {
        &self.engine.data_provider
    }

    pub(crate) fn store_mut(&mut self) -> Result<&mut Store, GraphError> {
        let engine = Arc::get_mut(&mut self.engine);
        Ok(&mut engine.ok_or(GraphError::Engine("it is in use".to_owned()))?.data_provider)
    }

    /// Takes points that begin with those of the graph in the place of these.
    pub(crate) fn replace(&mut self, points: Points) -> Result<(), GraphError> {
        let store = self.store_mut()?;
        let (linked, rows) = (store.edges.rows(), points.rows());
        if rows < linked {
            return Err(GraphError::Fewer { found: rows, expected: linked });
        }
        if let Some(row) = (0..linked as u32).find(|&row| store.points.factor(row) != points.factor(row)) {
            return Err(GraphError::Changed { row: row as usize });
        }
        store.live = RowSet::from_fn(rows, |row| row >= store.live.rows() || store.live.contains(row));
        store.points = points;
        Ok(())
    }

    /// Links the rows that are not yet, in batches of a size that depends on nothing but their position, so that the graph does
    /// not depend on the number of threads.
    pub(crate) fn link(
        &mut self,
        stop: &AtomicBool,
        mut progress: impl FnMut(Progress),
    ) -> Result<(), GraphError> {
        let store = self.store_mut()?;
        let (first, all) = (store.edges.rows(), store.points.rows());
        if first == 0 {
            store.entry = store.points.medoid(0..all);
        }
        store.edges.resize(all);
        let rows = all - first;
        let step = step(rows);
        let threads = self.engine.config.max_minibatch_par().get();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).build();
        let runtime = runtime.map_err(engine_error)?;
        let mut done = 0;
        while done < rows {
            if stop.load(Ordering::Relaxed) {
                return Err(GraphError::Stopped { done, rows });
            }
            let size = ((first + done) / SHARE).clamp(1, BATCH).min(rows - done);
            let entry = self.store().entry;
            let batch: Vec<u32> = (done..done + size)
                .map(|index| (first + (index as u64 * step as u64 % rows as u64) as usize) as u32)
                .filter(|&row| row != entry)
                .collect();
            if !batch.is_empty() {
                let ids = batch.clone().into();
                let linked = std::thread::scope(|scope| {
                    let link = || {
                        let batch = Arc::new(Batch(batch));
                        let insert = self.engine.multi_insert::<Strategy, Batch>(
                            Strategy,
                            &DefaultContext,
                            batch,
                            ids,
                        );
                        runtime.block_on(insert)
                    };
                    // In a thread of its own, because the caller's may belong to another runtime.
                    scope.spawn(link).join()
                });
                linked
                    .map_err(|_| GraphError::Engine("a thread panicked".to_owned()))?
                    .map_err(engine_error)?;
            }
            done += size;
            progress(Progress { done: done as u64, total: rows as u64, unit: "rows" });
        }
        let store = self.store();
        // The engine logs the errors of its tasks instead of returning them.
        let loose = |&row: &u32| store.edges.of(row).len() == 0;
        match (first as u32..(first + rows) as u32).find(loose) {
            Some(row) if store.points.rows() > 1 => {
                Err(GraphError::Engine(format!("row {row} has no edges")))
            }
            _ => Ok(()),
        }
    }

    /// Unlinks rows: those that lead to them are linked with their neighbours instead.
    pub(crate) fn remove(&mut self, rows: &RowSet) -> Result<(), GraphError> {
        let store = self.store_mut()?;
        let linked = store.edges.rows();
        if !store.live.iter().any(|row| rows.contains(row)) {
            return Ok(());
        }
        rows.iter().for_each(|row| store.live.remove(row));
        if !store.live.contains(store.entry as usize) {
            store.entry = store.points.medoid(store.live.iter().take_while(|&row| row < linked));
        }
        let consolidate =
            |row| now(self.engine.consolidate_vector(&Strategy, &DefaultContext, row)).map(|_| ());
        (0..linked as u32).into_par_iter().try_for_each(consolidate).map_err(engine_error)?;
        rows.iter().filter(|&row| row < linked).for_each(|row| self.store().edges.set(row as u32, []));
        Ok(())
    }

    /// Returns the rows that a walk with `beam` candidates keeps, the nearest first.
    pub(crate) fn search(&self, query: Target<'_>, beam: usize) -> Result<Vec<u32>, SearchError> {
        let mut found = Found::default();
        let failed = |error: &dyn std::fmt::Display| SearchError::Graph(error.to_string());
        let knn = Knn::new_default(beam).map_err(|error| failed(&error))?;
        now(self.engine.search_with(knn, &Strategy, CopyIds, &DefaultContext, query, &mut found))
            .map_err(|error| failed(&error))?;
        Ok(found.0)
    }
}

/// Returns a step that visits all of `rows` in an order without runs of neighbouring rows, which are often alike.
fn step(rows: usize) -> usize {
    let divisor = |mut a: usize, mut b: usize| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    // By the golden ratio, the visited rows are spread evenly at all times.
    let first = (rows as f64 * 0.618_033_988_749_895) as usize;
    (first..rows).find(|&step| divisor(step, rows) == 1).unwrap_or(1).max(1)
}

fn engine_error(error: impl std::fmt::Display) -> GraphError {
    GraphError::Engine(error.to_string())
}
