//! Video files, through the program `ffmpeg`.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{DataError, Result, one_line};

/// Name of the environment variable with another path of the program.
const VARIABLE: &str = "HRSEG_FFMPEG";

/// Bytes of what the program says about a file that are kept.
const WORDS: u64 = 1 << 16;

/// What came of a video.
pub(super) struct Unpacked {
    /// What is wrong although there are frames.
    pub damage: Option<DataError>,
    /// What the caller may want to tell.
    pub notes: Vec<String>,
}

/// Has `ffmpeg` write all frames of `path` into `folder`, one more than `most` at most: of its film, not of a cover or another still beside it.
pub(super) fn unpack(path: &Path, folder: &Path, most: usize) -> Result<Unpacked> {
    let name = path.display().to_string();
    let failed = |reason: String| DataError::Ffmpeg { name: name.clone(), reason };
    let started = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => DataError::NoFfmpeg { name: name.clone() },
        _ => failed(format!("it cannot be started: {e}")),
    };
    let (packets, said) = packets(path).map_err(started)?;
    let (film, mut notes) = film(&packets);
    notes.extend(colours(&said));
    let mut damage = None;
    // every frame once, whatever its time stamp; older versions know the second form only
    for timing in [["-fps_mode", "passthrough"], ["-vsync", "0"]] {
        let mut command = command(path).map_err(started)?;
        command.args(["-map", &format!("0:V:{film}")]).args(timing).args(["-start_number", "0", "-pred", "mixed"]);
        if let Some(enough) = most.checked_add(1) {
            command.args(["-frames:v", &enough.to_string()]);
        }
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

/// What is to be told of a film whose numbers mean other colours than sRGB's: they are taken as they are.
fn colours(said: &str) -> Option<String> {
    // of the file, not of what is made of it
    let streams = said.lines().take_while(|line| !line.starts_with("Output #"));
    let described: Vec<&str> = streams.filter_map(|line| line.trim_start().strip_prefix("Stream #")).collect();
    let has = |word: &str| described.iter().any(|line| line.contains(": Video: ") && line.contains(word));
    let found = if has("smpte2084") {
        "of high dynamic range (PQ)"
    } else if has("arib-std-b67") {
        "of high dynamic range (HLG)"
    } else if has("bt2020") {
        "those of BT.2020"
    } else {
        return None;
    };
    Some(format!(
        "its colours are {found} and taken as if they were sRGB's, which makes them pale; convert the video to BT.709 first \
         (ffmpeg's filters zscale and tonemap)"
    ))
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

/// How many packets each stream of pictures has that is not marked as a cover, and what the program says of the file; a packet is
/// a frame. Nothing is decoded. A single stream's packets are not counted to the end.
fn packets(path: &Path) -> std::io::Result<(Vec<u64>, String)> {
    let mut command = command(path)?;
    command.args(["-v", "info", "-hide_banner", "-nostats", "-map", "0:V", "-c", "copy", "-f", "framecrc", "-"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // beside the other output, or the program would wait for its words to be read
    let words = child.stderr.take().map(|words| std::thread::spawn(move || beginning(words)));
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
    Ok((packets, words.and_then(|words| words.join().ok()).unwrap_or_default()))
}

/// The first [`WORDS`] bytes; the others are read too.
fn beginning(mut words: impl Read) -> String {
    let mut kept = Vec::new();
    let _ = words.by_ref().take(WORDS).read_to_end(&mut kept);
    let _ = std::io::copy(&mut words, &mut std::io::sink());
    String::from_utf8_lossy(&kept).into_owned()
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
    use super::{broken, colours, film};

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
    fn colours_that_are_not_those_of_srgb_are_told() {
        let stream =
            "  Stream #0:0[0x1](und): Video: hevc (Main 10) (hvc1 / 0x31637668), yuv420p10le(tv, COLOURS), 64x64";
        let told = |colours_are: &str| colours(&stream.replace("COLOURS", colours_are));
        assert!(told("bt2020nc/bt2020/smpte2084").unwrap().contains("(PQ)"));
        assert!(told("bt2020nc/bt2020/arib-std-b67").unwrap().contains("(HLG)"));
        assert!(told("bt2020nc/bt2020/bt709").unwrap().contains("BT.2020"));
        assert_eq!(told("bt709"), None);
        assert_eq!(colours("    title : smpte2084\nOutput #0\n  Stream #0:0: Video: ffv1, smpte2084"), None);
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
