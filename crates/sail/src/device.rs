//! Devices by name.

use burn::tensor::Device;

/// A device name that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// No backend of that name is compiled in.
    #[error("no device `{name}`, expected one of {}: other backends are features of the build", available.join(", "))]
    Unknown {
        /// The name.
        name: String,
        /// The names that this build knows.
        available: Vec<&'static str>,
    },
    /// What follows the colon is not a number.
    #[error("device `{name}` has no number after the colon, expected for instance `cuda:0`")]
    Index {
        /// The name.
        name: String,
    },
}

/// The names of the backends that this build has.
pub fn available() -> Vec<&'static str> {
    let all = [
        ("flex", cfg!(feature = "flex")),
        ("cuda", cfg!(feature = "cuda")),
        ("rocm", cfg!(feature = "rocm")),
        ("metal", cfg!(feature = "metal")),
        ("vulkan", cfg!(feature = "vulkan")),
        ("webgpu", cfg!(feature = "webgpu")),
    ];
    all.into_iter().filter_map(|(name, present)| present.then_some(name)).collect()
}

/// The device of a name: a backend, and for those with several devices a number, as in `cuda:1`.
///
/// # Errors
/// [`DeviceError`] for a backend that this build does not have; there is no falling back to another one.
///
/// # Examples
/// ```
/// let device = sail_vl::device::parse("flex")?;
/// assert!(sail_vl::device::parse("abacus").is_err());
/// # Ok::<(), sail_vl::device::DeviceError>(())
/// ```
pub fn parse(name: &str) -> Result<Device, DeviceError> {
    let (backend, number) = match name.split_once(':') {
        Some((backend, number)) => match number.parse::<usize>() {
            Ok(number) => (backend, Some(number)),
            Err(_) => {
                return Err(DeviceError::Index { name: name.to_owned() });
            }
        },
        None => (name, None),
    };
    match (backend, number) {
        #[cfg(feature = "flex")]
        ("flex", None) => Ok(Device::flex()),
        #[cfg(feature = "cuda")]
        ("cuda", number) => Ok(Device::cuda(number.unwrap_or(0))),
        #[cfg(feature = "rocm")]
        ("rocm", number) => Ok(Device::rocm(number.unwrap_or(0))),
        #[cfg(feature = "metal")]
        ("metal", number) => Ok(Device::metal(gpu(number))),
        #[cfg(feature = "vulkan")]
        ("vulkan", number) => Ok(Device::vulkan(gpu(number))),
        #[cfg(feature = "webgpu")]
        ("webgpu", number) => Ok(Device::webgpu(gpu(number))),
        _ => Err(DeviceError::Unknown { name: name.to_owned(), available: available() }),
    }
}

/// The numbered discrete card, or the system's default graphics device.
#[cfg(any(feature = "metal", feature = "vulkan", feature = "webgpu"))]
fn gpu(number: Option<usize>) -> burn::tensor::DeviceKind {
    number.map_or(burn::tensor::DeviceKind::DefaultDevice, burn::tensor::DeviceKind::DiscreteGpu)
}
