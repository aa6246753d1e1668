//! Verification of features before they are used, in one pass, and at most once for the same files.

use std::fs;
use std::path::{Path, PathBuf};

use sail_core::{FeatureSource, Progress, ProgressCounter};
use sail_support::{read_bounded, write_atomic};
use serde::{Deserialize, Serialize};

use crate::scan::scan_range;
use crate::{DataError, Features, Fingerprint};

/// Far more than a record needs.
const MAX_BYTES: u64 = 1 << 20;

/// What is remembered about verified features.
#[derive(Serialize, Deserialize)]
struct Record {
    /// The files, for readers of the record.
    files: Vec<PathBuf>,
    /// Identifies the files and their contents.
    identity: String,
}

impl Features {
    /// Reads all of the features once and verifies the checksums and keys of stores, and that every row is finite and not
    /// all zeros. `progress` counts bytes.
    ///
    /// # Errors
    /// Those of [`EmbeddingStore::verify`](crate::EmbeddingStore::verify) and [`scan`](crate::scan()).
    pub fn verify(&self, progress: impl FnMut(Progress) + Send) -> Result<(), DataError> {
        self.verify_part(self, 0, &ProgressCounter::new(self.bytes(), "bytes", progress))
    }

    /// [`verify`](Features::verify), unless a record in `folder` says that the same files were verified before. The files are
    /// the same if their paths, lengths, modification times and inodes are. Returns whether they were read.
    ///
    /// A record that cannot be read or written costs another verification and is no error.
    ///
    /// # Errors
    /// Those of [`verify`](Features::verify).
    pub fn verify_once(
        &self,
        folder: &Path,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<bool, DataError> {
        let (files, identity) = (self.files(), self.identity());
        let path = folder.join(format!("{}.json", name(&files)));
        if identity.is_some() && identity == recorded(&path) {
            tracing::info!("{files:?} were verified before");
            return Ok(false);
        }
        self.verify(progress)?;
        if let Some(identity) = identity {
            let write = || {
                fs::create_dir_all(folder)?;
                write_atomic(&path, |out| {
                    Ok::<_, std::io::Error>(serde_json::to_writer(out, &Record { files, identity })?)
                })
            };
            if let Err(error) = write() {
                tracing::info!("cannot remember the verification in {}: {error}", path.display());
            }
        }
        Ok(true)
    }

    fn verify_part(
        &self,
        all: &Self,
        first: usize,
        counter: &ProgressCounter<impl FnMut(Progress) + Send>,
    ) -> Result<(), DataError> {
        match self {
            Self::Store(store) => store.verify_as(all, first, counter),
            Self::File(_) | Self::Memory(_) => {
                let row_bytes = self.dtype().row_bytes(self.dim(), None) as u64;
                let rows = first..first + self.rows();
                Ok(scan_range(all, rows, |rows| counter.add(rows * row_bytes))?)
            }
            Self::Several(several) => {
                let parts = several.parts().iter().zip(several.starts());
                parts.into_iter().try_for_each(|(part, start)| part.verify_part(all, first + start, counter))
            }
        }
    }

    /// The bytes that a verification reads.
    fn bytes(&self) -> u64 {
        match self {
            Self::Store(store) => store.bytes(),
            Self::File(_) | Self::Memory(_) => {
                (self.rows() * self.dtype().row_bytes(self.dim(), None)) as u64
            }
            Self::Several(several) => several.parts().iter().map(Self::bytes).sum(),
        }
    }

    /// The store folders and files.
    fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Store(store) => vec![sail_support::resolve(store.path())],
            Self::File(file) => vec![sail_support::resolve(file.path())],
            Self::Memory(_) => Vec::new(),
            Self::Several(several) => several.parts().iter().flat_map(Self::files).collect(),
        }
    }

    /// Identifies the contents of all files, if that is possible without reading them.
    fn identity(&self) -> Option<String> {
        let mut fingerprint = Fingerprint::default();
        // A later version may check more.
        fingerprint.add(env!("CARGO_PKG_VERSION").as_bytes());
        self.identify(&mut fingerprint)?;
        Some(fingerprint.finish())
    }

    fn identify(&self, fingerprint: &mut Fingerprint) -> Option<()> {
        match self {
            Self::Store(store) => store.identify(fingerprint),
            Self::File(file) => file.identify(fingerprint),
            Self::Memory(_) => None,
            Self::Several(several) => several.parts().iter().try_for_each(|part| part.identify(fingerprint)),
        }
    }
}

fn name(files: &[PathBuf]) -> String {
    let mut fingerprint = Fingerprint::default();
    for file in files {
        fingerprint.add(file.as_os_str().as_encoded_bytes());
    }
    fingerprint.finish()
}

fn recorded(path: &Path) -> Option<String> {
    let json = read_bounded(path, MAX_BYTES).ok()?;
    serde_json::from_slice::<Record>(&json).ok().map(|record| record.identity)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::{Duration, SystemTime};

    use sail_core::{FeatureError, Modality, Provenance};

    use super::*;
    use crate::{StoreConfig, StoreWriter, open_features};

    /// A store of three rows in two shards.
    fn write(path: &Path, values: [f32; 3]) {
        let config =
            StoreConfig { rows_per_shard: 2, ..StoreConfig::new(Modality::Image, Provenance::new("m"), 1) };
        let mut writer = StoreWriter::create(path, config).unwrap();
        writer.extend([("a", [values[0]]), ("b", [values[1]]), ("c", [values[2]])]).unwrap();
        writer.finish().unwrap();
    }

    fn files(folder: &Path) -> usize {
        fs::read_dir(folder).map_or(0, |entries| entries.count())
    }

    /// Waits until the change of a file is old enough to be told from a later one.
    fn wait() {
        std::thread::sleep(crate::file::TICK + Duration::from_millis(50));
    }

    #[test]
    fn the_same_files_are_verified_once() {
        let folder = tempfile::tempdir().unwrap();
        let (stores, records) = (folder.path().join("stores"), folder.path().join("records"));
        write(&stores.join("x"), [1.0, 2.0, 3.0]);
        write(&stores.join("y"), [4.0, 5.0, 6.0]);
        let spec = |name: &str| stores.join(name).to_str().unwrap().to_owned();
        let both = format!("{},{}", spec("x"), spec("y"));
        let verify = |spec: &str| open_features(spec).unwrap().verify_once(&records, |_| ());
        // Just written: not remembered, since a change within the same tick could not be told.
        assert!(verify(&both).unwrap() && verify(&both).unwrap());
        assert_eq!(files(&records), 0);
        wait();
        assert!(verify(&both).unwrap());
        assert!(!verify(&both).unwrap());
        assert!(verify(&spec("x")).unwrap() && !verify(&spec("x")).unwrap());
        assert_eq!(files(&records), 2);

        // A flipped bit with the old time is found: the inode has changed.
        let shard = stores.join("y/shard-00001.safetensors");
        let time = fs::metadata(&shard).unwrap().modified().unwrap();
        let mut bytes = fs::read(&shard).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&shard, &bytes).unwrap();
        File::options().write(true).open(&shard).unwrap().set_modified(time).unwrap();
        if cfg!(unix) {
            let error = verify(&both).unwrap_err();
            assert!(matches!(&error, DataError::Checksum { path, .. } if *path == shard), "{error}");
        }
        assert!(!verify(&spec("x")).unwrap());
        // A record that cannot be parsed is no record.
        for entry in fs::read_dir(&records).unwrap() {
            fs::write(entry.unwrap().path(), "{").unwrap();
        }
        assert!(verify(&spec("x")).unwrap() && !verify(&spec("x")).unwrap());
        // A folder that cannot be written to is no error.
        let x = open_features(&spec("x")).unwrap();
        assert!(x.verify_once(&stores.join("x/manifest.json"), |_| ()).unwrap());
    }

    #[test]
    fn files_from_the_future_are_not_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let records = folder.path().join("records");
        let path = folder.path().join("f.safetensors");
        let view =
            safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1, 1], &[0, 0, 128, 63]);
        fs::write(&path, safetensors::serialize([("x", view.unwrap())], None).unwrap()).unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(SystemTime::now() + Duration::from_secs(3600))
            .unwrap();
        wait();
        let features = open_features(path.to_str().unwrap()).unwrap();
        assert!(features.verify_once(&records, |_| ()).unwrap());
        assert_eq!(files(&records), 0);
    }

    #[test]
    fn errors_name_the_row_of_all_features() {
        let folder = tempfile::tempdir().unwrap();
        let matrix = |name: &str, values: &[f32]| {
            let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
            let view =
                safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![values.len(), 1], &bytes);
            let path = folder.path().join(name);
            fs::write(&path, safetensors::serialize([("x", view.unwrap())], None).unwrap()).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let spec =
            format!("{},{}", matrix("a.safetensors", &[1.0, 2.0]), matrix("b.safetensors", &[3.0, f32::NAN]));
        let mut last = None;
        let error = open_features(&spec).unwrap().verify(|progress| last = Some(progress)).unwrap_err();
        let DataError::Feature(FeatureError::NotFinite { row: 3, key, .. }) = &error else {
            panic!("{error}")
        };
        assert_eq!(key, "3");
        assert_eq!(last, Some(Progress { done: 8, total: 16, unit: "bytes" }));
    }
}
