//! The edges of a graph.

use std::sync::atomic::{AtomicU32, Ordering};

/// The neighbours of every row, in one table.
///
/// Atomic, because rows are linked on several threads. No two threads write the list of one row at a time, and searches follow
/// after changes, so the order of accesses does not matter.
#[derive(Debug)]
pub(crate) struct Edges {
    /// `[rows, capacity + 1]`: the length of the list, then its neighbours.
    table: Vec<AtomicU32>,
    capacity: usize,
}

impl Edges {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { table: Vec::new(), capacity }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) fn rows(&self) -> usize {
        self.table.len() / (self.capacity + 1)
    }

    /// Adds rows without neighbours, or removes the last ones.
    pub(crate) fn resize(&mut self, rows: usize) {
        self.table.resize_with(rows * (self.capacity + 1), AtomicU32::default);
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.table.as_slice())
    }

    /// Iterates over the neighbours of a row.
    pub(crate) fn of(&self, row: u32) -> impl ExactSizeIterator<Item = u32> + '_ {
        let list = &self.table[row as usize * (self.capacity + 1)..][..self.capacity + 1];
        let length = list[0].load(Ordering::Relaxed) as usize;
        list[1..=length.min(self.capacity)].iter().map(|neighbour| neighbour.load(Ordering::Relaxed))
    }

    /// Replaces the neighbours of a row. Those beyond the capacity are left out.
    pub(crate) fn set(&self, row: u32, neighbours: impl IntoIterator<Item = u32>) {
        let list = &self.table[row as usize * (self.capacity + 1)..][..self.capacity + 1];
        let mut length = 0;
        for (place, neighbour) in list[1..].iter().zip(neighbours) {
            place.store(neighbour, Ordering::Relaxed);
            length += 1;
        }
        list[0].store(length, Ordering::Relaxed);
    }
}
