//! CPUs without instructions for bf16.

use std::convert::Infallible;
use std::ops::Range;

use crate::Matrix;
use crate::packed::Line;

pub(crate) const ROWS: usize = 1;
pub(crate) const ROW_LINES: usize = 1;

/// Never exists.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kernel(Infallible);

impl Kernel {
    pub(crate) fn detect() -> Option<Self> {
        None
    }

    pub(crate) fn pack_panel(self, _: Matrix<'_>, _: Range<usize>, _: usize, _: &mut [Line]) {
        match self.0 {}
    }

    pub(crate) fn pack_rows(self, _: Matrix<'_>, _: Range<usize>, _: Range<usize>, _: &mut [Line]) {
        match self.0 {}
    }

    pub(crate) fn multiply(self, _: &[Line], _: &[Line], _: &mut [f32], _: usize, _: [usize; 2], _: bool) {
        match self.0 {}
    }
}
