//! What the allocator (mimalloc) does only when it is told to.

/// Gives memory that is free back to the kernel: of the calling thread's heap, of the heaps of threads
/// that have ended, and of what all share.
///
/// mimalloc gives back what has been free for a while, but looks at the clock only when somebody allocates
/// or frees: what a burst of work leaves behind would stay with a process that then has nothing to do.
pub fn give_back() {
    // SAFETY: mi_collect may be called by any thread at any time, also by one that never allocated.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
