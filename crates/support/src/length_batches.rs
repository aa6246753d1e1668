//! Batches of texts of like length.

/// Sorts texts by length into batches, so that little is padded: the places of the texts, longest first.
///
/// A batch holds at most `max_rows` texts, and at most `max_tokens` tokens when padded to its longest text, but
/// always one text at least. Every place occurs once; texts of equal length keep their order.
///
/// # Examples
/// ```
/// let lengths = [3, 9, 3, 8, 2];
/// assert_eq!(sail_support::length_batches(&lengths, 3, 18), [vec![1, 3], vec![0, 2, 4]]);
/// ```
pub fn length_batches(lengths: &[usize], max_rows: usize, max_tokens: usize) -> Vec<Vec<usize>> {
    let mut places: Vec<usize> = (0..lengths.len()).collect();
    places.sort_by_key(|&place| std::cmp::Reverse(lengths.get(place)));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut longest = 0;
    for place in places {
        let length = lengths.get(place).copied().unwrap_or(0);
        match batches.last_mut() {
            Some(batch)
                if batch.len() < max_rows && (batch.len() + 1).saturating_mul(longest) <= max_tokens =>
            {
                batch.push(place);
            }
            _ => {
                longest = length;
                batches.push(vec![place]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_occurs_once_and_no_batch_is_too_large() {
        let lengths: Vec<usize> = (0..500_usize).map(|i| (i * i * 7919) % 97).collect();
        let batches = length_batches(&lengths, 16, 400);
        let mut places = batches.concat();
        places.sort_unstable();
        assert_eq!(places, (0..500).collect::<Vec<_>>());
        for batch in &batches {
            let longest = batch.iter().map(|&place| lengths[place]).max().unwrap();
            assert!(batch.len() <= 16 && batch.len() * longest <= 400, "{batch:?}");
        }
        let order: Vec<usize> = batches.concat().iter().map(|&place| lengths[place]).collect();
        assert!(order.is_sorted_by(|a, b| a >= b));
    }

    #[test]
    fn limits_that_nothing_fits_leave_single_texts() {
        assert_eq!(length_batches(&[5, 6], 0, 0), [vec![1], vec![0]]);
        assert!(length_batches(&[], 4, 4).is_empty());
    }
}
