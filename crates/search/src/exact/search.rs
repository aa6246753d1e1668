//! The scan of codes.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use sail_core::FeatureSource;
use sail_support::{TopScores, ranges};

use super::Codes;
use super::codes::CodeQuery;
use super::cosine::{check_set, nearest, unit_queries};
use super::rotation::Rotation;
use crate::{Hit, RowSet, SearchError, VectorSearch};

/// Rows whose scores are estimated at a time: their codes stay in the L2 cache while several queries use them.
const BLOCK: usize = 512;
/// Queries that share a pass over the codes.
const QUERIES: usize = 32;

/// A search that scans [`Codes`] on all threads of rayon's pool and reads the rows with the highest estimates.
///
/// The number of rows that are read for a query, its candidates, decides on recall; scores are exact. Results do not depend on
/// the number of threads. Sets of no more rows than candidates are read in full instead.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use sail_data::MatrixFeatures;
/// use sail_search::{CodeKind, Codes, ExactSearch, VectorSearch, centre};
///
/// let rows = Arc::new(MatrixFeatures::new(2, vec![1.0, 0.0, 0.6, 0.8, 0.0, 1.0])?);
/// let codes = Codes::encode(rows.as_ref(), CodeKind::Bit, centre(rows.as_ref(), |_| {})?, |_| {})?;
/// let search = ExactSearch::new(vec![Arc::new(codes)], rows)?;
/// assert_eq!(search.search(&[0.0, 1.0], 1, None)?[0][0].row, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ExactSearch {
    codes: Vec<Arc<Codes>>,
    source: Arc<dyn FeatureSource>,
    rotation: Rotation,
    blocks: Vec<Block>,
    candidates: usize,
}

/// Rows of one of the codes.
struct Block {
    codes: usize,
    /// In the codes.
    rows: Range<usize>,
    /// The first row in the collection.
    first: usize,
}

impl ExactSearch {
    /// Candidates of a query by default.
    pub const CANDIDATES: usize = 1000;

    /// Creates a search in the rows of a source. The codes are those of its parts, in order.
    ///
    /// # Errors
    /// [`SearchError::Codes`] if the codes are of another dimension or number of rows.
    pub fn new(codes: Vec<Arc<Codes>>, source: Arc<dyn FeatureSource>) -> Result<Self, SearchError> {
        let mismatch = |what, found, expected| Err(SearchError::Codes { what, found, expected });
        if let Some(codes) = codes.iter().find(|codes| codes.dim() != source.dim()) {
            return mismatch("dimensions", codes.dim(), source.dim());
        }
        let rows = codes.iter().map(|codes| codes.rows()).sum();
        if rows != source.rows() {
            return mismatch("rows", rows, source.rows());
        }
        let mut blocks = Vec::new();
        let mut first = 0;
        for (index, part) in codes.iter().enumerate() {
            let of_part = ranges(part.rows(), BLOCK).map(|rows| Block {
                codes: index,
                first: first + rows.start,
                rows,
            });
            blocks.extend(of_part);
            first += part.rows();
        }
        let rotation = Rotation::new(source.dim());
        Ok(Self { codes, source, rotation, blocks, candidates: Self::CANDIDATES })
    }

    /// Sets the number of candidates of a query. A search for more rows has as many candidates as those.
    #[must_use]
    pub fn with_candidates(mut self, candidates: usize) -> Self {
        self.candidates = candidates;
        self
    }

    /// Returns the rows with the highest estimates of each query of unit length, in ascending order.
    fn candidates(&self, queries: &[f32], count: usize, among: Option<&RowSet>) -> Vec<Vec<usize>> {
        let queries: Vec<Vec<CodeQuery>> = queries
            .par_chunks_exact(self.dim())
            .map(|query| self.codes.iter().map(|codes| codes.query(query, &self.rotation)).collect())
            .collect();
        // Workers take blocks in ascending order until none is left, so that a busy core delays the search by one block.
        let next = AtomicUsize::new(0);
        let work = |_| {
            let mut tops = vec![TopScores::new(count); queries.len()];
            let mut estimates = [0.0; BLOCK];
            while let Some(block) = self.blocks.get(next.fetch_add(1, Ordering::Relaxed)) {
                let estimates = &mut estimates[..block.rows.len()];
                if among.is_some_and(|set| !set.intersects(block.first..block.first + estimates.len())) {
                    continue;
                }
                for (top, query) in tops.iter_mut().zip(&queries) {
                    self.codes[block.codes].estimate(&query[block.codes], block.rows.clone(), estimates);
                    top.extend(block.first, estimates, |row| among.is_none_or(|set| set.contains(row)));
                }
            }
            tops
        };
        let workers = (0..rayon::current_num_threads()).into_par_iter().with_max_len(1);
        let tops = workers.map(work).reduce_with(|mut tops, others| {
            tops.iter_mut().zip(others).for_each(|(top, other)| top.merge(other));
            tops
        });
        let rows = |top: TopScores| {
            let mut rows: Vec<usize> = top.finish().into_iter().map(|(row, _)| row).collect();
            rows.sort_unstable();
            rows
        };
        tops.unwrap_or_default().into_iter().map(rows).collect()
    }
}

impl VectorSearch for ExactSearch {
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
        let count = self.candidates.max(k).min(self.rows());
        let members = among.map_or(self.rows(), RowSet::len);
        if members <= count {
            let rows: Option<Vec<usize>> = among.map(|set| set.iter().collect());
            return nearest(self.source.as_ref(), &queries, k, rows.as_deref());
        }
        let mut found = Vec::with_capacity(queries.len() / self.dim());
        for queries in queries.chunks(QUERIES * self.dim()) {
            let candidates = self.candidates(queries, count, among);
            let hits = queries.par_chunks_exact(self.dim()).zip(candidates).map(|(query, rows)| {
                let hits = nearest(self.source.as_ref(), query, k, Some(&rows))?;
                Ok(hits.into_iter().flatten().collect())
            });
            found.extend(hits.collect::<Result<Vec<_>, SearchError>>()?);
        }
        Ok(found)
    }
}
