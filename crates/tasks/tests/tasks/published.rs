//! The scores match those of the published scripts.

use std::io::Write;

use sail_data::source::SourceOptions;
use sail_tasks::{
    CaptionData, LabelledImages, MmvpData, SugarCrepeData, TaskError, WinogroundData, caption_answers,
    caption_retrieval, classify, classify_answers, mmvp, sugar_crepe, winoground,
};
use serde::Serialize;
use serde_json::Value;

use crate::lab::{Lab, fixture};

fn expected(task: &str) -> Value {
    let json = std::fs::read(fixture("expected.json")).unwrap();
    serde_json::from_slice::<Value>(&json).unwrap()[task].take()
}

/// Compares all expected values, with a tolerance of 1e-6; of skipped items only the count.
fn assert_close(found: &Value, expected: &Value, place: &str) {
    match (found, expected) {
        (Value::Object(found), Value::Number(count)) if place.ends_with("skipped") => {
            assert_eq!(found["count"].as_u64(), count.as_u64(), "{place}");
        }
        (Value::Object(found), Value::Object(expected)) => {
            for (key, expected) in expected {
                assert_close(found.get(key).unwrap_or(&Value::Null), expected, &format!("{place}.{key}"));
            }
        }
        (Value::Array(found), Value::Array(expected)) => {
            assert_eq!(found.len(), expected.len(), "{place}");
            for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
                assert_close(found, expected, &format!("{place}[{index}]"));
            }
        }
        (Value::Number(found), Value::Number(expected)) => {
            let (found, expected) = (found.as_f64().unwrap(), expected.as_f64().unwrap());
            assert!((found - expected).abs() < 1e-6, "{place}: {found}, expected {expected}");
        }
        _ => assert_eq!(found, expected, "{place}"),
    }
}

fn check(result: impl Serialize, expected: &Value) {
    assert_close(&serde_json::to_value(result).unwrap(), expected, "");
}

#[test]
fn winoground_matches_the_notebook() {
    let data = WinogroundData::open(&fixture("winoground"), &SourceOptions::default()).unwrap();
    let result = Lab::new().cached(|model, cache| winoground(model, &data, cache)).unwrap();
    assert_eq!(result.skipped.first[0].item, "6");
    assert!(result.skipped.first[0].reason.contains("ex_6_img_1.png"), "{:?}", result.skipped);
    check(result, &expected("winoground"));
}

#[test]
fn mmvp_matches_the_script() {
    let data = MmvpData::open(&fixture("mmvp"), &SourceOptions::default()).unwrap();
    assert_eq!((data.len(), data.categories().len()), (12, 3));
    let result = Lab::new().cached(|model, cache| mmvp(model, &data, cache)).unwrap();
    assert_eq!(result.skipped.first[0].item, "21 and 22");
    check(result, &expected("mmvp"));
}

/// The images of Winoground are published as an archive.
#[test]
fn reads_images_from_an_archive() {
    let (lab, published) = (Lab::new(), fixture("winoground"));
    std::fs::create_dir(lab.path("data")).unwrap();
    std::fs::copy(published.join("examples.jsonl"), lab.path("data/examples.jsonl")).unwrap();
    let mut archive = zip::ZipWriter::new(std::fs::File::create(lab.path("data/images.zip")).unwrap());
    for path in std::fs::read_dir(published.join("images")).unwrap().map(|entry| entry.unwrap().path()) {
        let name = format!("images/{}", path.file_name().unwrap().to_str().unwrap());
        archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(&std::fs::read(&path).unwrap()).unwrap();
    }
    archive.finish().unwrap();
    let data = WinogroundData::open(&lab.path("data"), &SourceOptions::default()).unwrap();
    let result = lab.cached(|model, cache| winoground(model, &data, cache)).unwrap();
    let expected = expected("winoground");
    assert_eq!(result.skipped.count, 1);
    assert!(result.skipped.first[0].reason.contains("no member `images/ex_6_img_1.png`"), "{result:?}");
    check(result, &expected);
    std::fs::write(lab.path("data/images.zip"), "nothing").unwrap();
    assert!(matches!(
        WinogroundData::open(&lab.path("data"), &SourceOptions::default()),
        Err(TaskError::Images(_))
    ));
}

#[test]
fn sugar_crepe_matches_the_script() {
    let folder = fixture("sugarcrepe");
    let data = SugarCrepeData::open(&folder, &folder.join("val2017"), &SourceOptions::default()).unwrap();
    assert_eq!(data.len(), 84);
    let result = Lab::new().cached(|model, cache| sugar_crepe(model, &data, cache)).unwrap();
    assert_eq!(result.skipped.first[0].item, "swap_obj 11");
    check(result, &expected("sugarcrepe"));
}

#[test]
fn retrieval_matches_clip_benchmark() {
    let folder = fixture("karpathy");
    let expected = expected("karpathy");
    let lab = Lab::new();
    for split in ["test", "val", "train"] {
        let data = CaptionData::open(
            &folder.join("dataset_coco.json"),
            &folder.join("images"),
            split,
            5,
            &SourceOptions::default(),
        )
        .unwrap();
        let result = lab.cached(|model, cache| caption_retrieval(model, &data, cache)).unwrap();
        check(result, &expected[split]);
    }
}

#[test]
fn zero_shot_classification_matches_clip_benchmark() {
    for layout in ["web_dataset", "image_folder"] {
        let data = LabelledImages::open(&fixture(layout), "test", None, &SourceOptions::default()).unwrap();
        let result = Lab::new().cached(|model, cache| classify(model, &data, cache)).unwrap();
        check(result, &expected(layout));
    }
}

/// The first candidates agree with the score if no classes tie.
#[test]
fn answers_agree_with_the_scores() {
    let lab = Lab::new();
    let data =
        LabelledImages::open(&fixture("image_folder"), "test", None, &SourceOptions::default()).unwrap();
    let (result, answers) = lab.cached(|model, cache| classify_answers(model, &data, cache, 3)).unwrap();
    assert_eq!(lab.cached(|model, cache| classify(model, &data, cache)).unwrap(), result);
    let right = answers.iter().filter(|answer| answer.is_correct()).count();
    assert!((100.0 * right as f64 / 18.0 - result.scores.top1).abs() < 1e-9);
    assert_eq!((answers[4].key.as_str(), answers[4].truth[0].as_str()), ("n01/1.png", "red bird"));
    assert!(answers.iter().all(|answer| answer.candidates.len() == 3));
    assert_eq!(data.image(&answers[4]).unwrap().unwrap().dimensions(), (4, 2));

    // In archives too, after a skipped record.
    let data =
        LabelledImages::open(&fixture("web_dataset"), "test", None, &SourceOptions::default()).unwrap();
    let (_, answers) = lab.cached(|model, cache| classify_answers(model, &data, cache, 3)).unwrap();
    assert_eq!(answers[16].key, "1/s0000017");
    assert_eq!(data.image(&answers[16]).unwrap().unwrap().dimensions(), (4, 2));

    let folder = fixture("karpathy");
    let data = CaptionData::open(
        &folder.join("dataset_coco.json"),
        &folder.join("images"),
        "test",
        5,
        &SourceOptions::default(),
    )
    .unwrap();
    let (result, answers) = lab.cached(|model, cache| caption_answers(model, &data, cache, 3)).unwrap();
    let right = answers.iter().filter(|answer| answer.is_correct()).count();
    assert!((100.0 * right as f64 / 12.0 - result.retrieval.i2t.r1).abs() < 1e-9);
    assert_eq!((answers.len(), answers[0].truth.len()), (12, 5));
    assert!(data.image(&answers[11]).unwrap().is_some());
}
