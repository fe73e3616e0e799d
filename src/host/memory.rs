//! Memory of this process.

/// The size from which a block of memory counts as large.
const LARGE_BYTES: libc::c_int = 1 << 20;

/// Makes glibc return large blocks of memory to the kernel as soon as they are freed. Otherwise it
/// keeps freed blocks for each thread, so that a buffer that one thread needs for a moment would
/// stay allocated once per thread.
///
/// Source: mallopt(3), `M_MMAP_THRESHOLD`.
pub fn set_mmap_threshold() {
    #[allow(unsafe_code, reason = "no crate in use sets this")]
    // SAFETY: the call takes two numbers, and happens before other threads exist.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES);
    }
}
