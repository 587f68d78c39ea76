//! The page that is taken, and what is told of the others.

use std::collections::HashSet;

use tiff::tags::Tag;

use super::Directory;
use super::fault::Fault;

/// More than any file has.
const MOST: usize = 10_000;

/// Bits of NewSubfileType: a smaller copy, a mask of transparency.
const REDUCED: u64 = 1;
const MASK: u64 = 4;

/// Turns to the first page that is neither a thumbnail nor a mask; the first one if there is no other.
pub(super) fn choose(directory: &mut Directory<'_>) -> Result<Vec<String>, Fault> {
    let mut kinds = Vec::new();
    let mut seen = HashSet::new();
    let (mut next, mut broken) = (directory.ifd_pointer(), false);
    while let Some(at) = next.filter(|at| kinds.len() < MOST && seen.insert(at.0)) {
        // a damaged chain costs the pages behind it alone
        let Ok(page) = directory.read_directory(at) else {
            broken = true;
            break;
        };
        let kind = directory.read_directory_tags(&page).find_tag_unsigned::<u64>(Tag::NewSubfileType);
        kinds.push(kind.unwrap_or_default().unwrap_or(0));
        next = page.next();
    }
    let whole = |kind: &u64| kind & (REDUCED | MASK) == 0;
    let mut notes = Vec::new();
    if broken {
        notes.push(format!("the TIFF's pages behind the first {} are cut off or damaged", kinds.len()));
    }
    match kinds.iter().position(whole) {
        Some(first) if first > 0 => directory.seek_to_image(first)?,
        _ => {}
    }
    let pages = kinds.iter().filter(|kind| whole(kind)).count();
    if pages > 1 {
        let more = if kinds.len() == MOST { " or more" } else { "" };
        notes.push(format!("the TIFF has {pages}{more} pages; only the first is used"));
    }
    if pages == 0 && broken {
        return Err(Fault::Truncated(format!("behind {} thumbnails or masks it is cut off", kinds.len())));
    }
    if pages == 0 && kinds.first().is_some_and(|kind| kind & REDUCED != 0) {
        let (width, height) = directory.dimensions()?;
        let more = if directory.find_tag(Tag::SubIfd)?.is_some() { ", as in a camera's raw file" } else { "" };
        notes.push(format!("its only pages are thumbnails{more}: the one of {width}x{height} pixels is used"));
    }
    if kinds.iter().any(|kind| kind & MASK != 0) {
        notes.push("the TIFF has a page with a mask of transparency, which is not used".to_owned());
    }
    Ok(notes)
}
