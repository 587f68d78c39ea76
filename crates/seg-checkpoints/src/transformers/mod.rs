//! Checkpoints that transformers saved: found by their names, and brought under those of the models' authors.

mod rules;

use crate::error::{Fault, shorten};
use crate::place::Place;
use crate::read::Reader;
use candle_core::{DType, Device};
use rules::{FAMILIES, Family, How, Rule};
use std::collections::BTreeMap;

/// The table of positions that SAM's prompt encoder and decoder share: one for the authors, two for transformers.
const POSITIONS: &str = "~prompt_encoder.pe_layer.positional_encoding_gaussian_matrix";
/// Bytes of such a table: 2 by 128 numbers.
const MAX_POSITIONS: u64 = 1 << 16;
/// Rows that become tensors of their own, at most.
const MAX_ROWS: usize = 64;

/// What was renamed.
#[derive(Debug, Clone)]
pub(crate) struct Renamed {
    /// transformers' classes, and the model.
    pub family: &'static str,
    /// How many of the file's tensors have another name now.
    pub tensors: usize,
    /// The two tables of positions, by the names of the file: the one in use first.
    pub positions: Option<(Place, Place)>,
}

impl Renamed {
    /// A line for the report: what was renamed, and whether the two tables of positions differ.
    pub fn note<'r>(&self, reader: impl Fn(usize) -> &'r Reader) -> String {
        let mut note = format!("{} tensors of transformers' {} under the authors' names", self.tensors, self.family);
        if let Some((used, other)) = &self.positions {
            let numbers = |place: &Place| {
                let tensor = place.read(&reader, &Device::Cpu).ok()?.to_dtype(DType::F64).ok()?;
                tensor.flatten_all().ok()?.to_vec1::<f64>().ok()
            };
            if used.bytes() <= MAX_POSITIONS && numbers(used) != numbers(other) {
                note += "; its two tables of positions differ, as they do when version 5 loads a file that version 4 saved: \
                         'shared_image_embedding' is used for prompts, too";
            }
        }
        note
    }
}

/// Brings tensors that are called as transformers calls them under the authors' names; leaves others alone.
///
/// `skipped` are tensors of the same file that are not read; of what becomes several tensors the name stays.
pub(crate) fn rename(
    places: &mut BTreeMap<String, Place>,
    skipped: &mut BTreeMap<String, String>,
) -> Result<Option<Renamed>, Fault> {
    let Some((family, before, part)) = FAMILIES.iter().find_map(|family| of(family, places)) else {
        return Ok(None);
    };
    let mut out = BTreeMap::new();
    let mut pieces: BTreeMap<String, Vec<Option<(String, Place)>>> = BTreeMap::new();
    let (mut tensors, mut tables) = (0, Vec::new());
    let inner = |name: &str| format!("{part}{}", name.strip_prefix(before).unwrap_or(name));
    let fit = |inner: &str| {
        family.rules.iter().flat_map(|rules| rules.iter()).find_map(|rule| {
            let authors = fill(rule, inner)?.replacen('~', family.prompts, 1);
            Some((rule, authors))
        })
    };
    let authors = |name: String| match fit(&inner(&name)) {
        Some((rule, authors)) if rule.how != How::Rows => authors,
        _ => name,
    };
    *skipped = std::mem::take(skipped).into_iter().map(|(name, what)| (authors(name), what)).collect();
    for (name, place) in std::mem::take(places) {
        let inner = inner(&name);
        let Some((rule, authors)) = fit(&inner) else {
            insert(&mut out, name, place)?;
            continue;
        };
        tensors += usize::from(authors != name);
        match rule.how {
            How::Same if rule.authors == POSITIONS => tables.push((inner, authors, place)),
            How::Same => insert(&mut out, authors, place)?,
            How::Rows => {
                let rows = place.info().shape.first().copied().unwrap_or(0).min(MAX_ROWS + 1);
                let rows: Option<Vec<Place>> = (0..rows).map(|row| place.row(row)).collect();
                match rows.filter(|rows| (1..=MAX_ROWS).contains(&rows.len())) {
                    None => insert(&mut out, name, place)?,
                    Some(rows) => {
                        for (number, row) in rows.into_iter().enumerate() {
                            insert(&mut out, authors.replacen("{}", &number.to_string(), 1), row)?;
                        }
                    }
                }
            }
            How::Piece(at, of) => {
                let slots = pieces.entry(authors).or_insert_with(|| vec![None; of]);
                match slots.get_mut(at) {
                    Some(slot @ None) => *slot = Some((name, place)),
                    _ => return Err(twice(&name)),
                }
            }
        }
    }
    for (authors, slots) in pieces {
        let found: Vec<_> = slots.iter().flatten().map(|(_, place)| place.clone()).collect();
        match Some(found).filter(|found| found.len() == slots.len()).and_then(Place::joined) {
            Some(joined) => insert(&mut out, authors, joined)?,
            // what cannot be joined stays, so that the report of what is missing has its names beside it
            None => {
                for (name, place) in slots.into_iter().flatten() {
                    tensors -= 1;
                    insert(&mut out, name, place)?;
                }
            }
        }
    }
    // the image's table comes last in the order of names
    let mut positions = None;
    if let Some((_, authors, place)) = tables.pop() {
        positions = tables.pop().map(|(_, _, other)| (place.clone(), other));
        insert(&mut out, authors, place)?;
    }
    *places = out;
    Ok(Some(Renamed { family: family.name, tensors, positions }))
}

/// Whether the names are those of a model that transformers saved.
pub(crate) fn is_known<T>(names: &BTreeMap<String, T>) -> bool {
    FAMILIES.iter().any(|family| of(family, names).is_some())
}

/// Whether the names are of this family; if so, what to take off before them, and what to put there.
fn of<'f, T>(family: &'f Family, names: &BTreeMap<String, T>) -> Option<(&'f Family, &'static str, &'static str)> {
    let begins = |start: &str| names.range(start.to_owned()..).next().is_some_and(|(name, _)| name.starts_with(start));
    for before in std::iter::once(&"").chain(family.before) {
        if family.signs.iter().any(|sign| begins(&format!("{before}{sign}"))) {
            return Some((family, before, ""));
        }
    }
    family.part.iter().find(|(sign, _)| begins(sign)).map(|(_, part)| (family, "", *part))
}

fn insert(places: &mut BTreeMap<String, Place>, name: String, place: Place) -> Result<(), Fault> {
    match places.insert(name.clone(), place) {
        None => Ok(()),
        Some(_) => Err(twice(&name)),
    }
}

fn twice(name: &str) -> Fault {
    Fault::malformed(format!("two tensors stand for '{}'", shorten(name)))
}

/// The authors' name of what transformers calls `name`, if the rule is for it.
fn fill(rule: &Rule, name: &str) -> Option<String> {
    let (mut found, mut rest) = (Vec::new(), None);
    let mut components = name.split('.');
    let mut at = 0;
    for pattern in rule.theirs.split('.') {
        if pattern == "*" {
            rest = name.get(at..).filter(|rest| !rest.is_empty());
            rest?;
            break;
        }
        let component = components.next()?;
        at += component.len() + 1;
        match pattern {
            "?" => found.push(component),
            _ if pattern == component => {}
            _ => return None,
        }
    }
    if rest.is_none() && components.next().is_some() {
        return None;
    }
    let mut found = found.into_iter();
    let filled = rule.authors.split('.').map(|part| match part {
        "?" => found.next(),
        "*" => rest,
        _ => Some(part),
    });
    Some(filled.collect::<Option<Vec<_>>>()?.join("."))
}
