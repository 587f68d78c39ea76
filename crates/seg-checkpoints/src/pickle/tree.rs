//! The values of a pickle, in one arena: cycles and shared values cost nothing, and nothing recurses.

use crate::error::shorten;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Index of a value.
pub(crate) type Id = u32;

/// A piece of what was kept of the pickle.
pub(crate) type Span = Range<u32>;

/// Where bytes of the pickle are.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Bytes {
    /// Short ones, in [`Tree::kept`].
    Kept(Span),
    /// In the file, from its start.
    File { at: u64, len: u64 },
    /// In the file, as a text of `len` bytes in UTF-8, each character of which is one of `bytes` bytes.
    Latin1 { at: u64, len: u64, bytes: u64 },
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    None,
    Bool(bool),
    Int(i64),
    /// The value itself is of no use here.
    Float,
    /// An integer beyond 64 bits, or a text that is no Unicode.
    Opaque,
    /// Valid UTF-8.
    Str(Span),
    /// A text too long for a name, left in the file: `len` bytes at `at`, and how many bytes it is in Latin-1.
    LongText {
        at: u64,
        len: u64,
        latin1: Option<u64>,
    },
    Bytes(Bytes),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Set,
    /// A name: module and attribute.
    Global(Span, Span),
    /// A call that was asked for and not made.
    Call(Id, Id),
    /// What torch stores outside the pickle.
    Persistent(Id),
}

/// A parsed pickle. Every id in it is valid.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Names and short texts; the rest stays in the file.
    pub kept: Arc<Vec<u8>>,
    pub nodes: Vec<Node>,
    /// What the pickle sets as the state of the object that a call gives.
    pub states: HashMap<Id, Id>,
    pub root: Id,
}

impl Tree {
    pub fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    pub fn text(&self, span: &Span) -> &str {
        // Spans are checked to be UTF-8 when they are made.
        std::str::from_utf8(&self.kept[span.start as usize..span.end as usize]).unwrap_or_default()
    }

    pub fn str(&self, id: Id) -> Option<&str> {
        match self.node(id) {
            Node::Str(span) => Some(self.text(span)),
            _ => None,
        }
    }

    pub fn int(&self, id: Id) -> Option<i64> {
        match self.node(id) {
            Node::Int(v) => Some(*v),
            _ => None,
        }
    }

    /// The elements of a tuple or a list, also of a `torch.Size`.
    pub fn seq(&self, id: Id) -> Option<&[Id]> {
        match self.node(id) {
            Node::Tuple(v) | Node::List(v) => Some(v),
            Node::Call(f, args) if self.global(*f) == Some(("torch", "Size")) => match self.node(*args) {
                Node::Tuple(a) => match a.first().map(|&a| self.node(a)) {
                    Some(Node::Tuple(v) | Node::List(v)) => Some(v),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        }
    }

    /// A whole number from 0 up.
    pub fn size(&self, id: Id) -> Option<usize> {
        self.int(id).and_then(|v| usize::try_from(v).ok())
    }

    /// Whole numbers from 0 up.
    pub fn sizes(&self, id: Id) -> Option<Vec<usize>> {
        self.seq(id)?.iter().map(|&d| self.size(d)).collect()
    }

    pub fn global(&self, id: Id) -> Option<(&str, &str)> {
        match self.node(id) {
            Node::Global(module, name) => Some((self.text(module), self.text(name))),
            _ => None,
        }
    }

    /// The class of which a call makes an object: protocols 0 and 1 have one function that makes all.
    fn made_of<'s>(&'s self, called: (&'s str, &'s str), args: Id) -> Option<(&'s str, &'s str)> {
        match called {
            ("copy_reg" | "copyreg", "_reconstructor") => self.global(*self.seq(args)?.first()?),
            other => Some(other),
        }
    }

    /// A value in a word or two, for messages.
    pub fn describe(&self, id: Id) -> String {
        match self.node(id) {
            Node::None => "None".into(),
            Node::Bool(_) => "a boolean".into(),
            Node::Int(_) | Node::Opaque | Node::Bytes(_) => "a number or bytes".into(),
            Node::Float => "a number".into(),
            Node::Str(_) | Node::LongText { .. } => "a string".into(),
            Node::Tuple(_) => "a tuple".into(),
            Node::List(_) => "a list".into(),
            Node::Dict(_) => "a dictionary".into(),
            Node::Set => "a set".into(),
            Node::Global(m, n) => format!("the name {}", shorten(&format!("{}.{}", self.text(m), self.text(n)))),
            Node::Call(f, args) => match self.global(*f).and_then(|called| self.made_of(called, *args)) {
                Some(("torch._utils", name)) if name.starts_with("_rebuild_tensor") => "a tensor".into(),
                Some((m, n)) => format!("a Python object ({})", shorten(&format!("{m}.{n}"))),
                None => "a Python object".into(),
            },
            Node::Persistent(_) => "a bare storage".into(),
        }
    }
}
