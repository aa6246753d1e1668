//! The graph, as `diskann` accesses it.
//!
//! The engine is written for stores that answer later. Ours are in memory, so every future is ready at once.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use diskann::graph::glue::{self, HybridPredicate};
use diskann::graph::search_output_buffer::{BufferState, SearchOutputBuffer};
use diskann::graph::{AdjacencyList, workingset};
use diskann::neighbor::Neighbor;
use diskann::provider::{
    DataProvider, DefaultContext, Delete, ElementStatus, HasId, NeighborAccessor, NeighborAccessorMut,
    Neighbors, NoopGuard, SetElement,
};
use diskann::{ANNError, ANNResult};
use diskann_utils::Reborrow;
use diskann_vector::DistanceFunction;

use super::edges::Edges;
use super::points::{Points, Target};
use crate::RowSet;

/// Rows and the edges between them.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) points: Points,
    pub(crate) edges: Edges,
    /// Where searches begin.
    pub(crate) entry: u32,
    /// The rows that were not removed.
    pub(crate) live: RowSet,
}

impl DataProvider for Store {
    type Context = DefaultContext;
    type InternalId = u32;
    type ExternalId = u32;
    type Error = ANNError;
    type Guard = NoopGuard<u32>;

    fn to_internal_id(&self, _: &DefaultContext, row: &u32) -> ANNResult<u32> {
        Ok(*row)
    }

    fn to_external_id(&self, _: &DefaultContext, row: u32) -> ANNResult<u32> {
        Ok(row)
    }
}

/// Rows are stored before they are linked, so that there is nothing to set.
impl SetElement<u32> for Store {
    type SetError = ANNError;

    async fn set_element(&self, _: &DefaultContext, row: &u32, _: u32) -> ANNResult<NoopGuard<u32>> {
        Ok(NoopGuard::new(*row))
    }
}

impl Delete for Store {
    async fn delete(&self, _: &DefaultContext, _: &u32) -> ANNResult<()> {
        Err(ANNError::message("rows are marked as removed before they are unlinked"))
    }

    async fn release(&self, _: &DefaultContext, _: u32) -> ANNResult<()> {
        Ok(())
    }

    async fn status_by_internal_id(&self, _: &DefaultContext, row: u32) -> ANNResult<ElementStatus> {
        let live = self.live.contains(row as usize);
        Ok(if live { ElementStatus::Valid } else { ElementStatus::Deleted })
    }

    async fn status_by_external_id(&self, context: &DefaultContext, row: &u32) -> ANNResult<ElementStatus> {
        self.status_by_internal_id(context, *row).await
    }
}

/// How the engine links rows of a [`Store`] and searches it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strategy;

impl<'a> glue::SearchStrategy<'a, Store, Target<'a>> for Strategy {
    type SearchAccessor = Search<'a>;
    type SearchAccessorError = ANNError;

    fn search_accessor(
        &'a self,
        store: &'a Store,
        _: &'a DefaultContext,
        target: Target<'a>,
    ) -> ANNResult<Search<'a>> {
        Ok(Search { store, target, rows: Vec::new() })
    }
}

impl<'a> glue::InsertStrategy<'a, Store, u32> for Strategy {
    type SearchAccessor = Search<'a>;
    type SearchAccessorError = ANNError;
    type PruneStrategy = Self;

    fn insert_search_accessor(
        &'a self,
        store: &'a Store,
        _: &'a DefaultContext,
        row: u32,
    ) -> ANNResult<Search<'a>> {
        Ok(Search { store, target: store.points.row(row), rows: Vec::new() })
    }

    fn prune_strategy(&self) -> Self {
        *self
    }
}

impl glue::PruneStrategy<Store> for Strategy {
    type PruneAccessor<'a> = Prune<'a>;
    type PruneAccessorError = ANNError;

    fn prune_accessor<'a>(&self, store: &'a Store, _: &'a DefaultContext, _: usize) -> ANNResult<Prune<'a>> {
        Ok(Prune { store })
    }
}

/// Rows that are linked at once.
#[derive(Debug)]
pub(crate) struct Batch(pub(crate) Vec<u32>);

impl glue::Batch for Batch {
    type Element<'a> = u32;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, index: usize) -> u32 {
        self.0[index]
    }
}

impl glue::MultiInsertStrategy<Store, Batch> for Strategy {
    type Seed = ();
    type FinishError = Infallible;
    type PruneStrategy = Self;
    type InsertStrategy = Self;

    fn insert_strategy(&self) -> Self {
        *self
    }

    async fn finish<I: ExactSizeIterator<Item = u32> + Send>(
        &self,
        _: &Store,
        _: &DefaultContext,
        _: &Arc<Batch>,
        _: I,
    ) -> Result<(), Infallible> {
        Ok(())
    }

    fn seeded_prune_accessor<'a>(
        &'a self,
        store: &'a Store,
        _: &'a DefaultContext,
        (): &'a (),
        _: usize,
    ) -> ANNResult<Prune<'a>> {
        Ok(Prune { store })
    }
}

/// Walks along edges towards a target.
#[derive(Debug)]
pub(crate) struct Search<'a> {
    store: &'a Store,
    target: Target<'a>,
    rows: Vec<u32>,
}

impl HasId for Search<'_> {
    type Id = u32;
}

impl glue::SearchAccessor for Search<'_> {
    async fn starting_points(&self) -> ANNResult<Vec<u32>> {
        Ok(vec![self.store.entry])
    }

    async fn start_point_distances<F: FnMut(u32, f32) + Send>(&mut self, mut found: F) -> ANNResult<()> {
        let entry = self.store.entry;
        found(entry, self.store.points.distance(self.target, entry));
        Ok(())
    }

    async fn expand_beam<I, P, F>(&mut self, rows: I, mut wanted: P, mut found: F) -> ANNResult<()>
    where
        I: Iterator<Item = u32> + Send,
        P: HybridPredicate<u32> + Send + Sync,
        F: FnMut(u32, f32) + Send,
    {
        self.rows.clear();
        let neighbours = rows.flat_map(|row| self.store.edges.of(row));
        self.rows.extend(neighbours.filter(|row| wanted.eval_mut(row)));
        for &row in &self.rows {
            found(row, self.store.points.distance(self.target, row));
        }
        Ok(())
    }
}

/// Chooses neighbours among candidates.
#[derive(Debug)]
pub(crate) struct Prune<'a> {
    store: &'a Store,
}

/// A candidate: compared in place, by its number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate(u32);

impl<'a> Reborrow<'a> for Candidate {
    type Target = Self;

    fn reborrow(&'a self) -> Self {
        *self
    }
}

/// The candidates of a choice: any rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidates;

impl workingset::View<u32> for Candidates {
    type ElementRef<'a> = Candidate;
    type Element<'a> = Candidate;

    fn get(&self, row: u32) -> Option<Candidate> {
        Some(Candidate(row))
    }
}

impl DistanceFunction<Candidate, Candidate, f32> for &Store {
    fn evaluate_similarity(&self, a: Candidate, b: Candidate) -> f32 {
        self.points.distance(self.points.row(a.0), b.0)
    }
}

impl HasId for Prune<'_> {
    type Id = u32;
}

impl glue::PruneAccessor for Prune<'_> {
    type Neighbors<'a>
        = Neighbors<'a, Self>
    where
        Self: 'a;
    type ElementRef<'a> = Candidate;
    type View<'a>
        = Candidates
    where
        Self: 'a;
    type Distance<'a>
        = &'a Store
    where
        Self: 'a;

    fn neighbors(&mut self) -> Neighbors<'_, Self> {
        Neighbors(self)
    }

    async fn fill<I>(&mut self, _: I) -> ANNResult<(Candidates, &Store)>
    where
        I: ExactSizeIterator<Item = u32> + Clone + Send + Sync,
    {
        Ok((Candidates, self.store))
    }
}

impl NeighborAccessor for Prune<'_> {
    async fn get_neighbors(&mut self, row: u32, neighbours: &mut AdjacencyList<u32>) -> ANNResult<()> {
        let found = self.store.edges.of(row);
        let length = found.len();
        let mut list = neighbours.resize(length);
        list.iter_mut().zip(found).for_each(|(place, neighbour)| *place = neighbour);
        list.finish(length);
        Ok(())
    }
}

impl NeighborAccessorMut for Prune<'_> {
    async fn set_neighbors(&mut self, row: u32, neighbours: &[u32]) -> ANNResult<()> {
        self.store.edges.set(row, neighbours.iter().copied());
        Ok(())
    }

    async fn append_vector(&mut self, row: u32, neighbours: &[u32]) -> ANNResult<()> {
        let all: Vec<u32> = self.store.edges.of(row).chain(neighbours.iter().copied()).collect();
        self.store.edges.set(row, all);
        Ok(())
    }
}

/// The rows that a search keeps, the nearest first.
#[derive(Debug, Default)]
pub(crate) struct Found(pub(crate) Vec<u32>);

impl SearchOutputBuffer<u32> for Found {
    fn size_hint(&self) -> Option<usize> {
        None
    }

    fn push(&mut self, neighbour: Neighbor<u32>) -> BufferState {
        self.0.push(*neighbour.id());
        BufferState::Available
    }

    fn current_len(&self) -> usize {
        self.0.len()
    }

    fn extend<I: IntoIterator<Item = Neighbor<u32>>>(&mut self, neighbours: I) -> usize {
        let before = self.0.len();
        self.0.extend(neighbours.into_iter().map(|neighbour| *neighbour.id()));
        self.0.len() - before
    }
}

/// Returns the result of a future that does not wait.
pub(crate) fn now<T>(future: impl Future<Output = ANNResult<T>>) -> ANNResult<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(ANNError::message("the engine waits for a store in memory")),
    }
}
