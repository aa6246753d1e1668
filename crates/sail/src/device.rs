//! Devices by name: `cpu`, `auto`, `cuda:0`, `webgpu:cpu`.

use burn::tensor::Device;
#[cfg(any(feature = "metal", feature = "vulkan", feature = "webgpu"))]
use burn::tensor::DeviceKind;
#[cfg(any(
    feature = "cuda",
    feature = "rocm",
    feature = "metal",
    feature = "vulkan",
    feature = "webgpu"
))]
use burn::tensor::DeviceType;
use sail_matmul::Bf16Products;

/// An error of [`parse`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The name is not a backend of this build.
    #[error(
        "unknown device `{name}`, expected one of {}: other backends must be enabled as cargo features",
        available.join(", ")
    )]
    Unknown {
        /// The name.
        name: String,
        /// The names that this build supports.
        available: Vec<&'static str>,
    },
    /// The part after the colon is neither an index nor `cpu`.
    #[error("invalid device `{name}`, expected an index or `cpu` after the colon, such as `cuda:0`")]
    Index {
        /// The name.
        name: String,
    },
    /// The backend is compiled in, but the device or its driver was not found on this machine.
    #[error(
        "device `{name}` not found on this machine, expected {}: a device without an installed driver is not found",
        one_of(present)
    )]
    Absent {
        /// The name.
        name: String,
        /// The names of the devices that were found; see [`present`].
        present: Vec<String>,
    },
}

fn one_of(names: &[String]) -> String {
    match names {
        [] => "a build with another backend".to_owned(),
        names => format!("one of {}", names.join(", ")),
    }
}

/// Name and description of each backend, and whether it is part of this build. GPU backends are in the order in which
/// `auto` prefers them.
const BACKENDS: [(&str, &str, bool); 6] = [
    (CPU, "CPU (burn's flex backend)", cfg!(feature = "flex")),
    ("cuda", "NVIDIA GPU (CUDA)", cfg!(feature = "cuda")),
    ("rocm", "AMD GPU (ROCm)", cfg!(feature = "rocm")),
    ("metal", "GPU (Metal)", cfg!(feature = "metal")),
    ("vulkan", "GPU (Vulkan)", cfg!(feature = "vulkan")),
    ("webgpu", "GPU (Vulkan, Direct3D 12, OpenGL or Metal)", cfg!(feature = "webgpu")),
];

const CPU: &str = "cpu";

/// Selects the first GPU, or the CPU if there is no GPU.
const AUTO: &str = "auto";

/// Returns the names of the backends in this build.
pub fn available() -> Vec<&'static str> {
    BACKENDS.into_iter().filter_map(|(name, _, built)| built.then_some(name)).collect()
}

/// Returns the names of the devices of this machine that this build supports, as accepted by [`parse`].
///
/// # Examples
/// ```
/// assert!(sail_vl::device::present().contains(&"cpu".to_owned()));
/// ```
pub fn present() -> Vec<String> {
    available().into_iter().flat_map(present_on).collect()
}

fn present_on(backend: &str) -> Vec<String> {
    let found = Found::on(backend);
    let mut names = match backend {
        // There is only one CPU, so its name has no index.
        CPU => found.indexed.iter().map(|_| backend.to_owned()).collect(),
        _ => (0..found.indexed.len()).map(|index| format!("{backend}:{index}")).collect::<Vec<_>>(),
    };
    names.extend(found.software.map(|_| format!("{backend}:cpu")));
    names
}

/// Returns the name of the default device: `auto` if the build has a GPU backend, `cpu` otherwise.
pub fn default_name() -> &'static str {
    if available().iter().any(|name| *name != CPU) { AUTO } else { CPU }
}

/// A device or an unavailable backend in the result of [`list`].
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct DeviceInfo {
    /// The name, as accepted by [`parse`].
    pub name: String,
    /// The hardware and the API.
    pub description: String,
    /// Whether the device was found and this build supports it.
    pub available: bool,
    /// Why it is not available.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether `auto` selects it.
    pub auto: bool,
}

/// Lists the devices of this machine, and the backends that have no device or are not in this build.
///
/// # Examples
/// ```
/// let devices = sail_vl::device::list();
/// assert_eq!(devices.iter().filter(|device| device.auto).count(), 1);
/// ```
pub fn list() -> Vec<DeviceInfo> {
    let mut devices = Vec::new();
    for (backend, what, built) in BACKENDS {
        let names = if built { present_on(backend) } else { Vec::new() };
        if names.is_empty() {
            let reason = match built {
                true => "no device or no driver found".to_owned(),
                false if backend == CPU => "not in this build: enable the feature `flex`".to_owned(),
                false => format!("not in this build: enable the feature `{backend}`"),
            };
            let (name, description) = (backend.to_owned(), what.to_owned());
            devices.push(DeviceInfo {
                name,
                description,
                available: false,
                reason: Some(reason),
                auto: false,
            });
        }
        devices.extend(names.into_iter().map(|name| DeviceInfo {
            description: match (name.ends_with(":cpu"), Bf16Products::detect()) {
                (true, _) => format!("{what}, software device on the CPU"),
                (false, Some(bf16)) if name == CPU => format!("{what}, bf16 by {}", bf16.instructions()),
                _ => what.to_owned(),
            },
            name,
            available: true,
            reason: None,
            auto: false,
        }));
    }
    if let Some(chosen) = auto() {
        devices.iter_mut().for_each(|device| device.auto = device.name == chosen);
    }
    devices
}

/// Returns the name of the device that `auto` selects: the first GPU, else the CPU, else a software device.
pub fn auto() -> Option<String> {
    choose(present())
}

fn choose(present: Vec<String>) -> Option<String> {
    let rank = |name: &String| match name.as_str() {
        CPU => 1,
        name if name.ends_with(":cpu") => 2,
        _ => 0,
    };
    // `min_by_key` returns the first of equal candidates.
    present.into_iter().min_by_key(rank)
}

/// Returns the device with the given name.
///
/// | name | device |
/// |---|---|
/// | `cpu` | the CPU, in pure Rust; `flex` is an alias |
/// | `auto` | the first GPU, or the CPU if there is no GPU |
/// | `cuda`, `rocm` | the first NVIDIA or AMD GPU |
/// | `metal`, `vulkan` | the first GPU of this graphics API |
/// | `webgpu` | the first GPU of Vulkan, Direct3D 12, OpenGL or, on a Mac, Metal, whichever is found first |
/// | `cuda:1` | the second GPU; indices start at 0, and graphics APIs list discrete GPUs first |
/// | `webgpu:cpu` | the software device of a graphics API: a driver that computes on the CPU |
///
/// Software devices are only returned if requested as in the last row: `webgpu` is an error on a machine without a GPU.
///
/// # Errors
/// Returns [`DeviceError`] if the backend is not in this build or the device was not found. Only `auto` falls back to
/// another device.
///
/// # Examples
/// ```
/// let device = sail_vl::device::parse("cpu")?;
/// assert!(sail_vl::device::parse("abacus").is_err());
/// # Ok::<(), sail_vl::device::DeviceError>(())
/// ```
pub fn parse(name: &str) -> Result<Device, DeviceError> {
    if name == AUTO {
        let chosen = auto().ok_or(DeviceError::Absent { name: name.to_owned(), present: Vec::new() })?;
        return parse(&chosen);
    }
    let (backend, which) = match name.split_once(':') {
        Some((backend, which)) => (backend, which),
        None => (name, "0"),
    };
    // The name of the CPU backend in burn.
    let backend = if backend == "flex" { CPU } else { backend };
    if !available().contains(&backend) {
        let available = available().into_iter().chain([AUTO]).collect();
        return Err(DeviceError::Unknown { name: name.to_owned(), available });
    }
    let device = match which {
        "cpu" => Found::on(backend).software,
        index => {
            let index = index.parse().map_err(|_| DeviceError::Index { name: name.to_owned() })?;
            Found::on(backend).indexed.into_iter().nth(index)
        }
    };
    device.ok_or_else(|| DeviceError::Absent { name: name.to_owned(), present: present() })
}

/// The devices of one backend on this machine. Enumerating them does not initialize them.
#[derive(Default)]
struct Found {
    /// The devices that are selected by index.
    indexed: Vec<Device>,
    /// The driver that computes on the CPU.
    software: Option<Device>,
}

impl Found {
    fn on(backend: &str) -> Self {
        match backend {
            #[cfg(feature = "flex")]
            CPU => Self::indexed(vec![Device::flex()]),
            #[cfg(feature = "cuda")]
            "cuda" => Self::indexed(Device::enumerate(DeviceType::Cuda).into_vec()),
            #[cfg(feature = "rocm")]
            "rocm" => Self::indexed(Device::enumerate(DeviceType::Rocm).into_vec()),
            #[cfg(feature = "metal")]
            "metal" => Self::graphics(DeviceType::Metal, Device::metal),
            #[cfg(feature = "vulkan")]
            "vulkan" => Self::graphics(DeviceType::Vulkan, Device::vulkan),
            // `Device::webgpu` is the browser API, which is not available in native builds.
            #[cfg(feature = "webgpu")]
            "webgpu" => Self::graphics(DeviceType::Wgpu, Device::wgpu),
            _ => Self::default(),
        }
    }

    #[cfg(any(feature = "flex", feature = "cuda", feature = "rocm"))]
    fn indexed(indexed: Vec<Device>) -> Self {
        Self { indexed, software: None }
    }

    #[cfg(any(feature = "metal", feature = "vulkan", feature = "webgpu"))]
    fn graphics(api: DeviceType, device: fn(DeviceKind) -> Device) -> Self {
        let software = device(DeviceKind::Cpu);
        let (software, mut indexed): (Vec<_>, Vec<_>) =
            Device::enumerate(api).into_vec().into_iter().partition(|found| *found == software);
        // Drivers list GPUs in any order. Discrete GPUs go first, because they are faster than integrated ones.
        let discrete: Vec<_> = (0..indexed.len()).map(|n| device(DeviceKind::DiscreteGpu(n))).collect();
        indexed.sort_by_key(|found| !discrete.contains(found));
        Self { indexed, software: software.into_iter().next() }
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    #[test]
    fn cpu_has_one_device_and_an_alias() {
        for name in ["cpu", "cpu:0", "flex", "flex:0"] {
            assert_eq!(parse(name), Ok(Device::flex()), "{name}");
        }
        for name in ["cpu:1", "flex:99999999999", "cpu:cpu"] {
            let absent = DeviceError::Absent { name: name.to_owned(), present: present() };
            assert_eq!(parse(name), Err(absent));
        }
    }

    #[test]
    fn auto_prefers_gpus_to_cpu_to_software_devices() {
        let choose = |names: &[&str]| super::choose(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(choose(&["cpu", "cuda:0", "cuda:1", "webgpu:0"]).unwrap(), "cuda:0");
        assert_eq!(choose(&["cpu", "webgpu:cpu"]).unwrap(), "cpu");
        assert_eq!(choose(&["vulkan:cpu", "webgpu:cpu"]).unwrap(), "vulkan:cpu");
        assert_eq!(choose(&[]), None);
    }

    #[test]
    fn lists_every_backend_and_marks_the_auto_device() {
        let devices = list();
        for (backend, _, built) in BACKENDS {
            let of_backend = |info: &&DeviceInfo| info.name.split(':').next() == Some(backend);
            let listed: Vec<_> = devices.iter().filter(of_backend).collect();
            assert!(!listed.is_empty(), "{backend}");
            assert!(listed.iter().all(|info| info.available == info.reason.is_none()));
            assert!(built || !listed[0].available, "{backend}");
        }
        let auto: Vec<_> = devices.iter().filter(|info| info.auto).collect();
        assert_eq!(auto.len(), 1);
        assert_eq!(parse("auto"), parse(&auto[0].name));
    }

    #[test]
    fn absent_device_error_lists_present_devices() {
        let error = |present| DeviceError::Absent { name: "cuda:3".to_owned(), present }.to_string();
        let found = error(vec!["cpu".to_owned(), "cuda:0".to_owned()]);
        assert!(
            found.starts_with("device `cuda:3` not found on this machine, expected one of cpu, cuda:0"),
            "{found}"
        );
        assert!(error(vec![]).contains("a build with another backend"));
    }

    #[test]
    fn rejects_an_invalid_index() {
        for name in ["cpu:", "cpu:one", "cpu:-1", "flex:0:0"] {
            assert_eq!(parse(name), Err(DeviceError::Index { name: name.to_owned() }));
        }
    }

    #[test]
    fn parses_the_name_of_every_present_device() {
        let present = present();
        assert!(present.contains(&"cpu".to_owned()), "{present:?}");
        for name in present {
            assert!(parse(&name).is_ok(), "{name}");
        }
    }
}
