//! What the tests of the command share: a folder of its own for each test, the command run in it, made-up weights.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone
#![allow(dead_code)] // each test binary uses a part

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use candle_core::{DType, Device, Tensor};
use candle_nn::{Init, var_builder::SimpleBackend};
use hrseg::seg_checkpoints::write_safetensors;
use hrseg::seg_golden::{Case, GeneratedWeights, NamedShape};
use tempfile::TempDir;

/// A file of this repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A photo of the test data.
pub fn photo(name: &str) -> PathBuf {
    repository("tests/data/photos").join(name)
}

/// Runs a command until it has said its first line, the second thing on its way, and interrupts it as Ctrl-C does: all its
/// lines, and how it ended.
pub fn interrupted(command: &mut Command) -> (String, Run) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut lines = String::new();
    stdout.read_line(&mut lines).unwrap();
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    stdout.read_to_string(&mut lines).unwrap();
    (lines, child.wait_with_output().unwrap().into())
}

/// How a run of the command ended.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
            stderr: without_progress(&String::from_utf8(output.stderr).expect("stderr is UTF-8")),
        }
    }
}

impl Run {
    /// The run must have ended with this code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "exit code\n{self:#?}");
        self
    }

    /// The run must have ended with 1 and have said exactly one line, on stderr, with all of `parts` in it.
    #[track_caller]
    pub fn refuses(self, parts: &[&str]) -> String {
        assert_eq!(self.stdout, "", "nothing on stdout");
        let run = self.exits(1);
        assert_eq!(run.stderr.lines().count(), 1, "one line on stderr\n{run:#?}");
        assert!(run.stderr.starts_with("error: "), "{run:#?}");
        for part in parts {
            assert!(run.stderr.contains(part), "{part:?} is not in the message\n{run:#?}");
        }
        run.stderr
    }
}

/// A fresh folder, the command's working directory, with caches of its own and no way to a network.
pub struct Sandbox {
    dir: TempDir,
}

impl Sandbox {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A copy of a photo of the test data.
    pub fn with_photo(self, name: &str, under: &str) -> Self {
        let to = self.path(under);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(photo(name), to).unwrap();
        self
    }

    pub fn with_file(self, name: &str, bytes: &[u8]) -> Self {
        let to = self.path(name);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::write(to, bytes).unwrap();
        self
    }

    /// `program` in this folder, with nothing of the user's environment that the command reads.
    pub fn program(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.dir.path());
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if ["HF_", "HRSEG_", "HUGGING"].iter().any(|start| text.starts_with(start)) {
                command.env_remove(&name);
            }
        }
        command.env_remove("NO_COLOR").env("HF_HUB_OFFLINE", "1").env("HOME", self.path("home"));
        command.env("HRSEG_CACHE", self.path("cache")).env("HF_HOME", self.path("hub"));
        command
    }

    /// The command with `args`, not yet started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.program(env!("CARGO_BIN_EXE_hrseg"));
        command.args(args);
        command
    }

    /// `hrseg segment` on the made-up MobileSAM, not yet started.
    pub fn segment_command(&self, args: &[&str]) -> Command {
        let mut command = self.command(&["segment", "--device", "cpu", "--weights"]);
        command.arg(mobile_sam()).args(args);
        command
    }

    /// Runs the command.
    pub fn hrseg(&self, args: &[&str]) -> Run {
        self.command(args).output().expect("the command runs").into()
    }

    /// Runs `hrseg segment` on the made-up MobileSAM.
    pub fn segment(&self, args: &[&str]) -> Run {
        self.segment_command(args).output().expect("the command runs").into()
    }

    /// Names of the files in `folder`, sorted, hidden ones too; none when the folder is not there.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(folder)) else { return Vec::new() };
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

/// A JSON file.
pub fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// What the official state dict of a golden case has.
pub fn official(case: &str, module: &str) -> Vec<NamedShape> {
    let case = Case::read(&repository("tests/golden").join(case)).unwrap();
    case.official(module).unwrap()
}

/// Where this test binary writes weights.
fn weights_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// A whole MobileSAM of generated weights, written once a test binary.
pub fn mobile_sam() -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        let path = weights_file(concat!(env!("CARGO_CRATE_NAME"), "_mobile_sam.safetensors"));
        write_mobile_sam(&path, |_, tensor| tensor);
        path
    })
}

/// An IS-Net of generated weights, written once a test binary: of three channels, or DIS-SAM's of five.
pub fn is_net(channels: usize) -> &'static Path {
    static FILES: [OnceLock<PathBuf>; 2] = [const { OnceLock::new() }; 2];
    let (slot, case) = if channels == 3 { (0, "is-net/isnet_1024.json") } else { (1, "dis-sam/dissam_1024.json") };
    FILES[slot].get_or_init(|| {
        let path = weights_file(&format!("{}_is_net_{channels}.safetensors", env!("CARGO_CRATE_NAME")));
        let module = Case::read(&repository("tests/golden").join(case)).unwrap().modules().next().unwrap().to_owned();
        write_generated(&path, official(case, &module), |_, tensor| tensor);
        path
    })
}

/// A whole SAM 2.1 tiny of generated weights, its memory included, written once a test binary.
pub fn sam2_video() -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        let path = weights_file(concat!(env!("CARGO_CRATE_NAME"), "_sam2_video.safetensors"));
        write_generated(&path, official("sam2/sam2_video_tiny_1024.json", "model"), |_, tensor| tensor);
        path
    })
}

/// A folder with the tiny MPG-SAM 2 and a tokenizer, written once a test binary: SAM 2's weights are generated, BEiT-3's are zeros, which takes a fifth of the time.
pub fn mpg_sam2_tiny() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = weights_file(concat!(env!("CARGO_CRATE_NAME"), "_mpg_sam2_tiny"));
        std::fs::create_dir_all(&folder).unwrap();
        let tokenizer = repository("tests/golden/mpg-sam2/mpg_spm_toy.spm");
        std::fs::copy(tokenizer, folder.join("sentencepiece.bpe.model")).unwrap();
        let case = Case::read(&repository("tests/golden/mpg-sam2/mpg_tiny_base_video.json")).unwrap();
        let weights = case.generated("model").unwrap();
        let path = folder.join("mpg-sam2-tiny.safetensors");
        write_partly_hollow(&path, &case.official("model").unwrap(), |NamedShape { name, shape }| {
            let tensor = || weights.get(shape.clone().into(), name, Init::Const(0.), DType::F32, &Device::Cpu).unwrap();
            (!name.starts_with("mm_extractor.")).then(tensor)
        });
        folder
    })
}

/// A MobileSAM of generated weights, each tensor through `change`.
pub fn write_mobile_sam(path: &Path, change: impl Fn(&str, Tensor) -> Tensor) {
    write_generated(path, official("mobile-sam/mobilesam_1024.json", "sam"), change);
}

fn write_generated(path: &Path, names: Vec<NamedShape>, change: impl Fn(&str, Tensor) -> Tensor) {
    let generated = GeneratedWeights::new("");
    let tensors: BTreeMap<String, Tensor> = names
        .into_iter()
        .map(|NamedShape { name, shape }| {
            let tensor = if name.ends_with("num_batches_tracked") {
                Tensor::zeros((), DType::I64, &Device::Cpu)
            } else {
                generated.get(shape.into(), &name, Init::Const(0.), DType::F32, &Device::Cpu)
            };
            let tensor = change(&name, tensor.unwrap());
            (name, tensor)
        })
        .collect();
    write_safetensors(path, &tensors, &BTreeMap::new()).unwrap();
}

/// A safetensors file of f32 tensors whose values are a hole in the file: zeros that take no room on the disk.
pub fn write_hollow(path: &Path, tensors: &[NamedShape]) {
    write_partly_hollow(path, tensors, |_| None);
}

/// As [`write_hollow`], but for the tensors that `value` gives.
fn write_partly_hollow(path: &Path, tensors: &[NamedShape], value: impl Fn(&NamedShape) -> Option<Tensor>) {
    let mut at = 0;
    let mut header = serde_json::Map::new();
    for NamedShape { name, shape } in tensors {
        let end = at + 4 * shape.iter().product::<usize>();
        header.insert(name.clone(), serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [at, end]}));
        at = end;
    }
    let header = serde_json::Value::Object(header).to_string();
    let mut file = File::create(path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    let start = 8 + header.len();
    file.set_len((start + at) as u64).unwrap();
    let mut at = start;
    for named in tensors {
        if let Some(tensor) = value(named) {
            file.seek(SeekFrom::Start(at as u64)).unwrap();
            let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            file.write_all(&values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>()).unwrap();
        }
        at += 4 * named.shape.iter().product::<usize>();
    }
}

/// Messages but for `2 of 3 images` (or frames), which come every ten seconds: on a slow machine only.
fn without_progress(messages: &str) -> String {
    let counted = |line: &str| line.ends_with(" images") || line.ends_with(" frames");
    let progress = |line: &str| counted(line) && line.starts_with(|c: char| c.is_ascii_digit());
    messages.split_inclusive('\n').filter(|line| !progress(line.trim_end())).collect()
}
