//! DOC-train
