//! Matrix products with bf16 inputs and f32 sums in host memory.
//!
//! Recent x86 CPUs multiply bf16 twice as fast as f32: AMD since Zen 4 and Intel since Cooper Lake with `vdpbf16ps`
//! (AVX-512 BF16). [`Bf16Products::detect`] returns whether this one does; nothing is emulated. Inputs are f32 matrices
//! with any strides. They are rounded to bf16, to nearest with ties to even, while they are packed, so a product reads
//! them once.
//!
//! Each element of a product is the sum of `depth` products in the order of their index, in blocks of fixed length. It
//! does not depend on the number of threads, nor on the other rows and columns.
//!
//! # Examples
//! ```
//! use sail_matmul::{Bf16Products, Matrix};
//!
//! let a = Matrix::new(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3])?;
//! let b = Matrix::new(&[1.0, 0.0, 0.5, 1.0, 0.0, 2.0], [3, 2])?;
//! // None on a CPU without instructions for bf16.
//! if let Some(products) = Bf16Products::detect() {
//!     let mut product = [0.0; 4];
//!     products.multiply(a, &products.pack(b), &mut product)?;
//!     assert_eq!(product, [2.0, 8.0, 6.5, 17.0]);
//! }
//! # Ok::<(), sail_matmul::MatmulError>(())
//! ```

#[cfg_attr(target_arch = "x86_64", path = "avx512.rs")]
#[cfg_attr(not(target_arch = "x86_64"), path = "unsupported.rs")]
mod kernel;
mod matrix;
mod packed;
mod product;
#[cfg(feature = "tensor")]
mod products;
#[cfg(feature = "flex")]
mod tensor;
#[cfg(feature = "flex")]
mod weight;

pub use matrix::{MatmulError, Matrix};
pub use packed::PackedMatrix;
pub use product::Bf16Products;
#[cfg(feature = "tensor")]
pub use products::Products;
#[cfg(feature = "flex")]
pub use weight::PackedWeight;
