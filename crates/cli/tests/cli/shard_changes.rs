//! A shard that changes during a run.

use std::fs::File;
use std::path::Path;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use crate::lab::{Lab, Ran, TRAIN};

const SHARD: &str = "images/shard-00001.safetensors";
const LONG: &str = "--holdout 50 --epochs 200 --evaluate-every 200 --checkpoint-every 0";

fn modified(path: &Path) -> SystemTime {
    path.metadata().unwrap().modified().unwrap()
}

/// Writes a file in place and sets its modification time.
fn put(path: &Path, bytes: &[u8], time: SystemTime) {
    std::fs::write(path, bytes).unwrap();
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

/// Waits until the run has taken more steps.
fn after_steps(lab: &Lab, run: &str, more: usize, process: &mut Child) {
    let goal = lab.steps(run) + more;
    while lab.steps(run) < goal {
        assert!(process.try_wait().unwrap().is_none(), "the run must last longer than this test watches it");
        sleep(Duration::from_micros(500));
    }
}

#[test]
fn run_fails_and_resumes_after_the_shard_is_restored() {
    let lab = Lab::new(400);
    let train = |run: &str| format!("{TRAIN} {LONG} --out {run}");
    lab.run(&train("calm")).succeeded();

    let shard = lab.path(SHARD);
    let (bytes, time) = (std::fs::read(&shard).unwrap(), modified(&shard));
    let mut resume = "";
    for cut in [0, 1000] {
        let mut process = lab.start(&format!("{} {resume}", train("run")));
        after_steps(&lab, "run", 20, &mut process);
        // Another length, or the same length with other rows.
        put(&shard, &vec![0; bytes.len() - cut], time + Duration::from_secs(5));
        let ran = Ran::from(process.wait_with_output().unwrap());
        ran.failed(1, &["shard-00001.safetensors was changed", "restore the file"]);
        put(&shard, &bytes, time);
        resume = "--resume";
    }
    lab.run(&format!("{} --resume", train("run"))).succeeded();
    assert!(lab.read("run/head.safetensors") == lab.read("calm/head.safetensors"), "a changed row went in");
}
