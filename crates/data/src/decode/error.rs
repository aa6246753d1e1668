//! Errors of image decoding.

/// An image that cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// There are no bytes.
    #[error("the image is empty: download or write the file again")]
    Empty,
    /// The file is longer than the limit.
    #[error("the image has {found} bytes, expected at most {limit}: increase `max_bytes` if it is trusted")]
    TooManyBytes {
        /// Length in bytes.
        found: u64,
        /// [`DecodeLimits::max_bytes`](crate::DecodeLimits::max_bytes).
        limit: u64,
    },
    /// The content is of no supported format.
    #[error(
        "not an image: expected jpeg, png, webp, gif, bmp, tiff, pnm, ico or tga content, independent of the file name"
    )]
    UnknownFormat,
    /// The content is of a known format that is not supported.
    #[error("the file is {found}, which is not supported: convert it to png or jpeg")]
    OtherFormat {
        /// The format, with its article.
        found: &'static str,
    },
    /// A tool or a server left something else in the place of the image.
    #[error("the file is {found}")]
    StandIn {
        /// What it is, and the remedy.
        found: String,
    },
    /// The header states more pixels than the limit.
    #[error(
        "the image is {width} x {height} pixels, expected at most {limit}: increase `max_pixels` if it is trusted"
    )]
    TooManyPixels {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// [`DecodeLimits::max_pixels`](crate::DecodeLimits::max_pixels).
        limit: u64,
    },
    /// The image has no pixels.
    #[error("the {format} image is {width} x {height} pixels, expected at least 1 x 1")]
    NoPixels {
        /// The format.
        format: &'static str,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// The data is truncated, as far as the decoder can distinguish that from other corruption.
    #[error("the {format} image is truncated: download or write the file again")]
    Truncated {
        /// The format.
        format: &'static str,
    },
    /// The data is corrupt.
    #[error("the {format} image is corrupt ({reason}): download or write the file again")]
    Damaged {
        /// The format.
        format: &'static str,
        /// The message of the decoder.
        reason: String,
    },
    /// The variant of the format is unsupported.
    #[error("unsupported {format} image ({reason}): convert it to a plain png or jpeg")]
    Unsupported {
        /// The format.
        format: &'static str,
        /// The message of the decoder.
        reason: String,
    },
    /// Metadata or buffers would take more memory than an image of this size needs.
    #[error("the {format} image needs more memory than its size justifies: save it again without metadata")]
    Memory {
        /// The format.
        format: &'static str,
    },
    /// The decoder panicked.
    #[error("the {format} decoder panicked ({reason}): save the image again with another program")]
    Panicked {
        /// The format.
        format: &'static str,
        /// The message of the panic.
        reason: String,
    },
}
