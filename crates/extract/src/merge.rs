//! Merging the parts of a job.

use std::fs::File;
use std::io::{BufReader, copy};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use sail_core::{Contradiction, FeatureSource, Modality, Progress};
use sail_data::{EmbeddingStore, StoreConfig, StoreWriter};
use sail_support::{KeyTable, ranges, write_atomic};

use crate::error::ExtractError;
use crate::folder::{self, PASSED_OVER};
use crate::job::Job;
use crate::options::Part;
use crate::skipped::{self, SKIPPED};

/// Number of rows that are copied at once.
const ROWS: usize = 1024;

/// One finished part.
struct PartStore {
    path: PathBuf,
    job: Job,
    store: EmbeddingStore,
}

/// Merges the stores of all parts of a job, in any order, into the store that a single run over all records would have
/// written, byte for byte. `progress` counts rows, and may stop the merge.
///
/// The parts and their checksums are verified first, and are not modified. `out` is created atomically.
///
/// # Errors
/// [`ExtractError::Mismatch`] unless the parts are those of one job, each once and complete;
/// [`ExtractError::DuplicateKeys`] if two have the same image; [`ExtractError::Exists`], and errors of opening,
/// [verifying](EmbeddingStore::verify) and writing stores.
///
/// # Examples
/// ```no_run
/// use std::ops::ControlFlow;
/// use std::path::Path;
/// let out = Path::new("features");
/// let store = sail_extract::merge(&["part-1", "part-2"], out, |_| ControlFlow::Continue(()))?;
/// # Ok::<(), sail_extract::ExtractError>(())
/// ```
pub fn merge(
    parts: &[impl AsRef<Path>],
    out: &Path,
    mut progress: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<EmbeddingStore, ExtractError> {
    if out.exists() {
        return Err(ExtractError::Exists { path: out.to_owned() });
    }
    let mut parts = parts.iter().map(|path| open(path.as_ref())).collect::<Result<Vec<_>, _>>()?;
    parts.sort_by_key(|part| part.job.part.index);
    let Some(first) = parts.first() else {
        return Err(ExtractError::NoParts);
    };
    let config = StoreConfig {
        dtype: first.store.dtype(),
        rows_per_shard: first.job.rows_per_shard,
        ..StoreConfig::new(first.store.modality(), first.job.provenance.clone(), first.store.dim())
    };
    check(&parts, first)?;
    if config.modality == Modality::Image {
        check_keys(&parts)?;
    }
    for part in &parts {
        part.store.verify(|_| ())?;
    }

    let new = folder::new(out)?;
    let folder = new.path();
    let mut job = first.job.clone();
    job.part = Part::WHOLE;
    job.write(folder)?;
    let skipped = folder.join(SKIPPED);
    write_atomic(&skipped, |to| {
        for part in &parts {
            copy(&mut BufReader::new(File::open(part.path.join(SKIPPED))?), to)?;
        }
        std::io::Result::Ok(())
    })
    .map_err(ExtractError::io(&skipped))?;
    let passed_over = first.path.join(PASSED_OVER);
    if passed_over.exists() {
        // All parts have the same, that of the whole source.
        let copied = folder.join(PASSED_OVER);
        std::fs::copy(&passed_over, &copied).map_err(ExtractError::io(&copied))?;
    }
    let mut writer = StoreWriter::create_beside(folder, config)?;
    let rows_of_all = parts.iter().map(|part| part.store.rows() as u64).sum();
    let mut copied = 0;
    for part in &parts {
        writer.copy(&part.store, 0..part.store.rows(), |rows| {
            copied += rows;
            progress(Progress { done: copied, total: rows_of_all, unit: "rows" })
        })?;
    }
    writer.close()?;
    folder::publish(new, out)?;
    Ok(EmbeddingStore::open(out)?)
}

fn open(path: &Path) -> Result<PartStore, ExtractError> {
    let store = EmbeddingStore::open(path)?;
    Ok(PartStore { path: path.to_owned(), job: Job::read(path)?, store })
}

/// Checks that the parts are those of one job, each once and complete.
fn check(parts: &[PartStore], first: &PartStore) -> Result<(), ExtractError> {
    let of = first.job.part.of;
    for (index, part) in (1..).zip(parts) {
        let PartStore { path, job, store } = part;
        let mismatch = |what: &str, found: String, expected: String| {
            Err(ExtractError::Mismatch { path: path.clone(), what: what.to_owned(), found, expected })
        };
        let expected = Part { index, of };
        // The path of the images may differ between machines.
        let differs = |field: &String| !["part", "source"].contains(&field.as_str());
        let mut differences = job.differences(&first.job).into_iter();
        if let Some((field, found, expected)) = differences.find(|(field, ..)| differs(field)) {
            return mismatch(&format!("`{field}`"), found.to_string(), expected.to_string());
        }
        if job.part != expected {
            let expected = match of {
                1 => "a part such as 1/2: stores of other sources are not merged, encode their files as one source"
                    .to_owned(),
                _ => format!("{expected}, each part once"),
            };
            return mismatch("the part", job.part.to_string(), expected);
        }
        let shown = |store: &EmbeddingStore| {
            let [modality, dtype, dim] =
                [store.modality().to_string(), store.dtype().to_string(), store.dim().to_string()];
            [("modality", modality), ("dtype", dtype), ("dimension", dim)]
        };
        let pairs = shown(store).into_iter().zip(shown(&first.store));
        for ((what, found), (_, expected)) in pairs {
            if found != expected {
                return mismatch(&format!("the {what}"), found, expected);
            }
        }
        let (own, others) = (store.provenance(), first.store.provenance());
        if let Some(Contradiction { field, found, expected, .. }) =
            others.zip(own).and_then(|(expected, found)| expected.contradiction(found))
        {
            return mismatch(&format!("`{field}` of the provenance"), found, expected);
        }
        let range = job.range();
        let (found, expected) = (store.rows() as u64 + skipped::count(path)?, range.end - range.start);
        if found != expected {
            return mismatch(
                "the number of rows and skipped records",
                found.to_string(),
                expected.to_string(),
            );
        }
    }
    match parts.last() {
        Some(last) if parts.len() as u64 != of => Err(ExtractError::Mismatch {
            path: last.path.clone(),
            what: "the number of parts".to_owned(),
            found: parts.len().to_string(),
            expected: of.to_string(),
        }),
        _ => Ok(()),
    }
}

/// Checks that no image is in several parts.
fn check_keys(parts: &[PartStore]) -> Result<(), ExtractError> {
    let mut keys = KeyTable::with_capacity(parts.iter().map(|part| part.store.rows()).sum());
    let (mut count, mut first) = (0, None);
    for PartStore { path, store, .. } in parts {
        for rows in ranges(store.rows(), ROWS) {
            let block: Vec<usize> = rows.collect();
            for key in store.keys(&block).map_err(sail_data::DataError::from)? {
                if keys.insert_key(&key, ()).is_some() {
                    count += 1;
                    first.get_or_insert_with(|| (key, path.clone()));
                }
            }
        }
    }
    match first {
        None => Ok(()),
        Some((first, path)) => Err(ExtractError::DuplicateKeys { count, first, path }),
    }
}
