//! Auxiliary losses on the patches of single images.

use burn::tensor::Tensor;
use sail_core::{AlignmentHead, AuxiliaryBatch, AuxiliaryRows, HeadError, Side, TokenLayout, l2_normalize};

use crate::embeddings::surrogate;
use crate::{Auxiliary, TrainError};

/// The auxiliary losses of a step that are computed on [patches](AuxiliaryRows::Patches).
///
/// They are a mean over images, each of which contributes on its own. A micro-batch therefore computes its part of them
/// together with the gradient, and patches of the whole batch are never stored.
pub(crate) struct PatchTerms<'a> {
    terms: Vec<(&'a Auxiliary, TokenLayout)>,
    /// Images of the batch.
    images: usize,
    /// The loss scale.
    scale: f32,
}

/// The losses of some images.
pub(crate) struct PatchLosses {
    /// What the images add to the value of each term.
    pub(crate) values: Vec<Tensor<1>>,
    /// Unit rows of the projected patches, and the gradients with respect to them.
    gradients: Vec<(Tensor<2>, Tensor<2>)>,
}

impl<'a> PatchTerms<'a> {
    /// Selects the terms for a batch of `images`, whose gradients are multiplied by `scale`.
    pub(crate) fn new(auxiliary: &'a [Auxiliary], images: usize, scale: f32) -> Self {
        let terms = auxiliary.iter().filter_map(|term| match term.loss().rows() {
            AuxiliaryRows::Patches(layout) => Some((term, layout)),
            AuxiliaryRows::Pairs | AuxiliaryRows::Unpaired => None,
        });
        Self { terms: terms.collect(), images, scale }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Returns the names of the terms.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        self.terms.iter().map(|(term, _)| term.loss().name().to_owned())
    }

    /// Computes the terms for some images of the batch.
    ///
    /// # Shapes
    /// - images: frozen features, `[images, tokens * token_dim]`
    pub(crate) fn evaluate<H: AlignmentHead>(
        &self,
        head: &H,
        images: &Tensor<2>,
    ) -> Result<PatchLosses, TrainError> {
        let [count, found] = images.dims();
        let share = count as f64 / self.images.max(1) as f64;
        let mut losses = PatchLosses { values: Vec::new(), gradients: Vec::new() };
        for (term, layout) in &self.terms {
            let expected = layout.row_values();
            if found != expected {
                return Err(HeadError::Dimension { side: Side::Image, found, expected }.into());
            }
            let tokens = images.clone().reshape([count, layout.tokens(), layout.dim()]);
            let patches = l2_normalize(head.project_patches(tokens)?.flatten::<2>(0, 1));
            let batch = AuxiliaryBatch {
                image_features: images.clone().without_autodiff(),
                text_features: Vec::new(),
                images: patches.clone().without_autodiff(),
                texts: Vec::new(),
            };
            let found = term.loss().gradients(&batch)?;
            losses.values.push(found.value * share);
            losses.gradients.push((patches, found.images * (term.weight() * share * f64::from(self.scale))));
        }
        Ok(losses)
    }
}

impl PatchLosses {
    /// Returns a scalar with the gradient of the terms with respect to the parameters of the head, if there is a term.
    pub(crate) fn surrogate(self) -> Option<Tensor<1>> {
        let terms = self.gradients.into_iter().map(|(patches, gradients)| surrogate(patches, gradients));
        terms.reduce(|sum, term| sum + term)
    }
}
