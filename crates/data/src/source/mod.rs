//! Sources of images and captions: folders, tables, archives.
//!
//! [`open_images`] and [`open_captions`] detect the format and document the order and the keys of the records. File names in
//! a dataset cannot refer to files outside its folder, nothing is unpacked to disk or executed, and an unusable row is a
//! record with a reason, so that one bad row does not end a job.

mod cell;
mod chain;
mod coco;
mod delimited;
mod folder;
mod folder_captions;
mod image_root;
mod json_lines;
mod layout;
mod lines;
mod listing;
mod members;
mod once;
mod open;
mod options;
mod owners;
#[cfg(feature = "parquet")]
mod parquet;
mod passed_over;
mod physical_lines;
mod quoted_rows;
mod record;
mod sample;
mod scope;
mod seen;
mod shards;
mod sidecar;
mod table;
mod tar;
mod text;
mod window;

pub use image_root::{ImageRoot, is_image_name};
pub use listing::is_hidden;
pub use open::{open_captions, open_images};
pub use options::{KeyScope, SourceOptions};
pub use passed_over::{PassedOver, SuffixCount};
pub use record::{ImageData, Record, RecordSource, Records};
pub use tar::tar_members;
