//! Tensors as ONNX stores them.

use super::external::Location;
use super::proto::{Message, Value};
use crate::dtype::{FileDtype, checked_elements};
use crate::error::{Fault, shorten};
use crate::read::Placed;

/// Axes of a tensor at most.
pub(super) const MAX_AXES: usize = 16;

/// Where the numbers are.
#[derive(Debug)]
pub(super) enum Data {
    Here(Placed),
    /// In another file; the place counts from its beginning.
    Elsewhere(Location, Placed),
    /// Not read, and why.
    Skipped(String),
}

/// An initialiser, or the output of a constant: its name, and its numbers.
pub(super) type Initialiser = (String, Data);

/// TensorProto: 1 dims, 2 data_type, 4 float_data, 5 int32_data, 7 int64_data, 8 name, 9 raw_data, 10 double_data, 11 uint64_data,
/// 13 external_data, 14 data_location.
pub(super) fn tensor(message: &mut Message<'_>) -> Result<Initialiser, Fault> {
    let (mut name, mut dims, mut code) = (String::new(), Vec::new(), 0);
    let (mut data, mut location, mut elsewhere) = (None, Location::default(), false);
    while let Some((field, value)) = message.field()? {
        match (field, value) {
            (1, Value::Number(dim)) => dims.push(dim),
            (1, Value::Bytes { at, len }) => dims.extend(message.numbers(at, len, MAX_AXES)?),
            (2, Value::Number(value)) => code = value,
            (8, Value::Bytes { at, len }) => name = message.text(at, len)?,
            (4 | 5 | 7 | 9 | 10 | 11, Value::Bytes { at, len }) => data = Some((field, at, len)),
            (13, Value::Bytes { at, len }) => location.entry(&mut message.part(at, len))?,
            (14, Value::Number(1)) => elsewhere = true,
            _ => {}
        }
        if dims.len() > MAX_AXES {
            return Err(Fault::limit(format!("a tensor of more than {MAX_AXES} axes")));
        }
    }
    let shown = shorten(&name);
    let too_large = |_| Fault::malformed(format!("tensor '{shown}': shape {dims:?} is too large"));
    let shape: Vec<usize> = dims.iter().map(|&d| usize::try_from(d)).collect::<Result<_, _>>().map_err(too_large)?;
    let Some(dtype) = dtype(code) else {
        return Ok((name, Data::Skipped(format!("a tensor of ONNX's type {code}"))));
    };
    let named = |f| match f {
        Fault::Malformed(m) => Fault::Malformed(format!("tensor '{shown}': {m}")),
        other => other,
    };
    if elsewhere {
        let bytes = checked_elements(&shape).and_then(|n| n.checked_mul(dtype.size()));
        let promised = location.length.unwrap_or(bytes.unwrap_or(usize::MAX) as u64);
        let placed = Placed::contiguous(dtype, shape, location.offset, promised).map_err(named)?;
        return Ok((name, Data::Elsewhere(location, placed)));
    }
    // packed numbers of a fixed width lie as raw data does
    let plain = |field| match field {
        9 => true,
        4 => dtype == FileDtype::F32,
        10 => dtype == FileDtype::F64,
        _ => false,
    };
    let placed = match data {
        _ if shape.contains(&0) => Placed::contiguous(dtype, shape, 0, 0)?,
        Some((field, at, len)) if plain(field) => Placed::contiguous(dtype, shape, at, len).map_err(named)?,
        Some((field @ (5 | 7 | 11), at, len)) if of_varints(field, dtype) => {
            let elements = checked_elements(&shape).filter(|&n| n as u64 <= len);
            let numbers = elements.map(|n| message.numbers(at, len, n)).transpose()?.unwrap_or_default();
            let bytes = numbers.iter().flat_map(|n| n.to_le_bytes().into_iter().take(dtype.size())).collect();
            Placed::held(dtype, shape, bytes).map_err(named)?
        }
        _ => return Ok((name, Data::Skipped("a tensor whose numbers are not plain bytes".into()))),
    };
    Ok((name, Data::Here(placed)))
}

/// Whether numbers of this type stand in this field, each as a varint; of 16-bit floats it is the bits.
fn of_varints(field: u64, dtype: FileDtype) -> bool {
    match field {
        7 => dtype == FileDtype::I64,
        11 => matches!(dtype, FileDtype::U32 | FileDtype::U64),
        _ => !matches!(dtype, FileDtype::I64 | FileDtype::U64 | FileDtype::U32 | FileDtype::F32 | FileDtype::F64),
    }
}

/// TensorProto.DataType.
fn dtype(code: u64) -> Option<FileDtype> {
    Some(match code {
        1 => FileDtype::F32,
        2 => FileDtype::U8,
        3 => FileDtype::I8,
        4 => FileDtype::U16,
        5 => FileDtype::I16,
        6 => FileDtype::I32,
        7 => FileDtype::I64,
        9 => FileDtype::Bool,
        10 => FileDtype::F16,
        11 => FileDtype::F64,
        12 => FileDtype::U32,
        13 => FileDtype::U64,
        16 => FileDtype::BF16,
        17 => FileDtype::F8E4M3,
        18 => FileDtype::F8E4M3FNUZ,
        19 => FileDtype::F8E5M2,
        20 => FileDtype::F8E5M2FNUZ,
        _ => return None,
    })
}
