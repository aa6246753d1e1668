//! The approximate tier against brute force in f64.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use common::{Gap, gap, matrix, oracle};
use rayon::ThreadPoolBuilder;
use sail_core::FeatureSource;
use sail_search::{
    ApproximateSearch, CodeKind, Codes, GraphConfig, GraphError, RowSet, SearchError, VectorSearch, centre,
};

const DIM: usize = 64;
const SMALL: GraphConfig = GraphConfig { degree: 24, build_beam: 48, search_beam: 48 };

/// Codes of parts of rows, with the centre of the first.
fn codes(dim: usize, rows: &[f32], parts: &[usize]) -> Vec<Arc<Codes>> {
    let mut start = 0;
    let mut first = None;
    let encode = |&count: &usize| {
        let part = matrix(dim, &rows[start * dim..][..count * dim]);
        start += count;
        let centre = first.get_or_insert_with(|| centre(part.as_ref(), |_| {}).unwrap()).clone();
        Arc::new(Codes::encode(part.as_ref(), CodeKind::Int8, centre, |_| {}).unwrap())
    };
    parts.iter().map(encode).collect()
}

fn build(dim: usize, rows: &[f32], config: GraphConfig) -> ApproximateSearch {
    let codes = codes(dim, rows, &[rows.len() / dim]);
    ApproximateSearch::build(codes, matrix(dim, rows), config, &AtomicBool::new(false), |_| {}).unwrap()
}

/// The share of the nearest rows that a search finds, with the true scores and in the true order.
fn recall(
    search: &ApproximateSearch,
    rows: &[f32],
    queries: &[f32],
    k: usize,
    among: Option<&RowSet>,
    keep: impl Fn(usize) -> bool,
) -> f64 {
    let found = search.search(queries, k, among).unwrap();
    let (mut hits, mut all) = (0, 0);
    for (query, found) in queries.chunks_exact(search.dim()).zip(found) {
        let truth = oracle(rows, query, k, &keep);
        let scores = oracle(rows, query, rows.len(), &keep);
        assert_eq!(found.len(), truth.len());
        assert!(found.is_sorted_by(|a, b| a.rank(b).is_lt()));
        for hit in found {
            let score = scores.iter().find(|(row, _)| *row == hit.row).expect("a row that may be found").1;
            assert!((f64::from(hit.score) - score).abs() < 1e-6, "{hit:?} {score}");
            hits += usize::from(truth.iter().any(|(row, _)| *row == hit.row));
        }
        all += truth.len();
    }
    hits as f64 / all as f64
}

#[test]
fn texts_and_images_find_the_nearest_rows() {
    let Gap { images, texts, similar } = gap(6000, 60, DIM);
    let search = build(DIM, &images, SMALL);
    for (queries, k, least) in
        [(&texts, 10, 0.9), (&similar, 10, 0.97), (&texts, 30, 0.9), (&similar, 30, 0.95)]
    {
        let found = recall(&search, &images, queries, k, None, |_| true);
        assert!(found >= least, "recall@{k} {found}");
    }
    // A longer walk finds more, a very short one less.
    let beam = |beam| recall(&build(DIM, &images, SMALL).with_beam(beam), &images, &texts, 5, None, |_| true);
    assert!(beam(10) < beam(120));
}

#[test]
fn the_same_graph_with_any_number_of_threads() {
    let rows = gap(1500, 1, 20).images;
    let folder = tempfile::tempdir().unwrap();
    let bytes = [1, 3].map(|threads| {
        let path = folder.path().join("graph.safetensors");
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| build(20, &rows, SMALL).save(&path)).unwrap();
        fs::read(path).unwrap()
    });
    assert!(bytes[0] == bytes[1]);
}

#[test]
fn rows_are_added_and_removed() {
    let Gap { images, texts, .. } = gap(6000, 40, DIM);
    let (old, parts) = (&images[..4000 * DIM], [4000, 2000]);
    let stop = AtomicBool::new(false);
    let search = build(DIM, old, SMALL);
    let all: Arc<dyn FeatureSource> = matrix(DIM, &images);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("graph.safetensors");
    search.save(&path).unwrap();
    // Rows behind those of the graph are scanned.
    let opened = ApproximateSearch::open(&path, codes(DIM, &images, &parts), all.clone()).unwrap();
    assert_eq!((opened.linked(), opened.rows()), (4000, 6000));
    let found = recall(&opened, &images, &texts, 10, None, |_| true);
    assert!(found >= 0.88, "recall {found}");
    let behind = RowSet::from_fn(6000, |row| row >= 4000);
    assert_eq!(recall(&opened, &images, &texts, 10, Some(&behind), |row| row >= 4000), 1.0);
    let mut search = search.extend(codes(DIM, &images, &parts), all.clone(), &stop, |_| {}).unwrap();
    assert_eq!((search.linked(), search.rows()), (6000, 6000));
    let found = recall(&search, &images, &texts, 10, None, |_| true);
    assert!(found >= 0.85, "recall {found}");

    let gone = RowSet::from_fn(6000, |row| row.is_multiple_of(3));
    search.remove(&gone).unwrap();
    let keep = |row: usize| !row.is_multiple_of(3);
    let found = recall(&search, &images, &texts, 10, None, keep);
    assert!(found >= 0.85, "recall {found}");
    // Rows that were removed are not found among others either, also not by a scan.
    let some = RowSet::from_fn(6000, |row| row < 100);
    let found = recall(&search, &images, &texts, 50, Some(&some), |row| row < 100 && keep(row));
    assert_eq!(found, 1.0);

    search.save(&path).unwrap();
    let opened = ApproximateSearch::open(&path, codes(DIM, &images, &parts), all.clone()).unwrap();
    assert_eq!(opened.search(&texts, 10, None).unwrap(), search.search(&texts, 10, None).unwrap());
    // Codes of other parts are the same codes.
    let whole = {
        let centre = codes(DIM, &images, &parts)[0].centre().to_vec();
        Codes::encode(all.as_ref(), CodeKind::Int8, centre, |_| {}).unwrap()
    };
    let merged = ApproximateSearch::open(&path, vec![Arc::new(whole)], all.clone()).unwrap();
    assert_eq!(merged.search(&texts, 10, None).unwrap(), search.search(&texts, 10, None).unwrap());

    let everything = RowSet::from_fn(6000, |_| true);
    search.remove(&everything).unwrap();
    assert!(search.search(&texts, 10, None).unwrap().iter().all(Vec::is_empty));
}

#[test]
fn rows_are_added_at_the_end_only() {
    let rows = gap(300, 1, 20).images;
    let stop = AtomicBool::new(false);
    let extend = |codes: Vec<Arc<Codes>>, rows: &[f32]| {
        build(20, &gap(300, 1, 20).images, SMALL).extend(codes, matrix(20, rows), &stop, |_| {})
    };
    let fewer = &rows[..200 * 20];
    assert!(matches!(
        extend(codes(20, fewer, &[200]), fewer),
        Err(GraphError::Fewer { found: 200, expected: 300 })
    ));
    let mut others = rows.clone();
    others.rotate_left(20);
    assert!(matches!(extend(codes(20, &others, &[300]), &others), Err(GraphError::Changed { row: 0 })));
}

#[test]
fn sets_of_every_size() {
    let Gap { images, texts, .. } = gap(6000, 30, DIM);
    let search = build(DIM, &images, SMALL);
    for (divisor, least) in [(1, 0.87), (2, 0.87), (3, 0.99), (40, 0.999), (1000, 1.0), (6000, 1.0)] {
        let keep = |row: usize| row.is_multiple_of(divisor);
        let set = RowSet::from_fn(6000, keep);
        let found = recall(&search, &images, &texts, 10, Some(&set), keep);
        assert!(found >= least, "1 of {divisor}: recall {found}");
    }
    // Few of the nearest rows are in a set of the farthest ones.
    let far: Vec<usize> =
        oracle(&images, &texts[..DIM], 6000, |_| true)[3000..].iter().map(|(row, _)| *row).collect();
    let set = RowSet::from_fn(6000, |row| far.contains(&row));
    let found = recall(&search, &images, &texts[..DIM], 10, Some(&set), |row| far.contains(&row));
    assert!(found >= 0.9, "recall {found}");
    let empty = search.search(&texts, 10, Some(&RowSet::empty(6000))).unwrap();
    assert!(empty.iter().all(Vec::is_empty));
    let other = search.search(&texts, 10, Some(&RowSet::empty(6001)));
    assert!(matches!(other, Err(SearchError::Rows { found: 6001, expected: 6000 })));
    assert!(matches!(search.search(&[1.0; 65], 1, None), Err(SearchError::Dimension { .. })));
    assert!(matches!(search.search(&[0.0; DIM], 1, None), Err(SearchError::Query { .. })));
}

#[test]
fn small_collections_and_equal_rows() {
    for (dim, count) in [(1, 1), (3, 2), (1, 50), (65, 50)] {
        let rows = gap(count, 1, dim).images;
        let search = build(dim, &rows, SMALL);
        let query = vec![1.0; dim];
        assert_eq!(search.search(&query, 100, None).unwrap()[0].len(), count);
        assert!(search.search(&query, 0, None).unwrap()[0].is_empty());
        assert_eq!(recall(&search, &rows, &query, 100, None, |_| true), 1.0);
    }
    // A thousand copies of each of three rows.
    let three = gap(3, 1, DIM).images;
    let rows = three.repeat(1000);
    let search = build(DIM, &rows, SMALL);
    for query in three.chunks(DIM) {
        let hits = &search.search(query, 20, None).unwrap()[0];
        assert_eq!(hits.len(), 20);
        assert!(hits.iter().all(|hit| hit.score > 0.999_999), "{hits:?}");
    }
}

#[test]
fn damaged_files_are_refused() {
    let rows = gap(300, 1, 20).images;
    let source: Arc<dyn FeatureSource> = matrix(20, &rows);
    let codes = codes(20, &rows, &[300]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("graph.safetensors");
    build(20, &rows, SMALL).save(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(tensors.tensor("degrees").unwrap().shape(), [300, 2]);
    let open = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        ApproximateSearch::open(&path, codes.clone(), source.clone())
    };
    open(&bytes).unwrap();
    for length in (0..bytes.len()).step_by(97) {
        assert!(open(&bytes[..length]).is_err(), "{length} bytes");
    }
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    // The description has settings, of which what is left may be others, which are valid.
    let description = bytes.len() - tensors.tensor("description").unwrap().data().len();
    // Spaces end the header.
    let text = bytes[..header].iter().rposition(|&byte| byte != b' ').unwrap() + 1;
    for place in (0..text).chain((header..description).step_by(61)) {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x55;
        assert!(open(&damaged).is_err(), "byte {place}");
    }
    let mut long = bytes.clone();
    long.push(0);
    assert!(open(&long).is_err());
    // A graph of other rows.
    fs::write(&path, &bytes).unwrap();
    let mut others = rows.clone();
    others.rotate_left(20);
    let other = ApproximateSearch::open(&path, self::codes(20, &others, &[300]), matrix(20, &others));
    let message = other.err().unwrap().to_string();
    assert!(message.contains("SHA-256 of the codes"), "{message}");
}

#[test]
fn settings_codes_and_the_stop_flag() {
    let rows = gap(300, 1, 20).images;
    let source: Arc<dyn FeatureSource> = matrix(20, &rows);
    let build = |codes, config, stop: &AtomicBool| {
        ApproximateSearch::build(codes, source.clone(), config, stop, |_| {})
    };
    let go = AtomicBool::new(false);
    let wrong = GraphConfig { degree: 4, ..SMALL };
    assert!(matches!(build(codes(20, &rows, &[300]), wrong, &go), Err(GraphError::Config(_))));
    let bits = Codes::encode(source.as_ref(), CodeKind::Bit, vec![0.0; 20], |_| {}).unwrap();
    let error = build(vec![Arc::new(bits)], SMALL, &go).err().unwrap();
    assert!(error.to_string().contains("the kind of part 0 of the codes is bit, expected int8"), "{error}");
    let mut parts = codes(20, &rows, &[200, 100]);
    let last = matrix(20, &rows[200 * 20..]);
    parts[1] = Arc::new(Codes::encode(last.as_ref(), CodeKind::Int8, vec![0.0; 20], |_| {}).unwrap());
    assert!(matches!(build(parts, SMALL, &go), Err(GraphError::Codes { what: "the centre", part: 1, .. })));
    let short = codes(20, &rows, &[299]);
    assert!(matches!(build(short, SMALL, &go), Err(GraphError::Search(SearchError::Codes { .. }))));
    let stopped = build(codes(20, &rows, &[300]), SMALL, &AtomicBool::new(true));
    assert!(matches!(stopped, Err(GraphError::Stopped { done: 0, rows: 300 })));
    let mut reports = Vec::new();
    let counted = ApproximateSearch::build(codes(20, &rows, &[300]), source.clone(), SMALL, &go, |report| {
        reports.push((report.done, report.total));
    });
    assert_eq!(counted.unwrap().rows(), 300);
    assert_eq!(reports.last(), Some(&(300, 300)));
}
