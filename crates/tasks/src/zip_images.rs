//! Images in zip archives.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sail_data::DataError;
use sail_data::source::{ImageData, Record, RecordSource, Records, SourceOptions};
use sail_support::catch_panic;
use zip::ZipArchive;
use zip::result::ZipError;

type Archive = ZipArchive<BufReader<File>>;

/// Members of an archive by name, in `folder` or at the root of the archive. Names never refer to files on disk.
#[derive(Debug, Clone)]
pub(crate) struct ZipImages {
    path: PathBuf,
    folder: &'static str,
    names: Arc<Vec<String>>,
}

impl ZipImages {
    /// Opens an archive.
    pub(crate) fn new(path: PathBuf, folder: &'static str, names: Vec<String>) -> Result<Self, DataError> {
        open(&path)?;
        Ok(Self { path, folder, names: Arc::new(names) })
    }
}

impl RecordSource<ImageData> for ZipImages {
    fn count(&self) -> Result<u64, DataError> {
        Ok(self.names.len() as u64)
    }

    fn records(&self, range: Range<u64>) -> Result<Records<ImageData>, DataError> {
        let Self { folder, names, .. } = self.clone();
        let mut archive = open(&self.path)?;
        let end = usize::try_from(range.end).unwrap_or(usize::MAX).min(names.len());
        let start = usize::try_from(range.start).unwrap_or(usize::MAX).min(end);
        Ok(Box::new((start..end).map(move |position| {
            let key = names[position].clone();
            let value = read(&mut archive, folder, &key, SourceOptions::default().max_image_bytes);
            Ok(Record { key, value: value.map(ImageData::Bytes) })
        })))
    }
}

fn open(path: &Path) -> Result<Archive, DataError> {
    let io = |source| DataError::Io { path: path.to_owned(), source };
    let file = BufReader::new(File::open(path).map_err(io)?);
    // Parsing the central directory of a malicious archive can overflow.
    catch_panic(|| ZipArchive::new(file))
        .unwrap_or(Err(ZipError::InvalidArchive("invalid central directory".into())))
        .map_err(|error| io(error.into()))
}

/// Reads a member of at most `limit` bytes, which its header may misstate.
fn read(archive: &mut Archive, folder: &str, name: &str, limit: u64) -> Result<Vec<u8>, String> {
    let inside = format!("{folder}/{name}");
    let index = archive.index_for_name(&inside).or_else(|| archive.index_for_name(name));
    let index = index.ok_or_else(|| format!("the archive has no member `{inside}`"))?;
    let unreadable = |error: io::Error| format!("the member `{inside}` cannot be read: {error}");
    let member = archive.by_index(index).map_err(|error| unreadable(error.into()))?;
    let mut bytes = Vec::new();
    member.take(limit + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    match bytes.len() as u64 <= limit {
        true => Ok(bytes),
        false => Err(format!("the member `{inside}` is too large, expected at most {limit} bytes")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    #[test]
    fn members_are_read_up_to_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("images.zip");
        let mut writer = ZipWriter::new(File::create(&path).unwrap());
        // A thousand times larger than its compressed data.
        for (name, bytes) in [("images/a.png", b"image".to_vec()), ("b.png", vec![0; 1 << 20])] {
            writer.start_file(name, SimpleFileOptions::default()).unwrap();
            writer.write_all(&bytes).unwrap();
        }
        writer.finish().unwrap();
        let mut archive = open(&path).unwrap();
        let mut read = |name| read(&mut archive, "images", name, 1000);
        assert_eq!(read("a.png").unwrap(), b"image");
        assert!(read("b.png").unwrap_err().contains("at most 1000 bytes"));
        assert!(read("c.png").unwrap_err().contains("no member `images/c.png`"));

        let names = vec!["c.png".to_owned(), "a.png".to_owned()];
        let images = ZipImages::new(path.clone(), "images", names).unwrap();
        let records: Vec<_> = images.records(1..9).unwrap().map(Result::unwrap).collect();
        assert_eq!(
            records,
            [Record { key: "a.png".to_owned(), value: Ok(ImageData::Bytes(b"image".to_vec())) }]
        );
        // A truncated archive, and another file.
        let bytes = std::fs::read(&path).unwrap();
        for bytes in [&bytes[..bytes.len() / 2], b"not a zip archive"] {
            std::fs::write(&path, bytes).unwrap();
            assert!(matches!(open(&path), Err(DataError::Io { .. })));
        }
    }
}
