//! Heads of linear maps.

use burn::tensor::Device;
use faer::Mat;
use sail_core::{HeadError, Side};
use sail_layers::{Head, HeadConfig, ProjectorConfig, SideConfig};

/// A tensor of a head file: name, shape and values.
pub(crate) type Weights = (String, Vec<usize>, Vec<f32>);

/// One side of a head: LayerNorm, centring and a linear map.
pub(crate) struct SideMap<'a> {
    pub(crate) mean: &'a [f64],
    /// `[input, dim]`; `None` for the centred rows themselves.
    pub(crate) matrix: Option<Mat<f64>>,
}

/// Makes the head of two maps. With correlations, the dimensions of the cosine are weighted by them.
pub(crate) fn make(
    image: SideMap<'_>,
    text: SideMap<'_>,
    correlations: Option<&[f64]>,
    device: &Device,
) -> Result<Head, HeadError> {
    let (dims, complements) = ([image.output(), text.output()], if correlations.is_some() { 2 } else { 0 });
    let config = HeadConfig {
        image: Some(image.config(Side::Image, correlations)),
        text: Some(text.config(Side::Text, correlations)),
        ..HeadConfig::new(
            image.mean.len(),
            text.mean.len(),
            dims[0] + complements,
            ProjectorConfig::Linear {},
        )
    };
    let mut weights = vec![
        ("logit.log_scale".to_owned(), vec![1], vec![config.initial_scale.ln() as f32]),
        ("logit.bias".to_owned(), vec![1], vec![config.initial_bias as f32]),
    ];
    image.weights("image", correlations, &mut weights);
    text.weights("text", correlations, &mut weights);
    Head::from_weights(&config, weights, device)
}

impl SideMap<'_> {
    fn output(&self) -> usize {
        self.matrix.as_ref().map_or(self.mean.len(), Mat::ncols)
    }

    fn config(&self, side: Side, correlations: Option<&[f64]>) -> SideConfig {
        let projector = match (&self.matrix, correlations) {
            (None, _) => ProjectorConfig::Identity {},
            (Some(_), None) => ProjectorConfig::Linear {},
            (Some(_), Some(_)) => ProjectorConfig::WeightedCosine { side },
        };
        SideConfig { norm: true, ..SideConfig::new(self.mean.len(), projector) }
    }

    fn weights(&self, side: &str, correlations: Option<&[f64]>, weights: &mut Vec<Weights>) {
        let input = self.mean.len();
        let mut add = |name: &str, shape: Vec<usize>, values: Vec<f32>| {
            weights.push((format!("{side}.{name}"), shape, values));
        };
        add("norm.weight", vec![input], vec![1.0; input]);
        add("norm.bias", vec![input], self.mean.iter().map(|&mean| -mean as f32).collect());
        let Some(matrix) = &self.matrix else { return };
        let linear = if correlations.is_some() { "projector.linear" } else { "projector" };
        let dim = matrix.ncols();
        add(&format!("{linear}.weight"), vec![dim, input], transposed(matrix));
        add(&format!("{linear}.bias"), vec![dim], vec![0.0; dim]);
        if let Some(correlations) = correlations {
            let roots = correlations.iter().map(|rho| rho.sqrt() as f32).collect();
            add("projector.weight", vec![dim], roots);
        }
    }
}

/// The values of the transposed matrix, row-major, `[columns, rows]`.
pub(crate) fn transposed(matrix: &Mat<f64>) -> Vec<f32> {
    matrix
        .col_iter()
        .flat_map(|column| column.iter().map(|&value| value as f32).collect::<Vec<_>>())
        .collect()
}
