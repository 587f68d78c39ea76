//! A client that says exactly what a test wants to be said.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

/// An event of a stream.
#[derive(Debug)]
pub struct Event {
    pub name: String,
    pub data: Value,
}

impl Reply {
    /// A header by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.text());
        self
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.head, self.text()))
    }

    /// A problem of this code, with a sentence.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}\n{}", self.head, self.text());
        let problem = self.json();
        assert_eq!((self.status, problem["code"].as_str().unwrap()), (status, code), "{problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], format!("urn:hrseg:problem:{code}"));
        assert!(problem["detail"].as_str().unwrap().len() > 5, "{problem}");
        problem
    }

    /// The events of a stream.
    #[track_caller]
    pub fn events(&self) -> Vec<Event> {
        assert!(self.header("content-type").unwrap().starts_with("text/event-stream"));
        let text = self.text();
        let event = |block: &str| {
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            let (name, data) = (field("event:")?, field("data:")?);
            Some(Event { name: name.to_owned(), data: serde_json::from_str(data).unwrap() })
        };
        text.split("\n\n").filter_map(event).collect()
    }
}

/// A request on its way.
pub struct Request {
    address: SocketAddr,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub fn new(address: SocketAddr, method: &str, path: &str) -> Self {
        let headers = vec![("Host".to_owned(), address.to_string()), ("Connection".to_owned(), "close".to_owned())];
        Self { address, method: method.to_owned(), path: path.to_owned(), headers, body: Vec::new() }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    pub fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json").bytes(body.to_string().as_bytes())
    }

    pub fn file(self, body: &[u8]) -> Self {
        self.header("Content-Type", "application/octet-stream").bytes(body)
    }

    pub fn bytes(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    pub fn events(self) -> Self {
        self.header("Accept", "text/event-stream")
    }

    /// A form whose parts have names, and file names that nobody looks at.
    pub fn form(self, parts: &[(&str, &[u8])]) -> Self {
        let mut body = Vec::new();
        for (name, bytes) in parts {
            let head = format!(
                "--frontier\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"../../etc/passwd\"\r\n\r\n"
            );
            body.extend(head.as_bytes());
            body.extend(*bytes);
            body.extend(b"\r\n");
        }
        body.extend(b"--frontier--\r\n");
        self.header("Content-Type", "multipart/form-data; boundary=frontier").bytes(&body)
    }

    /// The head, and whether it tells the body's length.
    fn head(&self) -> String {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let told = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("Content-Length"));
        if !told && (self.method == "POST" || !self.body.is_empty()) {
            head += &format!("Content-Length: {}\r\n", self.body.len());
        }
        head + "\r\n"
    }

    /// Sends it, and leaves the rest to the caller.
    pub fn begin(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(self.head().as_bytes()).unwrap();
        // a server that has refused by the head may not take the body
        let _ = stream.write_all(&self.body);
        stream
    }

    /// Sends it and waits for the answer.
    #[track_caller]
    pub fn send(&self) -> Reply {
        reply(self.begin())
    }
}

/// The answer on a connection.
#[track_caller]
pub fn reply(mut stream: TcpStream) -> Reply {
    let mut bytes = Vec::new();
    let mut piece = [0; 1 << 16];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => bytes.extend(&piece[..n]),
            // what came before the connection was reset counts
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error}: {}", String::from_utf8_lossy(&bytes)),
        }
    }
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no head: {}", String::from_utf8_lossy(&bytes)));
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = bytes[end + 4..].to_vec();
    let reply = Reply { status, head, body };
    match reply.header("transfer-encoding") {
        Some("chunked") => Reply { body: unchunked(&reply.body), ..reply },
        _ => reply,
    }
}

fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap().trim(), 16).unwrap();
        let Some(data) = bytes.get(end + 2..end + 2 + size).filter(|_| size > 0) else { break };
        all.extend(data);
        bytes = &bytes[(end + 4 + size).min(bytes.len())..];
    }
    all
}
