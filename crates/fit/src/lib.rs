//! Alignment heads in closed form, fitted in one linear decomposition instead of a training.
//!
//! | method | similarity | regularization |
//! |---|---|---|
//! | [`Procrustes`](FitConfig::Procrustes) | cosine after the best orthogonal maps of centred rows | none: the maps have no scale |
//! | [`Cca`](FitConfig::Cca) | cosine in the directions of the largest correlations, scaled by them | of both covariances |
//! | [`Csa`](FitConfig::Csa) | cosine in the same directions, weighted by the correlations | of both covariances |
//! | [`Ridge`](FitConfig::Ridge) | cosine of one side with its prediction from the other | of the covariance of the predictor |
//!
//! [`FitConfig::fit`] returns a [`Head`](sail_layers::Head) like that of a training: it is saved to the same file, and every
//! evaluation takes it. [`translate`] moves another image encoder under an existing head by orthogonal Procrustes between the
//! features of both encoders for the same images, without captions.
//!
//! # Pairs
//! A pair is an image with one of its captions, in every caption set. As in training, the LayerNorm of the head normalizes the
//! rows of both sides, which are then centred: the bias of the LayerNorm is minus the mean of the pairs. Logit scale and bias
//! are not fitted; they are those that a training starts with.
//!
//! # Fewer pairs than dimensions
//! Covariances are then singular. CCA, CSA and ridge regression add a multiple of the identity, `r (tr C / d)`, to a covariance
//! `C` of `d` dimensions. Unless it is given, generalized cross-validation (Golub, Heath and Wahba 1979) chooses `r`: it is the
//! penalty with the lowest estimated error of predicting one side from the other. Directions that no pair has are left out, so
//! the embedding dimension is less than the number of pairs.
//!
//! # Memory
//! Rows are read in blocks and summed up in f64. Memory is a few square matrices of the feature dimensions, whatever the number
//! of pairs; rows are read twice.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod canonical;
mod config;
mod directions;
mod error;
mod fit;
mod head;
mod moments;

mod regularization;
mod ridge;
mod spectrum;
mod translate;

pub use config::{Direction, FitConfig};
pub use error::FitError;
pub use fit::{Fit, FitSummary};
pub use regularization::Regularization;
pub use translate::{Explained, Translated, translate};
