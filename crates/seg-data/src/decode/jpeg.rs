//! JPEG, bit-equal to libjpeg-turbo: its reading of the segments, its upsampling and its colours are ours, entropy
//! decoding and the inverse transform are the crate's.

mod pieces;
mod planes;
mod restarts;
mod stream;

use image::{DynamicImage, GrayImage, RgbImage};
use libjpeg_turbo_rs::{DecodeLimits as JpegLimits, Decoder, JpegError, PixelFormat, RawImage};

use self::stream::{Colour, Frame, Refusal, Stream};
use super::loader::Room;
use super::{DecodeLimits, Decoded, StoredProfile};
use crate::error::{DataError, Result, one_line};

/// More scans than any encoder writes; each costs a pass over all coefficients.
const MAX_SCANS: usize = 256;

pub(super) fn decode(bytes: &[u8], name: &str, limits: &DecodeLimits, room: &mut Room) -> Result<Decoded> {
    decode_as(bytes, name, limits, room, Output::Picture)
}

/// Grey as OpenCV has it: the file's luma, not one made of red, green and blue.
pub(super) fn opencv_grey(bytes: &[u8], name: &str, limits: &DecodeLimits) -> Result<Decoded> {
    decode_as(bytes, name, limits, &mut Room::default(), Output::OpencvGrey)
}

/// What is made of the components.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    /// RGB, or grey where the file has no colours.
    Picture,
    /// One level a pixel.
    OpencvGrey,
}

fn decode_as(bytes: &[u8], name: &str, limits: &DecodeLimits, room: &mut Room, output: Output) -> Result<Decoded> {
    let check = |frame: &Frame| {
        let pixels = frame.width as u64 * frame.height as u64;
        let channels = frame.components.len() as u64;
        // planes, output, and the coefficients that a progressive file keeps (2 bytes each), or the planes of a piece
        let factor = match () {
            () if frame.progressive() => 3 * channels + 3,
            () if frame.in_pieces() => 2 * channels + 3,
            () => channels + 3,
        };
        limits.check_header(name, frame.width as u32, frame.height as u32, pixels * factor)
    };
    let stream = match stream::read(bytes, std::mem::take(&mut room.rewritten), &check) {
        Ok(stream) => stream,
        Err(Refusal::Limit(e)) => return Err(e),
        Err(Refusal::JpegLs) => return Err(DataError::NotBuiltIn { name: name.to_owned(), format: "JPEG-LS" }),
        Err(Refusal::Words(reason)) => {
            return Err(DataError::Decode { name: name.to_owned(), format: "JPEG", reason });
        }
    };
    // what is missing cannot be told from what is there: damage that the decoder below does not see
    if !(stream.ended || stream.guarded && stream.complete) {
        return Err(truncated(name));
    }
    let ours = JpegLimits {
        max_width: limits.max_side as usize,
        max_height: limits.max_side as usize,
        max_pixels: limits.max_pixels,
        max_scans: MAX_SCANS,
        max_memory: Some(limits.max_decoded_bytes),
    };
    let fail = |e: JpegError| error(e, name, &stream);
    let unsupported = |reason| DataError::Unsupported { name: name.to_owned(), format: "JPEG", reason };
    if stream.frame.precision != 8 {
        return Err(unsupported(format!("it has {} bits a sample, expected 8", stream.frame.precision)));
    }
    if !matches!(stream.frame.components.len(), 1 | 3 | 4) {
        return Err(unsupported(format!("it has {} components, expected 1, 3 or 4", stream.frame.components.len())));
    }
    let (width, height) = (stream.frame.width, stream.frame.height);
    let grey = stream.colour == Colour::Grey || output == Output::OpencvGrey;
    let mut notes = Vec::new();
    let data = if stream.frame.lossless() || !stream.complete {
        if !stream.complete {
            notes.push("its progressive scans are incomplete: the picture is coarser than it was meant".into());
        }
        let mut decoder = Decoder::new_with_limits(&stream.bytes, ours).map_err(fail)?;
        decoder.set_block_smoothing(true);
        decoder.set_output_format(if grey { PixelFormat::Grayscale } else { PixelFormat::Rgb });
        decoder.decode_image().map_err(fail)?.data
    } else {
        let raw = if stream.frame.in_pieces() {
            pieces::decode(bytes, &stream.frame, &stream.scans).map_err(fail)?
        } else {
            let decoder = Decoder::new_with_limits(&stream.bytes, ours).map_err(fail)?;
            let mut raw = decoder.decode_raw().map_err(fail)?;
            clear_lost(&mut raw, &stream);
            raw
        };
        planes::to_pixels(&raw, &stream.frame, stream.colour, output, room).map_err(unsupported)?
    };
    room.rewritten = stream.bytes;
    let got = data.len();
    let (w, h) = (width as u32, height as u32);
    let image = if got != width * height * if grey { 1 } else { 3 } {
        None
    } else if grey {
        GrayImage::from_raw(w, h, data).map(DynamicImage::ImageLuma8)
    } else {
        RgbImage::from_raw(w, h, data).map(DynamicImage::ImageRgb8)
    };
    let Some(pixels) = image else {
        let reason = format!("the decoder gave {got} bytes for {width}x{height} pixels");
        return Err(DataError::Decode { name: name.to_owned(), format: "JPEG", reason });
    };
    notes.extend(stream.notes);
    let profile = stream.profile.map(StoredProfile::Icc);
    Ok(Decoded { pixels, turn: stream.turn, profile, notes })
}

/// Mid-grey where an interval has no data: what libjpeg's zeros become.
fn clear_lost(raw: &mut RawImage, stream: &Stream) {
    let (h, _) = stream.frame.max();
    let single = stream.frame.components.len() == 1;
    let across = if single { stream.frame.width.div_ceil(8) } else { stream.frame.width.div_ceil(8 * h) };
    for unit in stream.lost.iter().flat_map(|lost| lost.0.clone()) {
        for (i, part) in stream.frame.components.iter().enumerate() {
            let (w, h) = if single { (8, 8) } else { (8 * part.h, 8 * part.v) };
            let stride = raw.plane_widths[i];
            for y in 0..h {
                let from = (unit / across * h + y) * stride + unit % across * w;
                raw.planes[i][from..from + w].fill(128);
            }
        }
    }
}

fn truncated(name: &str) -> DataError {
    let reason = "it has no end-of-image marker, and the rest of the picture is missing".into();
    DataError::Truncated { name: name.to_owned(), format: "JPEG", reason }
}

fn error(e: JpegError, name: &str, stream: &Stream) -> DataError {
    let name = name.to_owned();
    match e {
        JpegError::UnexpectedEof => DataError::cut(name, "JPEG"),
        JpegError::LimitExceeded { what, actual, limit } => {
            DataError::TooLarge { name, what, value: actual.to_string(), limit: limit.to_string() }
        }
        JpegError::Unsupported(what) => DataError::Unsupported { name, format: "JPEG", reason: one_line(&what) },
        JpegError::CorruptData(what) if what.contains("invalid Huffman code") => {
            if !stream.ended {
                return truncated(&name);
            }
            let reason = "its pixel data are damaged, or shorter than the picture".into();
            DataError::Decode { name, format: "JPEG", reason }
        }
        other => DataError::Decode { name, format: "JPEG", reason: one_line(&other.to_string()) },
    }
}
