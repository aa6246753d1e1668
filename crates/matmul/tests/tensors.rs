//! Products of burn's tensors against burn's own products of rounded inputs.

#![allow(clippy::unwrap_used)]

use std::io::Write;

use burn::tensor::{DType, Device, Distribution, Tensor};
use sail_matmul::{Bf16Products, Products};

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

/// Values that bf16 represents, so that products are exact up to the sums.
fn rounded(shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), device).cast(DType::BF16).cast(DType::F32)
}

fn assert_close(found: Tensor<2>, expected: Tensor<2>) {
    assert_eq!(found.dims(), expected.dims());
    let scale: f32 = expected.clone().abs().max().into_scalar();
    let error: f32 = (found - expected).abs().max().into_scalar();
    assert!(error <= 1e-5 * scale, "{error:e} of {scale:e}");
}

#[test]
fn views_are_multiplied_without_a_copy() {
    let Some(products) = products() else { return };
    let device = Device::flex();
    let a = rounded([40, 70], &device);
    let b = rounded([90, 64], &device);
    let part = a.clone().slice([3..25, 6..70]);
    let transposed = b.clone().transpose();
    assert_close(products.matmul(part.clone(), transposed.clone()), part.clone().matmul(transposed));
    let row = rounded([1, 64], &device).expand([22, 64]).transpose();
    assert_close(products.matmul(row.clone(), part.clone()), row.matmul(part.clone()));
    let flipped = rounded([64, 5], &device).flip([0]);
    assert_close(products.matmul(part.clone(), flipped.clone()), part.matmul(flipped));
}

#[test]
fn gradients_are_products_of_rounded_values() {
    let Some(products) = products() else { return };
    let device = Device::flex().autodiff();
    let [x, weight, direction] = [[33, 50], [50, 41], [33, 41]].map(|shape| rounded(shape, &device));
    let [x, weight] = [x, weight].map(Tensor::require_grad);
    let gradients_of = |product: Tensor<2>| {
        let gradients = (product * direction.clone()).sum().backward();
        [&x, &weight].map(|x| x.grad(&gradients).unwrap())
    };
    let found = products.matmul(x.clone(), weight.clone());
    let expected = x.clone().matmul(weight.clone());
    assert_close(found.clone().inner(), expected.clone().inner());
    for (found, expected) in gradients_of(found).into_iter().zip(gradients_of(expected)) {
        assert_close(found, expected);
    }
    // Only one input has a gradient, or none.
    let frozen = x.clone().detach();
    let gradients = products.matmul(frozen.clone(), weight.clone()).sum().backward();
    assert_close(
        weight.grad(&gradients).unwrap(),
        frozen.clone().inner().sum_dim(0).transpose().expand([50, 41]),
    );
    assert_eq!(products.matmul(frozen, weight.detach()).dims(), [33, 41]);
}

#[test]
fn inputs_are_rounded_and_other_dtypes_are_left_to_burn() {
    let Some(products) = products() else { return };
    let device = Device::flex();
    let [a, b] = [[20, 30], [30, 10]].map(|shape| Tensor::<2>::random(shape, Distribution::Default, &device));
    let round = |x: &Tensor<2>| x.clone().cast(DType::BF16).cast(DType::F32);
    let exact: Tensor<2> = a.clone().matmul(b.clone());
    let found = products.matmul(a.clone(), b.clone());
    assert_close(found.clone(), round(&a).matmul(round(&b)));
    assert!((found - exact).abs().max().into_scalar::<f32>() > 1e-4);
    let [a, b] = [a, b].map(|x| x.cast(DType::F64));
    let exact = a.clone().matmul(b.clone());
    assert_eq!(products.matmul(a, b).into_data(), exact.into_data());
}

#[test]
fn packed_weights_give_the_same_product() {
    let Some(products) = products() else { return };
    let device = Device::flex();
    let weight = Tensor::<2>::random([500, 33], Distribution::Default, &device);
    let x = Tensor::<3>::random([7, 3, 500], Distribution::Default, &device);
    let bias = Tensor::<1>::random([33], Distribution::Default, &device);
    let packed = Products::bf16_on_cpu(DType::BF16, &device).unwrap().pack(&weight).unwrap();
    let rounded = weight.clone().cast(DType::BF16).cast(DType::F32);
    assert_eq!(packed.to_tensor(&device).into_data(), rounded.into_data());

    let rows = x.clone().reshape([21, 500]);
    let expected = products.matmul(rows.clone(), weight.clone());
    let found = packed.linear(x.clone(), None);
    assert_eq!(found.dims(), [7, 3, 33]);
    assert_eq!(found.clone().reshape([21, 33]).into_data(), expected.clone().into_data());
    assert_close(packed.linear(rows.clone(), Some(bias.clone())), expected + bias.clone().unsqueeze());
    // Other dtypes and tensors with a graph are multiplied by burn, with the rounded weights.
    let other = packed.linear(x.clone().cast(DType::F64), None).cast(DType::F32);
    assert!((other - found.clone()).abs().max().into_scalar::<f32>() < 0.5);
    let tracked = packed.linear(Tensor::from_inner(x).require_grad(), None);
    assert!((tracked.inner() - found).abs().max().into_scalar::<f32>() < 0.5);
    assert!(Products::default().pack(&weight).is_none());
    assert!(Products::bf16_on_cpu(DType::BF16, &device).unwrap().pack(&weight.cast(DType::F64)).is_none());
}

#[test]
fn products_are_added_to_a_matrix() {
    let Some(_) = products() else { return };
    let device = Device::flex();
    let products = Products::bf16_on_cpu(DType::BF16, &device).unwrap();
    let [a, b, sum] = [[40, 70], [70, 50], [40, 50]].map(|shape| rounded(shape, &device));
    let kept = sum.clone();
    let before = sum.to_data();
    let expected = sum.clone() + a.clone().matmul(b.clone());
    assert_close(products.add_matmul(sum, a.clone(), b.clone()), expected.clone());
    // A tensor that shares the memory keeps its values.
    assert_eq!(kept.to_data(), before);
    assert_close(Products::default().add_matmul(kept.clone(), a.clone(), b.clone()), expected.clone());
    let view = kept.clone().transpose().transpose();
    assert_close(products.add_matmul(view, a, b), expected);
}
