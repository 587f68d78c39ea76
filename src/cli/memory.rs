//! How much memory the process has used.

/// The most physical memory that this process has held, in bytes; `None` where the system does not say (Linux does, in
/// `/proc/self/status`).
pub fn peak_rss_bytes() -> Option<u64> {
    status("VmHWM:")
}

/// The physical memory that this process holds now, in bytes.
pub fn rss_bytes() -> Option<u64> {
    status("VmRSS:")
}

fn status(entry: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(entry))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
