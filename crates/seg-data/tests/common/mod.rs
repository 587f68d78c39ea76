//! What several tests share: the generator of bytes, the digest, and where the fixtures are.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone
#![allow(dead_code)] // each test file uses a part

use std::path::PathBuf;

/// `n` reproducible bytes: the top byte of SplitMix64 started at `seed`.
pub fn bytes(seed: u64, n: usize) -> Vec<u8> {
    (1..=n as u64)
        .map(|i| {
            let mut z = seed.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 56) as u8
        })
        .collect()
}

/// FNV-1a, 64 bits, in hexadecimal.
pub fn fnv(data: &[u8]) -> String {
    let hash = data.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    format!("{hash:016x}")
}

/// A fixture below `tests/data`.
pub fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// The lines of a fixture, comments left out, split at blanks.
pub fn table(name: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(data(name)).unwrap();
    let lines = text.lines().filter(|l| !l.starts_with('#'));
    lines.map(|l| l.split(' ').map(str::to_owned).collect()).collect()
}
