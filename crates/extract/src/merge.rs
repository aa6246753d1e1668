//! Joining the parts of a job.

use std::fs::File;
use std::io::{BufReader, copy};
use std::path::{Path, PathBuf};

use sail_core::{FeatureSource, Modality};
use sail_data::{EmbeddingStore, StoreConfig, StoreWriter};
use sail_support::write_atomic;

use crate::folder::{self, Draft};
use crate::job::Job;
use crate::key_set::KeySet;
use crate::skipped::{self, SKIPPED};
use crate::{ExtractError, Part};

/// How many rows are copied at a time.
const ROWS: usize = 1024;

/// One finished part.
struct PartStore {
    path: PathBuf,
    job: Job,
    store: EmbeddingStore,
}

/// Joins the stores of all parts of a job, given in any order, into the store that one run over all records would
/// have written: the same folder, byte for byte. `progress` is told the number of rows copied since its last call.
///
/// The parts are checked first, checksums included, and stay as they are. `out` is whole or absent: it is filled under
/// another name.
///
/// # Errors
/// [`ExtractError::Mismatch`] where the parts are not those of one job, each once, or lack rows;
/// [`ExtractError::DuplicateKeys`] where two have the same image; [`ExtractError::Exists`], and whatever opening,
/// [verifying](EmbeddingStore::verify) and writing stores gives.
///
/// # Examples
/// ```no_run
/// use std::path::Path;
/// let store = sail_extract::merge(&["part-1", "part-2"], Path::new("features"), &mut |_rows| {})?;
/// # Ok::<(), sail_extract::ExtractError>(())
/// ```
pub fn merge(
    parts: &[impl AsRef<Path>],
    out: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<EmbeddingStore, ExtractError> {
    folder::check(out, false)?;
    let mut parts = parts.iter().map(|path| open(path.as_ref())).collect::<Result<Vec<_>, _>>()?;
    parts.sort_by_key(|part| part.job.part.index);
    let Some(first) = parts.first() else {
        return Err(ExtractError::NoRecords);
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
        part.store.verify(|_bytes| ())?;
    }

    let draft = Draft::beside(out)?;
    let folder = draft.path();
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
    let mut writer = StoreWriter::create_beside(folder, config)?;
    for part in &parts {
        copy_rows(&part.store, &mut writer, progress)?;
    }
    writer.close()?;
    draft.keep()?;
    Ok(EmbeddingStore::open(out)?)
}

fn open(path: &Path) -> Result<PartStore, ExtractError> {
    let store = EmbeddingStore::open(path)?;
    Ok(PartStore { path: path.to_owned(), job: Job::read(path)?, store })
}

/// The parts are those of one job, each once and whole.
fn check(parts: &[PartStore], first: &PartStore) -> Result<(), ExtractError> {
    let of = first.job.part.of;
    for (index, part) in (1..).zip(parts) {
        let PartStore { path, job, store } = part;
        let mismatch = |what: &str, found: String, expected: String| {
            Err(ExtractError::Mismatch { path: path.clone(), what: what.to_owned(), found, expected })
        };
        let expected = Part { index, of };
        // The folder of the images may have another name on another machine.
        let differs = |field: &String| !["part", "source"].contains(&field.as_str());
        let mut differences = job.differences(&first.job).into_iter();
        if let Some((field, found, expected)) = differences.find(|(field, ..)| differs(field)) {
            return mismatch(&format!("`{field}`"), found.to_string(), expected.to_string());
        }
        if job.part != expected {
            return mismatch("the part", job.part.to_string(), format!("{expected}: each once"));
        }
        let shown = |store: &EmbeddingStore| {
            let [modality, dtype, dim] =
                [store.modality().to_string(), store.dtype().to_string(), store.dim().to_string()];
            let provenance = store.provenance().map(|provenance| format!("{provenance:?}"));
            [("modality", modality), ("number type", dtype), ("dimension", dim)]
                .into_iter()
                .chain(provenance.map(|provenance| ("provenance", provenance)))
                .collect::<Vec<_>>()
        };
        let pairs = shown(store).into_iter().zip(shown(&first.store));
        for ((what, found), (_, expected)) in pairs {
            if found != expected {
                return mismatch(&format!("the {what}"), found, expected);
            }
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

/// Every image is in one part only.
fn check_keys(parts: &[PartStore]) -> Result<(), ExtractError> {
    let mut keys = KeySet::with_capacity(parts.iter().map(|part| part.store.rows()).sum());
    let (mut count, mut first) = (0, None);
    for PartStore { path, store, .. } in parts {
        for start in (0..store.rows()).step_by(ROWS) {
            let block: Vec<usize> = (start..store.rows().min(start + ROWS)).collect();
            for key in store.keys(&block).map_err(sail_data::DataError::from)? {
                if !keys.insert(&key) {
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

fn copy_rows(
    store: &EmbeddingStore,
    writer: &mut StoreWriter,
    progress: &mut dyn FnMut(u64),
) -> Result<(), ExtractError> {
    let (rows, dim) = (store.rows(), store.dim());
    let mut values = Vec::new();
    for start in (0..rows).step_by(ROWS) {
        let block: Vec<usize> = (start..rows.min(start + ROWS)).collect();
        values.resize(block.len() * dim, 0.0);
        store.gather(&block, &mut values).map_err(sail_data::DataError::from)?;
        let keys = store.keys(&block).map_err(sail_data::DataError::from)?;
        let block: Vec<_> = keys.iter().zip(values.chunks_exact(dim)).collect();
        writer.append(&block, writer.position() + block.len() as u64)?;
        if writer.full() {
            writer.save()?;
        }
        progress(block.len() as u64);
    }
    Ok(())
}
