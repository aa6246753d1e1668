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

pub(crate) fn write_png(path: &std::path::Path, colour: ColorType, bytes: &[u8]) {
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

/// Writes the scenes of a number of images with an EXIF orientation, 24 pixels wide and 20 high.
fn scenes(lab: &Lab, folder: &str, orientation: u8, image: &[u8], mask: &[u8]) {
    for sub in ["images", "masks"] {
        fs::create_dir_all(lab.path(folder).join(sub)).unwrap();
    }
    fs::write(lab.path(folder).join("classes.txt"), "sky\ngrass, meadow\n").unwrap();
    write_oriented(&lab.path(folder).join("images/a.png"), [24, 20], orientation, image);
    write_png(&lab.path(folder).join("masks/a.png"), ColorType::Grayscale, mask);
}

fn write_oriented(path: &std::path::Path, size: [u32; 2], orientation: u8, image: &[u8]) {
    let mut encoder = Encoder::new(File::create(path).unwrap(), size[0], size[1]);
    encoder.set_color(ColorType::Rgb);
    let mut writer = encoder.write_header().unwrap();
    // A directory of one entry: the tag of the orientation, the type of 16 bits, one value.
    let exif = [&b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"[..], &[orientation, 0, 0, 0, 0, 0, 0, 0]];
    writer.write_chunk(png::chunk::eXIf, &exif.concat()).unwrap();
    writer.write_image_data(image).unwrap();
}

/// Pixels without symmetry, and a mask of them.
fn scene() -> (Vec<u8>, Vec<u8>) {
    let image = (0..24 * 20 * 3).map(|value| (value * value / 7 % 251) as u8).collect();
    let mask = (0..24 * 20).map(|pixel| u8::from(pixel % 24 < 3 + pixel / 24)).collect();
    (image, mask)
}

const SMALL: &str = "--layout folder --short-side 20 --window 20 --stride 10 --json";

fn segment(lab: &Lab, data: &str) -> Value {
    lab.run(&format!("{COMMAND} {SMALL}").replace("--data scenes", &format!("--data {data}"))).json()
}

#[test]
fn exif_orientations_do_not_move_the_pixels_of_masks() {
    let lab = lab();
    let (image, mask) = scene();
    let scores = |found: &Value| {
        let names = ["miou", "per_class_iou", "per_class_accuracy", "pixel_accuracy", "n_pixels"];
        names.map(|name| found[name].clone())
    };
    scenes(&lab, "plain", 1, &image, &mask);
    let plain = segment(&lab, "plain");
    assert_eq!((&plain["exif"]["stored"], &plain["exif"]["oriented"]), (&0.into(), &0.into()));
    let miou = plain["miou"].as_f64().unwrap();
    assert!(miou > 0.0 && miou < 100.0, "the score depends on the pixels: {plain}");
    for orientation in 2..=8 {
        scenes(&lab, &format!("o{orientation}"), orientation, &image, &mask);
        let found = segment(&lab, &format!("o{orientation}"));
        assert_eq!(scores(&found), scores(&plain), "orientation {orientation}");
        assert_eq!(found["exif"]["stored"], 1, "orientation {orientation}");
    }
    // The same image stored on its side, by the definition of orientations 5 to 8, and the mask of the upright one.
    let upright = |row: usize, column: usize| 3 * (24 * row + column);
    type Place = fn(usize, usize) -> [usize; 2];
    let places: [Place; 4] = [|r, c| [c, r], |r, c| [c, 23 - r], |r, c| [19 - c, 23 - r], |r, c| [19 - c, r]];
    for (orientation, place) in (5..=8).zip(places) {
        let stored: Vec<u8> = (0..24)
            .flat_map(|row| (0..20).map(move |column| place(row, column)))
            .flat_map(|[row, column]| image[upright(row, column)..][..3].to_vec())
            .collect();
        let folder = format!("upright{orientation}");
        scenes(&lab, &folder, 1, &image, &mask);
        write_oriented(&lab.path(&folder).join("images/a.png"), [20, 24], orientation, &stored);
        let found = segment(&lab, &folder);
        assert_eq!(scores(&found), scores(&plain), "orientation {orientation}");
        assert_eq!(found["exif"]["oriented"], 1, "orientation {orientation}");
    }
}

#[test]
fn unusable_images_and_masks_are_counted_by_reason() {
    let lab = lab();
    let (image, mask) = scene();
    scenes(&lab, "clean", 1, &image, &mask);
    let clean = segment(&lab, "clean");
    scenes(&lab, "mixed", 1, &image, &mask);
    let file = |name: &str| lab.path("mixed").join(name);
    for name in ["b", "c", "d", "e", "f", "g"] {
        fs::copy(file("images/a.png"), file(&format!("images/{name}.png"))).unwrap();
        fs::copy(file("masks/a.png"), file(&format!("masks/{name}.png"))).unwrap();
    }
    let whole = lab.read("mixed/images/a.png");
    fs::write(file("images/b.png"), &whole[..whole.len() / 2]).unwrap();
    fs::write(file("images/c.png"), "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n").unwrap();
    fs::write(file("masks/d.png"), [0xff, 0xd8, 0xff, 0xe0, 0, 16]).unwrap();
    write_png(&file("masks/e.png"), ColorType::Grayscale, &[255; 24 * 20]);
    write_png(&file("masks/f.png"), ColorType::Grayscale, &[9; 24 * 20]);
    write_oriented(&file("images/g.png"), [20, 24], 1, &image);
    fs::copy(file("images/a.png"), file("images/alone.png")).unwrap();
    let found = segment(&lab, "mixed");
    for name in ["miou", "per_class_iou", "per_class_accuracy", "pixel_accuracy", "n_pixels", "n_images"] {
        assert_eq!(found[name], clean[name], "{name}");
    }
    // One scored, six skipped, one without a mask.
    assert_eq!(
        (&found["n_images"], &found["skipped"]["count"], &found["unused"]),
        (&1.into(), &6.into(), &1.into())
    );
    let reasons = serde_json::json!({
        "image cannot be decoded": 2,
        "mask cannot be read": 1,
        "every pixel of the mask is ignored": 1,
        "mask has a label that is no class": 1,
        "mask has another size than its image": 1,
    });
    assert_eq!(found["skipped_by_reason"], reasons);
    let command =
        format!("{COMMAND} {SMALL}").replace("--data scenes", "--data mixed").replace(" --json", "");
    let text = lab.run(&command).succeeded().out;
    for words in [
        "2 skipped: image cannot be decoded",
        "1 images without a mask",
        "6 skipped, including",
        "JPEG changes",
    ] {
        assert!(text.contains(words), "no {words:?} in:\n{text}");
    }
    for name in ["images/a.png", "masks/a.png"] {
        fs::remove_file(file(name)).unwrap();
    }
    lab.run(&command).failed(1, &["all 6 images are unusable", "first `b`", "truncated"]);
}

#[test]
fn binary_masks_are_said() {
    let lab = lab();
    let (image, mask) = scene();
    scenes(&lab, "index", 1, &image, &mask);
    scenes(&lab, "binary", 1, &image, &mask.iter().map(|&label| 255 * label).collect::<Vec<_>>());
    let (index, mut binary) = (segment(&lab, "index"), segment(&lab, "binary"));
    assert_eq!(binary["notes"], serde_json::json!(["the masks are binary: 255 is `grass` and not ignored"]));
    binary["notes"] = index["notes"].clone();
    assert_eq!(binary, index);
}

#[cfg(unix)]
#[test]
fn linked_masks_are_followed_unless_refused() {
    let lab = lab();
    let (image, mask) = scene();
    scenes(&lab, "plain", 1, &image, &mask);
    scenes(&lab, "links", 1, &image, &mask);
    for name in ["images/a.png", "masks/a.png"] {
        fs::remove_file(lab.path("links").join(name)).unwrap();
        std::os::unix::fs::symlink(lab.path("plain").join(name), lab.path("links").join(name)).unwrap();
    }
    assert_eq!(segment(&lab, "links"), segment(&lab, "plain"));
    let refused = format!("{COMMAND} {SMALL} --no-follow-links").replace("--data scenes", "--data links");
    lab.run(&refused).failed(1, &["no image with a mask"]);
}
