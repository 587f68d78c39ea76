//! Sequential arithmetic coding, decoded a restart interval at a time.
//!
//! libjpeg looks for the marker behind an interval; the crate goes on behind what it happens to have read, which is right
//! only if that was all. Here every interval is a JPEG of its own, so that it begins where it begins.

use std::ops::Range;

use libjpeg_turbo_rs::{Decoder, JpegError, RawImage};

use super::stream::{Frame, put};

/// A scan of a file with arithmetic coding.
#[derive(Debug)]
pub(super) struct Scan {
    /// Segments with the tables that hold for it.
    pub tables: Vec<u8>,
    /// The body of its header, components numbered.
    pub header: Vec<u8>,
    /// Which components it has, in its order.
    pub components: Vec<usize>,
    pub units: usize,
    /// Units between two restart markers; all where there are none.
    pub interval: usize,
    /// Where each interval's data lie in the file; empty where it has none.
    pub data: Vec<Range<usize>>,
}

/// The component planes that `scans` hold, mid-grey where they hold nothing.
pub(super) fn decode(file: &[u8], frame: &Frame, scans: &[Scan]) -> Result<RawImage, JpegError> {
    let (h, v) = frame.max();
    let (across, down) = (frame.width.div_ceil(8 * h), frame.height.div_ceil(8 * v));
    let plane_widths: Vec<usize> = frame.components.iter().map(|part| 8 * part.h * across).collect();
    let plane_heights: Vec<usize> = frame.components.iter().map(|part| 8 * part.v * down).collect();
    let planes = plane_widths.iter().zip(&plane_heights).map(|(w, h)| vec![128; w * h]).collect();
    let mut whole = RawImage {
        planes,
        plane_widths,
        plane_heights,
        width: frame.width,
        height: frame.height,
        num_components: frame.components.len(),
    };
    for scan in scans {
        // the same pixels for each: libjpeg goes on with zeros
        let mut starved = None;
        for (i, data) in scan.data.iter().enumerate() {
            let first = i * scan.interval;
            let units = scan.interval.min(scan.units - first);
            let piece = || scan.piece(file.get(data.clone()).unwrap_or_default(), units, frame);
            if data.is_empty() {
                let piece = match starved.take() {
                    Some(piece) => piece,
                    None => piece()?,
                };
                scan.place(&piece, first..first + units, frame, &mut whole);
                starved = Some(piece);
            } else {
                scan.place(&piece()?, first..first + units, frame, &mut whole);
            }
        }
    }
    Ok(whole)
}

impl Scan {
    /// Blocks across and down that a unit has of a component.
    fn blocks(&self, frame: &Frame, component: usize) -> (usize, usize) {
        match (self.components.as_slice(), &frame.components[component]) {
            ([_], _) => (1, 1),
            (_, part) => (part.h, part.v),
        }
    }

    /// Units in a row of a piece, which has no more than 2^16 of them where it is not the whole scan.
    fn across(&self, frame: &Frame) -> usize {
        if self.interval == self.units { frame.units(&self.components).0 } else { self.interval.min(256) }
    }

    /// Decodes `units` units as a picture of its own.
    fn piece(&self, data: &[u8], units: usize, frame: &Frame) -> Result<RawImage, JpegError> {
        let across = self.across(frame);
        let blocks: Vec<_> = self.components.iter().map(|&i| self.blocks(frame, i)).collect();
        let most = |f: fn(&(usize, usize)) -> usize| blocks.iter().map(f).max().unwrap_or(1);
        let width = 8 * most(|b| b.0) * across;
        let height = 8 * most(|b| b.1) * units.div_ceil(across);
        let mut frame_header = vec![8];
        frame_header.extend((height as u16).to_be_bytes());
        frame_header.extend((width as u16).to_be_bytes());
        frame_header.push(blocks.len() as u8);
        for (&i, (h, v)) in self.components.iter().zip(&blocks) {
            frame_header.extend([i as u8 + 1, (h << 4 | v) as u8, frame.components[i].table]);
        }
        let mut bytes = vec![0xff, 0xd8];
        bytes.extend(&self.tables);
        put(&mut bytes, 0xc9, &frame_header);
        put(&mut bytes, 0xda, &self.header);
        bytes.extend(data);
        bytes.extend([0xff, 0xd9]);
        Decoder::new(&bytes)?.decode_raw()
    }

    /// Copies a piece's units to where they belong.
    fn place(&self, piece: &RawImage, units: Range<usize>, frame: &Frame, whole: &mut RawImage) {
        for (from, &i) in self.components.iter().enumerate() {
            let (h, v) = self.blocks(frame, i);
            let (w, rows) = (8 * h, 8 * v);
            let (across, pieces) = (frame.units(&self.components).0, self.across(frame));
            let (source, stride) = (&piece.planes[from], piece.plane_widths[from]);
            let (target, width) = (&mut whole.planes[i], whole.plane_widths[i]);
            for (k, unit) in units.clone().enumerate() {
                let from = k / pieces * rows * stride + k % pieces * w;
                let to = unit / across * rows * width + unit % across * w;
                for y in 0..rows {
                    target[to + y * width..][..w].copy_from_slice(&source[from + y * stride..][..w]);
                }
            }
        }
    }
}
