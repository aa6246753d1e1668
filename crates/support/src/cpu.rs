//! Several forward passes at a time, where that is faster than all cores on one pass.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::Device;

/// How many passes a device should compute at a time: one, save on burn's CPU backend.
///
/// There only the matrix products use all cores; what lies between them runs on one. Passes side by side, each
/// on its own core, leave none idle. As many as the current rayon pool has threads, so that the caller decides.
pub fn lanes(device: &Device) -> usize {
    if *device == Device::flex() { rayon::current_num_threads() } else { 1 }
}

/// Applies `work` to every item, up to `lanes` of them at a time, and gives the results in the order of the
/// items. The results do not depend on the number of lanes.
///
/// # Errors
/// The error of the first item, in order, whose work failed.
pub fn in_lanes<T, R, E, F>(items: &[T], lanes: usize, work: F) -> Result<Vec<R>, E>
where
    T: Sync,
    R: Send,
    E: Send,
    F: Fn(&T) -> Result<R, E> + Sync,
{
    let lanes = lanes.min(items.len());
    // A pool of one thread for each lane: whatever the work would spread over the cores stays on its lane.
    let pool = || rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let pools = match (1..=lanes).map(|_| pool()).collect::<Result<Vec<_>, _>>() {
        Ok(pools) if lanes > 1 => pools,
        _ => return items.iter().map(work).collect(),
    };
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(items.len()));
    let lane = || {
        while let Some((place, item)) = {
            let place = next.fetch_add(1, Ordering::Relaxed);
            items.get(place).map(|item| (place, item))
        } {
            let result = work(item);
            if result.is_err() {
                next.store(items.len(), Ordering::Relaxed);
            }
            results.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((place, result));
        }
    };
    std::thread::scope(|scope| {
        for pool in &pools {
            scope.spawn(|| pool.install(lane));
        }
    });
    let mut results = results.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    results.sort_unstable_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_the_items() {
        let items: Vec<usize> = (0..100).collect();
        for count in [0, 1, 2, 7, 200] {
            let doubled = in_lanes(&items, count, |item| Ok::<_, ()>(2 * item)).unwrap();
            assert_eq!(doubled, items.iter().map(|item| 2 * item).collect::<Vec<_>>());
        }
        assert_eq!(in_lanes(&[0_u8; 0], 4, |_| Ok::<u8, ()>(1)), Ok(vec![]));
    }

    #[test]
    fn lanes_work_side_by_side_and_each_on_one_thread() {
        let both = std::sync::Barrier::new(2);
        let threads = in_lanes(&[(), ()], 2, |()| {
            both.wait();
            Ok::<_, ()>(rayon::current_num_threads())
        });
        assert_eq!(threads, Ok(vec![1, 1]));
    }

    #[test]
    fn the_first_error_counts() {
        let items: Vec<usize> = (0..50).collect();
        for count in [1, 4] {
            let fail = |item: &usize| if *item >= 20 { Err(*item) } else { Ok(()) };
            assert_eq!(in_lanes(&items, count, fail), Err(20));
        }
    }

    #[test]
    fn the_processor_has_a_lane_for_each_thread_of_the_pool() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        assert_eq!(pool.install(|| lanes(&Device::flex())), 3);
    }
}
