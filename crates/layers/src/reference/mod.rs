//! Heads of the reference implementation, the published code of SAIL's authors.
//!
//! Its checkpoints are dictionaries of tensors, written by `torch.save`:
//!
//! | tensors | part |
//! |---|---|
//! | `{vision,text}_layer_norm` | LayerNorm |
//! | `{vision,text}_mapping_network` | linear |
//! | `{vision,text}_mapping_network.proj.{0,2}` | MLP |
//! | `{vision,text}_mapping_network.{f1,f2,g}` | GLU, called `star` there: gate, value, output |
//! | `text_mapping_network.layers.N` | ShareLock, whose image side is the identity |
//! | `logit_scale`, `logit_bias` | the logarithm of the scale, and the bias |

mod export;
mod import;
mod layout;
mod settings;

pub use export::ExportFormat;
