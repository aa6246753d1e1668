//! The hash of a file while it is written.

use std::io::{self, Write};

use sail_support::hex;
use sha2::{Digest, Sha256};

/// Hashes and counts the bytes that are written.
pub(crate) struct Hashing<'a> {
    out: &'a mut dyn Write,
    hash: Sha256,
    bytes: u64,
}

impl<'a> Hashing<'a> {
    pub(crate) fn new(out: &'a mut dyn Write) -> Self {
        Self { out, hash: Sha256::new(), bytes: 0 }
    }

    /// Returns the number of bytes and their SHA-256 in hexadecimal digits.
    pub(crate) fn finish(self) -> (u64, String) {
        (self.bytes, hex(&self.hash.finalize()))
    }
}

impl Write for Hashing<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.out.write(buffer)?;
        self.hash.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
