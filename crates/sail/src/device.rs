//! Devices by name.

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
    /// What follows the colon is neither a number nor `cpu`.
    #[error("device `{name}` has neither a number nor `cpu` after the colon, expected for instance `cuda:0`")]
    Index {
        /// The name.
        name: String,
    },
    /// The backend is compiled in, but this machine has no such device, or no driver for it.
    #[error(
        "no device `{name}` on this machine, expected {}: what has no driver installed is not found",
        one_of(present)
    )]
    Absent {
        /// The name.
        name: String,
        /// The names of the devices that are there; see [`present`].
        present: Vec<String>,
    },
}

fn one_of(names: &[String]) -> String {
    match names {
        [] => "a build with another backend".to_owned(),
        names => format!("one of {}", names.join(", ")),
    }
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

/// The names of the devices that this machine has and this build can use, as [`parse`] takes them.
///
/// # Examples
/// ```
/// assert!(sail_vl::device::present().contains(&"flex".to_owned()));
/// ```
pub fn present() -> Vec<String> {
    let mut names = Vec::new();
    for backend in available() {
        let found = Found::on(backend);
        // The CPU is one device, so a number would say nothing.
        match backend {
            "flex" => names.push(backend.to_owned()),
            _ => names.extend((0..found.numbered.len()).map(|number| format!("{backend}:{number}"))),
        }
        names.extend(found.software.map(|_| format!("{backend}:cpu")));
    }
    names
}

/// The device of a name.
///
/// | name | device |
/// |---|---|
/// | `flex` | the CPU, in pure Rust |
/// | `cuda`, `rocm` | the first card of NVIDIA or AMD |
/// | `metal`, `vulkan` | the first card that this graphics API has |
/// | `webgpu` | the first card of Vulkan, Direct3D 12, OpenGL or, on a Mac, Metal, whichever is there first |
/// | `cuda:1` | the second card: numbers count from 0, and those of a graphics API count separate cards first |
/// | `webgpu:cpu` | the software device of a graphics API, a driver that computes on the CPU |
///
/// Only the last of these names gives a software device: where there is no card, `webgpu` is absent.
///
/// # Errors
/// [`DeviceError`] for a backend that this build does not have, and for a device that this machine does not have;
/// there is no falling back to another one.
///
/// # Examples
/// ```
/// let device = sail_vl::device::parse("flex")?;
/// assert!(sail_vl::device::parse("abacus").is_err());
/// # Ok::<(), sail_vl::device::DeviceError>(())
/// ```
pub fn parse(name: &str) -> Result<Device, DeviceError> {
    let (backend, which) = match name.split_once(':') {
        Some((backend, which)) => (backend, which),
        None => (name, "0"),
    };
    if !available().contains(&backend) {
        return Err(DeviceError::Unknown { name: name.to_owned(), available: available() });
    }
    let device = match which {
        "cpu" => Found::on(backend).software,
        number => {
            let number = number.parse().map_err(|_| DeviceError::Index { name: name.to_owned() })?;
            Found::on(backend).numbered.into_iter().nth(number)
        }
    };
    device.ok_or_else(|| DeviceError::Absent { name: name.to_owned(), present: present() })
}

/// What this machine has of a backend. Finding a device does not open it.
#[derive(Default)]
struct Found {
    /// The devices that go by their number.
    numbered: Vec<Device>,
    /// The driver that computes on the CPU.
    software: Option<Device>,
}

impl Found {
    fn on(backend: &str) -> Self {
        match backend {
            #[cfg(feature = "flex")]
            "flex" => Self::cards(vec![Device::flex()]),
            #[cfg(feature = "cuda")]
            "cuda" => Self::cards(Device::enumerate(DeviceType::Cuda).into_vec()),
            #[cfg(feature = "rocm")]
            "rocm" => Self::cards(Device::enumerate(DeviceType::Rocm).into_vec()),
            #[cfg(feature = "metal")]
            "metal" => Self::graphics(DeviceType::Metal, Device::metal),
            #[cfg(feature = "vulkan")]
            "vulkan" => Self::graphics(DeviceType::Vulkan, Device::vulkan),
            // `Device::webgpu` is the API of browsers, which nothing outside of one has.
            #[cfg(feature = "webgpu")]
            "webgpu" => Self::graphics(DeviceType::Wgpu, Device::wgpu),
            _ => Self::default(),
        }
    }

    #[cfg(any(feature = "flex", feature = "cuda", feature = "rocm"))]
    fn cards(numbered: Vec<Device>) -> Self {
        Self { numbered, software: None }
    }

    #[cfg(any(feature = "metal", feature = "vulkan", feature = "webgpu"))]
    fn graphics(api: DeviceType, device: fn(DeviceKind) -> Device) -> Self {
        let software = device(DeviceKind::Cpu);
        let (software, mut numbered): (Vec<_>, Vec<_>) =
            Device::enumerate(api).into_vec().into_iter().partition(|found| *found == software);
        // Drivers list cards in any order. A separate card is faster than one that is part of the CPU.
        let separate: Vec<_> = (0..numbered.len()).map(|n| device(DeviceKind::DiscreteGpu(n))).collect();
        numbered.sort_by_key(|found| !separate.contains(found));
        Self { numbered, software: software.into_iter().next() }
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_one_device() {
        assert_eq!(parse("flex"), Ok(Device::flex()));
        assert_eq!(parse("flex:0"), Ok(Device::flex()));
        for name in ["flex:1", "flex:99999999999", "flex:cpu"] {
            let absent = DeviceError::Absent { name: name.to_owned(), present: present() };
            assert_eq!(parse(name), Err(absent));
        }
    }

    #[test]
    fn an_absent_device_is_named_with_those_that_are_there() {
        let error = |present| DeviceError::Absent { name: "cuda:3".to_owned(), present }.to_string();
        let found = error(vec!["flex".to_owned(), "cuda:0".to_owned()]);
        assert!(
            found.starts_with("no device `cuda:3` on this machine, expected one of flex, cuda:0"),
            "{found}"
        );
        assert!(error(vec![]).contains("a build with another backend"));
    }

    #[test]
    fn what_is_not_a_number_is_said_so() {
        for name in ["flex:", "flex:one", "flex:-1", "flex:0:0"] {
            assert_eq!(parse(name), Err(DeviceError::Index { name: name.to_owned() }));
        }
    }

    #[test]
    fn every_present_device_has_a_name_that_parses() {
        let present = present();
        assert!(present.contains(&"flex".to_owned()), "{present:?}");
        for name in present {
            assert!(parse(&name).is_ok(), "{name}");
        }
    }
}
