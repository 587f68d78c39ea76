//! Scalars as TensorBoard reads them: records of the `Event` message, each with its checksums.
//!
//! The format is TensorFlow's: a record is its length, a masked CRC-32C of that, the message, and a masked CRC-32C of the message; the message's
//! fields (`tensorflow/core/util/event.proto`) are written by hand, for there are four of them.

use crate::{Result, TrainError};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Writes one file of events.
#[derive(Debug)]
pub struct EventWriter {
    path: PathBuf,
    out: BufWriter<File>,
}

impl EventWriter {
    /// A new file in `folder`. TensorBoard forgets what older files of the folder say of steps behind `step`: a resumed run says it again.
    ///
    /// # Errors
    /// A folder that cannot be written to.
    pub fn create(folder: &Path, step: u64) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(TrainError::io(folder, "make it"))?;
        let seconds = now() as u64;
        // TensorBoard reads files in the order of their names
        let name = (0..).map(|n| folder.join(format!("events.out.tfevents.{seconds:010}.{n:03}.hrseg")));
        let (path, file) = name
            .map(|path| (File::options().write(true).create_new(true).open(&path), path))
            .find_map(|(file, path)| match file {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => None,
                file => Some((path, file)),
            })
            .map(|(path, file)| file.map(|file| (path, file)))
            .transpose()
            .map_err(TrainError::io(folder, "write into it"))?
            .ok_or_else(|| TrainError::Run { path: folder.into(), problem: "too many files of events".into() })?;
        let mut writer = Self { path, out: BufWriter::new(file) };
        let mut version = Message::default();
        version.bytes(3, b"brain.Event:2");
        writer.event(0, &version)?;
        let mut start = Message::default();
        start.number(1, 1);
        let mut session = Message::default();
        session.bytes(7, &start.0);
        writer.event(step + 1, &session)?;
        writer.flush()?;
        Ok(writer)
    }

    /// Adds a number.
    ///
    /// # Errors
    /// A full disk and the like.
    pub fn scalar(&mut self, tag: &str, value: f64, step: u64) -> Result<()> {
        let mut entry = Message::default();
        entry.bytes(1, tag.as_bytes());
        entry.float(2, value as f32);
        let mut summary = Message::default();
        summary.bytes(1, &entry.0);
        let mut event = Message::default();
        event.bytes(5, &summary.0);
        self.event(step, &event)
    }

    /// Hands everything to the system.
    ///
    /// # Errors
    /// A full disk and the like.
    pub fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(TrainError::io(&self.path, "write to it"))
    }

    fn event(&mut self, step: u64, rest: &Message) -> Result<()> {
        let mut event = Message::default();
        event.double(1, now());
        event.number(2, step);
        event.0.extend_from_slice(&rest.0);
        let length = (event.0.len() as u64).to_le_bytes();
        let parts = [&length[..], &masked(&length).to_le_bytes(), &event.0, &masked(&event.0).to_le_bytes()];
        self.out.write_all(&parts.concat()).map_err(TrainError::io(&self.path, "write to it"))
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0., |time| time.as_secs_f64())
}

/// The checksum as it is stored: turned and shifted, so that one of data that holds checksums is good, too.
fn masked(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// A protocol buffers message.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.varint(field << 3 | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    fn float(&mut self, field: u64, value: f32) {
        self.varint(field << 3 | 5);
        self.0.extend_from_slice(&value.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_their_lengths_and_checksums() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(dir.path(), 0).unwrap();
        writer.scalar("train/loss", 0.25, 300).unwrap();
        writer.flush().unwrap();
        let second = EventWriter::create(dir.path(), 10).unwrap();
        assert_ne!(second.path, writer.path);
        let bytes = std::fs::read(&writer.path).unwrap();
        let mut records = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            assert_eq!(u32::from_le_bytes(rest[8..12].try_into().unwrap()), masked(&rest[..8]));
            let (record, after) = rest[12..].split_at(length);
            assert_eq!(u32::from_le_bytes(after[..4].try_into().unwrap()), masked(record));
            records.push(record);
            rest = &after[4..];
        }
        assert_eq!(records.len(), 3);
        // step 300, then a summary of one value: its tag and 0.25
        let last = [0x10, 0xac, 0x02, 0x2a, 19, 0x0a, 17, 0x0a, 10];
        assert_eq!(records[2][9..18], last);
        assert_eq!(records[2][28..], [0x15, 0, 0, 0x80, 0x3e]);
        // the example of the CRC's definition
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
    }
}
