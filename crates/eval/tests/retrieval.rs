//! Retrieval against small cases and an oracle that sorts all candidates.

use burn::tensor::{Device, Tensor, TensorData};
use proptest::prelude::*;
use sail_eval::{BlockSize, EvalError, Retrieval, RetrievalScores, TIE_TOLERANCE, retrieval};

type Rows = Vec<Vec<f32>>;

fn tensor(rows: &Rows) -> Tensor<2> {
    let data = TensorData::new(rows.concat(), [rows.len(), rows[0].len()]);
    Tensor::from_data(data, &Device::flex())
}

fn run(
    images: &Rows,
    texts: &Rows,
    text_to_image: &[usize],
    block: BlockSize,
) -> Result<Retrieval, EvalError> {
    retrieval(tensor(images), tensor(texts), text_to_image, &block)
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| -> f64 { x.iter().zip(y).map(|(&x, &y)| x as f64 * y as f64).sum() };
    dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt())
}

/// Ranks by sorting all candidates of a query, ties before the correct answer. `None` if a score is so close to the
/// tolerance that it depends on the rounding of the unit rows.
fn oracle_ranks(
    queries: usize,
    candidates: usize,
    own: impl Fn(usize, usize) -> bool,
    score: impl Fn(usize, usize) -> f64,
) -> Option<Vec<usize>> {
    let mut ranks = Vec::new();
    for q in 0..queries {
        let best = (0..candidates).filter(|&c| own(q, c)).map(|c| score(q, c)).fold(f64::MIN, f64::max);
        let mut sorted: Vec<(f64, bool)> = Vec::new();
        for c in 0..candidates {
            let own = own(q, c);
            let key = score(q, c) + if own { 0.0 } else { TIE_TOLERANCE };
            if !own && (key - best).abs() < 3e-7 {
                return None;
            }
            sorted.push((key, own));
        }
        sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
        ranks.push(1 + sorted.iter().take_while(|(_, own)| !own).count());
    }
    Some(ranks)
}

fn oracle(images: &Rows, texts: &Rows, text_to_image: &[usize]) -> Option<Retrieval> {
    let scores = |ranks: Vec<usize>| {
        let n = ranks.len() as f64;
        let recall = |k| 100.0 * ranks.iter().filter(|&&rank| rank <= k).count() as f64 / n;
        let mut sorted = ranks.clone();
        sorted.sort();
        let half = sorted.len() / 2;
        RetrievalScores {
            r1: recall(1),
            r5: recall(5),
            r10: recall(10),
            mean_rank: ranks.iter().sum::<usize>() as f64 / n,
            median_rank: if sorted.len() % 2 == 1 {
                sorted[half] as f64
            } else {
                (sorted[half - 1] + sorted[half]) as f64 / 2.0
            },
        }
    };
    let (i, t) = (images.len(), texts.len());
    Some(Retrieval {
        i2t: scores(oracle_ranks(i, t, |q, c| text_to_image[c] == q, |q, c| cosine(&images[q], &texts[c]))?),
        t2i: scores(oracle_ranks(t, i, |q, c| text_to_image[q] == c, |q, c| cosine(&images[c], &texts[q]))?),
        n_images: i,
        n_texts: t,
    })
}

fn assert_same(found: &Retrieval, expected: &Retrieval) {
    let numbers = |r: &Retrieval| [r.i2t, r.t2i].map(|s| [s.r1, s.r5, s.r10, s.mean_rank, s.median_rank]);
    for (found, expected) in numbers(found).concat().iter().zip(numbers(expected).concat()) {
        assert!((found - expected).abs() < 1e-9, "{found}, expected {expected}");
    }
    assert_eq!((found.n_images, found.n_texts), (expected.n_images, expected.n_texts));
}

/// A case with one or more captions per image, in any order. Small integers tie often, and their cosines are either equal
/// or differ by more than the tolerance.
fn case() -> impl Strategy<Value = (Rows, Rows, Vec<usize>, BlockSize)> {
    let integers = (-2i8..=2).prop_map(f32::from).boxed();
    let reals = (-1f32..1.0).boxed();
    (1usize..9, 0usize..16, 1usize..5, prop_oneof![Just(integers), Just(reals)]).prop_flat_map(
        |(n_images, extra, dim, value)| {
            let row = prop::collection::vec(value, dim).prop_map(|mut row| {
                if row.iter().all(|&x| x == 0.0) {
                    row[0] = 1.0;
                }
                row
            });
            let captions = prop::collection::vec(0..n_images, extra)
                .prop_map(move |extra| (0..n_images).chain(extra).collect::<Vec<_>>())
                .prop_shuffle();
            (
                prop::collection::vec(row.clone(), n_images),
                prop::collection::vec(row, n_images + extra),
                captions,
                (1usize..6, 1usize..9).prop_map(|(rows, columns)| BlockSize { rows, columns }),
            )
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn agrees_with_sorting_everything((images, texts, text_to_image, block) in case()) {
        let expected = oracle(&images, &texts, &text_to_image);
        prop_assume!(expected.is_some());
        assert_same(&run(&images, &texts, &text_to_image, block).unwrap(), &expected.unwrap());
    }
}

/// Pseudo-random values in -1 to 1.
fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

#[test]
fn agrees_with_sorting_everything_for_many_texts() {
    // More texts than one task counts, block sizes that do not divide them, and rows of very different norms.
    let mut noise = noise(7);
    let (n_images, dim) = (130, 48);
    let text_to_image: Vec<usize> = (0..n_images).flat_map(|i| vec![i; 1 + i % 11]).collect();
    let images: Rows =
        (0..n_images).map(|i| (0..dim).map(|_| noise() * 10f32.powi(i as i32 % 40 - 20)).collect()).collect();
    let texts: Rows = text_to_image
        .iter()
        .map(|&i| {
            let unit: f32 = images[i].iter().map(|x| x.abs()).fold(0.0, f32::max);
            images[i].iter().map(|x| x / unit + 2.5 * noise()).collect()
        })
        .collect();
    assert!(texts.len() > 600);
    let expected = oracle(&images, &texts, &text_to_image).unwrap();
    assert!(expected.t2i.r1 > 5.0 && expected.t2i.r1 < 95.0 && expected.i2t.r1 < 99.0, "{expected:?}");
    for block in
        [BlockSize::default(), BlockSize { rows: 47, columns: 601 }, BlockSize { rows: 999, columns: 100 }]
    {
        assert_same(&run(&images, &texts, &text_to_image, block).unwrap(), &expected);
    }
}

#[test]
fn any_text_of_the_image_in_the_first_k_is_a_hit() {
    // Image 0 scores 0.8 and 0.0 with its texts, 0.6 with the other: rank 1. Image 1 scores 0.8 with its text, but 0.6 and
    // 1.0 with the others: rank 2.
    let images = vec![vec![1.0, 0.0], vec![0.0, 1.0]];
    let texts = vec![vec![0.8, 0.6], vec![0.0, 1.0], vec![0.6, 0.8]];
    let found = run(&images, &texts, &[0, 0, 1], BlockSize::default()).unwrap();
    assert_eq!((found.i2t.r1, found.i2t.mean_rank, found.i2t.r5), (50.0, 1.5, 100.0));
    // Text 1 scores higher with image 1.
    assert!((found.t2i.r1 - 200.0 / 3.0).abs() < 1e-9);
    assert_eq!((found.n_images, found.n_texts), (2, 3));
}

#[test]
fn a_collapsed_head_scores_zero() {
    // Sums of equal terms have the largest f32 error, 6e-6 for 2,000 dimensions.
    let blocks = [BlockSize::default(), BlockSize { rows: 7, columns: 13 }];
    let collapsed = [(1, 1.0), (3, 0.1), (1000, 0.7), (2000, 1.3), (4096, -0.3)];
    for ((dim, value), block) in collapsed.into_iter().flat_map(|c| blocks.map(|block| (c, block))) {
        let images = vec![vec![value; dim]; 20];
        let texts = vec![vec![value * 3.0; dim]; 41];
        let text_to_image: Vec<usize> = (0..41).map(|text| text % 20).collect();
        let found = run(&images, &texts, &text_to_image, block).unwrap();
        for scores in [found.i2t, found.t2i] {
            assert_eq!((scores.r1, scores.r5, scores.r10), (0.0, 0.0, 0.0), "dim {dim}");
        }
        assert_eq!((found.t2i.mean_rank, found.t2i.median_rank), (20.0, 20.0));
        // One image has three of the texts, the others two.
        assert!((found.i2t.mean_rank - (39.0 + 19.0 * 40.0) / 20.0).abs() < 1e-9);
    }
}

#[test]
fn duplicates_are_tied() {
    // Images 0 and 1 are equal, and so are texts 0 and 1.
    let images = vec![vec![1.0, 2.0, 0.0], vec![2.0, 4.0, 0.0], vec![0.0, 0.0, 1.0]];
    let texts = vec![vec![1.0, 1.0, 0.0], vec![3.0, 3.0, 0.0], vec![0.0, 0.1, 1.0]];
    let found = run(&images, &texts, &[0, 1, 2], BlockSize::default()).unwrap();
    for scores in [found.i2t, found.t2i] {
        assert!((scores.r1 - 100.0 / 3.0).abs() < 1e-9);
        assert_eq!((scores.r5, scores.median_rank), (100.0, 2.0));
    }
}

#[test]
fn a_single_image_scores_100() {
    let found = run(&vec![vec![1.0]], &vec![vec![-1.0], vec![2.0]], &[0, 0], BlockSize::default()).unwrap();
    assert_eq!((found.i2t.r1, found.t2i.r1), (100.0, 100.0));
}

#[test]
fn norms_near_the_limits_of_f32_are_valid() {
    let images = vec![vec![3e38, 0.0], vec![0.0, 1e-44]];
    let texts = vec![vec![1e-40, 0.0], vec![1e38, 3e38]];
    let found = run(&images, &texts, &[0, 1], BlockSize::default()).unwrap();
    assert_eq!((found.i2t.r1, found.t2i.r1), (100.0, 100.0));
}

#[test]
fn errors_name_the_invalid_row() {
    let message = |images: &Rows, texts: &Rows, map: &[usize]| {
        run(images, texts, map, BlockSize { rows: 1, columns: 1 }).unwrap_err().to_string()
    };
    let good = vec![vec![1.0, 0.0], vec![0.0, 1.0]];
    assert_eq!(
        message(&vec![vec![1.0], vec![2.0]], &good, &[0, 1]),
        "images have 1 dimensions and texts 2: project both with the same head"
    );
    assert_eq!(message(&good, &good, &[0]), "found 1 image indices, expected 2: one for each text");
    assert_eq!(message(&good, &good, &[0, 2]), "text 1 has image index 2, expected less than 2");
    assert_eq!(message(&good, &good, &[0, 0]), "image 1 has no text: leave it out");
    let zero = vec![vec![1.0, 0.0], vec![0.0, -0.0]];
    assert!(message(&good, &zero, &[0, 1]).starts_with("text 1 is all zeros"));
    assert!(message(&zero, &good, &[0, 1]).starts_with("image 1 is all zeros"));
    let nan = vec![vec![1.0, 0.0], vec![0.0, f32::NAN]];
    assert!(message(&good, &nan, &[0, 1]).starts_with("text 1 has the value NaN in column 1"));
    let infinite = vec![vec![f32::NEG_INFINITY, 0.0], vec![0.0, 1.0]];
    assert!(message(&infinite, &good, &[1, 0]).starts_with("image 0 has the value -inf in column 0"));

    let empty = Tensor::<2>::zeros([0, 2], &Device::flex());
    let error = retrieval(empty.clone(), tensor(&good), &[0, 0], &BlockSize::default()).unwrap_err();
    assert!(matches!(error, EvalError::Empty { what: "image" }));
    let error = retrieval(tensor(&good), empty, &[], &BlockSize::default()).unwrap_err();
    assert!(matches!(error, EvalError::Empty { what: "text" }));
    let error = run(&good, &good, &[0, 1], BlockSize { rows: 0, columns: 1 }).unwrap_err();
    assert!(matches!(error, EvalError::Config(error) if error.field == "rows"));
}

#[test]
fn serializes_with_the_documented_names() {
    let image = vec![vec![1.0]];
    let found = run(&image, &image, &[0], BlockSize::default()).unwrap();
    let direction = r#"{"r@1":100.0,"r@5":100.0,"r@10":100.0,"mean_rank":1.0,"median_rank":1.0}"#;
    let json = serde_json::to_string(&found).unwrap();
    assert_eq!(json, format!(r#"{{"i2t":{direction},"t2i":{direction},"n_images":1,"n_texts":1}}"#));
    assert_eq!(serde_json::from_str::<Retrieval>(&json).unwrap(), found);
}
