//! numpy's arrays, whose numbers stand in the pickle itself.

use super::MAX_RANK;
use super::torch::{Data, RawTensor};
use super::tree::{Bytes, Id, Node, Tree};
use crate::dtype::{FileDtype, checked_elements};
use crate::error::{Fault, shorten};

/// Whether this is how numpy notes an array.
pub(super) fn is_array(called: (&str, &str)) -> bool {
    maker(called).is_some()
}

/// The two ways to note one: empty, then its state; or a view of bytes (protocol 5).
enum Maker {
    Reconstruct,
    FromBuffer,
}

fn maker((module, name): (&str, &str)) -> Option<Maker> {
    // numpy 2 has an underscore in the middle
    let module = module.strip_prefix("numpy.core.").or_else(|| module.strip_prefix("numpy._core."))?;
    match (module, name) {
        ("multiarray", "_reconstruct") => Some(Maker::Reconstruct),
        ("numeric", "_frombuffer") => Some(Maker::FromBuffer),
        _ => None,
    }
}

/// The array that a value describes; none when it describes something else.
pub(super) fn array<'a>(tree: &'a Tree, id: Id) -> Result<Option<RawTensor<'a>>, Fault> {
    let Node::Call(callee, args) = tree.node(id) else { return Ok(None) };
    let Some(maker) = tree.global(*callee).and_then(maker) else { return Ok(None) };
    let bad = |what: &str| Fault::malformed(format!("a numpy array without {what}"));
    let args = tree.seq(*args).unwrap_or_default();
    let (dtype, shape, data, order, axes) = match maker {
        Maker::Reconstruct => {
            match args.first().and_then(|&class| tree.global(class)) {
                Some(("numpy", "ndarray")) => {}
                Some((module, class)) => {
                    return Err(Fault::Unsupported(format!(
                        "a numpy array of class {}",
                        shorten(&format!("{module}.{class}"))
                    )));
                }
                None => return Err(bad("a class")),
            }
            let state = tree.states.get(&id).and_then(|&state| tree.seq(state)).ok_or_else(|| bad("a state"))?;
            // (version, shape, element type, whether Fortran's order, bytes)
            let [_, shape, dtype, fortran, data] = *state else { return Err(bad("its five fields")) };
            let order = match tree.node(fortran) {
                Node::Bool(true) | Node::Int(1) => "F",
                Node::Bool(false) | Node::Int(0) => "C",
                _ => return Err(bad("an order")),
            };
            (dtype, shape, data, order, None)
        }
        Maker::FromBuffer => {
            let [data, dtype, shape, order, ref axes @ ..] = *args else { return Err(bad("its four fields")) };
            (dtype, shape, data, tree.str(order).ok_or_else(|| bad("an order"))?, axes.first())
        }
    };
    let (stored, big_endian) = element_type(tree, dtype)?;
    if tree.seq(shape).is_some_and(|s| s.len() > MAX_RANK) {
        return Err(Fault::limit(format!("a numpy array has more than {MAX_RANK} axes")));
    }
    let shape = tree.sizes(shape).ok_or_else(|| bad("a shape of whole numbers from 0 up"))?;
    let (bytes, len) = match tree.node(data) {
        Node::Bytes(bytes) => {
            let len = match bytes {
                Bytes::Kept(span) => (span.end - span.start).into(),
                Bytes::File { len, .. } => *len,
                Bytes::Latin1 { bytes, .. } => *bytes,
            };
            (bytes.clone(), len)
        }
        // Python 2's bytes that happen to be text
        Node::Str(span) if tree.text(span).is_ascii() => (Bytes::Kept(span.clone()), (span.end - span.start).into()),
        _ => return Err(Fault::Unsupported(format!("a numpy array of {stored} without its bytes"))),
    };
    let wanted = checked_elements(&shape).and_then(|n| n.checked_mul(stored.size()));
    if wanted.is_none_or(|wanted| wanted as u64 != len) {
        return Err(Fault::malformed(format!(
            "a numpy array of shape {shape:?} of {stored} does not fill {len} bytes"
        )));
    }
    let (shape, strides) = match (order, axes) {
        ("C", _) => {
            let strides = row_major(&shape);
            (shape, strides)
        }
        ("F", _) => {
            let reversed: Vec<usize> = shape.iter().rev().copied().collect();
            let strides = row_major(&reversed).into_iter().rev().collect();
            (shape, strides)
        }
        // stored in row-major order, then its axes put in another
        ("K", Some(&axes)) => {
            let strides = row_major(&shape);
            let axes = tree.sizes(axes).filter(|axes| is_permutation(axes, shape.len()));
            let axes = axes.ok_or_else(|| bad("an order of its axes"))?;
            (axes.iter().map(|&a| shape[a]).collect(), axes.iter().map(|&a| strides[a]).collect())
        }
        (other, _) => return Err(Fault::Unsupported(format!("a numpy array in the order '{}'", shorten(other)))),
    };
    let data = Data::Pickle { bytes, big_endian };
    Ok(Some(RawTensor { stored, dtype: stored, data, first: 0, shape, strides, negative: false }))
}

/// `numpy.dtype('f4', …)` with its state `(3, '<', …)`: element type, and whether the highest byte comes first.
fn element_type(tree: &Tree, id: Id) -> Result<(FileDtype, bool), Fault> {
    let bad = || Fault::malformed("a numpy array without an element type");
    let Node::Call(callee, args) = tree.node(id) else { return Err(bad()) };
    if tree.global(*callee) != Some(("numpy", "dtype")) {
        return Err(bad());
    }
    let code = *tree.seq(*args).and_then(|args| args.first()).ok_or_else(bad)?;
    let code = match tree.global(code) {
        // a type that another package made, under its name there
        Some(("ml_dtypes", "bfloat16")) => "bfloat16".into(),
        Some((module, name)) => format!("{module}.{name}"),
        None => tree.str(code).ok_or_else(bad)?.to_owned(),
    };
    let dtype = match code.as_str() {
        "bfloat16" => FileDtype::BF16,
        "b1" => FileDtype::Bool,
        "u1" => FileDtype::U8,
        "i1" => FileDtype::I8,
        "u2" => FileDtype::U16,
        "i2" => FileDtype::I16,
        "u4" => FileDtype::U32,
        "i4" => FileDtype::I32,
        "u8" => FileDtype::U64,
        "i8" => FileDtype::I64,
        "f2" => FileDtype::F16,
        "f4" => FileDtype::F32,
        "f8" => FileDtype::F64,
        other => return Err(Fault::Unsupported(format!("a numpy array of type '{}'", shorten(other)))),
    };
    let state = tree.states.get(&id).and_then(|&state| tree.seq(state)).ok_or_else(bad)?;
    let order = state.get(1).and_then(|&order| tree.str(order)).ok_or_else(bad)?;
    match order {
        "<" | "|" => Ok((dtype, false)),
        ">" => Ok((dtype, true)),
        other => Err(Fault::Unsupported(format!("a numpy array in the byte order '{}'", shorten(other)))),
    }
}

/// Strides of a shape whose elements were counted.
fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        // only an array without elements can overflow here
        strides[axis - 1] = strides[axis].saturating_mul(shape[axis]);
    }
    strides
}

fn is_permutation(axes: &[usize], rank: usize) -> bool {
    let mut sorted = axes.to_vec();
    sorted.sort_unstable();
    sorted.into_iter().eq(0..rank)
}
