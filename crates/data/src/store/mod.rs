//! The embedding store: a folder of shards under one manifest.

mod config;
mod copy;
mod embedding_store;
mod keys;
mod manifest;
mod row_buffer;
mod shard;
mod tail;
mod writer;

pub use self::config::StoreConfig;
pub use self::copy::write_rows;
pub use self::embedding_store::EmbeddingStore;
pub use self::writer::StoreWriter;
