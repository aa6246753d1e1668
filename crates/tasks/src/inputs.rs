//! The distinct images and texts of a task, with a fingerprint that changes when they do.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use sail_data::source::{ImageData, ImageRoot, Record, RecordSource, Records};
use sail_data::{DataError, Fingerprint};

use crate::zip_images::ZipImages;

/// Records in memory.
#[derive(Debug, Clone)]
pub(crate) struct Listed<T>(Arc<Vec<Record<T>>>);

impl<T> Listed<T> {
    pub(crate) fn new(records: Vec<Record<T>>) -> Self {
        Self(Arc::new(records))
    }
}

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

/// Says which files a source passes over because of their suffix. Text files are no images that are missing.
pub(crate) fn passed_over_note<T>(source: &dyn RecordSource<T>) -> Result<Option<String>, DataError> {
    let mut found = source.passed_over()?;
    if let Some(texts) = found.suffixes.remove("txt") {
        found.files -= texts.files;
    }
    Ok((!found.is_empty()).then(|| format!("passed over {found}")))
}

/// The images of archives whose other members are read elsewhere, so that they are not passed over.
pub(crate) struct ImagesAlone(pub(crate) Box<dyn RecordSource<ImageData>>);

impl RecordSource<ImageData> for ImagesAlone {
    fn count(&self) -> Result<u64, DataError> {
        self.0.count()
    }

    fn records(&self, range: Range<u64>) -> Result<Records<ImageData>, DataError> {
        self.0.records(range)
    }
}

/// The images of a task.
pub(crate) struct Images {
    pub(crate) source: Box<dyn RecordSource<ImageData>>,
    /// Identifies the images in the cache.
    pub(crate) fingerprint: String,
}

impl Images {
    /// Creates images from distinct file names in a folder, which are the keys. An unusable file is a record with a reason.
    pub(crate) fn named<'a>(root: &ImageRoot, names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut seen = HashSet::new();
        let names = names.into_iter().filter(|name| seen.insert(*name));
        Self::listed(names.map(|name| Record { key: name.to_owned(), value: root.image(name) }).collect())
    }

    /// Creates images from distinct names of members of a zip archive, which are the keys.
    pub(crate) fn zipped<'a>(
        path: PathBuf,
        folder: &'static str,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, DataError> {
        let (mut seen, mut fingerprint) = (HashSet::new(), Fingerprint::default());
        fingerprint.add_file(&path);
        let names: Vec<String> =
            names.into_iter().filter(|name| seen.insert(*name)).map(str::to_owned).collect();
        for name in &names {
            fingerprint.add(name.as_bytes());
        }
        let source = Box::new(ZipImages::new(path, folder, names)?);
        Ok(Self { source, fingerprint: fingerprint.finish() })
    }

    /// Creates images from records.
    pub(crate) fn listed(records: Vec<Record<ImageData>>) -> Self {
        let mut fingerprint = Fingerprint::default();
        for Record { key, value } in &records {
            fingerprint.add(key.as_bytes());
            match value {
                Ok(ImageData::File(path)) => fingerprint.add_file(path),
                Ok(ImageData::Bytes(bytes)) => fingerprint.add(bytes),
                Ok(ImageData::Url(url)) => fingerprint.add(url.as_bytes()),
                Err(_) => fingerprint.add(b"unusable"),
            };
        }
        Self { source: Box::new(Listed::new(records)), fingerprint: fingerprint.finish() }
    }
}

/// The distinct texts of a task.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    indices: HashMap<String, usize>,
    texts: Vec<String>,
}

impl Texts {
    /// Adds a text and returns its index. Equal texts have the same index.
    pub(crate) fn add(&mut self, text: &str) -> usize {
        if let Some(&index) = self.indices.get(text) {
            return index;
        }
        self.indices.insert(text.to_owned(), self.texts.len());
        self.texts.push(text.to_owned());
        self.texts.len() - 1
    }

    /// Returns the text at an index.
    pub(crate) fn text(&self, index: usize) -> &str {
        &self.texts[index]
    }

    /// Returns the key of the text at an index.
    pub(crate) fn key(index: usize) -> String {
        index.to_string()
    }

    pub(crate) fn source(&self) -> Listed<String> {
        let record =
            |(index, text): (usize, &String)| Record { key: Self::key(index), value: Ok(text.clone()) };
        Listed::new(self.texts.iter().enumerate().map(record).collect())
    }

    pub(crate) fn fingerprint(&self) -> String {
        let mut fingerprint = Fingerprint::default();
        for text in &self.texts {
            fingerprint.add(text.as_bytes());
        }
        fingerprint.finish()
    }
}

#[cfg(test)]
mod tests {
    use sail_data::source::SourceOptions;

    use super::*;

    #[test]
    fn equal_texts_have_one_index() {
        let mut texts = Texts::default();
        assert_eq!(["a", "b", "a"].map(|text| texts.add(text)), [0, 1, 0]);
        let records: Vec<_> = texts.source().records(1..9).unwrap().map(Result::unwrap).collect();
        assert_eq!(records, [Record { key: "1".to_owned(), value: Ok("b".to_owned()) }]);
        let mut others = Texts::default();
        others.add("ab");
        assert_ne!(texts.fingerprint(), others.fingerprint());
    }

    #[test]
    fn fingerprint_depends_on_the_files() {
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
