//! sentencepiece models of the unigram kind.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::MAX_TEXT_BYTES;
use super::model_file::{Kind, ModelFile};
use super::normalizer::Normalizer;
use super::prefixes::Prefixes;
use super::saved::{self, Problem};
use super::unigram::{Entry, Unigram};
use crate::error::{Error, Result};

/// Bytes that a model file may have; the largest published ones have 5 million.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// `model_type` of a unigram model.
const UNIGRAM: u64 = 1;

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its id in the model file.
    pub id: u32,
    /// Its characters, normalised, a space as `▁`.
    pub text: String,
}

/// A unigram model of [sentencepiece](https://github.com/google/sentencepiece): the same pieces as its `EncodeAsPieces`.
#[derive(Clone, Debug)]
pub struct SentencePiece {
    normalizer: Normalizer,
    unigram: Unigram,
    unknown_id: u32,
    count: u32,
}

impl SentencePiece {
    /// Reads a `.spm` or `.model` file, or a `tokenizer.json` of XLM-R's form; told apart by content.
    ///
    /// # Errors
    /// A file that cannot be read, that is larger than 64 MiB, or what [`Self::from_bytes`] refuses.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|source| Error::io(path, source))?;
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|source| Error::io(path, source))?;
        Self::from_bytes(&path.display().to_string(), &bytes)
    }

    /// Reads a model from the bytes of its file; `name` is for errors.
    ///
    /// # Errors
    /// Bytes that are no model, or a damaged one, and models that are not unigram or spell unknown characters in bytes.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self> {
        let size = bytes.len() as u64;
        if size > MAX_FILE_BYTES {
            return Err(Error::TooLarge { name: name.to_string(), bytes: size, limit: MAX_FILE_BYTES });
        }
        let damaged = |problem: String| Error::NotAModel { name: name.to_string(), problem };
        let unsupported = |found: String, expected| Error::Unsupported { name: name.to_string(), found, expected };
        // no message of a model begins with a brace: it would be the end of a group
        let model = match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{') => saved::parse(bytes).map_err(|problem| match problem {
                Problem::Damaged(problem) => damaged(problem),
                Problem::Unsupported { found, expected } => unsupported(found, expected),
            })?,
            _ => ModelFile::parse(bytes).map_err(damaged)?,
        };
        if model.model_type != UNIGRAM {
            return Err(unsupported(format!("model_type {}", model.model_type), "1, a unigram model"));
        }
        if model.byte_fallback || model.pieces.iter().any(|piece| piece.kind == Kind::Byte) {
            return Err(unsupported("pieces that are bytes".to_string(), "none (byte_fallback off)"));
        }
        let mut unknown = (0u32..).zip(&model.pieces).filter(|(_, piece)| piece.kind == Kind::Unknown);
        let (Some((unknown_id, _)), None) = (unknown.next(), unknown.next()) else {
            return Err(damaged("no or several pieces of the unknown type, expected one".to_string()));
        };
        let count = model.pieces.len() as u32;
        let entries = (0u32..).zip(model.pieces).filter_map(|(id, piece)| {
            let user_defined = piece.kind == Kind::UserDefined;
            let entry = Entry { id, score: piece.score, user_defined };
            (user_defined || piece.kind == Kind::Normal).then_some((piece.text, entry))
        });
        let entries: Vec<_> = entries.collect();
        let user_defined = entries.iter().filter(|(_, entry)| entry.user_defined).map(|(text, _)| (text.clone(), ()));
        let user_defined = Prefixes::new(user_defined.collect()).map_err(damaged)?;
        let normalizer = Normalizer::new(model.normalizer, user_defined, model.treat_whitespace_as_suffix);
        Ok(Self {
            normalizer: normalizer.map_err(damaged)?,
            unigram: Unigram::new(entries, unknown_id).map_err(damaged)?,
            unknown_id,
            count,
        })
    }

    /// The pieces of a text. Neighbouring characters that the model does not know are one piece, [`Self::unknown_id`]; a text of white space
    /// alone has none.
    ///
    /// # Errors
    /// A text of more than 64 KiB, and one that meets a broken rule of the model's.
    pub fn encode(&self, text: &str) -> Result<Vec<Piece>> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(Error::TextTooLong { bytes: text.len(), limit: MAX_TEXT_BYTES });
        }
        let normalized = self.normalizer.normalize(text)?;
        let mut pieces: Vec<Piece> = Vec::new();
        for (place, id) in self.unigram.segment(&normalized) {
            match pieces.last_mut() {
                Some(last) if id == self.unknown_id && last.id == id => last.text.push_str(&normalized[place]),
                _ => pieces.push(Piece { id, text: normalized[place].to_string() }),
            }
        }
        Ok(pieces)
    }

    /// The id of a piece that texts can have.
    pub fn piece_id(&self, piece: &str) -> Option<u32> {
        self.unigram.id(piece)
    }

    /// The id of what no piece covers.
    pub fn unknown_id(&self) -> u32 {
        self.unknown_id
    }

    /// Number of pieces, those that no text has included.
    pub fn piece_count(&self) -> u32 {
        self.count
    }
}
