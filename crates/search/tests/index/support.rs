//! A small model, images on disk, and comparisons of folders.

// Each test binary uses a part of it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use sail_core::{InputError, Pixels, Provenance, RgbImage};
use sail_data::source::{SourceOptions, open_captions, open_images};
use sail_extract::{Event, Observer};
use sail_search::{
    EmbedError, Embedder, Encoders, IndexError, IndexModel, IndexSource, ModelIdentity, UpdateOptions,
    Updated, update,
};
use sha2::{Digest, Sha256};

/// Dimension of the embeddings.
pub(crate) const DIM: usize = 4;
const HEAD: &[u8] = b"a head";

/// The mean colour of an image, and a little of its place in the block, so that other blocks give other rows.
#[derive(Default)]
pub(crate) struct Colours {
    /// Name of the vision model.
    pub(crate) name: String,
    /// Images embedded so far.
    pub(crate) embedded: AtomicUsize,
}

impl Embedder for Colours {
    fn identity(&self) -> Result<ModelIdentity, EmbedError> {
        let head = Sha256::digest(HEAD).iter().map(|byte| format!("{byte:02x}")).collect();
        let name = if self.name.is_empty() { "colours" } else { &self.name };
        Ok(ModelIdentity::new(Provenance::new(name), Provenance::new("words"), head))
    }

    fn preprocess(&self, image: &RgbImage) -> Result<Pixels, InputError> {
        let count = f64::from(image.width() * image.height());
        let mean = |c: usize| image.pixels().map(|pixel| f64::from(pixel.0[c])).sum::<f64>() / count / 255.0;
        Ok(Pixels { size: [1, 1], values: (0..3).map(|c| mean(c) as f32).collect() })
    }

    fn embed_images(&self, images: &[Pixels]) -> Result<Vec<Vec<f32>>, EmbedError> {
        self.embedded.fetch_add(images.len(), Ordering::Relaxed);
        let row =
            |(place, pixels): (usize, &Pixels)| unit(&[&pixels.values[..], &[0.01 * place as f32]].concat());
        Ok(images.iter().enumerate().map(row).collect())
    }

    fn embed_texts(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let row = |text: &&str| match *text {
            "red" => unit(&[1.0, 0.0, 0.0, 0.0]),
            "green" => unit(&[0.0, 1.0, 0.0, 0.0]),
            _ => unit(&[0.0, 0.0, 1.0, 0.0]),
        };
        Ok(texts.iter().map(row).collect())
    }
}

fn unit(row: &[f32]) -> Vec<f32> {
    let norm = row.iter().map(|value| value * value).sum::<f32>().sqrt();
    row.iter().map(|value| value / norm).collect()
}

pub(crate) fn model(embedder: &Colours) -> IndexModel<'_> {
    IndexModel { embedder, head: HEAD.to_vec(), encoders: Encoders::default(), log_scale: 2.0, bias: -1.0 }
}

/// A folder with images, and one for the index.
pub(crate) struct Lab {
    folder: PathBuf,
    /// Removes the folder.
    _temporary: Option<tempfile::TempDir>,
    pub(crate) colours: Colours,
    pub(crate) options: UpdateOptions,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("images")).unwrap();
        Self::at(folder.path()).keeping(folder)
    }

    /// That of another process.
    pub(crate) fn at(folder: &Path) -> Self {
        let options = options(&folder.join("images"));
        Self { options, folder: folder.to_owned(), _temporary: None, colours: Colours::default() }
    }

    fn keeping(self, folder: tempfile::TempDir) -> Self {
        Self { _temporary: Some(folder), ..self }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.path_of("index")
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.path_of("images")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.images().join(name)
    }

    /// Writes an image of a colour, last modified at a time of its own.
    pub(crate) fn image(&self, name: &str, colour: [u8; 3]) {
        write_image(&self.path(name), colour);
    }

    pub(crate) fn update(&self) -> Result<Updated, IndexError> {
        self.update_at(&self.index())
    }

    pub(crate) fn update_at(&self, index: &Path) -> Result<Updated, IndexError> {
        self.update_with(index, None, &[], &mut |_: Event<'_>| ())
    }

    /// Updates an index with captions and columns of a table.
    pub(crate) fn update_with(
        &self,
        index: &Path,
        table: Option<&Path>,
        columns: &[&str],
        observer: &mut dyn Observer,
    ) -> Result<Updated, IndexError> {
        let images = open_images(&self.images(), &SourceOptions::default()).map_err(IndexError::Source)?;
        let open = |column: &str| {
            let caption_columns = vec![column.to_owned()];
            let options = SourceOptions { caption_columns, scalars: true, ..SourceOptions::default() };
            table.map(|table| open_captions(table, &options)).transpose().map_err(IndexError::Source)
        };
        let captions = open("caption")?;
        let opened: Vec<_> = columns.iter().map(|name| open(name)).collect::<Result<_, _>>()?;
        let columns = columns.iter().zip(&opened);
        let columns = columns.filter_map(|(name, source)| Some(((*name).to_owned(), source.as_deref()?)));
        let source = IndexSource {
            images: images.as_ref(),
            captions: captions.as_deref(),
            columns: columns.collect(),
        };
        update(index, &model(&self.colours), &source, &self.options, observer)
    }
}

/// Small blocks and segments.
pub(crate) fn options(root: &Path) -> UpdateOptions {
    UpdateOptions {
        block: 4,
        segment_rows: 18,
        thumbnails: Some(8),
        root: Some(root.to_owned()),
        checkpoint_every: Duration::ZERO,
        threads: 2,
        ..UpdateOptions::default()
    }
}

pub(crate) fn write_image(path: &Path, colour: [u8; 3]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let image = RgbImage::from_fn(16, 12, |x, _| image::Rgb(colour.map(|value| value ^ (x as u8 & 1))));
    image.save(path).unwrap();
    // Independent of when the test runs, and of the time a second file takes.
    let seconds = colour.iter().fold(1_600_000_000, |time, value| time + 7 * u64::from(*value));
    set_modified(path, seconds);
}

pub(crate) fn set_modified(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

/// The content of all files below a folder.
pub(crate) fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

pub(crate) fn assert_same(found: &Path, expected: &Path) {
    let (found, expected) = (files(found), files(expected));
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, bytes) in &found {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(bytes == &expected[name], "{name}: {} and {}", text(bytes), text(&expected[name]));
    }
}
