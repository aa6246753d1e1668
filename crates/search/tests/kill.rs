//! Killed updates: the next one ends in the files of an uninterrupted one.
//!
//! In its own test binary, since a child process briefly inherits the file locks of its parent.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, dead_code, missing_docs)]

#[path = "index/support.rs"]
mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use sail_extract::Event;
use sail_search::Index;

use crate::support::{Lab, assert_same, files};

/// The line that a child prints for each event.
const EVENT: &str = "event";
/// The job of a child: the folder of the lab, and the name of the index in it.
const JOB: &str = "SAIL_SEARCH_TEST_JOB";

/// Not a test itself: the process that the others start. After each event it prints a line and waits for permission.
#[test]
fn child() {
    let Ok(job) = std::env::var(JOB) else { return };
    let (folder, index) = job.split_once('|').unwrap();
    let lab = Lab::at(Path::new(folder));
    let mut handshake = |event: Event<'_>| {
        if matches!(event, Event::Progress(_)) {
            println!("{EVENT}");
            std::io::stdin().read_exact(&mut [0]).ok();
        }
    };
    lab.update_with(&lab.path_of(index), Some(&lab.path_of("table.csv")), &["number"], &mut handshake)
        .unwrap();
}

fn start(folder: &Path, index: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(JOB, format!("{}|{index}", folder.display()));
    command.args(["--exact", "child", "--nocapture"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// A pseudo-random hash.
fn mix(x: u64) -> u64 {
    let z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^ (z >> 27)
}

/// Starts and kills updates until one finishes. Each may handle some more events than the one before and is killed shortly after
/// the last of them. After every kill the index can be opened, once it has images.
fn kill_until_finished(lab: &Lab, index: &str) -> u64 {
    let mut images = 0;
    for kill in 0.. {
        let mut process = start(lab.folder(), index);
        let events = (1 + 3 * kill) as usize;
        let mut permits = process.stdin.take().unwrap();
        permits.write_all(&vec![0; events]).ok();
        let lines = BufReader::new(process.stdout.as_mut().unwrap()).lines().map_while(Result::ok);
        lines.filter(|line| line.ends_with(EVENT)).take(events).for_each(drop);
        sleep(Duration::from_micros(mix(kill) % 20_000));
        process.kill().unwrap();
        let output = process.wait_with_output().unwrap();
        if let Some(code) = output.status.code() {
            assert_eq!(code, 0, "{}", String::from_utf8_lossy(&output.stderr));
            return kill;
        }
        if let Ok(opened) = Index::open(lab.path_of(index)) {
            assert!(opened.live().len() >= images);
            images = opened.live().len().min(images.max(1));
            opened.entry(opened.rows() - 1).unwrap();
        }
    }
    unreachable!()
}

fn copy(from: &Path, to: PathBuf) {
    for (name, bytes) in files(from) {
        let path = to.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

fn table(lab: &Lab, names: impl Iterator<Item = u8>) {
    let rows: String = names.map(|n| format!("{n:02}.png,image {n},{}\n", n % 5)).collect();
    fs::write(lab.path_of("table.csv"), format!("image,caption,number\n{rows}")).unwrap();
}

#[test]
fn updates_continue_after_kills() {
    let lab = Lab::new();
    for n in 0..64u8 {
        lab.image(&format!("{n:02}.png"), [n, 7, 9]);
    }
    fs::copy(lab.path("01.png"), lab.path("63.png")).unwrap();
    fs::write(lab.path("05.png"), "no image").unwrap();
    table(&lab, 0..64);
    let update = |index: &str| {
        let table = lab.path_of("table.csv");
        lab.update_with(&lab.path_of(index), Some(&table), &["number"], &mut |_: Event<'_>| ()).unwrap()
    };
    update("expected");
    let kills = kill_until_finished(&lab, "killed");
    assert!(kills >= 20, "{kills} kills");
    assert_same(&lab.path_of("killed"), &lab.path_of("expected"));

    // Changed, moved, new and removed images, and so many removed ones that their segment is rewritten.
    copy(&lab.path_of("expected"), lab.path_of("again"));
    for n in 6..14 {
        fs::remove_file(lab.path(&format!("{n:02}.png"))).unwrap();
    }
    fs::rename(lab.path("20.png"), lab.path("moved.png")).unwrap();
    for n in 30..50u8 {
        lab.image(&format!("{n:02}.png"), [n, 70, 90]);
    }
    for n in 70..90u8 {
        lab.image(&format!("{n:02}.png"), [n, 7, 9]);
    }
    table(&lab, (0..90).rev());
    let updated = update("expected");
    assert_eq!((updated.changed, updated.added, updated.moved, updated.removed), (20, 20, 1, 8));
    let kills = kill_until_finished(&lab, "again");
    assert!(kills >= 20, "{kills} kills");
    assert_same(&lab.path_of("again"), &lab.path_of("expected"));
    let numbers: Vec<u64> =
        Index::open(lab.path_of("again")).unwrap().manifest().segments.iter().map(|s| s.number).collect();
    assert!(!numbers.contains(&0), "{numbers:?}");
}

#[test]
fn a_source_that_changes_meanwhile_is_no_trouble() {
    let lab = Lab::new();
    for n in 0..40u8 {
        lab.image(&format!("{n:02}.png"), [n, 7, 9]);
    }
    table(&lab, 0..40);
    let mut process = start(lab.folder(), "killed");
    process.stdin.as_mut().unwrap().write_all(&[0; 31]).unwrap();
    let lines = BufReader::new(process.stdout.as_mut().unwrap()).lines().map_while(Result::ok);
    lines.filter(|line| line.ends_with(EVENT)).take(31).for_each(drop);
    process.kill().unwrap();
    process.wait().unwrap();
    // One row of a published segment, one of the unfinished one.
    lab.image("03.png", [9, 9, 9]);
    lab.image("20.png", [8, 8, 8]);
    fs::remove_file(lab.path("21.png")).unwrap();
    let table = lab.path_of("table.csv");
    lab.update_with(&lab.path_of("killed"), Some(&table), &["number"], &mut |_: Event<'_>| ()).unwrap();
    let index = Index::open(lab.path_of("killed")).unwrap();
    assert_eq!(index.live().len(), 39);
    let row = index.row_of_key("20.png").unwrap();
    let embedding = index.embedding(row).unwrap();
    assert!((embedding[0] - embedding[1]).abs() < 0.01, "{embedding:?}");
    assert_eq!(index.row_of_key("21.png"), None);
}
