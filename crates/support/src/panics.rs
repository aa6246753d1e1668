//! Panics of third-party code on untrusted data.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs third-party code, and returns the message of its panic as the error.
///
/// One bad record must not end a run of millions. What the code modifies must not be used after a panic.
///
/// # Errors
/// The message of the panic.
///
/// # Examples
/// ```
/// use sail_support::catch_panic;
/// assert_eq!(catch_panic(|| 1 + 1), Ok(2));
/// assert_eq!(catch_panic(|| panic!("row {} of 2", 3)), Err::<(), _>("row 3 of 2".to_owned()));
/// ```
pub fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let message = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        message.to_owned()
    })
}
