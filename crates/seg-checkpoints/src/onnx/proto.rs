//! Protocol Buffers' wire format, walked in a file: fields and their places, nothing decoded that is not asked for.

use crate::error::Fault;
use crate::read::Reader;

/// Bytes read in one go while walking.
const WINDOW: u64 = 1 << 14;
/// A name or path may be this long.
const MAX_TEXT: u64 = 1 << 14;

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// A varint.
    Number(u64),
    /// Text, bytes, packed numbers, or a message: where it lies in the file, and its length.
    Bytes { at: u64, len: u64 },
    /// A number of fixed width; none of interest has one.
    Fixed,
}

/// The fields of a message, one after the other, from `at` to `end` of a file.
pub(super) struct Message<'r> {
    reader: &'r Reader,
    at: u64,
    end: u64,
    /// A part of the file, from byte `start` on.
    window: Vec<u8>,
    start: u64,
}

impl<'r> Message<'r> {
    /// A file that is one message.
    pub fn whole(reader: &'r Reader) -> Self {
        Self { reader, at: 0, end: reader.len(), window: Vec::new(), start: 0 }
    }

    /// The message in a field of this one. What was read ahead serves it, too.
    pub fn part(&mut self, at: u64, len: u64) -> Self {
        // [`Self::field`] has checked that it lies inside
        Self { reader: self.reader, at, end: at + len, window: self.window.clone(), start: self.start }
    }

    /// Number and value of the next field; none at the end.
    pub fn field(&mut self) -> Result<Option<(u64, Value)>, Fault> {
        if self.at >= self.end {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.skip(8).map(|_| Value::Fixed)?,
            2 => {
                let len = self.varint()?;
                let at = self.skip(len)?;
                Value::Bytes { at, len }
            }
            5 => self.skip(4).map(|_| Value::Fixed)?,
            kind => {
                return Err(Fault::malformed(format!("byte {}: no field of kind {kind} can be here", self.at - 1)));
            }
        };
        Ok(Some((key >> 3, value)))
    }

    /// A text in a field of this message.
    pub fn text(&mut self, at: u64, len: u64) -> Result<String, Fault> {
        if len > MAX_TEXT {
            return Err(Fault::limit(format!("a name of {len} bytes at byte {at}, the limit is {MAX_TEXT}")));
        }
        let bytes = self.bytes(at, len)?.to_vec();
        String::from_utf8(bytes).map_err(|_| Fault::malformed(format!("byte {at}: a name that is not UTF-8")))
    }

    /// Packed varints in a field of this message, `most` at most.
    pub fn numbers(&mut self, at: u64, len: u64, most: usize) -> Result<Vec<u64>, Fault> {
        let mut packed = self.part(at, len);
        let mut numbers = Vec::new();
        while packed.at < packed.end {
            if numbers.len() >= most {
                return Err(Fault::limit(format!("more than {most} numbers at byte {at}")));
            }
            numbers.push(packed.varint()?);
        }
        Ok(numbers)
    }

    /// Passes over `len` bytes and says where they began.
    fn skip(&mut self, len: u64) -> Result<u64, Fault> {
        let at = self.at;
        let end = at.checked_add(len).filter(|&end| end <= self.end);
        self.at = end.ok_or_else(|| {
            // beyond the file it is cut off, beyond its message it lies
            let expected = at.saturating_add(len);
            if self.end == self.reader.len() && expected > self.reader.len() {
                Fault::Truncated { expected, actual: self.reader.len() }
            } else {
                Fault::malformed(format!(
                    "byte {at}: a field of {len} bytes in a message that ends at byte {}",
                    self.end
                ))
            }
        })?;
        Ok(at)
    }

    fn varint(&mut self) -> Result<u64, Fault> {
        let from = self.at;
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            if self.at >= self.end {
                return Err(match self.end == self.reader.len() {
                    true => Fault::Truncated { expected: self.end + 1, actual: self.end },
                    false => Fault::malformed(format!("byte {from}: a number that its message cuts off")),
                });
            }
            let byte = self.bytes(self.at, 1)?[0];
            self.at += 1;
            if shift == 63 && byte > 1 {
                break;
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Fault::malformed(format!("byte {from}: a number of more than 64 bits")))
    }

    /// `len` bytes (at most a window) from `at` on; the caller has checked that they are inside the message.
    fn bytes(&mut self, at: u64, len: u64) -> Result<&[u8], Fault> {
        let held = self.start..self.start + self.window.len() as u64;
        if !(held.contains(&at) && at + len <= held.end) {
            let ahead = (self.reader.len().saturating_sub(at)).min(WINDOW.max(len));
            self.window = self.reader.bytes(at, ahead as usize)?;
            self.start = at;
        }
        let from = (at - self.start) as usize;
        let bytes = self.window.get(from..from + len as usize);
        bytes.ok_or(Fault::Truncated { expected: at + len, actual: self.reader.len() })
    }
}
