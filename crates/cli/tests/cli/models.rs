//! `sail models`.

use std::path::Path;

use serde_json::Value;

use crate::lab::Lab;

/// A lab with a tiny sentence encoder in the folder `model`.
fn lab() -> Lab {
    let lab = Lab::empty();
    copy(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../encoders/tests/fixtures/text/bert_mean"),
        &lab.path("model"),
    );
    lab
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn families_are_listed() {
    let lab = Lab::empty();
    let text = lab.run("models").succeeded().out;
    assert!(text.starts_with("FAMILY") && text.contains("dinov2_with_registers"), "{text}");
    let json: Value = serde_json::from_str(&lab.run("models --json").succeeded().out).unwrap();
    assert_eq!(json["families"].as_array().unwrap().len(), text.lines().count() - 1);
}

#[test]
fn a_model_is_described() {
    let lab = lab();
    let text = lab.run("models show model").succeeded().out;
    assert!(text.contains("family       BERT") && text.contains("  attention  bidirectional"), "{text}");
    let json: Value = serde_json::from_str(&lab.run("models show model --json").succeeded().out).unwrap();
    assert_eq!((&json["family"], &json["image"]), (&"BERT".into(), &Value::Null));
    let missing = lab.run("models show nowhere/");
    assert_eq!(missing.code, Some(1), "{}", missing.err);
}

#[test]
fn a_row_is_compared_with_the_expected_one() {
    let lab = lab();
    let unknown = lab.run("models check model").succeeded().out;
    assert!(unknown.contains("  reference  unknown for these weights"), "{unknown}");
    let json: Value = serde_json::from_str(&lab.run("models check model --json").succeeded().out).unwrap();
    let mut row: Vec<f64> = serde_json::from_value(json["rows"][0]["row"].clone()).unwrap();
    std::fs::write(lab.path("row.json"), serde_json::to_string(&row).unwrap()).unwrap();
    let equal = lab.run("models check model --expect row.json").succeeded().out;
    assert!(
        equal.contains("reference  row.json, ") && equal.contains(" of the scale away: equal"),
        "{equal}"
    );
    // As a wrong pooling would do.
    row[3] += 0.1;
    std::fs::write(lab.path("row.json"), serde_json::to_string(&row).unwrap()).unwrap();
    let different = lab.run("models check model --expect row.json");
    assert_eq!(different.code, Some(1));
    assert!(different.err.contains("the row of the texts differs from row.json by "), "{}", different.err);
    assert!(different.out.contains("different"), "{}", different.out);
}

#[test]
fn wrong_usage_of_a_check_is_named() {
    let lab = lab();
    std::fs::write(lab.path("row.json"), "{}").unwrap();
    for (options, message) in [
        ("--side images", "model does not encode images"),
        ("--expect row.json", "expected a JSON array of numbers"),
        ("--expect missing.json", "cannot use missing.json"),
    ] {
        let ran = lab.run(&format!("models check model {options}"));
        assert_eq!(ran.code, Some(2), "{options}: {}", ran.err);
        assert!(ran.err.contains(message), "{options}: {}", ran.err);
    }
}

#[test]
fn a_program_for_the_row_is_printed() {
    let program = lab().run("models check model --emit-python").succeeded().out;
    assert!(program.starts_with("# The row of texts.\nfrom sentence_transformers import"), "{program}");
    assert!(program.lines().count() <= 12, "{program}");
}
