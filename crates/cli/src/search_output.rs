//! The results of `sail search`.

use std::io::{Write, stdout};
use std::path::PathBuf;

use clap::{ArgGroup, Args};
use sail_vl::report::{Facts, Gallery, GalleryItem, Image, Report, Section};
use sail_vl::search::{Entry, Hit, Index, Query, QueryTerm, Subject};
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::CliError;
use crate::named::named;
use crate::output::print;
use crate::shown_images::thumbnail_of;
use crate::terminal_images::ImageProtocol;

#[derive(Args)]
#[command(group(ArgGroup::new("format").args(["json", "paths", "null"])))]
pub(crate) struct OutputArgs {
    /// Print the paths of the files only, one in each line.
    #[arg(long)]
    paths: bool,
    /// Print the paths only, each followed by a NUL byte, for `xargs -0`.
    #[arg(short = '0', long)]
    null: bool,
    /// Write an HTML page with the images.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print no images, which terminals that are known to show them get: kitty, Ghostty, iTerm2, WezTerm, mintty, foot, mlterm,
    /// contour, Konsole, Windows Terminal.
    #[arg(long, alias = "no-pictures")]
    no_images: bool,
    /// Print images in this way, whatever the terminal is.
    #[arg(long, value_name = "PROTOCOL", value_parser = named::<ImageProtocol>(), conflicts_with = "no_images")]
    image_protocol: Option<ImageProtocol>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// An image that was found.
#[derive(Serialize)]
pub(crate) struct Found {
    #[serde(skip)]
    pub(crate) hit: Hit,
    #[serde(flatten)]
    pub(crate) entry: Entry,
}

pub(crate) fn write(
    args: &OutputArgs,
    index: &Index,
    query: &Query,
    found: &[Found],
    among: usize,
) -> Result<(), CliError> {
    if let Some(path) = &args.report {
        report(index, query, found, among)?.save(path)?;
    }
    if args.paths || args.null {
        return paths(found, if args.null { b'\0' } else { b'\n' });
    }
    let hits = found.iter().map(|found| {
        let mut hit = serde_json::to_value(found)?;
        hit["score"] = found.hit.score.into();
        Ok(hit)
    });
    let hits = hits.collect::<Result<Vec<Value>, serde_json::Error>>()?;
    let terms: Vec<Value> = query.terms().iter().map(term).collect();
    let protocol = args.image_protocol.or_else(|| ImageProtocol::detect().filter(|_| !args.no_images));
    print(args.json, &json!({"query": terms, "images": among, "hits": hits}), |out| {
        if found.is_empty() {
            writeln!(out, "none of the images fulfils the conditions")?;
        }
        for Found { hit, entry } in found {
            if let (Some(protocol), Ok(jpeg)) = (protocol, thumbnail_of(index, hit.row, entry)) {
                protocol.write(&jpeg, out)?;
            }
            let caption = entry.captions.first().map(|caption| format!("  {caption}")).unwrap_or_default();
            writeln!(out, "{:.4}  {}", hit.score, printable(&(name(entry) + &caption)))?;
        }
        Ok(())
    })
}

fn term(term: &QueryTerm) -> Value {
    match &term.subject {
        Subject::Text(text) => json!({"weight": term.weight, "text": text}),
        Subject::Image(path) => json!({"weight": term.weight, "image": path}),
        Subject::Entry(key) => json!({"weight": term.weight, "like": key}),
    }
}

/// The file, else the address, else the key, which is that of a record in an archive or table.
fn name(entry: &Entry) -> String {
    let file = entry.file.as_ref().map(|file| file.display().to_string());
    file.or_else(|| entry.url.clone()).unwrap_or_else(|| entry.key.clone())
}

/// Replaces control characters, with which a caption could write anything to a terminal.
fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

fn paths(found: &[Found], end: u8) -> Result<(), CliError> {
    let mut out = stdout().lock();
    for Found { entry, .. } in found {
        let Some(file) = &entry.file else {
            let message = format!("the image `{}` is not a file of its own: use `--json`", entry.key);
            return Err(CliError::Usage(message));
        };
        out.write_all(file.as_os_str().as_encoded_bytes())?;
        out.write_all(&[end])?;
    }
    Ok(())
}

/// A page with the images.
fn report(index: &Index, query: &Query, found: &[Found], among: usize) -> Result<Report, CliError> {
    let parts = query.terms().iter().map(|term| {
        let subject = match &term.subject {
            Subject::Text(text) => text.clone(),
            Subject::Image(path) => path.display().to_string(),
            Subject::Entry(key) => key.clone(),
        };
        match term.weight {
            1.0 => subject,
            weight => format!("{weight} * {subject}"),
        }
    });
    let title = parts.collect::<Vec<_>>().join(" + ").replace("+ -", "- ");
    let mut gallery = Gallery::new();
    for Found { hit, entry } in found {
        let (image, problem) = match image(index, hit.row, entry) {
            Ok(image) => (image, None),
            Err(problem) => (Image::text("?"), Some(problem)),
        };
        let notes = [Some(format!("{:.3}", hit.score)), entry.captions.first().cloned(), problem];
        let note = notes.into_iter().flatten().collect::<Vec<_>>().join(", ");
        gallery = gallery.item(GalleryItem::new(image).title(&entry.key).note(note));
    }
    let identity = &index.manifest().identity;
    let facts = Facts::new()
        .fact("index", index.path().display().to_string())
        .fact("images searched", among.to_string())
        .fact("vision model", &identity.vision.model)
        .fact("text model", &identity.text.model);
    Ok(Report::new(title)
        .subtitle(format!("The {} most similar of {among} images.", found.len()))
        .section(Section::new("Images").gallery(gallery))
        .section(Section::new("Settings").facts(facts)))
}

fn image(index: &Index, row: usize, entry: &Entry) -> Result<Image, String> {
    Image::encoded(thumbnail_of(index, row, entry)?).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captions_do_not_control_the_terminal() {
        assert_eq!(printable("é \x1b[2J\n"), "é \u{fffd}[2J\u{fffd}");
    }
}
