//! Order, bounds and ends of the loader.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::{GrayImage, RgbImage};

/// So many examples, of which some cannot be read.
struct Made {
    count: Option<u64>,
    broken: Vec<u64>,
}

impl Examples for Made {
    fn len(&self) -> Option<u64> {
        self.count
    }

    fn example(&self, place: Place) -> Result<Example> {
        // later ones are sooner ready
        std::thread::sleep(Duration::from_micros(300 * (7 - place.index % 8)));
        if self.broken.contains(&place.index) {
            return Err(DataError::EmptyFile { name: format!("im/{}.png", place.index) });
        }
        let name = place.index.to_string();
        Ok(Example { name, image: RgbImage::new(2, 2), mask: GrayImage::new(2, 2), prompt: None })
    }

    fn digest(&self) -> Result<String> {
        Ok(String::new())
    }
}

fn made(count: u64) -> Arc<dyn Examples> {
    Arc::new(Made { count: Some(count), broken: Vec::new() })
}

/// The name, and a random number of the place.
fn prepare(example: Example, place: Place) -> Result<((String, u64), u64)> {
    Ok(((example.name, super::super::Dice::new(place, "test").bits()), 100))
}

type Seen = Vec<(Position, Vec<(String, u64)>)>;

fn run(from: Position, epochs: u64, threads: usize, plan: Plan) -> Seen {
    let ahead = Ahead { threads, examples: 5, bytes: 1000 };
    let loader = Loader::start(made(11), plan, from, Some(epochs), ahead, prepare).unwrap();
    loader.map(|batch| (batch.position, batch.items.into_iter().map(|(_, item)| item.unwrap()).collect())).collect()
}

#[test]
fn any_number_of_workers_gives_the_same_and_so_does_any_beginning() {
    for rest in [Rest::Drop, Rest::Short, Rest::Fill] {
        let plan = Plan { rest, ..Plan::new(4, 3) };
        let straight = run(Position::default(), 3, 1, plan);
        let schedule = Schedule::new(plan, Some(11)).unwrap();
        assert_eq!(straight.len(), 3 * schedule.steps().unwrap() as usize);
        for (position, items) in &straight {
            let places = schedule.step(position.epoch, position.step);
            let names: Vec<String> = places.iter().map(|place| place.index.to_string()).collect();
            assert_eq!(items.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), names);
        }
        assert_eq!(run(Position::default(), 3, 4, plan), straight);
        for (i, (position, _)) in straight.iter().enumerate() {
            assert_eq!(run(*position, 3, 3, plan), straight[i..], "{rest:?} from {position:?}");
        }
    }
    assert_eq!(run(Position { epoch: 1, step: 3 }, 2, 2, Plan::new(4, 3)), Vec::new());
    let from = Position { epoch: 0, step: 9 };
    assert!(Loader::start(made(11), Plan::new(4, 3), from, None, Ahead::default(), prepare).is_err());
}

#[test]
fn a_broken_example_is_one_error_and_stops_nothing() {
    let source = Arc::new(Made { count: Some(6), broken: vec![2] });
    let plan = Plan { shuffle: false, ..Plan::new(1, 2) };
    let fail = |example: Example, _| {
        assert!(example.name != "4", "number {}\nis odd", example.name);
        Ok((example.name, 1))
    };
    let loader =
        Loader::<_, DataError>::start(source, plan, Position::default(), Some(1), Ahead::default(), fail).unwrap();
    let all: Vec<_> = loader.flat_map(|batch| batch.items).map(|(place, item)| (place.index, item)).collect();
    assert_eq!(all.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    let failed: Vec<_> = all.iter().filter_map(|(_, item)| item.as_ref().err()).map(ToString::to_string).collect();
    assert_eq!(failed.len(), 2);
    assert!(failed[0].contains("im/2.png"), "{failed:?}");
    assert!(failed[1].contains("example 4 of pass 0") && failed[1].contains("number 4 is odd"), "{failed:?}");
}

#[test]
fn what_is_ready_is_bounded_by_count_and_by_bytes() {
    for (examples, bytes, most) in [(4, u64::MAX, 4), (100, 350, 3), (100, 0, 1), (0, u64::MAX, 1)] {
        let (begun, taken) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let ahead = Arc::new(Mutex::new(0));
        let counted = {
            let (begun, taken, ahead) = (begun.clone(), taken.clone(), ahead.clone());
            move |example: Example, _: Place| {
                let now = begun.fetch_add(1, Ordering::SeqCst) + 1 - taken.load(Ordering::SeqCst);
                let mut ahead = ahead.lock().unwrap();
                *ahead = now.max(*ahead);
                Ok((example.name, 100))
            }
        };
        let limits = Ahead { threads: 3, examples, bytes };
        let plan = Plan::new(1, 1);
        let loader =
            Loader::<_, DataError>::start(made(30), plan, Position::default(), Some(1), limits, counted).unwrap();
        let mut count = 0;
        for batch in loader {
            assert_eq!(batch.items.len(), 1);
            count += 1;
            std::thread::sleep(Duration::from_micros(500));
            taken.fetch_add(1, Ordering::SeqCst);
        }
        // one more is in the consumer's hands before it is counted
        let seen = *ahead.lock().unwrap();
        assert!(count == 30 && seen <= most + 1, "{examples} examples, {bytes} bytes: {seen} ahead, expected {most}");
    }
}

#[test]
fn endless_sources_and_a_loader_that_is_dropped_early() {
    let source: Arc<dyn Examples> = Arc::new(Made { count: None, broken: Vec::new() });
    let from = Position { epoch: 0, step: 5 };
    let alive = Arc::new(());
    let held = alive.clone();
    let hold = move |example, place| {
        let _ = &held;
        prepare(example, place)
    };
    let mut loader = Loader::start(source, Plan::new(3, 2), from, None, Ahead::default(), hold).unwrap();
    let names =
        |batch: Batch<(String, u64)>| batch.items.into_iter().map(|(_, item)| item.unwrap().0).collect::<Vec<_>>();
    assert_eq!(loader.steps(), None);
    assert_eq!(names(loader.next().unwrap()), ["10", "11"]);
    assert_eq!(loader.position(), Position { epoch: 0, step: 6 });
    drop(loader);
    assert_eq!(Arc::strong_count(&alive), 1, "all workers have ended");
}
