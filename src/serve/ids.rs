//! Random names: of what the server keeps, of tokens, of incidents.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// 128 random bits that fit into an address.
///
/// # Panics
/// Where the system has no random numbers: no id would be safe then.
pub fn id() -> String {
    random::<16>()
}

/// A token of 192 bits.
pub fn token() -> String {
    random::<24>()
}

/// A short one, for people to look up in the log.
pub fn short() -> String {
    random::<6>()
}

fn random<const N: usize>() -> String {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn ids_differ_and_fit_into_addresses() {
        let (a, b) = (super::id(), super::id());
        assert_ne!(a, b);
        assert_eq!(a.len(), 22);
        assert!(a.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{a}");
    }
}
