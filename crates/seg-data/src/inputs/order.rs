//! The order of a folder's frames, for every verb that reads them.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use super::stem;

/// Sorts by name, runs of digits as numbers: `2.png` before `10.png`. Folders of the files do not count.
pub fn sort_naturally(files: &mut [PathBuf]) {
    let key = |path: &Path| stem(path).to_string_lossy().into_owned();
    files.sort_by_cached_key(|path| Natural(key(path)));
}

/// A name that compares with its numbers as numbers; equal ones by their characters.
#[derive(PartialEq, Eq)]
struct Natural(String);

impl Ord for Natural {
    fn cmp(&self, other: &Self) -> Ordering {
        let (mut a, mut b) = (self.0.as_str(), other.0.as_str());
        loop {
            let (digits_a, digits_b) = (digits(a), digits(b));
            let (number_a, number_b) = (digits_a.trim_start_matches('0'), digits_b.trim_start_matches('0'));
            let by_number = || number_a.len().cmp(&number_b.len()).then_with(|| number_a.cmp(number_b));
            let order = match (digits_a.is_empty(), digits_b.is_empty()) {
                (false, false) => by_number(),
                _ => {
                    let next = |text: &str| text.chars().next();
                    next(a).cmp(&next(b))
                }
            };
            if order != Ordering::Equal || a.is_empty() {
                return order.then_with(|| self.0.cmp(&other.0));
            }
            // equal so far: on behind the number, or behind the one character
            let (step_a, step_b) = (step(a, digits_a), step(b, digits_b));
            (a, b) = (&a[step_a..], &b[step_b..]);
        }
    }
}

impl PartialOrd for Natural {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The digits that `text` begins with.
fn digits(text: &str) -> &str {
    &text[..text.bytes().take_while(u8::is_ascii_digit).count()]
}

/// Bytes of the number or else of the character that `text` begins with.
fn step(text: &str, digits: &str) -> usize {
    if digits.is_empty() { text.chars().next().map_or(0, char::len_utf8) } else { digits.len() }
}
