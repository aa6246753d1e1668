//! Batches of texts of similar length.

/// Groups texts of similar length into batches with little padding and returns the indices of each batch, the longest
/// texts first.
///
/// A batch has at most `max_rows` texts and, padded to its longest text, at most `max_tokens` tokens, but never less
/// than one text. Every index occurs once; texts of equal length keep their order.
///
/// # Examples
/// ```
/// let lengths = [3, 9, 3, 8, 2];
/// assert_eq!(sail_support::length_batches(&lengths, 3, 18), [vec![1, 3], vec![0, 2, 4]]);
/// ```
pub fn length_batches(lengths: &[usize], max_rows: usize, max_tokens: usize) -> Vec<Vec<usize>> {
    let mut indices: Vec<usize> = (0..lengths.len()).collect();
    indices.sort_by_key(|&index| std::cmp::Reverse(lengths.get(index)));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut longest = 0;
    for index in indices {
        let length = lengths.get(index).copied().unwrap_or(0);
        match batches.last_mut() {
            Some(batch)
                if batch.len() < max_rows && (batch.len() + 1).saturating_mul(longest) <= max_tokens =>
            {
                batch.push(index);
            }
            _ => {
                longest = length;
                batches.push(vec![index]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_cover_every_text_once_within_the_limits() {
        let lengths: Vec<usize> = (0..500_usize).map(|i| (i * i * 7919) % 97).collect();
        let batches = length_batches(&lengths, 16, 400);
        let mut indices = batches.concat();
        indices.sort_unstable();
        assert_eq!(indices, (0..500).collect::<Vec<_>>());
        for batch in &batches {
            let longest = batch.iter().map(|&index| lengths[index]).max().unwrap();
            assert!(batch.len() <= 16 && batch.len() * longest <= 400, "{batch:?}");
        }
        let order: Vec<usize> = batches.concat().iter().map(|&index| lengths[index]).collect();
        assert!(order.is_sorted_by(|a, b| a >= b));
    }

    #[test]
    fn texts_above_the_limits_get_their_own_batches() {
        assert_eq!(length_batches(&[5, 6], 0, 0), [vec![1], vec![0]]);
        assert!(length_batches(&[], 4, 4).is_empty());
    }
}
