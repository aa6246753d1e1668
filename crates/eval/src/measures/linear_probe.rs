//! Linear probing.

use burn::module::{Module, Param};
use burn::optim::{GradientsAccumulator, GradientsParams, LBFGSConfig, LineSearchFn};
use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Int, Tensor, TensorData};
use sail_core::{Check, ConfigError, ensure};
use sail_support::ranges;

use super::moments::mean;
use crate::groups::count_classes;
use crate::unit_rows::UnitRows;
use crate::{BlockSize, EvalError};

/// Rows per block of logits.
const ROWS: usize = 8192;

/// Options of [`LinearProbe::fit`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinearProbeOptions {
    /// Weight of the penalty `l2 / 2 |W|²`, at least 0.
    pub l2: f64,
    /// Maximum number of L-BFGS iterations, at least 1.
    pub iterations: usize,
}

impl Default for LinearProbeOptions {
    fn default() -> Self {
        Self { l2: 1e-2, iterations: 200 }
    }
}

impl Check for LinearProbeOptions {
    fn check(&self) -> Result<(), ConfigError> {
        ensure(self.l2 >= 0.0 && self.l2.is_finite(), "l2", self.l2, "a finite value of at least 0")?;
        ensure(self.iterations > 0, "iterations", self.iterations, "at least 1")
    }
}

/// Linear probing: multinomial logistic regression on frozen features.
///
/// Minimises the mean cross-entropy plus `l2 / 2 |W|²` (without the bias) by L-BFGS. Unit rows are centred and scaled by
/// one factor to a mean square of 1 per column, so `l2` is comparable between features of different dimensions.
#[derive(Debug, Clone)]
pub struct LinearProbe {
    mean: Vec<f32>,
    scale: f32,
    layer: Softmax,
}

#[derive(Module, Debug)]
struct Softmax {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<2>>,
}

impl LinearProbe {
    /// Fits a linear classifier to labelled rows.
    ///
    /// # Shapes
    /// - rows: `[n, dim]`
    /// - labels: for each row, the index of its class
    ///
    /// # Errors
    /// [`EvalError`] for options out of range, labels that differ in number from the rows or are not less than
    /// `n_classes`, rows that are all equal, features that are not finite or all zeros, and if the device fails.
    ///
    /// # Examples
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use sail_eval::{LinearProbe, LinearProbeOptions};
    /// let rows = Tensor::<2>::from_floats([[1.0, 0.0], [0.9, 0.2], [0.0, 1.0], [0.1, 2.0]], &Device::flex());
    /// let probe = LinearProbe::fit(rows.clone(), &[0, 0, 1, 1], 2, &LinearProbeOptions::default())?;
    /// assert_eq!(probe.predict(rows)?, [0, 0, 1, 1]);
    /// # Ok::<(), sail_eval::EvalError>(())
    /// ```
    pub fn fit(
        rows: Tensor<2>,
        labels: &[usize],
        n_classes: usize,
        options: &LinearProbeOptions,
    ) -> Result<Self, EvalError> {
        options.check()?;
        let rows = UnitRows::new(rows, "row")?;
        count_classes(labels, n_classes, rows.len(), "row")?;
        let (n, dim) = (rows.len() as f64, rows.dim());
        let mean = mean(&rows)?;
        // The total variance of unit rows.
        let variance = 1.0 - mean.iter().map(|value| value * value).sum::<f64>();
        if variance < 1e-6 {
            return Err(EvalError::Constant { what: rows.what() });
        }
        let device = rows.device().autodiff();
        let parameter = |shape: [usize; 2]| Param::from_tensor(Tensor::zeros(shape, (&device, DType::F32)));
        let mut probe = Self {
            mean: mean.iter().map(|&value| value as f32).collect(),
            scale: (dim as f64 / variance).sqrt() as f32,
            layer: Softmax { weight: parameter([dim, n_classes]), bias: parameter([1, n_classes]) },
        };
        let mut blocks = Vec::new();
        for range in ranges(rows.len(), ROWS) {
            let classes: Vec<i64> = labels[range.clone()].iter().map(|&class| class as i64).collect();
            let classes = TensorData::new(classes, [range.len(), 1]);
            let features = Tensor::from_inner(probe.prepare(&rows, range)?);
            blocks.push((features, Tensor::<2, Int>::from_data(classes, &device)));
        }
        let config = LBFGSConfig::new()
            .with_max_iter(options.iterations)
            .with_history_size(10)
            .with_tolerance_grad(1e-6)
            .with_line_search_fn(LineSearchFn::StrongWolfe);
        let objective = |layer: Softmax| objective(&layer, &blocks, n, options.l2);
        let (layer, loss) = config.init().step(1.0, probe.layer, objective);
        if !loss.is_finite() {
            return Err(EvalError::Diverged { what: "linear probe" });
        }
        probe.layer = layer.valid();
        Ok(probe)
    }

    /// Predicts the class of each row, the first of several with equal logits.
    ///
    /// # Shapes
    /// - rows: `[n, dim]`
    ///
    /// # Errors
    /// [`EvalError`] for features with another dimension, that are not finite or all zeros, and if the device fails.
    pub fn predict(&self, rows: Tensor<2>) -> Result<Vec<usize>, EvalError> {
        let rows = UnitRows::new(rows, "query")?;
        if rows.dim() != self.mean.len() {
            let (first_dim, second_dim) = (rows.dim(), self.mean.len());
            return Err(EvalError::Dimension { first: "query", first_dim, second: "fitted row", second_dim });
        }
        let mut classes = Vec::with_capacity(rows.len());
        for range in ranges(rows.len(), BlockSize::default().rows) {
            let logits = self.layer.forward(self.prepare(&rows, range)?);
            let found = logits.argmax(1).try_into_vec_as::<i64>()?;
            classes.extend(found.into_iter().map(|class| class as usize));
        }
        Ok(classes)
    }

    fn prepare(&self, rows: &UnitRows, range: std::ops::Range<usize>) -> Result<Tensor<2>, EvalError> {
        let mut values = rows.read(range)?;
        for row in values.chunks_exact_mut(rows.dim()) {
            for (value, mean) in row.iter_mut().zip(&self.mean) {
                *value = (*value - mean) * self.scale;
            }
        }
        Ok(rows.upload(values))
    }
}

impl Softmax {
    fn forward(&self, rows: Tensor<2>) -> Tensor<2> {
        rows.matmul(self.weight.val()) + self.bias.val()
    }
}

/// Value and gradients of the objective, in blocks of rows.
fn objective(
    layer: &Softmax,
    blocks: &[(Tensor<2>, Tensor<2, Int>)],
    n: f64,
    l2: f64,
) -> (f64, GradientsParams) {
    let mut gradients = GradientsAccumulator::new();
    let mut value = 0.0;
    let mut add = |term: Tensor<1>| {
        value += term.clone().into_scalar::<f64>();
        gradients.accumulate(layer, GradientsParams::from_grads(term.backward(), layer));
    };
    add(layer.weight.val().powi_scalar(2).sum() * (l2 / 2.0));
    for (rows, classes) in blocks {
        let log_probabilities = log_softmax(layer.forward(rows.clone()), 1);
        add(log_probabilities.gather(1, classes.clone()).sum() * (-1.0 / n));
    }
    (value, gradients.grads())
}
