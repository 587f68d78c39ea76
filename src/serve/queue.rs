//! Who may compute: one piece of work at a time has the processors, the others wait in a bounded queue.
//!
//! Clicks go first, then long work (the whole picture, tracking), then previews. Long work lets clicks that have come in meanwhile go before its next step,
//! on the same thread. Work whose client has gone is dropped while it waits, and stops at its next step when it runs.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::figures::Figures;
use super::problem::{Code, Problem, Result};

/// What kind of work it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// Somebody waits for an answer.
    Click,
    /// Goes on for long, step by step.
    Long,
    /// Of this picture; the next one of the same takes its place.
    Preview(String),
}

/// The work, or why it is not done.
type Work = Box<dyn FnOnce(Result<&Turn>) + Send>;

struct Job {
    number: u64,
    class: Class,
    since: Instant,
    gone: Arc<AtomicBool>,
    work: Work,
}

#[derive(Default)]
struct Waiting {
    clicks: VecDeque<Job>,
    long: VecDeque<Job>,
    previews: VecDeque<Job>,
    closing: bool,
    /// Whether what runs shall stop, too.
    breaking: bool,
}

impl Waiting {
    fn len(&self) -> usize {
        self.clicks.len() + self.long.len() + self.previews.len()
    }

    fn lines(&mut self) -> [&mut VecDeque<Job>; 3] {
        [&mut self.clicks, &mut self.long, &mut self.previews]
    }

    fn line(&mut self, class: &Class) -> &mut VecDeque<Job> {
        match class {
            Class::Click => &mut self.clicks,
            Class::Long => &mut self.long,
            Class::Preview(_) => &mut self.previews,
        }
    }
}

/// The queue.
pub struct Queue {
    waiting: Mutex<Waiting>,
    news: Condvar,
    most: usize,
    numbers: AtomicU64,
    figures: Arc<Figures>,
}

/// A piece of work that has the processors.
pub struct Turn {
    queue: Arc<Queue>,
    class: Class,
    gone: Arc<AtomicBool>,
    /// How long it waited for its turn.
    pub waited: Duration,
}

/// A place in the queue: dropped, the work is nobody's any more.
#[derive(Debug)]
pub struct Place {
    number: u64,
    class: Class,
    gone: Arc<AtomicBool>,
    queue: Arc<Queue>,
    /// How many go before it.
    pub ahead: usize,
    done: bool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("most", &self.most).finish_non_exhaustive()
    }
}

impl Queue {
    /// In which `most` requests may wait.
    pub fn new(most: usize, figures: Arc<Figures>) -> Self {
        let numbers = AtomicU64::new(0);
        Self { waiting: Mutex::default(), news: Condvar::new(), most, numbers, figures }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts work into the queue: its place, and where its result will be. A result that never comes is a panic's.
    ///
    /// # Errors
    /// A full queue, or one that is closed.
    pub fn enter<T: Send + 'static>(
        self: &Arc<Self>,
        class: Class,
        work: impl FnOnce(&Turn) -> Result<T> + Send + 'static,
    ) -> Result<(Place, oneshot::Receiver<Result<T>>)> {
        let (sender, receiver) = oneshot::channel();
        let figures = Arc::clone(&self.figures);
        let work: Work = Box::new(move |turn| {
            let result = turn.and_then(|turn| {
                catch_unwind(AssertUnwindSafe(|| work(turn))).unwrap_or_else(|payload| {
                    figures.panicked();
                    Err(Problem::panicked(payload.as_ref()))
                })
            });
            // nobody may wait for it any more
            let _ = sender.send(result);
        });
        Ok((self.push(class, work)?, receiver))
    }

    fn push(self: &Arc<Self>, class: Class, work: Work) -> Result<Place> {
        let mut waiting = self.waiting();
        if waiting.closing {
            return Err(Problem::new(Code::Stopping, "the server is going down").retry_after(5));
        }
        let replaced = match &class {
            Class::Preview(_) => {
                let at = waiting.previews.iter().position(|job| job.class == class);
                at.and_then(|at| waiting.previews.remove(at))
            }
            _ => None,
        };
        if waiting.len() >= self.most {
            drop(waiting);
            self.figures.rejected();
            if let Some(job) = replaced {
                (job.work)(Err(superseded()));
            }
            let detail = format!("{} requests wait already (--queue)", self.most);
            return Err(Problem::new(Code::Busy, detail).retry_after(1));
        }
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let gone = Arc::new(AtomicBool::new(false));
        let ahead = match &class {
            Class::Click => waiting.clicks.len(),
            Class::Long => waiting.clicks.len() + waiting.long.len(),
            Class::Preview(_) => waiting.len(),
        };
        let job = Job { number, class: class.clone(), since: Instant::now(), gone: Arc::clone(&gone), work };
        waiting.line(&class).push_back(job);
        self.figures.waiting(waiting.len());
        drop(waiting);
        self.news.notify_one();
        if let Some(job) = replaced {
            (job.work)(Err(superseded()));
        }
        Ok(Place { number, class, gone, queue: Arc::clone(self), ahead, done: false })
    }

    /// Work as the caller's thread, until the queue is closed and empty.
    pub fn work(self: &Arc<Self>) {
        loop {
            let mut waiting = self.waiting();
            let job = loop {
                let next = waiting.lines().into_iter().find_map(VecDeque::pop_front);
                match next {
                    Some(job) => break job,
                    None if waiting.closing => return,
                    None => waiting = self.news.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                }
            };
            self.figures.waiting(waiting.len());
            drop(waiting);
            self.run(job);
        }
    }

    fn run(self: &Arc<Self>, job: Job) {
        let Job { class, since, gone, work, .. } = job;
        let turn = Turn { queue: Arc::clone(self), class, gone, waited: since.elapsed() };
        work(turn.check().map(|()| &turn));
    }

    /// Nobody comes in any more; what waits is still done.
    pub fn close(&self) {
        self.waiting().closing = true;
        self.news.notify_all();
    }

    /// What waits is dropped, and what runs stops at its next step.
    pub fn break_off(&self) {
        let mut waiting = self.waiting();
        (waiting.closing, waiting.breaking) = (true, true);
        let jobs: Vec<Job> = waiting.lines().into_iter().flat_map(std::mem::take).collect();
        drop(waiting);
        self.news.notify_all();
        jobs.into_iter().for_each(|job| (job.work)(Err(Problem::new(Code::Stopping, "the server is going down"))));
    }

    fn leave(&self, number: u64, class: &Class) {
        let mut waiting = self.waiting();
        let line = waiting.line(class);
        let job = line.iter().position(|job| job.number == number).and_then(|at| line.remove(at));
        self.figures.waiting(waiting.len());
        drop(waiting);
        // what the work holds is given back without the lock
        drop(job);
    }
}

fn superseded() -> Problem {
    Problem::new(Code::Superseded, "a newer preview of the same picture took its place")
}

impl Place {
    /// The result is there: nothing to take back.
    pub fn finish(&mut self) {
        self.done = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.done {
            self.gone.store(true, Ordering::Relaxed);
            self.queue.figures.cancelled();
            self.queue.leave(self.number, &self.class);
        }
    }
}

impl Turn {
    /// Whether to go on.
    ///
    /// # Errors
    /// When nobody waits for the result any more, or the server does not wait for it.
    pub fn check(&self) -> Result<()> {
        if self.gone.load(Ordering::Relaxed) {
            return Err(Problem::new(Code::TimeLimit, "nobody waits for it any more"));
        }
        if self.queue.waiting().breaking {
            return Err(Problem::new(Code::Stopping, "the server is going down"));
        }
        Ok(())
    }

    /// Between two steps of long work: clicks that wait go first.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn step(&self) -> Result<()> {
        if self.class == Class::Long {
            loop {
                let mut waiting = self.queue.waiting();
                let Some(job) = waiting.clicks.pop_front() else { break };
                self.queue.figures.waiting(waiting.len());
                drop(waiting);
                self.queue.run(job);
            }
        }
        self.check()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn queue(most: usize) -> Arc<Queue> {
        Arc::new(Queue::new(most, Arc::default()))
    }

    /// What was done, in order, by work that says its name.
    fn done(queue: &Arc<Queue>, jobs: &[(Class, &'static str)]) -> (Vec<&'static str>, Vec<&'static str>) {
        let (said, heard) = mpsc::channel();
        let mut kept = Vec::new();
        for (class, name) in jobs {
            let (said, name) = (said.clone(), *name);
            let entered = queue.enter(class.clone(), move |turn| {
                turn.step()?;
                said.send(name).map_err(Problem::internal)
            });
            kept.push(entered.unwrap());
        }
        queue.close();
        queue.work();
        drop(said);
        let codes = kept.iter_mut().map(|(_, result)| match result.try_recv().unwrap() {
            Ok(()) => "done",
            Err(problem) => problem.code.as_str(),
        });
        (codes.collect(), heard.iter().collect())
    }

    #[test]
    fn clicks_go_before_long_work_and_that_before_previews() {
        let preview = Class::Preview("a".into());
        let jobs = [(preview, "hover"), (Class::Long, "track"), (Class::Click, "first"), (Class::Click, "second")];
        let (codes, order) = done(&queue(9), &jobs);
        assert_eq!(order, ["first", "second", "track", "hover"]);
        assert_eq!(codes, ["done"; 4]);
    }

    #[test]
    fn a_newer_preview_of_the_same_picture_takes_the_place() {
        let preview = |name: &str| Class::Preview(name.into());
        let jobs = [(preview("a"), "old"), (preview("b"), "other"), (preview("a"), "new")];
        let (codes, order) = done(&queue(2), &jobs);
        assert_eq!(codes, ["superseded", "done", "done"]);
        assert_eq!(order, ["other", "new"]);
    }

    #[test]
    fn long_work_lets_clicks_go_first_at_each_step() {
        let queue = queue(9);
        let (said, heard) = mpsc::channel();
        let (inner, click) = (Arc::clone(&queue), said.clone());
        let (_place, result) = queue
            .enter(Class::Long, move |turn| {
                let clicked = move |_: &Turn| click.send("click").map_err(Problem::internal);
                let (mut place, _result) = inner.enter(Class::Click, clicked)?;
                turn.step()?;
                place.finish();
                said.send("long").map_err(Problem::internal)
            })
            .unwrap();
        let worker = std::thread::spawn({
            let queue = Arc::clone(&queue);
            move || queue.work()
        });
        result.blocking_recv().unwrap().unwrap();
        queue.close();
        worker.join().unwrap();
        assert_eq!(heard.iter().collect::<Vec<_>>(), ["click", "long"]);
    }

    #[test]
    fn what_nobody_waits_for_is_dropped() {
        let queue = queue(1);
        let (place, mut result) = queue.enter(Class::Click, |_| Ok(1)).unwrap();
        let full = queue.enter(Class::Click, |_| Ok(2)).unwrap_err();
        assert_eq!((full.code, full.retry_after), (Code::Busy, Some(1)));
        drop(place);
        assert!(result.try_recv().is_err());
        let (_place, mut result) = queue.enter(Class::Click, |_| -> Result<()> { panic!("on purpose") }).unwrap();
        queue.close();
        queue.work();
        let problem = result.try_recv().unwrap().unwrap_err();
        assert_eq!(problem.code, Code::Internal);
        assert!(problem.incident.is_some());
    }

    #[test]
    fn breaking_off_tells_those_who_wait() {
        let queue = queue(3);
        let (_place, mut result) = queue.enter(Class::Long, |_| Ok(())).unwrap();
        queue.break_off();
        assert_eq!(result.try_recv().unwrap().unwrap_err().code, Code::Stopping);
        assert_eq!(queue.enter(Class::Click, |_| Ok(())).unwrap_err().code, Code::Stopping);
        queue.work();
    }
}
