//! The contract of all searches.

use crate::{Hit, RowSet, SearchError};

/// Finds the rows of a collection of unit vectors that are most similar to a query.
///
/// Implementations differ in time, memory and recall, not in the meaning of the result: scores are cosine similarities with the
/// stored rows, and hits are in the order of [`Hit::rank`].
pub trait VectorSearch: Send + Sync {
    /// Returns the number of rows of the collection.
    fn rows(&self) -> usize;

    /// Returns the dimension of rows and queries.
    fn dim(&self) -> usize;

    /// Returns the `k` most similar rows of each query, fewer if the collection or the set has fewer.
    ///
    /// The queries need not be of unit length. The search is restricted to the rows `among` if given.
    ///
    /// # Shapes
    /// - queries: `[queries, dim]`, row-major
    /// - result: one list of hits per query
    ///
    /// # Errors
    /// [`SearchError::Dimension`] if `queries` is not a whole number of rows, [`SearchError::Query`] if a query has no direction
    /// (all zeros, NaN or infinite), [`SearchError::Rows`] if `among` belongs to another collection, and errors of reading.
    fn search(&self, queries: &[f32], k: usize, among: Option<&RowSet>)
    -> Result<Vec<Vec<Hit>>, SearchError>;
}
