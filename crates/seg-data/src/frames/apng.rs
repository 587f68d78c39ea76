//! Animated PNG, composited as the PNG specification says.

use std::io::Cursor;

use image::{DynamicImage, GrayAlphaImage, GrayImage, ImageBuffer, RgbImage, Rgba, RgbaImage};
use png::{BlendOp, ColorType, Decoder, DecodingError, DisposeOp, Limits, Reader, Transformations};

use crate::decode::canvas::{Place, crop, lay, paste};
use crate::decode::{DecodeLimits, guarded};
use crate::error::{DataError, Result, one_line};

/// The frames of an animated PNG in order, RGBA.
pub(super) struct Animation<'b> {
    reader: Reader<Cursor<&'b [u8]>>,
    name: &'b str,
    canvas: RgbaImage,
    /// What is laid on the canvas before the next frame.
    pending: Option<(Place, RgbaImage)>,
    first: bool,
    left: u32,
}

impl<'b> Animation<'b> {
    /// Of a whole file; none when it is not an animation.
    ///
    /// # Errors
    /// A header that is none, a canvas over the limits.
    pub fn open(bytes: &'b [u8], name: &'b str, limits: &DecodeLimits) -> Result<Option<Self>> {
        let fail = |e: DecodingError| error(&e, name);
        let allowed = usize::try_from(limits.max_decoded_bytes).unwrap_or(usize::MAX);
        let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: allowed });
        decoder.set_transformations(Transformations::EXPAND);
        let (width, height) = decoder.read_header_info().map_err(fail)?.size();
        // the canvas, what was there before, what is given out, RGBA; a frame of up to 16 bits
        limits.check_header(name, width, height, 20 * u64::from(width) * u64::from(height))?;
        let mut reader = decoder.read_info().map_err(fail)?;
        let Some(control) = reader.info().animation_control() else { return Ok(None) };
        let left = control.num_frames;
        if reader.info().frame_control().is_none() {
            // the still picture is no frame
            let mut still = vec![0; reader.output_buffer_size().unwrap_or(0)];
            reader.next_frame(&mut still).map_err(fail)?;
        }
        Ok(Some(Self { reader, name, canvas: RgbaImage::new(width, height), pending: None, first: true, left }))
    }

    fn frame(&mut self) -> Result<RgbaImage> {
        let fail = |e: DecodingError| error(&e, self.name);
        let mut raw = vec![0; self.reader.output_buffer_size().unwrap_or(0)];
        let frame = self.reader.next_frame(&mut raw).map_err(fail)?;
        raw.truncate(frame.buffer_size());
        let wrong = || DataError::Decode {
            name: self.name.to_owned(),
            format: "PNG",
            reason: "a frame of its animation has no size".into(),
        };
        let control = *self.reader.info().frame_control().ok_or_else(wrong)?;
        let place =
            Place { left: control.x_offset, top: control.y_offset, width: control.width, height: control.height };
        let picture =
            rgba(frame.width, frame.height, frame.color_type, frame.bit_depth as u8, raw).ok_or_else(wrong)?;
        if let Some((place, picture)) = self.pending.take() {
            paste(&mut self.canvas, place, &picture);
        }
        let first = std::mem::take(&mut self.first);
        self.pending = match control.dispose_op {
            DisposeOp::None => None,
            DisposeOp::Previous if !first => Some((place, crop(&self.canvas, place))),
            _ => Some((place, RgbaImage::new(place.width, place.height))),
        };
        lay(&mut self.canvas, place, |x, y, under| match (picture.get_pixel_checked(x, y), control.blend_op) {
            // colours of what is transparent stay in the first frame, as in a still picture
            (Some(pixel), BlendOp::Source) => *pixel,
            (Some(pixel), BlendOp::Over) if first => *pixel,
            (Some(pixel), BlendOp::Over) => over(*pixel, under),
            (None, _) => under,
        });
        Ok(self.canvas.clone())
    }
}

impl Iterator for Animation<'_> {
    type Item = Result<RgbaImage>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let name = self.name;
        Some(guarded(name, "PNG", || self.frame()))
    }
}

/// 8 bits a sample, from 8 or 16.
fn rgba(width: u32, height: u32, color: ColorType, bits: u8, raw: Vec<u8>) -> Option<RgbaImage> {
    let picture = if bits == 16 {
        let wide = raw.chunks_exact(2).map(|two| u16::from_be_bytes([two[0], two[1]])).collect();
        match color {
            ColorType::Grayscale => ImageBuffer::from_raw(width, height, wide).map(DynamicImage::ImageLuma16),
            ColorType::GrayscaleAlpha => ImageBuffer::from_raw(width, height, wide).map(DynamicImage::ImageLumaA16),
            ColorType::Rgb => ImageBuffer::from_raw(width, height, wide).map(DynamicImage::ImageRgb16),
            _ => ImageBuffer::from_raw(width, height, wide).map(DynamicImage::ImageRgba16),
        }
    } else {
        match color {
            ColorType::Grayscale => GrayImage::from_raw(width, height, raw).map(DynamicImage::ImageLuma8),
            ColorType::GrayscaleAlpha => GrayAlphaImage::from_raw(width, height, raw).map(DynamicImage::ImageLumaA8),
            ColorType::Rgb => RgbImage::from_raw(width, height, raw).map(DynamicImage::ImageRgb8),
            _ => RgbaImage::from_raw(width, height, raw).map(DynamicImage::ImageRgba8),
        }
    };
    picture.map(DynamicImage::into_rgba8)
}

/// A pixel over another, neither premultiplied, rounded to the nearest level; what is opaque or on nothing stays as it is.
fn over(Rgba(source): Rgba<u8>, Rgba(under): Rgba<u8>) -> Rgba<u8> {
    let (a, b) = (u32::from(source[3]), u32::from(under[3]));
    if a == 0 {
        return Rgba(under);
    }
    if a == 255 || b == 0 {
        return Rgba(source);
    }
    // alphas in units of 1/65025
    let (mine, rest) = (a * 255, b * (255 - a));
    let sum = mine + rest;
    let mixed = |c: usize| ((u32::from(source[c]) * mine + u32::from(under[c]) * rest + sum / 2) / sum) as u8;
    Rgba([mixed(0), mixed(1), mixed(2), ((sum + 127) / 255) as u8])
}

fn error(e: &DecodingError, name: &str) -> DataError {
    let name = name.to_owned();
    match e {
        DecodingError::IoError(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => DataError::cut(name, "PNG"),
        _ => DataError::Decode { name, format: "PNG", reason: one_line(&e.to_string()) },
    }
}
