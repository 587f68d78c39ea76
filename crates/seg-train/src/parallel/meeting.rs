//! How processes that know only the first one's address are told what it knows.

use super::Launch;
use crate::{Result, TrainError};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// What is told: NCCL's name for the group.
type Word = [u8; 128];

/// How a process that asks begins, before its number.
const GREETING: [u8; 8] = *b"hrsegask";
/// How long the others may take to start.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long one that has called may take to say who it is.
const SPEAKS_WITHIN: Duration = Duration::from_secs(5);
/// Between two tries to call the first process, which may not be there yet.
const AGAIN: Duration = Duration::from_millis(100);

/// The first process, which has the `word`, tells it to all others at a port of its; they return when they have it.
pub(super) fn meet(launch: &Launch, host: &str, port: u16, word: Option<Word>) -> Result<Word> {
    let refuse = |problem: String| TrainError::Processes { problem };
    match word {
        Some(word) => {
            let open = TcpListener::bind(("0.0.0.0", port)).and_then(|listener| {
                listener.set_nonblocking(true)?;
                Ok(listener)
            });
            let listener = open.map_err(|error| refuse(format!("cannot listen at port {port}: {error}")))?;
            tell_all(&listener, launch.ranks, &word).map_err(|told| {
                let (told, others) = (told.len(), launch.ranks - 1);
                refuse(format!("only {told} of {others} other processes came to port {port}"))
            })?;
            Ok(word)
        }
        None => {
            let until = Instant::now() + PATIENCE;
            loop {
                match ask(host, port, launch.rank) {
                    Ok(word) => return Ok(word),
                    Err(_) if Instant::now() < until => std::thread::sleep(AGAIN),
                    Err(error) => {
                        return Err(refuse(format!(
                            "the first process is not to be reached at {host}:{port}: {error}"
                        )));
                    }
                }
            }
        }
    }
}

/// Those that were told, where they are not all in time.
fn tell_all(listener: &TcpListener, ranks: usize, word: &Word) -> std::result::Result<(), BTreeSet<u32>> {
    let until = Instant::now() + PATIENCE;
    let mut told = BTreeSet::new();
    while told.len() + 1 < ranks {
        match listener.accept() {
            // one that says something else, or breaks off, is not one of ours
            Ok((caller, _)) => told.extend(tell(caller, ranks, word).ok().flatten()),
            Err(_) if Instant::now() > until => return Err(told),
            Err(_) => std::thread::sleep(AGAIN / 10),
        }
    }
    Ok(())
}

fn tell(mut caller: TcpStream, ranks: usize, word: &Word) -> std::io::Result<Option<u32>> {
    caller.set_nonblocking(false)?;
    caller.set_read_timeout(Some(SPEAKS_WITHIN))?;
    caller.set_write_timeout(Some(SPEAKS_WITHIN))?;
    let (mut greeting, mut rank) = ([0; 8], [0; 4]);
    caller.read_exact(&mut greeting)?;
    caller.read_exact(&mut rank)?;
    let rank = u32::from_le_bytes(rank);
    if greeting != GREETING || !(1..ranks as u64).contains(&u64::from(rank)) {
        return Ok(None);
    }
    caller.write_all(word)?;
    Ok(Some(rank))
}

fn ask(host: &str, port: u16, rank: usize) -> std::io::Result<Word> {
    let mut first = TcpStream::connect((host, port))?;
    first.set_read_timeout(Some(PATIENCE))?;
    first.write_all(&GREETING)?;
    first.write_all(&(rank as u32).to_le_bytes())?;
    let mut word = [0; 128];
    first.read_exact(&mut word)?;
    Ok(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_told_the_same_and_strangers_nothing() {
        let word: Word = std::array::from_fn(|i| i as u8);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut stranger = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let others: Vec<_> = (1..3)
            .map(|rank| {
                let launch = Launch { rank, ranks: 3, ..Launch::ALONE };
                std::thread::spawn(move || meet(&launch, "127.0.0.1", port, None).unwrap())
            })
            .collect();
        tell_all(&listener, 3, &word).unwrap();
        others.into_iter().for_each(|other| assert_eq!(other.join().unwrap(), word));
        let mut heard = Vec::new();
        let _ = stranger.read_to_end(&mut heard); // it may have been cut off
        assert!(heard.is_empty());
    }
}
