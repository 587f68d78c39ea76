//! The stack machine: instructions to a [`Tree`].

use super::source::Source;
use super::tree::{Bytes, Id, Node, Span, Tree};
use super::{MAX_KEPT, MAX_OPS};
use crate::error::{Fault, shorten};
use crate::read::{Latin1, Reader};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Reads one pickle that begins at the start of `range` of the file; also says where it ends. Positions in messages
/// count from `origin`.
pub(crate) fn parse(reader: &Reader, range: Range<u64>, origin: u64) -> Result<(Tree, u64), Fault> {
    let mut machine = Machine {
        source: Source::new(reader, range.start, range.end, origin),
        kept: Vec::new(),
        nodes: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        states: HashMap::new(),
        copied: 0,
    };
    let root = machine.run()?;
    let end = machine.source.at();
    Ok((Tree { kept: Arc::new(machine.kept), nodes: machine.nodes, states: machine.states, root }, end))
}

pub(super) struct Machine<'r> {
    pub source: Source<'r>,
    /// Names and short texts.
    pub kept: Vec<u8>,
    pub nodes: Vec<Node>,
    pub stack: Vec<Id>,
    pub marks: Vec<usize>,
    pub memo: HashMap<u32, Id>,
    states: HashMap<Id, Id>,
    /// Pairs copied from lists into dictionaries: one list may be named many times.
    copied: usize,
}

impl Machine<'_> {
    fn run(&mut self) -> Result<Id, Fault> {
        for _ in 0..MAX_OPS {
            let start = self.source.shown();
            let [op] = self.source.take()?;
            if op == b'.' {
                return self.pop();
            }
            self.step(op, start)?;
        }
        Err(Fault::limit(format!("the pickle has more than {MAX_OPS} instructions")))
    }

    /// Bytes of what is kept.
    pub fn bytes(&self, span: &Span) -> &[u8] {
        &self.kept[span.start as usize..span.end as usize]
    }

    fn str(&self, span: &Span) -> &str {
        // Spans of texts are checked to be UTF-8 when they are made.
        std::str::from_utf8(self.bytes(span)).unwrap_or_default()
    }

    /// Room for `n` more bytes.
    pub fn room(&self, n: u64) -> Result<(), Fault> {
        if self.kept.len() as u64 + n > MAX_KEPT as u64 {
            return Err(Fault::limit(format!("the names and texts of the pickle have more than {MAX_KEPT} bytes")));
        }
        Ok(())
    }

    /// What was kept from `begin` on; [`MAX_KEPT`] is far below `u32::MAX`.
    pub fn span(&self, begin: usize) -> Span {
        begin as u32..self.kept.len() as u32
    }

    pub fn keep(&mut self, bytes: &[u8]) -> Result<Span, Fault> {
        self.room(bytes.len() as u64)?;
        let begin = self.kept.len();
        self.kept.extend_from_slice(bytes);
        Ok(self.span(begin))
    }

    /// A line, kept.
    pub fn line(&mut self) -> Result<Span, Fault> {
        let begin = self.kept.len();
        let most = MAX_KEPT - begin.min(MAX_KEPT);
        self.source.line(most, &mut self.kept, "the pickle has lines")?;
        Ok(self.span(begin))
    }

    /// A line that is a name.
    pub fn name(&mut self) -> Result<Span, Fault> {
        let span = self.line()?;
        match std::str::from_utf8(self.bytes(&span)) {
            Ok(_) => Ok(span),
            Err(_) => {
                let at = self.source.shown();
                Err(Fault::malformed(format!("the name before byte {at} of the pickle is not UTF-8")))
            }
        }
    }

    pub fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    /// A value that is not on the stack.
    pub fn make(&mut self, node: Node) -> Id {
        // MAX_OPS bounds the count far below u32::MAX
        self.nodes.push(node);
        self.nodes.len() as Id - 1
    }

    pub fn push(&mut self, node: Node) {
        let id = self.make(node);
        self.stack.push(id);
    }

    /// The stack's length less `n`, if that much lies above the last mark.
    pub fn depth_for(&self, n: usize) -> Result<usize, Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack.len().checked_sub(n).filter(|&d| d >= floor).ok_or_else(|| {
            Fault::malformed(format!("the pickle takes more values than it made, before byte {}", self.source.shown()))
        })
    }

    pub fn pop(&mut self) -> Result<Id, Fault> {
        let at = self.depth_for(1)?;
        let id = self.stack[at];
        self.stack.truncate(at);
        Ok(id)
    }

    pub fn top(&self) -> Result<Id, Fault> {
        Ok(self.stack[self.depth_for(1)?])
    }

    pub fn pop_mark(&mut self) -> Result<Vec<Id>, Fault> {
        let mark = self.marks.pop().ok_or_else(|| {
            Fault::malformed(format!(
                "the pickle closes a group that it did not open, before byte {}",
                self.source.shown()
            ))
        })?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    pub fn append(&mut self, items: &[Id]) -> Result<(), Fault> {
        let list = self.top()?;
        if let Node::List(v) = &mut self.nodes[list as usize] {
            v.extend_from_slice(items);
        }
        Ok(()) // what an unknown object does with its items does not matter
    }

    pub fn insert(&mut self, items: &[(Id, Id)]) -> Result<(), Fault> {
        let dict = self.top()?;
        if let Node::Dict(v) = &mut self.nodes[dict as usize] {
            v.extend_from_slice(items);
        }
        Ok(())
    }

    pub fn memoize(&mut self, key: u64) -> Result<(), Fault> {
        let top = self.top()?;
        self.memo.insert(key as u32, top);
        Ok(())
    }

    pub fn recall(&mut self, key: u64) -> Result<(), Fault> {
        let id = self.memo.get(&(key as u32)).copied();
        self.stack.push(
            id.ok_or_else(|| Fault::malformed(format!("the pickle refers to value {key}, which it never made")))?,
        );
        Ok(())
    }

    /// The state of an object, noted of those that a call made. (An OrderedDict's `_metadata` is of no use here.)
    pub fn build(&mut self) -> Result<(), Fault> {
        let state = self.pop()?;
        let object = self.top()?;
        if let Node::Call(..) = self.node(object) {
            self.states.insert(object, state);
        }
        Ok(())
    }

    pub fn global(&mut self, module: Span, name: Span) -> Result<Id, Fault> {
        let (m, n) = (self.str(&module), self.str(&name));
        if is_hostile(m, n) {
            return Err(Fault::limit(format!(
                "the pickle asks to run {}: no checkpoint does that, do not open this file in Python",
                shorten(&format!("{m}.{n}"))
            )));
        }
        Ok(self.make(Node::Global(module, name)))
    }

    pub fn call(&mut self, callee: Id, args: Id) -> Result<(), Fault> {
        let name = match self.node(callee) {
            Node::Global(m, n) => Some((self.str(m), self.str(n))),
            _ => None,
        };
        let node = match name {
            // OrderedDict() is filled afterwards; OrderedDict([(k, v), …]) is how Python 2 wrote it
            Some(("collections", "OrderedDict" | "defaultdict") | ("builtins" | "__builtin__", "dict")) => {
                let pairs = self.initial_pairs(args)?;
                self.copied += pairs.len();
                Node::Dict(pairs)
            }
            Some(("builtins" | "__builtin__", "set" | "frozenset")) => Node::Set,
            // how protocols 0 to 2 write bytes
            Some(("_codecs", "encode") | ("builtins" | "__builtin__", "bytes" | "bytearray")) => {
                self.encoded(args)?.map_or(Node::Call(callee, args), Node::Bytes)
            }
            _ => Node::Call(callee, args),
        };
        self.push(node);
        Ok(())
    }

    /// The bytes that `(text, 'latin1')`, `(bytes,)` or `()` stand for.
    fn encoded(&mut self, args: Id) -> Result<Option<Bytes>, Fault> {
        let Node::Tuple(args) = self.node(args) else { return Ok(None) };
        let text = match *args.as_slice() {
            [] => return Ok(Some(Bytes::Kept(0..0))),
            [bytes] => match self.node(bytes) {
                Node::Bytes(bytes) => return Ok(Some(bytes.clone())),
                _ => return Ok(None),
            },
            [text, encoding] => match self.node(encoding) {
                Node::Str(s) if matches!(self.str(s), "latin1" | "latin-1" | "iso-8859-1") => text,
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        match self.node(text) {
            &Node::LongText { at, len, latin1: Some(bytes) } => Ok(Some(Bytes::Latin1 { at, len, bytes })),
            Node::Str(span) => {
                let span = span.clone();
                self.room(u64::from(span.end - span.start))?;
                let begin = self.kept.len();
                let mut latin1 = Latin1::default();
                for i in span {
                    match latin1.push(self.kept[i as usize]) {
                        Ok(byte) => self.kept.extend(byte),
                        Err(_) => return Ok(None),
                    }
                }
                Ok(Some(Bytes::Kept(self.span(begin))))
            }
            _ => Ok(None),
        }
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

pub(super) fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, Fault> {
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
