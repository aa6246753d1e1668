//! Placement on burn's CPU backend, and concurrent forward passes there.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::{DType, Device, Tensor};

/// Returns whether a device is burn's CPU backend, `flex`, with or without autodiff.
pub fn is_cpu(device: &Device) -> bool {
    *device == Device::flex()
}

/// Returns whether a tensor holds `f32` values in host memory and no autodiff graph, so that a loop over a slice can
/// replace tensor operations.
pub fn is_host_f32<const D: usize>(tensor: &Tensor<D>) -> bool {
    let device = tensor.device();
    is_cpu(&device) && !device.is_autodiff() && tensor.dtype() == DType::F32
}

/// Applies `f` to every item, to several at a time if `device` is the CPU, and returns the results in the order of the
/// items.
///
/// On the CPU backend, matrix products use all cores but most other operations use one. Forward passes over
/// micro-batches that run concurrently keep all cores busy. The threads of the current rayon pool are divided among the
/// passes. Results do not depend on their number as long as `f` depends on its item alone.
///
/// # Errors
/// Returns the error of the first item, in order, for which `f` failed.
pub fn concurrent_map<T, R, E, F>(device: &Device, items: &[T], f: F) -> Result<Vec<R>, E>
where
    T: Sync,
    R: Send,
    E: Send,
    F: Fn(&T) -> Result<R, E> + Sync,
{
    let threads = if is_cpu(device) { rayon::current_num_threads() } else { 1 };
    let workers = threads.min(items.len());
    if workers <= 1 {
        return items.iter().map(f).collect();
    }
    // A pool per worker: nested parallelism must not pick up another item while it waits.
    let pool = || rayon::ThreadPoolBuilder::new().num_threads(threads / workers).build();
    let pools = match (1..=workers).map(|_| pool()).collect::<Result<Vec<_>, _>>() {
        Ok(pools) => pools,
        Err(_) => return items.iter().map(f).collect(),
    };
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(items.len()));
    let work = || {
        while let Some((index, item)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            items.get(index).map(|item| (index, item))
        } {
            let result = f(item);
            if result.is_err() {
                next.store(items.len(), Ordering::Relaxed);
            }
            results.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((index, result));
        }
    };
    std::thread::scope(|scope| {
        for pool in &pools {
            scope.spawn(|| pool.install(work));
        }
    });
    let mut results = results.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    results.sort_unstable_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `concurrent_map` on the CPU in a pool with this number of threads.
    fn map<R: Send, E: Send>(
        threads: usize,
        items: &[usize],
        f: impl Fn(&usize) -> Result<R, E> + Sync + Send,
    ) -> Result<Vec<R>, E> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| concurrent_map(&Device::flex(), items, f))
    }

    #[test]
    fn results_keep_the_order_of_the_items() {
        let items: Vec<usize> = (0..100).collect();
        let expected: Vec<usize> = items.iter().map(|item| 2 * item).collect();
        for threads in [1, 2, 7, 200] {
            assert_eq!(map(threads, &items, |item| Ok::<_, ()>(2 * item)), Ok(expected.clone()));
        }
        assert_eq!(map(4, &[], |_| Ok::<u8, ()>(1)), Ok(vec![]));
    }

    #[test]
    fn workers_run_concurrently_and_divide_the_threads() {
        for (threads, each) in [(2, 1), (5, 2)] {
            let both = std::sync::Barrier::new(2);
            let found = map(threads, &[0, 1], |_| {
                both.wait();
                Ok::<_, ()>(rayon::current_num_threads())
            });
            assert_eq!(found, Ok(vec![each; 2]));
        }
    }

    #[test]
    fn returns_the_first_error() {
        let items: Vec<usize> = (0..50).collect();
        for threads in [1, 4] {
            let fail = |item: &usize| if *item >= 20 { Err(*item) } else { Ok(()) };
            assert_eq!(map(threads, &items, fail), Err(20));
        }
    }

    #[test]
    fn host_f32_excludes_other_dtypes_and_autodiff() {
        let x = Tensor::<1>::zeros([2], &Device::flex());
        assert!(is_host_f32(&x));
        assert!(!is_host_f32(&x.clone().cast(DType::F16)));
        assert!(!is_host_f32(&x.autodiff()));
    }
}
