//! `sail eval segment` on a tiny random backbone. `examples/segmentation.py` runs it on real models.

use std::fs::{self, File};

use png::{BitDepth, ColorType, Encoder};
use serde_json::Value;

use crate::benchmark::lab;
use crate::lab::{Lab, matrix};

const COMMAND: &str = "eval segment --data scenes --head head.safetensors --vision vision --text text";

#[test]
fn rejects_unknown_layouts_and_missing_data() {
    let lab = Lab::empty();
    let with = |options: &str| format!("{COMMAND} {options}");
    lab.refuses(&with("--layout folder"), 1, &["`scenes`", "neither a folder nor an id"]);
    std::fs::create_dir(lab.path("scenes")).unwrap();
    lab.refuses(&with("--layout pascal"), 2, &["--layout", "'pascal'", "voc21"]);
    lab.refuses(&with("--layout folder --limit 0"), 2, &["limit", "at least 1"]);
    lab.refuses(&with("--layout ade20k"), 1, &["scenes", "images/validation"]);
    for folder in ["scenes/images", "scenes/masks"] {
        std::fs::create_dir_all(lab.path(folder)).unwrap();
    }
    lab.refuses(&with("--layout folder"), 1, &["classes.txt"]);
}

fn write_png(path: &std::path::Path, colour: ColorType, bytes: &[u8]) {
    let mut encoder = Encoder::new(File::create(path).unwrap(), 24, 20);
    encoder.set_color(colour);
    encoder.set_depth(BitDepth::Eight);
    encoder.write_header().unwrap().write_image_data(bytes).unwrap();
}

/// The left of every scene is class 0, the right class 1, and the middle is ignored.
#[test]
fn report_shows_the_scores_of_the_json() {
    let lab = lab();
    for folder in ["scenes/images", "scenes/masks"] {
        fs::create_dir_all(lab.path(folder)).unwrap();
    }
    fs::write(lab.path("scenes/classes.txt"), "sky\ngrass, meadow\nnever\n").unwrap();
    let class = |pixel: usize| match pixel % 24 {
        0..10 => 0u8,
        10..14 => 255,
        _ => 1,
    };
    for scene in 0..4usize {
        let image: Vec<u8> = (0..24 * 20)
            .flat_map(|pixel| [pixel * 7 % 200, 80 * usize::from(class(pixel)) % 256, 60 * scene])
            .map(|value| value as u8)
            .collect();
        let mask: Vec<u8> = (0..24 * 20).map(class).collect();
        write_png(&lab.path(&format!("scenes/images/{scene}.png")), ColorType::Rgb, &image);
        write_png(&lab.path(&format!("scenes/masks/{scene}.png")), ColorType::Grayscale, &mask);
    }
    let command = format!("{COMMAND} --layout folder --short-side 20 --window 20 --stride 10 --json");
    let plain = lab.run(&command).json();
    let mut found = lab.run(&format!("{command} --report out.html --overlays 3")).json();
    let html = String::from_utf8(lab.read("out.html")).unwrap();
    assert_eq!((&plain["n_images"], &plain["n_pixels"]), (&4.into(), &(4 * 20 * 20).into()));

    // The features of the windows are kept for the next head.
    let cached = format!("{command} --cache windows");
    assert_eq!(lab.run(&cached).json(), plain);
    let kept = lab.files("windows");
    assert_eq!(kept.len(), 8, "two windows a scene: {kept:?}");
    assert_eq!(lab.run(&cached).json(), plain);
    assert_eq!(lab.files("windows"), kept);
    fs::write(lab.path("windows").join(&kept[0]), "damaged").unwrap();
    lab.run(&cached).failed(1, &["cached patch features", &kept[0], "remove it to encode them again"]);

    let images = found.as_object_mut().unwrap().remove("images").unwrap();
    let confusion = found.as_object_mut().unwrap().remove("confusion").unwrap();
    let pixels = found.as_object_mut().unwrap().remove("confusion_pixels").unwrap();
    assert_eq!(found, plain, "the same scores");
    let images = images.as_array().unwrap();
    assert_eq!(images.len(), 3);
    for image in images {
        assert!(html.contains(&format!("mIoU {:.1}: ", image["miou"].as_f64().unwrap())), "{image}");
        for (class, iou) in image["iou"].as_object().unwrap() {
            assert!(html.contains(&format!("{class} {:.0}", iou.as_f64().unwrap())), "{image}");
        }
    }
    // Half of the pixels belong to each class; the diagonal has the accuracies.
    let row = |matrix: &Value, class: usize| -> Vec<f64> {
        matrix[class].as_array().unwrap().iter().map(|cell| cell.as_f64().unwrap()).collect()
    };
    for class in [0, 1] {
        let (shares, pixels) = (row(&confusion, class), row(&pixels, class));
        assert_eq!(pixels.iter().sum::<f64>(), 800.0);
        assert!(shares.iter().zip(&pixels).all(|(share, pixels)| (share - pixels / 8.0).abs() < 1e-9));
        assert!((shares[class] - plain["per_class_accuracy"][class].as_f64().unwrap()).abs() < 1e-9);
    }
    assert_eq!((&confusion[2], row(&pixels, 2)), (&Value::Null, vec![0.0; 3]));

    assert!(html.contains("in percent of the true class"), "the matrix");
    let occurs = |class: &usize| *class < 2 || row(&pixels, 0)[2] + row(&pixels, 1)[2] > 0.0;
    let classes: Vec<usize> = (0..3).filter(occurs).collect();
    let (columns, rows) = matrix(&html);
    assert_eq!(columns, ["sky", "grass", "never"][..classes.len()]);
    for (&truth, (_, cells)) in classes.iter().zip(rows) {
        for (&class, cell) in classes.iter().zip(cells) {
            match confusion[truth][class].as_f64() {
                Some(share) => {
                    assert!((cell - share).abs() < 0.051, "{truth} as {class}: {cell} for {share}")
                }
                None => assert!(cell.is_nan(), "no pixel is of class {truth}"),
            }
        }
    }
}
