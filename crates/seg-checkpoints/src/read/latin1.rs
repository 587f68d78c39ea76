//! Bytes that were written as text: Python's old pickles have one character for each, in UTF-8.

/// Takes the bytes of UTF-8 text and gives those of Latin-1, one at a time.
#[derive(Debug, Default)]
pub(crate) struct Latin1 {
    /// The first half of a character of two bytes.
    lead: Option<u8>,
}

impl Latin1 {
    /// The byte that is complete with `byte`, none when more is to come.
    ///
    /// # Errors
    /// A character beyond U+00FF, or bytes that are no UTF-8.
    pub fn push(&mut self, byte: u8) -> Result<Option<u8>, NotLatin1> {
        match (self.lead.take(), byte) {
            (None, 0..=0x7f) => Ok(Some(byte)),
            (None, 0xc2 | 0xc3) => {
                self.lead = Some(byte);
                Ok(None)
            }
            (Some(lead), 0x80..=0xbf) => Ok(Some(if lead == 0xc2 { byte } else { byte + 0x40 })),
            _ => Err(NotLatin1),
        }
    }

    /// Whether the text does not end within a character.
    pub fn is_whole(&self) -> bool {
        self.lead.is_none()
    }
}

/// The text has characters that are no bytes.
#[derive(Debug)]
pub(crate) struct NotLatin1;

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &[u8]) -> Option<Vec<u8>> {
        let mut latin1 = Latin1::default();
        let mut out = Vec::new();
        for &byte in text {
            out.extend(latin1.push(byte).ok()?);
        }
        latin1.is_whole().then_some(out)
    }

    #[test]
    fn every_byte_comes_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        let text: String = bytes.iter().map(|&b| char::from(b)).collect();
        assert_eq!(decode(text.as_bytes()), Some(bytes));
    }

    #[test]
    fn other_text_is_refused() {
        for text in [&b"\xc4\x80"[..], b"\xe2\x82\xac", b"\xc3", b"\x80", b"\xc3A", b"\xc0\x80", b"\xff"] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }
}
