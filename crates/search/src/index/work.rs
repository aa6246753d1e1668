//! Reading images ahead of the model.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::time::UNIX_EPOCH;

use sail_core::Pixels;
use sail_data::source::{ImageData, PassedOver, Record, RecordSource, Records};
use sail_data::{DataError, DecodeLimits, decode_image, encode_thumbnail};
use sail_extract::{UrlFetch, read_image};
use sha2::{Digest, Sha256};

use super::content::{Content, Place, Stamp};
use super::known::{Known, content_hash};
use super::segment_log::Resumed;
use crate::Embedder;

/// An image and its key.
pub(crate) struct Input {
    key: String,
    image: ImageData,
}

/// The images of a source with their keys.
pub(crate) struct Inputs<'a>(pub(crate) &'a dyn RecordSource<ImageData>);

impl RecordSource<Input> for Inputs<'_> {
    fn count(&self) -> Result<u64, DataError> {
        self.0.count()
    }

    fn records(&self, range: Range<u64>) -> Result<Records<Input>, DataError> {
        let input = |Record { key, value }: Record<ImageData>| Record {
            value: value.map(|image| Input { key: key.clone(), image }),
            key,
        };
        Ok(Box::new(self.0.records(range)?.map(move |record| record.map(input))))
    }

    fn passed_over(&self) -> Result<PassedOver, DataError> {
        self.0.passed_over()
    }
}

/// An image of the source, compared with the index.
pub(crate) enum Prepared {
    /// A row of the index has its key and content.
    Unchanged(u32),
    /// A row of the unfinished segment has its key and content.
    Resumed(usize),
    /// A row of the index has its content, under another key or at another time.
    Known { content: Content, row: u32 },
    /// An image to embed.
    New { content: Content, pixels: Pixels, thumbnail: Option<Vec<u8>> },
}

/// Compares images with the index, and reads and preprocesses those that are new.
pub(crate) struct Preparation<'a> {
    pub(crate) known: &'a Known,
    pub(crate) resumed: &'a Resumed,
    pub(crate) embedder: &'a dyn Embedder,
    pub(crate) root: Option<&'a Path>,
    pub(crate) urls: Option<&'a UrlFetch>,
    pub(crate) thumbnails: Option<u32>,
    pub(crate) reread: bool,
}

impl Preparation<'_> {
    /// Returns the reason if the image cannot be used.
    pub(crate) fn prepare(&self, Input { key, image }: Input) -> Result<Prepared, String> {
        let place = self.place(&key, &image);
        let row = self.known.row(&key);
        let mut stamp = match &image {
            ImageData::File(path) => file_stamp(path)?,
            ImageData::Bytes(_) | ImageData::Url(_) => Stamp::default(),
        };
        // The time of a file or the address of an image; the bytes of others are compared.
        let is_known_by_stamp = match &image {
            ImageData::File(_) => stamp.modified != 0,
            ImageData::Url(_) => true,
            ImageData::Bytes(_) => false,
        };
        if is_known_by_stamp && !self.reread {
            let same = |known: Stamp| {
                known.modified == stamp.modified && (stamp.modified == 0 || known.bytes == stamp.bytes)
            };
            if let Some(row) = row
                && self.known.stamp(row).is_some_and(same)
                && self.known.is_at(row, &place)
            {
                return Ok(Prepared::Unchanged(row));
            }
            if let Some((row, content)) = self.resumed.row(&key)
                && same(content.stamp)
                && content.place == place
            {
                return Ok(Prepared::Resumed(row));
            }
        }
        let bytes = read_image(image, self.urls)?;
        if bytes.is_empty() {
            return Err("the file is empty".to_owned());
        }
        stamp.bytes = bytes.len() as u64;
        let content = Content { sha256: Sha256::digest(&bytes).into(), stamp, place };
        let hash = content_hash(&content.sha256);
        if let Some(row) = row
            && self.known.content(row) == Some(hash)
            && self.known.stamp(row) == Some(stamp)
            && self.known.is_at(row, &content.place)
        {
            return Ok(Prepared::Unchanged(row));
        }
        if let Some((row, resumed)) = self.resumed.row(&key)
            && *resumed == content
        {
            return Ok(Prepared::Resumed(row));
        }
        if let Some(row) = self.known.rows_of(hash).next() {
            return Ok(Prepared::Known { content, row });
        }
        let image = decode_image(&bytes, &DecodeLimits::default()).map_err(|error| error.to_string())?;
        let thumbnail = self.thumbnails.map(|side| encode_thumbnail(&image, side)).transpose();
        let thumbnail = thumbnail.map_err(|error| format!("a thumbnail cannot be made: {error}"))?;
        let pixels = self.embedder.preprocess(&image).map_err(|error| error.to_string())?;
        Ok(Prepared::New { content, pixels, thumbnail })
    }

    fn place(&self, key: &str, image: &ImageData) -> Place {
        let path = match image {
            ImageData::Bytes(_) => return Place::Inside,
            ImageData::Url(url) => return Place::Url(url.clone()),
            ImageData::File(path) => path,
        };
        let below = self.root.and_then(|root| path.strip_prefix(root).ok());
        match (below.and_then(Path::to_str), path.to_str()) {
            (Some(below), _) if below == key => Place::Key,
            (Some(below), _) => Place::Below(below.to_owned()),
            (None, Some(path)) => Place::File(path.to_owned()),
            // A path that cannot be written down.
            (None, None) => Place::Inside,
        }
    }
}

/// Size and modification time of a file.
fn file_stamp(path: &Path) -> Result<Stamp, String> {
    let metadata = fs::metadata(path).map_err(|error| format!("the file cannot be read: {error}"))?;
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified = modified.and_then(|since| u64::try_from(since.as_nanos()).ok()).unwrap_or_default();
    Ok(Stamp { bytes: metadata.len(), modified })
}
