//! Text as the model has learned it: characters replaced by the model's rules, white space made uniform and visible.

use super::model_file::NormalizerSpec;
use super::prefixes::Prefixes;
use crate::error::Error;

/// What stands for a space.
const SPACE_SYMBOL: &str = "\u{2581}";
/// Bytes that a normalised text may have: rules may make much of little.
const MAX_NORMALIZED: usize = 16 * super::MAX_TEXT_BYTES;

/// sentencepiece's normalisation (normalizer.cc).
#[derive(Clone, Debug)]
pub(super) struct Normalizer {
    rules: Option<Rules>,
    /// Symbols that no rule touches.
    user_defined: Prefixes<()>,
    spec: NormalizerSpec,
    space_at_end: bool,
}

impl Normalizer {
    pub(super) fn new(
        mut spec: NormalizerSpec,
        user_defined: Prefixes<()>,
        space_at_end: bool,
    ) -> Result<Self, String> {
        let charsmap = std::mem::take(&mut spec.precompiled_charsmap);
        let rules = if charsmap.is_empty() { None } else { Some(Rules::parse(&charsmap)?) };
        Ok(Self { rules, user_defined, spec, space_at_end })
    }

    pub(super) fn normalize(&self, text: &str) -> Result<String, Error> {
        let remove_extra = self.spec.remove_extra_whitespaces;
        let space = if self.spec.escape_whitespaces { SPACE_SYMBOL } else { " " };
        let mut rest = text;
        while remove_extra && !rest.is_empty() {
            match self.prefix(rest)? {
                (" ", length) => rest = &rest[length..],
                _ => break,
            }
        }
        let mut normalized = String::with_capacity(rest.len() + 2 * SPACE_SYMBOL.len());
        if rest.is_empty() {
            return Ok(normalized);
        }
        let dummy = if self.spec.add_dummy_prefix { space } else { "" };
        if !self.space_at_end {
            normalized.push_str(dummy);
        }
        let mut behind_space = remove_extra;
        while !rest.is_empty() {
            let (replacement, length) = self.prefix(rest)?;
            rest = &rest[length..];
            let kept = if behind_space { replacement.trim_start_matches(' ') } else { replacement };
            for part in kept.split_inclusive(' ') {
                match part.strip_suffix(' ') {
                    Some(word) => normalized.extend([word, space]),
                    None => normalized.push_str(part),
                }
            }
            if !kept.is_empty() {
                behind_space = remove_extra && kept.ends_with(' ');
            }
            if normalized.len() > MAX_NORMALIZED {
                return Err(Error::TextTooLong { bytes: normalized.len(), limit: MAX_NORMALIZED });
            }
        }
        if remove_extra {
            normalized.truncate(normalized.trim_end_matches(space).len());
        }
        if self.space_at_end {
            normalized.push_str(dummy);
        }
        Ok(normalized)
    }

    /// What the beginning of `text` becomes, and how many of its bytes that is.
    fn prefix<'a>(&'a self, text: &'a str) -> Result<(&'a str, usize), Error> {
        if let Some((length, ())) = self.user_defined.of(text.as_bytes()).last() {
            return Ok((&text[..length], length));
        }
        let Some((length, offset)) = self.rules.as_ref().and_then(|rules| rules.longest(text.as_bytes())) else {
            let length = text.chars().next().map_or(0, char::len_utf8);
            return Ok((&text[..length], length));
        };
        let replacement = self.rules.as_ref().and_then(|rules| rules.replacement(offset));
        match replacement.filter(|_| text.is_char_boundary(length)) {
            Some(replacement) => Ok((replacement, length)),
            None => Err(Error::BrokenRule { text: text.chars().take(8).collect() }),
        }
    }
}

/// The rules: a double-array trie of what is replaced (darts-clone's form), each leaf an offset into the replacements, which end in 0.
///
/// Units come from a file: no index into them is taken on trust.
#[derive(Clone, Debug)]
struct Rules {
    units: Vec<u32>,
    replacements: String,
}

impl Rules {
    /// Size of the trie in bytes, trie, replacements.
    fn parse(charsmap: &[u8]) -> Result<Self, String> {
        let (size, rest) = charsmap.split_at_checked(4).ok_or("precompiled_charsmap: less than 4 bytes")?;
        let size = u32::from_le_bytes([size[0], size[1], size[2], size[3]]) as usize;
        let parts = rest.split_at_checked(size).filter(|_| size > 0 && size.is_multiple_of(4));
        let (units, replacements) = parts.ok_or_else(|| {
            format!(
                "precompiled_charsmap: a trie of {size} bytes of {}, expected a multiple of 4 that fits",
                rest.len()
            )
        })?;
        let units = units.chunks_exact(4).map(|unit| u32::from_le_bytes([unit[0], unit[1], unit[2], unit[3]]));
        let replacements = std::str::from_utf8(replacements)
            .map_err(|error| format!("precompiled_charsmap: replacements are no UTF-8 ({error})"))?;
        Ok(Self { units: units.collect(), replacements: replacements.to_owned() })
    }

    /// The longest rule that `text` begins with: its length in bytes and its offset.
    fn longest(&self, text: &[u8]) -> Option<(usize, usize)> {
        let mut found = None;
        let mut at = children(*self.units.first()?);
        for (length, &byte) in (1..).zip(text) {
            at ^= byte as usize;
            let Some(&unit) = self.units.get(at).filter(|&&unit| label(unit) == u32::from(byte)) else {
                break;
            };
            at ^= children(unit);
            if has_leaf(unit)
                && let Some(leaf) = self.units.get(at)
            {
                found = Some((length, (leaf & 0x7fff_ffff) as usize));
            }
        }
        found
    }

    fn replacement(&self, offset: usize) -> Option<&str> {
        self.replacements.get(offset..)?.split('\0').next()
    }
}

/// Distance to a node's children.
fn children(unit: u32) -> usize {
    ((unit >> 10) << ((unit & (1 << 9)) >> 6)) as usize
}

/// The byte that leads to a node; a leaf's is none.
fn label(unit: u32) -> u32 {
    unit & 0x8000_00ff
}

fn has_leaf(unit: u32) -> bool {
    unit & (1 << 8) != 0
}
