//! Products in blocks.

use std::ops::Range;

use rayon::prelude::*;

use crate::kernel::{Kernel, ROW_LINES, ROWS};
use crate::packed::{COLUMNS, DEPTH, Line, panel_lines};
use crate::{MatmulError, Matrix, PackedMatrix};

/// The most rows of a task: their packed values and their part of the result stay in the second-level cache.
const TASK_ROWS: usize = 16 * ROWS;
/// Columns of the result that a task completes before it goes on to the next.
const TASK_COLUMNS: usize = 16 * COLUMNS;

/// Products on a CPU that has instructions for bf16.
#[derive(Debug, Clone, Copy)]
pub struct Bf16Products {
    kernel: Kernel,
}

impl Bf16Products {
    /// Returns the products of this CPU, or `None` if it has no instructions for bf16.
    pub fn detect() -> Option<Self> {
        Kernel::detect().map(|kernel| Self { kernel })
    }

    /// The instructions in use, for reports.
    pub fn instructions(&self) -> &'static str {
        "AVX-512 BF16"
    }

    /// Rounds the right matrix of products to bf16 and packs it, on the current rayon pool.
    pub fn pack(&self, rhs: Matrix<'_>) -> PackedMatrix {
        let [rows, columns] = rhs.shape();
        let panels = columns.div_ceil(COLUMNS);
        let mut packed = vec![Line::ZERO; panels * panel_lines(rows)];
        for (block, first) in (0..rows).step_by(DEPTH).enumerate() {
            let depth = DEPTH.min(rows - first);
            let start = block * panels * panel_lines(DEPTH);
            let end = start + panels * panel_lines(depth);
            packed[start..end].par_chunks_mut(panel_lines(depth)).enumerate().for_each(|(panel, lines)| {
                self.kernel.pack_panel(rhs, first..first + depth, panel * COLUMNS, lines);
            });
        }
        PackedMatrix { panels: packed, shape: [rows, columns] }
    }

    /// Computes `lhs rhs` into `out`, row-major.
    ///
    /// # Errors
    /// Returns [`MatmulError`] if the shapes do not match or `out` does not have the length of the product.
    pub fn multiply(&self, lhs: Matrix<'_>, rhs: &PackedMatrix, out: &mut [f32]) -> Result<(), MatmulError> {
        self.run(lhs, rhs, out, false)
    }

    /// Adds `lhs rhs` to `out`, row-major.
    ///
    /// # Errors
    /// As [`multiply`](Self::multiply).
    pub fn multiply_add(
        &self,
        lhs: Matrix<'_>,
        rhs: &PackedMatrix,
        out: &mut [f32],
    ) -> Result<(), MatmulError> {
        self.run(lhs, rhs, out, true)
    }

    fn run(
        &self,
        lhs: Matrix<'_>,
        rhs: &PackedMatrix,
        out: &mut [f32],
        add: bool,
    ) -> Result<(), MatmulError> {
        let ([rows, depth], [rhs_rows, columns]) = (lhs.shape(), rhs.shape());
        if depth != rhs_rows {
            return Err(MatmulError::Shape { lhs: lhs.shape(), rhs: rhs.shape() });
        }
        let (found, expected) = (out.len(), rows.saturating_mul(columns));
        if found != expected {
            return Err(MatmulError::Length { found, expected });
        }
        if expected == 0 {
            return Ok(());
        }
        if depth == 0 {
            if !add {
                out.fill(0.0);
            }
            return Ok(());
        }
        let tasks = 4 * rayon::current_num_threads();
        let task_rows = rows.div_ceil(tasks).next_multiple_of(ROWS).min(TASK_ROWS);
        out.par_chunks_mut(task_rows * columns).enumerate().for_each_init(Vec::new, |packed, (task, out)| {
            let first = task * task_rows;
            self.multiply_rows(lhs, first..rows.min(first + task_rows), rhs, out, packed, add);
        });
        Ok(())
    }

    /// Multiplies some rows; `packed` is their memory in bf16.
    fn multiply_rows(
        &self,
        lhs: Matrix<'_>,
        rows: Range<usize>,
        rhs: &PackedMatrix,
        out: &mut [f32],
        packed: &mut Vec<Line>,
        add: bool,
    ) {
        let [depth, columns] = rhs.shape();
        let block = rows.len().next_multiple_of(ROWS) * ROW_LINES;
        packed.resize(block * depth.div_ceil(DEPTH), Line::ZERO);
        for (first, block) in (0..depth).step_by(DEPTH).zip(packed.chunks_exact_mut(block)) {
            self.kernel.pack_rows(lhs, rows.clone(), first..depth.min(first + DEPTH), block);
        }
        for group in (0..columns).step_by(TASK_COLUMNS) {
            let group = group..columns.min(group + TASK_COLUMNS);
            for (first, block) in (0..depth).step_by(DEPTH).zip(packed.chunks_exact(block)) {
                let add = add || first > 0;
                for (column, panel) in group.clone().step_by(COLUMNS).zip(rhs.block(first, group.start)) {
                    for (row, lhs) in (0..rows.len()).step_by(ROWS).zip(block.chunks_exact(ROWS * ROW_LINES))
                    {
                        let shape = [ROWS.min(rows.len() - row), COLUMNS.min(columns - column)];
                        self.kernel.multiply(
                            lhs,
                            panel,
                            &mut out[row * columns + column..],
                            columns,
                            shape,
                            add,
                        );
                    }
                }
            }
        }
    }
}
