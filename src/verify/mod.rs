//! Running golden cases: the same numbers as the official implementations, tensor by tensor.
//!
//! A case is a JSON file with a safetensors file beside it (`tests/golden/README.md` describes both). Its kind, the leading
//! words of its name, chooses a runner; sizes, prompts and names all come from the JSON.
//!
//! ```no_run
//! use candle_core::Device;
//! for report in hrseg::verify::run_dir("tests/golden".as_ref(), None, &Device::Cpu)? {
//!     println!("{}", report.line());
//! }
//! # Ok::<(), hrseg::verify::VerifyError>(())
//! ```

mod error;
mod inputs;
mod labels;
mod runners;
mod weights;

pub use error::VerifyError;
pub use seg_golden::{Case, CaseReport, Checker, Comparison, Status};

use candle_core::Device;
use std::path::{Path, PathBuf};

/// Folders below the given one that are looked into: deep enough for any collection, short enough for a loop of links.
const MAX_DEPTH: usize = 16;

/// Run the cases below the folder `path`, or the one case that `path` is, one at a time as the iterator advances.
///
/// Only cases whose name contains `filter` are run. Below a folder, cases of a kind that has no runner are reported as
/// skipped; a single case of such a kind fails.
///
/// # Errors
/// When `path` does not exist or is neither a folder nor a `.json` file.
pub fn run_dir(path: &Path, filter: Option<&str>, device: &Device) -> Result<Reports, VerifyError> {
    let io = |source| VerifyError::Io { path: path.to_path_buf(), source };
    let single = !std::fs::metadata(path).map_err(io)?.is_dir();
    let mut cases = Vec::new();
    if single {
        if path.extension().is_none_or(|e| e != "json") {
            return Err(VerifyError::NotACase { path: path.to_path_buf() });
        }
        cases.push(path.to_path_buf());
    } else {
        find_cases(path, MAX_DEPTH, &mut cases)?;
        cases.sort();
    }
    let filter = filter.map(str::to_string);
    Ok(Reports { cases: cases.into_iter(), filter, single, device: device.clone() })
}

/// All `.json` files below `dir` that describe a case.
fn find_cases(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), VerifyError> {
    let io = |source| VerifyError::Io { path: dir.to_path_buf(), source };
    for entry in std::fs::read_dir(dir).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.is_dir() {
            if depth > 0 {
                find_cases(&path, depth - 1, found)?;
            }
        } else if path.extension().is_some_and(|e| e == "json") && Case::is_case(&path) {
            found.push(path);
        }
    }
    Ok(())
}

/// The reports of [`run_dir`]: each case is run when its report is asked for, so that one is in memory at a time.
#[derive(Debug)]
pub struct Reports {
    cases: std::vec::IntoIter<PathBuf>,
    filter: Option<String>,
    single: bool,
    device: Device,
}

impl Iterator for Reports {
    type Item = CaseReport;

    fn next(&mut self) -> Option<CaseReport> {
        let (filter, single) = (self.filter.as_deref(), self.single);
        let path = self.cases.find(|path| single || filter.is_none_or(|f| file_stem(path).contains(f)))?;
        Some(self.report(&path))
    }
}

impl Reports {
    fn report(&self, path: &Path) -> CaseReport {
        let case = match Case::read(path) {
            Ok(case) => case,
            Err(error) => return CaseReport::failed(file_stem(path), path, error.to_string()),
        };
        if self.single || runners::find(&case.name).is_some() {
            run_case(&case, &self.device)
        } else {
            CaseReport::skipped(&case.name, path, format!("no runner for kind {}", kind_of(&case.name)))
        }
    }
}

/// Run one case. A kind that has no runner fails.
pub fn run_case(case: &Case, device: &Device) -> CaseReport {
    let Some(run) = runners::find(&case.name) else {
        let why = format!("no runner for kind {}; known kinds: {}", kind_of(&case.name), runners::kinds().join(", "));
        return CaseReport::failed(&case.name, case.path(), why);
    };
    let mut checks = Checker::new(case);
    let outcome = run(&mut runners::Run { case, device, checks: &mut checks });
    checks.finish(outcome)
}

fn file_stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The leading words of a case's name that tell its kind: the system, and for SAM and SAM 2 the part of it.
fn kind_of(name: &str) -> String {
    let words = if name.starts_with("sam") { 2 } else { 1 };
    name.split('_').take(words).collect::<Vec<_>>().join("_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_runners() {
        assert_eq!(kind_of("sam2_video_toy20_256"), "sam2_video");
        assert_eq!(kind_of("unext_full_1024"), "unext");
        assert!(runners::find("sam2_enc_tiny_512_heldout").is_some());
        assert!(runners::find("sam2_encoder").is_none());
        assert!(runners::find("sam1_whole").is_none());
    }

    #[test]
    fn unknown_kinds_are_skipped_in_folders_and_fail_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new_case.json");
        std::fs::write(&path, r#"{"case": "new_case"}"#).unwrap();
        std::fs::write(dir.path().join("other.json"), "{}").unwrap();
        let reports: Vec<_> = run_dir(dir.path(), None, &Device::Cpu).unwrap().collect();
        assert_eq!(reports.len(), 1);
        assert_eq!((reports[0].status, reports[0].message.as_deref()), (Status::Skip, Some("no runner for kind new")));
        let alone = run_dir(&path, None, &Device::Cpu).unwrap().next().unwrap();
        assert_eq!(alone.status, Status::Fail);
        assert!(run_dir(dir.path(), Some("absent"), &Device::Cpu).unwrap().next().is_none());
        assert!(matches!(run_dir(&dir.path().join("none"), None, &Device::Cpu), Err(VerifyError::Io { .. })));
    }
}
