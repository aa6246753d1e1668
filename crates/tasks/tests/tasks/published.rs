//! The same scores as the published scripts, on their layouts.

use sail_tasks::{
    CaptionData, LabelledImages, MmvpData, SugarCrepeData, WinogroundData, caption_retrieval, classify, mmvp,
    sugar_crepe, winoground,
};
use serde::Serialize;
use serde_json::Value;

use crate::lab::{Lab, fixture};

fn expected(task: &str) -> Value {
    let json = std::fs::read(fixture("expected.json")).unwrap();
    serde_json::from_slice::<Value>(&json).unwrap()[task].take()
}

/// Everything that is expected must be there, numbers to 1e-6; of what was skipped, the count.
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
fn winoground_is_the_notebooks() {
    let data = WinogroundData::open(&fixture("winoground")).unwrap();
    let result = Lab::new().cached(|model, cache| winoground(model, &data, cache)).unwrap();
    assert_eq!(result.skipped.first[0].item, "6");
    assert!(result.skipped.first[0].reason.contains("ex_6_img_1.png"), "{:?}", result.skipped);
    check(result, &expected("winoground"));
}

#[test]
fn mmvp_is_the_scripts() {
    let data = MmvpData::open(&fixture("mmvp")).unwrap();
    assert_eq!((data.len(), data.categories().len()), (12, 3));
    let result = Lab::new().cached(|model, cache| mmvp(model, &data, cache)).unwrap();
    assert_eq!(result.skipped.first[0].item, "21 and 22");
    check(result, &expected("mmvp"));
}

#[test]
fn sugar_crepe_is_the_scripts() {
    let folder = fixture("sugarcrepe");
    let data = SugarCrepeData::open(&folder, &folder.join("val2017")).unwrap();
    assert_eq!(data.len(), 84);
    let result = Lab::new().cached(|model, cache| sugar_crepe(model, &data, cache)).unwrap();
    assert_eq!(result.skipped.first[0].item, "swap_obj 11");
    check(result, &expected("sugarcrepe"));
}

#[test]
fn retrieval_is_clip_benchmarks() {
    let folder = fixture("karpathy");
    let expected = expected("karpathy");
    let lab = Lab::new();
    for split in ["test", "val", "train"] {
        let data =
            CaptionData::open(&folder.join("dataset_coco.json"), &folder.join("images"), split, 5).unwrap();
        let result = lab.cached(|model, cache| caption_retrieval(model, &data, cache)).unwrap();
        check(result, &expected[split]);
    }
}

#[test]
fn zero_shot_classification_is_clip_benchmarks() {
    for layout in ["web_dataset", "image_folder"] {
        let data = LabelledImages::open(&fixture(layout), "test", None).unwrap();
        let result = Lab::new().cached(|model, cache| classify(model, &data, cache)).unwrap();
        check(result, &expected(layout));
    }
}
