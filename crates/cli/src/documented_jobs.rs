//! Tests of the jobs in `docs/scale`: their scripts are run with a stand-in for `sail`, whose command lines must parse.

#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;
use serde_json::Value;

use crate::Cli;

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/scale").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Writes a program that is found before all others.
///
/// Another process writes it: a file that this one has open for writing while a test beside it starts a program cannot be
/// executed.
fn stand_in(folder: &Path, name: &str, text: &str) {
    let script = r#"printf %s "$2" > "$1" && chmod 755 "$1""#;
    let status = Command::new("sh").args(["-c", script, "sh"]).arg(folder.join(name)).arg(text).status();
    assert!(status.unwrap().success());
}

/// Runs a script with variables, and returns the words of every call of `sail`, all of which parse.
fn calls(shell: &str, script: &str, variables: &[(&str, &str)]) -> Vec<Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let programs = folder.path().join("bin");
    fs::create_dir(&programs).unwrap();
    stand_in(&programs, "sail", "#!/bin/sh\nprintf '%s\\n' sail \"$@\" end-of-call >> \"$CALLS\"\n");
    stand_in(&programs, "srun", "#!/bin/sh\nexec \"$@\"\n");
    let calls: PathBuf = folder.path().join("calls");
    let status = Command::new(shell)
        .args(["-euc", script])
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", programs.display()))
        .env("CALLS", &calls)
        .envs(variables.iter().copied())
        .current_dir(folder.path())
        .status()
        .unwrap();
    assert!(status.success(), "{script}");
    let words: Vec<String> = fs::read_to_string(calls).unwrap().lines().map(str::to_owned).collect();
    let calls: Vec<Vec<String>> = words
        .split(|word| word == "end-of-call")
        .filter(|call| !call.is_empty())
        .map(<[_]>::to_vec)
        .collect();
    for call in &calls {
        if let Err(error) = Cli::try_parse_from(call) {
            panic!("{}\n{error}", call.join(" "));
        }
    }
    calls
}

/// Returns the word after an option.
fn option<'a>(call: &'a [String], name: &str) -> &'a str {
    let position = call.iter().position(|word| word == name);
    position.and_then(|position| call.get(position + 1)).unwrap_or_else(|| panic!("no {name} in {call:?}"))
}

/// Returns the number of tasks of an array, which begins at 1.
fn tasks(script: &str) -> usize {
    let directives: Vec<&str> = script.lines().filter_map(|line| line.strip_prefix("#SBATCH ")).collect();
    assert!(directives.iter().all(|directive| directive.starts_with("--")), "{directives:?}");
    let array = directives.iter().find_map(|directive| directive.strip_prefix("--array=1-"));
    array.unwrap().parse().unwrap()
}

/// Checks the calls of one part.
fn assert_part(calls: &[Vec<String>], part: usize, parts: usize) {
    for (call, sides) in calls.iter().zip(["images", "texts"]) {
        assert_eq!(call[1..3], ["encode", sides]);
        assert_eq!(option(call, "--part"), format!("{part}/{parts}"));
        assert!(option(call, "--out").ends_with(&format!("/{sides}-{part}")));
        assert!(call.contains(&"--resume".to_owned()));
    }
}

/// Checks that a training reads all parts in order.
fn assert_reads(call: &[String], parts: usize, folder: &str) {
    for sides in ["images", "texts"] {
        let expected: Vec<String> = (1..=parts).map(|part| format!("{folder}/{sides}-{part}")).collect();
        assert_eq!(option(call, &format!("--{sides}")), expected.join(","));
    }
}

#[test]
fn slurm_jobs_cover_the_parts() {
    let encode = file("encode.slurm");
    let parts = tasks(&encode);
    let run = |script: &str, task: usize| {
        let task = task.to_string();
        calls("bash", script, &[("SLURM_ARRAY_TASK_ID", task.as_str()), ("SLURM_CPUS_PER_TASK", "16")])
    };
    for part in 1..=parts {
        let calls = run(&encode, part);
        assert_eq!(calls.len(), 2);
        assert_part(&calls, part, parts);
    }
    let train = file("train.slurm");
    let mut folders = Vec::new();
    for task in 1..=tasks(&train) {
        let [call] = &run(&train, task)[..] else { panic!("expected one call") };
        assert_reads(call, parts, "parts");
        folders.push(option(call, "--out").to_owned());
    }
    folders.sort();
    folders.dedup();
    assert_eq!(folders.len(), tasks(&train), "each setting has a folder: {folders:?}");
}

fn job(name: &str) -> Value {
    serde_saphyr::from_str(&file(name)).unwrap()
}

/// Returns the calls of a container.
fn container_calls(container: &Value, index: usize) -> Vec<Vec<String>> {
    assert_eq!(container["command"], serde_json::json!(["/bin/sh", "-ec"]));
    let index = index.to_string();
    let script = container["args"][0].as_str().unwrap();
    assert!(script.contains("exec sail"), "the shell does not forward signals");
    calls("sh", script, &[("JOB_COMPLETION_INDEX", index.as_str())])
}

#[test]
fn kubernetes_jobs_cover_the_parts() {
    for name in ["encode.yaml", "encode-bucket.yaml"] {
        let encode = job(name);
        assert_eq!((encode["kind"].as_str(), encode["apiVersion"].as_str()), (Some("Job"), Some("batch/v1")));
        assert_eq!(encode["spec"]["completionMode"], "Indexed");
        let parts = encode["spec"]["completions"].as_u64().unwrap() as usize;
        let pod = &encode["spec"]["template"]["spec"];
        let containers = pod["containers"].as_array().unwrap();
        for index in 0..parts {
            let calls: Vec<Vec<String>> =
                containers.iter().flat_map(|container| container_calls(container, index)).collect();
            assert_eq!(calls.len(), 2);
            assert_part(&calls, index + 1, parts);
            let in_bucket = calls.iter().flatten().filter(|word| word.starts_with("s3://")).count();
            assert_eq!(in_bucket, if name == "encode.yaml" { 0 } else { 4 });
        }
        for container in containers {
            for mount in container["volumeMounts"].as_array().unwrap() {
                let volumes = pod["volumes"].as_array().unwrap();
                assert!(volumes.iter().any(|volume| volume["name"] == mount["name"]), "{mount}");
            }
        }
    }
}

#[test]
fn a_kubernetes_job_trains_on_the_parts() {
    let parts = job("encode.yaml")["spec"]["completions"].as_u64().unwrap() as usize;
    let train = job("train.yaml");
    let [call] = &container_calls(&train["spec"]["template"]["spec"]["containers"][0], 0)[..] else {
        panic!("expected one call")
    };
    assert_reads(call, parts, "/features");
}

#[test]
fn expected_rates_are_those_of_the_benchmarks() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let read = |name| fs::read_to_string(root.join(name)).unwrap();
    let (scale, benchmarks) = (read("scale.md"), read("benchmarks.md"));
    let rows: Vec<Vec<&str>> = scale
        .lines()
        .filter(|line| line.contains("thread-hours |"))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    assert_eq!(rows.len(), 3);
    for row in rows {
        let work = row[1].split([',', ' ']).next().unwrap();
        assert!(
            benchmarks.lines().any(|line| line.contains(&format!("| {} |", row[2]))),
            "{work}: {} a second is not in benchmarks.md",
            row[2]
        );
        // Of two threads.
        let hours = |millions: f64| millions * 1e6 / row[2].parse::<f64>().unwrap() / 3600.0 * 2.0;
        for (cell, millions) in [(row[3], 1.0), (row[4], 23.0)] {
            let stated: f64 = cell.trim_end_matches(" thread-hours").replace(',', "").parse().unwrap();
            assert!(
                (stated - hours(millions)).abs() <= 0.05 * stated,
                "{work}: {stated}, {}",
                hours(millions)
            );
        }
    }
}
