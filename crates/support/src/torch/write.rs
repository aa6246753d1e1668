//! Writes files that `torch.load` reads, also with `weights_only=True`.

use std::io::{Cursor, Error, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// A tensor of `float32`.
pub struct Floats<'a> {
    /// The name.
    pub name: &'a str,
    /// The shape.
    pub shape: Vec<usize>,
    /// The little-endian values in the order of the rows.
    pub bytes: &'a [u8],
}

/// Returns a file with a dictionary of tensors, as `torch.save` of PyTorch 1.6 and later writes it. Equal tensors give equal
/// bytes.
///
/// # Errors
/// An I/O error if the archive cannot be written.
///
/// # Examples
/// ```
/// use sail_support::torch::{Floats, save};
/// let bytes = 1.5_f32.to_le_bytes();
/// let file = save(&[Floats { name: "bias", shape: vec![1], bytes: &bytes }])?;
/// assert!(file.starts_with(b"PK"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn save(tensors: &[Floats<'_>]) -> Result<Vec<u8>, Error> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let mut add = |name: &str, bytes: &[u8]| {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .large_file(bytes.len() as u64 > u64::from(u32::MAX));
        archive.start_file(format!("archive/{name}"), options)?;
        archive.write_all(bytes)
    };
    add("data.pkl", &dictionary(tensors))?;
    add("byteorder", b"little")?;
    for (index, tensor) in tensors.iter().enumerate() {
        add(&format!("data/{index}"), tensor.bytes)?;
    }
    add("version", b"3\n")?;
    Ok(archive.finish()?.into_inner())
}

/// The pickle of an `OrderedDict`; the values of tensor `n` are the storage `n`.
fn dictionary(tensors: &[Floats<'_>]) -> Vec<u8> {
    let mut pickle = b"\x80\x02ccollections\nOrderedDict\n)R(".to_vec();
    for (index, tensor) in tensors.iter().enumerate() {
        text(&mut pickle, tensor.name);
        pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut pickle, "storage");
        pickle.extend(b"ctorch\nFloatStorage\n");
        text(&mut pickle, &index.to_string());
        text(&mut pickle, "cpu");
        number(&mut pickle, tensor.shape.iter().product());
        // The persistent id of the storage, then the offset into it.
        pickle.extend(b"tQK\x00");
        numbers(&mut pickle, &tensor.shape);
        numbers(&mut pickle, &strides(&tensor.shape));
        // `requires_grad` and the hooks.
        pickle.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    pickle.extend(b"u.");
    pickle
}

/// The strides of a contiguous tensor.
fn strides(shape: &[usize]) -> Vec<usize> {
    (1..=shape.len()).map(|next| shape.iter().skip(next).product()).collect()
}

fn text(pickle: &mut Vec<u8>, text: &str) {
    pickle.push(b'X');
    pickle.extend((text.len() as u32).to_le_bytes());
    pickle.extend(text.as_bytes());
}

fn number(pickle: &mut Vec<u8>, number: usize) {
    if let Ok(number) = i32::try_from(number) {
        pickle.push(b'J');
        pickle.extend(number.to_le_bytes());
    } else {
        pickle.extend(b"\x8a\x08");
        pickle.extend((number as u64).to_le_bytes());
    }
}

fn numbers(pickle: &mut Vec<u8>, values: &[usize]) {
    pickle.push(b'(');
    values.iter().for_each(|value| number(pickle, *value));
    pickle.push(b't');
}

#[cfg(test)]
mod tests {
    use burn_store::bridge;

    use super::*;

    #[test]
    fn written_tensors_are_read_back() {
        let values = [1.5_f32, -2.0, 0.25, f32::MAX, 0.0, 7.0].map(f32::to_le_bytes).concat();
        let tensors = [
            Floats { name: "a.weight", shape: vec![2, 3], bytes: &values },
            Floats { name: "a.bias", shape: vec![2], bytes: &values[8..16] },
            Floats { name: "scale", shape: vec![], bytes: &values[..4] },
        ];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pt");
        let file = save(&tensors).unwrap();
        assert_eq!(file, save(&tensors).unwrap());
        std::fs::write(&path, file).unwrap();
        let mut read = super::super::open(&path).unwrap();
        read.sort_by(|a, b| a.name.cmp(&b.name));
        let expected = [(&tensors[1]), &tensors[0], &tensors[2]];
        assert_eq!(read.len(), expected.len());
        for (read, expected) in read.iter().zip(expected) {
            assert_eq!((read.name.as_str(), read.shape.to_vec()), (expected.name, expected.shape.clone()));
            assert_eq!(bridge::to_data(read).unwrap().as_bytes(), expected.bytes);
        }
    }

    #[test]
    fn large_numbers_are_not_cut() {
        let written = |value| {
            let mut pickle = Vec::new();
            number(&mut pickle, value);
            pickle
        };
        assert_eq!(written(7), b"J\x07\0\0\0");
        assert_eq!(written(1 << 31), b"\x8a\x08\0\0\0\x80\0\0\0\0");
        assert_eq!(strides(&[2, 3, 4]), [12, 4, 1]);
    }
}
