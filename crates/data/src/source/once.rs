//! Values of a source that take a pass over it.

use std::sync::OnceLock;

use crate::DataError;

/// Returns the value, which the first call computes.
pub(super) fn once<T>(
    cell: &OnceLock<T>,
    compute: impl FnOnce() -> Result<T, DataError>,
) -> Result<&T, DataError> {
    match cell.get() {
        Some(value) => Ok(value),
        None => {
            let value = compute()?;
            Ok(cell.get_or_init(|| value))
        }
    }
}
