//! Rows in memory, encoded as in a shard.

/// Encoded rows that are not in a shard yet.
#[derive(Debug)]
pub(crate) struct RowBuffer {
    pub(crate) values: Vec<u8>,
    pub(crate) key_bytes: Vec<u8>,
    pub(crate) key_offsets: Vec<u64>,
}

impl RowBuffer {
    pub(crate) fn new() -> Self {
        Self { values: Vec::new(), key_bytes: Vec::new(), key_offsets: vec![0] }
    }

    pub(crate) fn rows(&self) -> usize {
        self.key_offsets.len() - 1
    }

    pub(crate) fn push_key(&mut self, key: &str) {
        self.key_bytes.extend_from_slice(key.as_bytes());
        self.key_offsets.push(self.key_bytes.len() as u64);
    }

    /// The key and the values of a row, both encoded.
    pub(crate) fn row(&self, row: usize) -> (&[u8], &[u8]) {
        let key = self.key_offsets[row] as usize..self.key_offsets[row + 1] as usize;
        let size = self.values.len() / self.rows();
        (&self.key_bytes[key], &self.values[row * size..(row + 1) * size])
    }

    /// Removes the first `rows` rows. The buffer keeps its capacity.
    pub(crate) fn remove(&mut self, rows: usize) {
        let row_bytes = self.values.len() / self.rows().max(1);
        let key_end = self.key_offsets[rows];
        self.values.drain(..rows * row_bytes);
        self.key_bytes.drain(..key_end as usize);
        self.key_offsets.drain(..rows);
        self.key_offsets.iter_mut().for_each(|offset| *offset -= key_end);
    }
}
