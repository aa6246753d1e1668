//! Files of `torch.save`.

mod pickle;
mod read;
mod write;

pub use read::open;
pub use write::{Floats, save};
