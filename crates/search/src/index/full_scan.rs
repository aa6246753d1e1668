//! A scan of all rows.

use std::sync::Arc;

use sail_core::FeatureSource;
use sail_support::ranges;

use crate::{Hit, RowSet, SearchError, VectorSearch};

/// Rows that are read at once.
const ROWS: usize = 4096;

/// A search that reads every row.
pub(crate) struct FullScan {
    rows: Arc<dyn FeatureSource>,
}

impl FullScan {
    pub(crate) fn new(rows: Arc<dyn FeatureSource>) -> Self {
        Self { rows }
    }
}

impl VectorSearch for FullScan {
    fn rows(&self) -> usize {
        self.rows.rows()
    }

    fn dim(&self) -> usize {
        self.rows.dim()
    }

    fn search(
        &self,
        queries: &[f32],
        k: usize,
        among: Option<&RowSet>,
    ) -> Result<Vec<Vec<Hit>>, SearchError> {
        let dim = self.dim();
        if !queries.len().is_multiple_of(dim) {
            return Err(SearchError::Dimension { found: queries.len(), dim });
        }
        if let Some(among) = among.filter(|among| among.rows() != self.rows()) {
            return Err(SearchError::Rows { found: among.rows(), expected: self.rows() });
        }
        let mut hits: Vec<Vec<Hit>> = vec![Vec::new(); queries.len() / dim];
        let mut values = Vec::new();
        for rows in ranges(self.rows(), ROWS) {
            let rows: Vec<usize> =
                rows.filter(|&row| among.is_none_or(|among| among.contains(row))).collect();
            values.resize(rows.len() * dim, 0.0);
            self.rows.gather(&rows, &mut values).map_err(|error| SearchError::Read {
                path: "embeddings".into(),
                source: std::io::Error::other(error),
            })?;
            for (index, (query, hits)) in queries.chunks_exact(dim).zip(&mut hits).enumerate() {
                let norm = query.iter().map(|value| value * value).sum::<f32>().sqrt();
                if !norm.is_finite() || norm == 0.0 {
                    return Err(SearchError::Query { index, norm });
                }
                let score = |row: &[f32]| row.iter().zip(query).map(|(a, b)| a * b).sum::<f32>() / norm;
                let scores = rows.iter().zip(values.chunks_exact(dim));
                hits.extend(scores.map(|(&row, values)| Hit { row, score: score(values) }));
                hits.sort_unstable_by(Hit::rank);
                hits.truncate(k);
            }
        }
        Ok(hits)
    }
}
