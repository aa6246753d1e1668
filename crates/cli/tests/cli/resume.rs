//! Runs that are killed, interrupted and continued end in the files of a run that nobody disturbed.

use std::process::Child;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::lab::{Lab, Ran, TRAIN, changed, mix};

const SHARELOCK: &str =
    "train --images images --texts texts --head sharelock --dim 64 --batch 8 --epochs 1 --lr 1e-3 --seed 7";

/// Two caption sets, several captions an image, a holdout: 240 steps.
const FULL: &str = "--extra-texts more --holdout 100 --epochs 60 --evaluate-every 2";

/// As long as any test may want to watch it.
const ENDLESS: &str = "--epochs 1000000";

/// The metrics of a run, each step of `0..steps` exactly once and in order.
fn assert_steps(lab: &Lab, run: &str, steps: usize) {
    let lines = lab.metrics(run);
    let records = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found: Vec<u64> = records.filter_map(|record| record["step"].as_u64()).collect();
    assert_eq!(found, (0..steps as u64).collect::<Vec<_>>());
}

/// Another run has left the same files as the run `calm`.
fn assert_same_as_calm(lab: &Lab, run: &str) {
    assert_steps(lab, run, lab.steps("calm"));
    assert_eq!(lab.files(run), lab.files("calm"));
    let differs = |file: &String| {
        let [found, expected] = [run, "calm"].map(|run| lab.read(&format!("{run}/{file}")));
        found != expected
    };
    let differing: Vec<String> = lab.files(run).into_iter().filter(differs).collect();
    // The checkpoint knows how many seconds it took, which is nobody's promise.
    assert_eq!(differing, ["checkpoint.safetensors"]);
}

/// Waits until the run has that many steps in its metrics, or its process has ended.
fn wait_for(lab: &Lab, run: &str, steps: usize, process: &mut Child) {
    while lab.steps(run) < steps && process.try_wait().unwrap().is_none() {
        sleep(Duration::from_micros(200));
    }
}

fn kill(mut process: Child) -> Ran {
    process.kill().unwrap();
    Ran::from(process.wait_with_output().unwrap())
}

/// Starts the run, or continues it where there is something to continue, and kills it after some more steps and
/// microseconds: again and again. Returns how many kills left steps to take, and lets the run end in peace.
fn torment(lab: &Lab, command: &str, run: &str, kills: &[(usize, u64)]) -> usize {
    let total = lab.steps("calm");
    let mut hits = 0;
    for &(steps, micros) in kills {
        let resume = if lab.path(run).exists() { "--resume" } else { "" };
        let goal = if steps == 0 { 0 } else { lab.steps(run) + steps };
        let mut process = lab.start(&format!("{command} --out {run} {resume}"));
        wait_for(lab, run, goal, &mut process);
        sleep(Duration::from_micros(micros));
        // No exit code: a signal ended it.
        if kill(process).code.is_none() && lab.steps(run) < total {
            hits += 1;
        }
    }
    lab.run(&format!("{command} --out {run} --resume")).succeeded();
    hits
}

/// Kills at moments that look random and are the same in every test run: early in the start of the process, and
/// after up to `stride` more steps anywhere in a step or in the checkpoint after it.
fn kills(count: u64, stride: u64) -> Vec<(usize, u64)> {
    let number = |place| mix(42 ^ place);
    let early = [4_000, 9_000, 15_000].map(|micros| (0, micros));
    let later = (0..count).map(|i| ((1 + number(2 * i) % stride) as usize, number(2 * i + 1) % 5_000));
    early.into_iter().chain(later).collect()
}

#[test]
fn killed_at_any_moment() {
    let lab = Lab::new(400);
    let command = format!("{TRAIN} {FULL}");
    lab.run(&format!("{command} --out calm")).succeeded();
    assert_steps(&lab, "calm", 240);
    let kills = kills(10, 24);
    let command = format!("{command} --checkpoint-every 0");
    let hits = torment(&lab, &command, "killed", &kills);
    assert!(hits > kills.len() / 2, "{hits} kills of {kills:?} came before the end");
    assert_same_as_calm(&lab, "killed");
}

#[test]
fn killed_with_adamw_on_the_way_to_an_early_stop() {
    let lab = Lab::new(400);
    let command =
        format!("{TRAIN} --optimizer adamw --holdout 100 --epochs 60 --evaluate-every 1 --patience 6");
    let calm = lab.run(&format!("{command} --json --out calm")).json();
    assert_eq!(calm["stopped_early"], true, "{calm}");
    let steps = lab.steps("calm");
    let kills = kills(6, steps as u64 / 8);
    let command = format!("{command} --checkpoint-every 0");
    let hits = torment(&lab, &command, "killed", &kills);
    assert!(hits > kills.len() / 2, "{hits} kills of {kills:?} came before step {steps}");
    assert_same_as_calm(&lab, "killed");
    // A complete run has nothing left to do, however it ended.
    let again = lab.run(&format!("{command} --json --out killed --resume")).json();
    assert_eq!(again["stopped_early"], true);
    assert_same_as_calm(&lab, "killed");
}

#[test]
fn killed_with_dropout_and_batch_norm() {
    let lab = Lab::new(24);
    lab.run(&format!("{SHARELOCK} --out calm")).succeeded();
    assert_steps(&lab, "calm", 3);
    // The head has 34 M weights: its steps take their time, and their checkpoints more of it.
    let hits = torment(&lab, &format!("{SHARELOCK} --checkpoint-every 0"), "killed", &[(2, 100_000)]);
    assert_eq!(hits, 1);
    assert_same_as_calm(&lab, "killed");

    let shown = lab.run("head show calm/head.safetensors --json").json();
    let kind = |side: &str| shown["config"][side]["projector"]["kind"].clone();
    assert_eq!([kind("image"), kind("text")], ["identity", "sharelock"]);
    let eval = "eval retrieval --head calm/head.safetensors --images images --texts texts --json";
    assert_eq!(lab.run(eval).json()["n_images"], 24);
}

#[test]
fn killed_before_the_first_checkpoint() {
    let lab = Lab::new(400);
    let command = format!("{TRAIN} {FULL}");
    lab.run(&format!("{command} --out calm")).succeeded();
    let command = format!("{command} --checkpoint-every 1000");
    let mut process = lab.start(&format!("{command} --out killed"));
    wait_for(&lab, "killed", 10, &mut process);
    assert_eq!(kill(process).code, None, "the run was over before it could be killed");
    assert_eq!(lab.files("killed"), ["config.json", "metrics.jsonl"]);
    let resumed = lab.run(&format!("{command} --out killed --resume")).succeeded();
    assert!(!resumed.err.contains("continues"), "{}", resumed.err);
    assert_same_as_calm(&lab, "killed");
}

#[test]
fn a_complete_run_stays_as_it_is() {
    let lab = Lab::new(400);
    let command = format!("{TRAIN} {FULL} --json");
    let mut first = lab.run(&format!("{command} --out calm")).json();
    let files = lab.files("calm").into_iter().map(|file| format!("calm/{file}"));
    let files: Vec<String> = files.collect();
    let before: Vec<Vec<u8>> = files.iter().map(|file| lab.read(file)).collect();
    let mut again = lab.run(&format!("{command} --out calm --resume")).json();
    let after: Vec<Vec<u8>> = files.iter().map(|file| lab.read(file)).collect();
    assert!(before == after, "a file has changed");
    for result in [&mut first, &mut again] {
        assert!(result["seconds"].take().as_f64().unwrap() > 0.0);
    }
    assert_eq!(first, again);
}

#[cfg(unix)]
#[test]
fn interrupted_and_continued() {
    let lab = Lab::new(400);
    let command = format!("{TRAIN} {FULL}");
    lab.run(&format!("{command} --out calm")).succeeded();
    let mut resume = "";
    for steps in [5, 40] {
        // A checkpoint after every step leaves it time to be interrupted in.
        let slow = "--checkpoint-every 0";
        let mut process = lab.start(&format!("{command} {slow} --json --out stopped {resume}"));
        wait_for(&lab, "stopped", steps, &mut process);
        let id = process.id().to_string();
        let signal = std::process::Command::new("kill").args(["-INT", &id]).status();
        assert!(signal.unwrap().success());
        let ran = Ran::from(process.wait_with_output().unwrap());
        let taken = lab.steps("stopped");
        assert!((steps..240).contains(&taken), "{taken} steps");
        // What it says it did is what a resume will find.
        let said = format!("interrupted after {taken} steps");
        ran.failed(1, &[&said, "with the same command and `--resume`"]);
        assert!(!lab.path("stopped/head.safetensors").exists());
        resume = "--resume";
    }
    let resumed = lab.run(&format!("{command} --out stopped --resume")).succeeded();
    assert!(resumed.err.contains("continues at step"), "{}", resumed.err);
    assert_same_as_calm(&lab, "stopped");
}

#[test]
fn one_process_and_one_configuration_a_folder() {
    let lab = Lab::new(200);
    let command = format!("{TRAIN} {ENDLESS} --holdout 50 --out run --checkpoint-every 0");
    let mut process = lab.start(&command);
    wait_for(&lab, "run", 3, &mut process);
    let second = lab.run(&format!("{command} --resume"));
    second.failed(1, &["another process is training in run"]);
    let second = lab.run(&command);
    second.failed(2, &["run exists", "choose another folder, or resume the run in it"]);
    let steps = lab.steps("run");
    wait_for(&lab, "run", steps + 3, &mut process);
    assert_eq!(kill(process).code, None, "the first process was not to be disturbed");

    for (change, field) in [
        ("--lr 1e-4", "`train.learning_rate` (0.001, now 0.0001)"),
        ("--epochs 7", "`train.epochs` (1000000, now 7)"),
        ("--extra-texts more", "`extra_texts` ([], now [\"more\"])"),
        ("--loss info-nce", "`loss.kind` (\"sigmoid\", now \"info-nce\")"),
        ("--optimizer adamw", "`train.optimizer.kind` (\"lion\", now \"adamw\")"),
    ] {
        let words = ["the run in run was started with other settings", field];
        lab.refuses(&format!("{} --resume", changed(&command, change)), 2, &words);
    }
    let nothing = format!("{TRAIN} --out nothing --resume");
    lab.refuses(&nothing, 2, &["nothing holds no run to resume"]);
    lab.refuses(&format!("{TRAIN} --out images --resume"), 2, &["images holds no run to resume"]);
    lab.refuses(&format!("{TRAIN} --out images"), 2, &["images exists"]);
}

#[test]
fn other_data_under_the_same_name() {
    let lab = Lab::new(200);
    let command = format!("{TRAIN} --holdout 50 --out run --epochs 1");
    lab.run(&command).succeeded();
    let other = Lab::new(201);
    std::fs::rename(lab.path("run"), other.path("run")).unwrap();
    other.refuses(&format!("{command} --resume"), 2, &["`rows` (200, now 201)"]);
}

#[test]
fn leftovers_of_a_kill_are_swept_up_and_a_stranger_s_files_are_not() {
    let lab = Lab::new(200);
    let command = format!("{TRAIN} --epochs 1 --out run");
    lab.run(&command).succeeded();
    std::fs::write(lab.path("run/.tmp-Xy12Zw"), "half a checkpoint").unwrap();
    std::fs::write(lab.path("run/notes.txt"), "mine").unwrap();
    lab.run(&format!("{command} --resume")).succeeded();
    let files = ["checkpoint.safetensors", "config.json", "head.safetensors", "metrics.jsonl", "notes.txt"];
    assert_eq!(lab.files("run"), files);
}

#[test]
fn a_damaged_checkpoint_is_an_error() {
    let lab = Lab::new(200);
    let command = format!("{TRAIN} --epochs 2 --out run");
    lab.run(&command).succeeded();
    let whole = lab.read("run/checkpoint.safetensors");
    let half = whole.len() / 2;
    let flipped = |place: usize| {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        bytes
    };
    // In the header, in the weights, in the optimiser's record, and in its last momentum.
    let places = [100, 5_000, half + 100, whole.len() - 1].map(flipped);
    for bytes in places.into_iter().chain([whole[..half].to_vec(), Vec::new(), b"text".to_vec()]) {
        std::fs::write(lab.path("run/checkpoint.safetensors"), bytes).unwrap();
        let words = ["run/checkpoint.safetensors is damaged"];
        lab.refuses(&format!("{command} --resume"), 1, &words);
    }
    std::fs::write(lab.path("run/checkpoint.safetensors"), whole).unwrap();
    std::fs::write(lab.path("run/metrics.jsonl"), "{\"step\":0").unwrap();
    let words = ["run/metrics.jsonl is damaged"];
    lab.refuses(&format!("{command} --resume"), 1, &words);
}
