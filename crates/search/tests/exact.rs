//! The exact tier against brute force in f64.
#![allow(clippy::unwrap_used)]

mod common;

use std::borrow::Cow;
use std::sync::Arc;

use common::{Gap, Random, gap, matrix, oracle};
use rayon::ThreadPoolBuilder;
use sail_core::{FeatureError, FeatureSource, Named, Provenance};
use sail_search::{CodeKind, Codes, ExactSearch, FullSearch, Hit, RowSet, SearchError, VectorSearch, centre};

/// A search in parts of a collection, the first with its own centre and the others with that of the first.
fn exact(dim: usize, rows: &[f32], kind: CodeKind, parts: &[usize]) -> ExactSearch {
    let mut start = 0;
    let mut first_centre = None;
    let codes = parts.iter().map(|part| {
        let part = matrix(dim, &rows[start * dim..][..part * dim]);
        start += part.rows();
        let centre = first_centre.get_or_insert_with(|| centre(part.as_ref(), |_| {}).unwrap()).clone();
        Arc::new(Codes::encode(part.as_ref(), kind, centre, |_| {}).unwrap())
    });
    ExactSearch::new(codes.collect(), matrix(dim, rows)).unwrap()
}

fn assert_same(found: &[Hit], expected: &[(usize, f64)]) {
    assert_eq!(found.len(), expected.len());
    for (hit, (row, score)) in found.iter().zip(expected) {
        assert_eq!(hit.row, *row);
        assert!((f64::from(hit.score) - score).abs() < 1e-6, "{hit:?} {score}");
    }
}

#[test]
fn all_searches_agree_with_brute_force_at_every_dimension() {
    for dim in [1, 2, 63, 64, 65, 100, 192] {
        let mut random = Random(dim as u64);
        let rows: Vec<f32> = random.vector(700 * dim).into_iter().map(|value| value as f32).collect();
        let queries: Vec<f32> = random.vector(3 * dim).into_iter().map(|value| value as f32).collect();
        let mut searches: Vec<Box<dyn VectorSearch>> = vec![Box::new(FullSearch::new(matrix(dim, &rows)))];
        for &kind in CodeKind::ALL {
            searches.push(Box::new(exact(dim, &rows, kind, &[700]).with_candidates(0)));
            searches.push(Box::new(exact(dim, &rows, kind, &[13, 600, 87]).with_candidates(699)));
        }
        for search in &searches {
            assert_eq!((search.rows(), search.dim()), (700, dim));
            // Of as many rows as there are, all are candidates.
            for k in [0, 700, 900] {
                let found = search.search(&queries, k, None).unwrap();
                assert_eq!(found.len(), 3);
                for (found, query) in found.iter().zip(queries.chunks(dim)) {
                    assert_same(found, &oracle(&rows, query, k, |_| true));
                }
            }
            // The scores of fewer are exact as well, whichever rows these are.
            for (hits, query) in search.search(&queries, 5, None).unwrap().iter().zip(queries.chunks(dim)) {
                assert_eq!(hits.len(), 5);
                for hit in hits {
                    assert_same(&[*hit], &oracle(&rows, query, 1, |row| row == hit.row));
                }
            }
        }
        let found = searches[0].search(&queries, 20, None).unwrap();
        // All rows but one are candidates.
        for search in [&searches[2], &searches[4]] {
            assert_eq!(search.search(&queries, 20, None).unwrap(), found);
        }
    }
}

#[test]
fn recall_of_text_and_of_image_queries() {
    let dim = 256;
    let Gap { images, texts, similar } = gap(20_000, 50, dim);
    let full = FullSearch::new(matrix(dim, &images));
    for (kind, candidates, least) in [(CodeKind::Bit, 200, 0.99), (CodeKind::Int8, 20, 0.99)] {
        let search = exact(dim, &images, kind, &[5_000, 15_000]).with_candidates(candidates);
        for queries in [&texts, &similar] {
            let [found, expected] =
                [&search as &dyn VectorSearch, &full].map(|search| search.search(queries, 10, None).unwrap());
            let pairs = found.iter().zip(&expected);
            let common =
                pairs.flat_map(|(found, expected)| expected.iter().filter(|hit| found.contains(hit)));
            let recall = common.count() as f64 / (10 * expected.len()) as f64;
            assert!(recall >= least, "{kind}: {recall}");
        }
    }
}

#[test]
fn sets_restrict_the_search() {
    let dim = 96;
    let Gap { images, texts, .. } = gap(3_000, 4, dim);
    // None, few, fewer and more than the candidates, in few blocks and in all, and all.
    let sets = [
        RowSet::empty(3_000),
        RowSet::from_fn(3_000, |row| row == 2_999),
        RowSet::from_fn(3_000, |row| row % 100 == 3),
        RowSet::from_fn(3_000, |row| (1_000..1_700).contains(&row)),
        RowSet::from_fn(3_000, |row| row % 3 != 0),
        RowSet::from_fn(3_000, |_| true),
    ];
    for &kind in CodeKind::ALL {
        let search = exact(dim, &images, kind, &[2_000, 1_000]).with_candidates(600);
        let full = FullSearch::new(matrix(dim, &images));
        for set in &sets {
            let found = search.search(&texts, 10, Some(set)).unwrap();
            assert_eq!(full.search(&texts, 10, Some(set)).unwrap(), found);
            for (found, query) in found.iter().zip(texts.chunks(dim)) {
                assert_same(found, &oracle(&images, query, 10, |row| set.contains(row)));
            }
        }
    }
}

#[test]
fn ties_are_in_the_order_of_the_rows() {
    // Three different rows, repeated; the scores of each are equal.
    let rows: Vec<f32> = (0..3_000).flat_map(|row| [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]][row % 3]).collect();
    for &kind in CodeKind::ALL {
        let search = exact(2, &rows, kind, &[1_500, 1_500]).with_candidates(50);
        let found = search.search(&[0.6, 0.8], 40, None).unwrap();
        let expected: Vec<usize> = (0..40).map(|index| 3 * index + 1).collect();
        assert_eq!(found[0].iter().map(|hit| hit.row).collect::<Vec<_>>(), expected, "{kind}");
    }
}

#[test]
fn results_depend_on_neither_threads_nor_other_queries() {
    let dim = 64;
    let Gap { images, texts, .. } = gap(9_000, 40, dim);
    let search = |threads: usize| {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let search = exact(dim, &images, CodeKind::Bit, &[9_000]).with_candidates(30);
            search.search(&texts, 10, None).unwrap()
        })
    };
    let found = search(1);
    assert_eq!(found, search(5));
    let alone = exact(dim, &images, CodeKind::Bit, &[9_000]).with_candidates(30);
    for (query, found) in texts.chunks(dim).zip(&found) {
        assert_eq!(&alone.search(query, 10, None).unwrap()[0], found);
    }
}

#[test]
fn empty_collections_have_no_hits() {
    struct Nothing;
    impl FeatureSource for Nothing {
        fn rows(&self) -> usize {
            0
        }
        fn dim(&self) -> usize {
            3
        }
        fn key(&self, _: usize) -> Cow<'_, str> {
            "".into()
        }
        fn provenance(&self) -> Option<&Provenance> {
            None
        }
        fn gather(&self, _: &[usize], _: &mut [f32]) -> Result<(), FeatureError> {
            Ok(())
        }
    }
    let none = || Arc::new(Nothing);
    assert!(centre(none().as_ref(), |_| {}).unwrap().iter().all(|&value| value == 0.0));
    for &kind in CodeKind::ALL {
        let codes = Codes::encode(none().as_ref(), kind, vec![0.0; 3], |_| {}).unwrap();
        let folder = tempfile::tempdir().unwrap();
        codes.save(folder.path().join("codes")).unwrap();
        let codes = Codes::load(folder.path().join("codes")).unwrap();
        let search = ExactSearch::new(vec![Arc::new(codes)], none()).unwrap();
        assert_eq!(search.search(&[1.0, 0.0, 0.0], 5, None).unwrap(), [vec![]]);
    }
    let search = ExactSearch::new(vec![], none()).unwrap();
    assert_eq!(search.search(&[1.0, 0.0, 0.0], 5, Some(&RowSet::empty(0))).unwrap(), [vec![]]);
    assert_eq!(FullSearch::new(none()).search(&[], 5, None).unwrap(), Vec::<Vec<Hit>>::new());
}

#[test]
fn unusable_input_is_refused() {
    let rows = [1.0, 0.0, 0.6, 0.8];
    let search = exact(2, &rows, CodeKind::Bit, &[2]);
    let message = |result: Result<_, SearchError>| result.map(|_: Vec<Vec<Hit>>| ()).unwrap_err().to_string();
    assert_eq!(
        message(search.search(&[1.0; 3], 1, None)),
        "the queries have 3 values, expected a multiple of the dimension 2"
    );
    for (values, norm) in [([0.0, 0.0], "0"), ([f32::NAN, 0.0], "NaN"), ([f32::INFINITY, 0.0], "inf")] {
        let expected = format!("query 1 has the norm {norm}, expected a vector with a direction");
        assert_eq!(message(search.search(&[&[1.0, 0.0], values.as_slice()].concat(), 1, None)), expected);
    }
    let other = RowSet::empty(3);
    assert_eq!(
        message(search.search(&[1.0; 2], 1, Some(&other))),
        "the set is of 3 rows and the collection has 2"
    );
    let codes = Codes::encode(matrix(2, &rows).as_ref(), CodeKind::Bit, vec![0.0; 2], |_| {}).unwrap();
    let of_others = ExactSearch::new(vec![Arc::new(codes)], matrix(2, &[1.0; 6])).map(|_| ());
    assert_eq!(
        of_others.unwrap_err().to_string(),
        "the codes have 2 rows and the collection has 3: encode them again"
    );
    for centre in [vec![0.0; 3], vec![f32::NAN, 0.0], vec![1.0, 1.0]] {
        assert!(Codes::encode(matrix(2, &rows).as_ref(), CodeKind::Bit, centre, |_| {}).is_err());
    }
    let zeros = Codes::encode(matrix(2, &[1.0, 0.0, 0.0, 0.0]).as_ref(), CodeKind::Bit, vec![0.0; 2], |_| {});
    assert!(zeros.unwrap_err().to_string().contains("all zeros"));
}
