//! The images and texts of a task, each once, with a fingerprint that changes when they do.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use sail_data::DataError;
use sail_data::source::{ImageData, ImageRoot, Record, RecordSource, Records};
use sha2::{Digest, Sha256};

use crate::zip_images::ZipImages;

/// Records in memory.
#[derive(Debug, Clone)]
pub(crate) struct Listed<T>(Arc<Vec<Record<T>>>);

impl<T: Clone + Send + Sync + 'static> RecordSource<T> for Listed<T> {
    fn count(&self) -> Result<u64, DataError> {
        Ok(self.0.len() as u64)
    }

    fn records(&self, range: Range<u64>) -> Result<Records<T>, DataError> {
        let records = Arc::clone(&self.0);
        let end = usize::try_from(range.end).unwrap_or(usize::MAX).min(records.len());
        let start = usize::try_from(range.start).unwrap_or(usize::MAX).min(end);
        Ok(Box::new((start..end).map(move |position| Ok(records[position].clone()))))
    }
}

/// A hash of values, none of which can be taken for a part of its neighbour.
#[derive(Default)]
pub(crate) struct Fingerprint(Sha256);

impl Fingerprint {
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// A file by its length and the time of its last change. Its contents would take as long to read as to embed.
    pub(crate) fn add_file(&mut self, path: &Path) {
        let Ok(metadata) = std::fs::metadata(path) else { return self.add(b"absent") };
        let changed = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        self.add(&metadata.len().to_le_bytes());
        self.add(&changed.unwrap_or_default().as_nanos().to_le_bytes());
    }

    /// In hexadecimal.
    pub(crate) fn finish(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The images of a task.
pub(crate) struct Images {
    pub(crate) source: Box<dyn RecordSource<ImageData>>,
    /// What the cache knows them by.
    pub(crate) fingerprint: String,
}

impl Images {
    /// The files of these names in a folder, each once; the names are the keys. One that cannot be used is a record that
    /// says so.
    pub(crate) fn named<'a>(root: &ImageRoot, names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut seen = HashSet::new();
        let names = names.into_iter().filter(|name| seen.insert(*name));
        Self::listed(names.map(|name| Record { key: name.to_owned(), value: root.image(name) }).collect())
    }

    /// The members of these names of a zip archive, each once; the names are the keys.
    pub(crate) fn zipped<'a>(
        path: PathBuf,
        folder: &'static str,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, DataError> {
        let (mut seen, mut fingerprint) = (HashSet::new(), Fingerprint::default());
        fingerprint.add_file(&path);
        let names: Vec<String> =
            names.into_iter().filter(|name| seen.insert(*name)).map(str::to_owned).collect();
        names.iter().for_each(|name| fingerprint.add(name.as_bytes()));
        let source = Box::new(ZipImages::new(path, folder, names)?);
        Ok(Self { source, fingerprint: fingerprint.finish() })
    }

    /// Images that are files.
    pub(crate) fn listed(records: Vec<Record<ImageData>>) -> Self {
        let mut fingerprint = Fingerprint::default();
        for Record { key, value } in &records {
            fingerprint.add(key.as_bytes());
            match value {
                Ok(ImageData::File(path)) => fingerprint.add_file(path),
                Ok(ImageData::Bytes(bytes)) => fingerprint.add(bytes),
                Err(_) => fingerprint.add(b"unusable"),
            }
        }
        Self { source: Box::new(Listed(Arc::new(records))), fingerprint: fingerprint.finish() }
    }
}

/// The texts of a task, each once.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    numbers: HashMap<String, usize>,
    texts: Vec<String>,
}

impl Texts {
    /// Adds a text and gives its number; the same text has the same number.
    pub(crate) fn add(&mut self, text: &str) -> usize {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        self.numbers.insert(text.to_owned(), self.texts.len());
        self.texts.push(text.to_owned());
        self.texts.len() - 1
    }

    /// The text of a number.
    pub(crate) fn text(&self, number: usize) -> &str {
        &self.texts[number]
    }

    /// The key of a number.
    pub(crate) fn key(number: usize) -> String {
        number.to_string()
    }

    pub(crate) fn source(&self) -> Listed<String> {
        let record =
            |(number, text): (usize, &String)| Record { key: Self::key(number), value: Ok(text.clone()) };
        Listed(Arc::new(self.texts.iter().enumerate().map(record).collect()))
    }

    pub(crate) fn fingerprint(&self) -> String {
        let mut fingerprint = Fingerprint::default();
        self.texts.iter().for_each(|text| fingerprint.add(text.as_bytes()));
        fingerprint.finish()
    }
}

#[cfg(test)]
mod tests {
    use sail_data::source::SourceOptions;

    use super::*;

    #[test]
    fn a_text_is_listed_once() {
        let mut texts = Texts::default();
        assert_eq!(["a", "b", "a"].map(|text| texts.add(text)), [0, 1, 0]);
        let records: Vec<_> = texts.source().records(1..9).unwrap().map(Result::unwrap).collect();
        assert_eq!(records, [Record { key: "1".to_owned(), value: Ok("b".to_owned()) }]);
        let mut others = Texts::default();
        others.add("ab");
        assert_ne!(texts.fingerprint(), others.fingerprint());
    }

    #[test]
    fn the_fingerprint_follows_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let root = ImageRoot::new(folder.path(), &SourceOptions::default()).unwrap();
        let fingerprint = || Images::named(&root, ["a.png", "b.png", "a.png"]).fingerprint;
        let none = fingerprint();
        std::fs::write(folder.path().join("a.png"), "one").unwrap();
        let one = fingerprint();
        assert_eq!(one, fingerprint());
        std::fs::write(folder.path().join("a.png"), "another").unwrap();
        assert!(none != one && one != fingerprint());
        assert_eq!(Images::named(&root, ["a.png", "b.png", "a.png"]).source.count().unwrap(), 2);
    }
}
