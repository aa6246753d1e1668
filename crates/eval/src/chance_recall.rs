//! The recall of a random ranking.

/// Returns R@k in percent that retrieval has by chance, image to text and text to image, for the layout that
/// [`retrieval`](crate::retrieval) takes: for each text the index of its image, below `images`.
///
/// An image with `m` of `n` texts has one of them among `k` random ones with probability
/// `1 - C(n - m, k) / C(n, k)`; a text finds its image with probability `k / images`.
///
/// # Examples
/// ```
/// // Two images, of which the first has three of the four texts.
/// let [i2t, t2i] = sail_eval::chance_recall(&[0, 0, 0, 1], 2, 1);
/// assert_eq!((i2t, t2i), (50.0, 50.0));
/// ```
pub fn chance_recall(text_to_image: &[usize], images: usize, k: usize) -> [f64; 2] {
    let mut counts = vec![0usize; images];
    for &image in text_to_image {
        if let Some(count) = counts.get_mut(image) {
            *count += 1;
        }
    }
    let texts = text_to_image.len();
    let of_image = |&own: &usize| {
        // The probability that none of `k` different texts is an own one.
        let miss = |drawn: usize| (texts - own).saturating_sub(drawn) as f64 / (texts - drawn) as f64;
        1.0 - (0..k.min(texts)).map(miss).product::<f64>()
    };
    let image_to_text = counts.iter().map(of_image).sum::<f64>() / images.max(1) as f64;
    [100.0 * image_to_text, 100.0 * k.min(images) as f64 / images.max(1) as f64]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All orders of five texts and of three images are equally likely.
    #[test]
    fn is_the_mean_over_all_rankings() {
        fn orders(items: Vec<usize>) -> Vec<Vec<usize>> {
            if items.is_empty() {
                return vec![Vec::new()];
            }
            let first = |&first: &usize| {
                let rest = items.iter().copied().filter(|&item| item != first).collect();
                orders(rest).into_iter().map(move |rest| [vec![first], rest].concat())
            };
            items.iter().flat_map(first).collect()
        }
        let text_to_image = [2, 0, 0, 1, 0];
        for k in 1..=6 {
            let hits = |queries: usize, of: &dyn Fn(usize, usize) -> bool, candidates: usize| {
                let rankings = orders((0..candidates).collect());
                let hit = |query: usize| {
                    rankings.iter().filter(|order| order.iter().take(k).any(|&item| of(query, item))).count()
                };
                100.0 * (0..queries).map(hit).sum::<usize>() as f64 / (queries * rankings.len()) as f64
            };
            let expected = [
                hits(3, &|image, text| text_to_image[text] == image, 5),
                hits(5, &|text, image| text_to_image[text] == image, 3),
            ];
            let found = chance_recall(&text_to_image, 3, k);
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-9, "k {k}: {found}, expected {expected}");
            }
        }
    }
}
