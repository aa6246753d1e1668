//! DOC-layers
