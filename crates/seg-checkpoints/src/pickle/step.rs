//! What each instruction does. Protocols 0 and 1 write numbers and texts as lines.

use super::machine::{Machine, pairs};
use super::text::{Field, fields, quoted, raw_unicode};
use super::tree::{Bytes, Id, Node, Span};
use super::{MAX_MARKS, MAX_SHORT};
use crate::error::{Fault, shorten};

impl Machine<'_> {
    pub fn step(&mut self, op: u8, start: u64) -> Result<(), Fault> {
        match op {
            // frames and protocol
            0x80 => {
                let [version] = self.source.take()?;
                if version > 5 {
                    return Err(Fault::Unsupported(format!("pickle protocol {version} (the newest known is 5)")));
                }
            }
            0x95 => {
                self.source.skip(8)?;
            }
            // constants
            b'N' => self.push(Node::None),
            0x88 => self.push(Node::Bool(true)),
            0x89 => self.push(Node::Bool(false)),
            b'K' => {
                let [v] = self.source.take()?;
                self.push(Node::Int(v.into()));
            }
            b'M' => {
                let v = self.source.uint(2)?;
                self.push(Node::Int(v as i64));
            }
            b'J' => {
                let v = self.source.uint(4)? as u32;
                self.push(Node::Int(i64::from(v as i32)));
            }
            0x8a => {
                let n = self.source.uint(1)?;
                self.long(n)?;
            }
            0x8b => {
                let n = self.source.uint(4)?;
                self.long(n)?;
            }
            b'G' => {
                self.source.skip(8)?;
                self.push(Node::Float);
            }
            b'I' => {
                let number = self.source.number()?;
                self.push(match number.as_str() {
                    "00" => Node::Bool(false),
                    "01" => Node::Bool(true),
                    digits => integer(digits, start)?,
                });
            }
            b'L' => {
                let number = self.source.number()?;
                let node = integer(number.strip_suffix('L').unwrap_or(&number), start)?;
                self.push(node);
            }
            b'F' => {
                let number = self.source.number()?;
                if number.parse::<f64>().is_err() {
                    return Err(not_a_number(&number, start));
                }
                self.push(Node::Float);
            }
            // text and bytes
            b'V' => {
                let line = self.line()?;
                let text = raw_unicode(self.bytes(&line));
                self.kept.truncate(line.start as usize);
                let node = match text {
                    Some(text) => Node::Str(self.keep(text.as_bytes())?),
                    None => Node::Opaque,
                };
                self.push(node);
            }
            b'S' => {
                let line = self.line()?;
                let bytes = quoted(self.bytes(&line)).ok_or_else(|| {
                    Fault::malformed(format!("the string at byte {start} of the pickle is not in quotes"))
                })?;
                self.kept.truncate(line.start as usize);
                let node = string(self.keep(&bytes)?, &bytes);
                self.push(node);
            }
            0x8c => {
                let n = self.source.uint(1)?;
                self.text(n)?;
            }
            b'X' => {
                let n = self.source.uint(4)?;
                self.text(n)?;
            }
            0x8d => {
                let n = self.source.uint(8)?;
                self.text(n)?;
            }
            b'U' | b'C' => {
                let n = self.source.uint(1)?;
                self.raw(n, op == b'U')?;
            }
            b'T' | b'B' => {
                let n = self.source.uint(4)?;
                self.raw(n, op == b'T')?;
            }
            0x8e | 0x96 => {
                let n = self.source.uint(8)?;
                self.raw(n, false)?;
            }
            // containers
            b'(' => {
                if self.marks.len() >= MAX_MARKS {
                    return Err(Fault::limit(format!("the pickle nests deeper than {MAX_MARKS} levels")));
                }
                self.marks.push(self.stack.len());
            }
            b')' => self.push(Node::Tuple(Vec::new())),
            b']' => self.push(Node::List(Vec::new())),
            b'}' => self.push(Node::Dict(Vec::new())),
            0x8f => self.push(Node::Set),
            b't' => {
                let items = self.pop_mark()?;
                self.push(Node::Tuple(items));
            }
            b'l' => {
                let items = self.pop_mark()?;
                self.push(Node::List(items));
            }
            b'd' => {
                let items = self.pop_mark()?;
                let pairs = pairs(&items)?;
                self.push(Node::Dict(pairs));
            }
            0x85..=0x87 => {
                let n = usize::from(op - 0x84);
                let from = self.depth_for(n)?;
                let items = self.stack.split_off(from);
                self.push(Node::Tuple(items));
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' => {
                let items = self.pop_mark()?;
                self.append(&items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.insert(&[(key, value)])?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                let pairs = pairs(&items)?;
                self.insert(&pairs)?;
            }
            0x90 => {
                self.pop_mark()?;
                self.top()?;
            }
            0x91 => {
                self.pop_mark()?;
                self.push(Node::Set);
            }
            // the stack and the memo
            b'0' => {
                // POP takes a mark off when nothing lies above it
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            b'1' => {
                self.pop_mark()?;
            }
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'q' => {
                let key = self.source.uint(1)?;
                self.memoize(key)?;
            }
            b'r' => {
                let key = self.source.uint(4)?;
                self.memoize(key)?;
            }
            b'p' => {
                let key = self.key(start)?;
                self.memoize(key)?;
            }
            b'g' => {
                let key = self.key(start)?;
                self.recall(key)?;
            }
            0x94 => self.memoize(self.memo.len() as u64)?,
            b'h' => {
                let key = self.source.uint(1)?;
                self.recall(key)?;
            }
            b'j' => {
                let key = self.source.uint(4)?;
                self.recall(key)?;
            }
            // names, calls, objects: noted, not made
            b'c' => {
                let id = self.named()?;
                self.stack.push(id);
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (self.node(module), self.node(name)) {
                    (Node::Str(m), Node::Str(n)) => {
                        let (m, n) = (m.clone(), n.clone());
                        let id = self.global(m, n)?;
                        self.stack.push(id);
                    }
                    _ => return Err(Fault::malformed("a name in the pickle is not made of two strings")),
                }
            }
            b'R' | 0x81 => {
                let args = self.pop()?;
                let callee = self.pop()?;
                self.call(callee, args)?;
            }
            0x92 => {
                self.pop()?; // keyword arguments
                let args = self.pop()?;
                let callee = self.pop()?;
                self.call(callee, args)?;
            }
            b'i' => {
                let callee = self.named()?;
                let items = self.pop_mark()?;
                let args = self.make(Node::Tuple(items));
                self.call(callee, args)?;
            }
            b'o' => {
                let mut items = self.pop_mark()?;
                if items.is_empty() {
                    return Err(Fault::malformed(format!("an object without a class at byte {start} of the pickle")));
                }
                let callee = items.remove(0);
                let args = self.make(Node::Tuple(items));
                self.call(callee, args)?;
            }
            b'b' => self.build()?,
            b'P' => self.persistent_text()?,
            b'Q' => {
                let id = self.pop()?;
                self.push(Node::Persistent(id));
            }
            other => {
                return Err(Fault::Unsupported(format!("pickle instruction 0x{other:02x} at byte {start}")));
            }
        }
        Ok(())
    }

    /// A text of `n` bytes.
    fn text(&mut self, n: u64) -> Result<(), Fault> {
        let at = self.source.at();
        let node = if n > MAX_SHORT {
            Node::LongText { at, len: n, latin1: self.source.skip_text(n)? }
        } else {
            let span = self.short(n)?;
            if std::str::from_utf8(self.bytes(&span)).is_err() {
                let end = self.source.shown();
                return Err(Fault::malformed(format!("the text before byte {end} of the pickle is not UTF-8")));
            }
            Node::Str(span)
        };
        self.push(node);
        Ok(())
    }

    /// Bytes; Python 2's may be text (`maybe_text`).
    fn raw(&mut self, n: u64, maybe_text: bool) -> Result<(), Fault> {
        let node = if maybe_text && n <= MAX_SHORT {
            let span = self.short(n)?;
            string(span.clone(), self.bytes(&span))
        } else {
            let at = self.source.at();
            self.source.skip(n)?;
            Node::Bytes(Bytes::File { at, len: n })
        };
        self.push(node);
        Ok(())
    }

    /// The next `n` bytes, kept.
    fn short(&mut self, n: u64) -> Result<Span, Fault> {
        self.room(n)?;
        let begin = self.kept.len();
        self.source.copy(n, &mut self.kept)?;
        Ok(self.span(begin))
    }

    /// An integer of `n` bytes, two's complement.
    fn long(&mut self, n: u64) -> Result<(), Fault> {
        let node = match n {
            0 => Node::Int(0),
            1..=8 => {
                let n = n as u8;
                let value = self.source.uint(n)?;
                let unused = 64 - 8 * u32::from(n);
                Node::Int(((value << unused) as i64) >> unused)
            }
            _ => {
                self.source.skip(n)?;
                Node::Opaque
            }
        };
        self.push(node);
        Ok(())
    }

    /// Module and name, a line each.
    fn named(&mut self) -> Result<Id, Fault> {
        let module = self.name()?;
        let name = self.name()?;
        self.global(module, name)
    }

    /// The number of a remembered value, as a line.
    fn key(&mut self, start: u64) -> Result<u64, Fault> {
        let number = self.source.number()?;
        let key = number.parse::<u32>().map_err(|_| not_a_number(&number, start))?;
        Ok(key.into())
    }

    /// What is stored outside the pickle, as one text.
    fn persistent_text(&mut self) -> Result<(), Fault> {
        let line = self.name()?;
        let found = std::str::from_utf8(self.bytes(&line)).ok().and_then(fields);
        let span = |r: std::ops::Range<usize>| line.start + r.start as u32..line.start + r.end as u32;
        let id = match found {
            None => self.make(Node::Str(line)),
            Some(found) => {
                let mut items = Vec::with_capacity(found.len());
                for field in found {
                    items.push(match field {
                        Field::Text(text) => self.make(Node::Str(span(text))),
                        Field::Class(module, class) => self.global(span(module), span(class))?,
                        Field::Int(value) => self.make(Node::Int(value)),
                        Field::None => self.make(Node::None),
                    });
                }
                self.make(Node::Tuple(items))
            }
        };
        self.push(Node::Persistent(id));
        Ok(())
    }
}

/// Text if it is UTF-8, else bytes.
fn string(span: Span, bytes: &[u8]) -> Node {
    if std::str::from_utf8(bytes).is_ok() { Node::Str(span) } else { Node::Bytes(Bytes::Kept(span)) }
}

/// An integer in decimal digits.
fn integer(digits: &str, start: u64) -> Result<Node, Fault> {
    match digits.parse::<i64>() {
        Ok(value) => Ok(Node::Int(value)),
        Err(e) => match e.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => Ok(Node::Opaque),
            _ => Err(not_a_number(digits, start)),
        },
    }
}

fn not_a_number(text: &str, start: u64) -> Fault {
    Fault::malformed(format!("'{}' at byte {start} of the pickle is not a number", shorten(text)))
}
