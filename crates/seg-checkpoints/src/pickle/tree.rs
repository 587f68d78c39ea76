//! The values of a pickle, in one arena: cycles and shared values cost nothing, and nothing recurses.

use crate::error::shorten;
use std::ops::Range;

/// Index of a value.
pub(crate) type Id = u32;

/// A piece of the pickle's own bytes.
pub(crate) type Span = Range<u32>;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    None,
    Bool(bool),
    Int(i64),
    /// The value itself is of no use here.
    Float,
    /// Bytes, or an integer beyond 64 bits.
    Opaque,
    /// Valid UTF-8.
    Str(Span),
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
pub(crate) struct Tree<'a> {
    pub bytes: &'a [u8],
    pub nodes: Vec<Node>,
    pub root: Id,
}

impl<'a> Tree<'a> {
    pub fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    pub fn text(&self, span: &Span) -> &'a str {
        // Spans are checked to be UTF-8 when they are made.
        std::str::from_utf8(&self.bytes[span.start as usize..span.end as usize]).unwrap_or_default()
    }

    pub fn str(&self, id: Id) -> Option<&'a str> {
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

    pub fn global(&self, id: Id) -> Option<(&'a str, &'a str)> {
        match self.node(id) {
            Node::Global(module, name) => Some((self.text(module), self.text(name))),
            _ => None,
        }
    }

    /// A value in a word or two, for messages.
    pub fn describe(&self, id: Id) -> String {
        match self.node(id) {
            Node::None => "None".into(),
            Node::Bool(_) => "a boolean".into(),
            Node::Int(_) | Node::Opaque => "a number or bytes".into(),
            Node::Float => "a number".into(),
            Node::Str(_) => "a string".into(),
            Node::Tuple(_) => "a tuple".into(),
            Node::List(_) => "a list".into(),
            Node::Dict(_) => "a dictionary".into(),
            Node::Set => "a set".into(),
            Node::Global(m, n) => format!("the name {}", shorten(&format!("{}.{}", self.text(m), self.text(n)))),
            Node::Call(f, _) => match self.global(*f) {
                Some((m, n)) => format!("a Python object ({})", shorten(&format!("{m}.{n}"))),
                None => "a Python object".into(),
            },
            Node::Persistent(_) => "a bare storage".into(),
        }
    }
}
