//! Who may ask, how much, and for how long.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hrseg::seg_data::output::png;
use hrseg::seg_data::{DecodeLimits, RgbImage};
use hrseg::serve::{Options, Source};
use serde_json::json;

use crate::client::reply;
use crate::fixture::{Served, sources, until};
use crate::{picture, turned};

const PIXELS: &str = "route=\"/v1/images/{id}/pixels\",status=\"200\"";

#[test]
fn no_other_page_can_drive_it() {
    let served = Served::new(Options { allowed_hosts: vec!["studio.example".into()], ..Options::default() });
    let own = served.address.to_string();
    let models = |host: &str| served.ask("GET", "/v1/models").header("Host", host);
    models("evil.example").send().problem(421, "unknown-host");
    served.ask("GET", "/").without("Host").send().problem(421, "unknown-host");
    models("studio.example").send().is(200);
    models(&own).header("Origin", "http://evil.example").send().problem(403, "foreign-origin");
    models(&own).header("Origin", "null").send().problem(403, "foreign-origin");
    models(&own).header("Sec-Fetch-Site", "same-site").send().problem(403, "foreign-origin");
    let asked = models(&own).header("Origin", &format!("http://{own}")).send().is(200);
    assert!(asked.header("access-control-allow-origin").is_none() && asked.header("set-cookie").is_none());
}

#[test]
fn the_token() {
    let token = "0123456789abcdef".to_owned();
    let served = Served::with(Options { token: Some(token.clone()), ..Options::default() }, Vec::new(), Arc::default());
    assert_eq!(served.get("/").status, 200);
    assert_eq!(served.get("/healthz").status, 200);
    let refused = served.get("/v1/info");
    refused.problem(401, "unauthorized");
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    assert_eq!(served.get("/metrics").status, 401);
    served.ask("GET", "/v1/info").header("Authorization", "Bearer nothing").send().problem(401, "unauthorized");
    let info = served.ask("GET", "/v1/info").header("Authorization", &format!("Bearer {token}")).send().is(200).json();
    assert_eq!(info["token_required"], true);
}

#[test]
fn bodies_and_pictures_over_the_limits() {
    let decode = DecodeLimits { max_pixels: 1000, ..DecodeLimits::default() };
    let patience = Duration::from_millis(200);
    let served = Served::new(Options { max_body: 3000, decode, patience, ..Options::default() });
    served.ask("POST", "/v1/images").file(&picture(40, 40, 0)).send().problem(413, "too-many-pixels");
    let told = served.ask("POST", "/v1/images").file(&[0; 3001]).send().problem(413, "too-large");
    assert!(told["detail"].as_str().unwrap().contains("--max-body"), "{told}");
    // without its length in the head
    let chunked = served.ask("POST", "/v1/images").header("Transfer-Encoding", "chunked").without("Content-Length");
    let mut body = b"fa0\r\n".to_vec();
    body.extend([7; 4000]);
    let mut stream = chunked.header("Content-Length", "").without("Content-Length").begin();
    let _ = stream.write_all(&body);
    let told = reply(stream);
    assert!([400, 413].contains(&told.status), "{told:?}");

    let slow = served.ask("POST", "/v1/images").header("Content-Length", "2000").file(b"a little").begin();
    reply(slow).problem(408, "too-slow");
}

#[test]
fn pictures_that_need_too_much_memory() {
    let decode = DecodeLimits { max_decoded_bytes: 4000, ..DecodeLimits::default() };
    let served = Served::new(Options { decode, ..Options::default() });
    let told = served.ask("POST", "/v1/images").file(&picture(40, 40, 0)).send().problem(413, "too-much-memory");
    assert!(told["detail"].as_str().unwrap().contains("memory"), "{told}");
    served.image(&picture(20, 20, 0));
}

#[test]
fn answers_that_nobody_takes_are_given_up() {
    let served = Served::new(Options { patience: Duration::from_millis(300), ..Options::default() });
    // noise, which no packing makes smaller than the system's buffers
    let mut state = 1u32;
    let noise = RgbImage::from_fn(2600, 2000, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        image::Rgb([(state >> 8) as u8, (state >> 16) as u8, (state >> 24) as u8])
    });
    let at = served.image(&png(&noise).unwrap());
    let whole = served.get(&format!("{at}/pixels")).is(200);
    let length: usize = whole.header("content-length").unwrap().parse().unwrap();
    assert_eq!(whole.body.len(), length);
    let taken = served.ask("GET", &format!("{at}/pixels")).begin();
    until("it is answered", || served.figure(&format!("requests_total{{{PIXELS}}}")) == 2.0);
    std::thread::sleep(Duration::from_millis(900));
    let part = reply(taken);
    assert!(part.body.len() < length, "{length} bytes came though nobody took them");
}

#[test]
fn memory_goes_to_what_was_used_last() {
    let served = Served::new(Options { cache_bytes: 40_000, ..Options::default() });
    let first = served.image(&picture(100, 100, 0));
    let second = served.image(&picture(100, 90, 1));
    served.get(&first).problem(404, "unknown-id");
    served.get(&second).is(200);
    assert_eq!(served.figure("images"), 1.0);
    assert_eq!(served.figure("cache_evicted_total{kind=\"image\"}"), 1.0);
}

#[test]
fn what_nobody_asks_for_goes() {
    let served = Served::new(Options { keep: Duration::from_millis(100), ..Options::default() });
    let at = served.image(&picture(30, 30, 0));
    std::thread::sleep(Duration::from_millis(250));
    served.get(&at).problem(404, "unknown-id");
    assert_eq!(served.figure("images"), 0.0);
}

#[test]
fn two_that_ask_at_once_have_one_embedding() {
    let served = Served::new(Options::default());
    let at = served.image(&turned());
    served.watched.hold();
    let ask = || served.ask("POST", &format!("{at}/embeddings")).json(&json!({})).events();
    let first = ask().begin();
    served.watched.until_held();
    let second = ask().begin();
    until("the second waits", || served.figure("queue_waiting") == 1.0);
    // the same bytes are the same picture
    let other = served.image(&turned());
    let third = served.ask("POST", &format!("{other}/embeddings")).json(&json!({})).begin();
    until("the third waits", || served.figure("queue_waiting") == 2.0);
    served.watched.free();
    for (stream, cached) in [(first, false), (second, true)] {
        let events = reply(stream).is(200).events();
        assert_eq!(events[0].name, "queued");
        let last = events.last().unwrap();
        assert_eq!((last.name.as_str(), &last.data["cached"]), ("ready", &json!(cached)));
    }
    assert_eq!(reply(third).is(200).json()["cached"], true);
    assert_eq!(served.watched.embedded.load(Ordering::SeqCst), 1);
    assert_eq!(served.figure("embeddings_total{model=\"mobile-sam\",outcome=\"joined\"}"), 2.0);
    // two stages use the first one's
    served.post(&format!("{at}/masks"), json!({"model": "sam+isnet", "points": [[170, 95, 1]]})).is(200);
    assert_eq!(served.watched.embedded.load(Ordering::SeqCst), 1);
    served.post(&format!("{at}/embeddings"), json!({"model": "is-net"})).problem(422, "invalid-prompt");
}

#[test]
fn the_queue_is_bounded_and_what_nobody_waits_for_is_dropped() {
    let served = Served::new(Options { queue: 2, ..Options::default() });
    let at = served.image(&turned());
    served.watched.hold();
    let masks = |x: u32, preview: bool| {
        served.ask("POST", &format!("{at}/masks")).json(&json!({"points": [[x, 95, 1]], "preview": preview}))
    };
    let first = masks(100, false).begin();
    served.watched.until_held();
    let old = masks(110, true).begin();
    until("the preview waits", || served.figure("queue_waiting") == 1.0);
    let new = masks(120, true).begin();
    reply(old).problem(409, "superseded");
    let gone = masks(130, false).begin();
    until("both wait", || served.figure("queue_waiting") == 2.0);
    let full = masks(140, false).send();
    full.problem(503, "busy");
    assert_eq!(full.header("retry-after"), Some("1"));
    assert_eq!(served.figure("queue_rejected_total"), 1.0);
    drop(gone);
    until("it is dropped", || served.figure("queue_waiting") == 1.0);
    served.watched.free();
    reply(first).is(200);
    assert_eq!(reply(new).is(200).json()["masks"][0]["bbox"][0], 108);
    // nobody asked the model for what was dropped
    assert_eq!(served.watched.predicted.load(Ordering::SeqCst), 2);
    assert_eq!(served.figure("cancelled_total"), 1.0);
}

#[test]
fn what_takes_too_long_is_given_up() {
    let served = Served::new(Options { time_limit: Duration::from_millis(300), ..Options::default() });
    let at = served.image(&turned());
    served.watched.hold();
    served.post(&format!("{at}/masks"), json!({"points": [[100, 95, 1]]})).problem(504, "time-limit");
    let events = served.ask("POST", &format!("{at}/embeddings")).json(&json!({})).events().send().events();
    let last = events.last().unwrap();
    assert_eq!((last.name.as_str(), &last.data["code"]), ("problem", &json!("time-limit")));
    served.watched.free();
}

#[test]
fn long_work_stops_when_nobody_listens() {
    let served = Served::new(Options::default());
    let at = served.image(&picture(64, 64, 3));
    served.watched.hold();
    let stream = served.ask("POST", &format!("{at}/everything")).json(&json!({"points_per_side": 64})).events().begin();
    served.watched.until_held();
    drop(stream);
    until("it is noticed", || served.figure("cancelled_total") == 1.0);
    served.watched.free();
    served.post(&format!("{at}/masks"), json!({"points": [[30, 30, 1]]})).is(200);
    assert!(served.watched.predicted.load(Ordering::SeqCst) < 100, "of 4096 clicks");
}

#[test]
fn clicks_go_before_the_rest_of_long_work() {
    let served = Served::new(Options::default());
    let at = served.image(&picture(60, 60, 3));
    served.watched.hold();
    let long = served.ask("POST", &format!("{at}/everything")).json(&json!({"points_per_side": 32})).begin();
    served.watched.until_held();
    let click = served.ask("POST", &format!("{at}/masks")).json(&json!({"points": [[30, 30, 1]]})).begin();
    until("the click waits", || served.figure("queue_waiting") == 1.0);
    served.watched.free();
    reply(click).is(200);
    assert!(served.watched.predicted.load(Ordering::SeqCst) < 500, "of 1024 clicks and one");
    reply(long).is(200);
}

#[test]
fn models_that_are_being_loaded_say_so() {
    let watched = Arc::default();
    let (free, gate) = std::sync::mpsc::channel::<()>();
    let mut models = sources(&watched);
    let Source { name, open } = models.remove(0);
    let open = Box::new(move |others: hrseg::serve::Others<'_>| {
        gate.recv().unwrap();
        open(others)
    });
    let served = Served::with(Options::default(), vec![Source { name, open }], watched);
    assert_eq!(served.get("/readyz").status, 503);
    let at = served.image(&turned());
    let asked = json!({"points": [[100, 95, 1]]});
    let early = served.post(&format!("{at}/masks"), asked.clone());
    early.problem(409, "loading");
    assert_eq!(early.header("retry-after"), Some("1"));
    free.send(()).unwrap();
    until("it is loaded", || served.get("/readyz").status == 200);
    served.post(&format!("{at}/masks"), asked).is(200);
}

#[test]
fn what_runs_is_finished_before_the_end() {
    let mut served = Served::new(Options::default());
    let at = served.image(&turned());
    served.watched.hold();
    let running = served.ask("POST", &format!("{at}/masks")).json(&json!({"points": [[100, 95, 1]]})).begin();
    served.watched.until_held();
    served.handle.stop();
    until("nobody is let in", || std::net::TcpStream::connect(served.address).is_err());
    served.watched.free();
    reply(running).is(200);
    served.join();
}

#[test]
fn what_does_not_end_is_broken_off() {
    let mut served = Served::new(Options { grace: Duration::from_millis(100), ..Options::default() });
    let at = served.image(&picture(64, 64, 3));
    served.watched.hold();
    let running =
        served.ask("POST", &format!("{at}/everything")).json(&json!({"points_per_side": 64})).events().begin();
    served.watched.until_held();
    served.handle.stop();
    std::thread::sleep(Duration::from_millis(300));
    served.watched.free();
    served.join();
    drop(running);
    assert!(served.watched.predicted.load(Ordering::SeqCst) < 100, "of 4096 clicks");
}
