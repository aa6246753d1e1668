//! The inner loops on AVX-512 BF16: the only unsafe code of this crate, behind functions that check their slices.
#![allow(unsafe_code)]

use std::arch::x86_64::*;
use std::ops::Range;

use crate::Matrix;
use crate::packed::{COLUMNS, DEPTH, LINE, Line, panel_lines};

/// Rows of the left matrix in a tile: 12 rows of 2 vectors are 24 sums, which leaves registers for the inputs.
pub(crate) const ROWS: usize = 12;
/// Lines of a packed row of the left matrix.
pub(crate) const ROW_LINES: usize = DEPTH / LINE;
/// Values of an f32 vector, and pairs of bf16 values of a vector.
const LANES: usize = 16;

/// Proof that this CPU has the instructions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kernel(());

impl Kernel {
    pub(crate) fn detect() -> Option<Self> {
        let supported = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512bf16");
        supported.then_some(Self(()))
    }

    /// Packs a panel of the right matrix: for every pair of rows, a line per 16 columns. Columns that do not exist are
    /// zeros.
    pub(crate) fn pack_panel(self, rhs: Matrix<'_>, depth: Range<usize>, column: usize, panel: &mut [Line]) {
        assert_eq!(panel.len(), panel_lines(depth.len()));
        let rhs = rhs.transpose();
        for group in 0..COLUMNS / LANES {
            for start in depth.clone().step_by(LINE) {
                // SAFETY: a `Kernel` exists only if the CPU has the instructions.
                let pairs = unsafe { across(rhs, column + group * LANES, start..depth.end) };
                let first = (start - depth.start) / 2;
                let lines = panel.chunks_exact_mut(COLUMNS / LANES).skip(first);
                for (line, pair) in lines.filter_map(|pair| pair.get_mut(group)).zip(pairs) {
                    *line = Line::from(pair);
                }
            }
        }
    }

    /// Packs rows of the left matrix, a row in [`ROW_LINES`] lines.
    pub(crate) fn pack_rows(
        self,
        lhs: Matrix<'_>,
        rows: Range<usize>,
        depth: Range<usize>,
        packed: &mut [Line],
    ) {
        assert!(depth.len() <= DEPTH && packed.len() >= rows.len() * ROW_LINES);
        for row in rows.clone().step_by(LANES) {
            for start in depth.clone().step_by(LINE) {
                // SAFETY: a `Kernel` exists only if the CPU has the instructions.
                let pairs = unsafe { along(lhs, row, start..depth.end) };
                let lines = packed.chunks_exact_mut(ROW_LINES).skip(row - rows.start).take(rows.end - row);
                for (line, pair) in
                    lines.filter_map(|row| row.get_mut((start - depth.start) / LINE)).zip(pairs)
                {
                    *line = Line::from(pair);
                }
            }
        }
    }

    /// Multiplies [`ROWS`] packed rows by a panel of `pairs` pairs of rows. The upper left `rows` x `columns` values are
    /// written to `out`, or added to it, whose rows are `stride` values apart.
    pub(crate) fn multiply(
        self,
        lhs: &[Line],
        panel: &[Line],
        out: &mut [f32],
        stride: usize,
        [rows, columns]: [usize; 2],
        add: bool,
    ) {
        let pairs = panel.len() / (COLUMNS / LANES);
        assert!(pairs * 2 <= DEPTH && lhs.len() >= ROWS * ROW_LINES && rows <= ROWS && columns <= COLUMNS);
        assert!(rows > 0 && columns <= stride && out.len() >= (rows - 1) * stride + columns);
        if [rows, columns] == [ROWS, COLUMNS] {
            // SAFETY: a `Kernel` exists only if the CPU has the instructions; the lengths were checked.
            unsafe { tile(pairs, lhs.as_ptr(), panel.as_ptr(), out.as_mut_ptr(), stride, add) };
            return;
        }
        let mut whole = [0f32; ROWS * COLUMNS];
        // SAFETY: as above, and `whole` has room for the tile.
        unsafe { tile(pairs, lhs.as_ptr(), panel.as_ptr(), whole.as_mut_ptr(), COLUMNS, false) };
        for (out, whole) in out.chunks_mut(stride).zip(whole.chunks_exact(COLUMNS)).take(rows) {
            for (out, value) in out.iter_mut().zip(whole).take(columns) {
                *out = if add { *out + value } else { *value };
            }
        }
    }
}

impl From<__m512i> for Line {
    fn from(vector: __m512i) -> Self {
        // SAFETY: both are 64 bytes without padding, of which any value is valid.
        unsafe { std::mem::transmute(vector) }
    }
}

/// Multiplies [`ROWS`] packed rows by a panel and stores the tile.
///
/// # Safety
/// `lhs` has `ROWS * ROW_LINES` lines, `panel` two lines a pair, and `out` `ROWS` rows of [`COLUMNS`] values.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn tile(pairs: usize, lhs: *const Line, panel: *const Line, out: *mut f32, stride: usize, add: bool) {
    const ROW_PAIRS: usize = DEPTH / 2;
    let (lhs, panel) = (lhs.cast::<i32>(), panel.cast::<__m512i>());
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    for pair in 0..pairs {
        // SAFETY: the caller guarantees the lengths; `Line` is aligned to 64 bytes.
        unsafe {
            let columns =
                [panel.add(2 * pair), panel.add(2 * pair + 1)].map(|line| bf16(_mm512_load_si512(line)));
            for (row, sums) in sums.iter_mut().enumerate() {
                let value = bf16(_mm512_set1_epi32(*lhs.add(row * ROW_PAIRS + pair)));
                for (sum, columns) in sums.iter_mut().zip(columns) {
                    *sum = _mm512_dpbf16_ps(*sum, value, columns);
                }
            }
        }
    }
    for (row, sums) in sums.into_iter().enumerate() {
        for (group, sum) in sums.into_iter().enumerate() {
            // SAFETY: the caller guarantees the length of `out`.
            unsafe {
                let out = out.add(row * stride + group * LANES);
                _mm512_storeu_ps(out, if add { _mm512_add_ps(_mm512_loadu_ps(out), sum) } else { sum });
            }
        }
    }
}

/// The pairs of 32 columns from `columns.start` on, one vector each for the 16 rows from `row` on. What does not exist is zero.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn along(matrix: Matrix<'_>, row: usize, columns: Range<usize>) -> [__m512i; LANES] {
    let [row_stride, column_stride] = matrix.strides();
    if column_stride != 1 && row_stride == 1 {
        return transpose(across(matrix, row, columns));
    }
    let mut pairs = [_mm512_setzero_si512(); LANES];
    for (row, pairs) in (row..matrix.shape()[0]).zip(&mut pairs) {
        *pairs = if column_stride == 1 {
            let values = matrix.row(row, columns.clone());
            let (low, high) = values.split_at(values.len().min(LANES));
            round(load(low), load(high))
        } else {
            let mut gathered = [0.0; LINE];
            for (value, column) in gathered.iter_mut().zip(columns.clone()) {
                *value = matrix.get(row, column);
            }
            let (low, high) = gathered.split_at(LANES);
            round(load(low), load(high))
        };
    }
    pairs
}

/// The transpose of [`along`]: one vector each for 16 pairs of columns, of the 16 rows from `row` on.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn across(matrix: Matrix<'_>, row: usize, columns: Range<usize>) -> [__m512i; LANES] {
    let [row_stride, column_stride] = matrix.strides();
    if row_stride != 1 || column_stride == 1 {
        return transpose(along(matrix, row, columns));
    }
    // Alternates the first and the second half of a vector.
    let alternate = std::array::from_fn(|index| (index / 2 + index % 2 * LANES) as u16);
    // SAFETY: both are 64 bytes without padding, of which any value is valid.
    let alternate: __m512i = unsafe { std::mem::transmute::<[u16; LINE], _>(alternate) };
    let by_column = matrix.transpose();
    let end = matrix.shape()[0];
    let rows = row.min(end)..end;
    let mut pairs = [_mm512_setzero_si512(); LANES];
    for (first, pairs) in columns.clone().step_by(2).zip(&mut pairs) {
        let column = |column: usize| match column < columns.end {
            true => load(by_column.row(column, rows.clone())),
            false => _mm512_setzero_ps(),
        };
        *pairs = _mm512_permutexvar_epi16(alternate, round(column(first), column(first + 1)));
    }
    pairs
}

/// Up to 16 values, then zeros.
#[target_feature(enable = "avx512f")]
fn load(values: &[f32]) -> __m512 {
    let mask = match values.len() {
        LANES.. => __mmask16::MAX,
        length => (1 << length) - 1,
    };
    // SAFETY: the mask selects existing values only.
    unsafe { _mm512_maskz_loadu_ps(mask, values.as_ptr()) }
}

/// Rounds two vectors to bf16, to nearest with ties to even.
#[target_feature(enable = "avx512f,avx512bf16")]
fn round(low: __m512, high: __m512) -> __m512i {
    // SAFETY: both are 64 bytes without padding, of which any value is valid.
    unsafe { std::mem::transmute(_mm512_cvtne2ps_pbh(high, low)) }
}

fn bf16(vector: __m512i) -> __m512bh {
    // SAFETY: both are 64 bytes without padding, of which any value is valid.
    unsafe { std::mem::transmute(vector) }
}

/// The transpose of 16 x 16 values of 32 bits.
#[target_feature(enable = "avx512f")]
fn transpose(x: [__m512i; 16]) -> [__m512i; 16] {
    let (mut pairs, mut quads, mut out) = (x, x, x);
    for i in (0..16).step_by(2) {
        pairs[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
        pairs[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
    }
    for i in (0..16).step_by(4) {
        quads[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
        quads[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
        quads[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
        quads[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
    }
    // Part `l` of `quads[4 i + j]` now holds column `4 l + j` of rows `4 i..4 i + 4`.
    for j in 0..4 {
        let even = [0, 8].map(|i| _mm512_shuffle_i32x4::<0x88>(quads[i + j], quads[i + 4 + j]));
        let odd = [0, 8].map(|i| _mm512_shuffle_i32x4::<0xdd>(quads[i + j], quads[i + 4 + j]));
        out[j] = _mm512_shuffle_i32x4::<0x88>(even[0], even[1]);
        out[4 + j] = _mm512_shuffle_i32x4::<0x88>(odd[0], odd[1]);
        out[8 + j] = _mm512_shuffle_i32x4::<0xdd>(even[0], even[1]);
        out[12 + j] = _mm512_shuffle_i32x4::<0xdd>(odd[0], odd[1]);
    }
    out
}
