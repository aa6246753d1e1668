//! DOC-losses
