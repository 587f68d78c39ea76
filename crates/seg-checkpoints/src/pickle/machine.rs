//! The stack machine: instructions to a [`Tree`].

use super::tree::{Id, Node, Span, Tree};
use super::{MAX_MARKS, MAX_OPS};
use crate::error::{Fault, shorten};
use std::collections::HashMap;

/// Reads one pickle from the start of `bytes`; also says how many bytes it took.
pub(crate) fn parse(bytes: &[u8]) -> Result<(Tree<'_>, usize), Fault> {
    if u32::try_from(bytes.len()).is_err() {
        return Err(Fault::limit(format!("a pickle of {} bytes", bytes.len())));
    }
    let mut machine = Machine {
        bytes,
        at: 0,
        nodes: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        copied: 0,
    };
    let root = machine.run()?;
    let used = machine.at;
    Ok((Tree { bytes, nodes: machine.nodes, root }, used))
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// Pairs copied from lists into dictionaries: one list may be named many times.
    copied: usize,
}

impl Machine<'_> {
    fn run(&mut self) -> Result<Id, Fault> {
        for _ in 0..MAX_OPS {
            let start = self.at;
            let op = self.take(1)?[0];
            if op == b'.' {
                return self.pop();
            }
            self.step(op, start)?;
        }
        Err(Fault::limit(format!("the pickle has more than {MAX_OPS} instructions")))
    }

    fn step(&mut self, op: u8, start: usize) -> Result<(), Fault> {
        match op {
            // frames and protocol
            0x80 => {
                let version = self.take(1)?[0];
                if version > 5 {
                    return Err(Fault::Unsupported(format!("pickle protocol {version} (the newest known is 5)")));
                }
            }
            0x95 => {
                self.take(8)?;
            }
            // constants
            b'N' => self.push(Node::None),
            0x88 => self.push(Node::Bool(true)),
            0x89 => self.push(Node::Bool(false)),
            b'K' => {
                let v = self.take(1)?[0];
                self.push(Node::Int(v.into()));
            }
            b'M' => {
                let v = self.uint(2)?;
                self.push(Node::Int(v as i64));
            }
            b'J' => {
                let v = self.uint(4)? as u32;
                self.push(Node::Int(i64::from(v as i32)));
            }
            0x8a => {
                let n = self.uint(1)?;
                self.long(n)?;
            }
            0x8b => {
                let n = self.uint(4)?;
                self.long(n)?;
            }
            b'G' => {
                self.take(8)?;
                self.push(Node::Float);
            }
            // text and bytes
            0x8c => {
                let n = self.uint(1)?;
                self.text(n)?;
            }
            b'X' => {
                let n = self.uint(4)?;
                self.text(n)?;
            }
            0x8d => {
                let n = self.uint(8)?;
                self.text(n)?;
            }
            b'U' | b'C' => {
                let n = self.uint(1)?;
                self.raw(n, op == b'U')?;
            }
            b'T' | b'B' => {
                let n = self.uint(4)?;
                self.raw(n, op == b'T')?;
            }
            0x8e | 0x96 => {
                let n = self.uint(8)?;
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
                let key = self.uint(1)?;
                self.memoize(key)?;
            }
            b'r' => {
                let key = self.uint(4)?;
                self.memoize(key)?;
            }
            0x94 => self.memoize(self.memo.len() as u64)?,
            b'h' => {
                let key = self.uint(1)?;
                self.recall(key)?;
            }
            b'j' => {
                let key = self.uint(4)?;
                self.recall(key)?;
            }
            // names, calls, objects: noted, not made
            b'c' => {
                let module = self.line()?;
                let name = self.line()?;
                self.global(module, name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (self.node(module), self.node(name)) {
                    (Node::Str(m), Node::Str(n)) => {
                        let (m, n) = (m.clone(), n.clone());
                        self.global(m, n)?;
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
            b'b' => {
                // the state of an object (an OrderedDict's `_metadata`, for instance): of no use here
                self.pop()?;
                self.top()?;
            }
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

    fn take(&mut self, n: usize) -> Result<&[u8], Fault> {
        let end = self.at.checked_add(n).filter(|&e| e <= self.bytes.len()).ok_or_else(|| Fault::Truncated {
            expected: (self.at as u64).saturating_add(n as u64),
            actual: self.bytes.len() as u64,
        })?;
        let part = &self.bytes[self.at..end];
        self.at = end;
        Ok(part)
    }

    fn uint(&mut self, n: usize) -> Result<u64, Fault> {
        Ok(self.take(n)?.iter().rev().fold(0, |v, &b| v << 8 | u64::from(b)))
    }

    fn span(&mut self, n: u64) -> Result<Span, Fault> {
        let start = self.at as u32;
        self.take(usize::try_from(n).unwrap_or(usize::MAX))?;
        Ok(start..self.at as u32)
    }

    fn utf8(&self, span: Span) -> Result<Span, Fault> {
        match std::str::from_utf8(&self.bytes[span.start as usize..span.end as usize]) {
            Ok(_) => Ok(span),
            Err(_) => Err(Fault::malformed(format!("the text at byte {} of the pickle is not UTF-8", span.start))),
        }
    }

    fn text(&mut self, n: u64) -> Result<(), Fault> {
        let span = self.span(n)?;
        let span = self.utf8(span)?;
        self.push(Node::Str(span));
        Ok(())
    }

    /// Python 2's strings may be text (`keep`) or bytes.
    fn raw(&mut self, n: u64, keep: bool) -> Result<(), Fault> {
        let span = self.span(n)?;
        let node = if keep { self.utf8(span).map_or(Node::Opaque, Node::Str) } else { Node::Opaque };
        self.push(node);
        Ok(())
    }

    fn line(&mut self) -> Result<Span, Fault> {
        let rest = &self.bytes[self.at..];
        let n = rest.iter().position(|&b| b == b'\n').ok_or_else(|| Fault::Truncated {
            expected: self.bytes.len() as u64 + 1,
            actual: self.bytes.len() as u64,
        })?;
        let span = self.span(n as u64)?;
        self.at += 1;
        self.utf8(span)
    }

    /// An integer of `n` bytes, two's complement.
    fn long(&mut self, n: u64) -> Result<(), Fault> {
        let span = self.span(n)?;
        let bytes = &self.bytes[span.start as usize..span.end as usize];
        let node = match bytes.last() {
            None => Node::Int(0),
            Some(_) if bytes.len() > 8 => Node::Opaque,
            Some(&last) => {
                let sign = if last & 0x80 == 0 { 0 } else { -1 };
                Node::Int(bytes.iter().rev().fold(sign, |v, &b| v << 8 | i64::from(b)))
            }
        };
        self.push(node);
        Ok(())
    }

    fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    fn push(&mut self, node: Node) {
        // MAX_OPS bounds the count far below u32::MAX
        self.stack.push(self.nodes.len() as Id);
        self.nodes.push(node);
    }

    /// The stack's length less `n`, if that much lies above the last mark.
    fn depth_for(&self, n: usize) -> Result<usize, Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack.len().checked_sub(n).filter(|&d| d >= floor).ok_or_else(|| {
            Fault::malformed(format!("the pickle takes more values than it made, before byte {}", self.at))
        })
    }

    fn pop(&mut self) -> Result<Id, Fault> {
        let at = self.depth_for(1)?;
        let id = self.stack[at];
        self.stack.truncate(at);
        Ok(id)
    }

    fn top(&self) -> Result<Id, Fault> {
        Ok(self.stack[self.depth_for(1)?])
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, Fault> {
        let mark = self.marks.pop().ok_or_else(|| {
            Fault::malformed(format!("the pickle closes a group that it did not open, before byte {}", self.at))
        })?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn append(&mut self, items: &[Id]) -> Result<(), Fault> {
        let list = self.top()?;
        if let Node::List(v) = &mut self.nodes[list as usize] {
            v.extend_from_slice(items);
        }
        Ok(()) // what an unknown object does with its items does not matter
    }

    fn insert(&mut self, items: &[(Id, Id)]) -> Result<(), Fault> {
        let dict = self.top()?;
        if let Node::Dict(v) = &mut self.nodes[dict as usize] {
            v.extend_from_slice(items);
        }
        Ok(())
    }

    fn memoize(&mut self, key: u64) -> Result<(), Fault> {
        let top = self.top()?;
        self.memo.insert(key as u32, top);
        Ok(())
    }

    fn recall(&mut self, key: u64) -> Result<(), Fault> {
        let id = self.memo.get(&(key as u32)).copied();
        self.stack.push(
            id.ok_or_else(|| Fault::malformed(format!("the pickle refers to value {key}, which it never made")))?,
        );
        Ok(())
    }

    fn global(&mut self, module: Span, name: Span) -> Result<(), Fault> {
        let text = |s: &Span| std::str::from_utf8(&self.bytes[s.start as usize..s.end as usize]).unwrap_or_default();
        let (m, n) = (text(&module), text(&name));
        if is_hostile(m, n) {
            return Err(Fault::limit(format!(
                "the pickle asks to run {}: no checkpoint does that, do not open this file in Python",
                shorten(&format!("{m}.{n}"))
            )));
        }
        self.push(Node::Global(module, name));
        Ok(())
    }

    fn call(&mut self, callee: Id, args: Id) -> Result<(), Fault> {
        let name = match self.node(callee) {
            Node::Global(m, n) => {
                let text = |s: &Span| &self.bytes[s.start as usize..s.end as usize];
                Some((text(m), text(n)))
            }
            _ => None,
        };
        let node = match name {
            // OrderedDict() is filled afterwards; OrderedDict([(k, v), …]) is how Python 2 wrote it
            Some((b"collections", b"OrderedDict" | b"defaultdict") | (b"builtins" | b"__builtin__", b"dict")) => {
                let pairs = self.initial_pairs(args)?;
                self.copied += pairs.len();
                Node::Dict(pairs)
            }
            Some((b"builtins" | b"__builtin__", b"set" | b"frozenset")) => Node::Set,
            _ => Node::Call(callee, args),
        };
        self.push(node);
        Ok(())
    }

    fn initial_pairs(&self, args: Id) -> Result<Vec<(Id, Id)>, Fault> {
        let Node::Tuple(args) = self.node(args) else { return Ok(Vec::new()) };
        let Some(Node::List(items)) = args.first().map(|&a| self.node(a)) else { return Ok(Vec::new()) };
        if self.copied.saturating_add(items.len()) > MAX_OPS {
            return Err(Fault::limit(format!("the pickle makes dictionaries of more than {MAX_OPS} entries")));
        }
        let pair = |&item: &Id| match self.node(item) {
            Node::Tuple(p) | Node::List(p) if p.len() == 2 => Some((p[0], p[1])),
            _ => None,
        };
        Ok(items.iter().filter_map(pair).collect())
    }
}

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, Fault> {
    if !items.len().is_multiple_of(2) {
        return Err(Fault::malformed("a dictionary in the pickle has a key without a value"));
    }
    Ok(items.chunks_exact(2).map(|p| (p[0], p[1])).collect())
}

/// Names that no checkpoint needs and that attacks use. The reader never calls anything; refusing tells the user that
/// the file would be dangerous elsewhere.
fn is_hostile(module: &str, name: &str) -> bool {
    let root = module.split('.').next().unwrap_or_default();
    match root {
        "os" | "posix" | "nt" | "subprocess" | "socket" | "shutil" | "runpy" | "pty" | "ctypes" | "webbrowser"
        | "importlib" | "pip" | "timeit" | "bdb" | "pdb" => true,
        "builtins" | "__builtin__" => {
            matches!(name, "eval" | "exec" | "execfile" | "compile" | "__import__" | "open" | "input" | "breakpoint")
        }
        "torch" => matches!((module, name), ("torch.hub", _) | ("torch.serialization", "load") | ("torch", "load")),
        _ => false,
    }
}
