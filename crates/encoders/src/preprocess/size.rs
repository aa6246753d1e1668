//! The size to which images are resized.

use std::fmt::{self, Display};

use sail_core::{ConfigError, ensure};
use serde::{Deserialize, Serialize};

/// The size to which images are resized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// A fixed size, regardless of the aspect ratio.
    Exact {
        /// Height in pixels.
        height: usize,
        /// Width in pixels.
        width: usize,
    },
    /// The length of the shortest edge; the longest edge is `length * longest / shortest`, rounded down.
    ShortestEdge(usize),
    /// As [`ShortestEdge`](Self::ShortestEdge), but smaller if the longest edge would exceed a limit.
    ShortestEdgeWithin {
        /// Length of the shortest edge.
        shortest: usize,
        /// Maximum length of the longest edge.
        longest: usize,
    },
    /// The smallest size of the same aspect ratio that is at least as high and as wide, rounded to nearest.
    Cover {
        /// Height in pixels.
        height: usize,
        /// Width in pixels.
        width: usize,
    },
    /// The largest size of the same aspect ratio that is at most as high and as wide, rounded to nearest.
    Contain {
        /// Height in pixels.
        height: usize,
        /// Width in pixels.
        width: usize,
    },
    /// As many square patches as fit within a number, with about the same aspect ratio (SigLIP 2 NaFlex, arXiv 2502.14786).
    Patches {
        /// Side of a patch in pixels.
        side: usize,
        /// Maximum number of patches.
        count: usize,
    },
}

impl Resize {
    /// Returns the height and width of a resized image, rounded as in the library of the rule: transformers, or timm for
    /// [`Cover`](Self::Cover) and [`Contain`](Self::Contain).
    pub(super) fn apply(self, from @ [height, width]: [usize; 2]) -> [usize; 2] {
        let (short, long) = (height.min(width), height.max(width));
        let [new_short, new_long] = match self {
            Self::Exact { height, width } => return [height, width],
            Self::Cover { height, width } => return divided(from, [height, width], f64::min),
            Self::Contain { height, width } => return divided(from, [height, width], f64::max),
            Self::Patches { side, count } => return patches(from, side, count),
            // In floats as in transformers; the product is below 2^53.
            Self::ShortestEdge(edge) => [edge, ((edge * long) as f64 / short as f64) as usize],
            Self::ShortestEdgeWithin { shortest, longest } => {
                let (short, long) = (short as f64, long as f64);
                let (mut edge, mut exact) = (shortest as f64, shortest as f64);
                if long / short * edge > longest as f64 {
                    exact = longest as f64 * short / long;
                    edge = exact.round_ties_even();
                }
                [edge as usize, if short == edge { long } else { exact * long / short } as usize]
            }
        };
        if width < height { [new_long, new_short] } else { [new_short, new_long] }
    }

    /// Returns the rule for square inputs of `size` pixels, if the image is cropped to `crop` after it.
    pub(super) fn with_size(self, size: usize, crop: Option<[usize; 2]>) -> Self {
        let scaled = |edge: usize, crop: usize| match crop {
            // Without a crop.
            0 => size,
            // Rounded to nearest.
            _ => edge.saturating_mul(size).saturating_add(crop / 2) / crop,
        };
        let [high, wide] = crop.unwrap_or_default();
        match self {
            Self::Exact { height, width } => {
                Self::Exact { height: scaled(height, high), width: scaled(width, wide) }
            }
            Self::Cover { height, width } => {
                Self::Cover { height: scaled(height, high), width: scaled(width, wide) }
            }
            Self::Contain { height, width } => {
                Self::Contain { height: scaled(height, high), width: scaled(width, wide) }
            }
            Self::ShortestEdge(edge) => Self::ShortestEdge(scaled(edge, high.min(wide))),
            Self::ShortestEdgeWithin { shortest, longest } => Self::ShortestEdgeWithin {
                shortest: scaled(shortest, high.min(wide)),
                longest: scaled(longest, high.min(wide)),
            },
            Self::Patches { side, .. } => {
                let patches = size / side.max(1);
                Self::Patches { side, count: patches.saturating_mul(patches) }
            }
        }
    }

    /// Checks that all lengths are in range.
    pub(super) fn check(self) -> Result<(), ConfigError> {
        match self {
            Self::Exact { height, width }
            | Self::Cover { height, width }
            | Self::Contain { height, width } => {
                edge("resize.height", height)?;
                edge("resize.width", width)
            }
            Self::ShortestEdge(shortest) => edge("resize.shortest_edge", shortest),
            Self::ShortestEdgeWithin { shortest, longest } => {
                edge("resize.shortest_edge", shortest)?;
                edge("resize.longest_edge", longest)
            }
            Self::Patches { side, count } => {
                edge("resize.side", side)?;
                edge("resize.count", count)
            }
        }
    }
}

/// Maximum edge, far above that of any model; products of two do not overflow.
const MAX_EDGE: usize = 65_535;

/// Checks a length.
pub(super) fn edge(field: &str, value: usize) -> Result<(), ConfigError> {
    ensure((1..=MAX_EDGE).contains(&value), field, value, format_args!("from 1 to {MAX_EDGE}"))
}

/// Divides a size by the ratio to another, which is chosen from those of height and width (`ResizeKeepRatio` of timm).
fn divided(from: [usize; 2], to: [usize; 2], choose: fn(f64, f64) -> f64) -> [usize; 2] {
    let ratio = choose(from[0] as f64 / to[0] as f64, from[1] as f64 / to[1] as f64);
    from.map(|edge| (edge as f64 / ratio).round_ties_even() as usize)
}

/// The largest scale, found by bisection, at which the patches of the size are at most `count`.
fn patches(from: [usize; 2], side: usize, count: usize) -> [usize; 2] {
    const EPSILON: f64 = 1e-5;
    let side = side as f64;
    let grid = |scale: f64| from.map(|edge| (edge as f64 * scale / side).ceil().max(1.0));
    let (mut low, mut high) = (EPSILON / 10.0, 100.0);
    while high - low >= EPSILON {
        let scale = (low + high) / 2.0;
        let [rows, columns] = grid(scale);
        if rows * columns <= count as f64 {
            low = scale;
        } else {
            high = scale;
        }
    }
    grid(low).map(|patches| (patches * side) as usize)
}

impl Display for Resize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact { height, width } => write!(f, "{height}x{width}"),
            Self::ShortestEdge(edge) => write!(f, "shortest edge {edge}"),
            Self::ShortestEdgeWithin { shortest, longest } => {
                write!(f, "shortest edge {shortest}, longest at most {longest}")
            }
            Self::Cover { height, width } => write!(f, "cover {height}x{width}"),
            Self::Contain { height, width } => write!(f, "fit within {height}x{width}"),
            Self::Patches { side, count } => write!(f, "at most {count} patches of {side}x{side}"),
        }
    }
}
