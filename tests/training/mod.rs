//! What the tests of `hrseg train` share: a folder with recipes in it, the command run in it.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone
#![allow(dead_code)] // each test binary uses a part

use std::path::Path;
use std::process::{Command, Output};

/// A specification of small pictures.
pub const SMALL: &str = "size = 48\n[kinds]\ndisc = 1\n";

/// A folder of its own for a test.
pub struct Folder(tempfile::TempDir);

impl Folder {
    /// With these files: name and content.
    pub fn with(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        Self(dir)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// `hrseg` in this folder behind the words of a starter, if there are any.
    pub fn command(&self, starter: &[&str], arguments: &[&str]) -> Command {
        let mut words = starter.iter().copied().chain([env!("CARGO_BIN_EXE_hrseg")]);
        let mut command = Command::new(words.next().unwrap());
        command.current_dir(self.path()).args(words).args(arguments);
        command
    }

    pub fn bytes(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.path().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
    }
}

/// All that was said.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// All that was said by a command that has to have done its work.
pub fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(output));
    text(output)
}
