//! Keys in sources of several files.

use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::passed_over::PassedOver;
use super::record::{Record, RecordSource, Records};
use crate::DataError;

/// What the keys of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyKind {
    /// Paths of images, which are the same in every file.
    Path,
    /// Names or numbers, which another file may have for other records.
    Name,
}

/// Returns names of files of a folder that differ: without the suffix, or with it if files differ in nothing else.
pub(super) fn names(files: &[PathBuf]) -> Vec<Arc<str>> {
    let name = |part: fn(&Path) -> Option<&std::ffi::OsStr>| {
        let name = move |file: &PathBuf| part(file).map(|name| Arc::from(name.to_string_lossy()));
        files.iter().map(move |file| name(file).unwrap_or_else(|| Arc::from("")))
    };
    let distinct = name(Path::file_stem).collect::<HashSet<Arc<str>>>().len() == files.len();
    if distinct { name(Path::file_stem).collect() } else { name(Path::file_name).collect() }
}

/// One of several files. Keys begin with its name, or, if they are paths, the reasons of skipped records.
pub(super) struct OneOf<T> {
    pub(super) source: Box<dyn RecordSource<T>>,
    pub(super) file: Arc<str>,
    pub(super) prefixed: bool,
}

impl<T: 'static> RecordSource<T> for OneOf<T> {
    fn count(&self) -> Result<u64, DataError> {
        self.source.count()
    }

    fn records(&self, range: Range<u64>) -> Result<Records<T>, DataError> {
        let (file, prefixed) = (Arc::clone(&self.file), self.prefixed);
        let within = move |Record { key, value }: Record<T>| match prefixed {
            true => Record { key: format!("{file}/{key}"), value },
            false => Record { key, value: value.map_err(|reason| format!("{reason} (in {file})")) },
        };
        Ok(Box::new(self.source.records(range)?.map(move |record| record.map(&within))))
    }

    fn passed_over(&self) -> Result<PassedOver, DataError> {
        self.source.passed_over()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ() {
        let of = |files: &[&str]| {
            let files: Vec<PathBuf> = files.iter().map(|file| Path::new("folder").join(file)).collect();
            names(&files).iter().map(|name| name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(of(&["00000.tar", "train.v2.tar"]), ["00000", "train.v2"]);
        assert_eq!(of(&["a.csv", "a.tsv", "b.csv"]), ["a.csv", "a.tsv", "b.csv"]);
    }
}
