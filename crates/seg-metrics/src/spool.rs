//! What is kept of each pair, in a temporary file as soon as it is much: memory does not grow with the data set.

use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use string_interner::{StringInterner, Symbol, backend::StringBackend, symbol::SymbolU32};
use tempfile::SpooledTempFile;

use crate::number::Number;
use crate::{Error, Result};

/// Bytes that stay in memory before a file is made.
const IN_MEMORY: usize = 1 << 16;

/// Records by name. They are written once, and read in any order.
#[derive(Debug)]
pub(crate) struct Spool {
    names: StringInterner<StringBackend<SymbolU32>>,
    /// Where each name's record begins.
    places: Vec<u64>,
    end: u64,
    file: Mutex<SpooledTempFile>,
}

/// What is kept of a pair.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// In the order of the columns; what the pair does not have is `None`.
    pub(crate) numbers: Vec<Option<Number>>,
    /// Each with the place of its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) curves: Vec<(u32, Vec<Number>)>,
}

impl Default for Spool {
    fn default() -> Self {
        let file = Mutex::new(tempfile::spooled_tempfile(IN_MEMORY));
        Self { names: StringInterner::new(), places: Vec::new(), end: 0, file }
    }
}

impl Spool {
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.names.get(name).is_some()
    }

    /// The names in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let mut names: Vec<SymbolU32> = self.names.iter().map(|(symbol, _)| symbol).collect();
        names.sort_unstable_by(|a, b| self.names.resolve(*a).cmp(&self.names.resolve(*b)));
        names.into_iter().filter_map(|symbol| self.names.resolve(symbol))
    }

    /// Keeps the record of a new name.
    pub(crate) fn put(&mut self, name: &str, record: &Record) -> Result<()> {
        if self.contains(name) {
            return Err(Error::Twice { stem: name.to_owned() });
        }
        let bytes = record.to_bytes();
        let file = self.file.get_mut().unwrap_or_else(PoisonError::into_inner);
        let written = file.seek(SeekFrom::Start(self.end)).and_then(|_| file.write_all(&bytes));
        written.map_err(|e| Error::Spool { action: "write", reason: e.to_string() })?;
        self.names.get_or_intern(name);
        self.places.push(self.end);
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// The record of a name; `None` if there is none.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Record>> {
        let place = self.names.get(name).and_then(|symbol| self.places.get(symbol.to_usize()));
        let Some(&place) = place else { return Ok(None) };
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let found = file.seek(SeekFrom::Start(place)).and_then(|_| Record::read(&mut BufReader::new(&mut *file)));
        found.map(Some).map_err(|e| Error::Spool { action: "read", reason: e.to_string() })
    }
}

impl Record {
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = (self.numbers.len() as u32).to_le_bytes().to_vec();
        for number in &self.numbers {
            out.push(u8::from(number.is_some()));
            out.extend(number.map_or(0., |n| n.0).to_le_bytes());
        }
        out.extend((self.curves.len() as u32).to_le_bytes());
        for (name, curve) in &self.curves {
            out.extend(name.to_le_bytes());
            out.extend((curve.len() as u32).to_le_bytes());
            curve.iter().for_each(|n| out.extend(n.0.to_le_bytes()));
        }
        out
    }

    /// Reads what `to_bytes` made; nobody else has written into the file.
    fn read(from: &mut impl Read) -> std::io::Result<Self> {
        let mut numbers = Vec::new();
        for _ in 0..read_u32(from)? {
            let [there] = read_bytes(from)?;
            let number = f64::from_le_bytes(read_bytes(from)?);
            numbers.push((there == 1).then_some(Number(number)));
        }
        let mut curves = Vec::new();
        for _ in 0..read_u32(from)? {
            let (name, len) = (read_u32(from)?, read_u32(from)?);
            let curve: std::io::Result<_> =
                (0..len).map(|_| Ok(Number(f64::from_le_bytes(read_bytes(from)?)))).collect();
            curves.push((name, curve?));
        }
        Ok(Self { numbers, curves })
    }
}

fn read_bytes<const N: usize>(from: &mut impl Read) -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read_u32(from: &mut impl Read) -> std::io::Result<u32> {
    Ok(u32::from_le_bytes(read_bytes(from)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_from_memory_and_from_the_file() {
        let record = |i: usize| Record {
            numbers: vec![Some(Number(i as f64)), None, Some(Number(f64::INFINITY))],
            curves: vec![(3, (0..256).map(|k| Number((i * k) as f64)).collect()), (0, Vec::new())],
        };
        let mut spool = Spool::default();
        // 256 values of eight bytes: the file begins after about thirty
        for i in [5, 3, 80, 2].into_iter().chain(100..200) {
            spool.put(&i.to_string(), &record(i)).unwrap();
        }
        for i in [80, 2, 199, 5, 140] {
            assert_eq!(spool.get(&i.to_string()).unwrap(), Some(record(i)));
        }
        assert_eq!(spool.get("4").unwrap(), None);
        assert_eq!(spool.put("80", &record(1)), Err(Error::Twice { stem: "80".into() }));
        assert_eq!(spool.len(), 104);
        assert!(spool.names().is_sorted());
    }
}
