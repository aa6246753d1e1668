//! Features of any kind: one source, or several read as one.

use std::borrow::Cow;

use sail_core::{FeatureError, FeatureSource, Modality, Provenance, StoreDtype};

use crate::compatible::{Difference, difference};
use crate::gather::{Wanted, cut, sorted};
use crate::{DataError, EmbeddingStore, MatrixFeatures, SafetensorsFeatures};

/// A feature source of any type in this crate. Code that only reads rows should accept any [`FeatureSource`] instead.
#[derive(Debug)]
pub enum Features {
    /// An embedding store.
    Store(EmbeddingStore),
    /// A tensor of a safetensors file.
    File(SafetensorsFeatures),
    /// A matrix in memory.
    Memory(MatrixFeatures),
    /// A concatenation of several sources.
    Several(ConcatFeatures),
}

impl Features {
    /// Returns the modality, if it is known.
    pub fn modality(&self) -> Option<Modality> {
        match self {
            Self::Store(store) => Some(store.modality()),
            Self::Several(parts) => parts.modality(),
            Self::File(_) | Self::Memory(_) => None,
        }
    }

    /// Returns the dtype of the stored values, the widest one of several sources.
    pub fn dtype(&self) -> StoreDtype {
        match self {
            Self::Store(store) => store.dtype(),
            Self::File(file) => file.dtype(),
            Self::Memory(_) => StoreDtype::F32,
            Self::Several(several) => {
                let dtypes = || several.parts().iter().map(Self::dtype);
                let first = dtypes().next().unwrap_or(StoreDtype::F32);
                // Different ones have no common dtype but F32.
                if dtypes().all(|dtype| dtype == first) { first } else { StoreDtype::F32 }
            }
        }
    }

    /// Reads sorted rows into their output slices.
    pub(crate) fn scatter(&self, wanted: &mut [Wanted]) -> Result<(), FeatureError> {
        match self {
            Self::Store(source) => source.scatter(wanted),
            Self::File(source) => source.scatter(wanted),
            Self::Several(source) => source.scatter(wanted),
            Self::Memory(source) => {
                source.scatter(wanted);
                Ok(())
            }
        }
    }

    fn source(&self) -> &dyn FeatureSource {
        match self {
            Self::Store(source) => source,
            Self::File(source) => source,
            Self::Memory(source) => source,
            Self::Several(source) => source,
        }
    }
}

impl FeatureSource for Features {
    fn rows(&self) -> usize {
        self.source().rows()
    }

    fn part_rows(&self) -> Vec<usize> {
        self.source().part_rows()
    }

    fn dim(&self) -> usize {
        self.source().dim()
    }

    fn key(&self, row: usize) -> Cow<'_, str> {
        self.source().key(row)
    }

    fn keys(&self, rows: &[usize]) -> Result<Vec<String>, FeatureError> {
        self.source().keys(rows)
    }

    fn positional(&self) -> bool {
        self.source().positional()
    }

    fn provenance(&self) -> Option<&Provenance> {
        self.source().provenance()
    }

    fn gather(&self, rows: &[usize], out: &mut [f32]) -> Result<(), FeatureError> {
        self.source().gather(rows, out)
    }
}

/// The concatenation of the rows of several sources.
///
/// The sources must have the same dimension and modality and compatible provenances. Rows pair by key or, if no source has
/// keys, by position in the concatenation. Unique keys are checked by [`Pairs`](crate::Pairs).
///
/// # Examples
/// ```
/// use sail_core::FeatureSource;
/// use sail_data::{ConcatFeatures, Features, MatrixFeatures};
/// let first = MatrixFeatures::new(1, vec![1.0, 2.0])?.with_keys(["a", "b"])?;
/// let second = MatrixFeatures::new(1, vec![3.0])?.with_keys(["c"])?;
/// let parts = [("first", first), ("second", second)];
/// let parts = parts.map(|(name, part)| (name.to_owned(), Features::Memory(part)));
/// let features = ConcatFeatures::new(parts.into())?;
/// let mut rows = [0.0; 2];
/// features.gather(&[2, 0], &mut rows)?;
/// assert_eq!((features.rows(), features.key(2).as_ref(), rows), (3, "c", [3.0, 1.0]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ConcatFeatures {
    parts: Vec<Features>,
    /// The first row of each part.
    starts: Vec<usize>,
    rows: usize,
}

impl ConcatFeatures {
    /// Concatenates sources, each with its name for errors.
    ///
    /// # Errors
    /// [`DataError::Parts`] if the sources are incompatible, [`DataError::Empty`] if there are none.
    pub fn new(parts: Vec<(String, Features)>) -> Result<Self, DataError> {
        if parts.is_empty() {
            return Err(DataError::Empty);
        }
        for (index, (name, part)) in parts.iter().enumerate() {
            // With all earlier sources, since a source without provenance is compatible with any.
            for (first, earlier) in &parts[..index] {
                let found = kind_difference(earlier, part).or_else(|| difference(earlier, part));
                if let Some((field, found, expected)) = found {
                    let (name, expected) = (name.clone(), format!("{expected} as in {first}"));
                    return Err(DataError::Parts { name, field, found, expected });
                }
            }
        }
        let (mut starts, mut rows) = (Vec::with_capacity(parts.len()), 0);
        for (_, part) in &parts {
            starts.push(rows);
            rows += part.rows();
        }
        Ok(Self { parts: parts.into_iter().map(|(_, part)| part).collect(), starts, rows })
    }

    /// Returns the first row of each source.
    pub(crate) fn starts(&self) -> &[usize] {
        &self.starts
    }

    /// Returns the sources.
    pub fn parts(&self) -> &[Features] {
        &self.parts
    }

    /// Returns the modality, if one of the sources has it.
    pub fn modality(&self) -> Option<Modality> {
        self.parts.iter().find_map(Features::modality)
    }

    /// Reads sorted rows into their output slices.
    pub(crate) fn scatter(&self, wanted: &mut [Wanted]) -> Result<(), FeatureError> {
        cut(wanted, &self.starts).into_iter().try_for_each(|(part, wanted)| self.parts[part].scatter(wanted))
    }
}

impl FeatureSource for ConcatFeatures {
    fn rows(&self) -> usize {
        self.rows
    }

    fn part_rows(&self) -> Vec<usize> {
        self.parts.iter().map(Features::rows).collect()
    }

    fn dim(&self) -> usize {
        self.parts.first().map_or(0, Features::dim)
    }

    fn key(&self, row: usize) -> Cow<'_, str> {
        if self.positional() {
            return row.to_string().into();
        }
        let part = self.starts.partition_point(|&start| start <= row) - 1;
        self.parts[part].key(row - self.starts[part])
    }

    fn keys(&self, rows: &[usize]) -> Result<Vec<String>, FeatureError> {
        if self.positional() {
            return Ok(rows.iter().map(usize::to_string).collect());
        }
        let mut keys = vec![String::new(); rows.len()];
        let mut wanted: Vec<(usize, &mut String)> = rows.iter().copied().zip(&mut keys).collect();
        wanted.sort_unstable_by_key(|&(row, _)| row);
        for (part, wanted) in cut(&mut wanted, &self.starts) {
            let rows: Vec<usize> = wanted.iter().map(|(row, _)| *row).collect();
            for ((_, out), key) in wanted.iter_mut().zip(self.parts[part].keys(&rows)?) {
                **out = key;
            }
        }
        Ok(keys)
    }

    fn positional(&self) -> bool {
        self.parts.iter().all(Features::positional)
    }

    /// The provenance of the first source that has one.
    fn provenance(&self) -> Option<&Provenance> {
        self.parts.iter().find_map(Features::provenance)
    }

    fn gather(&self, rows: &[usize], out: &mut [f32]) -> Result<(), FeatureError> {
        self.scatter(&mut sorted(self.rows, self.dim(), rows, out)?)
    }
}

/// Returns the first difference in modality or pairing of two sources.
fn kind_difference(first: &Features, other: &Features) -> Option<Difference> {
    if let (Some(found), Some(expected)) = (other.modality(), first.modality())
        && found != expected
    {
        return Some(("modality", found.to_string(), expected.to_string()));
    }
    let by = |features: &Features| if features.positional() { "by position" } else { "by key" }.to_owned();
    (first.positional() != other.positional()).then(|| ("pairing", by(other), by(first)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MatrixFeatures;

    fn matrix(first: f32, rows: usize) -> MatrixFeatures {
        MatrixFeatures::new(1, (0..rows).map(|row| first + row as f32).collect()).unwrap()
    }

    fn concat(parts: Vec<MatrixFeatures>) -> Result<ConcatFeatures, DataError> {
        let named = (1..).zip(parts).map(|(number, part)| (format!("p{number}"), Features::Memory(part)));
        ConcatFeatures::new(named.collect())
    }

    #[test]
    fn concatenates_rows_and_keys() {
        let parts = vec![
            matrix(0.0, 2).with_keys(["a", "b"]).unwrap(),
            matrix(10.0, 1).with_keys(["c"]).unwrap(),
            matrix(20.0, 3).with_keys(["d", "e", "f"]).unwrap(),
        ];
        let all = concat(parts).unwrap();
        let rows = [5, 0, 2, 5, 3, 1];
        let mut out = [0.0; 6];
        all.gather(&rows, &mut out).unwrap();
        assert_eq!(out, [22.0, 0.0, 10.0, 22.0, 20.0, 1.0]);
        assert_eq!(all.keys(&rows).unwrap(), ["f", "a", "c", "f", "d", "b"]);
        assert_eq!(rows.map(|row| all.key(row).into_owned()), ["f", "a", "c", "f", "d", "b"]);
        assert!(matches!(all.gather(&[6], &mut [0.0]), Err(FeatureError::OutOfRange { row: 6, rows: 6 })));
        assert!(matches!(concat(vec![]), Err(DataError::Empty)));
    }

    #[test]
    fn sources_without_keys_pair_by_position() {
        let all = concat(vec![matrix(0.0, 2), matrix(10.0, 2)]).unwrap();
        assert!(all.positional());
        assert_eq!((all.keys(&[3, 0]).unwrap(), all.key(2).as_ref()), (vec!["3".into(), "0".into()], "2"));
    }

    #[test]
    fn rejects_incompatible_sources() {
        let keyed = || matrix(0.0, 1).with_keys(["k"]).unwrap();
        let of = |revision: Option<&str>| {
            let revision = revision.map(str::to_owned);
            keyed().with_provenance(Provenance { revision, ..Provenance::new("m") })
        };
        let wide = MatrixFeatures::new(2, vec![1.0; 2]).unwrap().with_keys(["w"]).unwrap();
        let cases = [
            (vec![keyed(), wide], "p2 has the dimension 2, expected 1 as in p1"),
            (vec![keyed(), matrix(0.0, 1)], "p2 has the pairing by position, expected by key as in p1"),
            // The second has no revision, so it is compatible with both others.
            (vec![of(Some("1")), of(None), of(Some("2"))], "p3 has the revision m@2, expected m@1 as in p1"),
        ];
        for (parts, message) in cases {
            let error = concat(parts).unwrap_err();
            assert!(error.to_string().starts_with(message), "{error}");
        }
    }
}
