//! A small HTTP server on this machine, one connection a request, whose answers a test writes byte by byte.
#![allow(dead_code)] // each test file uses its part

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

/// What a client asked.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub path: String,
    headers: Vec<(String, String)>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// First byte of a `Range` header.
    pub fn from(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

pub struct Server {
    pub base: String,
    log: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Starts; `answer` gives the whole response, headers included.
    pub fn start(answer: impl Fn(&Asked, &str) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let log = Arc::new(Mutex::new(Vec::new()));
        let (own_log, own_base) = (Arc::clone(&log), base.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut line = String::new();
                if reader.read_line(&mut line).is_err() {
                    continue;
                }
                let mut words = line.split_whitespace().map(str::to_owned);
                let (Some(method), Some(path)) = (words.next(), words.next()) else { continue };
                let mut headers = Vec::new();
                loop {
                    let mut line = String::new();
                    if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
                        break;
                    }
                    if let Some((n, v)) = line.split_once(':') {
                        headers.push((n.trim().to_lowercase(), v.trim().to_owned()));
                    }
                }
                let asked = Asked { method, path, headers };
                let bytes = answer(&asked, &own_base);
                own_log.lock().unwrap().push(asked);
                let _ = stream.write_all(&bytes);
            }
        });
        Self { base, log }
    }

    pub fn log(&self) -> Vec<Asked> {
        self.log.lock().unwrap().clone()
    }
}

/// A response with the given head lines; the body is left out for `HEAD`.
pub fn response(asked: &Asked, status: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    for (n, v) in headers {
        out += &format!("{n}: {v}\r\n");
    }
    if !headers.iter().any(|(n, _)| n.eq_ignore_ascii_case("content-length")) {
        out += &format!("Content-Length: {}\r\n", body.len());
    }
    let mut out = (out + "\r\n").into_bytes();
    if asked.method != "HEAD" {
        out.extend_from_slice(body);
    }
    out
}

/// A file, whole or from where the client asks, of which at most `most` bytes are sent before the line breaks.
pub fn file(asked: &Asked, body: &[u8], most: usize) -> Vec<u8> {
    let from = asked.from().unwrap_or(0);
    let rest = &body[from.min(body.len())..];
    let length = rest.len().to_string();
    let sent = &rest[..rest.len().min(most)];
    match asked.from() {
        None => response(asked, "200 OK", &[("Content-Length", &length)], sent),
        Some(_) if rest.is_empty() => response(asked, "416 Range Not Satisfiable", &[], b""),
        Some(_) => {
            let range = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
            response(asked, "206 Partial Content", &[("Content-Length", &length), ("Content-Range", &range)], sent)
        }
    }
}
