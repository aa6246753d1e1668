//! Captions in files beside the images of a folder.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use sail_support::read_bounded;

use super::cell::Texts;
use super::folder::{FolderEntry, images};
use super::image_root::ImageRoot;
use super::options::SourceOptions;
use super::passed_over::PassedOver;
use super::record::{Record, RecordSource, Records};
use super::sidecar::{is_caption_suffix, object, text_file};
use super::window::{Window, count};
use crate::DataError;

/// The captions of the images below a folder: a text file, or fields of a JSON file, of the same name beside each.
///
/// The keys are those of the images, in the same order; files without an image are skipped at the end. The names are kept, as
/// in a folder of images.
#[derive(Debug)]
pub(super) struct FolderCaptions {
    shared: Arc<Shared>,
    passed_over: PassedOver,
}

#[derive(Debug)]
struct Shared {
    root: ImageRoot,
    entries: Vec<Entry>,
    fields: Vec<String>,
    texts: Texts,
}

#[derive(Debug)]
struct Entry {
    key: Box<str>,
    /// The file with the captions, or the reason why there is none.
    file: Result<Box<str>, &'static str>,
}

impl FolderCaptions {
    pub(super) fn open(path: &Path, options: &SourceOptions) -> Result<Self, DataError> {
        let root = ImageRoot::new(path, options)?;
        let fields = options.caption_columns.clone();
        let (mut passed_over, mut files) = (PassedOver::default(), Vec::new());
        let images = images(&root, |file| match file.key.rsplit_once('.') {
            Some((_, suffix)) if is_caption_suffix(suffix, options) => files.push(file.key),
            _ => passed_over.add(&file.key),
        })?;
        // The first in the order of the names, and whether it has an image.
        files.sort_unstable();
        let mut by_name: BTreeMap<&str, (&str, bool)> = BTreeMap::new();
        for file in &files {
            by_name.entry(stem(file)).or_insert((file, false));
        }
        let mut entries: Vec<Entry> = Vec::with_capacity(images.len());
        for FolderEntry { key, fault } in images {
            let name = if by_name.contains_key(&*key) { &*key } else { stem(&key) };
            let file = match (fault, by_name.get_mut(name)) {
                (Some(fault), _) => Err(fault),
                (None, None) => Err("the image has no file with a caption beside it"),
                (None, Some((file, used))) => {
                    *used = true;
                    Ok(Box::from(*file))
                }
            };
            entries.push(Entry { key, file });
        }
        if entries.iter().all(|entry| entry.file.is_err()) {
            entries.iter().for_each(|image| passed_over.add(&image.key));
            files.iter().for_each(|file| passed_over.add(file));
            return Err(DataError::NotASource { path: path.to_owned(), wanted: "captions", passed_over });
        }
        let unused = files.iter().filter(|file| by_name.get(stem(file)) != Some(&(file.as_str(), true)));
        entries.extend(unused.map(|file| Entry {
            key: file.as_str().into(),
            file: Err("no image of this name is beside it, or another file has its caption"),
        }));
        let shared = Shared { root, entries, fields, texts: Texts::new(options) };
        Ok(Self { shared: Arc::new(shared), passed_over })
    }
}

/// The path without its suffix.
fn stem(key: &str) -> &str {
    key.rsplit_once('.').map_or(key, |(stem, _)| stem)
}

impl Shared {
    fn records(&self, Entry { key, file }: &Entry) -> Vec<Record<String>> {
        let mut captions = Vec::new();
        let read = file.as_ref().map_err(|reason| (*reason).to_owned()).and_then(|file| self.read(file));
        match (read, self.fields.is_empty()) {
            (Err(reason), _) => captions.push(Err(reason)),
            (Ok(bytes), true) => captions.push(text_file(&bytes, self.texts.max)),
            (Ok(bytes), false) => match object(&bytes) {
                Ok(fields) => {
                    self.fields.iter().for_each(|field| fields.captions(field, self.texts, &mut captions))
                }
                Err(reason) => captions.push(Err(reason)),
            },
        }
        captions.into_iter().map(|value| Record { key: key.to_string(), value }).collect()
    }

    fn read(&self, file: &str) -> Result<Vec<u8>, String> {
        let (path, _) = self.root.file(file)?;
        read_bounded(&path, self.texts.max as u64).map_err(|error| format!("cannot read `{file}`: {error}"))
    }

    fn walk(
        self: Arc<Self>,
        start: usize,
    ) -> impl Iterator<Item = Result<Record<String>, DataError>> + Send + 'static {
        (start..self.entries.len()).flat_map(move |index| self.records(&self.entries[index])).map(Ok)
    }
}

impl RecordSource<String> for FolderCaptions {
    fn count(&self) -> Result<u64, DataError> {
        match self.shared.fields.is_empty() {
            true => Ok(self.shared.entries.len() as u64),
            false => count(Arc::clone(&self.shared).walk(0)),
        }
    }

    fn records(&self, range: Range<u64>) -> Result<Records<String>, DataError> {
        // A text file is one caption.
        let first = if self.shared.fields.is_empty() { range.start } else { 0 };
        let start = usize::try_from(first).unwrap_or(usize::MAX);
        Ok(Box::new(Window::new(Arc::clone(&self.shared).walk(start), first, &range)))
    }

    fn passed_over(&self) -> Result<PassedOver, DataError> {
        Ok(self.passed_over.clone())
    }
}
