//! `tokenizer.json`, in which transformers keeps a sentencepiece model's pieces, scores and rules; version 5 writes no other file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::model_file::{Kind, MAX_PIECES, ModelFile, NormalizerSpec, Piece};

/// The signs that fairseq's numbering begins with.
const FIRST: [&str; 4] = ["<s>", "<pad>", "</s>", "<unk>"];
const MASK: &str = "<mask>";
const SEG: &str = "[SEG]";
/// Sequences of steps within sequences, at most.
const MAX_DEPTH: usize = 4;

/// What is wrong with a file.
pub(super) enum Problem {
    Damaged(String),
    Unsupported { found: String, expected: &'static str },
}

#[derive(Deserialize)]
struct Saved {
    #[serde(default)]
    added_tokens: Vec<Added>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    model: Model,
}

#[derive(Deserialize)]
struct Added {
    id: u64,
    content: String,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    unk_id: Option<u64>,
    byte_fallback: Option<bool>,
    vocab: Vocabulary,
}

/// Pieces with their scores; none for the other kinds of tokenizers, whose pieces are keys.
struct Vocabulary(Option<Vec<(Box<str>, f64)>>);

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pieces;
        impl<'de> Visitor<'de> for Pieces {
            type Value = Vocabulary;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of pieces with scores")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vocabulary, A::Error> {
                let mut pieces = Vec::new();
                while let Some(piece) = list.next_element()? {
                    if pieces.len() == MAX_PIECES {
                        return Err(A::Error::custom(format!("more than {MAX_PIECES} pieces")));
                    }
                    pieces.push(piece);
                }
                Ok(Vocabulary(Some(pieces)))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocabulary, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Vocabulary(None))
            }
        }
        deserializer.deserialize_any(Pieces)
    }
}

/// The sentencepiece model that the file was made from: fairseq's signs taken off again.
pub(super) fn parse(bytes: &[u8]) -> Result<ModelFile, Problem> {
    let saved: Saved = serde_json::from_slice(bytes).map_err(|e| Problem::Damaged(format!("tokenizer.json: {e}")))?;
    let unsupported = |found: String, expected| Err(Problem::Unsupported { found, expected });
    let kind = saved.model.kind.as_deref().unwrap_or("no type");
    let Some(vocabulary) = saved.model.vocab.0.filter(|_| kind == "Unigram") else {
        return unsupported(format!("a tokenizer of type {kind}"), "Unigram, as XLM-R's is");
    };
    if saved.model.byte_fallback == Some(true) {
        return unsupported("pieces that are bytes".to_string(), "none (byte_fallback off)");
    }
    let first: Vec<&str> = vocabulary.iter().take(FIRST.len()).map(|(piece, _)| &**piece).collect();
    if first != FIRST || saved.model.unk_id != Some(3) {
        return unsupported(
            format!("pieces that begin with {first:?}, the unknown one at {:?}", saved.model.unk_id),
            "<s>, <pad>, </s>, <unk>, as fairseq's numbering has them",
        );
    }
    let mut vocabulary: Vec<_> = vocabulary.into_iter().skip(FIRST.len()).collect();
    if vocabulary.last().is_some_and(|(piece, _)| &**piece == MASK) {
        vocabulary.pop();
    }
    let mask = (FIRST.len() + vocabulary.len()) as u64;
    let id_of = |token: &str| match token {
        MASK => Some(mask),
        SEG => Some(mask + 1),
        _ => FIRST.iter().position(|sign| *sign == token).map(|id| id as u64),
    };
    if let Some(token) = saved.added_tokens.iter().find(|token| id_of(&token.content) != Some(token.id)) {
        let found = format!("the added token {:?} with the id {}", token.content, token.id);
        return unsupported(found, "XLM-R's signs, <mask> behind the pieces and [SEG] behind it");
    }
    let sign = |text: &str, kind| Piece { text: text.into(), score: 0.0, kind };
    let mut pieces = vec![sign("<unk>", Kind::Unknown), sign("<s>", Kind::Control), sign("</s>", Kind::Control)];
    for (text, score) in vocabulary {
        let score = score as f32;
        if !score.is_finite() {
            return Err(Problem::Damaged(format!("{text:?} has score {score}, expected a finite number")));
        }
        pieces.push(Piece { text, score, kind: Kind::Normal });
    }
    let mut precompiled_charsmap = Vec::new();
    if let Some(normalizer) = &saved.normalizer {
        rules(normalizer, &mut precompiled_charsmap, 0)?;
    }
    let add_dummy_prefix = !saved.pre_tokenizer.is_some_and(|steps| never_prepends(&steps, 0));
    let normalizer = NormalizerSpec {
        precompiled_charsmap,
        add_dummy_prefix,
        remove_extra_whitespaces: true,
        escape_whitespaces: true,
    };
    Ok(ModelFile { pieces, normalizer, model_type: 1, treat_whitespace_as_suffix: false, byte_fallback: false })
}

/// The rules for characters among the steps of a normaliser. Those that only tidy white space are part of sentencepiece's own.
fn rules(step: &Value, charsmap: &mut Vec<u8>, depth: usize) -> Result<(), Problem> {
    match step["type"].as_str() {
        Some("Precompiled") => {
            let text = step["precompiled_charsmap"].as_str().unwrap_or_default();
            *charsmap = STANDARD
                .decode(text)
                .map_err(|e| Problem::Damaged(format!("precompiled_charsmap: not base64: {e}")))?;
            Ok(())
        }
        Some("Sequence") if depth < MAX_DEPTH => {
            let steps = step["normalizers"].as_array().map(Vec::as_slice).unwrap_or_default();
            steps.iter().try_for_each(|step| rules(step, charsmap, depth + 1))
        }
        Some("Strip" | "Replace") => Ok(()),
        other => Err(Problem::Unsupported {
            found: format!("a normaliser of type {}", other.unwrap_or("none")),
            expected: "Precompiled, as XLM-R's is",
        }),
    }
}

/// Whether no space is put before a text.
fn never_prepends(step: &Value, depth: usize) -> bool {
    step["prepend_scheme"] == "never"
        || (step["add_prefix_space"] == false && step["prepend_scheme"].is_null())
        || depth < MAX_DEPTH
            && step["pretokenizers"].as_array().is_some_and(|steps| steps.iter().any(|s| never_prepends(s, depth + 1)))
}
