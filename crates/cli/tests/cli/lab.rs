//! A temporary folder with small data, and the `sail` command in it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use safetensors::tensor::{Dtype, TensorView};
use sail_vl::core::{Modality, Provenance};
use sail_vl::data::{StoreConfig, StoreWriter};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const IMAGE_DIM: usize = 64;
pub(crate) const TEXT_DIM: usize = 48;

/// A small problem that a GLU of width 2 learns in about ten epochs.
pub(crate) const TRAIN: &str =
    "train --images images --texts texts --projector glu --width 2 --dim 32 --batch 64 --lr 1e-3 --seed 7";

/// The cache folder of the user in a lab.
const CACHE: &str = "user-cache";

/// A temporary folder, which is also the working directory of its commands.
pub(crate) struct Lab(TempDir);

/// The result of a command.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Lab {
    /// An empty folder.
    pub(crate) fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A folder with the stores `images`, `texts` (one to three captions an image, in another order) and `more`
    /// (one caption an image).
    pub(crate) fn new(rows: usize) -> Self {
        let lab = Self::empty();
        let images = (0..rows).map(|item| (key(item), row(item, 0, IMAGE_DIM)));
        lab.store("images", Modality::Image, "vision", images);
        let texts = (0..3 * rows).rev().map(|i| (i / 3, i % 3));
        let texts = texts.filter(|(item, variant)| *variant <= item % 3);
        let texts = texts.map(|(item, variant)| (key(item), row(item, 1 + variant, TEXT_DIM)));
        lab.store("texts", Modality::Text, "language", texts);
        let more = (0..rows).map(|item| (key(item), row(item, 9, TEXT_DIM)));
        lab.store("more", Modality::Text, "language", more);
        lab
    }

    /// Writes an embedding store in several shards.
    pub(crate) fn store(
        &self,
        name: &str,
        modality: Modality,
        model: &str,
        rows: impl IntoIterator<Item = (String, Vec<f32>)>,
    ) {
        let mut rows = rows.into_iter().peekable();
        let dim = rows.peek().unwrap().1.len();
        let config =
            StoreConfig { rows_per_shard: 150, ..StoreConfig::new(modality, Provenance::new(model), dim) };
        let mut writer = StoreWriter::create(self.path(name), config).unwrap();
        writer.extend(rows).unwrap();
        writer.finish().unwrap();
    }

    /// Writes matrices into a safetensors file.
    pub(crate) fn matrices(&self, name: &str, matrices: &[(&str, Vec<Vec<f32>>)]) {
        let bytes: Vec<Vec<u8>> = matrices
            .iter()
            .map(|(_, rows)| rows.concat().iter().flat_map(|x| x.to_le_bytes()).collect())
            .collect();
        let views = matrices.iter().zip(&bytes).map(|((tensor, rows), bytes)| {
            let shape = vec![rows.len(), rows[0].len()];
            (*tensor, TensorView::new(Dtype::F32, shape, bytes).unwrap())
        });
        let file = safetensors::serialize(views, None).unwrap();
        std::fs::write(self.path(name), file).unwrap();
    }

    /// Writes class labels.
    pub(crate) fn labels(&self, name: &str, labels: &[i64]) {
        let bytes: Vec<u8> = labels.iter().flat_map(|x| x.to_le_bytes()).collect();
        let view = TensorView::new(Dtype::I64, vec![labels.len()], &bytes).unwrap();
        let file = safetensors::serialize([("labels", view)], None).unwrap();
        std::fs::write(self.path(name), file).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        let path = self.path(name);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Returns every file and folder below, except for the records of verified features.
    pub(crate) fn list(&self) -> BTreeSet<String> {
        fn visit(root: &Path, folder: &Path, found: &mut BTreeSet<String>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(root).unwrap().to_str().unwrap();
                let records = format!("{CACHE}/sail/verified");
                if !Path::new(&records).starts_with(name) {
                    found.insert(name.to_owned());
                }
                if path.is_dir() && name != records {
                    visit(root, &path, found);
                }
            }
        }
        let mut found = BTreeSet::new();
        visit(self.0.path(), self.0.path(), &mut found);
        found
    }

    /// Returns the names of the files of a run.
    pub(crate) fn files(&self, run: &str) -> Vec<String> {
        let prefix = format!("{run}/");
        let list = self.list().into_iter();
        list.filter_map(|name| Some(name.strip_prefix(&prefix)?.to_owned())).collect()
    }

    /// Returns the lines of a run's metrics, including an incomplete last line.
    pub(crate) fn metrics(&self, run: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.path(run).join("metrics.jsonl"));
        text.unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Returns the number of steps in a run's metrics.
    pub(crate) fn steps(&self, run: &str) -> usize {
        let metrics = self.metrics(run);
        metrics.iter().filter(|line| line.starts_with("{\"step\":")).count()
    }

    pub(crate) fn start(&self, arguments: &str) -> Child {
        self.start_with(arguments, &[])
    }

    /// Starts the command with further environment variables.
    pub(crate) fn start_with(&self, arguments: &str, variables: &[(&str, &str)]) -> Child {
        let mut command = self.command(env!("CARGO_BIN_EXE_sail"));
        command.args(arguments.split_whitespace()).envs(variables.iter().copied());
        piped(&mut command).spawn().unwrap()
    }

    pub(crate) fn run(&self, arguments: &str) -> Ran {
        Ran::from(self.start(arguments).wait_with_output().unwrap())
    }

    /// Runs the command with additional environment variables.
    pub(crate) fn run_with(&self, variables: &[(&str, &str)], arguments: &str) -> Ran {
        let mut command = self.command(env!("CARGO_BIN_EXE_sail"));
        command.envs(variables.iter().copied()).args(arguments.split_whitespace());
        Ran::from(piped(&mut command).output().unwrap())
    }

    /// Runs the command with files limited to a number of blocks of 512 bytes; larger writes fail as on a full disk.
    #[cfg(unix)]
    pub(crate) fn run_on_full_disk(&self, blocks: usize, arguments: &str) -> Ran {
        let sail = env!("CARGO_BIN_EXE_sail");
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec '{sail}' {arguments}");
        let mut shell = self.command("sh");
        Ran::from(piped(shell.args(["-c", &script])).output().unwrap())
    }

    /// Runs the command with its standard output sent to a file.
    #[cfg(unix)]
    pub(crate) fn run_printing_to(&self, file: &str, arguments: &str) -> Ran {
        let mut command = self.command(env!("CARGO_BIN_EXE_sail"));
        let file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
        Ran::from(piped(command.args(arguments.split_whitespace())).stdout(file).output().unwrap())
    }

    /// Runs the command with its standard output sent to a pipe.
    #[cfg(unix)]
    pub(crate) fn run_to_pipe(&self, pipe: std::io::PipeWriter, arguments: &str) -> Ran {
        let mut command = self.command(env!("CARGO_BIN_EXE_sail"));
        let command = piped(command.args(arguments.split_whitespace())).stdout(pipe);
        let output = command.spawn().unwrap().wait_with_output().unwrap();
        Ran::from(output)
    }

    /// Runs the command with standard output and error sent to a pipe, and returns its exit code.
    #[cfg(unix)]
    pub(crate) fn run_all_to_pipe(&self, pipe: std::io::PipeWriter, arguments: &str) -> Option<i32> {
        let mut command = self.command(env!("CARGO_BIN_EXE_sail"));
        let command = piped(command.args(arguments.split_whitespace()));
        command.stdout(pipe.try_clone().unwrap()).stderr(pipe).status().unwrap().code()
    }

    /// Checks that a command fails with an exit code and an error that contains all words, prints nothing else, and
    /// leaves the folder unchanged.
    pub(crate) fn refuses(&self, arguments: &str, code: i32, words: &[&str]) {
        let before = self.list();
        self.run(arguments).failed(code, words);
        assert_eq!(self.list(), before, "{arguments}");
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.0.path());
        // No test connects to the hub; the lab has a cache of its own.
        command.env("HF_HUB_CACHE", self.path("hub")).env("HF_HUB_OFFLINE", "1");
        command.env("XDG_CACHE_HOME", self.path(CACHE));
        for variable in ["DEVICE", "CACHE", "THREADS", "PROGRESS", "LOG"] {
            command.env_remove(format!("SAIL_{variable}"));
        }
        command
    }
}

fn piped(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped())
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self
    }

    pub(crate) fn failed(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.err);
        assert_eq!(self.out, "", "an error belongs on standard error");
        // Progress may come before it. An error is one line, the last, except those of the argument parser.
        let lines: Vec<&str> = self.err.lines().collect();
        let start = lines.iter().rposition(|line| line.starts_with("error: ")).unwrap();
        let is_of_parser = code == 2 && lines.last().unwrap().starts_with("For more information, try");
        assert!(is_of_parser || start == lines.len() - 1, "{}", self.err);
        let error = lines[start..].join("\n");
        for word in words {
            assert!(error.contains(word), "no {word:?} in: {error}");
        }
        self
    }

    /// Standard output, which must be one JSON object on one line.
    pub(crate) fn json(self) -> Value {
        let ran = self.succeeded();
        assert_eq!(ran.out.lines().count(), 1, "{}", ran.out);
        let value: Value = serde_json::from_str(&ran.out).unwrap();
        assert!(value.is_object(), "{value}");
        value
    }
}

/// Returns the names of the columns and the rows of a page's only matrix; a dash is NaN.
pub(crate) fn matrix(page: &str) -> (Vec<String>, Vec<(String, Vec<f64>)>) {
    let (_, table) = page.split_once("<table class=\"matrix\">").unwrap();
    let (head, body) = table.split_once("</table>").unwrap().0.split_once("<tbody>").unwrap();
    let texts = |html: &str, tag: &str| -> Vec<String> {
        let cells = html.split(tag).skip(1);
        cells.map(|cell| cell.split(['>', '<']).nth(1).unwrap().to_owned()).collect()
    };
    let value = |text: &String| text.replace('\u{2212}', "-").parse().unwrap_or(f64::NAN);
    let row = |html: &str| {
        let name = texts(html, "<th scope=\"row\"").remove(0);
        (name, texts(html, "<td").iter().map(value).collect())
    };
    (texts(head, "<th scope=\"col\"").split_off(1), body.split("<tr>").skip(1).map(row).collect())
}

/// Returns a command with other options: each `--option value` of `change` replaces the one in the command.
pub(crate) fn changed(command: &str, change: &str) -> String {
    let mut words: Vec<&str> = command.split_whitespace().collect();
    for option in change.split_whitespace().filter(|word| word.starts_with("--")) {
        if let Some(index) = words.iter().position(|word| *word == option) {
            words.drain(index..index + 2);
        }
    }
    format!("{} {change}", words.join(" "))
}

pub(crate) fn key(item: usize) -> String {
    format!("image-{item:04}")
}

/// Features of an item by one of several backbones: a linear view of the item, and noise.
pub(crate) fn row(item: usize, view: usize, dim: usize) -> Vec<f32> {
    // Captions of the same text backbone are the same view.
    let backbone = view.min(1);
    let value = |column| {
        let signal = (0..8).map(|k| random(&[1, item, k]) * random(&[2, backbone, k, column]));
        signal.sum::<f32>() + 0.3 * random(&[3, item, view, column])
    };
    (0..dim).map(value).collect()
}

/// A value from -1 to 1 that depends on the index alone.
fn random(index: &[usize]) -> f32 {
    let bits = index.iter().fold(0, |hash, &x| mix(hash ^ x as u64));
    (bits >> 40) as f32 / (1 << 23) as f32 - 1.0
}

/// A step of SplitMix64.
pub(crate) fn mix(x: u64) -> u64 {
    let z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
