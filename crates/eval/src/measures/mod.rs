//! Measures of features and pairs of features before training, and closed-form aligners.

mod asif;
mod cca;
mod chance;
mod cka;
mod k_means;
mod knn;
mod linear_aligner;
mod linear_probe;
mod moments;
mod mutual_knn;
mod partition;
mod ridge;
mod silhouette;

pub use asif::Asif;
pub use cca::{cca, cca_aligner};
pub use chance::{Measured, Permutations};
pub use cka::{Cka, cka};
pub use k_means::{KMeansOptions, k_means};
pub use knn::{KnnOptions, Vote, accuracy, knn_classify};
pub use linear_aligner::LinearAligner;
pub use linear_probe::{LinearProbe, LinearProbeOptions};
pub use mutual_knn::mutual_knn;
pub use partition::{adjusted_rand_index, normalized_mutual_information};
pub use ridge::ridge_aligner;
pub use silhouette::silhouette;
