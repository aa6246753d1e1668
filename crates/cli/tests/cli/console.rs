//! The `sail` command lines in the documentation: those of the ```` ```console ```` blocks.

use std::path::{Path, PathBuf};

/// A documented command line.
pub(crate) struct Documented {
    /// Page and line number.
    pub(crate) source: String,
    /// Its words, `sail` first.
    pub(crate) words: Vec<String>,
    /// Whether its block uses the data in `examples/data`, so that it can be run.
    pub(crate) runnable: bool,
}

/// All command lines, of the README first and then page by page.
///
/// Panics on a line that is neither `sail` nor a build command, so that no line is left unchecked.
pub(crate) fn documented() -> Vec<Documented> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut pages = vec![root.join("README.md"), root.join("CONTRIBUTING.md")];
    for folder in ["docs", "docs/guide"] {
        pages.extend(markdown(&root.join(folder)));
    }
    for package in std::fs::read_dir(root.join("crates")).unwrap() {
        pages.extend(markdown(&package.unwrap().path()));
    }
    pages[2..].sort();
    pages
        .iter()
        .flat_map(|page| commands(&std::fs::read_to_string(page).unwrap(), &name(page, &root)))
        .collect()
}

fn name(page: &Path, root: &Path) -> String {
    page.strip_prefix(root).unwrap().display().to_string()
}

fn markdown(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

fn commands(text: &str, page: &str) -> Vec<Documented> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((_, line)) = lines.next() {
        if line != "```console" {
            continue;
        }
        let block: Vec<(usize, &str)> = lines.by_ref().take_while(|(_, line)| *line != "```").collect();
        let runnable = block.iter().any(|(_, line)| line.contains("examples/data/"));
        let mut block = block.into_iter();
        while let Some((index, line)) = block.next() {
            let mut command = line.to_owned();
            while let Some(start) = command.strip_suffix('\\') {
                let (_, next) = block.next().unwrap();
                command = format!("{}{}", start, next.trim_start());
            }
            let source = format!("{page}:{}", index + 1);
            let words = words(&command).unwrap_or_else(|error| panic!("{source}: {error}"));
            match words.first().map(String::as_str) {
                Some("sail") => found.push(Documented { source, words, runnable }),
                None | Some("cargo" | "python" | "python3" | ".ci/run" | ".ci/gpu") => {}
                Some(other) => panic!("{source}: `{other}`, expected `sail` or a build command"),
            }
        }
    }
    found
}

/// The words of a command as a shell splits them, without variables, pipes and redirections.
fn words(command: &str) -> Result<Vec<String>, String> {
    let mut words: Vec<String> = Vec::new();
    let mut quote = None;
    let mut in_word = false;
    for c in command.chars() {
        match c {
            _ if quote == Some(c) => quote = None,
            '"' | '\'' if quote.is_none() => {
                quote = Some(c);
                if !in_word {
                    words.push(String::new());
                }
                in_word = true;
            }
            ' ' if quote.is_none() => in_word = false,
            '$' | '|' | '<' | '>' | '&' | ';' | '`' if quote.is_none() => {
                return Err(format!("`{c}` is not supported"));
            }
            _ => {
                if !in_word {
                    words.push(String::new());
                }
                in_word = true;
                words.last_mut().unwrap().push(c);
            }
        }
    }
    match quote {
        Some(quote) => Err(format!("unclosed {quote}")),
        None => Ok(words),
    }
}
