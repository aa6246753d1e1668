//! The hybrid of run-length encoding and bit-packing, used for levels.
//!
//! See "Run Length Encoding / Bit-Packing Hybrid" in <https://parquet.apache.org/docs/file-format/data-pages/encodings/>.

use std::ops::Range;

use super::thrift::varint;

/// Reads from a part of a page, which is passed for every value.
#[derive(Debug, Clone)]
pub(super) struct Hybrid {
    /// The remaining bytes.
    span: Range<usize>,
    width: u32,
    run: Run,
}

#[derive(Debug, Clone, Copy)]
enum Run {
    Repeated {
        value: u32,
        left: u64,
    },
    /// `bits` are read from the run but not used yet; `held` is their number.
    Packed {
        left: u64,
        bits: u64,
        held: u32,
    },
}

impl Hybrid {
    /// Creates a reader of values of `width` bits. Returns `None` for more than 32.
    pub(super) fn new(span: Range<usize>, width: u32) -> Option<Self> {
        (width <= 32).then_some(Self { span, width, run: Run::Repeated { value: 0, left: 0 } })
    }

    /// Returns the next value, or `None` if the bytes are truncated.
    pub(super) fn next(&mut self, page: &[u8]) -> Option<u32> {
        loop {
            match &mut self.run {
                Run::Repeated { value, left } if *left > 0 => {
                    *left -= 1;
                    return Some(*value);
                }
                Run::Packed { left, bits, held } if *left > 0 => {
                    while *held < self.width {
                        *bits |= u64::from(*page.get(self.span.clone())?.first()?) << *held;
                        self.span.start += 1;
                        *held += 8;
                    }
                    let value = *bits & ((1 << self.width) - 1);
                    *bits >>= self.width;
                    *held -= self.width;
                    *left -= 1;
                    return Some(value as u32);
                }
                _ => self.run = self.next_run(page)?,
            }
        }
    }

    /// Counts a value among the next `left`, without reading them. Returns `None` if the bytes are truncated.
    pub(super) fn count(&self, page: &[u8], value: u32, mut left: u64) -> Option<u64> {
        let mut levels = self.clone();
        let mut found = 0;
        while left > 0 {
            let (next, length) = match &mut levels.run {
                // Runs can be longer than any page.
                Run::Repeated { value, left: length } if *length > 0 => (*value, std::mem::take(length)),
                _ => (levels.next(page)?, 1),
            };
            let length = length.min(left);
            left -= length;
            found += if next == value { length } else { 0 };
        }
        Some(found)
    }

    fn next_run(&mut self, page: &[u8]) -> Option<Run> {
        let mut bytes = page.get(self.span.clone())?;
        let head = varint(&mut bytes)?;
        self.span.start = self.span.end - bytes.len();
        if head & 1 == 1 {
            return Some(Run::Packed { left: (head >> 1).checked_mul(8)?, bits: 0, held: 0 });
        }
        let (value, _) = bytes.split_at_checked(self.width.div_ceil(8) as usize)?;
        self.span.start += value.len();
        let value = value.iter().rev().fold(0, |sum, &byte| sum << 8 | u32::from(byte));
        Some(Run::Repeated { value, left: head >> 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8], width: u32, count: usize) -> Option<Vec<u32>> {
        let mut hybrid = Hybrid::new(0..bytes.len(), width)?;
        (0..count).map(|_| hybrid.next(bytes)).collect()
    }

    #[test]
    fn reads_both_kinds_of_runs() {
        // The example of the specification: 0 to 7 in three bits each.
        assert_eq!(all(&[3, 0b1000_1000, 0b1100_0110, 0b1111_1010], 3, 8).unwrap(), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(all(&[8, 5, 3, 0, 0, 0], 3, 12).unwrap(), [5, 5, 5, 5, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(all(&[4, 0x34, 0x12], 13, 2).unwrap(), [0x1234, 0x1234]);
        assert_eq!(all(&[6], 0, 3).unwrap(), [0, 0, 0]);
        assert_eq!(all(&[&[3u8][..], &[0xff; 32]].concat(), 32, 8).unwrap(), [u32::MAX; 8]);
    }

    #[test]
    fn counts_values_without_reading_them() {
        // A run of 2^40 ones, then zeros and ones in turn.
        let bytes = [&[0x80, 0x80, 0x80, 0x80, 0x80, 0x40, 1][..], &[3, 0b1010_1010]].concat();
        let levels = Hybrid::new(0..bytes.len(), 1).unwrap();
        assert_eq!(levels.count(&bytes, 1, (1 << 40) + 6), Some((1 << 40) + 3));
        assert_eq!(levels.count(&bytes, 0, (1 << 40) + 6), Some(3));
        assert_eq!(levels.count(&bytes, 0, (1 << 40) + 9), None);
    }

    #[test]
    fn rejects_truncated_runs() {
        assert_eq!(all(&[3, 0b1000_1000], 3, 8), None);
        assert_eq!(Hybrid::new(0..2, 3).unwrap().count(&[3, 0b1000_1000], 0, 8), None);
        assert_eq!(all(&[8], 3, 1), None);
        assert_eq!(all(&[8, 5], 3, 5), None);
        assert_eq!(all(&[], 0, 1), None);
        assert!(Hybrid::new(0..0, 33).is_none());
    }
}
