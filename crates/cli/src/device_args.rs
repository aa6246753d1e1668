//! `--device`.

use clap::Args;
use sail_vl::burn::tensor::Device;
use sail_vl::device::{self, DeviceError};

/// The device to compute on.
#[derive(Args, Clone)]
pub(crate) struct DeviceArgs {
    /// Device to compute on: `cpu`, `auto` or another name that `sail devices` lists.
    #[arg(
        long,
        value_name = "DEVICE",
        env = "SAIL_DEVICE",
        hide_env_values = true,
        default_value = device::default_name()
    )]
    device: String,
}

impl DeviceArgs {
    pub(crate) fn open(&self) -> Result<Device, DeviceError> {
        device::parse(&self.device)
    }
}

/// The devices to compute on.
#[derive(Args, Clone)]
pub(crate) struct DeviceListArgs {
    /// Device to compute on: `cpu`, `auto` or another name that `sail devices` lists. Several, separated by commas, share
    /// the work.
    #[arg(
        long = "device",
        value_name = "DEVICE",
        env = "SAIL_DEVICE",
        hide_env_values = true,
        value_delimiter = ',',
        default_value = device::default_name()
    )]
    devices: Vec<String>,
}

impl DeviceListArgs {
    pub(crate) fn open(&self) -> Result<Vec<Device>, DeviceError> {
        self.devices.iter().map(|name| device::parse(name)).collect()
    }

    /// The names of the devices; `auto` is resolved.
    pub(crate) fn names(&self) -> Vec<String> {
        self.devices.iter().map(|name| resolve(name)).collect()
    }
}

/// Resolves `auto` to the name of the device it selects.
fn resolve(name: &str) -> String {
    let chosen = if name == "auto" { device::auto() } else { None };
    chosen.unwrap_or_else(|| name.to_owned())
}
