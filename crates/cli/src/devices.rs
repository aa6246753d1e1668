//! `sail devices`.

use std::io::Write;

use clap::Args;
use sail_vl::device;
use serde_json::json;

use crate::error::CliError;
use crate::output::print;

#[derive(Args)]
pub(crate) struct DevicesArgs {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &DevicesArgs) -> Result<(), CliError> {
    let devices = device::list();
    print(args.json, &json!({ "devices": devices }), |out| {
        let widths = devices.iter().map(|device| (device.name.len(), device.description.len()));
        let (name, what) =
            widths.fold((4, 6), |widest, device| (widest.0.max(device.0), widest.1.max(device.1)));
        writeln!(out, "{:<name$}  {:<what$}  AVAILABLE", "NAME", "DEVICE")?;
        for device in &devices {
            let available = match &device.reason {
                None if device.auto => "yes, chosen by `auto`",
                None => "yes",
                Some(reason) => &format!("no: {reason}"),
            };
            writeln!(out, "{:<name$}  {:<what$}  {available}", device.name, device.description)?;
        }
        Ok(())
    })
}
