//! Which pairs of a batch are positives.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor, TensorData};
use sail_core::Groups;

/// The positives of a batch, for each caption set.
pub(crate) enum Positives {
    /// The pairs on the diagonal.
    Diagonal,
    /// All pairs of a group: the group of each image, and the texts of each group in ascending order.
    Groups { images: Arc<[u32]>, texts: HashMap<u32, Vec<usize>> },
}

/// The positives of a tile.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TilePositives {
    /// The pairs on the diagonal of the tile, with weight 1.
    Diagonal,
    /// Pairs by their index in the row-major tile, with their weights.
    Listed(Vec<(u32, f32)>),
}

impl Positives {
    pub(crate) fn new(groups: Option<&Groups>) -> Self {
        let Some(Groups { images, texts }) = groups else { return Self::Diagonal };
        let mut columns: HashMap<u32, Vec<usize>> = HashMap::new();
        for (column, &group) in texts.iter().enumerate() {
            columns.entry(group).or_default().push(column);
        }
        // Without a repeated image the positives are those of the rows.
        if images == texts && columns.len() == images.len() {
            return Self::Diagonal;
        }
        Self::Groups { images: images.clone(), texts: columns }
    }

    /// Returns the positives of an image as columns, each with the weight `1 / k` if there are `k` of them.
    fn of_image(&self, row: usize) -> (&[usize], f32) {
        match self {
            Self::Diagonal => (&[], 1.0),
            Self::Groups { images, texts } => {
                let columns = texts.get(&images[row]).map_or(&[][..], Vec::as_slice);
                (columns, 1.0 / columns.len().max(1) as f32)
            }
        }
    }

    /// Returns the positives of a tile. Listed ones take memory for the tile only, however many there are in the batch.
    pub(crate) fn of_tile(&self, rows: &Range<usize>, columns: &Range<usize>) -> TilePositives {
        if let Self::Diagonal = self {
            return if rows == columns { TilePositives::Diagonal } else { TilePositives::NONE };
        }
        let mut listed = Vec::new();
        for row in rows.clone() {
            let (positives, weight) = self.of_image(row);
            let start = positives.partition_point(|&column| column < columns.start);
            let inside = positives[start..].iter().take_while(|&&column| column < columns.end);
            let first = (row - rows.start) * columns.len();
            listed.extend(inside.map(|column| ((first + column - columns.start) as u32, weight)));
        }
        TilePositives::Listed(listed)
    }

    /// Returns the number of positives in a block of this shape.
    pub(crate) fn count(&self, [rows, _]: [usize; 2]) -> usize {
        match self {
            Self::Diagonal => rows,
            Self::Groups { .. } => (0..rows).map(|row| self.of_image(row).0.len()).sum(),
        }
    }

    /// Returns the labels, -1 for positives and 1 for negatives, and the weights of a whole block.
    pub(crate) fn dense(&self, [rows, columns]: [usize; 2], device: &Device) -> [Tensor<2>; 2] {
        let mut dense = [vec![1f32; rows * columns], vec![1f32; rows * columns]];
        let listed = self.of_tile(&(0..rows), &(0..columns)).listed([rows, columns]);
        for (index, weight) in listed {
            dense[0][index as usize] = -1.0;
            dense[1][index as usize] = weight;
        }
        dense.map(|values| Tensor::from_data(TensorData::new(values, [rows, columns]), device))
    }
}

impl TilePositives {
    /// A tile of negatives.
    pub(crate) const NONE: Self = Self::Listed(Vec::new());

    /// Returns the positives of a tile of this shape by their index.
    pub(crate) fn listed(self, [rows, columns]: [usize; 2]) -> Vec<(u32, f32)> {
        match self {
            Self::Diagonal => (0..rows).map(|row| ((row * (columns + 1)) as u32, 1.0)).collect(),
            Self::Listed(listed) => listed,
        }
    }
}

/// Returns the indices and the weights as tensors.
pub(crate) fn tensors(listed: &[(u32, f32)], device: &Device) -> (Tensor<1, Int>, Tensor<1>) {
    let indices: Vec<i32> = listed.iter().map(|&(index, _)| index as i32).collect();
    let weights: Vec<f32> = listed.iter().map(|&(_, weight)| weight).collect();
    let length = [listed.len()];
    (
        Tensor::from_data(TensorData::new(indices, length), device),
        Tensor::from_data(TensorData::new(weights, length), device),
    )
}

/// Returns the values of a tile at some indices.
pub(crate) fn select(x: &Tensor<2>, indices: &Tensor<1, Int>) -> Tensor<1> {
    let [rows, columns] = x.dims();
    x.clone().reshape([rows * columns]).select(0, indices.clone())
}

/// Adds values to a tile at some indices, each of which occurs once.
pub(crate) fn add_at(x: Tensor<2>, indices: &Tensor<1, Int>, values: Tensor<1>) -> Tensor<2> {
    let [rows, columns] = x.dims();
    let flat = x.reshape([rows * columns]);
    flat.select_assign(0, indices.clone(), values, IndexingUpdateOp::Add).reshape([rows, columns])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_all_pairs_of_a_group() {
        let groups = Groups::new([3, 5, 3, 9], [5, 3, 3, 7, 3, 5]);
        let positives = Positives::new(Some(&groups));
        assert_eq!(positives.count([4, 6]), 8);
        for size in [1, 2, 4, 10] {
            let mut found = Vec::new();
            for rows in sail_support::ranges(4, size) {
                for columns in sail_support::ranges(6, size) {
                    let TilePositives::Listed(listed) = positives.of_tile(&rows, &columns) else {
                        panic!("a diagonal")
                    };
                    found.extend(listed.into_iter().map(|(index, weight)| {
                        let (row, column) = (index as usize / columns.len(), index as usize % columns.len());
                        (rows.start + row, columns.start + column, weight)
                    }));
                }
            }
            found.sort_by(|a, b| a.partial_cmp(b).unwrap());
            let (third, half) = (1.0 / 3.0, 0.5);
            let expected = [
                (0, 1, third),
                (0, 2, third),
                (0, 4, third),
                (1, 0, half),
                (1, 5, half),
                (2, 1, third),
                (2, 2, third),
                (2, 4, third),
            ];
            assert_eq!(found, expected, "tiles of {size}");
        }
    }

    #[test]
    fn groups_of_one_row_are_the_diagonal() {
        let diagonal = |groups: Groups| matches!(Positives::new(Some(&groups)), Positives::Diagonal);
        assert!(diagonal(Groups::of_rows([4, 2, 7])));
        assert!(!diagonal(Groups::of_rows([4, 2, 4])));
        assert!(!diagonal(Groups::new([4, 2, 7], [2, 4, 7])));
        assert!(!diagonal(Groups::new([4, 2], [4, 2, 7])));
    }
}
