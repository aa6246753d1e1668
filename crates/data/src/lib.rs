//! DOC-data
