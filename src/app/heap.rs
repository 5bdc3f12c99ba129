//! How threads share memory that comes and goes.

/// Gives all threads one heap, to be called before there are any.
///
/// The GNU C library gives a thread that finds the heap in use one of its own, up to eight for each core, and what was freed in one serves nobody in another: a peer to
/// which hundreds of torrents and thousands of connections come and go held five times of what it needs. Large buffers have pools of their own here, so threads
/// hardly ever wait for one another at the heap. Other C libraries have but one.
pub fn share() {
    platform::share();
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod platform {
    use std::ffi::c_int;

    /// `M_ARENA_MAX` of `malloc.h`.
    const M_ARENA_MAX: c_int = -8;

    #[allow(unsafe_code, reason = "no library offers it")]
    pub(super) fn share() {
        // SAFETY: declared as in `malloc.h`. It only sets a number, and takes the heap's lock for that.
        unsafe extern "C" {
            safe fn mallopt(param: c_int, value: c_int) -> c_int;
        }
        // It refuses only parameters that it does not know; threads have heaps of their own then.
        let _ = mallopt(M_ARENA_MAX, 1);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod platform {
    pub(super) fn share() {}
}
