//! The text forms of pickle protocol 0.

use std::ops::Range;

/// Python's `raw-unicode-escape`: Latin-1 with `\uXXXX` and `\UXXXXXXXX`. None when it is no Unicode.
pub(super) fn raw_unicode(line: &[u8]) -> Option<String> {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let digits = match (byte, after.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            (b'\\', Some(&other)) => {
                // no escape: both stand for themselves
                out.extend(['\\', char::from(other)]);
                rest = &after[1..];
                continue;
            }
            _ => {
                out.push(char::from(byte));
                continue;
            }
        };
        out.push(char::from_u32(hex(after.get(1..=digits)?)?)?);
        rest = &after[digits + 1..];
    }
    Some(out)
}

/// Python 2's `repr` of a string: quotes, and escapes in between. None when it is not one.
pub(super) fn quoted(line: &[u8]) -> Option<Vec<u8>> {
    let line = line.trim_ascii();
    let (&quote @ (b'\'' | b'"'), rest) = line.split_first()? else { return None };
    let (&last, mut rest) = rest.split_last()?;
    if last != quote {
        return None;
    }
    let mut out = Vec::with_capacity(rest.len());
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let (&kind, after) = rest.split_first()?;
        rest = after;
        match kind {
            b'\\' | b'\'' | b'"' => out.push(kind),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'a' => out.push(7),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'v' => out.push(11),
            b'x' => {
                out.push(hex(rest.get(..2)?)? as u8);
                rest = &rest[2..];
            }
            b'0'..=b'7' => {
                let more = rest.iter().take(2).take_while(|b| matches!(b, b'0'..=b'7')).count();
                let value = rest[..more].iter().fold(u32::from(kind - b'0'), |v, &b| v << 3 | u32::from(b - b'0'));
                out.push(value as u8);
                rest = &rest[more..];
            }
            other => out.extend([b'\\', other]),
        }
    }
    Some(out)
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |v, &b| Some(v << 4 | char::from(b).to_digit(16)?))
}

/// A field of what torch stores outside the pickle; protocol 0 writes all of them as one Python text,
/// `('storage', <class 'torch.FloatStorage'>, '0', 'cpu', 6)`.
#[derive(Debug, PartialEq)]
pub(super) enum Field {
    Text(Range<usize>),
    /// Module and class.
    Class(Range<usize>, Range<usize>),
    Int(i64),
    None,
}

/// The fields of such a text, as ranges in it; none when it is another text.
pub(super) fn fields(text: &str) -> Option<Vec<Field>> {
    let inside = text.strip_prefix('(')?.strip_suffix(')')?;
    let mut at = 1;
    let mut out = Vec::new();
    for item in inside.split(", ") {
        let begin = at;
        at += item.len() + 2;
        let range = |from: usize, len: usize| begin + from..begin + from + len;
        let plain = |t: &str| !t.contains(['\'', '\\', '"']);
        if let Some(text) = item.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')).filter(|t| plain(t)) {
            out.push(Field::Text(range(1, text.len())));
        } else if let Some(path) = item.strip_prefix("<class '").and_then(|t| t.strip_suffix("'>")).filter(|t| plain(t))
        {
            let (module, class) = path.rsplit_once('.')?;
            out.push(Field::Class(range(8, module.len()), range(8 + module.len() + 1, class.len())));
        } else if item == "None" {
            out.push(Field::None);
        } else {
            out.push(Field::Int(item.parse().ok()?));
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_as_python_writes_them() {
        assert_eq!(raw_unicode(b"\xe9\\u000a\\u005c x\\U0001f600").as_deref(), Some("é\n\\ x😀"));
        assert_eq!(raw_unicode(br"a\b\\u0041").as_deref(), Some(r"a\b\\u0041"));
        assert_eq!(raw_unicode(br"\u00"), None);
        assert_eq!(raw_unicode(br"\ud800"), None);
        assert_eq!(raw_unicode(b"\\").as_deref(), Some("\\"));
        assert_eq!(quoted(br#"'a\'b\n\x80\101\0\q"'"#).as_deref(), Some(&b"a'b\n\x80A\0\\q\""[..]));
        assert_eq!(quoted(b"\"it's\"").as_deref(), Some(&b"it's"[..]));
        for bad in [&b"'"[..], b"abc", b"'abc\"", b"'\\", b"'\\x8'", b""] {
            assert_eq!(quoted(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn descriptions_of_storages() {
        let text = "('storage', <class 'torch.storage.UntypedStorage'>, '17', 'cuda:0', 6, None)";
        let found = fields(text).unwrap();
        let [
            Field::Text(tag),
            Field::Class(module, class),
            Field::Text(key),
            Field::Text(_),
            Field::Int(6),
            Field::None,
        ] = found.as_slice()
        else {
            panic!("{found:?}")
        };
        assert_eq!(
            [tag, module, class, key].map(|r| &text[r.clone()]),
            ["storage", "torch.storage", "UntypedStorage", "17"]
        );
        for bad in ["", "('a'", "(a)", "('a', ['b'])", "('it's')", "(<class 'x'>)", "()"] {
            assert_eq!(fields(bad), None, "{bad}");
        }
    }
}
