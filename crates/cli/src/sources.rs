//! Images, captions and data sets from the command line.

use std::path::Path;

use clap::Args;
use sail_vl::core::Named;
use sail_vl::data::source::{ImageData, KeyScope, RecordSource, SourceOptions, open_captions, open_images};

use crate::error::CliError;
use crate::links::LinkArgs;
use crate::named::named;
use crate::objects;

/// How a source is read, the same for images and captions.
#[derive(Args)]
pub(crate) struct SourceArgs {
    /// Column of the keys in a table [default: `key`, else the image paths, else the row number].
    #[arg(long, value_name = "COLUMN")]
    key_column: Option<String>,
    /// Column of the images in a table, paths, URLs or bytes; in tars, the field of the images, such as `target.jpg`.
    #[arg(long, value_name = "COLUMN")]
    image_column: Option<String>,
    /// Whether keys, unless they are image paths, are unique within each file of the source, and get the name of the file in
    /// front, or in the whole source.
    #[arg(long, value_name = "SCOPE", default_value = "file", value_parser = named::<KeyScope>())]
    key_scope: KeyScope,
    /// The first row of CSV and TSV files is data; columns are called 1, 2 and so on.
    #[arg(long)]
    no_header: bool,
    /// Quotes in CSV and TSV files are part of the text.
    #[arg(long)]
    no_quotes: bool,
    #[command(flatten)]
    links: LinkArgs,
}

impl SourceArgs {
    pub(crate) fn options(&self) -> SourceOptions {
        SourceOptions {
            key_column: self.key_column.clone(),
            image_column: self.image_column.clone(),
            key_scope: self.key_scope,
            header: !self.no_header,
            quotes: !self.no_quotes,
            follow_links: self.links.are_followed(),
            ..SourceOptions::default()
        }
    }
}

/// Describes a source in one line, which a resume compares. Options at their default are left out.
pub(crate) fn describe(input: &str, options: &SourceOptions) -> String {
    let mut text = input.trim_end_matches('/').to_owned();
    let named = [("key column", &options.key_column), ("image column", &options.image_column)];
    let named = named.into_iter().filter_map(|(what, name)| Some((what, name.as_ref()?)));
    for (what, name) in named.chain(options.caption_columns.iter().map(|column| ("caption column", column))) {
        text.push_str(&format!(", {what} {name}"));
    }
    if let Some(root) = &options.image_root {
        text.push_str(&format!(", images in {}", root.display()));
    }
    for (changed, what) in [(!options.header, "without header"), (!options.quotes, "without quotes")] {
        if changed {
            text.push_str(&format!(", {what}"));
        }
    }
    text
}

/// Settings of a source that change its keys, which resumed and merged encodings must have in common.
pub(crate) fn settings(options: &SourceOptions) -> Option<(String, String)> {
    let changed = options.key_scope != KeyScope::default();
    changed.then(|| ("key_scope".to_owned(), options.key_scope.name().to_owned()))
}

pub(crate) fn images(
    input: &str,
    options: &SourceOptions,
) -> Result<Box<dyn RecordSource<ImageData>>, CliError> {
    open_images(Path::new(&*objects::local(input)?), options)
        .map_err(|source| CliError::Input { spec: input.to_owned(), source })
}

pub(crate) fn captions(
    input: &str,
    options: &SourceOptions,
) -> Result<Box<dyn RecordSource<String>>, CliError> {
    open_captions(Path::new(&*objects::local(input)?), options)
        .map_err(|source| CliError::Input { spec: input.to_owned(), source })
}
