//! Segmentation sets in the published layouts.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;

use sail_data::source::SourceOptions;
use sail_eval::{IGNORED, LabelMap, SegmentationError};
use sail_tasks::{MaskPixels, SegmentationLayout, SegmentationSet, SegmentationSetError, overlay, read_mask};
use tempfile::TempDir;

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Encodes raw samples as a PNG. The colours of a palette are arbitrary.
fn png(size: [u32; 2], colour: png::ColorType, depth: png::BitDepth, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, size[1], size[0]);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    if colour == png::ColorType::Indexed {
        encoder.set_palette([7, 7, 7].repeat(256 >> (8 - depth as usize)));
    }
    encoder.write_header().unwrap().write_image_data(data).unwrap();
    bytes
}

fn image(path: &Path) {
    write(path, &png([2, 3], png::ColorType::Rgb, png::BitDepth::Eight, &[90; 18]));
}

fn mask(path: &Path, colour: png::ColorType, labels: [u8; 6]) {
    write(path, &png([2, 3], colour, png::BitDepth::Eight, &labels));
}

fn truth(root: &Path, layout: SegmentationLayout) -> Vec<u16> {
    SegmentationSet::open(root, layout, &SourceOptions::default())
        .unwrap()
        .load(0)
        .unwrap()
        .truth
        .labels()
        .to_vec()
}

/// A set in the layout `folder` with one image and this mask.
fn folder(labels: [u8; 6]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    image(&root.path().join("images/a.png"));
    mask(&root.path().join("masks/a.png"), png::ColorType::Grayscale, labels);
    write(&root.path().join("classes.txt"), b"sky, heaven\nsea\n");
    root
}

#[test]
fn reads_published_layouts() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let stored = [0, 1, 2, 20, 255, 3];

    let ade = root.join("ADEChallengeData2016");
    image(&ade.join("images/validation/ADE_val_00000001.jpg"));
    mask(&ade.join("annotations/validation/ADE_val_00000001.png"), png::ColorType::Grayscale, stored);
    assert_eq!(truth(&ade, SegmentationLayout::Ade20k), [IGNORED, 0, 1, 19, IGNORED, 2]);
    let set = SegmentationSet::open(&ade, SegmentationLayout::Ade20k, &SourceOptions::default()).unwrap();
    assert_eq!(
        (set.classes().len(), set.classes()[1].as_slice()),
        (150, &["building", "edifice"].map(String::from)[..])
    );

    let coco = root.join("coco");
    image(&coco.join("images/val2017/000000000139.jpg"));
    mask(&coco.join("annotations/val2017/000000000139_labelTrainIds.png"), png::ColorType::Grayscale, stored);
    // The unconverted masks are in the same folder.
    mask(&coco.join("annotations/val2017/000000000139.png"), png::ColorType::Grayscale, [9; 6]);
    let labels = [0, 1, 2, 20, IGNORED, 3];
    assert_eq!(truth(&coco, SegmentationLayout::CocoStuff), labels);

    let voc = root.join("VOCdevkit/VOC2012");
    for name in ["2007_000033", "2007_000042", "2007_000061"] {
        image(&voc.join(format!("JPEGImages/{name}.jpg")));
    }
    for name in ["2007_000033", "2007_000042"] {
        mask(&voc.join(format!("SegmentationClass/{name}.png")), png::ColorType::Indexed, stored);
    }
    write(&voc.join("ImageSets/Segmentation/val.txt"), b"2007_000033\n2007_000061\n");
    for place in [root, &voc] {
        assert_eq!(truth(place, SegmentationLayout::Voc21), labels);
        assert_eq!(truth(place, SegmentationLayout::Voc20), [IGNORED, 0, 1, 19, IGNORED, 2]);
    }
    let set = SegmentationSet::open(root, SegmentationLayout::Voc21, &SourceOptions::default()).unwrap();
    assert_eq!((set.len(), set.classes()[0][0].as_str()), (1, "background"));
    assert_eq!(set.unused()[0].name, "2007_000061");
    assert_eq!(set.unused()[0].reason, "the mask of this name is missing");
}

#[test]
fn reads_masks_of_all_bit_depths() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("mask.png");
    for colour in [png::ColorType::Indexed, png::ColorType::Grayscale] {
        for (depth, data, expected) in [
            (png::BitDepth::One, vec![0b1010_0000, 0b0110_0000], [1, 0, 1, 0, 1, 1]),
            (png::BitDepth::Two, vec![0b0010_1100, 0b1100_0100], [0, 2, 3, 3, 0, 1]),
            (png::BitDepth::Four, vec![0x0f, 0x30, 0x12, 0x30], [0, 15, 3, 1, 2, 3]),
            (png::BitDepth::Eight, vec![0, 15, 3, 1, 2, 255], [0, 15, 3, 1, 2, IGNORED]),
        ] {
            fs::write(&path, png([2, 3], colour, depth, &data)).unwrap();
            assert_eq!(read_mask(&path).unwrap().labels(), expected, "{colour:?} {depth:?}");
        }
    }
}

#[test]
fn masks_of_16_bits_have_labels_above_255() {
    let root = folder([0; 6]);
    let labels: [u16; 6] = [0, 255, 256, 846, 2, u16::MAX];
    let samples: Vec<u8> = labels.iter().flat_map(|label| label.to_be_bytes()).collect();
    let bytes = png([2, 3], png::ColorType::Grayscale, png::BitDepth::Sixteen, &samples);
    fs::write(root.path().join("masks/a.png"), bytes).unwrap();
    let names: String = (0..847).map(|class| format!("class {class}\n")).collect();
    write(&root.path().join("classes.txt"), names.as_bytes());
    assert_eq!(truth(root.path(), SegmentationLayout::Folder), [0, 255, 256, 846, 2, IGNORED]);
}

#[test]
fn rejects_masks_without_labels() {
    let root = folder([0; 6]);
    let path = root.path().join("masks/a.png");
    let whole = fs::read(&path).unwrap();
    for (bytes, word) in [
        (
            png(
                [2, 3],
                png::ColorType::Rgb,
                png::BitDepth::Eight,
                &std::array::from_fn::<u8, 18, _>(|i| i as u8),
            ),
            "colours",
        ),
        (whole[..whole.len() / 2].to_vec(), ""),
        (b"GIF89a".to_vec(), ""),
        (b"<!doctype html><title>404</title>".to_vec(), "an HTML page"),
    ] {
        fs::write(&path, bytes).unwrap();
        let error = SegmentationSet::open(root.path(), SegmentationLayout::Folder, &SourceOptions::default())
            .unwrap()
            .load(0)
            .unwrap_err();
        let SegmentationSetError::Mask { reason, .. } = error else { panic!("{error}") };
        assert!(reason.contains(word), "{reason}");
    }
}

#[test]
fn rejects_masks_of_other_sizes_and_classes() {
    let refused = |root: &TempDir| match SegmentationSet::open(
        root.path(),
        SegmentationLayout::Folder,
        &SourceOptions::default(),
    )
    .unwrap()
    .load(0)
    .unwrap_err()
    {
        SegmentationSetError::Fit { source, .. } => source,
        other => panic!("{other}"),
    };
    let root = folder([0, 1, 255, 0, 2, 0]);
    let label = SegmentationError::Label { what: "mask", label: 2, row: 1, column: 1, classes: 2 };
    assert_eq!(refused(&root), label);
    let turned = png([3, 2], png::ColorType::Grayscale, png::BitDepth::Eight, &[0; 6]);
    fs::write(root.path().join("masks/a.png"), turned).unwrap();
    assert_eq!(refused(&root), SegmentationError::Size { found: [3, 2], expected: [2, 3] });
}

#[test]
fn skips_images_and_masks_without_counterpart() {
    let root = folder([0, 1, 0, 1, 0, 255]);
    image(&root.path().join("images/b.png"));
    mask(&root.path().join("masks/c.png"), png::ColorType::Grayscale, [0; 6]);
    let set =
        SegmentationSet::open(root.path(), SegmentationLayout::Folder, &SourceOptions::default()).unwrap();
    assert_eq!((set.len(), set.classes()[0].len()), (1, 2));
    let unused: Vec<_> =
        set.unused().iter().map(|unused| (unused.name.as_str(), unused.reason.as_str())).collect();
    assert_eq!(
        unused,
        [("b", "the mask of this name is missing"), ("c", "the image of this name is missing")]
    );
    assert!(matches!(set.load(1), Err(SegmentationSetError::Io { .. })));
    fs::remove_file(root.path().join("images/a.png")).unwrap();
    let error = SegmentationSet::open(root.path(), SegmentationLayout::Folder, &SourceOptions::default())
        .unwrap_err();
    assert!(matches!(error, SegmentationSetError::Empty { unused: 3, .. }), "{error}");
}

#[test]
fn rejects_missing_layouts() {
    let open = |root: &TempDir, layout| {
        SegmentationSet::open(root.path(), layout, &SourceOptions::default()).unwrap_err()
    };
    let root = folder([0; 6]);
    for (layout, wanted) in [
        (SegmentationLayout::Ade20k, "images/validation"),
        (SegmentationLayout::CocoStuff, "images/val2017"),
        (SegmentationLayout::Voc21, "JPEGImages"),
    ] {
        let error = open(&root, layout);
        assert!(
            matches!(error, SegmentationSetError::Missing { wanted: found, .. } if found == wanted),
            "{error}"
        );
    }
    write(&root.path().join("classes.txt"), b"sky\n\nsea\n");
    let error = open(&root, SegmentationLayout::Folder);
    assert!(matches!(error, SegmentationSetError::ClassName { line: 2, .. }), "{error}");
    write(&root.path().join("classes.txt"), "a\n".repeat(65_536).as_bytes());
    let error = open(&root, SegmentationLayout::Folder);
    assert!(matches!(error, SegmentationSetError::Classes { found: 65_536, .. }), "{error}");
    fs::remove_file(root.path().join("classes.txt")).unwrap();
    let error = open(&root, SegmentationLayout::Folder);
    assert!(matches!(error, SegmentationSetError::Missing { wanted: "classes.txt", .. }), "{error}");
    write(&root.path().join("classes.txt"), b"sky\n");
    let error = open(&root, SegmentationLayout::Folder);
    assert!(matches!(error, SegmentationSetError::Classes { found: 1, .. }), "{error}");
    write(&root.path().join("classes.txt"), b"sky\nsea\n");
    image(&root.path().join("images/a.jpg"));
    let error = open(&root, SegmentationLayout::Folder);
    assert!(matches!(error, SegmentationSetError::Twice { .. }), "{error}");
    assert!("voc".parse::<SegmentationLayout>().unwrap_err().to_string().contains("voc20"));
}

#[test]
fn rejects_paths_in_lists() {
    let root = tempfile::tempdir().unwrap();
    image(&root.path().join("JPEGImages/a.png"));
    mask(&root.path().join("SegmentationClass/a.png"), png::ColorType::Indexed, [0; 6]);
    for name in ["../a", "/a", "sub/a", ".."] {
        write(&root.path().join("ImageSets/Segmentation/val.txt"), format!("a\n{name}\n").as_bytes());
        let error = SegmentationSet::open(root.path(), SegmentationLayout::Voc21, &SourceOptions::default())
            .unwrap_err();
        assert!(matches!(error, SegmentationSetError::Name { line: 2, .. }), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn skips_links_to_files_outside() {
    let (root, other) = (folder([0; 6]), folder([0; 6]));
    std::os::unix::fs::symlink(other.path().join("masks/a.png"), root.path().join("masks/b.png")).unwrap();
    image(&root.path().join("images/b.png"));
    let set =
        SegmentationSet::open(root.path(), SegmentationLayout::Folder, &SourceOptions::default()).unwrap();
    assert_eq!(set.len(), 1);
    assert!(set.unused()[0].reason.contains("outside the folder"), "{}", set.unused()[0].reason);
}

/// Encodes RGB pixels as a PNG with an EXIF orientation.
fn oriented(size: [u32; 2], orientation: u8, pixels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, size[1], size[0]);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().unwrap();
    // A directory of one entry: the tag of the orientation, the type of 16 bits, one value.
    let exif = [&b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"[..], &[orientation, 0, 0, 0, 0, 0, 0, 0]];
    writer.write_chunk(png::chunk::eXIf, &exif.concat()).unwrap();
    writer.write_image_data(pixels).unwrap();
    drop(writer);
    bytes
}

#[test]
fn masks_lie_on_the_stored_pixels_if_their_size_fits() {
    let root = folder([0; 6]);
    let labels = [0, 1, 0, 1, 1, 255];
    let mask = |size: [u32; 2]| png(size, png::ColorType::Grayscale, png::BitDepth::Eight, &labels);
    let pixels: Vec<u8> = (0..18).map(|value| 14 * value).collect();
    for orientation in 1..=8 {
        let image = oriented([2, 3], orientation, &pixels);
        fs::write(root.path().join("images/a.png"), &image).unwrap();
        let load = || {
            let set =
                SegmentationSet::open(root.path(), SegmentationLayout::Folder, &SourceOptions::default())
                    .unwrap();
            set.load(0)
        };
        fs::write(root.path().join("masks/a.png"), mask([2, 3])).unwrap();
        let sample = load().unwrap();
        assert_eq!(sample.image.as_raw(), &pixels, "orientation {orientation}");
        assert_eq!(sample.truth.labels(), [0, 1, 0, 1, 1, IGNORED]);
        assert_eq!(sample.exif, (orientation > 1).then_some(MaskPixels::Stored));

        // A mask that was drawn on the upright image.
        fs::write(root.path().join("masks/a.png"), mask([3, 2])).unwrap();
        if orientation < 5 {
            let error = load().unwrap_err();
            assert!(matches!(error, SegmentationSetError::Fit { .. }), "orientation {orientation}: {error}");
            continue;
        }
        let sample = load().unwrap();
        let upright = sail_data::decode_image(&image, &sail_data::DecodeLimits::default()).unwrap();
        assert!(sample.image == upright && upright.dimensions() == (2, 3), "orientation {orientation}");
        assert_eq!(sample.exif, Some(MaskPixels::Oriented));
    }
    // Both sizes are that of a square.
    fs::write(root.path().join("images/a.png"), oriented([2, 2], 6, &pixels[..12])).unwrap();
    fs::write(
        root.path().join("masks/a.png"),
        png([2, 2], png::ColorType::Grayscale, png::BitDepth::Eight, &labels[..4]),
    )
    .unwrap();
    let set =
        SegmentationSet::open(root.path(), SegmentationLayout::Folder, &SourceOptions::default()).unwrap();
    let sample = set.load(0).unwrap();
    assert_eq!((sample.image.as_raw().as_slice(), sample.exif), (&pixels[..12], Some(MaskPixels::Stored)));
}

/// The masks are those that Pillow writes, in `fixtures/generate_masks.py`.
#[test]
fn masks_of_pillow_have_its_labels() {
    let masks = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/masks");
    let expected: serde_json::Value =
        serde_json::from_slice(&fs::read(masks.join("expected.json")).unwrap()).unwrap();
    for (name, expected) in expected.as_object().unwrap() {
        match (read_mask(&masks.join(name)), expected) {
            (Ok(found), serde_json::Value::Array(_)) => {
                let expected: Vec<u16> = serde_json::from_value(expected.clone()).unwrap();
                assert_eq!((found.size(), found.labels()), ([2, 3], &expected[..]), "{name}");
            }
            (Err(SegmentationSetError::Mask { reason, .. }), serde_json::Value::String(word)) => {
                assert!(reason.contains(word), "{name}: {reason}");
            }
            (found, _) => panic!("{name}: {found:?}, expected {expected}"),
        }
    }
}

#[test]
fn colours_are_labels_in_pascal_voc_alone() {
    let masks = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/masks");
    let root = tempfile::tempdir().unwrap();
    image(&root.path().join("JPEGImages/a.png"));
    write(&root.path().join("SegmentationClass/a.png"), &fs::read(masks.join("voc.png")).unwrap());
    write(&root.path().join("ImageSets/Segmentation/val.txt"), "\u{feff}a\n".as_bytes());
    assert_eq!(truth(root.path(), SegmentationLayout::Voc21), [0, 1, 2, 20, IGNORED, 3]);
    // Channels of one value are labels too, unless it is a colour of the map.
    write(
        &root.path().join("SegmentationClass/a.png"),
        &fs::read(masks.join("rgb-of-one-value.png")).unwrap(),
    );
    assert_eq!(truth(root.path(), SegmentationLayout::Voc21), [0, 1, 2, 20, IGNORED, 3]);
}

#[test]
fn masks_of_0_and_255_are_binary_if_all_are_and_there_are_two_classes() {
    let open = |root: &TempDir| {
        SegmentationSet::open(root.path(), SegmentationLayout::Folder, &SourceOptions::default())
    };
    let root = folder([0, 0, 255, 0, 255, 0]);
    let set = open(&root).unwrap();
    assert_eq!(set.load(0).unwrap().truth.labels(), [0, 0, 1, 0, 1, 0]);
    assert_eq!(set.notes(), ["the masks are binary: 255 is `sea` and not ignored"]);

    // The mask of another image has class 1, so 255 is ignored in both.
    image(&root.path().join("images/b.png"));
    mask(&root.path().join("masks/b.png"), png::ColorType::Grayscale, [0, 0, 0, 0, 0, 1]);
    let set = open(&root).unwrap();
    assert_eq!(set.load(0).unwrap().truth.labels(), [0, 0, IGNORED, 0, IGNORED, 0]);
    assert!(set.notes().is_empty(), "{:?}", set.notes());

    fs::remove_file(root.path().join("masks/b.png")).unwrap();
    write(&root.path().join("classes.txt"), b"sky\nsea\nland\n");
    let error = open(&root).unwrap_err();
    assert!(matches!(error, SegmentationSetError::Binary { .. }), "{error}");
    // Nothing but 255, or nothing but 0, is not binary.
    mask(&root.path().join("masks/a.png"), png::ColorType::Grayscale, [255; 6]);
    let error = open(&root).unwrap().load(0).unwrap_err();
    assert!(matches!(error, SegmentationSetError::NoLabel { .. }), "{error}");
    mask(&root.path().join("masks/a.png"), png::ColorType::Grayscale, [0; 6]);
    assert_eq!(open(&root).unwrap().load(0).unwrap().truth.labels(), [0; 6]);
}

#[test]
fn classes_of_one_name_are_one_class() {
    let root = folder([0, 1, 2, 2, 1, 255]);
    write(&root.path().join("classes.txt"), "\u{feff}sky, heaven\nsea\nSky, heaven\n".as_bytes());
    let set =
        SegmentationSet::open(root.path(), SegmentationLayout::Folder, &SourceOptions::default()).unwrap();
    assert_eq!(set.classes(), [vec!["sky".to_owned(), "heaven".to_owned()], vec!["sea".to_owned()]]);
    assert_eq!(set.load(0).unwrap().truth.labels(), [0, 1, 0, 0, 1, IGNORED]);
    assert!(set.notes()[0].contains("Sky, heaven"), "{:?}", set.notes());
    mask(&root.path().join("masks/a.png"), png::ColorType::Grayscale, [0, 1, 2, 3, 1, 255]);
    let error = set.load(0).unwrap_err().to_string();
    assert!(error.contains("does not match"), "{error}");
}

#[test]
fn loads_ahead_in_order_whatever_fails() {
    let root = folder([0; 6]);
    fs::remove_file(root.path().join("images/a.png")).unwrap();
    fs::remove_file(root.path().join("masks/a.png")).unwrap();
    for index in 0..40 {
        image(&root.path().join(format!("images/{index:02}.png")));
        let mask_of = root.path().join(format!("masks/{index:02}.png"));
        match index % 4 {
            0 => write(&mask_of, b"not a mask"),
            1 => mask(&mask_of, png::ColorType::Grayscale, [7; 6]),
            _ => mask(&mask_of, png::ColorType::Grayscale, [0, 1, 0, 1, 0, 255]),
        }
    }
    // Hidden files are no images.
    write(&root.path().join("images/._00.png"), b"Mac OS");
    write(&root.path().join("images/.ipynb_checkpoints/00-checkpoint.png"), b"Jupyter");
    let set =
        SegmentationSet::open(root.path(), SegmentationLayout::Folder, &SourceOptions::default()).unwrap();
    assert_eq!((set.len(), set.unused().len()), (40, 0));
    for threads in [1, 3] {
        let found: Vec<(String, Option<&str>)> = set.load_ahead(38, threads, |samples| {
            samples.map(|(name, sample)| (name, sample.err().map(|error| error.kind()))).collect()
        });
        let expected: Vec<(String, Option<&str>)> = (0..38)
            .map(|index| {
                let kinds =
                    [Some("mask cannot be read"), Some("mask has a label that is no class"), None, None];
                (format!("{index:02}"), kinds[index % 4])
            })
            .collect();
        assert_eq!(found, expected);
        // The consumer may stop early.
        assert_eq!(set.load_ahead(40, threads, |samples| samples.next().unwrap().0), "00");
    }
}

#[test]
fn lists_of_other_encodings_are_named() {
    let root = folder([0; 6]);
    write(&root.path().join("classes.txt"), b"\xff\xfes\0k\0y\0\n\0");
    let error = SegmentationSet::open(root.path(), SegmentationLayout::Folder, &SourceOptions::default());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("classes.txt") && error.contains("UTF-16"), "{error}");
}

#[test]
fn overlay_blends_class_colours() {
    let image = sail_core::RgbImage::from_pixel(4, 2, image::Rgb([100, 100, 100]));
    let labels = LabelMap::new([1, 2], vec![1, IGNORED]).unwrap();
    let found = overlay(&image, &labels, 2);
    assert_eq!(found.dimensions(), (2, 1));
    assert_eq!(found.into_raw(), [116, 40, 40, 193, 193, 193]);
}
