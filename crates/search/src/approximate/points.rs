//! What a graph compares: the codes of rows.

use std::sync::Arc;

use diskann_vector::distance::{Distance, DistanceProvider, Metric};
use rayon::prelude::*;

use super::GraphError;
use crate::exact::{Codes, encode_int8};

/// The codes of all rows.
#[derive(Debug)]
pub(crate) struct Points {
    parts: Vec<Part>,
    width: usize,
    /// Squared norms of the rows as their codes describe them.
    norms: Vec<f32>,
    /// The negative product of two codes.
    product: Distance<i8, i8>,
}

#[derive(Debug)]
struct Part {
    /// The first row of the part in the collection.
    first: usize,
    codes: Arc<Codes>,
}

/// What rows are compared with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    code: &'a [i8],
    factor: f32,
    /// The squared norm, of rows only.
    norm: Option<f32>,
}

/// A query in the form of a row's code.
#[derive(Debug)]
pub(crate) struct Query(Vec<i8>);

impl Query {
    pub(crate) fn new(rotated: &[f32]) -> Self {
        let mut code = vec![0; rotated.len()];
        encode_int8(rotated, &mut code);
        Self(code)
    }

    pub(crate) fn target(&self) -> Target<'_> {
        Target { code: &self.0, factor: 0.5, norm: None }
    }
}

impl Points {
    /// The largest number of rows: below the numbers that the engine may use for itself.
    pub(crate) const MAX_ROWS: usize = (u32::MAX / 2) as usize;

    pub(crate) fn new(codes: Vec<Arc<Codes>>) -> Result<Self, GraphError> {
        let mut parts = Vec::with_capacity(codes.len());
        let (mut first, mut width) = (0, 0);
        for (part, codes) in codes.into_iter().enumerate() {
            let Some((values, _)) = codes.int8() else {
                let found = format!("is {}", codes.kind());
                return Err(GraphError::Codes { what: "the kind", part, found, expected: "int8" });
            };
            width = if codes.rows() > 0 { values.len() / codes.rows() } else { width };
            let centre = parts.first().map_or(codes.centre(), |first: &Part| first.codes.centre());
            if centre != codes.centre() {
                let found = "differs from that of part 0".to_owned();
                return Err(GraphError::Codes { what: "the centre", part, found, expected: "the same" });
            }
            let rows = codes.rows();
            parts.push(Part { first, codes });
            first += rows;
        }
        if first > Self::MAX_ROWS {
            return Err(GraphError::TooLarge { found: first, limit: Self::MAX_ROWS });
        }
        let product = i8::distance_comparer(Metric::InnerProduct, Some(width));
        let mut points = Self { parts, width, norms: Vec::new(), product };
        let norm = |row| {
            let (code, factor) = points.code(row as u32);
            -factor * factor * points.product.call(code, code)
        };
        points.norms = (0..first).into_par_iter().map(norm).collect();
        Ok(points)
    }

    pub(crate) fn rows(&self) -> usize {
        self.norms.len()
    }

    /// Returns the size in memory in bytes, without the codes.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.norms.as_slice())
    }

    /// Iterates over the codes of the parts.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &Codes> {
        self.parts.iter().map(|part| part.codes.as_ref())
    }

    /// Returns the one of some rows that is nearest to the centre.
    pub(crate) fn medoid(&self, rows: impl Iterator<Item = usize>) -> u32 {
        rows.min_by(|&a, &b| self.norms[a].total_cmp(&self.norms[b])).unwrap_or_default() as u32
    }

    /// Returns the factor of a row's code.
    pub(crate) fn factor(&self, row: u32) -> f32 {
        self.code(row).1
    }

    /// Returns a row as a target.
    pub(crate) fn row(&self, row: u32) -> Target<'_> {
        let (code, factor) = self.code(row);
        Target { code, factor, norm: Some(self.norms[row as usize]) }
    }

    /// The squared distance of a row from another one. For a query, a number that falls with the product, because of unit rows
    /// that with the highest product is the nearest.
    pub(crate) fn distance(&self, target: Target<'_>, row: u32) -> f32 {
        let (code, factor) = self.code(row);
        let norms = target.norm.map_or(0.0, |norm| norm + self.norms[row as usize]);
        norms + 2.0 * target.factor * factor * self.product.call(target.code, code)
    }

    fn code(&self, row: u32) -> (&[i8], f32) {
        let row = row as usize;
        let part = match self.parts.as_slice() {
            [only] => only,
            parts => &parts[parts.partition_point(|part| part.first <= row).saturating_sub(1)],
        };
        let (codes, factors) = part.codes.int8().unwrap_or_default();
        let local = row - part.first;
        (&codes[local * self.width..][..self.width], factors[local])
    }
}
