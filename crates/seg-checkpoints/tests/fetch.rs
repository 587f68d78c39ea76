//! Fetching by address: resume, digests, redirects, mirrors, order, the offline switch, what the user is told.
#![allow(clippy::unwrap_used)] // in tests a panic is the report, in their helpers too

mod common;
#[path = "common/server.rs"]
mod server;

use seg_checkpoints::{Entry, Error, FetchOptions, Origin, fetch, resolve, sha256_file};
use server::{Server, file, response};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn body() -> Vec<u8> {
    (0..50_000u32).flat_map(|i| (i * 7).to_le_bytes()).collect()
}

fn digest(bytes: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    sha256_file(&common::put(&dir, "x", bytes)).unwrap()
}

fn entry(sources: &[String], size: Option<usize>, sha256: Option<&str>) -> &'static Entry {
    let mut text = format!(
        "name='toy'\nfamily='Toy'\nfile='toy.bin'\nlicence='MIT'\nhome=''\nby_hand='ask the author'\nsources={sources:?}\n"
    );
    if let Some(size) = size {
        text += &format!("size={size}\n");
    }
    if let Some(sha) = sha256 {
        text += &format!("sha256='{sha}'\n");
    }
    Box::leak(Box::new(toml::from_str(&text).unwrap()))
}

fn options(dir: &tempfile::TempDir, vars: &[(&str, &str)]) -> FetchOptions {
    let mut all = HashMap::from([("HOME", dir.path().to_str().unwrap())]);
    all.extend(vars.iter().copied());
    FetchOptions::from_vars(|n| all.get(n).map(Into::into)).unwrap().quiet()
}

/// Files left in the weights folder, hidden ones aside.
fn left(dir: &tempfile::TempDir) -> Vec<String> {
    let Ok(list) = std::fs::read_dir(dir.path().join(".cache/hrseg/weights")) else { return Vec::new() };
    let names = list.map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.filter(|n| !n.starts_with('.')).collect();
    names.sort();
    names
}

#[test]
fn whole_file_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|a, _| file(a, &body(), usize::MAX));
    let e = entry(&[format!("{}/dir/toy.bin", server.base)], Some(200_000), Some(&digest(&body())));
    let first = fetch(e, &options(&dir, &[])).unwrap();
    assert_eq!(first.origin, Origin::Fetched(format!("{}/dir/toy.bin", server.base)));
    assert_eq!(std::fs::read(&first.path).unwrap(), body());
    let second = fetch(e, &options(&dir, &[])).unwrap();
    assert_eq!((second.origin, second.path), (Origin::Cache, first.path));
    assert_eq!(server.log().len(), 1, "the cache answers the second time");
    assert_eq!(left(&dir), ["toy.bin"]);
}

#[test]
fn broken_lines_are_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|a, _| file(a, &body(), 60_000));
    let e = entry(&[format!("{}/toy.bin", server.base)], Some(200_000), Some(&digest(&body())));
    let got = fetch(e, &options(&dir, &[])).unwrap();
    assert_eq!(std::fs::read(got.path).unwrap(), body());
    let starts: Vec<_> = server.log().iter().map(|a| a.from()).collect();
    assert_eq!(starts, [None, Some(60_000), Some(120_000), Some(180_000)]);
}

#[test]
fn an_earlier_part_is_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|a, _| file(a, &body(), usize::MAX));
    let folder = dir.path().join(".cache/hrseg/weights");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("toy.bin.part"), &body()[..150_000]).unwrap();
    let sources = [format!("{}/toy.bin", server.base)];
    let got = fetch(entry(&sources, Some(200_000), Some(&digest(&body()))), &options(&dir, &[])).unwrap();
    assert_eq!(std::fs::read(got.path).unwrap(), body());
    assert_eq!(server.log()[0].from(), Some(150_000));
}

#[test]
fn a_server_without_ranges_starts_over() {
    let dir = tempfile::tempdir().unwrap();
    let tries = Arc::new(AtomicUsize::new(0));
    let server = Server::start(move |a, _| {
        let most = if tries.fetch_add(1, Ordering::SeqCst) == 0 { 50_000 } else { usize::MAX };
        let b = body();
        response(a, "200 OK", &[("Content-Length", "200000")], &b[..b.len().min(most)])
    });
    let e = entry(&[format!("{}/toy.bin", server.base)], Some(200_000), Some(&digest(&body())));
    assert_eq!(std::fs::read(fetch(e, &options(&dir, &[])).unwrap().path).unwrap(), body());
    assert_eq!(server.log().len(), 2);
}

#[test]
fn wrong_digest_deletes_the_part_and_the_next_source_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let bad = Server::start(|a, _| file(a, &vec![1; 200_000], usize::MAX));
    let good = Server::start(|a, _| file(a, &body(), usize::MAX));
    let sha = digest(&body());
    let only_bad = entry(&[format!("{}/toy.bin", bad.base)], Some(200_000), Some(&sha));
    let text = fetch(only_bad, &options(&dir, &[])).unwrap_err().to_string();
    for part in
        ["SHA-256 should be", &sha, "the downloaded part was deleted", "by hand: ask the author", "--weights FILE"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(left(&dir), [""; 0]);
    let both = entry(&[format!("{}/toy.bin", bad.base), format!("{}/toy.bin", good.base)], Some(200_000), Some(&sha));
    let got = fetch(both, &options(&dir, &[])).unwrap();
    assert_eq!(got.origin, Origin::Fetched(format!("{}/toy.bin", good.base)));
}

#[test]
fn wrong_size_is_refused_before_the_transfer() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|a, _| file(a, &body()[..1000], usize::MAX));
    let e = entry(&[format!("{}/toy.bin", server.base)], Some(200_000), None);
    let text = fetch(e, &options(&dir, &[])).unwrap_err().to_string();
    assert!(text.contains("a file of 1000 bytes, the published one has 200000"), "{text}");
}

#[test]
fn without_a_digest_it_must_at_least_be_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let page = Server::start(|a, _| response(a, "200 OK", &[], b"<html>please log in</html>"));
    let text =
        fetch(entry(&[format!("{}/toy.bin", page.base)], None, None), &options(&dir, &[])).unwrap_err().to_string();
    assert!(text.contains("web page"), "{text}");
    assert_eq!(left(&dir), [""; 0]);
    let real = Server::start(|a, _| file(a, &std::fs::read(common::data("views.pth.bin")).unwrap(), usize::MAX));
    assert!(fetch(entry(&[format!("{}/toy.bin", real.base)], None, None), &options(&dir, &[])).is_ok());
}

#[test]
fn every_refusal_is_told_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|a, base| match a.path.as_str() {
        "/404/toy.bin" => response(a, "404 Not Found", &[], b""),
        "/403/toy.bin" => response(a, "403 Forbidden", &[], b""),
        "/500/toy.bin" => response(a, "500 Oops", &[], b""),
        "/plain/toy.bin" => response(a, "302 Found", &[("Location", "http://example.com/toy.bin")], b""),
        "/nowhere/toy.bin" => response(a, "302 Found", &[], b""),
        _ => response(a, "302 Found", &[("Location", &format!("{base}{}", a.path))], b""),
    });
    let paths = ["404", "403", "500", "plain", "nowhere", "loop"];
    let mut sources: Vec<_> = paths.iter().map(|p| format!("{}/{p}/toy.bin", server.base)).collect();
    sources.push("http://example.com/toy.bin".into()); // never asked
    sources.push("http://127.0.0.1:1/toy.bin".into()); // nobody listens
    let text = fetch(entry(&sources, None, Some(&"0".repeat(64))), &options(&dir, &[])).unwrap_err().to_string();
    for (source, reason) in sources.iter().zip([
        "does not have the file (404)",
        "denies access (403)",
        "answers with status 500",
        "redirects to the unprotected address http://example.com/toy.bin",
        "redirects to nowhere",
        "more than 8 redirects",
        "only https is used",
        "127.0.0.1:1: ",
    ]) {
        let line = text
            .lines()
            .find(|l| l.contains(&format!("tried {source}: ")))
            .unwrap_or_else(|| panic!("{source} in {text}"));
        assert!(line.contains(reason), "{reason} in {line}");
    }
    assert_eq!(left(&dir), [""; 0]);
}

#[test]
fn redirects_within_this_machine_are_followed() {
    let dir = tempfile::tempdir().unwrap();
    let target = Server::start(|a, _| file(a, &body(), usize::MAX));
    let to = target.base.clone();
    let server = Server::start(move |a, _| match a.path.as_str() {
        "/a/toy.bin" => response(a, "301 Moved", &[("Location", "../b/toy.bin")], b""),
        "/a/../b/toy.bin" => response(a, "307 Moved", &[("Location", "/c/toy.bin")], b""),
        _ => response(a, "302 Found", &[("Location", &format!("{to}/x?sig=1"))], b""),
    });
    let e = entry(&[format!("{}/a/toy.bin", server.base)], Some(200_000), Some(&digest(&body())));
    assert_eq!(std::fs::read(fetch(e, &options(&dir, &[])).unwrap().path).unwrap(), body());
}

#[test]
fn mirrors_come_first_and_the_order_can_be_chosen() {
    let dir = tempfile::tempdir().unwrap();
    let serve = || Server::start(|a, _| file(a, &body(), usize::MAX));
    let (own, first, second) = (serve(), serve(), serve());
    let sources = [format!("{}/toy.bin", first.base), format!("{}/toy.bin", second.base)];
    let e = entry(&sources, Some(200_000), Some(&digest(&body())));
    let mirror = format!("http://127.0.0.1:1 {}/deep/", own.base);
    let got = fetch(e, &options(&dir, &[("HRSEG_WEIGHTS_MIRROR", &mirror)])).unwrap();
    assert_eq!(got.origin, Origin::Fetched(format!("{}/deep/toy.bin", own.base)));
    std::fs::remove_file(got.path).unwrap();
    let vars = [("HRSEG_WEIGHTS_MIRROR", mirror.as_str()), ("HRSEG_WEIGHTS_SOURCES", "https, mirror")];
    assert_eq!(fetch(e, &options(&dir, &vars)).unwrap().origin, Origin::Fetched(sources[0].clone()));
    let only = [("HRSEG_WEIGHTS_SOURCES", "npm"), ("HRSEG_CACHE", dir.path().to_str().unwrap())];
    let text = fetch(e, &options(&dir, &only)).unwrap_err().to_string();
    assert!(text.contains("no source is known or allowed"), "{text}");
    let bad = FetchOptions::from_vars(|n| match n {
        "HOME" => Some("/h".into()),
        "HRSEG_WEIGHTS_SOURCES" => Some("torrent".into()),
        _ => None,
    })
    .unwrap_err();
    assert!(bad.to_string().contains("torrent"), "{bad}");
}

#[test]
fn offline_means_caches_only() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|a, _| file(a, &body(), usize::MAX));
    let e = entry(&[format!("{}/toy.bin", server.base)], Some(200_000), Some(&digest(&body())));
    let offline = options(&dir, &[("HF_HUB_OFFLINE", "1")]);
    let text = fetch(e, &offline).unwrap_err().to_string();
    assert!(text.contains("HF_HUB_OFFLINE is set") && text.contains("by hand"), "{text}");
    assert!(server.log().is_empty());
    fetch(e, &options(&dir, &[])).unwrap();
    assert_eq!(fetch(e, &offline).unwrap().origin, Origin::Cache);
}

#[test]
fn two_at_once_fetch_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|a, _| {
        std::thread::sleep(std::time::Duration::from_millis(300));
        file(a, &body(), usize::MAX)
    });
    let e = entry(&[format!("{}/toy.bin", server.base)], Some(200_000), Some(&digest(&body())));
    std::thread::scope(|s| {
        for _ in 0..3 {
            s.spawn(|| fetch(e, &options(&dir, &[])).unwrap());
        }
    });
    assert_eq!(server.log().len(), 1);
}

#[test]
fn what_the_user_gives() {
    let dir = tempfile::tempdir().unwrap();
    let o = options(&dir, &[("HF_HUB_OFFLINE", "1")]);
    let path: PathBuf = common::put(&dir, "mobile_sam.safetensors", b"x");
    let given = |w: &str| resolve("mobile-sam", Some(w), &o);
    assert_eq!(given(path.to_str().unwrap()).unwrap().path, path);
    assert_eq!(given(dir.path().to_str().unwrap()).unwrap().path, path, "the converted file in a folder");
    let published = common::put(&dir, "mobile_sam.pt", b"x");
    let found = given(dir.path().to_str().unwrap()).unwrap();
    assert_eq!((found.path, found.origin), (published, Origin::Given));
    let text = resolve("sam2-tiny", dir.path().to_str(), &o).unwrap_err().to_string();
    assert!(text.contains("sam2_hiera_tiny.pt, sam2_hiera_tiny.safetensors"), "{text}");
    let saved = dir.path().join("saved");
    std::fs::create_dir(&saved).unwrap();
    std::fs::write(saved.join("model.safetensors"), b"x").unwrap();
    assert_eq!(given(saved.to_str().unwrap()).unwrap().path, saved, "all of a saved folder");
    assert!(matches!(given("no/such/file"), Err(Error::Argument { .. })));
    assert!(matches!(given("hub:nonsense"), Err(Error::Argument { .. })));
    let text = resolve("no-such-model", None, &o).unwrap_err().to_string();
    assert!(text.contains("no-such-model") && text.contains("mobile-sam, sam-vit-b"), "{text}");
}
