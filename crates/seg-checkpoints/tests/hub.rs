//! The hub: its variables, its cache's layout, its token, resume and digests.
#![allow(clippy::unwrap_used)] // in tests a panic is the report, in their helpers too

mod common;
#[path = "common/server.rs"]
mod server;

use seg_checkpoints::{FetchOptions, Hub, HubClient, HubFile, Origin, resolve, sha256_file};
use server::{Asked, Server, file, response};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn body() -> Vec<u8> {
    (0..40_000u32).flat_map(|i| (i * 3).to_le_bytes()).collect()
}

fn digest() -> String {
    let dir = tempfile::tempdir().unwrap();
    sha256_file(&common::put(&dir, "x", &body())).unwrap()
}

fn vars<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<std::ffi::OsString> + 'a {
    let map: HashMap<_, _> = pairs.iter().copied().collect();
    move |n| map.get(n).map(Into::into)
}

fn options(home: &Path, endpoint: &str, more: &[(&str, &str)]) -> FetchOptions {
    let mut all = vec![("HOME", home.to_str().unwrap()), ("HF_ENDPOINT", endpoint)];
    all.extend(more);
    FetchOptions::from_vars(vars(&all)).unwrap().quiet()
}

/// As the hub answers for a large file: the description at the address, the bytes at another.
fn hub(asked: &Asked, base: &str, most: usize) -> Vec<u8> {
    if asked.path == "/org/name/resolve/main/sub/model.bin" {
        let (size, etag) = (body().len().to_string(), format!("\"{}\"", digest()));
        let location = format!("{base}/blob");
        let head = [
            ("Location", location.as_str()),
            ("X-Repo-Commit", COMMIT),
            ("X-Linked-Etag", &etag),
            ("X-Linked-Size", &size),
        ];
        return response(asked, "302 Found", &head, b"");
    }
    if asked.path == "/blob" { file(asked, &body(), most) } else { response(asked, "404 Not Found", &[], b"") }
}

const FILE: HubFile<'static> = HubFile { repo: "org/name", revision: "main", file: "sub/model.bin" };

#[test]
fn layout_is_pythons() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(|a, b| hub(a, b, 70_000));
    let o = options(home.path(), &server.base, &[]);
    assert!(Hub::new(&o).cached(FILE).is_none());
    let path = Hub::new(&o).get(FILE, None, None).unwrap();
    let repo = home.path().join(".cache/huggingface/hub/models--org--name");
    assert_eq!(path, repo.join("snapshots").join(COMMIT).join("sub/model.bin"));
    assert_eq!(std::fs::read(&path).unwrap(), body());
    assert_eq!(std::fs::read(repo.join("blobs").join(digest())).unwrap(), body());
    assert_eq!(std::fs::read_to_string(repo.join("refs/main")).unwrap(), COMMIT);
    #[cfg(unix)]
    assert_eq!(std::fs::read_link(&path).unwrap(), PathBuf::from(format!("../../../blobs/{}", digest())));
    assert_eq!(Hub::new(&o).cached(FILE), Some(path.clone()));
    // resumed twice: 70000 bytes a connection; each try asks the hub and is sent on
    let starts: Vec<_> = server.log().iter().filter(|a| a.path == "/blob").map(|a| a.from()).collect();
    assert_eq!(starts, [None, Some(70_000), Some(140_000)]);
    // and `--weights hub:…` finds it without asking, also offline
    let asked = server.log().len();
    let offline = options(home.path(), &server.base, &[("HF_HUB_OFFLINE", "true")]);
    let found = resolve("mobile-sam", Some("hub:org/name/sub/model.bin"), &offline).unwrap();
    assert_eq!((found.origin, found.path), (Origin::Cache, path));
    assert_eq!(server.log().len(), asked);
    let text = resolve("mobile-sam", Some("hub:org/name/other.bin"), &offline).unwrap_err().to_string();
    assert!(text.contains("HF_HUB_OFFLINE"), "{text}");
}

#[test]
fn wrong_content_never_gets_its_name() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(|a, b| match a.path.as_str() {
        "/blob" => file(a, &vec![9; body().len()], usize::MAX),
        _ => hub(a, b, 0),
    });
    let o = options(home.path(), &server.base, &[]);
    let text = Hub::new(&o).get(FILE, None, None).unwrap_err().to_string();
    assert!(text.contains("its SHA-256 should be") && text.contains("deleted"), "{text}");
    let blobs = home.path().join(".cache/huggingface/hub/models--org--name/blobs");
    assert_eq!(std::fs::read_dir(blobs).unwrap().count(), 0);
    // a digest that is not the published one is refused before anything is transferred
    let before = server.log().len();
    let text = Hub::new(&o).get(FILE, None, Some(&"0".repeat(64))).unwrap_err().to_string();
    assert!(text.contains("the published one 000"), "{text}");
    let text = Hub::new(&o).get(FILE, Some(5), None).unwrap_err().to_string();
    assert!(text.contains("160000 bytes, the published one 5"), "{text}");
    assert_eq!(server.log().len(), before + 2);
}

#[test]
fn token_goes_to_the_hub_alone() {
    let home = tempfile::tempdir().unwrap();
    let elsewhere = Server::start(|a, _| file(a, &body(), usize::MAX));
    let to = elsewhere.base.clone();
    let server = Server::start(move |a, _| match a.header("authorization") {
        Some("Bearer secret") => hub(a, &to, 0),
        _ => response(a, "401 Unauthorized", &[], b""),
    });
    let text = Hub::new(&options(home.path(), &server.base, &[])).get(FILE, None, None).unwrap_err().to_string();
    assert!(text.contains("401") && text.contains("HF_TOKEN"), "{text}");
    let wrong = options(home.path(), &server.base, &[("HF_TOKEN", "other")]);
    let text = Hub::new(&wrong).get(FILE, None, None).unwrap_err().to_string();
    assert!(text.contains("refuses the token") && !text.contains("other"), "{text}");
    assert!(!format!("{wrong:?}").contains("other"), "the token stays out of logs");
    let right = options(home.path(), &server.base, &[("HF_TOKEN", "secret")]);
    Hub::new(&right).get(FILE, None, None).unwrap();
    assert!(elsewhere.log().iter().all(|a| a.header("authorization").is_none()));
}

#[test]
fn names_from_a_server_are_not_paths() {
    let home = tempfile::tempdir().unwrap();
    for (etag, commit) in [("../../../evil", COMMIT), ("abc", "../../evil"), ("", COMMIT)] {
        let server =
            Server::start(move |a, _| response(a, "200 OK", &[("ETag", etag), ("X-Repo-Commit", commit)], b"x"));
        let text = Hub::new(&options(home.path(), &server.base, &[])).get(FILE, None, None).unwrap_err().to_string();
        assert!(text.contains("not a hub?"), "{text}");
    }
}

#[test]
fn variables() {
    let read = |pairs: &[(&str, &str)]| FetchOptions::from_vars(vars(pairs)).unwrap();
    let o = read(&[("HOME", "/h")]);
    assert_eq!(o.hub.endpoint, "https://huggingface.co");
    assert_eq!(o.hub.cache, Path::new("/h/.cache/huggingface/hub"));
    assert!(!o.offline && o.hub.token.is_none());
    let o = read(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x"), ("HRSEG_CACHE", "")]);
    assert_eq!(o.hub.cache, Path::new("/x/huggingface/hub"));
    let o = read(&[("HOME", "/h"), ("HF_HOME", "/hf"), ("HF_ENDPOINT", "https://mirror/"), ("HRSEG_CACHE", "/mine")]);
    assert_eq!((o.hub.cache.as_path(), o.hub.endpoint.as_str()), (Path::new("/hf/hub"), "https://mirror"));
    assert_eq!(o.cache, Path::new("/mine"));
    let o = read(&[
        ("HOME", "/h"),
        ("HF_HOME", "/hf"),
        ("HF_HUB_CACHE", "/hc"),
        ("HF_HUB_OFFLINE", "ON"),
        ("HF_TOKEN", " t "),
    ]);
    assert_eq!((o.hub.cache.as_path(), o.offline, o.hub.token.as_deref()), (Path::new("/hc"), true, Some("t")));
    assert!(!read(&[("HOME", "/h"), ("HF_HUB_OFFLINE", "0")]).offline);
    let dir = tempfile::tempdir().unwrap();
    common::put(&dir, "token", b"from-file\n");
    let o = read(&[("HF_HOME", dir.path().to_str().unwrap()), ("HRSEG_CACHE", "/c")]);
    assert_eq!(o.hub.token.as_deref(), Some("from-file"));
    let text = FetchOptions::from_vars(|_| None).unwrap_err().to_string();
    assert!(text.contains("HRSEG_CACHE"), "{text}");
}
