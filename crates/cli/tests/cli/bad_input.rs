//! Invalid input: one error message that names the cause, and no incomplete files.

use safetensors::SafeTensors;
// The derive of `Module` looks for a crate of this name.
use sail_vl::burn;
use sail_vl::burn::module::Module;
use sail_vl::burn::store::ModuleRecord;
use sail_vl::burn::tensor::{Bytes, Device};
use sail_vl::core::{AlignmentHead, HeadError, Modality};
use sail_vl::layers::{Head, HeadConfig, ProjectorConfig};

use crate::lab::{IMAGE_DIM, Lab, TEXT_DIM, TRAIN, changed, key, row};

fn images(rows: usize) -> Vec<Vec<f32>> {
    (0..rows).map(|item| row(item, 0, IMAGE_DIM)).collect()
}

fn texts(rows: usize) -> Vec<Vec<f32>> {
    (0..rows).map(|item| row(item, 1, TEXT_DIM)).collect()
}

/// A folder with `data.safetensors`, its tensors `image` and `text` changed by `edit`.
fn bare(rows: usize, edit: impl FnOnce(&mut Vec<Vec<f32>>, &mut Vec<Vec<f32>>)) -> Lab {
    let lab = Lab::empty();
    let (mut image, mut text) = (images(rows), texts(rows));
    edit(&mut image, &mut text);
    lab.matrices("data.safetensors", &[("image", image), ("text", text)]);
    lab
}

const BARE: &str = "train --images data.safetensors:image --texts data.safetensors:text --projector glu --width 2 \
                    --dim 32 --batch 64 --lr 1e-3 --out run";

#[test]
fn rejects_invalid_settings() {
    let lab = Lab::new(200);
    let train = format!("{TRAIN} --out run");
    for (change, words) in [
        ("--batch 1", ["`batch_size` is 1", "at least 2"]),
        ("--width 0", ["`width` is 0", "at least 1"]),
        ("--dim 0", ["`dim` is 0", "1 to"]),
        ("--epochs 0", ["`epochs` is 0", "at least 1"]),
        ("--lr -1", ["`learning_rate` is -1", "a positive number"]),
        ("--lr NaN", ["`learning_rate` is NaN", "a positive number"]),
        ("--weight-decay -0.1", ["`weight_decay` is -0.1", "0 to"]),
        ("--warmup 1.5", ["`warmup` is 1.5", "0 to 1"]),
        ("--holdout 10 --patience 0", ["`patience` is 0", "at least 1"]),
        ("--checkpoint-every -1", ["--checkpoint-every", "seconds"]),
        ("--device abacus", ["`abacus`", "expected one of cpu"]),
        ("--device cpu:one", ["`cpu:one`", "an index or `cpu`"]),
        ("--device cpu,cpu:1", ["`cpu:1` not found", "one of cpu"]),
        ("--device flex:1", ["`flex:1` not found", "one of cpu"]),
        ("--projector sharelock", ["`width`", "`projector`"]),
        ("--depth 2", ["`depth` is 2", "`projector`"]),
        ("--projector residual-mlp --dropout 1", ["`dropout` is 1", "less than 1"]),
        ("--mixup 1000", ["`mixup` is 1000", "0.01 to 100"]),
        ("--patience 3", ["`patience`", "`holdout`"]),
        ("--loss info-nce --blocks sum", ["`--blocks`", "`--loss`"]),
    ] {
        lab.refuses(&changed(&train, change), 2, &words);
    }
    let sharelock = "train --images images --texts texts --projector sharelock --dim 32 --batch 64 --out run";
    lab.refuses(sharelock, 2, &["`input` is 64, expected 32", "identity"]);
    let cut = "train --images images --texts texts --projector sharelock --dim 64 --batch 64 --micro-batch 8 --out run";
    lab.refuses(cut, 2, &["cannot split the batch into micro-batches of 8 rows", "batch norm"]);
    let tight = format!("{train} --memory 1MiB");
    lab.refuses(&tight, 2, &["a memory budget of 1 MiB is too small", "at least "]);
    let unstated = changed(&tight, "--memory 1GiB --loss barlow-twins");
    lab.refuses(&unstated, 2, &["the memory of the loss is unknown", "micro-batch"]);
    let half = "train --images images --texts texts --projector sharelock --dim 64 --batch 64 --precision f16 --out run";
    lab.refuses(half, 2, &["the head does not support f16", "f32"]);
    lab.refuses(&changed(&train, "--optimizer sgd"), 2, &["'sgd'", "[possible values: lion, adamw]"]);
    lab.refuses("train --colour blue", 2, &["--colour", "unexpected"]);
}

#[test]
fn rejects_too_few_rows() {
    let lab = Lab::new(50);
    let train = format!("{TRAIN} --out run");
    lab.refuses(&format!("{train} --holdout 50"), 2, &["cannot hold out 50 of 50 pairs"]);
    lab.refuses(&format!("{train} --holdout 51"), 2, &["cannot hold out 51 of 50 pairs"]);
    let alone = ["a batch needs at least 2 rows, found 1", "hold out fewer or add data"];
    lab.refuses(&format!("{train} --holdout 49"), 2, &alone);
}

#[test]
fn rejects_missing_and_invalid_features() {
    let lab = Lab::new(100);
    let with = |images: &str| format!("train --images {images} --texts texts --batch 64 --out run");
    lab.refuses(&with("nowhere"), 1, &["cannot use nowhere", "does not exist"]);
    lab.refuses(&with("nowhere.safetensors:x"), 1, &["cannot use nowhere.safetensors:x"]);
    std::fs::create_dir(lab.path("empty")).unwrap();
    lab.refuses(&with("empty"), 1, &["cannot use empty"]);
    std::fs::write(lab.path("text.safetensors"), "no such luck").unwrap();
    lab.refuses(&with("text.safetensors"), 1, &["text.safetensors"]);
    lab.matrices("two.safetensors", &[("a", images(3)), ("b", texts(3))]);
    let several = ["`a`", "`b`", "[3, 64]", ":TENSOR"];
    lab.refuses(&with("two.safetensors"), 1, &several);
    lab.refuses(&with("two.safetensors:c"), 1, &["`c`"]);
    // Texts instead of images.
    lab.refuses(&with("more"), 2, &["more holds text features, expected image features"]);
}

#[test]
fn rejects_damaged_stores() {
    let lab = Lab::new(400);
    let train = format!("{TRAIN} --out run");
    let shard = lab.path("images/shard-00001.safetensors");
    let whole = std::fs::read(&shard).unwrap();
    std::fs::write(&shard, &whole[..whole.len() - 100]).unwrap();
    lab.refuses(&train, 1, &["shard-00001.safetensors", &whole.len().to_string()]);
    let mut flipped = whole.clone();
    let place = whole.len() - 1000;
    flipped[place] ^= 4;
    std::fs::write(&shard, flipped).unwrap();
    lab.refuses(&train, 1, &["shard-00001.safetensors", "expected"]);
    std::fs::remove_file(&shard).unwrap();
    lab.refuses(&train, 1, &["shard-00001.safetensors"]);
    std::fs::write(&shard, whole).unwrap();
    let manifest = lab.path("images/manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replacen("\"rows\": 400", "\"rows\": 401", 1)).unwrap();
    assert_ne!(text, std::fs::read_to_string(&manifest).unwrap(), "the edit must hit");
    lab.refuses(&train, 1, &["401", "400"]);
    std::fs::remove_file(&manifest).unwrap();
    lab.refuses(&train, 1, &["cannot use images"]);
}

#[test]
fn names_rows_that_are_not_finite_or_zero() {
    for (value, words) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
        let lab = bare(200, |image, _| image[137][5] = value);
        lab.refuses(BARE, 1, &["data.safetensors:image", "row 137", words, "column 5"]);
    }
    let lab = bare(200, |_, text| text[42].fill(0.0));
    lab.refuses(BARE, 1, &["data.safetensors:text", "row 42", "all zeros"]);
    // Without verification the row is found in its batch; the folder of a run without a step is removed.
    let lab = bare(200, |image, _| image.iter_mut().for_each(|row| row[0] = f32::NAN));
    lab.refuses(&format!("{BARE} --no-verify"), 1, &["row", "NaN in column 0"]);
}

#[test]
fn rejects_mismatched_keys() {
    let lab = Lab::new(100);
    let texts = (3..103).map(|item| (key(item), row(item, 1, TEXT_DIM)));
    lab.store("shifted", Modality::Text, "language", texts);
    let words =
        ["97 of 100 images and 97 of 100 captions pair", "image-0000", "image-0100", "--unmatched drop"];
    lab.refuses("train --images images --texts shifted --batch 64 --out run --unmatched error", 1, &words);
    let twice = (0..100).map(|item| (key(item / 2), row(item, 0, IMAGE_DIM)));
    lab.store("twice", Modality::Image, "vision", twice);
    lab.refuses("train --images twice --texts texts --batch 64 --out run", 1, &["image-0000"]);
    lab.matrices("few.safetensors", &[("x", images(99))]);
    lab.refuses("train --images few.safetensors --texts texts --batch 64 --out run", 1, &["99"]);
    let other = (0..100).map(|item| (key(item), row(item, 1, TEXT_DIM)));
    lab.store("other", Modality::Text, "another-model", other);
    let words = ["another-model", "language", "model"];
    lab.refuses("train --images images --texts texts --extra-texts other --batch 64 --out run", 2, &words);
}

#[test]
fn rejects_heads_that_do_not_match() {
    let lab = Lab::new(200);
    lab.run(&format!("{TRAIN} --epochs 1 --out run")).succeeded();
    let eval =
        |head: &str, images: &str| format!("eval retrieval --head {head} --images {images} --texts texts");
    let head = "run/head.safetensors";
    lab.run(&eval(head, "images")).succeeded();
    lab.refuses(&format!("{} --holdout 0", eval(head, "images")), 2, &["`--holdout` is 0"]);
    let narrow = (0..200).map(|item| (key(item), row(item, 0, 12)));
    lab.store("narrow", Modality::Image, "vision", narrow);
    lab.refuses(&eval(head, "narrow"), 1, &["image features have 12 dimensions, expected 64"]);
    let other = (0..200).map(|item| (key(item), row(item, 0, IMAGE_DIM)));
    lab.store("other", Modality::Image, "another-model", other);
    lab.refuses(
        &eval(head, "other"),
        1,
        &["another-model", "trained on other image features", "expected vision", "`model`"],
    );
    std::fs::write(lab.path("text"), "a head, honestly").unwrap();
    lab.refuses(&eval("text", "images"), 1, &["not a head file"]);
    lab.refuses(&eval("nowhere", "images"), 1, &["cannot access nowhere"]);
    let checkpoint = "run/checkpoint.safetensors";
    lab.refuses(&eval(checkpoint, "images"), 1, &["not a head file", "sail_head"]);
    lab.refuses("head show images/shard-00000.safetensors", 1, &["not a head file"]);
}

#[test]
fn rejects_invalid_labels() {
    let lab = Lab::new(100);
    lab.run(&format!("{TRAIN} --epochs 1 --out run")).succeeded();
    let prompts: Vec<Vec<f32>> = texts(4);
    lab.matrices("prompts.safetensors", &[("prompts", prompts)]);
    let eval =
        "eval zero-shot --head run/head.safetensors --images images --prompts prompts.safetensors --labels l";
    lab.labels("l", &[0; 99]);
    lab.refuses(eval, 2, &["99 labels, expected 100"]);
    let mut labels = [1; 100];
    labels[7] = 4;
    lab.labels("l", &labels);
    lab.refuses(eval, 1, &["image 7 has class index 4, expected less than 4"]);
    labels[7] = -1;
    lab.labels("l", &labels);
    lab.refuses(eval, 2, &["image 7 has the label -1"]);
    std::fs::write(lab.path("l"), "cat, dog").unwrap();
    lab.refuses(eval, 1, &["cannot use l"]);
}

#[cfg(unix)]
#[test]
fn full_disk_leaves_complete_files_only() {
    let lab = Lab::new(400);
    let train = format!("{TRAIN} --holdout 100 --epochs 40 --evaluate-every 0");
    lab.run(&format!("{train} --out calm")).succeeded();
    let head = std::fs::metadata(lab.path("calm/head.safetensors")).unwrap().len() as usize;
    // Room for the head and the metrics, but not for a checkpoint, which holds the momentum as well.
    let room = head * 3 / 2 / 512;
    let full = lab.run_on_full_disk(room, &format!("{train} --out run --checkpoint-every 0"));
    full.failed(1, &["run/checkpoint.safetensors", "File too large"]);
    assert_eq!(lab.files("run"), ["config.json", "metrics.jsonl"]);

    // An earlier checkpoint is kept, and can be resumed from.
    std::fs::remove_dir_all(lab.path("run")).unwrap();
    let mut process = lab.start(&format!("{train} --out run --checkpoint-every 0"));
    while !lab.path("run/checkpoint.safetensors").exists() && process.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    process.kill().unwrap();
    process.wait().unwrap();
    let checkpoint = lab.read("run/checkpoint.safetensors");
    let full = lab.run_on_full_disk(room, &format!("{train} --out run --checkpoint-every 0 --resume"));
    full.failed(1, &["run/checkpoint.safetensors", "File too large"]);
    assert_eq!(lab.files("run"), ["checkpoint.safetensors", "config.json", "metrics.jsonl"]);
    assert!(lab.read("run/checkpoint.safetensors") == checkpoint);
    let resumed = lab.run(&format!("{train} --out run --resume")).succeeded();
    assert!(resumed.err.contains("continues at step"), "{}", resumed.err);
    assert!(lab.read("run/head.safetensors") == lab.read("calm/head.safetensors"));

    // A folder without space for its configuration is not created.
    let before = lab.list();
    lab.run_on_full_disk(0, &format!("{train} --out none")).failed(1, &["none/config.json"]);
    assert_eq!(lab.list(), before);
}

#[cfg(target_os = "linux")]
#[test]
fn fails_if_the_result_cannot_be_printed() {
    let lab = Lab::new(100);
    let train = format!("{TRAIN} --epochs 1 --out run");
    let print = |arguments: &str| lab.run_printing_to("/dev/full", arguments);
    let words = ["cannot print the result", "No space left"];
    print(&train).failed(1, &words);
    // The run itself is complete.
    print("head show run/head.safetensors").failed(1, &words);
    let eval = "eval retrieval --head run/head.safetensors --images images --texts texts";
    print(eval).failed(1, &words);
    print(&format!("{eval} --json")).failed(1, &words);
}

/// The module of a checkpoint.
#[derive(Module, Debug)]
struct Weights {
    head: Head,
}

/// Returns the head in a run's checkpoint.
fn checkpoint_head(lab: &Lab, run: &str, config: &HeadConfig) -> Result<Head, HeadError> {
    let device = Device::flex();
    let file = lab.read(&format!("{run}/checkpoint.safetensors"));
    let module = SafeTensors::deserialize(&file).unwrap().tensor("module").unwrap().data().to_vec();
    let record = ModuleRecord::from_bytes(Bytes::from_bytes_vec(module)).unwrap();
    let head = Head::new(config, 0, &device).unwrap();
    let bytes = Weights { head }.try_load_record(record).unwrap().head.to_bytes().unwrap();
    // Rejects a weight that is not finite.
    Head::from_bytes(bytes, &device)
}

#[test]
fn nan_loss_stops_the_run_and_keeps_the_checkpoint() {
    let lab = Lab::new(400);
    // A learning rate at which the squares of the outputs overflow f32 after some steps.
    let train = "train --images images --texts texts --projector linear --dim 32 --batch 64 --lr 3e17 --weight-decay 0 \
                 --checkpoint-every 0 --out run";
    let ran = lab.run(train);
    let (steps, error) = (lab.steps("run"), ran.err.lines().last().unwrap().to_owned());
    ran.failed(1, &[&format!("the loss is NaN at step {steps}: "), "lower the learning rate"]);
    assert!(steps > 1, "{error}");
    assert_eq!(lab.files("run"), ["checkpoint.safetensors", "config.json", "metrics.jsonl"]);
    checkpoint_head(&lab, "run", &HeadConfig::new(IMAGE_DIM, TEXT_DIM, 32, ProjectorConfig::Linear {}))
        .unwrap();
    // A resumed run fails at the same step with the same error.
    let again = lab.run(&format!("{train} --resume"));
    assert!(again.err.contains(&format!("continues at step {steps} ")), "{}", again.err);
    assert_eq!(again.err.lines().last().unwrap(), error);
}

#[test]
fn weights_that_are_not_finite_are_not_saved() {
    let lab = Lab::new(200);
    // Beyond the range of f32: the weights are infinite after the first step.
    let train = changed(&format!("{TRAIN} --holdout 50 --warmup 0"), "--lr 1e39 --weight-decay 0");
    for (run, options) in [
        ("saves", "--checkpoint-every 0"),
        ("evaluates", "--checkpoint-every 1000 --evaluate-every 1 --batch 150"),
    ] {
        let ran = lab.run(&changed(&format!("{train} --out {run}"), options));
        ran.failed(1, &["a weight is inf at step 0", "lower the learning rate"]);
        assert_eq!(lab.files(run), ["config.json", "metrics.jsonl"]);
    }
}

#[test]
fn failure_before_the_first_step_leaves_no_folder() {
    // Finite features without a finite mean: the sum of a row overflows.
    let lab = bare(200, |image, _| image.iter_mut().for_each(|row| row.fill(3e38)));
    lab.refuses(BARE, 1, &["the loss is NaN at step 0", "check the scale of the features"]);
}
