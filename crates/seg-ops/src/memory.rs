//! What the process does with memory that it has freed.
#![allow(unsafe_code)]

/// Has the C library keep freed memory for the next tensors, for the rest of the process: to be called by a program, once, before it computes.
///
/// A model frees and asks for tens of megabytes at every layer. glibc gives them back to the system each time, which then maps and clears fresh pages:
/// for operations bound by memory, and for training, that is half of the time. The `hrseg` command calls this; a library has no business to, so it is
/// left to you. At most 2 GiB of freed memory stay with the process, and what was in use at most is hardly more.
///
/// Returns whether anything was changed: not without glibc (there a program may choose an allocator that keeps large blocks), nor where the environment
/// (`MALLOC_TRIM_THRESHOLD_`, `GLIBC_TUNABLES`) has made a choice already.
pub fn keep_freed_memory() -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let chosen = ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"];
        if chosen.iter().any(|name| std::env::var_os(name).is_some()) {
            return false;
        }
        // SAFETY: `mallopt` changes numbers that the allocator reads under its own lock.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 30) == 1
                && libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX) == 1
                && libc::mallopt(libc::M_TOP_PAD, 64 << 20) == 1
        }
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    false
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn only_the_environment_stands_above_it() {
        let chosen = std::env::vars_os().any(|(name, _)| name.to_string_lossy().starts_with("MALLOC_"));
        assert_eq!(super::keep_freed_memory(), !chosen && std::env::var_os("GLIBC_TUNABLES").is_none());
        assert_eq!(vec![1u8; 48 << 20].len(), 48 << 20);
    }
}
