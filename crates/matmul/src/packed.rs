//! Matrices in bf16, in the order in which a product reads them.

/// Products that are summed before they are added to the result: a panel of the right matrix of this depth, and a few
/// rows of the left one, fit into the first-level cache.
pub(crate) const DEPTH: usize = 384;
/// Columns of a panel of the right matrix.
pub(crate) const COLUMNS: usize = 32;
/// Values of a [`Line`].
pub(crate) const LINE: usize = 32;

/// A cache line of 32 bf16 values.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line([u16; LINE]);

/// The number of lines of a panel of this depth: a line holds two consecutive values of 16 columns.
pub(crate) const fn panel_lines(depth: usize) -> usize {
    depth.div_ceil(2) * (2 * COLUMNS / LINE)
}

impl Line {
    pub(crate) const ZERO: Self = Self([0; LINE]);
}

/// The right matrix of products, rounded to bf16 and packed; see [`Bf16Products::pack`](crate::Bf16Products::pack).
///
/// It takes half of the memory of the f32 matrix. Weights of a frozen model are packed once.
#[derive(Debug, Clone)]
pub struct PackedMatrix {
    /// Blocks of [`DEPTH`] rows; in a block, panels of [`COLUMNS`] columns; in a panel, pairs of consecutive rows.
    pub(crate) panels: Vec<Line>,
    pub(crate) shape: [usize; 2],
}

impl PackedMatrix {
    /// Number of rows and columns.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// Returns the values as f32, row-major.
    pub fn unpack(&self) -> Vec<f32> {
        let [rows, columns] = self.shape;
        let mut values = Vec::with_capacity(rows * columns);
        for row in 0..rows {
            let first = row / DEPTH * DEPTH;
            for column in 0..columns {
                let panel = self.block(first, column).next().unwrap_or_default();
                let line = (row - first) / 2 * (2 * COLUMNS / LINE) + column % COLUMNS / (LINE / 2);
                let half = column % (LINE / 2) * 2 + row % 2;
                // bf16 is the upper half of an f32.
                values.extend(panel.get(line).map(|line| f32::from_bits(u32::from(line.0[half]) << 16)));
            }
        }
        values
    }

    /// The panels of a block of rows, by its first row, from this column on.
    pub(crate) fn block(&self, first: usize, column: usize) -> std::slice::ChunksExact<'_, Line> {
        let [rows, columns] = self.shape;
        let panels = columns.div_ceil(COLUMNS);
        let panel = panel_lines(DEPTH.min(rows - first));
        let start = panels * panel_lines(first);
        self.panels[start + column / COLUMNS * panel..start + panels * panel].chunks_exact(panel)
    }
}
