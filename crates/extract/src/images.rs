//! Extraction of images.

use std::io::Read;
use std::ops::Range;
use std::path::Path;

use sail_core::{Modality, Pixels, VisionTower};
use sail_data::source::{ImageData, PassedOver, Record, RecordSource, Records};
use sail_data::{DataError, DecodeLimits, decode_image};
use sail_support::read_bounded;

use crate::embed;
use crate::error::ExtractError;
use crate::observer::Observer;
use crate::options::ExtractOptions;
use crate::prepare::Ahead;
use crate::run::{Extraction, Fetch, Task, common, run};
use crate::urls::UrlFetch;

/// Embeds every image of a source into a store in the folder `out`.
///
/// Besides the files of the store, the folder has `encode.json` with the settings, and `skipped.jsonl` with a line
/// `{"key": ..., "reason": ...}` for every record without a row: images that cannot be fetched, read or decoded, and images
/// with the key of an earlier one. Files that the source [passes over](RecordSource::passed_over), if any, are counted in
/// `passed_over.json`.
///
/// # Errors
/// [`ExtractError`] for invalid options and errors of the source, the folder or the model. The work so far stays in the
/// folder and can be [resumed](ExtractOptions::resume).
///
/// # Examples
/// ```no_run
/// use std::path::Path;
/// use sail_core::VisionTower;
/// use sail_data::source::{ImageData, RecordSource};
/// use sail_extract::{Event, ExtractError, ExtractOptions, extract_images};
///
/// fn encode(tower: &VisionTower, images: &dyn RecordSource<ImageData>) -> Result<(), ExtractError> {
///     let options = ExtractOptions { source: "photos".to_owned(), ..ExtractOptions::images() };
///     let mut observer = |event: Event<'_>| if let Event::Skipped(skipped) = event {
///         eprintln!("{}: {}", skipped.key, skipped.reason);
///     };
///     let extraction = extract_images(tower, images, Path::new("features"), &options, &mut observer)?;
///     println!("{} rows of {}", extraction.rows, extraction.dim);
///     Ok(())
/// }
/// ```
pub fn extract_images(
    tower: &VisionTower,
    source: &dyn RecordSource<ImageData>,
    out: &Path,
    options: &ExtractOptions,
    observer: &mut dyn Observer,
) -> Result<Extraction, ExtractError> {
    extract_images_on(std::slice::from_ref(tower), source, out, options, observer)
}

/// Embeds every image of a source with the same model on several devices.
///
/// The [blocks](ExtractOptions::block) are shared among the towers, which work at the same time. The store is that of
/// [`extract_images`] with the first tower: the same rows in the same order.
///
/// # Errors
/// Those of [`extract_images`], and [`ExtractError::Towers`] if there is no tower or one has another provenance.
pub fn extract_images_on(
    towers: &[VisionTower],
    source: &dyn RecordSource<ImageData>,
    out: &Path,
    options: &ExtractOptions,
    observer: &mut dyn Observer,
) -> Result<Extraction, ExtractError> {
    let (tower, provenance) = common(towers, VisionTower::provenance)?;
    let fetch = options.urls.as_ref().map(|urls| {
        let ahead = Ahead { threads: urls.at_once, chunk: 1, records: FETCHED_PER_THREAD * urls.at_once };
        (ahead, move |input: Input| input.fetch(urls))
    });
    let task = Task {
        modality: Modality::Image,
        provenance,
        chunk: 1,
        fetch: fetch.as_ref().map(|(ahead, fetch)| Fetch { ahead, fetch }),
        prepare: &|input| prepare(tower, input),
        towers: towers.len(),
        embed: &|index, images| embed::images(&towers[index], images),
    };
    run(&task, &Inputs(source), out, options, observer)
}

/// Images that are fetched ahead per thread that fetches: a slow server holds up the others only after these.
const FETCHED_PER_THREAD: usize = 32;

/// An image of the source, or what was fetched for it.
enum Input {
    Source(ImageData),
    Fetched(Box<dyn Read + Send>),
}

impl Input {
    fn fetch(self, urls: &UrlFetch) -> Result<Self, String> {
        match self {
            Self::Source(ImageData::Url(url)) => urls.fetch(&url).map(Self::Fetched),
            other => Ok(other),
        }
    }

    fn read(self) -> Result<Vec<u8>, String> {
        match self {
            Self::Source(image) => read_image(image, None),
            Self::Fetched(content) => read_fetched(content),
        }
    }
}

/// Reads the bytes of an image, which are fetched if they are at a URL and `urls` says how.
///
/// # Errors
/// The reason why the image is unusable.
///
/// # Examples
/// ```
/// use sail_data::source::ImageData;
/// use sail_extract::read_image;
/// assert_eq!(read_image(ImageData::Bytes(vec![1, 2]), None)?, [1, 2]);
/// assert!(read_image(ImageData::Url("https://example.org/cat.png".to_owned()), None).is_err());
/// # Ok::<(), String>(())
/// ```
pub fn read_image(image: ImageData, urls: Option<&UrlFetch>) -> Result<Vec<u8>, String> {
    match (image, urls) {
        (ImageData::Bytes(bytes), _) => Ok(bytes),
        (ImageData::File(path), _) => read_bounded(&path, DecodeLimits::default().max_bytes)
            .map_err(|error| format!("the file cannot be read: {error}")),
        (ImageData::Url(url), Some(urls)) => read_fetched(urls.fetch(&url)?),
        (ImageData::Url(url), None) => Err(format!("`{url}` is a URL, and this program does not fetch any")),
    }
}

fn read_fetched(content: impl Read) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = content.take(DecodeLimits::default().max_bytes).read_to_end(&mut bytes);
    read.map_err(|error| format!("the fetched file cannot be read: {error}"))?;
    Ok(bytes)
}

/// The images of a source as inputs.
struct Inputs<'a>(&'a dyn RecordSource<ImageData>);

impl RecordSource<Input> for Inputs<'_> {
    fn count(&self) -> Result<u64, DataError> {
        self.0.count()
    }

    fn records(&self, range: Range<u64>) -> Result<Records<Input>, DataError> {
        let input =
            |Record { key, value }: Record<ImageData>| Record { key, value: value.map(Input::Source) };
        Ok(Box::new(self.0.records(range)?.map(move |record| record.map(input))))
    }

    fn passed_over(&self) -> Result<PassedOver, DataError> {
        self.0.passed_over()
    }
}

fn prepare(tower: &VisionTower, input: Input) -> Result<Pixels, String> {
    let bytes = input.read()?;
    if bytes.is_empty() {
        return Err("the file is empty".to_owned());
    }
    let image = decode_image(&bytes, &DecodeLimits::default()).map_err(|error| error.to_string())?;
    tower.preprocessor.preprocess(&image).map_err(|error| error.to_string())
}
