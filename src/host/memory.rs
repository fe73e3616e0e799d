//! Memory of this process.

/// Blocks from this size on.
const LARGE_BYTES: libc::c_int = 1 << 20;

/// Lets large blocks of memory go back to the system as soon as they are freed. Otherwise glibc
/// keeps, for each thread, what the thread has had: what one needs for a moment would be there as
/// often as there are threads.
///
/// Source: mallopt(3), `M_MMAP_THRESHOLD`.
pub fn set_mmap_threshold() {
    #[allow(unsafe_code, reason = "no crate in use sets this")]
    // SAFETY: it takes two numbers, and is called before other threads are.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES);
    }
}
