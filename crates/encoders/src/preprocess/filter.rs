//! Resampling filters.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// A resampling filter, with the names and values of Pillow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resample {
    /// 0: nearest neighbor.
    Nearest,
    /// 1: Lanczos, windowed sinc with three lobes.
    Lanczos,
    /// 2: linear interpolation.
    Bilinear,
    /// 3: cubic convolution of Keys with a = -0.5.
    #[default]
    Bicubic,
    /// 4: mean of the covered pixels.
    Box,
    /// 5: sinc with a Hamming window, one lobe.
    Hamming,
}

impl Resample {
    /// Returns the filter for a value of Pillow.
    pub(super) fn from_pillow(value: u64) -> Option<Self> {
        let all = [Self::Nearest, Self::Lanczos, Self::Bilinear, Self::Bicubic, Self::Box, Self::Hamming];
        all.get(usize::try_from(value).ok()?).copied()
    }

    /// Returns the filter with a name in lower case.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        (0..6).filter_map(Self::from_pillow).find(|filter| filter.name() == name)
    }

    /// Returns the name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Lanczos => "lanczos",
            Self::Bilinear => "bilinear",
            Self::Bicubic => "bicubic",
            Self::Box => "box",
            Self::Hamming => "hamming",
        }
    }

    /// Returns half the width of the filter, in output pixels when downsampling and in input pixels otherwise.
    pub(super) fn support(self) -> f64 {
        match self {
            Self::Nearest | Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    /// Returns the value of the filter at `x`.
    pub(super) fn weight(self, x: f64) -> f64 {
        let sinc = |x: f64| if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) };
        let distance = x.abs();
        match self {
            Self::Nearest | Self::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Self::Bilinear => (1.0 - distance).max(0.0),
            Self::Hamming if distance < 1.0 => sinc(distance) * (0.54 + 0.46 * (distance * PI).cos()),
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Bicubic if distance < 1.0 => (1.5 * distance - 2.5) * distance * distance + 1.0,
            Self::Bicubic if distance < 2.0 => (((distance - 5.0) * distance + 8.0) * distance - 4.0) * -0.5,
            _ => 0.0,
        }
    }
}
