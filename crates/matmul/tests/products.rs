//! Products against sums in f64 of the rounded inputs.

#![allow(clippy::unwrap_used)]

use std::io::Write;

use half::bf16;
use proptest::prelude::*;
use sail_matmul::{Bf16Products, MatmulError, Matrix};

/// The products of this CPU, or `None`, with a message, if it has no instructions for bf16.
fn products() -> Option<Bf16Products> {
    let products = Bf16Products::detect();
    if products.is_none() {
        // Not `eprintln`, whose output the test harness captures.
        let mut stderr = std::io::stderr();
        writeln!(stderr, "skipped: this CPU has no instructions for bf16").unwrap();
    }
    products
}

/// A layout of a matrix: by rows, by columns, or with gaps.
#[derive(Debug, Clone, Copy)]
enum Layout {
    Rows,
    Columns,
    Gaps,
}

/// Values between -1 and 1 that use all bits.
fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(next).collect()
}

struct Owned {
    values: Vec<f32>,
    shape: [usize; 2],
    strides: [usize; 2],
}

impl Owned {
    fn new(shape: [usize; 2], layout: Layout, seed: u64) -> Self {
        let strides = match layout {
            Layout::Rows => [shape[1], 1],
            Layout::Columns => [1, shape[0]],
            Layout::Gaps => [2 * shape[1] + 3, 2],
        };
        let length = shape[0] * strides[0] + shape[1] * strides[1];
        Self { values: values(length, seed), shape, strides }
    }

    fn view(&self) -> Matrix<'_> {
        Matrix::with_strides(&self.values, self.shape, self.strides).unwrap()
    }

    fn rounded(&self, row: usize, column: usize) -> f64 {
        bf16::from_f32(self.values[row * self.strides[0] + column * self.strides[1]]).to_f64()
    }
}

/// Checks a product to the error of sums in f32: the number of terms times half a unit in the last place of the sum of
/// absolute values.
fn check(lhs: &Owned, rhs: &Owned, before: Option<&[f32]>, product: &[f32]) {
    let ([rows, depth], columns) = (lhs.shape, rhs.shape[1]);
    for row in 0..rows {
        for column in 0..columns {
            let terms = (0..depth).map(|k| lhs.rounded(row, k) * rhs.rounded(k, column));
            let before = before.map_or(0.0, |before| f64::from(before[row * columns + column]));
            let (sum, absolute) =
                terms.fold((before, before.abs()), |(sum, absolute), x| (sum + x, absolute + x.abs()));
            let found = f64::from(product[row * columns + column]);
            let tolerance = absolute * (depth + 2) as f64 * f64::from(f32::EPSILON) / 2.0 + 1e-30;
            assert!((found - sum).abs() <= tolerance, "[{row}, {column}]: {found}, expected {sum}");
        }
    }
}

fn multiply(products: Bf16Products, lhs: &Owned, rhs: &Owned) -> Vec<f32> {
    let mut product = vec![f32::NAN; lhs.shape[0] * rhs.shape[1]];
    products.multiply(lhs.view(), &products.pack(rhs.view()), &mut product).unwrap();
    product
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn products_are_sums_of_products_of_rounded_values(
        rows in 0usize..50,
        depth in prop_oneof![0usize..70, 380usize..400, 760usize..780],
        columns in 0usize..80,
        layouts in prop::array::uniform2(prop_oneof![Just(Layout::Rows), Just(Layout::Columns), Just(Layout::Gaps)]),
        seed: u64,
    ) {
        let Some(products) = products() else { return Ok(()) };
        let lhs = Owned::new([rows, depth], layouts[0], seed);
        let rhs = Owned::new([depth, columns], layouts[1], seed ^ 1);
        let mut product = multiply(products, &lhs, &rhs);
        check(&lhs, &rhs, None, &product);
        let before = values(product.len(), seed ^ 2);
        product.copy_from_slice(&before);
        products.multiply_add(lhs.view(), &products.pack(rhs.view()), &mut product).unwrap();
        check(&lhs, &rhs, Some(&before), &product);
    }
}

#[test]
fn products_over_several_tasks_and_groups_of_columns() {
    let Some(products) = products() else { return };
    let lhs = Owned::new([401, 403], Layout::Columns, 1);
    let rhs = Owned::new([403, 1100], Layout::Rows, 2);
    check(&lhs, &rhs, None, &multiply(products, &lhs, &rhs));
}

#[test]
fn a_row_does_not_depend_on_other_rows_columns_layouts_and_threads() {
    let Some(products) = products() else { return };
    let (rows, depth, columns) = (131, 997, 150);
    let lhs = Owned::new([rows, depth], Layout::Rows, 3);
    let rhs = Owned::new([depth, columns], Layout::Rows, 4);
    let product = multiply(products, &lhs, &rhs);
    for row in [0, 1, 77, rows - 1] {
        let alone = Owned {
            values: lhs.values[row * depth..(row + 1) * depth].to_vec(),
            shape: [1, depth],
            strides: [depth, 1],
        };
        assert_eq!(multiply(products, &alone, &rhs), product[row * columns..(row + 1) * columns]);
    }
    let column: Vec<f32> = (0..depth).map(|k| rhs.values[k * columns + 149]).collect();
    let column = Owned { values: column, shape: [depth, 1], strides: [1, depth] };
    let expected: Vec<f32> = product.chunks(columns).map(|row| row[149]).collect();
    assert_eq!(multiply(products, &lhs, &column), expected);
    for threads in [1, 3, 16] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| multiply(products, &lhs, &rhs)), product);
    }
}

#[test]
fn values_are_rounded_to_nearest_with_ties_to_even() {
    let Some(products) = products() else { return };
    let inputs = [1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, -1.0 - 1.0 / 256.0, 3.4e38, f32::INFINITY, 0.0];
    for x in inputs {
        let mut product = [f32::NAN];
        let rhs = products.pack(Matrix::new(&[1.0], [1, 1]).unwrap());
        products.multiply(Matrix::new(&[x], [1, 1]).unwrap(), &rhs, &mut product).unwrap();
        assert_eq!(product[0], bf16::from_f32(x).to_f32(), "{x}");
    }
    let mut product = [0.0];
    let rhs = products.pack(Matrix::new(&[1.0], [1, 1]).unwrap());
    products.multiply(Matrix::new(&[f32::NAN], [1, 1]).unwrap(), &rhs, &mut product).unwrap();
    assert!(product[0].is_nan());
}

#[test]
fn shapes_are_checked() {
    let short = Matrix::with_strides(&[0.0; 5], [2, 2], [4, 1]);
    assert_eq!(short.unwrap_err(), MatmulError::Length { found: 5, expected: 6 });
    let overflow = Matrix::with_strides(&[0.0; 5], [usize::MAX, 2], [usize::MAX, 1]);
    assert!(matches!(overflow, Err(MatmulError::Length { .. })));
    assert!(Matrix::new(&[], [0, 7]).is_ok());
    let Some(products) = products() else { return };
    let a = Matrix::new(&[0.0; 6], [2, 3]).unwrap();
    let packed = products.pack(a);
    let wrong = products.multiply(a, &packed, &mut [0.0; 6]);
    assert_eq!(wrong, Err(MatmulError::Shape { lhs: [2, 3], rhs: [2, 3] }));
    let wrong = products.multiply(a.transpose(), &packed, &mut [0.0; 8]);
    assert_eq!(wrong, Err(MatmulError::Length { found: 8, expected: 9 }));
}
