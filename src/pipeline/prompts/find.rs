//! Which image of a prompt file a file is.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::{AskedImage, PromptFile};

/// Finds images by the names of their files.
pub struct Finder<'f> {
    by_name: HashMap<String, Vec<&'f AskedImage>>,
    by_number: HashMap<u64, &'f AskedImage>,
    found: HashSet<*const AskedImage>,
    file: &'f PromptFile,
}

impl PromptFile {
    /// To look images up.
    pub fn finder(&self) -> Finder<'_> {
        let mut by_name: HashMap<String, Vec<&AskedImage>> = HashMap::new();
        let mut by_number = HashMap::new();
        for image in &self.images {
            match (last(Path::new(&image.file_name)), image.id) {
                (Some(name), _) => by_name.entry(name).or_default().push(image),
                (None, Some(id)) => _ = by_number.insert(id, image),
                (None, None) => {}
            }
        }
        Finder { by_name, by_number, found: HashSet::new(), file: self }
    }
}

fn last(path: &Path) -> Option<String> {
    path.file_name().map(|name| name.to_string_lossy().into_owned())
}

impl<'f> Finder<'f> {
    /// What is asked about a file: the image of its name, of several in different folders the one whose folders are its own; where images have numbers alone, the one of
    /// the number at the end of the file's stem (`000000000139.jpg` is 139).
    ///
    /// # Errors
    /// Several images that it may be.
    pub fn find(&mut self, path: &Path) -> Result<Option<&'f AskedImage>, String> {
        let named = last(path).and_then(|name| self.by_name.get(&name)).map_or(&[][..], Vec::as_slice);
        let image = match named {
            [] => number(path).and_then(|number| self.by_number.get(&number)).copied(),
            [one] => Some(*one),
            several => {
                // the folders of one may be the end of another's
                let fitting = several.iter().filter(|image| path.ends_with(&image.file_name));
                let longest = fitting.max_by_key(|image| Path::new(&image.file_name).components().count());
                let names = || several.iter().map(|image| image.file_name.as_str()).collect::<Vec<_>>().join(", ");
                Some(*longest.ok_or_else(|| format!("it may be any of {}", names()))?)
            }
        };
        self.found.extend(image.map(std::ptr::from_ref));
        Ok(image)
    }

    /// Images that no file was.
    pub fn left(&self) -> Vec<&'f AskedImage> {
        self.file.images.iter().filter(|image| !self.found.contains(&std::ptr::from_ref(*image))).collect()
    }
}

fn number(path: &Path) -> Option<u64> {
    path.file_stem()?.to_string_lossy().rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_by_name_folder_or_number() {
        let named = |name: &str| AskedImage { file_name: name.into(), ..AskedImage::default() };
        let numbered = AskedImage { id: Some(139), ..AskedImage::default() };
        let images = vec![named("a.jpg"), named("left/b.jpg"), named("right/b.jpg"), numbered];
        let file = PromptFile { images, categories: Vec::new() };
        let mut finder = file.finder();
        let mut found = |path: &str| finder.find(Path::new(path)).map(|image| image.map(AskedImage::told));
        assert_eq!(found("photos/a.jpg"), Ok(Some("a.jpg".into())));
        assert_eq!(found("photos/right/b.jpg"), Ok(Some("right/b.jpg".into())));
        assert_eq!(found("val/COCO_val_000000000139.jpg"), Ok(Some("image 139".into())));
        assert_eq!(found("c.jpg"), Ok(None));
        assert!(found("b.jpg").unwrap_err().contains("left/b.jpg, right/b.jpg"));
        let left: Vec<String> = finder.left().into_iter().map(AskedImage::told).collect();
        assert_eq!(left, ["left/b.jpg"]);
    }
}
