//! Many clients at once on a network, MobileSAM of made-up weights: every mask is bit for bit what `hrseg segment` gives, whatever the others ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hrseg::pipeline::{Colours, Photo, Pipeline};
use hrseg::seg_data::{DecodeLimits, Rle};
use hrseg::seg_models::{Point, Prompts};
use hrseg::serve::{Loaded, Options, Source};
use serde_json::{Value, json};

use crate::crowd::{CLIENTS, Dice, busy, gone, requests};
use crate::fixture::{Served, Watched, named, small};
use crate::{file, picture, rle, turned};

/// A picture, and what the command's own way from a file to a mask makes of each prompt.
struct Known {
    bytes: Vec<u8>,
    answers: Vec<(Value, Rle)>,
}

/// One click, two, a box, a box with a click.
fn prompts((width, height): (u32, u32), dice: &mut Dice) -> Vec<(Value, Prompts)> {
    let mut at = || [dice.below(width as usize) as f32, dice.below(height as usize) as f32];
    let kinds = [(1, false), (2, false), (0, true), (1, true)];
    let asked = kinds.map(|(clicks, boxed)| {
        let points: Vec<Point> =
            (0..clicks).map(|i| (at(), i == 0)).map(|([x, y], positive)| Point { x, y, positive }).collect();
        let [x, y] = at();
        let bbox = boxed.then_some([x / 2., y / 2., (x + width as f32) / 2. + 1., (y + height as f32) / 2. + 1.]);
        let listed: Vec<Value> = points.iter().map(|p| json!([p.x, p.y, i32::from(p.positive)])).collect();
        let question = match bbox {
            Some(bbox) => json!({"points": listed, "box": bbox}),
            None => json!({"points": listed}),
        };
        (question, Prompts { points, bbox, ..Prompts::default() })
    });
    asked.into()
}

fn known(pipeline: &Pipeline) -> Vec<Known> {
    let mut dice = Dice(5);
    let mut files = vec![turned(), file("clip.gif")];
    files.extend((0..14).map(|i| picture(40 + 29 * i, 400 - 27 * i, 18 * i as u8)));
    let of_file = |bytes: Vec<u8>| {
        let photo = Photo::decode(&bytes, "a picture", &DecodeLimits::default(), Colours::Srgb).unwrap();
        let answer = |(question, prompts): (Value, Prompts)| {
            let segmented = pipeline.segment(photo.seen(), &prompts, &()).unwrap();
            (question, segmented.best().unwrap().rle.clone())
        };
        Known { answers: prompts(photo.dimensions(), &mut dice).into_iter().map(answer).collect(), bytes }
    };
    files.into_iter().map(of_file).collect()
}

/// By default a few hundred; `HRSEG_TEST_REQUESTS=10000` for more.
#[test]
fn every_mask_is_the_commands() {
    let open = || Pipeline::new(named("mobile-sam"), small("mobile-sam"));
    let pictures = known(&open());
    let inside = pictures.iter().flat_map(|known| &known.answers).filter(|(_, mask)| mask.area() > 0).count();
    assert!(inside > pictures.len(), "{inside} masks with anything in them: this would prove little");
    let source = Source {
        name: named("mobile-sam"),
        open: Box::new(move |_| Ok(Loaded { pipeline: Some(Arc::new(open())), ..Loaded::default() })),
    };
    // room for a few of the embeddings, so that they come and go
    let options = Options { cache_bytes: 24 << 20, queue: 64, ..Options::default() };
    let served = Served::with(options, vec![source], Arc::<Watched>::default());
    served.ready();
    let (requests, done, equal) = (requests(800), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (served, pictures, done, equal) = (&served, &pictures, &done, &equal);
            scope.spawn(move || {
                let mut dice = Dice(number as u64 * 104_729 + 3);
                let next = || done.fetch_add(1, Ordering::SeqCst) < requests;
                while next() {
                    let known = &pictures[dice.below(pictures.len())];
                    let uploaded = served.ask("POST", "/v1/images").file(&known.bytes).send();
                    if uploaded.status != 201 {
                        assert!(busy(&uploaded), "{uploaded:?}");
                        continue;
                    }
                    let at = uploaded.header("location").unwrap();
                    for _ in 0..1 + dice.below(3) {
                        if !next() {
                            return;
                        }
                        let (question, expected) = &known.answers[dice.below(known.answers.len())];
                        let reply = served.ask("POST", &format!("{at}/masks")).json(question).send();
                        if reply.status != 200 {
                            assert!(busy(&reply) || gone(&reply), "{reply:?}");
                            continue;
                        }
                        assert!(&rle(&reply.json()["masks"][0]["rle"]) == expected, "{question} of {at}");
                        equal.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    let equal = equal.into_inner();
    println!("{requests} requests of {CLIENTS} clients at once: {equal} masks, each as the command gives it");
    assert!(equal > requests / 3, "{equal} masks in {requests} requests");
}
