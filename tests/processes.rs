//! `hrseg train` in several processes. What needs MPI is run where the build has it: `cargo test --workspace --release --features mpi --test processes`, with
//! `mpirun` (Debian: openmpi-bin, libopenmpi-dev, libclang-dev).
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

mod training;

use std::process::Command;
#[cfg(feature = "mpi")]
use std::process::Output;

use training::{Folder, SMALL, done, text};

/// A training of seconds, with batch norms over all processes.
const RECIPE: &str = include_str!("../crates/seg-train/tests/toy.toml");

fn new() -> Folder {
    Folder::with(&[("r.toml", RECIPE), ("spec.toml", SMALL)])
}

/// `hrseg train` behind the words of a starter.
fn command(folder: &Folder, starter: &[&str], arguments: &[&str]) -> Command {
    let train = ["train", "r.toml", "--data", "procedural:spec.toml", "--device", "cpu"];
    folder.command(starter, &[&train, arguments].concat())
}

#[cfg(feature = "mpi")]
fn alone(folder: &Folder, arguments: &[&str]) -> Output {
    command(folder, &[], arguments).output().unwrap()
}

#[test]
fn a_starter_that_the_build_does_not_serve_is_refused_by_the_first_process() {
    let folder = new();
    for [number, count] in [["RANK", "WORLD_SIZE"], ["SLURM_PROCID", "SLURM_NTASKS"]] {
        let run = |rank: &str| {
            command(&folder, &[], &["--out", "run"]).envs([(number, rank), (count, "2")]).output().unwrap()
        };
        let output = run("0");
        let said = text(&output);
        assert!(output.status.code() == Some(2) && said.contains("process 1 of 2"), "{said}");
        // srun without --mpi, whose Open MPI would end with a page of its own
        let expected = if cfg!(feature = "mpi") && number != "RANK" { "srun --mpi=pmix" } else { "--features" };
        assert!(said.contains(expected) && said.contains("mpirun") && said.lines().count() == 1, "{said}");
        let output = run("1");
        assert!(output.status.code() == Some(1) && text(&output).is_empty(), "{}", text(&output));
    }
    let output = command(&folder, &[], &["--out", "run"]).envs([("RANK", "2"), ("WORLD_SIZE", "2")]).output().unwrap();
    assert!(text(&output).contains("RANK is \"2\", expected a number below 2"), "{}", text(&output));
    assert!(!folder.path().join("run").exists());
}

#[test]
fn one_process_of_a_starter_is_one_process() {
    let folder = new();
    let variables = [("SLURM_PROCID", "0"), ("SLURM_NTASKS", "1"), ("RANK", "0"), ("WORLD_SIZE", "1")];
    let output = command(&folder, &[], &["--out", "run", "--dry-run"]).envs(variables).output().unwrap();
    done(&output);
    assert!(!text(&output).contains("processes"), "{}", text(&output));
}

#[cfg(feature = "mpi")]
mod mpi {
    use super::*;
    use std::collections::BTreeMap;
    use std::process::{Child, Stdio};
    use std::time::Duration;

    const MPIRUN: [&str; 7] = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-n", "2"];

    impl Folder {
        fn two(&self, arguments: &[&str]) -> Output {
            command(self, &MPIRUN, arguments).output().unwrap()
        }

        fn same(&self, a: &str, b: &str, files: &[&str]) {
            for file in files {
                let bytes = |run: &str| std::fs::read(self.path().join(run).join(file)).unwrap();
                assert!(bytes(a) == bytes(b), "{file} of {a} and {b}");
            }
        }

        fn lines(&self, run: &str) -> Vec<serde_json::Value> {
            let text = std::fs::read_to_string(self.path().join(run).join("log.jsonl")).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        }
    }

    const RESULT: [&str; 4] = [
        "last.safetensors",
        "log.jsonl",
        "checkpoints/00000012/weights.safetensors",
        "checkpoints/00000012/state.safetensors",
    ];
    const LONG: [&str; 2] = ["--set", "length={steps=12}"];

    #[test]
    fn two_processes_are_one_with_twice_the_batch() {
        let folder = new();
        let output = folder.two(&["--out", "two", "--val", "procedural:spec.toml"]);
        done(&output);
        let said = text(&output);
        assert_eq!(said.matches("gradients reach").count(), 1, "{said}");
        done(&alone(&folder, &["--out", "one", "--set", "data.batch=4"]));
        for (two, one) in folder.lines("two").iter().zip(folder.lines("one")) {
            for what in ["train/loss", "train/loss_side1", "train/norm"] {
                let [two, one] = [two, &one].map(|line| line[what].as_f64().unwrap());
                assert!((two - one).abs() <= 1e-5 * one.abs(), "{what}: {two} and {one}");
            }
        }
        let [two, one] = ["two", "one"].map(|run| {
            let file = folder.path().join(run).join("last.safetensors");
            let tensors = candle_core::safetensors::load(file, &candle_core::Device::Cpu).unwrap();
            let numbers = |tensor: candle_core::Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            tensors.into_iter().map(|(name, tensor)| (name, numbers(tensor))).collect::<BTreeMap<_, _>>()
        });
        let mut furthest = 0f32;
        for (name, two) in &two {
            for (two, one) in two.iter().zip(&one[name]) {
                furthest = furthest.max((two - one).abs());
            }
        }
        // steps of up to 1e-2; measured: 1e-6
        assert!(furthest <= 5e-6, "weights differ by {furthest}");
        assert!(two.len() > 100 && two.len() == one.len());
    }

    /// The processes that mpirun has started.
    fn ranks(mpirun: &Child) -> Vec<u32> {
        let mut found: Vec<(usize, u32)> = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse::<u32>().ok());
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            let rank = environment
                .split(|byte| *byte == 0)
                .find_map(|entry| std::str::from_utf8(entry).ok()?.strip_prefix("OMPI_COMM_WORLD_RANK=")?.parse().ok());
            if let (Some(rank), true) = (rank, parent == Some(mpirun.id())) {
                found.push((rank, pid));
            }
        }
        found.sort();
        found.into_iter().map(|(_, pid)| pid).collect()
    }

    /// Starts two processes and sends `signal` to one of them once `step` is saved.
    fn signalled(folder: &Folder, arguments: &[&str], step: u64, signal: &str, rank: usize) -> Output {
        let mut command = command(&folder, &MPIRUN, arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = arguments[arguments.iter().position(|word| *word == "--out").unwrap() + 1];
        let saved = folder.path().join(out).join(format!("checkpoints/{step:08}"));
        while !saved.exists() {
            assert!(child.try_wait().unwrap().is_none(), "the run ended before step {step}");
            std::thread::sleep(Duration::from_millis(5));
        }
        let pid = ranks(&child)[rank].to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        child.wait_with_output().unwrap()
    }

    #[test]
    fn resumed_runs_are_the_undisturbed_one_to_the_bit() {
        let folder = new();
        let run = |out: &'static str| [&["--out", out][..], &LONG].concat();
        done(&folder.two(&run("straight")));
        // one of them dies: the other ends, too
        let output =
            signalled(&folder, &[&run("killed")[..], &["--set", "checkpoint.every=1"]].concat(), 3, "-KILL", 1);
        assert!(!output.status.success());
        done(&folder.two(&[&run("killed")[..], &["--resume"]].concat()));
        folder.same("straight", "killed", &RESULT);
        // Ctrl-C for one of them ends both after the same step
        let output = signalled(&folder, &run("stopped"), 2, "-INT", 1);
        let said = text(&output);
        assert!(said.contains("stopped before the end"), "{said}");
        done(&folder.two(&[&run("stopped")[..], &["--resume"]].concat()));
        folder.same("straight", "stopped", &RESULT);
        // other numbers of processes are other runs
        let output = alone(&folder, &[&run("straight")[..], &["--resume"]].concat());
        let said = text(&output);
        assert!(!output.status.success() && said.contains("made by 2 processes, not by 1"), "{said}");
    }

    #[test]
    fn a_step_that_one_cannot_do_is_left_out_by_all() {
        let folder = new();
        for name in ["a", "b", "c", "d"] {
            let image = image::RgbImage::from_fn(40, 40, |x, _| [x as u8, 80, 40].into());
            let mask = image::GrayImage::from_fn(40, 40, |x, _| [if x < 20 { 255 } else { 0 }].into());
            for (part, picture) in [("im", image::DynamicImage::from(image)), ("gt", image::DynamicImage::from(mask))] {
                std::fs::create_dir_all(folder.path().join("set").join(part)).unwrap();
                picture.save(folder.path().join("set").join(part).join(format!("{name}.png"))).unwrap();
            }
        }
        let broken = folder.path().join("set/im/b.png");
        let bytes = std::fs::read(&broken).unwrap();
        std::fs::write(&broken, &bytes[..bytes.len() / 2]).unwrap();
        let words = [&MPIRUN[..], &[env!("CARGO_BIN_EXE_hrseg"), "train", "r.toml", "--data", "set"]].concat();
        let mut command = Command::new(words[0]);
        command.current_dir(folder.path()).args(&words[1..]);
        let output = command.args(["--device", "cpu", "--out", "run", "--set", "data.batch=1"]).output().unwrap();
        done(&output);
        // two steps to a pass of four pictures: in every pass one is left out
        let losses = folder.lines("run").iter().filter(|line| line.get("train/loss").is_some()).count();
        assert_eq!((folder.lines("run").len(), losses), (6, 3), "{}", text(&output));
        assert!(text(&output).contains("the step is left out"), "{}", text(&output));
    }

    #[test]
    fn what_cannot_be_is_told_once() {
        let folder = new();
        for (arguments, expected) in [
            (&["--out", "run", "--set", "data.batch=0"][..], "data.batch is 0"),
            (&["--out", "run", "--val", "nowhere"], "nowhere"),
            (&[], "--out DIR is missing"),
        ] {
            let output = folder.two(arguments);
            let said = text(&output);
            assert!(!output.status.success(), "{said}");
            assert_eq!(said.lines().filter(|line| line.contains(expected)).count(), 1, "{said}");
        }
    }
}
