//! The allocator of the process.

/// Keeps freed memory for the next allocation instead of returning it to the operating system: memory that comes back is
/// zeroed page by page. Steps of training allocate and free the same sizes again and again; the quickstart's step with a GLU
/// takes 0.7 of the time and 1.05 of the memory.
///
/// To be called at the start of `main`, before there are other threads. It changes glibc's allocator, so it does nothing on
/// other systems than Linux, and nothing if `GLIBC_TUNABLES` is set, which is another way to say the same.
///
/// # Examples
/// ```
/// sail_vl::allocator::keep_freed_memory();
/// ```
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if std::env::var_os("GLIBC_TUNABLES").is_none() {
        glibc::keep_freed_memory();
    }
}

/// Returns freed memory to the operating system. glibc does that by itself only at the end of its heaps, so a service that has had
/// 10,000 connections would keep what they took.
///
/// It takes milliseconds, and may be called at any time. It does nothing on other systems than Linux with glibc.
///
/// # Examples
/// ```
/// sail_vl::allocator::release_freed_memory();
/// ```
pub fn release_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    glibc::release_freed_memory();
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    /// Smaller allocations are not mapped on their own: the largest threshold that glibc accepts.
    const MAPPED_FROM: i32 = 32 << 20;

    #[allow(unsafe_code)]
    pub(super) fn keep_freed_memory() {
        // SAFETY: the function takes two integers, refuses those that are out of range, and sets a word that glibc itself changes
        // while threads allocate.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_FROM);
            libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        }
    }

    #[allow(unsafe_code)]
    pub(super) fn release_freed_memory() {
        // SAFETY: the function locks each heap and gives back pages without allocations.
        unsafe {
            libc::malloc_trim(0);
        }
    }
}
