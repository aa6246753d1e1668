//! One state of an index, with what is kept in memory for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sail_search::{Filter, Index, IndexError, RowSet, VectorSearch};

use crate::error::RequestError;

/// Filters whose rows are kept, one bit per row each.
const FILTERS: usize = 64;

pub(crate) struct Snapshot {
    pub(crate) index: Index,
    pub(crate) searcher: Box<dyn VectorSearch>,
    /// The rows that are not removed, unless that is all of them.
    live: Option<Arc<RowSet>>,
    filters: Mutex<HashMap<Vec<String>, Arc<RowSet>>>,
}

impl Snapshot {
    pub(crate) fn new(index: Index) -> Result<Self, IndexError> {
        let searcher = index.searcher()?;
        let live = index.live();
        let live = (live.len() < live.rows()).then(|| Arc::new(live.clone()));
        Ok(Self { index, searcher, live, filters: Mutex::default() })
    }

    /// Returns the rows that satisfy all filters. `None` stands for all rows.
    pub(crate) fn among(&self, filters: &[String]) -> Result<Option<Arc<RowSet>>, RequestError> {
        if filters.is_empty() {
            return Ok(self.live.clone());
        }
        let known = || self.filters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rows) = known().get(filters) {
            return Ok(Some(rows.clone()));
        }
        let filter = filters.iter().try_fold(Filter::default(), |all, text| all.and(Filter::parse(text)?))?;
        let rows = Arc::new(self.index.select(&filter)?);
        let mut known = known();
        if known.len() >= FILTERS {
            known.clear();
        }
        known.insert(filters.to_vec(), rows.clone());
        Ok(Some(rows))
    }
}
