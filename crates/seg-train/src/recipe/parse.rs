//! From text to a recipe, with messages that say what to write instead.

use super::Recipe;
use crate::{Result, TrainError};
use toml::{Table, Value};

pub(super) fn read(text: &str, name: &str, changes: &[String]) -> Result<Recipe> {
    let refuse = |problem: String| TrainError::Recipe { recipe: name.to_owned(), problem };
    let mut table: Table = toml::from_str(text).map_err(|e| explained(e.to_string().trim(), name))?;
    for change in changes {
        let (key, value) = change
            .split_once('=')
            .ok_or_else(|| refuse(format!("{change:?} is not a change, expected key=value, such as data.batch=4")))?;
        override_value(&mut table, key.trim(), value.trim()).map_err(refuse)?;
    }
    match table.get("length").filter(|length| !length.is_table()) {
        Some(length) => Err(refuse(format!("length is {length}, expected {{ steps = 1000 }} or {{ epochs = 20 }}"))),
        None => typed(table, name),
    }
}

/// A table as what it stands for; messages have the key.
pub(super) fn typed<T: serde::de::DeserializeOwned>(table: Table, recipe: &str) -> Result<T> {
    serde_path_to_error::deserialize(table).map_err(|error| {
        let path = error.path().to_string();
        let at = if path == "." { String::new() } else { format!("{path}: ") };
        explained(&format!("{at}{}", error.inner().message()), recipe)
    })
}

/// Sets the value at a dotted key, making tables on the way. `text` is TOML (`3`, `[1, 2]`, `{ steps = 9 }`), or a string where it is not.
///
/// # Errors
/// A key part of which is there and is no table.
pub fn override_value(table: &mut Table, key: &str, text: &str) -> std::result::Result<(), String> {
    let value = toml::from_str::<Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()));
    let (path, last) = key.rsplit_once('.').map_or((None, key), |(path, last)| (Some(path), last));
    let mut at = table;
    for part in path.into_iter().flat_map(|path| path.split('.')) {
        let next = at.entry(part).or_insert_with(|| Value::Table(Table::new()));
        at = next.as_table_mut().ok_or_else(|| format!("{key}: {part} is a value, expected a table of keys"))?;
    }
    at.insert(last.to_owned(), value);
    Ok(())
}

/// The parser's message in one line, with the nearest known key or name where one is unknown.
fn explained(message: &str, recipe: &str) -> TrainError {
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    // names in the message stand in backticks: the unknown one first, then those that are known
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let nearest = match (message.contains("unknown "), names.split_first()) {
        (true, Some((unknown, known))) => nearest(unknown, known),
        _ => None,
    };
    let hint = nearest.map(|known| format!("; did you mean `{known}`?")).unwrap_or_default();
    TrainError::Recipe { recipe: recipe.to_owned(), problem: format!("{message}{hint}") }
}

/// The known name that is most like `name`, if any is.
fn nearest<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    let likeness = |other: &str| strsim::jaro_winkler(name, other);
    // Jaro's measure does not see letters of short names that have changed places
    let slip = |other: &str| strsim::osa_distance(name, other) <= 1;
    let best = known.iter().copied().max_by(|a, b| {
        (slip(a), likeness(a)).partial_cmp(&(slip(b), likeness(b))).unwrap_or(std::cmp::Ordering::Equal)
    })?;
    (slip(best) || likeness(best) > 0.7).then_some(best)
}
