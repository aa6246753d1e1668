//! Hashes that name what was computed from some inputs.

use std::path::Path;
use std::time::UNIX_EPOCH;

use sail_core::Provenance;
use sail_support::hex;
use sha2::{Digest, Sha256};

/// A SHA-256 hash of a sequence of fields, for the names of cached results: equal fields have equal fingerprints.
///
/// Every field is hashed with its length, so no two sequences of fields are the same bytes.
///
/// # Examples
/// ```
/// use sail_core::Provenance;
/// use sail_data::Fingerprint;
/// let name = |model, dtype: &str| {
///     let mut fingerprint = Fingerprint::default();
///     fingerprint.add_provenance(&Provenance::new(model)).add(dtype.as_bytes());
///     fingerprint.finish()
/// };
/// assert_eq!(name("dinov2-small", "f16"), name("dinov2-small", "f16"));
/// assert_ne!(name("dinov2-small", "f16"), name("dinov2-small", "f32"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Fingerprint(Sha256);

impl Fingerprint {
    /// Adds a field.
    pub fn add(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// Adds the [`identity`](Provenance::identity) of a provenance: a model of the hub and a local copy of its files are
    /// the same.
    pub fn add_provenance(&mut self, provenance: &Provenance) -> &mut Self {
        for (name, value) in provenance.identity() {
            self.add(name.as_bytes()).add(value.as_bytes());
        }
        self
    }

    /// Adds the length and the modification time of a file, which are cheaper to read than its contents.
    pub fn add_file(&mut self, path: &Path) -> &mut Self {
        let Ok(metadata) = std::fs::metadata(path) else { return self.add(b"absent") };
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        self.add(&metadata.len().to_le_bytes());
        self.add(&modified.unwrap_or_default().as_nanos().to_le_bytes())
    }

    /// Returns the hash as 64 hexadecimal digits.
    pub fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}
