//! What a sentencepiece model file holds (sentencepiece_model.proto), checked.

use super::wire::Fields;

/// Pieces that a model may have; multilingual ones have a quarter of a million.
pub(super) const MAX_PIECES: usize = 1 << 20;

/// What a piece is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A part of words.
    Normal,
    /// What no piece covers.
    Unknown,
    /// A sign for programs, never found in text.
    Control,
    /// Always found as a whole.
    UserDefined,
    /// Not found in text any more.
    Unused,
    /// A byte of a character that has no piece.
    Byte,
}

#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) text: Box<str>,
    pub(super) score: f32,
    pub(super) kind: Kind,
}

/// How text is prepared; the format's defaults.
#[derive(Clone, Debug)]
pub(super) struct NormalizerSpec {
    pub(super) precompiled_charsmap: Vec<u8>,
    pub(super) add_dummy_prefix: bool,
    pub(super) remove_extra_whitespaces: bool,
    pub(super) escape_whitespaces: bool,
}

#[derive(Clone, Debug)]
pub(super) struct ModelFile {
    pub(super) pieces: Vec<Piece>,
    pub(super) normalizer: NormalizerSpec,
    /// 1 is a unigram model.
    pub(super) model_type: u64,
    pub(super) treat_whitespace_as_suffix: bool,
    pub(super) byte_fallback: bool,
}

impl ModelFile {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut model = Self {
            pieces: Vec::new(),
            normalizer: NormalizerSpec {
                precompiled_charsmap: Vec::new(),
                add_dummy_prefix: true,
                remove_extra_whitespaces: true,
                escape_whitespaces: true,
            },
            model_type: 1,
            treat_whitespace_as_suffix: false,
            byte_fallback: false,
        };
        for field in Fields::new(bytes) {
            match field? {
                (1, _) if model.pieces.len() == MAX_PIECES => return Err(format!("more than {MAX_PIECES} pieces")),
                (1, piece) => {
                    let number = model.pieces.len();
                    let piece = Piece::parse(piece.bytes()?).map_err(|problem| format!("piece {number}: {problem}"))?;
                    model.pieces.push(piece);
                }
                (2, trainer) => {
                    model.trainer_spec(trainer.bytes()?).map_err(|problem| format!("trainer_spec: {problem}"))?;
                }
                (3, spec) => {
                    model.normalizer.fill(spec.bytes()?).map_err(|problem| format!("normalizer_spec: {problem}"))?;
                }
                _ => {}
            }
        }
        if model.pieces.is_empty() { Err("no pieces, expected at least <unk>".to_string()) } else { Ok(model) }
    }

    fn trainer_spec(&mut self, message: &[u8]) -> Result<(), String> {
        for field in Fields::new(message) {
            match field? {
                (3, model_type) => self.model_type = model_type.number()?,
                (24, suffix) => self.treat_whitespace_as_suffix = suffix.number()? != 0,
                (35, fallback) => self.byte_fallback = fallback.number()? != 0,
                _ => {}
            }
        }
        Ok(())
    }
}

impl NormalizerSpec {
    fn fill(&mut self, message: &[u8]) -> Result<(), String> {
        for field in Fields::new(message) {
            match field? {
                (2, charsmap) => self.precompiled_charsmap = charsmap.bytes()?.to_vec(),
                (3, prefix) => self.add_dummy_prefix = prefix.number()? != 0,
                (4, remove) => self.remove_extra_whitespaces = remove.number()? != 0,
                (5, escape) => self.escape_whitespaces = escape.number()? != 0,
                _ => {}
            }
        }
        Ok(())
    }
}

impl Piece {
    fn parse(message: &[u8]) -> Result<Self, String> {
        let (mut text, mut score, mut kind) = ("", 0.0, Kind::Normal);
        for field in Fields::new(message) {
            match field? {
                (1, piece) => {
                    text = std::str::from_utf8(piece.bytes()?).map_err(|error| format!("no UTF-8 ({error})"))?;
                }
                (2, number) => score = number.float()?,
                (3, number) => {
                    kind = match number.number()? {
                        1 => Kind::Normal,
                        2 => Kind::Unknown,
                        3 => Kind::Control,
                        4 => Kind::UserDefined,
                        5 => Kind::Unused,
                        6 => Kind::Byte,
                        other => return Err(format!("type {other}, expected 1 to 6")),
                    }
                }
                _ => {}
            }
        }
        if score.is_finite() {
            Ok(Self { text: text.into(), score, kind })
        } else {
            Err(format!("{text:?} has score {score}, expected a finite number"))
        }
    }
}
