//! Element types as files store them, and how their bytes become candle tensors.

use crate::error::Fault;
use candle_core::DType;
use std::fmt;

/// How a file stores the elements of a tensor. Always little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[allow(missing_docs)] // the names say it all
pub enum FileDtype {
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    BF16,
    F32,
    F64,
    F8E4M3,
    F8E5M2,
    F8E4M3FNUZ,
    F8E5M2FNUZ,
}

impl FileDtype {
    /// The floating-point types of 8 bits, which candle computes nothing with.
    pub(crate) const SMALL_FLOATS: [Self; 4] = [Self::F8E4M3, Self::F8E5M2, Self::F8E4M3FNUZ, Self::F8E5M2FNUZ];

    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::F8E4M3 | Self::F8E5M2 | Self::F8E4M3FNUZ | Self::F8E5M2FNUZ => 1,
            Self::U16 | Self::I16 | Self::F16 | Self::BF16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// The candle type that [`crate::Checkpoint::tensor`] gives. candle lacks some integer types: booleans become
    /// `U8`, and what has no equal is widened to the next larger type that holds every value (`U64` to `I64`, where a
    /// value above `i64::MAX` is an error; floats of 8 bits to `F32`).
    pub fn candle(self) -> DType {
        match self {
            Self::Bool | Self::U8 => DType::U8,
            Self::I8 | Self::I16 => DType::I16,
            Self::U16 | Self::U32 => DType::U32,
            Self::I32 => DType::I32,
            Self::U64 | Self::I64 => DType::I64,
            Self::F16 => DType::F16,
            Self::BF16 => DType::BF16,
            Self::F32 | Self::F8E4M3 | Self::F8E5M2 | Self::F8E4M3FNUZ | Self::F8E5M2FNUZ => DType::F32,
            Self::F64 => DType::F64,
        }
    }

    /// Whether it is a floating-point type.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::BF16 | Self::F32 | Self::F64) || Self::SMALL_FLOATS.contains(&self)
    }

    /// The name that safetensors uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::U8 => "U8",
            Self::I8 => "I8",
            Self::U16 => "U16",
            Self::I16 => "I16",
            Self::U32 => "U32",
            Self::I32 => "I32",
            Self::U64 => "U64",
            Self::I64 => "I64",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::F32 => "F32",
            Self::F64 => "F64",
            Self::F8E4M3 => "F8_E4M3",
            Self::F8E5M2 => "F8_E5M2",
            Self::F8E4M3FNUZ => "F8_E4M3FNUZ",
            Self::F8E5M2FNUZ => "F8_E5M2FNUZ",
        }
    }

    pub(crate) fn from_safetensors(name: &str) -> Option<Self> {
        Some(match name {
            "BOOL" => Self::Bool,
            "U8" => Self::U8,
            "I8" => Self::I8,
            "U16" => Self::U16,
            "I16" => Self::I16,
            "U32" => Self::U32,
            "I32" => Self::I32,
            "U64" => Self::U64,
            "I64" => Self::I64,
            "F16" => Self::F16,
            "BF16" => Self::BF16,
            "F32" => Self::F32,
            "F64" => Self::F64,
            "F8_E4M3" => Self::F8E4M3,
            "F8_E5M2" => Self::F8E5M2,
            "F8_E4M3FNUZ" => Self::F8E4M3FNUZ,
            "F8_E5M2FNUZ" => Self::F8E5M2FNUZ,
            _ => return None,
        })
    }

    /// From `torch.FloatStorage` and its kin.
    pub(crate) fn from_storage(class: &str) -> Option<Self> {
        Some(match class.strip_suffix("Storage")? {
            "Bool" => Self::Bool,
            "Byte" | "Untyped" => Self::U8,
            "Char" => Self::I8,
            "Short" => Self::I16,
            "Int" => Self::I32,
            "Long" => Self::I64,
            "Half" => Self::F16,
            "BFloat16" => Self::BF16,
            "Float" => Self::F32,
            "Double" => Self::F64,
            _ => return None,
        })
    }

    /// From the name of a `torch.dtype`.
    pub(crate) fn from_torch(name: &str) -> Option<Self> {
        Some(match name {
            "bool" => Self::Bool,
            "uint8" => Self::U8,
            "int8" => Self::I8,
            "uint16" => Self::U16,
            "int16" | "short" => Self::I16,
            "uint32" => Self::U32,
            "int32" | "int" => Self::I32,
            "uint64" => Self::U64,
            "int64" | "long" => Self::I64,
            "float16" | "half" => Self::F16,
            "bfloat16" => Self::BF16,
            "float32" | "float" => Self::F32,
            "float64" | "double" => Self::F64,
            "float8_e4m3fn" => Self::F8E4M3,
            "float8_e5m2" => Self::F8E5M2,
            "float8_e4m3fnuz" => Self::F8E4M3FNUZ,
            "float8_e5m2fnuz" => Self::F8E5M2FNUZ,
            _ => return None,
        })
    }
}

impl fmt::Display for FileDtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `dims` multiplied without overflow.
pub(crate) fn checked_elements(dims: &[usize]) -> Option<usize> {
    dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
}

/// Elements of one type, decoded from little-endian bytes.
pub(crate) trait Decode: Sized + Copy {
    /// Bytes in the file.
    const SIZE: usize;
    /// `bytes` has `SIZE` bytes.
    fn decode(bytes: &[u8]) -> Result<Self, Fault>;
}

macro_rules! decode {
    ($($t:ty),*) => {$(
        impl Decode for $t {
            const SIZE: usize = size_of::<$t>();
            fn decode(bytes: &[u8]) -> Result<Self, Fault> {
                let mut b = [0u8; size_of::<$t>()];
                b.copy_from_slice(bytes);
                Ok(<$t>::from_le_bytes(b))
            }
        }
    )*};
}
decode!(u8, i16, u32, i32, i64, f32, f64, half::f16, half::bf16);

/// A file type that candle lacks, widened while reading.
macro_rules! widen {
    ($name:ident, $from:ty, $to:ty, $convert:expr) => {
        #[derive(Clone, Copy)]
        pub(crate) struct $name(pub(crate) $to);
        impl Decode for $name {
            const SIZE: usize = size_of::<$from>();
            fn decode(bytes: &[u8]) -> Result<Self, Fault> {
                let mut b = [0u8; size_of::<$from>()];
                b.copy_from_slice(bytes);
                let convert: fn($from) -> Result<$to, Fault> = $convert;
                convert(<$from>::from_le_bytes(b)).map(Self)
            }
        }
    };
}
widen!(WideBool, u8, u8, |v| Ok(u8::from(v != 0)));
widen!(WideI8, i8, i16, |v| Ok(i16::from(v)));
widen!(WideU16, u16, u32, |v| Ok(u32::from(v)));
widen!(WideU64, u64, i64, |v| i64::try_from(v).map_err(|_| Fault::Unsupported(format!(
    "the unsigned 64-bit value {v}: the largest that can be read is {}",
    i64::MAX
))));

widen!(WideF8E4M3, u8, f32, |v| Ok(match v & 0x7f {
    0x7f => f32::NAN,
    _ => small_float(v, 3, 7),
}));
widen!(WideF8E5M2, u8, f32, |v| Ok(match v & 0x7f {
    0x7d..=0x7f => f32::NAN,
    0x7c => f32::INFINITY.copysign(sign(v)),
    _ => small_float(v, 2, 15),
}));
widen!(WideF8E4M3Fnuz, u8, f32, |v| Ok(if v == 0x80 { f32::NAN } else { small_float(v, 3, 8) }));
widen!(WideF8E5M2Fnuz, u8, f32, |v| Ok(if v == 0x80 { f32::NAN } else { small_float(v, 2, 16) }));

fn sign(bits: u8) -> f32 {
    if bits & 0x80 == 0 { 1. } else { -1. }
}

/// A finite float of 8 bits with so many bits of mantissa; every one is a 32-bit float, too.
fn small_float(bits: u8, mantissa: i32, bias: i32) -> f32 {
    let exponent = i32::from(bits & 0x7f) >> mantissa;
    let fraction = i32::from(bits & 0x7f) - (exponent << mantissa);
    // below the smallest normal number there is no leading one
    let (whole, exponent) = if exponent == 0 { (fraction, 1) } else { (fraction + (1 << mantissa), exponent) };
    sign(bits) * whole as f32 * 2f32.powi(exponent - bias - mantissa)
}
