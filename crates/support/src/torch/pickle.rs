//! Finds the end of a pickle without interpreting it.

use std::ops::ControlFlow;

/// Splits a buffer after the first pickle. Returns `None` if the pickle is incomplete or has an unknown opcode.
///
/// The opcodes are those of <https://docs.python.org/3/library/pickletools.html>, protocols 0 to 5.
pub(super) fn split_first(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = bytes;
    loop {
        match skip_opcode(rest)? {
            ControlFlow::Continue(after) => rest = after,
            ControlFlow::Break(after) => return bytes.split_at_checked(bytes.len() - after.len()),
        }
    }
}

/// Skips an opcode with its argument; breaks after `STOP`.
fn skip_opcode(bytes: &[u8]) -> Option<ControlFlow<&[u8], &[u8]>> {
    let (&opcode, rest) = bytes.split_first()?;
    let after = match opcode {
        b'.' => return Some(ControlFlow::Break(rest)),
        b'(' | b'0' | b'1' | b'2' | b'N' | b'Q' | b'R' | b'a' | b'b' | b'd' | b'e' | b'l' | b's' | b't'
        | b'u' => rest,
        b')' | b']' | b'}' | 0x81 | 0x85..=0x89 | 0x8f..=0x94 | 0x97 | 0x98 => rest,
        b'K' | b'h' | b'q' | 0x80 | 0x82 => rest.get(1..)?,
        b'M' | 0x83 => rest.get(2..)?,
        b'J' | b'j' | b'r' | 0x84 => rest.get(4..)?,
        b'G' | 0x95 => rest.get(8..)?,
        b'F' | b'I' | b'L' | b'P' | b'V' | b'g' | b'p' => skip_line(rest)?,
        b'c' => skip_line(skip_line(rest)?)?,
        b'C' | b'U' | 0x8a | 0x8c => skip_counted::<1>(rest)?,
        b'B' | b'T' | b'X' | 0x8b => skip_counted::<4>(rest)?,
        0x8d | 0x8e | 0x96 => skip_counted::<8>(rest)?,
        _ => return None,
    };
    Some(ControlFlow::Continue(after))
}

fn skip_line(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    bytes.get(end + 1..)
}

/// Skips a little-endian length of `N` bytes and that number of bytes.
fn skip_counted<const N: usize>(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<N>()?;
    let length = length.iter().rev().fold(0_u64, |length, byte| length << 8 | u64::from(*byte));
    rest.get(usize::try_from(length).ok()?..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn skips_arguments_of_opcodes() {
        for pickle in [
            b"\x80\x02}q\x00(X\x02\x00\x00\x00a.K\x05u.".as_slice(), // a full stop inside a string
            b"cos.\nsystem.\n)R.",
            b"\x8a\x0a..........K.M..J....G........\x8c\x01.C\x01.U\x01.B\x01\0\0\0..",
            b"\x80\x04\x95\x2e\0\0\0\0\0\0\0\x8d\x01\0\0\0\0\0\0\0.\x94.",
            b"I1\nL2L\nF.5\nV.\np0\ng0\nP.\nc.\n.\n.",
        ] {
            let mut bytes = pickle.to_vec();
            bytes.extend(b"tail.");
            assert_eq!(split_first(&bytes), Some((pickle, b"tail.".as_slice())));
        }
    }

    #[test]
    fn rejects_incomplete_pickles() {
        for bytes in [
            b"".as_slice(),
            b"N",
            b"X\xff\xff\xff\xff.",
            b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff.",
            b"cos\nsystem",
            b"K",
            b"\xff.",
            b"I1",
        ] {
            assert_eq!(split_first(bytes), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn splits_any_bytes_without_loss(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some((first, rest)) = split_first(&bytes) {
                prop_assert!(first.ends_with(b"."));
                prop_assert_eq!([first, rest].concat(), bytes);
            }
        }
    }
}
