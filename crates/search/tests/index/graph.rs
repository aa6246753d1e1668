//! Graphs of indexes.

use std::fs;
use std::sync::atomic::AtomicBool;

use sail_search::{CodeKind, GraphConfig, GraphError, Index, IndexError};

use crate::support::Lab;

fn build(lab: &Lab) -> Result<(), IndexError> {
    let go = AtomicBool::new(false);
    Index::open(lab.index())?.build_graph(GraphConfig::default(), &go, |_| {})
}

/// Rows of the graph's file.
fn rows(lab: &Lab) -> usize {
    let path = Index::open(lab.index()).unwrap().graph_path().unwrap();
    let bytes = fs::read(path).unwrap();
    safetensors::SafeTensors::deserialize(&bytes).unwrap().tensor("degrees").unwrap().shape()[0]
}

fn nearest(lab: &Lab) -> Vec<String> {
    let index = Index::open(lab.index()).unwrap();
    let hits = index.searcher().unwrap().search(&[1.0, 0.0, 0.0, 0.0], 5, Some(index.live())).unwrap();
    hits[0].iter().map(|hit| index.key(hit.row).unwrap()).collect()
}

#[test]
fn a_graph_follows_its_index() {
    let mut lab = Lab::new();
    lab.options.codes = Some(Some(CodeKind::Int8));
    (0..40).for_each(|n| lab.image(&format!("{n:02}.png"), [250 - 5 * n, 10, 3 * n]));
    lab.update().unwrap();
    assert_eq!(Index::open(lab.index()).unwrap().graph_path(), None);
    let expected = nearest(&lab);
    build(&lab).unwrap();
    assert_eq!((rows(&lab), nearest(&lab)), (40, expected));

    // A row that the graph does not have yet is found, one that was removed is not.
    lab.image("new.png", [255, 0, 0]);
    fs::remove_file(lab.path("00.png")).unwrap();
    lab.update().unwrap();
    assert_eq!(rows(&lab), 40);
    let expected = nearest(&lab);
    assert_eq!((expected[0].as_str(), expected[1].as_str()), ("new.png", "01.png"));
    build(&lab).unwrap();
    assert_eq!((rows(&lab), nearest(&lab)), (41, expected.clone()));

    lab.options.compact = true;
    lab.update().unwrap();
    let index = Index::open(lab.index()).unwrap();
    assert!(matches!(index.searcher().err(), Some(IndexError::Graph(GraphError::Malformed { .. }))));
    build(&lab).unwrap();
    assert_eq!((rows(&lab), nearest(&lab)), (40, expected));
}

#[test]
fn a_graph_needs_int8_codes() {
    for codes in [None, Some(CodeKind::Bit)] {
        let mut lab = Lab::new();
        lab.options.codes = Some(codes);
        lab.image("red.png", [250, 2, 4]);
        lab.update().unwrap();
        let message = build(&lab).unwrap_err().to_string();
        assert!(message.contains("expected int8"), "{message}");
    }
}
