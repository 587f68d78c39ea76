//! The page: its files are in the binary.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        [$(($path, include_bytes!(concat!("page/", $path)).as_slice())),*]
    };
}

macro_rules! sample {
    ($name:literal, $title:literal) => {
        (
            concat!("samples/", $name),
            $title,
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/photos/", $name)).as_slice(),
        )
    };
}

/// Pictures to try the page with: path, title, bytes.
pub const SAMPLES: [(&str, &str, &[u8]); 3] =
    [sample!("coffee.jpg", "Cup"), sample!("dandelion.jpg", "Dandelion clock"), sample!("rocket.jpg", "Rocket")];

/// Files of the page by their paths.
const FILES: &[(&str, &[u8])] = &files![
    "css/base.css",
    "css/controls.css",
    "css/layout.css",
    "css/timeline.css",
    "icon.svg",
    "icons.svg",
    "index.html",
    "js/api.js",
    "js/commands.js",
    "js/dom.js",
    "js/events.js",
    "js/everything.js",
    "js/exports.js",
    "js/hover.js",
    "js/keys.js",
    "js/layer.js",
    "js/live.js",
    "js/loupe.js",
    "js/main.js",
    "js/marks.js",
    "js/model.js",
    "js/open.js",
    "js/panels/bar.js",
    "js/panels/compare.js",
    "js/panels/dialogs.js",
    "js/panels/look.js",
    "js/panels/measure.js",
    "js/panels/models.js",
    "js/panels/object.js",
    "js/panels/objects.js",
    "js/picture.js",
    "js/pointer.js",
    "js/prepare.js",
    "js/propagate.js",
    "js/remote.js",
    "js/results.js",
    "js/rle.js",
    "js/stage.js",
    "js/start.js",
    "js/store.js",
    "js/timeline.js",
    "js/token.js",
    "js/tools.js",
    "js/view.js",
];

/// The file at a path of an address, which begins with a slash.
fn find(path: &str) -> Option<(&'static str, &'static [u8])> {
    let path = match path.strip_prefix('/')? {
        "" => "index.html",
        path => path,
    };
    let samples = SAMPLES.iter().map(|(name, _, bytes)| (*name, *bytes));
    FILES.iter().copied().chain(samples).find(|(name, _)| *name == path)
}

/// A file of the page; none where there is none.
pub fn file(path: &str) -> Option<Response> {
    let (name, bytes) = find(path)?;
    let media = match name.rsplit_once('.')?.1 {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        "jpg" => "image/jpeg",
        _ => "application/octet-stream",
    };
    Some((StatusCode::OK, [(header::CONTENT_TYPE, media)], bytes).into_response())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_of_the_page_is_in_the_binary() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/serve/page");
        let mut folders = vec![root.clone()];
        let mut found = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path != root.join("README.md") {
                    let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
                    found.push(name.replace(std::path::MAIN_SEPARATOR, "/"));
                }
            }
        }
        found.sort();
        let mut known: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
        known.sort_unstable();
        assert_eq!(found, known);
        assert!(find("/").is_some() && find("/samples/coffee.jpg").is_some());
        assert!(find("/README.md").is_none() && find("//index.html").is_none() && find("/../page.rs").is_none());
    }
}
