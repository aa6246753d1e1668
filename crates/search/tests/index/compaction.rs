//! Rewriting segments.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::Ordering;

use sail_search::Index;

use crate::support::{Lab, files};

type Rows = BTreeMap<String, (Vec<f32>, Option<Vec<u8>>, Vec<String>)>;

/// Everything about the images of an index, whatever their rows.
fn rows(lab: &Lab) -> Rows {
    let index = Index::open(lab.index()).unwrap();
    let row = |row| {
        let entry = index.entry(row).unwrap();
        assert_eq!(index.row_of(&entry.id), Some(row));
        (entry.key, (index.embedding(row).unwrap(), index.thumbnail(row).unwrap(), entry.captions))
    };
    index.live().iter().map(row).collect()
}

fn segments(lab: &Lab) -> Vec<usize> {
    Index::open(lab.index()).unwrap().manifest().segments.iter().map(|segment| segment.rows).collect()
}

#[test]
fn many_small_segments_become_few() {
    let lab = Lab::new();
    let table = lab.path_of("captions.csv");
    let mut text = "image,caption\n".to_owned();
    for n in 0..9u8 {
        lab.image(&format!("{n}a.png"), [n, 7, 9]);
        lab.image(&format!("{n}b.png"), [n, 70, 9]);
        text += &format!("{n}a.png,the image {n}\n");
        fs::write(&table, &text).unwrap();
        lab.update_with(&lab.index(), Some(&table), &[], &mut |_: sail_extract::Event<'_>| ()).unwrap();
        // Two rows each, until there are more than 8 small ones.
        let expected = if n < 8 { vec![2; n as usize + 1] } else { vec![18] };
        assert_eq!(segments(&lab), expected);
    }
    assert_eq!(lab.colours.embedded.load(Ordering::Relaxed), 18);
    let compacted = rows(&lab);
    assert_eq!(compacted.len(), 18);
    assert_eq!(compacted["8a.png"].2, ["the image 8"]);
    assert!(compacted["8b.png"].2.is_empty() && compacted["8b.png"].1.is_some());
    // The files of before stay for those who read them, until the next update begins.
    let folders = || fs::read_dir(lab.index().join("segments")).unwrap().count();
    assert_eq!(folders(), 10);
    lab.update().unwrap();
    assert_eq!((folders(), segments(&lab)), (1, vec![18]));
    assert!(rows(&lab) == compacted);
}

#[test]
fn removed_rows_are_dropped() {
    let mut lab = Lab::new();
    for n in 0..40u8 {
        lab.image(&format!("{n:02}.png"), [n, 7, 9]);
    }
    lab.update().unwrap();
    assert_eq!(segments(&lab), [18, 18, 4]);
    for n in 0..4 {
        fs::remove_file(lab.path(&format!("{n:02}.png"))).unwrap();
    }
    lab.update().unwrap();
    // Less than a quarter of the segment.
    assert_eq!(segments(&lab), [18, 18, 4]);
    fs::remove_file(lab.path("04.png")).unwrap();
    let before = rows(&lab);
    lab.update().unwrap();
    let index = Index::open(lab.index()).unwrap();
    assert_eq!((segments(&lab), index.rows(), index.live().len()), (vec![18, 4, 13], 35, 35));
    assert!(index.manifest().removed.is_none());
    let mut expected = before;
    expected.remove("04.png");
    assert!(rows(&lab) == expected);
    lab.options.compact = true;
    lab.update().unwrap();
    assert_eq!(segments(&lab), [18, 17]);
    assert!(rows(&lab) == expected);
    lab.update().unwrap();
    let before = files(&lab.index());
    lab.update().unwrap();
    assert!(files(&lab.index()) == before);
}
