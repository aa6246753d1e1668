//! Decompression of pages to a known size.

use std::fmt::Display;
use std::io::Read;

use sail_support::catch_panic;

/// The magic number of LZ4 frames.
const LZ4_FRAME: &[u8] = &0x184d_2204_u32.to_le_bytes();

/// Decompresses to `size` bytes. The memory is bounded by `size`, whatever the input decompresses to.
pub(super) fn decompress(codec: i64, input: &[u8], size: usize) -> Result<Vec<u8>, String> {
    let output = catch_panic(|| match codec {
        1 => {
            let stated = snap::raw::decompress_len(input).map_err(corrupt)?;
            if stated != size {
                return Err(unexpected(stated, size));
            }
            snap::raw::Decoder::new().decompress_vec(input).map_err(corrupt)
        }
        2 => read(flate2::read::MultiGzDecoder::new(input), size),
        // An extension of Brotli with windows of a gigabyte, which Parquet does not use.
        4 if input.first().is_some_and(|first| first & 0x7f == 0x11) => {
            Err(corrupt("its window is too large"))
        }
        4 => read(brotli_decompressor::Decompressor::new(input, 4096), size),
        5 if input.starts_with(LZ4_FRAME) => read(lz4_flex::frame::FrameDecoder::new(input), size),
        5 => hadoop_lz4(input, size).or_else(|_| lz4(input, size)),
        6 => zstd::bulk::decompress(input, size).map_err(corrupt),
        7 => lz4(input, size),
        codec => {
            let name = if codec == 3 { "LZO".to_owned() } else { format!("{codec}") };
            Err(format!("unsupported compression {name}: write the file with Zstandard or Snappy"))
        }
    });
    let output = output.unwrap_or_else(|panic| Err(corrupt(panic)))?;
    if output.len() != size {
        return Err(unexpected(output.len(), size));
    }
    Ok(output)
}

fn corrupt(error: impl Display) -> String {
    format!("a page cannot be decompressed: {error}")
}

fn unexpected(found: usize, expected: usize) -> String {
    format!("a page has {found} bytes decompressed, expected {expected}")
}

/// Reads to the end, which must be after at most `size` bytes.
fn read(mut input: impl Read, size: usize) -> Result<Vec<u8>, String> {
    let mut output = Vec::new();
    input.by_ref().take(size as u64).read_to_end(&mut output).map_err(corrupt)?;
    if input.read(&mut [0]).map_err(corrupt)? > 0 {
        return Err(format!("a page has more than {size} bytes decompressed"));
    }
    Ok(output)
}

/// Decompresses a block of LZ4.
fn lz4(input: &[u8], size: usize) -> Result<Vec<u8>, String> {
    // A byte of a block stands for at most 255 bytes, so an allocation beyond is not warranted.
    if size / 255 > input.len() {
        return Err(corrupt("the block is too short"));
    }
    lz4_flex::block::decompress(input, size).map_err(corrupt)
}

/// Decompresses the blocks of Hadoop, each after its two sizes.
fn hadoop_lz4(mut input: &[u8], size: usize) -> Result<Vec<u8>, String> {
    let early = || corrupt("a block is truncated");
    let mut output = Vec::new();
    while let Some((sizes, rest)) = input.split_first_chunk::<8>() {
        let [block_size, compressed] =
            [[sizes[0], sizes[1], sizes[2], sizes[3]], [sizes[4], sizes[5], sizes[6], sizes[7]]]
                .map(|size| u32::from_be_bytes(size) as usize);
        let (block, rest) = rest.split_at_checked(compressed).ok_or_else(early)?;
        if block_size > size - output.len() {
            return Err(unexpected(block_size, size - output.len()));
        }
        output.extend(lz4(block, block_size)?);
        input = rest;
    }
    if input.is_empty() && output.len() == size { Ok(output) } else { Err(early()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_three_layouts_of_lz4() {
        let text = b"a cat, a cat, a cat, a cat, a cat, a cat";
        let block = lz4_flex::block::compress(text);
        let frame = {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            std::io::Write::write_all(&mut encoder, text).unwrap();
            encoder.finish().unwrap()
        };
        let sizes = |size: usize, block: &[u8]| {
            [&(size as u32).to_be_bytes()[..], &(block.len() as u32).to_be_bytes(), block].concat()
        };
        let (first, second) = text.split_at(15);
        let hadoop = [first, second].map(|part| sizes(part.len(), &lz4_flex::block::compress(part))).concat();
        for input in [block, frame, hadoop] {
            assert_eq!(decompress(5, &input, text.len()).unwrap(), text);
            assert!(decompress(5, &input, text.len() - 1).is_err());
            assert!(decompress(5, &input, text.len() + 1).is_err());
            assert!(decompress(5, &input, 1 << 29).is_err());
        }
    }
}
