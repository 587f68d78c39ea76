//! Finding all of many strings that a text begins with.

/// Strings in order, with what belongs to each.
#[derive(Clone, Debug)]
pub(super) struct Prefixes<T> {
    entries: Vec<(Box<str>, T)>,
}

impl<T> Prefixes<T> {
    /// Not empty, and each but once; otherwise what is wrong.
    pub(super) fn new(mut entries: Vec<(Box<str>, T)>) -> Result<Self, String> {
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        if let Some((text, _)) = entries.first().filter(|(text, _)| text.is_empty()) {
            return Err(format!("a piece {text:?}, expected at least one character"));
        }
        if let Some(pair) = entries.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(format!("the piece {:?} twice", pair[0].0));
        }
        Ok(Self { entries })
    }

    /// What belongs to `text`.
    pub(super) fn get(&self, text: &str) -> Option<&T> {
        let at = self.entries.binary_search_by(|(entry, _)| (**entry).cmp(text)).ok()?;
        Some(&self.entries[at].1)
    }

    /// The strings that `text` begins with, shortest first: length in bytes, and what belongs to each.
    pub(super) fn of<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = (usize, &'a T)> {
        // the entries that begin with the first `depth` bytes of the text
        let (mut range, mut depth) = (&self.entries[..], 0);
        std::iter::from_fn(move || {
            while let Some(byte) = text.get(depth) {
                let next = |entry: &(Box<str>, T)| entry.0.as_bytes().get(depth).copied(); // an end comes before all bytes
                let from = range.partition_point(|entry| next(entry) < Some(*byte));
                let count = range[from..].partition_point(|entry| next(entry) == Some(*byte));
                range = &range[from..from + count];
                depth += 1;
                let (first, value) = range.first()?;
                if first.len() == depth {
                    return Some((depth, value));
                }
            }
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_beginnings_and_no_others() {
        let words = ["a", "ab", "abcd", "b", "é", "éa", "ê"];
        let table = Prefixes::new(words.iter().rev().map(|w| ((*w).into(), *w)).collect()).unwrap();
        let of = |text: &str| table.of(text.as_bytes()).map(|(n, w)| (n, *w)).collect::<Vec<_>>();
        assert_eq!(of("abcde"), [(1, "a"), (2, "ab"), (4, "abcd")]);
        assert_eq!(of("abc"), [(1, "a"), (2, "ab")]);
        assert_eq!(of("éab"), [(2, "é"), (3, "éa")]);
        assert!(of("").is_empty() && of("zé").is_empty() && of("è").is_empty());
        assert_eq!((table.get("abcd"), table.get("abc")), (Some(&"abcd"), None));
    }

    #[test]
    fn empty_and_double_strings_are_refused() {
        assert!(Prefixes::new(vec![("a".into(), 0), ("".into(), 1)]).is_err());
        assert!(Prefixes::new(vec![("a".into(), 0), ("a".into(), 1)]).unwrap_err().contains("\"a\" twice"));
    }
}
