//! Real processes, killed at any moment, and a disk that fills up: the store is that of an undisturbed run.
//!
//! A test binary of its own: a process that is being started holds the locks of its parent's files for a moment.
#![allow(clippy::unwrap_used, clippy::panic, dead_code)]

#[path = "extract/fakes.rs"]
mod fakes;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use sail_extract::{Event, ExtractOptions, extract_images, extract_texts};

use crate::fakes::{assert_same, captions, image_source, images, names, options, text, texts, vision};

const RECORDS: u64 = 400;

/// What another process is told to do: the folder, what to embed, milliseconds between checkpoints.
const JOB: &str = "SAIL_EXTRACT_TEST_JOB";

/// Not a test of its own: the process that the others start. It waits a little after every block, to be killed in.
#[test]
fn child() {
    let Ok(job) = std::env::var(JOB) else { return };
    let [out, what, checkpoint] = job.split('|').collect::<Vec<_>>()[..] else { panic!("{job}") };
    let out = Path::new(out);
    let options = ExtractOptions {
        resume: out.exists(),
        checkpoint_every: Duration::from_millis(checkpoint.parse().unwrap()),
        ..options()
    };
    let mut slowly = |event: Event<'_>| {
        if matches!(event, Event::Progress { .. }) {
            sleep(Duration::from_millis(3));
        }
    };
    let result = match what {
        "images" => extract_images(&vision(), &image_source(RECORDS), out, &options, &mut slowly),
        _ => extract_texts(&text(), &captions(RECORDS), out, &options, &mut slowly),
    };
    let mut error: Option<&dyn std::error::Error> = None;
    if let Err(failure) = &result {
        error = Some(failure);
    }
    while let Some(cause) = error {
        eprintln!("because: {cause}");
        error = cause.source();
    }
    assert!(result.is_ok());
}

fn command(program: &str, out: &Path, what: &str, checkpoint: u64) -> Command {
    let mut command = Command::new(program);
    command.env(JOB, format!("{}|{what}|{checkpoint}", out.display()));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn start(out: &Path, what: &str, checkpoint: u64) -> Child {
    let program = std::env::current_exe().unwrap();
    let mut command = command(program.to_str().unwrap(), out, what, checkpoint);
    command.args(["--exact", "child", "--nocapture"]).spawn().unwrap()
}

/// A number that looks random and is the same in every test run.
fn mix(x: u64) -> u64 {
    let z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^ (z >> 27)
}

/// Starts and kills processes until one of them reaches the end. Returns how many were killed in their work.
fn torment(out: &Path, what: &str, checkpoint: u64) -> usize {
    for kill in 0.. {
        let mut process = start(out, what, checkpoint);
        // Later and later, so that it ends however little gets done before a kill.
        sleep(Duration::from_micros(5_000 + mix(kill) % 40_000 + kill * 2_000));
        process.kill().unwrap();
        let status = process.wait_with_output().unwrap();
        if let Some(code) = status.status.code() {
            assert_eq!(code, 0, "{}", String::from_utf8_lossy(&status.stderr));
            return kill as usize;
        }
    }
    unreachable!()
}

#[test]
fn killed_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let calm = |what: &str| folder.path().join(what);
    images(&image_source(RECORDS), &calm("images"), &options()).unwrap();
    texts(&captions(RECORDS), &calm("texts"), &options()).unwrap();
    // With a checkpoint after every block, and with few, so that full shards alone mark the way.
    for (what, checkpoint) in [("images", 0), ("images", 15), ("texts", 0), ("texts", 60_000)] {
        let out = folder.path().join(format!("{what}-{checkpoint}"));
        let kills = torment(&out, what, checkpoint);
        assert!(kills >= 3, "{kills} kills hit {what} with a checkpoint every {checkpoint} ms");
        assert_same(&out, &calm(what));
    }
}

/// Runs the process with files limited to some blocks of 512 bytes, beyond which a write fails as on a full disk.
fn run_on_full_disk(out: &Path, blocks: usize, checkpoint: u64) -> String {
    let program = std::env::current_exe().unwrap();
    let script = "trap '' XFSZ; ulimit -f \"$1\"; exec \"$2\" --exact child --nocapture";
    let mut command = command("sh", out, "images", checkpoint);
    command.args(["-c", script, "sh", &blocks.to_string(), program.to_str().unwrap()]);
    let output = command.output().unwrap();
    assert!(!output.status.success(), "it had room enough");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_full_disk_costs_nothing_that_was_done() {
    let folder = tempfile::tempdir().unwrap();
    let (out, calm) = (folder.path().join("full"), folder.path().join("calm"));
    images(&image_source(RECORDS), &calm, &options()).unwrap();
    // A shard takes 37 rows of 256 bytes and their keys. There is room for some of them in a tail, not for the shard.
    let error = run_on_full_disk(&out, 12, 0);
    assert!(error.contains("shard-00000.tail") && error.contains("File too large"), "{error}");
    let partial = std::fs::read_to_string(out.join("partial.json")).unwrap();
    let partial: serde_json::Value = serde_json::from_str(&partial).unwrap();
    assert!(partial["unfinished"]["position"].as_u64().unwrap() >= 16, "{partial}");
    // And again where there is no tail to speak of.
    let error = run_on_full_disk(&out, 12, 60_000);
    assert!(error.contains("shard-00000.safetensors") && error.contains("File too large"), "{error}");
    assert!(!names(&out).iter().any(|name| name.starts_with(".tmp-")));
    let resumed = start(&out, "images", 0).wait_with_output().unwrap();
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    assert_same(&out, &calm);
    // A folder that cannot even take its settings is not made.
    let error = run_on_full_disk(&folder.path().join("none"), 0, 0);
    assert!(error.contains("encode.json"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}
