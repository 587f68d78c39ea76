//! Video files, through the program `ffmpeg`.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::{DataError, Result, one_line};

/// Name of the environment variable with another path of the program.
const VARIABLE: &str = "HRSEG_FFMPEG";

/// Has `ffmpeg` write all frames of `path` into `folder`. What is wrong although there are frames is returned.
pub(super) fn unpack(path: &Path, folder: &Path) -> Result<Option<DataError>> {
    let name = path.display().to_string();
    let failed = |reason: String| DataError::Ffmpeg { name: name.clone(), reason };
    let mut last = None;
    // every frame once, whatever its time stamp; older versions know the second form only
    for timing in [["-fps_mode", "passthrough"], ["-vsync", "0"]] {
        let output = command(path, folder, timing).output().map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => DataError::NoFfmpeg { name: name.clone() },
            _ => failed(format!("it cannot be started: {e}")),
        })?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            return Ok(None);
        }
        let reason = said.lines().last().map_or_else(|| output.status.to_string(), one_line);
        let frames = std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
        if frames {
            return Ok(Some(failed(reason)));
        }
        let unknown_option = said.contains("fps_mode");
        last = Some(failed(reason));
        if !unknown_option {
            break;
        }
    }
    Ok(last)
}

fn command(path: &Path, folder: &Path, timing: [&str; 2]) -> Command {
    let program = std::env::var_os(VARIABLE).unwrap_or_else(|| "ffmpeg".into());
    let mut input = OsString::from("file:"); // a name is never an address
    input.push(path);
    let mut command = Command::new(program);
    command.args(["-v", "error", "-nostdin", "-protocol_whitelist", "file,crypto,data", "-i"]).arg(input);
    command.args(["-map", "0:v:0"]).args(timing).args(["-start_number", "0", "-pred", "mixed"]);
    command.arg(folder.join("%05d.png")).stdin(Stdio::null()).stdout(Stdio::null());
    command
}
