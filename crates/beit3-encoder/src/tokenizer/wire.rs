//! The wire format of protocol buffers: fields with numbers, read one after the other without copying.

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed32([u8; 4]),
    Fixed64,
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    pub(super) fn bytes(self) -> Result<&'a [u8], String> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            other => Err(format!("{other:?} where bytes were expected")),
        }
    }

    pub(super) fn number(self) -> Result<u64, String> {
        match self {
            Self::Varint(number) => Ok(number),
            other => Err(format!("{other:?} where a whole number was expected")),
        }
    }

    pub(super) fn float(self) -> Result<f32, String> {
        match self {
            Self::Fixed32(bytes) => Ok(f32::from_le_bytes(bytes)),
            other => Err(format!("{other:?} where a float was expected")),
        }
    }
}

/// The fields of a message: number and value, or what is wrong with the message; nothing follows an error.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], String> {
        let parts = usize::try_from(count).ok().and_then(|count| self.rest.split_at_checked(count));
        let (taken, rest) =
            parts.ok_or_else(|| format!("a field of {count} bytes where {} are left", self.rest.len()))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let bytes = self.take(N as u64)?;
        bytes.try_into().map_err(|_| format!("{} bytes where {N} were expected", bytes.len()))
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a number of more than 10 bytes".to_string())
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), String> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => {
                self.array::<8>()?;
                Value::Fixed64
            }
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed32(self.array()?),
            other => return Err(format!("a field of wire type {other}")),
        };
        match tag >> 3 {
            0 => Err("a field of number 0".to_string()),
            number => Ok((number, value)),
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_each_type() {
        let message = [0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x1d, 0, 0, 0x80, 0xbf, 0x21, 1, 2, 3, 4, 5, 6, 7, 8];
        let fields: Vec<_> = Fields::new(&message).collect::<Result<_, _>>().unwrap();
        assert_eq!(fields[0], (1, Value::Varint(150)));
        assert_eq!(fields[1], (2, Value::Bytes(b"hi")));
        assert_eq!(fields[2].1.float(), Ok(-1.0));
        assert_eq!(fields[3], (4, Value::Fixed64));
        assert!(fields[0].1.bytes().is_err() && fields[1].1.number().is_err() && fields[3].1.float().is_err());
    }

    #[test]
    fn damaged_messages_end_in_one_error() {
        let lies_about_length = [0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        let endless_number = [0x08; 1].into_iter().chain([0x80; 11]).collect::<Vec<u8>>();
        for message in [&lies_about_length[..], &endless_number, &[0x0b], &[0x00, 0x00], &[0x0d, 1, 2]] {
            let fields: Vec<_> = Fields::new(message).collect();
            assert!(fields.len() == 1 && fields[0].is_err(), "{message:?}: {fields:?}");
        }
    }
}
