//! DOC-report
