//! Products of burn's CPU tensors.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::{
    BalancedCheckpointing, CheckpointStrategy, NoCheckpointing,
};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, binary};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, DispatchKindConversion, DispatchTensor, Flex};
use burn::tensor::{DType, Tensor, TensorData};
use sail_support::cpu::is_host_f32;

use crate::{Bf16Products, Matrix, PackedMatrix};

impl Bf16Products {
    /// Multiplies two f32 tensors of burn's CPU backend; the result is f32. The product is differentiable, and the
    /// products of its backward pass round their inputs to bf16 as well.
    ///
    /// Tensors of other devices and dtypes are multiplied by burn.
    ///
    /// # Shapes
    /// - `lhs`: `[rows, depth]`
    /// - `rhs`: `[depth, columns]`
    /// - output: `[rows, columns]`
    ///
    /// # Examples
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use sail_matmul::Bf16Products;
    ///
    /// let device = Device::flex();
    /// let x = Tensor::<2>::from_data([[1.0, 2.0]], &device);
    /// let weight = Tensor::<2>::from_data([[3.0], [1.0 / 3.0]], &device);
    /// if let Some(products) = Bf16Products::detect() {
    ///     // A third is 171 / 512 in bf16.
    ///     let product: f32 = products.matmul(x, weight).into_scalar();
    ///     assert_eq!(product, 3.0 + 171.0 / 256.0);
    /// }
    /// ```
    pub fn matmul(self, lhs: Tensor<2>, rhs: Tensor<2>) -> Tensor<2> {
        if let (Some(lhs), Some(rhs)) = (host(&lhs), host(&rhs))
            && let Some(product) = self.product(&lhs, &rhs)
        {
            return Tensor::from_primitive::<Flex>(product);
        }
        self.differentiable::<NoCheckpointing>(&lhs, &rhs)
            .or_else(|| self.differentiable::<BalancedCheckpointing>(&lhs, &rhs))
            .unwrap_or_else(|| lhs.matmul(rhs))
    }

    /// Adds a product to an f32 tensor, in its memory if no other tensor shares it. Without autodiff.
    pub(crate) fn add_matmul(self, sum: Tensor<2>, lhs: Tensor<2>, rhs: Tensor<2>) -> Tensor<2> {
        if is_host_f32(&sum)
            && sum.dims() == [lhs.dims()[0], rhs.dims()[1]]
            && let (Some(left), Some(right)) = (host(&lhs), host(&rhs))
            && let (Some(left), Some(right)) = (view(&left), view(&right))
        {
            let device = sum.device();
            let mut data = sum.into_data();
            let values = data.as_mut_slice().unwrap_or_default();
            let added = self.multiply_add(left, &self.pack(right), values);
            let sum = Tensor::from_data(data, &device);
            // burn reports a depth that does not match.
            return if added.is_ok() { sum } else { sum + lhs.matmul(rhs) };
        }
        sum + self.matmul(lhs, rhs)
    }

    /// Packs the weights of a frozen layer, a tensor of burn's CPU backend without an autodiff graph. Returns `None` for
    /// other tensors.
    ///
    /// # Shapes
    /// - `weight`: `[depth, columns]`
    pub fn pack_tensor(self, weight: &Tensor<2>) -> Option<PackedMatrix> {
        Some(self.pack(view(&host(weight)?)?))
    }

    /// Applies a linear layer of packed weights, without autodiff: [`matmul`](Self::matmul) plus the bias. Returns `None` if
    /// a tensor is not an f32 tensor of burn's CPU backend, or the shapes do not match.
    ///
    /// # Shapes
    /// - `x`: `[rows, depth]`
    /// - `weight`: `[depth, columns]`
    /// - `bias`: `[columns]`
    /// - output: `[rows, columns]`
    pub fn linear(self, x: &Tensor<2>, weight: &PackedMatrix, bias: Option<&Tensor<1>>) -> Option<Tensor<2>> {
        let x = host(x)?;
        let x = view(&x)?;
        let Some(bias) = bias else {
            return Some(Tensor::from_primitive::<Flex>(self.packed_product(x, weight)?));
        };
        let bias = bias.clone().into_data().try_to_vec::<f32>().ok()?;
        if bias.len() != weight.shape()[1] {
            return None;
        }
        let mut output = bias.repeat(x.shape()[0]);
        self.multiply_add(x, weight, &mut output).ok()?;
        let shape = [x.shape()[0], bias.len()];
        Some(Tensor::from_primitive::<Flex>(FlexTensor::from_data(TensorData::new(output, shape))))
    }

    fn product(self, lhs: &FlexTensor, rhs: &FlexTensor) -> Option<FlexTensor> {
        self.packed_product(view(lhs)?, &self.pack(view(rhs)?))
    }

    fn packed_product(self, lhs: Matrix<'_>, rhs: &PackedMatrix) -> Option<FlexTensor> {
        let shape = [lhs.shape()[0], rhs.shape()[1]];
        let mut product = vec![0f32; shape[0] * shape[1]];
        self.multiply(lhs, rhs, &mut product).ok()?;
        Some(FlexTensor::from_data(TensorData::new(product, shape)))
    }

    /// The product as an operation of burn's autodiff.
    fn differentiable<C>(self, lhs: &Tensor<2>, rhs: &Tensor<2>) -> Option<Tensor<2>>
    where
        C: CheckpointStrategy,
        DispatchTensor: DispatchKindConversion<Autodiff<Flex, C>>,
    {
        let [lhs, rhs] = [lhs, rhs].map(|x| x.clone().try_into_primitive::<Autodiff<Flex, C>>().ok());
        let (lhs, rhs) = (lhs?, rhs?);
        let product = self.product(lhs.primitive(), rhs.primitive())?;
        let [of_lhs, of_rhs] = [&lhs, &rhs].map(|x| x.is_tracked());
        let backward = Product.prepare::<C>([lhs.node(), rhs.node()]).compute_bound();
        let product = match backward.stateful() {
            OpsKind::Tracked(mut operation) => {
                // A gradient needs the other input.
                let lhs = of_rhs.then(|| operation.checkpoint(&lhs));
                let rhs = of_lhs.then(|| operation.checkpoint(&rhs));
                operation.finish(State { products: self, inputs: [lhs, rhs] }, product)
            }
            OpsKind::UnTracked(operation) => operation.finish(product),
        };
        Some(Tensor::from_primitive::<Autodiff<Flex, C>>(product))
    }
}

/// The backward pass of a product.
#[derive(Debug)]
struct Product;

#[derive(Debug, Clone)]
struct State {
    products: Bf16Products,
    /// The inputs, if they are needed.
    inputs: [Option<NodeId>; 2],
}

impl Backward<Flex, 2> for Product {
    type State = State;

    fn backward(self, ops: Ops<State, 2>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let State { products, inputs } = ops.state;
        let [lhs, rhs] = inputs.map(|input| input.map(|input| checkpointer.retrieve_node_output(input)));
        let transposed = |x: Option<FlexTensor>| x.map(|x| x.transpose(0, 1));
        // The shapes match, because they did in the forward pass.
        let product = |a: Option<FlexTensor>, b: Option<FlexTensor>| products.product(&a?, &b?);
        binary::<Flex, _, _>(
            ops.parents,
            ops.node,
            gradients,
            |gradient| product(Some(gradient.clone()), transposed(rhs)).unwrap_or(gradient),
            |gradient| product(transposed(lhs), Some(gradient.clone())).unwrap_or(gradient),
        );
    }
}

/// The tensor in host memory.
fn host(x: &Tensor<2>) -> Option<FlexTensor> {
    x.clone().try_into_primitive::<Flex>().ok()
}

/// A view of an f32 tensor.
fn view(x: &FlexTensor) -> Option<Matrix<'_>> {
    if x.dtype() != DType::F32 {
        return None;
    }
    let &[rows, columns] = x.layout().shape().as_slice() else { return None };
    let &[row, column] = x.layout().strides() else { return None };
    let values = x.storage::<f32>().get(x.layout().start_offset()..)?;
    let strides = [usize::try_from(row).ok()?, usize::try_from(column).ok()?];
    Matrix::with_strides(values, [rows, columns], strides).ok()
}
