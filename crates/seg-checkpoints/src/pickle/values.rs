//! The plain values of a pickle (dictionaries, lists, texts, whole numbers), read as any type that serde knows.

use std::cell::Cell;
use std::fs::File;
use std::path::Path;

use serde::de::value::Error as Mismatch;
use serde::de::{DeserializeOwned, DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserializer, forward_to_deserialize_any};

use super::tree::{Bytes, Id, Node, Span, Tree};
use super::{MAX_DEPTH, parse};
use crate::error::{Error, Fault, Result};
use crate::read::Reader;

/// Most values that are visited: one list may be named many times.
const MAX_VALUES: usize = 1 << 25;

/// Reads a pickle that holds plain values, such as annotations that Python programs keep (RefCOCO's `refs(unc).p`). Nothing is run.
///
/// Fields that `T` does not ask for may be anything. Floats are not kept, so `T` cannot ask for one. Texts of Python 2 that are no UTF-8 are read as Latin-1.
///
/// # Errors
/// A file that cannot be read, is no pickle, or holds something else than `T`.
pub fn from_pickle<T: DeserializeOwned>(path: impl AsRef<Path>) -> Result<T> {
    let path = path.as_ref();
    let file = File::open(path).map_err(Error::io(path, "open it"))?;
    let reader = Reader::new(file).map_err(Error::io(path, "open it"))?;
    let (tree, _) = parse(&reader, 0..reader.len(), 0).map_err(|fault| fault.at(path))?;
    let left = Cell::new(MAX_VALUES);
    let values = Value { tree: &tree, id: tree.root, depth: 0, left: &left };
    T::deserialize(values).map_err(|e| Fault::Unsupported(format!("the pickle's values: {e}")).at(path))
}

#[derive(Clone, Copy)]
struct Value<'t> {
    tree: &'t Tree,
    id: Id,
    depth: usize,
    left: &'t Cell<usize>,
}

impl<'t> Value<'t> {
    fn below(&self, id: Id) -> Self {
        Self { id, depth: self.depth + 1, ..*self }
    }

    fn kept<'de, V: Visitor<'de>>(&self, span: &Span, visitor: V) -> Result<V::Value, Mismatch> {
        let bytes = &self.tree.kept[span.start as usize..span.end as usize];
        match std::str::from_utf8(bytes) {
            Ok(text) => visitor.visit_str(text),
            Err(_) => visitor.visit_string(bytes.iter().map(|&b| char::from(b)).collect()),
        }
    }
}

impl<'de> Deserializer<'de> for Value<'_> {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        if self.depth > MAX_DEPTH {
            return Err(Mismatch::custom(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let left = self.left.get().checked_sub(1);
        self.left.set(left.ok_or_else(|| Mismatch::custom(format!("more than {MAX_VALUES} values")))?);
        match self.tree.node(self.id) {
            Node::None => visitor.visit_unit(),
            Node::Bool(v) => visitor.visit_bool(*v),
            Node::Int(v) => visitor.visit_i64(*v),
            Node::Str(span) | Node::Bytes(Bytes::Kept(span)) => self.kept(span, visitor),
            Node::Tuple(items) | Node::List(items) => visitor.visit_seq(Items { of: self, rest: items }),
            Node::Dict(pairs) => visitor.visit_map(Pairs { of: self, rest: pairs, value: None }),
            _ => {
                let found = self.tree.describe(self.id);
                Err(Mismatch::custom(format!("{found}, expected texts, whole numbers, lists and dictionaries of them")))
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.tree.node(self.id) {
            Node::None => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier
    }
}

struct Items<'t> {
    of: Value<'t>,
    rest: &'t [Id],
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Mismatch;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Mismatch> {
        let Some((first, rest)) = self.rest.split_first() else { return Ok(None) };
        self.rest = rest;
        seed.deserialize(self.of.below(*first)).map(Some)
    }
}

struct Pairs<'t> {
    of: Value<'t>,
    rest: &'t [(Id, Id)],
    value: Option<Id>,
}

impl<'de> MapAccess<'de> for Pairs<'_> {
    type Error = Mismatch;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Mismatch> {
        let Some(((key, value), rest)) = self.rest.split_first() else { return Ok(None) };
        (self.rest, self.value) = (rest, Some(*value));
        seed.deserialize(self.of.below(*key)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Mismatch> {
        let value = self.value.take().ok_or_else(|| Mismatch::custom("a value without a key"))?;
        seed.deserialize(self.of.below(value))
    }
}
