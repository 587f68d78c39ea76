//! Video files, through the program `ffmpeg`.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{DataError, Result, one_line};

/// Name of the environment variable with another path of the program.
const VARIABLE: &str = "HRSEG_FFMPEG";

/// What came of a video.
pub(super) struct Unpacked {
    /// What is wrong although there are frames.
    pub damage: Option<DataError>,
    /// What the caller may want to tell.
    pub notes: Vec<String>,
}

/// Has `ffmpeg` write all frames of `path` into `folder`: of its film, not of a cover or another still beside it.
pub(super) fn unpack(path: &Path, folder: &Path) -> Result<Unpacked> {
    let name = path.display().to_string();
    let failed = |reason: String| DataError::Ffmpeg { name: name.clone(), reason };
    let started = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => DataError::NoFfmpeg { name: name.clone() },
        _ => failed(format!("it cannot be started: {e}")),
    };
    let packets = packets(path).map_err(started)?;
    let (film, notes) = film(&packets);
    let mut damage = None;
    // every frame once, whatever its time stamp; older versions know the second form only
    for timing in [["-fps_mode", "passthrough"], ["-vsync", "0"]] {
        let mut command = command(path).map_err(started)?;
        command.args(["-map", &format!("0:V:{film}")]).args(timing).args(["-start_number", "0", "-pred", "mixed"]);
        // the pattern without the folder, in whose name `%` would be a pattern too
        let output = command.arg("%05d.png").current_dir(folder).stdout(Stdio::null()).output().map_err(started)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let broken = broken(&said);
        if output.status.success() {
            damage = broken.map(failed);
            break;
        }
        if said.contains("matches no streams") {
            return Err(failed("there is no film in it, at most sound or a cover picture".into()));
        }
        let reason = broken.or_else(|| said.lines().last().map(one_line)).unwrap_or_else(|| output.status.to_string());
        damage = Some(failed(reason));
        let frames = std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
        let unknown_option = said.contains("fps_mode");
        if frames || !unknown_option {
            break;
        }
    }
    Ok(Unpacked { damage, notes })
}

/// What the program says of a file that breaks off or is damaged, though it calls what it could save a success.
fn broken(said: &str) -> Option<String> {
    const SIGNS: [&str; 6] =
        ["partial file", "ended prematurely", "invalid data found", "error at mb", "error while decoding", "corrupt"];
    let line = said.lines().find(|line| SIGNS.iter().any(|sign| line.to_lowercase().contains(sign)))?;
    // without the part of the program that says it, and its address
    let text = line.split_once("] ").filter(|_| line.starts_with('[')).map_or(line, |(_, text)| text);
    Some(format!("the file is cut off or damaged: {}", one_line(text)))
}

/// The program with `path` as its input.
fn command(path: &Path) -> std::io::Result<Command> {
    let program = PathBuf::from(std::env::var_os(VARIABLE).unwrap_or_else(|| "ffmpeg".into()));
    // it is started in another folder; a bare name is looked for on the PATH
    let program = if program.components().count() > 1 { std::path::absolute(&program)? } else { program };
    let mut input = OsString::from("file:"); // a name is never an address
    input.push(std::path::absolute(path)?);
    let mut command = Command::new(program);
    command.args(["-v", "error", "-nostdin", "-protocol_whitelist", "file,crypto,data", "-i"]).arg(input);
    command.stdin(Stdio::null());
    Ok(command)
}

/// How many packets each stream of pictures has that is not marked as a cover; a packet is a frame. Nothing is decoded. A
/// single stream's packets are not counted to the end.
fn packets(path: &Path) -> std::io::Result<Vec<u64>> {
    let mut command = command(path)?;
    command.args(["-map", "0:V", "-c", "copy", "-f", "framecrc", "-"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let mut packets = Vec::new();
    for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()) {
        let Ok(line) = line else { break };
        if line.starts_with("#media_type") {
            packets.push(0);
        } else if !line.starts_with('#') {
            let stream = line.split(',').next().and_then(|stream| stream.trim().parse::<usize>().ok());
            if let Some(count) = stream.and_then(|stream| packets.get_mut(stream)) {
                *count += 1;
            }
            if packets.len() < 2 {
                break;
            }
        }
    }
    // it may have ended by itself
    let _ = child.kill();
    child.wait()?;
    Ok(packets)
}

/// The stream with the most frames, the first of equals; what is told where there are others.
fn film(packets: &[u64]) -> (usize, Vec<String>) {
    let most = packets.iter().copied().max().unwrap_or(0);
    let film = packets.iter().position(|count| *count == most).unwrap_or(0);
    let others: Vec<String> =
        packets.iter().enumerate().filter(|(i, _)| *i != film).map(|(_, count)| count.to_string()).collect();
    let notes = match others.len() {
        0 => Vec::new(),
        n => vec![format!(
            "it has {} streams of pictures: the one of {most} frames is used, not {} of {}",
            n + 1,
            if n == 1 { "the one" } else { "those" },
            others.join(", ")
        )],
    };
    (film, notes)
}

#[cfg(test)]
mod tests {
    use super::{broken, film};

    #[test]
    fn damage_is_told_from_success_and_from_covers() {
        let cut = "[mov,mp4 @ 0x55] stream 0, offset 0x2e54: partial file\n[h264 @ 0x56] Invalid NAL unit size";
        assert_eq!(broken(cut).unwrap(), "the file is cut off or damaged: stream 0, offset 0x2e54: partial file");
        assert!(broken("[matroska,webm @ 0x55] File ended prematurely").unwrap().ends_with(": File ended prematurely"));
        assert!(broken("[mpeg4 @ 0x55] illegal dc vlc\n[mpeg4 @ 0x55] Error at MB: 20").is_some());
        assert_eq!(broken("[mjpeg @ 0x55] EOI missing, emulating"), None);
        assert_eq!(broken(""), None);
    }

    #[test]
    fn the_film_is_the_longest_stream() {
        assert_eq!(film(&[]).0, 0);
        assert!(film(&[1]).1.is_empty());
        let (at, notes) = film(&[1, 12, 12]);
        assert_eq!(at, 1);
        assert!(notes[0].contains("3 streams") && notes[0].contains("12 frames") && notes[0].contains("1, 12"));
    }
}
