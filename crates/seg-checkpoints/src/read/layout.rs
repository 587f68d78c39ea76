//! Where a tensor lies in a file, and reading it from there.

use super::Checksum;
use super::latin1::Latin1;
use super::reader::{Reader, reserve};
use crate::dtype::{Decode, FileDtype, WideBool, WideI8, WideU16, WideU64, checked_elements};
use crate::dtype::{WideF8E4M3, WideF8E4M3Fnuz, WideF8E5M2, WideF8E5M2Fnuz};
use crate::error::Fault;
use candle_core::{Device, Tensor, WithDType};
use std::borrow::Cow;
use std::sync::Arc;

/// A tensor whose strides repeat elements (an expanded view) may be larger than what is stored; this is how much, in
/// bytes, one such tensor may take in memory.
const MAX_EXPANDED: usize = 64 << 20;
/// Bytes of a text read in one go.
const TEXT_PIECE: u64 = 1 << 18;

/// A tensor's place in a file. Made by [`Placed::contiguous`] and [`Placed::strided`] only, which check every bound,
/// so that reading needs no check but the file's length.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    pub dtype: FileDtype,
    pub shape: Vec<usize>,
    /// The type of the elements in the file, mostly `dtype`.
    stored: FileDtype,
    /// Position of the first element, in bytes from the start of the file or of `held`.
    offset: u64,
    /// Elements from the first to the last one touched.
    span: usize,
    /// In elements; none when the tensor is contiguous.
    strides: Option<Vec<usize>>,
    elements: usize,
    /// Every element is this, and nothing of it stands in the file.
    constant: Option<f64>,
    /// The bytes themselves, when the file has them in another form.
    held: Option<Arc<Vec<u8>>>,
    /// Length of the text that the bytes stand as in the file, one character each.
    latin1: Option<u64>,
    /// The highest byte of an element comes first.
    big_endian: bool,
    /// The tensor is what is stored with the other sign.
    negative: bool,
    /// The checksum of the entry of an archive that the tensor is in.
    checksum: Option<Arc<Checksum>>,
}

impl Placed {
    /// A tensor of one value that the file only implies.
    pub fn constant(dtype: FileDtype, shape: Vec<usize>, value: f64) -> Result<Self, Fault> {
        let bytes = checked_elements(&shape).and_then(|n| n.checked_mul(dtype.size()));
        let placed = Self::contiguous(dtype, shape, 0, bytes.unwrap_or(usize::MAX) as u64)?;
        Ok(Self { constant: Some(value), ..placed })
    }

    /// A contiguous tensor of bytes that are in memory.
    pub fn held(dtype: FileDtype, shape: Vec<usize>, bytes: Vec<u8>) -> Result<Self, Fault> {
        let placed = Self::contiguous(dtype, shape, 0, bytes.len() as u64)?;
        Ok(placed.within(bytes.into()))
    }

    /// The same tensor in `held` instead of the file.
    pub fn within(self, held: Arc<Vec<u8>>) -> Self {
        Self { held: Some(held), ..self }
    }

    /// The same tensor, in an entry whose checksum is compared when the tensor is read.
    pub fn with_checksum(self, checksum: Option<Arc<Checksum>>) -> Self {
        Self { checksum, ..self }
    }

    /// Compares the checksum of the entry that the tensor is in, if there is one, without reading the tensor.
    pub fn check(&self, reader: &Reader) -> Result<(), Fault> {
        self.checksum.as_ref().map_or(Ok(()), |checksum| checksum.check(reader))
    }

    /// The same tensor, whose bytes stand in the file as a text of `len` bytes.
    pub fn in_text(self, len: u64) -> Self {
        Self { latin1: Some(len), ..self }
    }

    /// The same tensor, of elements whose highest byte comes first.
    pub fn big_endian(self) -> Self {
        Self { big_endian: true, ..self }
    }

    /// The same tensor with the other sign.
    pub fn negated(self) -> Self {
        Self { negative: !self.negative, ..self }
    }

    /// The same tensor, made of another type than the elements in the file.
    pub fn converted(self, dtype: FileDtype) -> Self {
        Self { dtype, ..self }
    }

    /// The same elements with their axes in another order; an empty one is the reverse. None when it is no order of the axes.
    pub fn transposed(&self, axes: &[u64]) -> Option<Self> {
        let rank = self.shape.len();
        let reverse: Vec<u64> = (0..rank as u64).rev().collect();
        let axes = if axes.is_empty() { &reverse } else { axes };
        let mut seen: Vec<u64> = axes.to_vec();
        seen.sort_unstable();
        if !seen.iter().copied().eq(0..rank as u64) {
            return None;
        }
        let mut contiguous = vec![1; rank];
        for axis in (1..rank).rev() {
            contiguous[axis - 1] = contiguous[axis] * self.shape[axis];
        }
        let strides = self.strides.as_ref().unwrap_or(&contiguous);
        let shape: Vec<usize> = axes.iter().map(|&a| self.shape[a as usize]).collect();
        let strides: Vec<usize> = axes.iter().map(|&a| strides[a as usize]).collect();
        let strides = (self.elements > 1 && !is_contiguous(&shape, &strides)).then_some(strides);
        Some(Self { shape, strides, ..self.clone() })
    }

    /// A contiguous tensor at `offset`, of which the file promises `bytes` bytes.
    pub fn contiguous(dtype: FileDtype, shape: Vec<usize>, offset: u64, bytes: u64) -> Result<Self, Fault> {
        let elements = checked_elements(&shape)
            .filter(|n| n.checked_mul(dtype.size()).is_some_and(|b| b as u64 == bytes))
            .ok_or_else(|| Fault::malformed(format!("shape {shape:?} of {dtype} does not fill {bytes} bytes")))?;
        Ok(Self::plain(dtype, shape, offset, elements))
    }

    /// Elements that follow one another, as they are; the callers have checked all bounds.
    fn plain(dtype: FileDtype, shape: Vec<usize>, offset: u64, elements: usize) -> Self {
        Self {
            dtype,
            shape,
            stored: dtype,
            offset,
            span: elements,
            strides: None,
            elements,
            constant: None,
            held: None,
            latin1: None,
            big_endian: false,
            negative: false,
            checksum: None,
        }
    }

    /// A view into a storage of `storage_elements` elements that begins at byte `storage_offset` of the file.
    pub fn strided(
        dtype: FileDtype,
        shape: Vec<usize>,
        strides: Vec<usize>,
        first: usize,
        storage_offset: u64,
        storage_elements: usize,
    ) -> Result<Self, Fault> {
        let overflow = || Fault::malformed(format!("shape {shape:?} with strides {strides:?} is too large"));
        if shape.len() != strides.len() {
            return Err(Fault::malformed(format!("shape {shape:?} has {} strides", strides.len())));
        }
        let elements = checked_elements(&shape).ok_or_else(overflow)?;
        let mut span = usize::from(elements > 0);
        if elements > 0 {
            for (&d, &s) in shape.iter().zip(&strides) {
                span = (d - 1).checked_mul(s).and_then(|x| x.checked_add(span)).ok_or_else(overflow)?;
            }
            let end = first.checked_add(span).ok_or_else(overflow)?;
            if end > storage_elements {
                return Err(Fault::malformed(format!(
                    "a tensor of shape {shape:?} with strides {strides:?} at element {first} needs {end} elements, its storage has {storage_elements}"
                )));
            }
        }
        let bytes = elements.checked_mul(dtype.size()).ok_or_else(overflow)?;
        if elements > storage_elements && bytes > MAX_EXPANDED {
            return Err(Fault::limit(format!(
                "a tensor of shape {shape:?} repeats a storage of {storage_elements} elements to {bytes} bytes, the limit is {MAX_EXPANDED}"
            )));
        }
        let at = first.checked_mul(dtype.size()).ok_or_else(overflow)?;
        let offset = storage_offset.checked_add(at as u64).ok_or_else(overflow)?;
        let strides = (elements > 1 && !is_contiguous(&shape, &strides)).then_some(strides);
        Ok(Self { span, strides, ..Self::plain(dtype, shape, offset, elements) })
    }

    /// Row `row` of the first axis, which stays with length one; none when there is no such row or the elements do not lie in order.
    pub fn row(&self, row: usize) -> Option<Self> {
        let (&rows, rest) = self.shape.split_first()?;
        if row >= rows || self.strides.is_some() || self.held.is_some() || self.latin1.is_some() {
            return None;
        }
        let elements = self.elements / rows;
        let shape = std::iter::once(1).chain(rest.iter().copied()).collect();
        // inside what was checked when `self` was made
        let offset = self.offset + (row * elements * self.stored.size()) as u64;
        Some(Self { shape, offset, span: elements, elements, ..self.clone() })
    }

    /// Bytes in memory when read, in the file's own element type.
    pub fn bytes(&self) -> u64 {
        self.elements as u64 * self.dtype.size() as u64
    }

    /// Reads the tensor in [`FileDtype::candle`]'s type.
    pub fn read(&self, reader: &Reader, device: &Device) -> Result<Tensor, ReadError> {
        if let Some(value) = self.constant {
            let one = Tensor::new(value, device)?.to_dtype(self.dtype.candle())?;
            return Ok(one.broadcast_as(self.shape.as_slice())?.contiguous()?);
        }
        let tensor = match self.stored {
            FileDtype::Bool => self.as_type::<WideBool, u8>(reader, device, |v| v.0, None),
            FileDtype::U8 => self.as_type::<u8, u8>(reader, device, |v| v, Some(u8::wrapping_neg)),
            FileDtype::I8 => {
                self.as_type::<WideI8, i16>(reader, device, |v| v.0, Some(|v| if v == -128 { v } else { -v }))
            }
            FileDtype::U16 => self.as_type::<WideU16, u32>(reader, device, |v| v.0, None),
            FileDtype::I16 => self.as_type::<i16, i16>(reader, device, |v| v, Some(i16::wrapping_neg)),
            FileDtype::U32 => self.as_type::<u32, u32>(reader, device, |v| v, None),
            FileDtype::I32 => self.as_type::<i32, i32>(reader, device, |v| v, Some(i32::wrapping_neg)),
            FileDtype::U64 => self.as_type::<WideU64, i64>(reader, device, |v| v.0, None),
            FileDtype::I64 => self.as_type::<i64, i64>(reader, device, |v| v, Some(i64::wrapping_neg)),
            FileDtype::F16 => self.as_type::<half::f16, half::f16>(reader, device, |v| v, Some(|v| -v)),
            FileDtype::BF16 => self.as_type::<half::bf16, half::bf16>(reader, device, |v| v, Some(|v| -v)),
            FileDtype::F32 => self.as_type::<f32, f32>(reader, device, |v| v, Some(|v| -v)),
            FileDtype::F64 => self.as_type::<f64, f64>(reader, device, |v| v, Some(|v| -v)),
            FileDtype::F8E4M3 => self.as_type::<WideF8E4M3, f32>(reader, device, |v| v.0, None),
            FileDtype::F8E5M2 => self.as_type::<WideF8E5M2, f32>(reader, device, |v| v.0, None),
            FileDtype::F8E4M3FNUZ => self.as_type::<WideF8E4M3Fnuz, f32>(reader, device, |v| v.0, None),
            FileDtype::F8E5M2FNUZ => self.as_type::<WideF8E5M2Fnuz, f32>(reader, device, |v| v.0, None),
        }?;
        if self.stored == self.dtype { Ok(tensor) } else { Ok(tensor.to_dtype(self.dtype.candle())?) }
    }

    /// `negate` is none where torch has no negative of the type.
    fn as_type<T: Decode, U: WithDType>(
        &self,
        reader: &Reader,
        device: &Device,
        convert: fn(T) -> U,
        negate: Option<fn(U) -> U>,
    ) -> Result<Tensor, ReadError> {
        let stored: Vec<T> = match self.other_bytes(reader)? {
            Some(bytes) => bytes.chunks_exact(T::SIZE).map(T::decode).collect::<Result<_, _>>()?,
            None => self.checked_elements(reader)?,
        };
        let mut values: Vec<U> = match &self.strides {
            None => stored.into_iter().map(convert).collect(),
            Some(strides) => {
                let mut out = reserve(self.elements)?;
                gather(&self.shape, strides, |i| out.push(convert(stored[i])));
                out
            }
        };
        if self.negative {
            let negate = negate.ok_or_else(|| Fault::Unsupported(format!("the negative of {}", self.stored)))?;
            values.iter_mut().for_each(|v| *v = negate(*v));
        }
        Ok(Tensor::from_vec(values, self.shape.as_slice(), device)?)
    }

    /// The elements as they stand in the file. The checksum of an entry that is this tensor is computed while they are read.
    fn checked_elements<T: Decode>(&self, reader: &Reader) -> Result<Vec<T>, Fault> {
        let whole = self.checksum.as_ref().filter(|c| c.is_of(self.offset, (self.span * T::SIZE) as u64));
        let Some(checksum) = whole else {
            self.check(reader)?;
            return reader.elements(self.offset, self.span, |_| ());
        };
        let mut hasher = crc32fast::Hasher::new();
        let elements = reader.elements(self.offset, self.span, |piece| hasher.update(piece))?;
        checksum.take(hasher)?;
        Ok(elements)
    }

    /// The bytes of all elements, the lowest of each first; none when they stand like that in the file.
    fn other_bytes(&self, reader: &Reader) -> Result<Option<Cow<'_, [u8]>>, Fault> {
        let len = self.span * self.stored.size();
        let mut bytes = match (&self.held, self.latin1) {
            (Some(held), _) => {
                let part = usize::try_from(self.offset).ok().and_then(|at| held.get(at..at.checked_add(len)?));
                Cow::Borrowed(part.ok_or_else(|| Fault::malformed("a tensor is not in the bytes that were kept"))?)
            }
            (None, Some(text)) => Cow::Owned(self.decode_text(reader, text, len)?),
            (None, None) if self.big_endian => Cow::Owned(reader.bytes(self.offset, len)?),
            (None, None) => return Ok(None),
        };
        if self.big_endian {
            bytes.to_mut().chunks_exact_mut(self.stored.size()).for_each(<[u8]>::reverse);
        }
        Ok(Some(bytes))
    }

    /// The `len` bytes that stand in the file as a text of `text` bytes.
    fn decode_text(&self, reader: &Reader, text: u64, len: usize) -> Result<Vec<u8>, Fault> {
        let changed = || Fault::malformed("the text of a tensor is no longer what it was");
        let mut latin1 = Latin1::default();
        let mut out = reserve(len)?;
        let mut at = 0;
        while at < text {
            let piece = reader.bytes(self.offset + at, (text - at).min(TEXT_PIECE) as usize)?;
            at += piece.len() as u64;
            for byte in piece {
                out.extend(latin1.push(byte).map_err(|_| changed())?);
            }
            if out.len() > len {
                return Err(changed());
            }
        }
        if out.len() == len && latin1.is_whole() { Ok(out) } else { Err(changed()) }
    }
}

/// Why a tensor could not be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    File(Fault),
    Candle(candle_core::Error),
}

impl From<Fault> for ReadError {
    fn from(f: Fault) -> Self {
        Self::File(f)
    }
}

impl From<candle_core::Error> for ReadError {
    fn from(e: candle_core::Error) -> Self {
        Self::Candle(e)
    }
}

fn is_contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1;
    for (&d, &s) in shape.iter().zip(strides).rev() {
        if d != 1 && s != expected {
            return false;
        }
        expected *= d;
    }
    true
}

/// Calls `visit` with the storage index of each element, in row-major order of `shape`.
fn gather(shape: &[usize], strides: &[usize], mut visit: impl FnMut(usize)) {
    let mut index = vec![0usize; shape.len()];
    let mut at = 0usize;
    loop {
        visit(at);
        let mut axis = shape.len();
        loop {
            if axis == 0 {
                return;
            }
            axis -= 1;
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
}
