//! BEiT-3's tokenizer: that of XLM-R, a sentencepiece model behind fairseq's numbering, with `[SEG]` as MPG-SAM 2 adds it.

mod model_file;
mod normalizer;
mod prefixes;
mod saved;
mod sentencepiece;
mod unigram;
mod wire;

use std::path::Path;

pub use sentencepiece::{Piece, SentencePiece};

use crate::error::{Error, Result};

/// Bytes that a text may have.
pub const MAX_TEXT_BYTES: usize = 64 << 10;

/// Texts to ids (transformers, models/xlm_roberta/tokenization_xlm_roberta.py).
///
/// fairseq's four signs come first, every piece follows one behind its place in the file, then `<mask>` and `[SEG]`. The signs are found in texts
/// too: `"a <s> b"` has the id 0 in its middle.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    model: SentencePiece,
}

impl Tokenizer {
    /// `<s>`, before every text.
    pub const BOS: u32 = 0;
    /// `<pad>`; not what MPG-SAM 2 pads with, which is [`Self::UNK`].
    pub const PAD: u32 = 1;
    /// `</s>`, behind every text.
    pub const EOS: u32 = 2;
    /// `<unk>`: characters that the model does not know.
    pub const UNK: u32 = 3;

    /// Reads the sentencepiece model, such as `beit3.spm` or a saved folder's `sentencepiece.bpe.model`, or the `tokenizer.json` that
    /// transformers made of one: the same ids as from the model itself.
    ///
    /// # Errors
    /// As [`SentencePiece::open`], and a model whose unknown piece is not the first.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::new(&path.display().to_string(), SentencePiece::open(path)?)
    }

    /// The tokenizer of a model; `name` is for errors.
    ///
    /// # Errors
    /// A model whose unknown piece is not the first: the numbering leaves no other place for it.
    pub fn new(name: &str, model: SentencePiece) -> Result<Self> {
        match model.unknown_id() {
            0 => Ok(Self { model }),
            id => Err(Error::Unsupported {
                name: name.to_string(),
                found: format!("the unknown piece at {id}"),
                expected: "it at 0, as fairseq's numbering has it",
            }),
        }
    }

    /// A text's ids, `<s>` and `</s>` included, neither lower-cased nor cut. A text without any character, or of white space alone, is
    /// `[BOS, EOS]`. How many tokens an encoder takes is for the encoder to say ([`Beit3Config::max_text_tokens`](crate::Beit3Config::max_text_tokens)).
    ///
    /// # Errors
    /// As [`SentencePiece::encode`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(Error::TextTooLong { bytes: text.len(), limit: MAX_TEXT_BYTES });
        }
        let mut ids = vec![Self::BOS];
        let mut rest = text;
        while let Some((at, sign)) = next_sign(rest) {
            let before = match sign {
                Sign::Mask => rest[..at].trim_end_matches(is_space),
                _ => &rest[..at],
            };
            self.encode_plain(before, &mut ids)?;
            ids.push(self.sign_id(sign));
            rest = &rest[at + sign.text().len()..];
        }
        self.encode_plain(rest, &mut ids)?;
        ids.push(Self::EOS);
        Ok(ids)
    }

    fn encode_plain(&self, text: &str, ids: &mut Vec<u32>) -> Result<()> {
        ids.extend(self.model.encode(text)?.into_iter().map(|piece| self.shifted(piece.id)));
        Ok(())
    }

    /// The id of a sign or a piece; [`Self::UNK`] for what is neither.
    pub fn token_id(&self, token: &str) -> u32 {
        match SIGNS.iter().find(|sign| sign.text() == token) {
            Some(&sign) => self.sign_id(sign),
            None => self.model.piece_id(token).map_or(Self::UNK, |id| self.shifted(id)),
        }
    }

    /// The id of `<mask>`.
    pub fn mask_id(&self) -> u32 {
        self.model.piece_count() + 1
    }

    /// The id of `[SEG]`.
    pub fn seg_id(&self) -> u32 {
        self.model.piece_count() + 2
    }

    /// Number of ids, `[SEG]` included: the last is one less.
    pub fn vocab_size(&self) -> u32 {
        self.model.piece_count() + 3
    }

    /// The sentencepiece model.
    pub fn model(&self) -> &SentencePiece {
        &self.model
    }

    fn shifted(&self, id: u32) -> u32 {
        if id == self.model.unknown_id() { Self::UNK } else { id + 1 }
    }

    fn sign_id(&self, sign: Sign) -> u32 {
        match sign {
            Sign::Bos => Self::BOS,
            Sign::Pad => Self::PAD,
            Sign::Eos => Self::EOS,
            Sign::Unk => Self::UNK,
            Sign::Mask => self.mask_id(),
            Sign::Seg => self.seg_id(),
        }
    }
}

/// What is no piece but has an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Bos,
    Pad,
    Eos,
    Unk,
    Mask,
    Seg,
}

const SIGNS: [Sign; 6] = [Sign::Bos, Sign::Pad, Sign::Eos, Sign::Unk, Sign::Mask, Sign::Seg];

impl Sign {
    fn text(self) -> &'static str {
        match self {
            Self::Bos => "<s>",
            Self::Pad => "<pad>",
            Self::Eos => "</s>",
            Self::Unk => "<unk>",
            Self::Mask => "<mask>",
            Self::Seg => "[SEG]",
        }
    }
}

/// The first sign in `text`, and where it begins; none begins with another.
fn next_sign(text: &str) -> Option<(usize, Sign)> {
    text.match_indices(['<', '[']).find_map(|(at, _)| {
        let sign = SIGNS.iter().find(|sign| text[at..].starts_with(sign.text()))?;
        Some((at, *sign))
    })
}

/// White space as Python has it.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}
