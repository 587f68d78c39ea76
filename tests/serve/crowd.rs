//! Many clients at once, some of them hostile: every answer is right or a clear problem, and memory stays where it is.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hrseg::serve::Options;
use serde_json::{Value, json};

use crate::client::{Reply, Request};
use crate::fixture::Served;
use crate::{file, picture, rle, turned};

pub const CLIENTS: usize = 32;
/// Memory that may come and go beside the cache: images being decoded, answers on their way.
const SLACK: u64 = 256 << 20;

/// Numbers that are the same in each run.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % n as u64) as usize
    }
}

/// Bytes that this process holds.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

struct Client<'a> {
    served: &'a Served,
    dice: Dice,
    /// Paths of images with their sizes.
    images: Vec<(String, u32, u32)>,
}

impl Client<'_> {
    fn step(&mut self) {
        if self.images.is_empty() || self.dice.below(4) == 0 {
            return self.upload();
        }
        let (at, width, height) = self.images[self.dice.below(self.images.len())].clone();
        match self.dice.below(12) {
            0 => {
                self.images.retain(|(known, ..)| *known != at);
                let reply = self.ask("DELETE", &at).send();
                assert!(reply.status == 204 || gone(&reply), "{reply:?}");
                self.ask("GET", &at).send().problem(404, "unknown-id");
            }
            1 => {
                let wrong =
                    ["/v1/images/AAAAAAAAAAAAAAAAAAAAAA", "/v1/images/%2e%2e/masks", "/v1/videos/x/frames/0/pixels"];
                let wrong = wrong[self.dice.below(wrong.len())];
                let reply = self.ask("GET", wrong).send();
                assert!([404, 405].contains(&reply.status), "{reply:?}");
            }
            2 => {
                let reply = self.ask("POST", &format!("{at}/masks")).json(&json!({"points": [[1, 2]]})).send();
                reply.problem(400, "invalid-request");
            }
            3 => self.pixels(&at, width, height),
            4 => self.abort(),
            5 => {
                let (x, y) = (self.dice.below(width as usize), self.dice.below(height as usize));
                let asked = json!({"points": [[x, y, 1]], "preview": true});
                let reply = self.ask("POST", &format!("{at}/masks")).json(&asked).send();
                let trap = (x, y) == (13, 13) && reply.status == 500;
                let replaced = reply.status == 409 && reply.json()["code"] == "superseded";
                assert!(reply.status == 200 || replaced || trap || gone(&reply) || busy(&reply), "{reply:?}");
            }
            _ => self.click(&at, width, height),
        }
    }

    fn ask(&self, method: &str, path: &str) -> Request {
        self.served.ask(method, path)
    }

    fn upload(&mut self) {
        let seed = self.dice.below(200) as u8;
        let (width, height) = (1 + self.dice.below(300) as u32, 1 + self.dice.below(300) as u32);
        let bytes = match self.dice.below(8) {
            0 => turned(),
            1 => turned()[..self.dice.below(4000)].to_vec(),
            2 => (0..self.dice.below(3000)).map(|i| (i * i + usize::from(seed)) as u8).collect(),
            3 => file("clip.gif"),
            _ => picture(width, height, seed),
        };
        let reply = match self.dice.below(3) {
            0 => self.ask("POST", "/v1/images").form(&[("image", &bytes)]).send(),
            _ => self.ask("POST", "/v1/images").file(&bytes).send(),
        };
        if reply.status != 201 {
            assert!(reply.status == 422 || busy(&reply), "{reply:?}");
            return;
        }
        let record = reply.json();
        let size = |key: &str| record[key].as_u64().unwrap() as u32;
        self.images.push((reply.header("location").unwrap().to_owned(), size("width"), size("height")));
        if self.images.len() > 6 {
            self.images.remove(0);
        }
    }

    /// A click has the square that it should have.
    fn click(&mut self, at: &str, width: u32, height: u32) {
        let (x, y) = (self.dice.below(width as usize) as u32, self.dice.below(height as usize) as u32);
        let reply = self.ask("POST", &format!("{at}/masks")).json(&json!({"points": [[x, y, 1]]})).send();
        if reply.status != 200 {
            let trap = (x, y) == (13, 13) && reply.status == 500;
            assert!(trap || gone(&reply) || busy(&reply), "{reply:?}");
            return;
        }
        let mask: &Value = &reply.json()["masks"][0];
        let side = |v: u32, most: u32| u64::from((v + 12).min(most) - v.saturating_sub(12));
        let area = side(x, width) * side(y, height);
        assert_eq!(
            (mask["area"].as_u64(), rle(&mask["rle"]).area()),
            (Some(area), area),
            "{x},{y} in {width}x{height}"
        );
        let objects = json!([{"mask": {"result": mask["result"]}}]);
        let format = ["mask", "cutout", "coco", "polygons", "labels"][self.dice.below(5)];
        let export =
            self.ask("POST", &format!("{at}/exports")).json(&json!({"format": format, "objects": objects})).send();
        assert!(export.status == 200 || gone(&export), "{export:?}");
    }

    fn pixels(&mut self, at: &str, width: u32, height: u32) {
        let reply = self.ask("GET", &format!("{at}/pixels")).send();
        if reply.status == 200 {
            let picture = image::load_from_memory(&reply.body).unwrap();
            assert_eq!((picture.width(), picture.height()), (width, height));
        } else {
            assert!(gone(&reply), "{reply:?}");
        }
    }

    /// Goes away in the middle of an upload, or is slow with it.
    fn abort(&mut self) {
        let bytes = picture(50, 50, 1);
        let half = bytes.len() / 2;
        let length = bytes.len().to_string();
        let mut stream = self.ask("POST", "/v1/images").header("Content-Length", &length).file(&bytes[..half]).begin();
        if self.dice.below(2) == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
        stream.write_all(&bytes[half..]).unwrap();
        let reply = crate::client::reply(stream);
        assert!(reply.status == 201 || busy(&reply), "{reply:?}");
    }
}

/// Forgotten for want of room: nothing else may be wrong with an id that was given.
pub fn gone(reply: &Reply) -> bool {
    reply.status == 404 && reply.json()["code"] == "unknown-id"
}

pub fn busy(reply: &Reply) -> bool {
    reply.status == 503 && reply.json()["code"] == "busy"
}

/// In a process of its own: other tests' memory would count.
#[test]
fn thousands_of_requests_by_many_clients() {
    let out = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crowd::of_clients", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let said = [out.stdout, out.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(out.status.success() && said.contains("1 passed"), "{said}");
    said.lines().filter(|line| line.contains("at the end")).for_each(|line| println!("{line}"));
}

/// How many requests: `HRSEG_TEST_REQUESTS`, or else a part of what a figure needs.
pub fn requests(part: usize) -> usize {
    std::env::var("HRSEG_TEST_REQUESTS").ok().and_then(|n| n.parse().ok()).unwrap_or(part)
}

/// By default a part of them; `HRSEG_TEST_REQUESTS=10000` for a figure.
#[test]
#[ignore = "is run by the test above"]
fn of_clients() {
    let requests = requests(1500);
    let cache_bytes = 8 << 20;
    let served = Served::new(Options { cache_bytes, queue: 64, ..Options::default() });
    let done = AtomicUsize::new(0);
    let after_first = std::sync::Mutex::new(None);
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (served, done, after_first) = (&served, &done, &after_first);
            scope.spawn(move || {
                let mut client = Client { served, dice: Dice(number as u64 * 7919 + 1), images: Vec::new() };
                loop {
                    let at = done.fetch_add(1, Ordering::SeqCst);
                    if at >= requests {
                        break;
                    }
                    if at == requests / 10 {
                        *after_first.lock().unwrap() = resident();
                    }
                    client.step();
                }
            });
        }
    });
    served.get("/healthz").is(200);
    let before = after_first.into_inner().unwrap();
    if let (Some(before), Some(after)) = (before, resident()) {
        println!(
            "{requests} steps of {CLIENTS} clients: {} MiB after a tenth, {} MiB at the end",
            before >> 20,
            after >> 20
        );
        assert!(after < before + SLACK, "{before} bytes after a tenth, {after} at the end");
    }
    let kept: f64 = ["image", "frame", "embedding", "result"]
        .iter()
        .map(|kind| served.figure(&format!("cache_bytes{{kind=\"{kind}\"}}")))
        .sum();
    assert!(kept <= cache_bytes as f64, "{kept} bytes are kept");
}
