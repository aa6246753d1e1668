//! Killed, interrupted and resumed runs end with the files of an undisturbed run.

use std::process::Child;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::lab::{Lab, Ran, TRAIN, changed, mix};

const SHARELOCK: &str = "train --images images --texts texts --projector sharelock --dim 64 --batch 8 --epochs 1 --lr 1e-3 --seed 7";

/// Two caption sets, several captions an image, a holdout: 240 steps.
const FULL: &str = "--extra-texts more --holdout 100 --epochs 60 --evaluate-every 2";

/// Longer than any test.
const ENDLESS: &str = "--epochs 1000000";

/// Checks that the metrics of a run have each step of `0..steps` once and in order.
fn assert_steps(lab: &Lab, run: &str, steps: usize) {
    let lines = lab.metrics(run);
    let records = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found: Vec<u64> = records.filter_map(|record| record["step"].as_u64()).collect();
    assert_eq!(found, (0..steps as u64).collect::<Vec<_>>());
}

/// Checks that a run has the same files as the run `calm`.
fn assert_same_as_calm(lab: &Lab, run: &str) {
    assert_steps(lab, run, lab.steps("calm"));
    assert_eq!(lab.files(run), lab.files("calm"));
    let differs = |file: &String| match file.as_str() {
        "metrics.jsonl" => untimed_metrics(lab, run) != untimed_metrics(lab, "calm"),
        _ => lab.read(&format!("{run}/{file}")) != lab.read(&format!("calm/{file}")),
    };
    let differing: Vec<String> = lab.files(run).into_iter().filter(differs).collect();
    // The checkpoint contains the elapsed time.
    assert_eq!(differing, ["checkpoint.safetensors"]);
}

/// The records of a run without what depends on the machine.
fn untimed_metrics(lab: &Lab, run: &str) -> Vec<Value> {
    let records = lab.metrics(run).into_iter().map(|line| {
        let mut record: Value = serde_json::from_str(&line).unwrap();
        let fields = record.as_object_mut().unwrap();
        fields.remove("pairs_per_second");
        fields.remove("memory");
        record
    });
    records.collect()
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

/// Starts or resumes the run and kills it after a number of steps and microseconds, repeatedly; then completes it.
/// Returns the number of kills before the last step.
fn kill_repeatedly(lab: &Lab, command: &str, run: &str, kills: &[(usize, u64)]) -> usize {
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

/// Pseudo-random moments, the same in every test run: while the process starts, and after up to `stride` more steps,
/// anywhere in a step or in the checkpoint after it.
fn kills(count: u64, stride: u64) -> Vec<(usize, u64)> {
    let random = |index| mix(42 ^ index);
    let early = [4_000, 9_000, 15_000].map(|micros| (0, micros));
    let later = (0..count).map(|i| ((1 + random(2 * i) % stride) as usize, random(2 * i + 1) % 5_000));
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
    let hits = kill_repeatedly(&lab, &command, "killed", &kills);
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
    let hits = kill_repeatedly(&lab, &command, "killed", &kills);
    assert!(hits > kills.len() / 2, "{hits} kills of {kills:?} came before step {steps}");
    assert_same_as_calm(&lab, "killed");
    // Resuming a complete run changes nothing.
    let again = lab.run(&format!("{command} --json --out killed --resume")).json();
    assert_eq!(again["stopped_early"], true);
    assert_same_as_calm(&lab, "killed");
}

#[test]
fn killed_with_dropout_and_batch_norm() {
    let lab = Lab::new(24);
    lab.run(&format!("{SHARELOCK} --out calm")).succeeded();
    assert_steps(&lab, "calm", 3);
    // The head has 34 M weights, so its steps and checkpoints are slow.
    let hits = kill_repeatedly(&lab, &format!("{SHARELOCK} --checkpoint-every 0"), "killed", &[(2, 100_000)]);
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
fn resuming_a_complete_run_changes_nothing() {
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
fn interrupted_run_exits_with_130_and_resumes() {
    let lab = Lab::new(400);
    let command = format!("{TRAIN} {FULL}");
    lab.run(&format!("{command} --out calm")).succeeded();
    let mut resume = "";
    for steps in [5, 40] {
        // A checkpoint after every step slows the run down.
        let slow = "--checkpoint-every 0";
        let mut process = lab.start(&format!("{command} {slow} --json --out stopped {resume}"));
        wait_for(&lab, "stopped", steps, &mut process);
        interrupt(&process);
        let ran = Ran::from(process.wait_with_output().unwrap());
        let taken = lab.steps("stopped");
        assert!((steps..240).contains(&taken), "{taken} steps");
        // A resume finds the steps that the error reports.
        let said = format!("interrupted after {taken} steps");
        assert!(ran.err.contains("press Ctrl-C again"), "{}", ran.err);
        ran.failed(130, &[&said, "run the same command with `--resume`"]);
        assert!(!lab.path("stopped/head.safetensors").exists());
        resume = "--resume";
    }
    let resumed = lab.run(&format!("{command} --out stopped --resume")).succeeded();
    assert!(resumed.err.contains("continues at step"), "{}", resumed.err);
    assert_same_as_calm(&lab, "stopped");
}

#[test]
fn a_run_folder_has_one_process_and_one_configuration() {
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
    assert_eq!(kill(process).code, None, "the first process must continue");

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
    lab.refuses(&format!("{TRAIN} --out images --resume"), 2, &["images contains no run to resume"]);
    lab.refuses(&format!("{TRAIN} --out images"), 2, &["images exists"]);
}

#[test]
fn resume_rejects_other_data_under_the_same_name() {
    let lab = Lab::new(200);
    let command = format!("{TRAIN} --holdout 50 --out run --epochs 1");
    lab.run(&command).succeeded();
    let other = Lab::new(201);
    std::fs::rename(lab.path("run"), other.path("run")).unwrap();
    other.refuses(&format!("{command} --resume"), 2, &["`rows` (200, now 201)"]);
}

#[test]
fn temporary_files_are_removed_and_other_files_are_kept() {
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
fn resume_rejects_a_damaged_checkpoint() {
    let lab = Lab::new(200);
    let command = format!("{TRAIN} --epochs 2 --out run");
    lab.run(&command).succeeded();
    let whole = lab.read("run/checkpoint.safetensors");
    let half = whole.len() / 2;
    let flipped = |index: usize| {
        let mut bytes = whole.clone();
        bytes[index] ^= 1;
        bytes
    };
    // In the header, the weights, the state of the optimizer, and its last momentum.
    let damaged = [100, 5_000, half + 100, whole.len() - 1].map(flipped);
    for bytes in damaged.into_iter().chain([whole[..half].to_vec(), Vec::new(), b"text".to_vec()]) {
        std::fs::write(lab.path("run/checkpoint.safetensors"), bytes).unwrap();
        let words = ["run/checkpoint.safetensors is damaged"];
        lab.refuses(&format!("{command} --resume"), 1, &words);
    }
    std::fs::write(lab.path("run/checkpoint.safetensors"), whole).unwrap();
    std::fs::write(lab.path("run/metrics.jsonl"), "{\"step\":0").unwrap();
    let words = ["run/metrics.jsonl is damaged"];
    lab.refuses(&format!("{command} --resume"), 1, &words);
}

#[test]
fn resume_starts_where_nothing_is_and_ends_where_all_is_done() {
    let lab = Lab::new(200);
    let command = format!("{TRAIN} --holdout 50 --epochs 2");
    lab.run(&format!("{command} --out calm")).succeeded();
    std::fs::create_dir(lab.path("empty")).unwrap();
    for run in ["absent", "empty"] {
        let first = lab.run(&format!("{command} --out {run} --resume")).succeeded();
        assert!(!first.out.contains("was complete"), "{}", first.out);
        assert_same_as_calm(&lab, run);
        let again = lab.run(&format!("{command} --out {run} --resume")).succeeded();
        assert!(again.out.contains(&format!("the run in {run} was complete")), "{}", again.out);
        assert_same_as_calm(&lab, run);
    }
    let swept = format!("{} --holdout 50 --epochs 1 --sweep lr=1e-3,1e-4 --out swept --resume --json", TRAIN);
    let first = lab.run(&swept).json();
    assert_eq!(lab.run(&swept).json()["best"], first["best"]);
    let probe = "probe --images images --texts texts --holdout 40 --dim 16 --epochs 1 --permutations 0 --out probed --resume";
    assert_eq!(lab.run(&format!("{probe} --json")).json(), lab.run(&format!("{probe} --json")).json());
}

#[cfg(unix)]
#[test]
fn resume_knows_features_by_every_path() {
    let lab = Lab::new(200);
    let command = format!("{TRAIN} --extra-texts more --holdout 50 --epochs 2 --out run");
    lab.run(&command).succeeded();
    std::os::unix::fs::symlink(lab.path("images"), lab.path("link")).unwrap();
    let absolute = |name: &str| lab.path(name).display().to_string();
    let paths =
        format!("--images link --texts {} --extra-texts {}/ --resume", absolute("texts"), absolute("more"));
    let again = lab.run(&changed(&command, &paths)).succeeded();
    assert!(again.out.contains("was complete"), "{}", again.out);
    let other = changed(&command, &format!("--texts {} --resume", absolute("more")));
    lab.refuses(&other, 2, &["`texts` (\"texts\", now"]);

    let probe = "probe --images i=images --texts texts --holdout 40 --dim 16 --epochs 1 --permutations 0 --out probed";
    lab.run(probe).succeeded();
    let renamed = format!("{probe} --resume").replace("i=images", "i=link");
    lab.run(&renamed.replace("--texts texts", &format!("--texts {}", absolute("texts")))).succeeded();
    lab.refuses(&renamed.replace("i=link", "j=link"), 2, &["`images`"]);
}

/// Waits until a process handles interrupts.
#[cfg(target_os = "linux")]
fn wait_for_handler(process: &mut Child) {
    let id = process.id();
    let catches_interrupts = || {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() & 0b10 != 0
    };
    while !catches_interrupts() {
        assert!(process.try_wait().unwrap().is_none());
        sleep(Duration::from_millis(1));
    }
}

#[cfg(unix)]
fn interrupt(process: &Child) {
    let id = process.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
}

#[cfg(target_os = "linux")]
#[test]
fn an_interrupt_ends_a_phase_without_saved_work_at_once() {
    let lab = Lab::empty();
    std::fs::write(lab.path("captions.txt"), "a cat\n").unwrap();
    // A hub that accepts connections and never answers.
    let hub = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", hub.local_addr().unwrap());
    let variables = [("HF_ENDPOINT", endpoint.as_str()), ("HF_HUB_OFFLINE", "0")];
    let mut process =
        lab.start_with("encode texts --model some/model --input captions.txt --out store", &variables);
    wait_for_handler(&mut process);
    interrupt(&process);
    let ran = Ran::from(process.wait_with_output().unwrap());
    ran.failed(130, &["interrupted"]);
    assert!(!lab.path("store").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn an_interrupted_probe_says_how_to_go_on() {
    let lab = Lab::new(400);
    let command = "probe --images images --texts texts --holdout 40 --dim 64 --batch 64 --epochs 1000000 --permutations 0 \
                   --out probed";
    let mut process = lab.start(command);
    while !lab.path("probed/config.json").exists() && process.try_wait().unwrap().is_none() {
        sleep(Duration::from_millis(1));
    }
    // The first part begins after the folder has appeared.
    sleep(Duration::from_millis(500));
    interrupt(&process);
    let ran = Ran::from(process.wait_with_output().unwrap());
    ran.failed(130, &["interrupted"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_second_interrupt_stops_a_step_at_once() {
    use std::io::{BufRead, BufReader};

    let lab = Lab::new(24);
    // The head has 34 M weights, so its steps and checkpoints are slow.
    let command = SHARELOCK.replace("--epochs 1", "--epochs 1000");
    let mut process = lab.start(&format!("{command} --out run"));
    wait_for(&lab, "run", 1, &mut process);
    interrupt(&process);
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("press Ctrl-C again")));
    interrupt(&process);
    assert_eq!(process.wait().unwrap().code(), Some(130));
}
