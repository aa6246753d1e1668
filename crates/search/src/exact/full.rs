//! The full scan.

use std::sync::Arc;

use sail_core::FeatureSource;

use super::cosine::{check_set, nearest, unit_queries};
use crate::{Hit, RowSet, SearchError, VectorSearch};

/// A search that reads every row: the reference of all others, and enough for some ten thousand rows.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use sail_data::MatrixFeatures;
/// use sail_search::{FullSearch, RowSet, VectorSearch};
///
/// let rows = MatrixFeatures::new(2, vec![1.0, 0.0, 0.6, 0.8, 0.0, 1.0])?;
/// let search = FullSearch::new(Arc::new(rows));
/// let hits = search.search(&[0.0, 2.0], 2, None)?;
/// assert_eq!((hits[0][0].row, hits[0][0].score), (2, 1.0));
/// let others = RowSet::from_fn(3, |row| row != 2);
/// assert_eq!(search.search(&[0.0, 2.0], 2, Some(&others))?[0][0].row, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FullSearch {
    source: Arc<dyn FeatureSource>,
}

impl FullSearch {
    /// Creates a search in the rows of a source.
    #[must_use]
    pub fn new(source: Arc<dyn FeatureSource>) -> Self {
        Self { source }
    }
}

impl VectorSearch for FullSearch {
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
        let rows: Option<Vec<usize>> = among.map(|set| set.iter().collect());
        nearest(self.source.as_ref(), &queries, k, rows.as_deref())
    }
}
