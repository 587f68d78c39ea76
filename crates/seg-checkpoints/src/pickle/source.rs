//! The bytes of a pickle, read from the file through a small window: what is long stays in the file.

use crate::error::Fault;
use crate::read::{Latin1, Reader};

/// Bytes read from the file in one go.
const WINDOW: u64 = 1 << 16;
/// Longest line that is a number, in bytes.
const MAX_NUMBER: usize = 4096;

pub(super) struct Source<'r> {
    reader: &'r Reader,
    /// Where positions in messages count from.
    origin: u64,
    /// The next byte, and the end, counted from the start of the file.
    at: u64,
    end: u64,
    /// What was read of the file from `at` on: `window[used..]`.
    window: Vec<u8>,
    used: usize,
}

impl<'r> Source<'r> {
    pub fn new(reader: &'r Reader, at: u64, end: u64, origin: u64) -> Self {
        Self { reader, origin, at, end, window: Vec::new(), used: 0 }
    }

    /// The next byte's position in the file.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The next byte's position for messages.
    pub fn shown(&self) -> u64 {
        self.at - self.origin
    }

    /// That `n` bytes are there, before memory is taken for them.
    fn check(&self, n: u64) -> Result<(), Fault> {
        let end = self.at.saturating_add(n);
        if end > self.end {
            return Err(Fault::Truncated {
                expected: end.saturating_sub(self.origin),
                actual: self.end.saturating_sub(self.origin),
            });
        }
        Ok(())
    }

    /// The window from the next byte on, with at least `n` bytes; `n` is at most [`WINDOW`].
    fn window(&mut self, n: u64) -> Result<&[u8], Fault> {
        if ((self.window.len() - self.used) as u64) < n {
            self.check(n)?;
            let len = WINDOW.min(self.end - self.at);
            self.window.resize(len as usize, 0);
            self.used = 0;
            self.reader.read_at(self.at, &mut self.window)?;
        }
        Ok(&self.window[self.used..])
    }

    fn advance(&mut self, n: u64) {
        self.at += n;
        // beyond the window when something was passed over
        self.used = usize::try_from(n).map_or(usize::MAX, |n| self.used.saturating_add(n)).min(self.window.len());
    }

    /// The next `N` bytes.
    pub fn take<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut out = [0; N];
        out.copy_from_slice(&self.window(N as u64)?[..N]);
        self.advance(N as u64);
        Ok(out)
    }

    /// An unsigned number of `n` bytes, 8 at most, the lowest first.
    pub fn uint(&mut self, n: u8) -> Result<u64, Fault> {
        let value = self.window(n.into())?[..n.into()].iter().rev().fold(0, |v, &b| v << 8 | u64::from(b));
        self.advance(n.into());
        Ok(value)
    }

    /// Calls `visit` with the next `n` bytes, in pieces.
    fn pieces(&mut self, n: u64, mut visit: impl FnMut(&[u8])) -> Result<(), Fault> {
        self.check(n)?;
        let mut left = n;
        while left > 0 {
            let window = self.window(1)?;
            let len = (window.len() as u64).min(left);
            visit(&window[..len as usize]);
            self.advance(len);
            left -= len;
        }
        Ok(())
    }

    /// Appends the next `n` bytes to `out`.
    pub fn copy(&mut self, n: u64, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.pieces(n, |piece| out.extend_from_slice(piece))
    }

    pub fn skip(&mut self, n: u64) -> Result<(), Fault> {
        self.check(n)?;
        self.advance(n);
        Ok(())
    }

    /// Passes over a text of `n` bytes; says how many bytes it is in Latin-1, if all its characters are in it.
    pub fn skip_text(&mut self, n: u64) -> Result<Option<u64>, Fault> {
        let mut latin1 = Latin1::default();
        let mut count = Some(0u64);
        self.pieces(n, |piece| {
            for &byte in piece {
                let Some(bytes) = count else { return };
                count = latin1.push(byte).ok().map(|b| bytes + u64::from(b.is_some()));
            }
        })?;
        Ok(count.filter(|_| latin1.is_whole()))
    }

    /// Appends a line to `out`, without its end; `most` bytes at most, or the limit `what` is named.
    pub fn line(&mut self, most: usize, out: &mut Vec<u8>, what: &str) -> Result<(), Fault> {
        let begin = out.len();
        loop {
            let window = self.window(1)?;
            let end = window.iter().position(|&b| b == b'\n');
            let part = &window[..end.unwrap_or(window.len())];
            if out.len() - begin + part.len() > most {
                return Err(Fault::limit(format!("{what} of more than {most} bytes")));
            }
            out.extend_from_slice(part);
            let len = part.len() as u64;
            self.advance(len + u64::from(end.is_some()));
            if end.is_some() {
                return Ok(());
            }
        }
    }

    /// A line that is a number.
    pub fn number(&mut self) -> Result<String, Fault> {
        let mut line = Vec::new();
        self.line(MAX_NUMBER, &mut line, "the pickle has a number")?;
        String::from_utf8(line)
            .map(|l| l.trim().to_owned())
            .map_err(|_| Fault::malformed(format!("a number before byte {} of the pickle is not text", self.shown())))
    }
}
