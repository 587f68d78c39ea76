//! The most probable way to cut a text into pieces.

use super::prefixes::Prefixes;
use std::ops::Range;

/// By how much an unknown character is worse than the worst piece.
const UNKNOWN_PENALTY: f32 = 10.0;
/// By how much a symbol of the user's is worse than as many best pieces as it has bytes.
const USER_DEFINED_PENALTY: f32 = 0.1;

/// A piece that is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) id: u32,
    pub(super) score: f32,
    pub(super) user_defined: bool,
}

/// A unigram language model: the score of a text's pieces is the sum of theirs (unigram_model.cc, `EncodeOptimized`).
///
/// Sums are in single precision as sentencepiece's are, so that ties fall in the same way.
#[derive(Clone, Debug)]
pub(super) struct Unigram {
    pieces: Prefixes<Entry>,
    unknown_id: u32,
    min_score: f32,
    max_score: f32,
}

/// The last piece of the best way to some place in the text.
#[derive(Clone, Copy)]
struct Step {
    from: usize,
    id: u32,
    score: f32,
}

impl Unigram {
    pub(super) fn new(entries: Vec<(Box<str>, Entry)>, unknown_id: u32) -> Result<Self, String> {
        let scores = || entries.iter().filter(|(_, entry)| !entry.user_defined).map(|(_, entry)| entry.score);
        let (min_score, max_score) = (scores().fold(f32::MAX, f32::min), scores().fold(f32::MIN, f32::max));
        Ok(Self { pieces: Prefixes::new(entries)?, unknown_id, min_score, max_score })
    }

    /// The id of `piece`, if it is one that is looked for.
    pub(super) fn id(&self, piece: &str) -> Option<u32> {
        self.pieces.get(piece).map(|entry| entry.id)
    }

    /// Places of the pieces in a normalised text, in order, with their ids.
    pub(super) fn segment(&self, text: &str) -> Vec<(Range<usize>, u32)> {
        let mut best: Vec<Option<Step>> = vec![None; text.len() + 1];
        for (from, character) in text.char_indices() {
            let so_far = best[from].map_or(0.0, |step| step.score);
            let mut offer = |length: usize, id: u32, score: f32| {
                let end = &mut best[from + length];
                if end.is_none_or(|step| score > step.score) {
                    *end = Some(Step { from, id, score });
                }
            };
            let mut covered = false;
            for (length, entry) in self.pieces.of(&text.as_bytes()[from..]) {
                let score = match entry.user_defined {
                    true => length as f32 * self.max_score - USER_DEFINED_PENALTY,
                    false => entry.score,
                };
                offer(length, entry.id, score + so_far);
                covered |= length == character.len_utf8();
            }
            if !covered {
                let unknown_score = self.min_score - UNKNOWN_PENALTY;
                offer(character.len_utf8(), self.unknown_id, unknown_score + so_far);
            }
        }
        let mut pieces = Vec::new();
        let mut end = text.len();
        while let Some(step) = best[end] {
            pieces.push((step.from..end, step.id));
            end = step.from;
        }
        pieces.reverse();
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(pieces: &[(&str, f32)]) -> Unigram {
        let entry = |(id, &(text, score)): (usize, &(&str, f32))| {
            (text.into(), Entry { id: id as u32 + 1, score, user_defined: text.starts_with('<') })
        };
        Unigram::new(pieces.iter().enumerate().map(entry).collect(), 0).unwrap()
    }

    fn ids(model: &Unigram, text: &str) -> Vec<u32> {
        model.segment(text).into_iter().map(|(_, id)| id).collect()
    }

    #[test]
    fn the_best_sum_wins_and_the_first_of_equals() {
        let model = model(&[("a", -1.0), ("b", -1.0), ("ab", -2.0), ("bc", -1.5), ("c", -1.0), ("abc", -3.0)]);
        assert_eq!(ids(&model, "ab"), [3]);
        assert_eq!(ids(&model, "abc"), [1, 4]);
        assert_eq!(ids(&model, ""), [0; 0]);
    }

    /// The two ways to cut the dashes differ by less than the rounding of their sums.
    #[test]
    fn ties_of_single_precision() {
        let model = model(&[("x", -25.25), ("-", -4.179572), ("--", -6.799646)]);
        assert_eq!(ids(&model, "x---"), [1, 2, 3]);
    }

    #[test]
    fn unknown_characters_and_users_symbols() {
        let model = model(&[("a", -1.0), ("<x>", -9.0), ("<", -2.0), ("x", -2.0), (">", -2.0)]);
        assert_eq!(model.segment("aéa"), [(0..1, 1), (1..3, 0), (3..4, 1)]);
        assert_eq!(ids(&model, "a<x>"), [1, 2]);
    }
}
