//! Search in embeddings of images and texts.
//!
//! [`VectorSearch`] is the contract: the nearest rows of a collection by cosine similarity, among all rows or a [`RowSet`].
//! [`curation`] decides which rows of a data set to keep.

pub mod curation;
mod embedder;
mod error;
mod hit;
mod row_set;
mod vector_search;

pub use embedder::{EmbedError, Embedder, ModelIdentity};
pub use error::SearchError;
pub use hit::Hit;
pub use row_set::RowSet;
pub use vector_search::VectorSearch;
