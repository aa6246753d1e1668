//! Killed processes and full disks: the resumed store equals that of an uninterrupted run.
//!
//! In its own test binary, since a child process briefly inherits the file locks of its parent.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, dead_code)]

#[path = "extract/fakes.rs"]
mod fakes;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use sail_core::StoreDtype;
use sail_extract::{Event, ExtractOptions, extract_images, extract_texts};

use crate::fakes::{
    assert_same, captions, image_source, images, names, options, text, texts, tokens, vision,
};

const RECORDS: u64 = 400;

/// The line that a child prints for each event.
const EVENT: &str = "event";

/// The job of a child: the folder, what to embed, and the milliseconds between checkpoints.
const JOB: &str = "SAIL_EXTRACT_TEST_JOB";

/// Not a test itself: the process that the others start. After each event it prints a line and waits for permission to
/// continue, if it is given one at a time.
#[test]
fn child() {
    let Ok(job) = std::env::var(JOB) else { return };
    let [out, what, checkpoint] = job.split('|').collect::<Vec<_>>()[..] else { panic!("{job}") };
    let out = Path::new(out);
    let options = ExtractOptions {
        resume: out.exists(),
        checkpoint_every: Duration::from_millis(checkpoint.parse().unwrap()),
        ..options_of(what)
    };
    let mut handshake = |event: Event<'_>| {
        if matches!(event, Event::Progress(_)) {
            println!("{EVENT}");
            std::io::stdin().read_exact(&mut [0]).ok();
        }
    };
    let result = match what {
        "images" => extract_images(&vision(), &image_source(RECORDS), out, &options, &mut handshake),
        "tokens" => extract_images(&tokens(), &image_source(RECORDS), out, &options, &mut handshake),
        _ => extract_texts(&text(), &captions(RECORDS), out, &options, &mut handshake),
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

fn options_of(what: &str) -> ExtractOptions {
    let dtype = if what == "tokens" { StoreDtype::Int8 } else { StoreDtype::F32 };
    ExtractOptions { dtype, ..options() }
}

fn command(program: &str, out: &Path, what: &str, checkpoint: u64) -> Command {
    let mut command = Command::new(program);
    command.env(JOB, format!("{}|{what}|{checkpoint}", out.display()));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn start(out: &Path, what: &str, checkpoint: u64) -> Child {
    let program = std::env::current_exe().unwrap();
    let mut command = command(program.to_str().unwrap(), out, what, checkpoint);
    command.args(["--exact", "child", "--nocapture"]).stdin(Stdio::piped()).spawn().unwrap()
}

/// A pseudo-random hash.
fn mix(x: u64) -> u64 {
    let z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^ (z >> 27)
}

/// Starts and kills processes until one of them finishes. Returns the number of kills.
///
/// Each may handle some more events than the one before and is killed shortly after the last of them, so neither the number
/// of kills nor the end depends on the speed of the machine.
fn kill_until_finished(out: &Path, what: &str, checkpoint: u64) -> u64 {
    for kill in 0.. {
        let mut process = start(out, what, checkpoint);
        let events = (2 + mix(kill) % 5 + 2 * kill) as usize;
        let mut permits = process.stdin.take().unwrap();
        permits.write_all(&vec![0; events]).unwrap();
        let lines = BufReader::new(process.stdout.as_mut().unwrap()).lines().map_while(Result::ok);
        lines.filter(|line| line.ends_with(EVENT)).take(events).for_each(drop);
        sleep(Duration::from_micros(mix(!kill) % 3_000));
        process.kill().unwrap();
        let output = process.wait_with_output().unwrap();
        if let Some(code) = output.status.code() {
            assert_eq!(code, 0, "{}", String::from_utf8_lossy(&output.stderr));
            return kill;
        }
    }
    unreachable!()
}

#[test]
fn resumes_after_kills() {
    let folder = tempfile::tempdir().unwrap();
    let expected = |what: &str| folder.path().join(what);
    images(&image_source(RECORDS), &expected("images"), &options()).unwrap();
    texts(&captions(RECORDS), &expected("texts"), &options()).unwrap();
    let (source, mut observer) = (image_source(RECORDS), |_: Event<'_>| ());
    extract_images(&tokens(), &source, &expected("tokens"), &options_of("tokens"), &mut observer).unwrap();
    // With a checkpoint after every block, and with checkpoints at full shards only.
    for (what, checkpoint) in [("images", 0), ("images", 15), ("tokens", 0), ("texts", 0), ("texts", 60_000)]
    {
        let out = folder.path().join(format!("{what}-{checkpoint}"));
        let kills = kill_until_finished(&out, what, checkpoint);
        assert!(kills >= 3, "{kills} kills of {what} with a checkpoint every {checkpoint} ms");
        assert_same(&out, &expected(what));
    }
}

/// Runs the process with a limit on file sizes in blocks of 512 bytes, so that writes fail as on a full disk.
fn run_on_full_disk(out: &Path, blocks: usize, checkpoint: u64) -> String {
    let program = std::env::current_exe().unwrap();
    let script = "trap '' XFSZ; ulimit -f \"$1\"; exec \"$2\" --exact child --nocapture";
    let mut command = command("sh", out, "images", checkpoint);
    command.args(["-c", script, "sh", &blocks.to_string(), program.to_str().unwrap()]);
    let output = command.output().unwrap();
    assert!(!output.status.success(), "the limit was not reached");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn resumes_after_a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (out, expected) = (folder.path().join("full"), folder.path().join("expected"));
    images(&image_source(RECORDS), &expected, &options()).unwrap();
    // A shard has 37 rows of 256 bytes and their keys. The limit is enough for a part of the tail, not for the shard.
    let error = run_on_full_disk(&out, 12, 0);
    assert!(error.contains("shard-00000.tail") && error.contains("File too large"), "{error}");
    let partial = std::fs::read_to_string(out.join("partial.json")).unwrap();
    let partial: serde_json::Value = serde_json::from_str(&partial).unwrap();
    assert!(partial["unfinished"]["position"].as_u64().unwrap() >= 16, "{partial}");
    // And again without a tail.
    let error = run_on_full_disk(&out, 12, 60_000);
    assert!(error.contains("shard-00000.safetensors") && error.contains("File too large"), "{error}");
    assert!(!names(&out).iter().any(|name| name.starts_with(".tmp-")));
    let resumed = start(&out, "images", 0).wait_with_output().unwrap();
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    assert_same(&out, &expected);
    // No folder is left if its settings cannot be written.
    let error = run_on_full_disk(&folder.path().join("none"), 0, 0);
    assert!(error.contains("encode.json"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}
