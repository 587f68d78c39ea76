//! A tokenizer for trainings without a download: a sentencepiece model that knows the words of procedural sentences, and letters.

use seg_data::training::procedural::words;

/// What a piece is for, by its number in the format.
const NORMAL: u8 = 1;
const UNKNOWN: u8 = 2;
const CONTROL: u8 = 3;

/// Scores of words and of letters, as logarithms of their probabilities: a word that is known is never spelt.
const WORD: f32 = -3.;
const LETTER: f32 = -10.;

/// The bytes of the model's file.
pub fn vocabulary() -> Vec<u8> {
    let mut file = Vec::new();
    let mut add = |text: &str, score: f32, kind: u8| {
        let mut piece = field(1, text.as_bytes());
        piece.extend(tag(2, 5).chain(score.to_le_bytes()));
        piece.extend(tag(3, 0).chain([kind]));
        file.extend(field(1, &piece));
    };
    for (sign, kind) in [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)] {
        add(sign, 0., kind);
    }
    words().iter().for_each(|word| add(&format!("\u{2581}{word}"), WORD, NORMAL));
    ["\u{2581}".to_owned()].into_iter().chain(('a'..='z').map(String::from)).for_each(|l| add(&l, LETTER, NORMAL));
    // trainer_spec: the kind of model, 1 for unigram
    let kind: Vec<u8> = tag(3, 0).chain([1]).collect();
    file.extend(field(2, &kind));
    // normalizer_spec: its name; what else it says is as the format has it
    file.extend(field(3, &field(1, b"identity")));
    file
}

/// The key of a field: its number, and how its value is written.
fn tag(number: u8, wire: u8) -> impl Iterator<Item = u8> {
    std::iter::once(number << 3 | wire)
}

/// A field of bytes. None here is longer than 127.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    tag(number, 2).chain([bytes.len() as u8]).chain(bytes.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use beit3_encoder::{SentencePiece, Tokenizer};

    #[test]
    fn sentences_are_words() {
        let model = SentencePiece::from_bytes("words", &vocabulary()).unwrap();
        let tokenizer = Tokenizer::new("words", model).unwrap();
        let text = "the large red ring on the left moving up";
        let ids = tokenizer.encode(text).unwrap();
        assert_eq!(ids.len(), 2 + text.split(' ').count());
        assert!(!ids.contains(&Tokenizer::UNK) && ids.iter().all(|id| *id < tokenizer.vocab_size()));
        assert_ne!(ids, tokenizer.encode("the large red ring on the right moving up").unwrap());
        // other words are spelt
        let spelt = tokenizer.encode("the dog").unwrap();
        assert_eq!((spelt.len(), spelt.contains(&Tokenizer::UNK)), (2 + 1 + 4, false));
        assert!(tokenizer.encode("the \u{e9}").unwrap().contains(&Tokenizer::UNK));
        assert!(words().iter().all(|word| word.len() < 100) && tokenizer.vocab_size() < 128);
    }
}
