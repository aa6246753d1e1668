//! Measures of features and pairs of features before training, and ASIF.

mod asif;
mod calibration;
mod cca;
mod centred;
mod cka;
mod differences;
mod k_means;
mod k_means_plus_plus;
mod knn;
mod linear_probe;
mod moments;
mod mutual_knn;
mod partition;
mod permutations;
mod silhouette;
mod trustworthiness;

pub use asif::Asif;
pub use calibration::{Calibrated, Measured};
pub use cca::{cca, cka_and_cca};
pub use cka::{Cka, cka};
pub use differences::Differences;
pub use k_means::{KMeansOptions, k_means};
pub use knn::{KnnOptions, Vote, accuracy, knn_classify};
pub use linear_probe::{LinearProbe, LinearProbeOptions};
pub use mutual_knn::{Neighbours, mutual_knn};
pub use partition::{adjusted_rand_index, normalized_mutual_information};
pub use permutations::Permutations;
pub use silhouette::{silhouette, silhouette_test};
pub use trustworthiness::{Neighbourhoods, neighbourhoods};
