//! What libjpeg makes of a JPEG's segments: stray bytes skipped, restart markers resynchronised, colours by its rules.
//! The decoder behind it gets a stream rewritten without any of these oddities.

use std::ops::Range;

use super::pieces::Scan;
use super::restarts::{damage, gaps, next_marker, place, resynchronise, split};
use crate::decode::exif::{self, Turn};
use crate::error::DataError;

/// Why a file is not read.
#[derive(Debug)]
pub(super) enum Refusal {
    /// What is wrong with it.
    Words(String),
    /// It is over a limit.
    Limit(DataError),
    /// Its pixels are coded as JPEG-LS has them.
    JpegLs,
}

impl<S: Into<String>> From<S> for Refusal {
    fn from(words: S) -> Self {
        Self::Words(words.into())
    }
}

/// How the components are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
    Grey,
    Rgb,
    YCbCr,
    Cmyk,
    Ycck,
}

/// A stretch of minimum coded units that have no data: libjpeg leaves them mid-grey.
#[derive(Debug)]
pub(super) struct Lost(pub Range<usize>);

#[derive(Debug, Clone, Copy)]
pub(super) struct Component {
    pub id: u8,
    pub h: usize,
    pub v: usize,
    /// Its quantisation table.
    pub table: u8,
}

#[derive(Debug, Default)]
pub(super) struct Frame {
    pub width: usize,
    pub height: usize,
    pub components: Vec<Component>,
    /// Bits a sample.
    pub precision: u8,
    kind: u8,
}

impl Frame {
    /// Largest sampling factors, horizontal and vertical.
    pub fn max(&self) -> (usize, usize) {
        let most = |f: fn(&Component) -> usize| self.components.iter().map(f).max().unwrap_or(1).max(1);
        (most(|c| c.h), most(|c| c.v))
    }

    pub fn progressive(&self) -> bool {
        matches!(self.kind, 0xc2 | 0xca)
    }

    pub fn lossless(&self) -> bool {
        matches!(self.kind, 0xc3 | 0xcb)
    }

    fn arithmetic(&self) -> bool {
        matches!(self.kind, 0xc9..=0xcb)
    }

    /// Whether its scans are decoded by [`super::pieces`].
    pub fn in_pieces(&self) -> bool {
        self.kind == 0xc9
    }

    /// Which components a scan with these ids has. Of several with one id, each is had once.
    fn of_scan<'a>(&self, ids: impl Iterator<Item = &'a u8>) -> Result<Vec<usize>, String> {
        let mut found = Vec::new();
        for id in ids {
            let free = |(i, part): (usize, &Component)| (part.id == *id && !found.contains(&i)).then_some(i);
            match self.components.iter().enumerate().find_map(free) {
                Some(i) => found.push(i),
                None => return Err(format!("a scan has component {id}, which its frame header has not")),
            }
        }
        if found.is_empty() { Err("a scan has no components".into()) } else { Ok(found) }
    }

    /// Units across and down of a scan over the components with these places in the frame.
    pub fn units(&self, components: &[usize]) -> (usize, usize) {
        let (h, v) = self.max();
        let blocks = |size: usize, part: usize, most: usize| (size * part).div_ceil(most).div_ceil(8);
        match components {
            [one] => {
                let part = &self.components[*one];
                (blocks(self.width, part.h, h), blocks(self.height, part.v, v))
            }
            _ => (self.width.div_ceil(8 * h), self.height.div_ceil(8 * v)),
        }
    }
}

/// A rewritten JPEG, and what was noticed on the way.
#[derive(Debug)]
pub(super) struct Stream {
    pub bytes: Vec<u8>,
    /// The scans, where they are decoded in pieces; `bytes` lacks their data then.
    pub scans: Vec<Scan>,
    pub frame: Frame,
    pub colour: Colour,
    pub turn: Turn,
    /// The parts of an ICC profile, put together.
    pub profile: Option<Vec<u8>>,
    pub lost: Vec<Lost>,
    pub notes: Vec<String>,
    /// Whether the end-of-image marker was there.
    pub ended: bool,
    /// Whether missing data makes the decoder fail rather than invent pixels.
    pub guarded: bool,
    /// Progressive: whether all bits of all coefficients were sent.
    pub complete: bool,
}

/// Reads the segments of a file; what is rewritten goes into the memory of `out`; `check` sees the frame header before memory is taken for what it asks.
pub(super) fn read(
    file: &[u8],
    mut out: Vec<u8>,
    check: &dyn Fn(&Frame) -> Result<(), DataError>,
) -> Result<Stream, Refusal> {
    out.clear();
    // in one piece, not by doubling
    out.reserve(file.len() + 64);
    out.extend([0xff, 0xd8]);
    // for the marker of the colours
    put(&mut out, 0xfe, &[0; 12]);
    let mut s = Reader {
        file,
        check,
        out,
        tables: Vec::new(),
        pieces: Vec::new(),
        frame: None,
        jfif: false,
        adobe: None,
        exif: None,
        xmp: None,
        profile: Vec::new(),
        interval: 0,
        full_tables: false,
        missing: Vec::new(),
        lost: Vec::new(),
        notes: Vec::new(),
        scans: 0,
    };
    let ended = s.segments()?;
    let frame = s.frame.ok_or("it has no frame header")?;
    if s.scans == 0 {
        return Err("it ends before the pixels begin".into());
    }
    let colour = colour(&frame, s.jfif, s.adobe);
    let mut bytes = s.out;
    bytes.extend([0xff, 0xd9]);
    // the decoder's fast reader wants a few bytes behind what it reads
    bytes.extend([0; 16]);
    let transform = match colour {
        Colour::Grey => None,
        Colour::Rgb | Colour::Cmyk => Some(0),
        Colour::YCbCr => Some(1),
        Colour::Ycck => Some(2),
    };
    if let Some(transform) = transform {
        bytes[2..18].copy_from_slice(&[0xff, 0xee, 0, 14, b'A', b'd', b'o', b'b', b'e', 0, 100, 0, 0, 0, 0, transform]);
    }
    Ok(Stream {
        bytes,
        scans: s.pieces,
        guarded: !s.full_tables && !frame.arithmetic() && !frame.lossless(),
        complete: !frame.progressive() || s.missing.iter().all(|m| m.iter().all(|&bit| bit == 0)),
        frame,
        colour,
        turn: Turn::new(s.exif, s.xmp),
        profile: put_together(s.profile),
        lost: s.lost,
        notes: s.notes,
        ended,
    })
}

/// The parts in order; nothing, which no profile is, where one of them is missing.
fn put_together(mut parts: Vec<(u8, u8, &[u8])>) -> Option<Vec<u8>> {
    let count = usize::from(parts.first()?.1);
    parts.sort_by_key(|part| part.0);
    parts.dedup_by_key(|part| part.0);
    let whole = parts.len() == count && parts.iter().enumerate().all(|(i, part)| usize::from(part.0) == i + 1);
    Some(if whole { parts.iter().flat_map(|part| part.2).copied().collect() } else { Vec::new() })
}

/// libjpeg's guess: JFIF is YCbCr, then Adobe's transform, then the component ids.
fn colour(frame: &Frame, jfif: bool, adobe: Option<u8>) -> Colour {
    let ids: Vec<u8> = frame.components.iter().map(|c| c.id).collect();
    match (ids.len(), adobe) {
        (1, _) => Colour::Grey,
        (4, None | Some(0)) => Colour::Cmyk,
        (4, Some(_)) => Colour::Ycck,
        (_, _) if jfif => Colour::YCbCr,
        (_, Some(0)) => Colour::Rgb,
        (_, None) if ids == *b"RGB" => Colour::Rgb,
        _ => Colour::YCbCr,
    }
}

struct Reader<'a> {
    file: &'a [u8],
    check: &'a dyn Fn(&Frame) -> Result<(), DataError>,
    out: Vec<u8>,
    /// Tables so far, as segments.
    tables: Vec<u8>,
    pieces: Vec<Scan>,
    frame: Option<Frame>,
    jfif: bool,
    adobe: Option<u8>,
    /// The orientation by EXIF, and by XMP.
    exif: Option<u8>,
    xmp: Option<u8>,
    /// Parts of an ICC profile: which of how many, and its bytes.
    profile: Vec<(u8, u8, &'a [u8])>,
    interval: usize,
    full_tables: bool,
    /// Per component and coefficient: the lowest bit not yet sent; 99 for nothing sent.
    missing: Vec<[u8; 64]>,
    lost: Vec<Lost>,
    notes: Vec<String>,
    scans: usize,
}

impl Reader<'_> {
    /// Whether the end-of-image marker was reached.
    fn segments(&mut self) -> Result<bool, Refusal> {
        let mut at = 2;
        loop {
            let Some((marker, after)) = next_marker(self.file, at) else { return Ok(false) };
            at = after;
            match marker {
                0xd9 => return Ok(true),
                0x01 | 0xd0..=0xd7 => continue,
                0xd8 if self.scans > 0 => return Ok(false),
                _ => {}
            }
            let cut = || format!("it ends in the middle of segment FF {marker:02X}");
            let length = match self.file.get(at..at + 2) {
                Some(l) => usize::from(l[0]) << 8 | usize::from(l[1]),
                None if self.scans > 0 => return Ok(false),
                None => return Err(cut().into()),
            };
            let Some(body) = self.file.get(at + 2..at + length.max(2)).filter(|_| length >= 2) else {
                if self.scans > 0 {
                    return Ok(false);
                }
                return Err(if length < 2 {
                    format!("segment FF {marker:02X} has length {length}, expected 2 or more")
                } else {
                    cut()
                }
                .into());
            };
            at += length;
            match marker {
                0xe0 if self.scans == 0 => self.jfif |= body.len() >= 14 && body.starts_with(b"JFIF\0"),
                0xe1 if self.scans == 0 => {
                    if let Some(packet) = body.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0") {
                        self.xmp = exif::in_xmp(packet);
                    } else if self.exif.is_none_or(|value| value == 0) {
                        let block = body.strip_prefix(b"Exif\0").and_then(|b| b.get(1..));
                        self.exif = block.and_then(exif::orientation).or(self.exif);
                    }
                }
                0xf7 if self.scans == 0 => return Err(Refusal::JpegLs),
                0xe2 if self.scans == 0 => {
                    if let Some([part, parts, data @ ..]) = body.strip_prefix(b"ICC_PROFILE\0") {
                        self.profile.push((*part, *parts, data));
                    }
                }
                0xee if self.scans == 0 && body.len() >= 12 && body.starts_with(b"Adobe") => {
                    self.adobe = Some(body[11]);
                }
                0xc4 => {
                    self.full_tables |= has_full_table(body);
                    self.copy(marker, body);
                }
                0xc0..=0xcf => {
                    if matches!(marker, 0xc8 | 0xcc) {
                        self.copy(marker, body);
                    } else {
                        self.start_frame(marker, body)?;
                        self.copy(marker, &numbered(body, 6, 3));
                    }
                }
                0xdb => self.copy(marker, body),
                0xdd => {
                    if let [high, low, ..] = body {
                        self.interval = usize::from(*high) << 8 | usize::from(*low);
                    }
                    self.copy(marker, body);
                }
                0xda => {
                    self.scans += 1;
                    at = self.scan(body, at)?;
                    let one = self.frame.as_ref().is_some_and(|f| {
                        !f.progressive() && body.first().is_some_and(|&n| usize::from(n) == f.components.len())
                    });
                    if one && self.scans == 1 {
                        return Ok(next_marker(self.file, at).is_some_and(|(marker, _)| marker == 0xd9));
                    }
                }
                _ => {}
            }
        }
    }

    fn copy(&mut self, marker: u8, body: &[u8]) {
        put(&mut self.out, marker, body);
        if matches!(marker, 0xcc | 0xdb) {
            put(&mut self.tables, marker, body);
        }
    }

    fn start_frame(&mut self, kind: u8, body: &[u8]) -> Result<(), Refusal> {
        let [precision, h1, h0, w1, w0, count, parts @ ..] = body else {
            return Err("its frame header is too short".into());
        };
        if self.frame.is_some() {
            return Err("it has two frame headers".into());
        }
        let components: Vec<Component> = parts
            .chunks_exact(3)
            .take(usize::from(*count))
            .map(|c| Component { id: c[0], h: usize::from(c[1] >> 4), v: usize::from(c[1] & 15), table: c[2] })
            .collect();
        let height = usize::from(*h1) << 8 | usize::from(*h0);
        if height == 0 {
            return Err("its height is to follow behind the pixels (DNL), which is not read".into());
        }
        if let Some((i, part)) =
            components.iter().enumerate().find(|(_, c)| !(1..=4).contains(&c.h) || !(1..=4).contains(&c.v))
        {
            return Err(format!("component {} is sampled {}x{}, expected 1 to 4", i + 1, part.h, part.v).into());
        }
        self.missing = vec![[99; 64]; components.len()];
        let width = usize::from(*w1) << 8 | usize::from(*w0);
        let frame = self.frame.insert(Frame { width, height, components, precision: *precision, kind });
        (self.check)(frame).map_err(Refusal::Limit)
    }

    /// Copies a scan's data, restart markers put in order; gives the place of the marker behind it.
    fn scan(&mut self, header: &[u8], start: usize) -> Result<usize, Refusal> {
        let Some(frame) = &self.frame else { return Err("its pixels come before its frame header".into()) };
        let count = usize::from(header.first().copied().unwrap_or_default());
        let components = frame.of_scan(header.iter().skip(1).step_by(2).take(count))?;
        if let Some([first, last, bits]) = header.get(1 + 2 * count..4 + 2 * count) {
            for &component in &components {
                self.missing[component]
                    .iter_mut()
                    .take(usize::from(*last) + 1)
                    .skip(usize::from(*first))
                    .for_each(|m| *m = bits & 15);
            }
        }
        let mut header = header.to_vec();
        for (i, component) in components.iter().enumerate() {
            header[1 + 2 * i] = *component as u8 + 1;
        }
        let (parts, end) = split(self.file, start, self.interval > 0);
        let (across, down) = frame.units(&components);
        let units = across * down;
        if frame.in_pieces() {
            let interval = if self.interval == 0 { units } else { units.min(self.interval) };
            let order = resynchronise(&parts, units.div_ceil(interval));
            self.notes.extend(damage(&parts, &order));
            self.pieces.push(Scan {
                tables: self.tables.clone(),
                header,
                components,
                units,
                interval,
                data: order.iter().map(|part| place(&parts, part)).collect(),
            });
            return Ok(end);
        }
        if frame.arithmetic() && self.interval > 0 {
            return Err("it has restart markers in arithmetic coding that is not sequential, which is not read".into());
        }
        put(&mut self.out, 0xda, &header);
        let pad: &[u8] =
            if frame.arithmetic() || frame.lossless() { &[] } else { &[0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0] };
        if self.interval == 0 || frame.lossless() {
            self.out.extend(&self.file[parts[0].0.start..if frame.lossless() { end } else { parts[0].0.end }]);
            self.out.extend(pad);
            return Ok(end);
        }
        let order = resynchronise(&parts, units.div_ceil(self.interval));
        let mut starved = false;
        for (i, part) in order.iter().enumerate() {
            if i > 0 {
                self.out.extend([0xff, 0xd0 + ((i - 1) % 8) as u8]);
            }
            let data = place(&parts, part);
            if data.is_empty() {
                // where data runs out, libjpeg makes one unit of zero bits, and none until a marker is accepted again
                let from = i * self.interval + usize::from(part.is_some() || !starved);
                self.lost.push(Lost(from..((i + 1) * self.interval).min(units)));
                starved = true;
            } else {
                starved = false;
                self.out.extend(&self.file[data]);
                self.out.extend(pad);
            }
        }
        let gaps = gaps(&parts, &order);
        if gaps > 0 && (frame.progressive() || components.len() != frame.components.len()) {
            return Err(format!(
                "{gaps} restart markers are missing or repeated, which is not mended in files of several scans"
            )
            .into());
        }
        self.notes.extend(damage(&parts, &order));
        Ok(end)
    }
}

/// Appends a segment.
pub(super) fn put(out: &mut Vec<u8>, marker: u8, body: &[u8]) {
    out.extend([0xff, marker]);
    out.extend((body.len() as u16 + 2).to_be_bytes());
    out.extend(body);
}

/// A segment's body with its components numbered from 1: the first id is at `from`, the others `step` apart.
fn numbered(body: &[u8], from: usize, step: usize) -> Vec<u8> {
    let mut body = body.to_vec();
    for (id, number) in body.iter_mut().skip(from).step_by(step).zip(1..) {
        *id = number;
    }
    body
}

/// Whether a table uses every code, so that a run of ones is no error to the decoder.
fn has_full_table(mut body: &[u8]) -> bool {
    while let Some((counts, rest)) = body.get(1..17).zip(body.get(17..)) {
        let codes: usize = counts.iter().enumerate().map(|(i, &n)| usize::from(n) << (15 - i)).sum();
        if codes >= 1 << 16 {
            return true;
        }
        let symbols: usize = counts.iter().map(|&n| usize::from(n)).sum();
        body = rest.get(symbols..).unwrap_or_default();
    }
    false
}
