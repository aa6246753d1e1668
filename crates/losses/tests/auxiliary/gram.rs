//! The Gram loss.

use sail_core::{AuxiliaryBatch, AuxiliaryError, AuxiliaryLoss, AuxiliaryRows, TokenLayout};
use sail_losses::Gram;

use crate::{Matrix, assert_close, differences, dot, floats, matrix, tensor, unit};

const DIM: usize = 3;
const OUTPUT: usize = 4;
const PATCHES: usize = 6;
const IMAGES: usize = 3;

fn layout(class_token: bool) -> TokenLayout {
    TokenLayout::Image { class_token, grid: [2, 3], dim: DIM }
}

/// The definition, with `y` as given, so that its differences are those of the cosines.
fn oracle(features: &Matrix, y: &Matrix, first: usize) -> f64 {
    let image = |image: usize| {
        let patches: Matrix = features[image].chunks(DIM).skip(first).map(<[f64]>::to_vec).collect();
        let x = unit(patches);
        let y = &y[image * PATCHES..(image + 1) * PATCHES];
        let pairs = (0..PATCHES).flat_map(|i| (0..PATCHES).map(move |j| (i, j)));
        pairs.map(|(i, j)| (dot(&x[i], &x[j]) - dot(&y[i], &y[j])).powi(2)).sum::<f64>()
    };
    (0..IMAGES).map(image).sum::<f64>() / (IMAGES * PATCHES * PATCHES) as f64
}

fn batch(features: &Matrix, y: &Matrix) -> AuxiliaryBatch {
    AuxiliaryBatch {
        image_features: tensor(features),
        text_features: vec![],
        images: tensor(y),
        texts: vec![],
    }
}

#[test]
fn value_and_gradient_are_those_of_the_definition() {
    for class_token in [false, true] {
        let layout = layout(class_token);
        let features = matrix(IMAGES, layout.row_values(), 1);
        let y = unit(matrix(IMAGES * PATCHES, OUTPUT, 2));
        let gram = Gram::new(layout).unwrap();
        assert_eq!(gram.rows(), AuxiliaryRows::Patches(layout));
        let found = gram.gradients(&batch(&features, &y)).unwrap();
        let first = usize::from(class_token);
        assert_close(&floats(found.value), &[oracle(&features, &y, first)], 1e-5, "value");
        let expected = differences(&y, |y| oracle(&features, y, first));
        assert_close(&floats(found.images), &expected, 1e-4, "gradient");
        assert!(found.texts.is_empty());
    }
}

/// Images of which few have cosines in a tile, so that the loop runs more than once: 2,048 patches are 16 MiB.
#[test]
fn images_are_independent_of_the_tiles() {
    let layout = TokenLayout::Image { class_token: false, grid: [32, 48], dim: 2 };
    let features = matrix(2, layout.row_values(), 1);
    let y = unit(matrix(2 * 1536, 2, 2));
    let gram = Gram::new(layout).unwrap();
    let whole = gram.gradients(&batch(&features, &y)).unwrap();
    let of = |image: usize| {
        let y = y[image * 1536..(image + 1) * 1536].to_vec();
        gram.gradients(&batch(&features[image..=image].to_vec(), &y)).unwrap()
    };
    let [first, second] = [of(0), of(1)];
    let mean = (floats(first.value)[0] + floats(second.value)[0]) / 2.0;
    assert_close(&floats(whole.value), &[mean], 1e-5, "value");
    let expected: Vec<f64> =
        [first.images, second.images].into_iter().flat_map(floats).map(|x| x / 2.0).collect();
    assert_close(&floats(whole.images), &expected, 1e-5, "gradient");
}

#[test]
fn rejects_other_layouts() {
    let text = TokenLayout::Text { length: 3, dim: 2 };
    assert_eq!(Gram::new(text).unwrap_err().field, "gram");
    let gram = Gram::new(layout(true)).unwrap();
    let y = unit(matrix(IMAGES * PATCHES, OUTPUT, 2));
    let found = gram.gradients(&batch(&matrix(IMAGES, 18, 1), &y)).unwrap_err();
    assert!(matches!(found, AuxiliaryError::Layout { found: 18, .. }), "{found}");
    let features = matrix(IMAGES - 1, layout(true).row_values(), 1);
    let found = gram.gradients(&batch(&features, &y)).unwrap_err();
    assert!(matches!(found, AuxiliaryError::Rows { found: 12, expected: 18 }), "{found}");
}
