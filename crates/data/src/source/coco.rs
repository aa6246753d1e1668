//! COCO captions.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use sail_support::read_bounded;
use serde::Deserialize;
use serde_json::Value;

use super::image_root::ImageRoot;
use super::json_lines::integer;
use super::options::SourceOptions;
use super::record::{ImageData, Record, RecordSource, Records};
use super::text::caption;
use super::window::positions;
use crate::DataError;
use crate::error::ensure_file;

/// The file. Other fields (licences, URLs) are ignored.
#[derive(Deserialize)]
struct Coco {
    images: Vec<Image>,
    #[serde(default)]
    annotations: Vec<Annotation>,
}

#[derive(Deserialize)]
struct Image {
    #[serde(default)]
    id: Id,
    #[serde(default)]
    file_name: Value,
}

#[derive(Deserialize)]
struct Annotation {
    #[serde(default)]
    id: Id,
    #[serde(default)]
    image_id: Id,
    #[serde(default)]
    caption: Value,
}

/// An id. Numbers are equal however they are written: `7`, `7.0` and `"7"`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(from = "Value")]
enum Id {
    /// Missing, or of another type.
    #[default]
    None,
    Number(i128),
    Text(String),
}

impl From<Value> for Id {
    fn from(value: Value) -> Self {
        let text = match value {
            // Beyond u64, JSON numbers are floats; equal floats are found as duplicates.
            Value::Number(number) => integer(&number).unwrap_or_else(|| number.to_string()),
            Value::String(text) => text,
            _ => return Self::None,
        };
        match text.parse::<i128>() {
            Ok(number) if text == number.to_string() => Self::Number(number),
            _ => Self::Text(text),
        }
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("without id"),
            Self::Number(id) => id.fmt(f),
            Self::Text(id) => id.fmt(f),
        }
    }
}

/// Far more than any published annotation file.
const MAX_BYTES: u64 = 2 << 30;

fn read(path: &Path) -> Result<Coco, DataError> {
    let bytes = read_bounded(path, MAX_BYTES).map_err(DataError::read(path))?;
    let coco: Coco = sail_support::json::from_slice(&bytes).map_err(|error| DataError::Malformed {
        path: path.to_owned(),
        what: "the content".to_owned(),
        found: format!("not valid COCO captions ({error})"),
        expected: "an object with `images` and `annotations`; for other JSON use JSON lines".to_owned(),
    })?;
    let mut ids = HashSet::new();
    for image in &coco.images {
        ensure_file(
            image.id == Id::None || ids.insert(&image.id),
            path,
            "`images`",
            format!("with the duplicate id {}", image.id),
            "unique ids",
        )?;
    }
    Ok(coco)
}

/// Returns the file name of an image, or the reason why there is none.
fn file_name(image: &Image) -> Result<&str, String> {
    match &image.file_name {
        Value::String(name) if !name.is_empty() => Ok(name),
        _ => Err("the image has no `file_name`".to_owned()),
    }
}

/// The images of a COCO file in the order of `images`. The names are kept in memory.
#[derive(Debug)]
pub(super) struct CocoImages {
    root: Arc<ImageRoot>,
    /// The file names, or descriptions of images without one.
    images: Arc<Vec<Result<String, String>>>,
}

impl CocoImages {
    pub(super) fn open(path: &Path, options: &SourceOptions) -> Result<Self, DataError> {
        let folder = options.image_root.as_deref().or(path.parent()).unwrap_or(Path::new(""));
        let root = Arc::new(ImageRoot::new(folder, options)?);
        let name =
            |image: &Image| file_name(image).map(str::to_owned).map_err(|_| format!("image {}", image.id));
        Ok(Self { root, images: Arc::new(read(path)?.images.iter().map(name).collect()) })
    }
}

impl RecordSource<ImageData> for CocoImages {
    fn count(&self) -> Result<u64, DataError> {
        Ok(self.images.len() as u64)
    }

    fn records(&self, range: Range<u64>) -> Result<Records<ImageData>, DataError> {
        let (root, images) = (Arc::clone(&self.root), Arc::clone(&self.images));
        Ok(positions(range, images.len(), move |position| match &images[position] {
            Ok(name) => Record { key: name.clone(), value: root.image(name) },
            Err(name) => Record { key: name.clone(), value: Err("the image has no `file_name`".to_owned()) },
        }))
    }
}

/// The captions of a COCO file, in memory: in the order of `images`, then of the annotation ids. Captions without an image
/// are last.
#[derive(Debug)]
pub(super) struct CocoCaptions {
    records: Arc<Vec<Record<String>>>,
}

impl CocoCaptions {
    pub(super) fn open(path: &Path, options: &SourceOptions) -> Result<Self, DataError> {
        let Coco { images, mut annotations } = read(path)?;
        let order: HashMap<&Id, usize> = images.iter().map(|image| &image.id).zip(0..).collect();
        let position = |annotation: &Annotation| match &annotation.image_id {
            Id::None => usize::MAX,
            id => order.get(id).copied().unwrap_or(usize::MAX),
        };
        // Annotations without id stay in the order of the file.
        annotations.sort_by(|a, b| position(a).cmp(&position(b)).then_with(|| a.id.cmp(&b.id)));
        let record = |annotation: Annotation| {
            let image = images.get(position(&annotation));
            let name = image
                .ok_or_else(|| format!("the image {} is missing", annotation.image_id))
                .and_then(|image| file_name(image));
            let key = match &name {
                Ok(name) => (*name).to_owned(),
                Err(_) => format!("annotation {}", annotation.id),
            };
            let value = name.and_then(|_| match annotation.caption {
                Value::String(text) => caption(text.into_bytes(), options.max_text_bytes),
                _ => Err("the annotation has no `caption`".to_owned()),
            });
            Record { key, value }
        };
        Ok(Self { records: Arc::new(annotations.into_iter().map(record).collect()) })
    }
}

impl RecordSource<String> for CocoCaptions {
    fn count(&self) -> Result<u64, DataError> {
        Ok(self.records.len() as u64)
    }

    fn records(&self, range: Range<u64>) -> Result<Records<String>, DataError> {
        let records = Arc::clone(&self.records);
        Ok(positions(range, records.len(), move |position| records[position].clone()))
    }
}
