//! Segmentation sets in the published layouts.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;

use sail_eval::{IGNORED, LabelMap, SegmentationError};
use sail_tasks::{SegmentationLayout, SegmentationSet, SegmentationSetError, overlay, read_mask};
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
    SegmentationSet::open(root, layout).unwrap().load(0).unwrap().truth.labels().to_vec()
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
    let set = SegmentationSet::open(&ade, SegmentationLayout::Ade20k).unwrap();
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
    let set = SegmentationSet::open(root, SegmentationLayout::Voc21).unwrap();
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
        (png([2, 3], png::ColorType::Rgb, png::BitDepth::Eight, &[0; 18]), "palette"),
        (whole[..whole.len() / 2].to_vec(), ""),
        (b"GIF89a".to_vec(), ""),
    ] {
        fs::write(&path, bytes).unwrap();
        let error =
            SegmentationSet::open(root.path(), SegmentationLayout::Folder).unwrap().load(0).unwrap_err();
        let SegmentationSetError::Mask { reason, .. } = error else { panic!("{error}") };
        assert!(reason.contains(word), "{reason}");
    }
}

#[test]
fn rejects_masks_of_other_sizes_and_classes() {
    let refused = |root: &TempDir| match SegmentationSet::open(root.path(), SegmentationLayout::Folder)
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
    let set = SegmentationSet::open(root.path(), SegmentationLayout::Folder).unwrap();
    assert_eq!((set.len(), set.classes()[0].len()), (1, 2));
    let unused: Vec<_> =
        set.unused().iter().map(|unused| (unused.name.as_str(), unused.reason.as_str())).collect();
    assert_eq!(
        unused,
        [("b", "the mask of this name is missing"), ("c", "the image of this name is missing")]
    );
    assert!(matches!(set.load(1), Err(SegmentationSetError::Io { .. })));
    fs::remove_file(root.path().join("images/a.png")).unwrap();
    let error = SegmentationSet::open(root.path(), SegmentationLayout::Folder).unwrap_err();
    assert!(matches!(error, SegmentationSetError::Empty { unused: 3, .. }), "{error}");
}

#[test]
fn rejects_missing_layouts() {
    let open = |root: &TempDir, layout| SegmentationSet::open(root.path(), layout).unwrap_err();
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
        let error = SegmentationSet::open(root.path(), SegmentationLayout::Voc21).unwrap_err();
        assert!(matches!(error, SegmentationSetError::Name { line: 2, .. }), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn skips_links_to_files_outside() {
    let (root, other) = (folder([0; 6]), folder([0; 6]));
    std::os::unix::fs::symlink(other.path().join("masks/a.png"), root.path().join("masks/b.png")).unwrap();
    image(&root.path().join("images/b.png"));
    let set = SegmentationSet::open(root.path(), SegmentationLayout::Folder).unwrap();
    assert_eq!(set.len(), 1);
    assert!(set.unused()[0].reason.contains("outside the folder"), "{}", set.unused()[0].reason);
}

#[test]
fn overlay_blends_class_colours() {
    let image = sail_core::RgbImage::from_pixel(4, 2, image::Rgb([100, 100, 100]));
    let labels = LabelMap::new([1, 2], vec![1, IGNORED]).unwrap();
    let found = overlay(&image, &labels, 2);
    assert_eq!(found.dimensions(), (2, 1));
    assert_eq!(found.into_raw(), [116, 40, 40, 193, 193, 193]);
}
