//! Search in embeddings of images and texts.
//!
//! [`VectorSearch`] is the contract: the nearest rows of a collection by cosine similarity, among all rows or a [`RowSet`].
//! [`ExactSearch`] scans [`Codes`] of one or eight bits per dimension and reads the best candidates; [`FullSearch`] reads every
//! row. An [`Index`] holds the images of a source as such a collection; [`update`] creates it and keeps it up to date.
//! [`curation`] decides which rows of a data set to keep.

#[cfg(feature = "approximate")]
mod approximate;
pub mod curation;
mod embedder;
mod error;
mod exact;
mod hit;
mod index;
mod query;
mod row_set;
mod vector_search;

#[cfg(feature = "approximate")]
pub use approximate::{ApproximateSearch, GraphConfig, GraphError};
pub use embedder::{EmbedError, Embedder, ModelIdentity};
pub use error::SearchError;
pub use exact::{CodeKind, Codes, CodesError, ExactSearch, FullSearch, centre};
pub use hit::Hit;
pub use index::{
    Encoders, Entry, EntryId, Filter, Index, IndexError, IndexModel, IndexSource, Manifest, NotesEntry,
    Original, RemovedEntry, SegmentEntry, UpdateOptions, Updated, class_of, merge, update,
};
pub use query::{Query, QueryError, QueryTerm, Subject, weighted_sum};
pub use row_set::RowSet;
pub use vector_search::VectorSearch;
