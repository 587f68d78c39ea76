//! Package registries, with clients that tests wrote.
#![allow(clippy::unwrap_used)] // in tests a panic is the report, in their helpers too
#![cfg(unix)]

mod common;

use seg_checkpoints::{Entry, FetchOptions, Origin, Source, fetch, sha256_file};
use std::collections::HashMap;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use zip::CompressionMethod::Deflated;

const MEMBER: &str = "pkg/weights/toy.bin";

fn body() -> Vec<u8> {
    (0..30_000u32).flat_map(|i| (i ^ 0x5a5a).to_le_bytes()).collect()
}

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("bin")).unwrap();
        Self { dir }
    }

    /// A client that is a shell script.
    fn client(&self, name: &str, script: &str) {
        let path = self.dir.path().join("bin").join(name);
        std::fs::write(
            &path,
            format!("#!/bin/sh\necho \"{name} $@\" >> {}/calls\n{script}\n", self.dir.path().display()),
        )
        .unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A package beside the clients; gives the script that delivers it.
    fn package(&self, name: &str, bytes: &[u8]) -> String {
        std::fs::write(self.dir.path().join(name), bytes).unwrap();
        format!("/bin/cp {}/{name} ./{name}", self.dir.path().display())
    }

    fn calls(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("calls")).unwrap_or_default()
    }

    fn options(&self) -> FetchOptions {
        let bin = format!("{}/bin", self.dir.path().display());
        let vars = HashMap::from([("HOME", self.dir.path().to_str().unwrap()), ("PATH", &bin)]);
        FetchOptions::from_vars(|n| vars.get(n).map(Into::into)).unwrap().quiet()
    }

    fn fetch(&self, source: &str) -> Result<seg_checkpoints::Resolved, String> {
        fetch(entry(source, &body()), &self.options()).map_err(|e| e.to_string())
    }

    /// No package, no part, no folder is left behind.
    fn assert_clean(&self, kept: &[&str]) {
        let list = std::fs::read_dir(self.dir.path().join(".cache/hrseg/weights")).unwrap();
        let names: Vec<_> = list.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        let others: Vec<_> = names.iter().filter(|n| !n.ends_with(".lock") && !kept.contains(&n.as_str())).collect();
        assert!(others.is_empty(), "{others:?}");
    }
}

fn entry(source: &str, body: &[u8]) -> &'static Entry {
    let dir = tempfile::tempdir().unwrap();
    let sha = sha256_file(&common::put(&dir, "x", body)).unwrap();
    let text = format!(
        "name='toy'\nfamily='Toy'\nfile='toy.bin'\nlicence='MIT'\nhome=''\nby_hand='ask the author'\nsources=['{source}']\nsize={}\nsha256='{sha}'\n",
        body.len()
    );
    Box::leak(Box::new(toml::from_str(&text).unwrap()))
}

fn tgz(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default()));
    for (name, bytes) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        // names as given, also those that the tar crate would refuse to write
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        tar.append(&header, *bytes).unwrap();
    }
    let mut gz = tar.into_inner().unwrap();
    gz.flush().unwrap();
    gz.finish().unwrap()
}

const PYPI: &str = "pypi:toy-pkg==1.2!pkg/weights/toy.bin";
const NPM: &str = "npm:@scope/toy@1.2.0!package/dist/toy.bin";

#[test]
fn a_wheel_through_pip() {
    let b = Bench::new();
    let wheel = common::zip_of(&[("../../evil", b"x".to_vec()), (MEMBER, body())], Deflated);
    b.client("python3", "echo 'python3: No module named pip' >&2; exit 1");
    let deliver = b.package("toy_pkg-1.2-py3-none-any.whl", &wheel);
    b.client("pip3", &deliver);
    let got = b.fetch(PYPI).unwrap();
    assert_eq!(got.origin, Origin::Fetched(PYPI.into()));
    assert_eq!(std::fs::read(&got.path).unwrap(), body());
    let calls = b.calls();
    assert!(
        calls.contains("python3 -m pip download --no-deps") && calls.contains("pip3 download --no-deps"),
        "{calls}"
    );
    assert!(calls.contains("--only-binary :all:") && calls.contains("toy-pkg==1.2"), "{calls}");
    b.assert_clean(&["toy.bin"]);
    assert!(!b.dir.path().join("evil").exists());
}

#[test]
fn a_package_through_npm() {
    let b = Bench::new();
    let bytes = tgz(&[("package/package.json", b"{}"), ("../evil", b"x"), ("package/dist/toy.bin", &body())]);
    let deliver = b.package("scope-toy-1.2.0.tgz", &bytes);
    b.client("npm", &deliver);
    let got = b.fetch(NPM).unwrap();
    assert_eq!(std::fs::read(&got.path).unwrap(), body());
    assert!(b.calls().contains("npm pack --silent --ignore-scripts @scope/toy@1.2.0"), "{}", b.calls());
    b.assert_clean(&["toy.bin"]);
}

#[test]
fn failures_are_told_with_the_clients_own_words() {
    let b = Bench::new();
    assert!(b.fetch(PYPI).unwrap_err().contains("neither python3 nor pip is installed"));
    assert!(b.fetch(NPM).unwrap_err().contains("npm is not installed"));
    b.client(
        "python3",
        "echo 'WARNING: old'; echo 'ERROR: No matching distribution found for toy-pkg==1.2' >&2; echo; exit 1",
    );
    let text = b.fetch(PYPI).unwrap_err();
    assert!(text.contains("python3 -m pip: ERROR: No matching distribution found for toy-pkg==1.2"), "{text}");
    b.client("npm", "echo 'npm error code E404' >&2; exit 1");
    assert!(b.fetch(NPM).unwrap_err().contains("npm: npm error code E404"));
    b.client("python3", "exit 0");
    assert!(b.fetch(PYPI).unwrap_err().contains("the client left no package"));
    b.assert_clean(&[]);
}

#[test]
fn a_client_that_hangs_is_stopped() {
    let b = Bench::new();
    b.client("npm", "exec /bin/sleep 60");
    let mut o = b.options();
    o.client_timeout = std::time::Duration::from_millis(300);
    let text = fetch(entry(NPM, &body()), &o).unwrap_err().to_string();
    assert!(text.contains("npm took more than 0 s"), "{text}");
    b.assert_clean(&[]);
}

#[test]
fn packages_that_are_not_what_was_published() {
    let wheels = |entries: &[(&str, Vec<u8>)]| {
        let b = Bench::new();
        let deliver = b.package("p.whl", &common::zip_of(entries, Deflated));
        b.client("python3", &deliver);
        let text = b.fetch(PYPI).unwrap_err();
        b.assert_clean(&[]);
        text
    };
    let mut changed = body();
    changed[7] ^= 1;
    assert!(wheels(&[(MEMBER, changed)]).contains("its SHA-256 should be"));
    assert!(wheels(&[("other", body())]).contains("has no file pkg/weights/toy.bin"));
    assert!(wheels(&[(MEMBER, vec![0; 64 << 20])]).contains("expected at most 120000"), "a bomb");
    assert!(wheels(&[(MEMBER, body()[..5000].to_vec())]).contains("should have 120000 bytes and has 5000"));

    let b = Bench::new();
    let deliver = b.package("p.tgz", &tgz(&[("package/dist/toy.bin", &vec![0; 64 << 20])]));
    b.client("npm", &deliver);
    assert!(b.fetch(NPM).unwrap_err().contains("expected at most 120000"));
    let deliver = b.package("p.tgz", b"not an archive");
    b.client("npm", &deliver);
    assert!(b.fetch(NPM).unwrap_err().contains("is broken"));
    b.assert_clean(&[]);
}

#[test]
fn sources_are_parsed_strictly() {
    for good in [PYPI, NPM, "npm:toy@1.0!a/b", "hub:org/name/a/b.pt", "hub:org/name@v1/b.pt", "https://host/x.pt"] {
        assert_eq!(good.parse::<Source>().unwrap().to_string(), good);
    }
    for bad in [
        "",
        "toy",
        "ftp://x/y",
        "hub:org/name",
        "hub:org/../x",
        "hub:org/name/../../x",
        "hub:/name/x",
        "pypi:toy!x",
        "pypi:toy==1",
        "pypi:-r==1!x",
        "pypi:toy==1 --pre!x",
        "pypi:a;b==1!x",
        "npm:toy!x",
        "npm:--foo@1!x",
        "npm:@scope@1!x",
        "npm:toy@1!../x",
        "npm:toy@1!/x",
    ] {
        assert!(bad.parse::<Source>().is_err(), "{bad}");
    }
}

/// The real MobileSAM through the real pip: only when asked for, as it needs a network.
#[test]
fn mobile_sam_through_real_pip() {
    if std::env::var_os("HRSEG_TEST_NETWORK").is_none() {
        eprintln!("skipped: HRSEG_TEST_NETWORK is not set");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().to_path_buf();
    let mut o = FetchOptions::from_env().unwrap();
    o.cache = cache.clone();
    o.hub.cache = cache.join("hub");
    let found = fetch(seg_checkpoints::find("mobile-sam").unwrap(), &o).unwrap();
    eprintln!("{:?}", found.origin);
    assert_eq!(seg_checkpoints::Checkpoint::open(Path::new(&found.path)).unwrap().tensors().len(), 439);
}
