//! Why bytes do not become an image.

/// Bytes that do not become an image. None of them is ever replaced by a made-up one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Nothing at all.
    #[error("the image has no bytes: fetch or write the file again")]
    Empty,
    /// More bytes than the limits allow.
    #[error("the image has {found} bytes, at most {limit} are allowed: raise `max_bytes` if it is trusted")]
    TooManyBytes {
        /// Bytes given.
        found: u64,
        /// [`DecodeLimits::max_bytes`](crate::DecodeLimits::max_bytes).
        limit: u64,
    },
    /// Content that begins like none of the formats.
    #[error("not an image: expected jpeg, png, webp, gif, bmp or tiff content, whatever the file's name")]
    UnknownFormat,
    /// More pixels than the limits allow, by the image's header.
    #[error(
        "the image is {width} x {height} pixels, at most {limit} pixels are allowed: raise `max_pixels` if it is trusted"
    )]
    TooManyPixels {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
        /// [`DecodeLimits::max_pixels`](crate::DecodeLimits::max_pixels).
        limit: u64,
    },
    /// An image without pixels.
    #[error("the {format} image is {width} x {height} pixels, expected at least one")]
    NoPixels {
        /// The format.
        format: &'static str,
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// The data ends before the image does, as far as the decoder can tell that from other damage.
    #[error("the {format} image is truncated: its data ends before it does; fetch or write the file again")]
    Truncated {
        /// The format.
        format: &'static str,
    },
    /// The data contradicts the format.
    #[error("the {format} image is damaged ({reason}): fetch or write the file again")]
    Damaged {
        /// The format.
        format: &'static str,
        /// What the decoder said.
        reason: String,
    },
    /// A variant of the format that is not read.
    #[error("the {format} image cannot be read ({reason}): save it again as a plain png or jpeg")]
    Unsupported {
        /// The format.
        format: &'static str,
        /// What the decoder said.
        reason: String,
    },
    /// Metadata or buffers that an image of this size has no use for.
    #[error("the {format} image asks for more memory than its size warrants: save it again without metadata")]
    Memory {
        /// The format.
        format: &'static str,
    },
    /// The decoder stopped with a panic, which was contained.
    #[error("the {format} image breaks its decoder ({reason}): save it again with another program")]
    Panicked {
        /// The format.
        format: &'static str,
        /// The panic's message.
        reason: String,
    },
}
