//! DOC-eval
