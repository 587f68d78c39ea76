//! Guarded transfers: https only (this machine's own addresses excepted), short waits, resume, no surprises on
//! redirects.

use super::options::FetchOptions;
use crate::error::{Error, Result};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::IpAddr;
use std::path::Path;
use ureq::http::{Response, Uri, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

const MAX_REDIRECTS: usize = 8;
/// Interrupted transfers go on as long as each try brings something, and at most so often.
const MAX_TRIES: usize = 20;
/// No checkpoint is larger; a server that does not say a length is stopped here.
const MAX_BYTES: u64 = 64 << 30;

/// A client for one fetch.
pub(crate) struct Http {
    agent: Agent,
}

/// What a server answered.
pub(crate) struct Answer {
    pub response: Response<Body>,
    /// The address after all redirects.
    pub url: String,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }
}

impl Http {
    pub fn new(options: &FetchOptions) -> Result<Self> {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_resolve(Some(options.connect_timeout))
            .timeout_connect(Some(options.connect_timeout))
            .timeout_recv_response(Some(options.read_timeout))
            .timeout_per_read(Some(options.read_timeout))
            .user_agent(concat!("hrseg/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &options.ca_file {
            let pem = std::fs::read(path).map_err(Error::io(path, "read the certificates"))?;
            let certificates = parse_pem(&pem).filter_map(|item| match item {
                Ok(PemItem::Certificate(c)) => Some(c),
                _ => None,
            });
            let roots = RootCerts::new_with_certs(&certificates.collect::<Vec<_>>());
            config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
        }
        Ok(Self { agent: config.build().into() })
    }

    /// Asks for `url`, following redirects; `token` goes to the first address's own host only. With `stay`, a redirect
    /// to where the bytes are is returned, not followed.
    pub fn ask(&self, head: bool, url: &str, token: Option<&str>, from: u64, stay: bool) -> Result<Answer> {
        let mut at = url.to_owned();
        let first = parse(url)?;
        guard(&first, None)?;
        for _ in 0..=MAX_REDIRECTS {
            let here = parse(&at)?;
            let mut request = if head { self.agent.head(&at) } else { self.agent.get(&at) };
            request = request.header(header::ACCEPT_ENCODING, "identity");
            if from > 0 {
                request = request.header(header::RANGE, format!("bytes={from}-"));
            }
            if let Some(token) = token.filter(|_| same_host(&first, &here)) {
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            let response = request.call().map_err(|e| Error::Source(format!("{}: {e}", host(&here))))?;
            let answer = Answer { response, url: at.clone() };
            if !matches!(answer.status(), 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let Some(location) = answer.header("location") else {
                return Err(Error::Source(format!("{} redirects to nowhere", host(&here))));
            };
            let next = resolve(&here, location)?;
            let target = parse(&next)?;
            guard(&target, Some(&first))?;
            // an absolute address that comes with the file's description leads to its bytes
            let described = location.contains("://") && answer.header("x-repo-commit").is_some();
            if stay && (described || !same_host(&here, &target)) {
                return Ok(answer);
            }
            at = next;
        }
        Err(Error::Source(format!("{}: more than {MAX_REDIRECTS} redirects", host(&first))))
    }

    /// Brings the rest of `url` into `part`. `size` is the whole file's length, if known: another one is refused
    /// before anything is transferred.
    pub fn download(
        &self,
        url: &str,
        token: Option<&str>,
        part: &Path,
        size: Option<u64>,
        label: &str,
        options: &FetchOptions,
    ) -> Result<()> {
        let mut file =
            File::options().create(true).truncate(false).write(true).open(part).map_err(Error::io(part, "write it"))?;
        let mut started = false;
        let result = (|| {
            for _ in 0..MAX_TRIES {
                let mut have = file.metadata().map_err(Error::io(part, "look at it"))?.len();
                if size.is_some_and(|s| have > s) {
                    file.set_len(0).map_err(Error::io(part, "empty it"))?;
                    have = 0;
                }
                if have > 0 && size == Some(have) {
                    return Ok(());
                }
                let answer = self.ask(false, url, token, have, false)?;
                match (answer.status(), have) {
                    (200, 0) | (206, 1..) => {}
                    // a server without ranges starts over; 416: what we have is longer than the file
                    (200, _) => have = 0,
                    (416, 1..) => {
                        file.set_len(0).map_err(Error::io(part, "empty it"))?;
                        continue;
                    }
                    (status, _) => return Err(status_error(&answer, status, token.is_some())),
                }
                let total = total_length(&answer, have)?;
                if let (Some(size), Some(total)) = (size, total)
                    && size != total
                {
                    return Err(Error::Source(format!(
                        "the server offers a file of {total} bytes, the published one has {size}"
                    )));
                }
                if !started {
                    options.reporter.start(label, total.or(size), have);
                    started = true;
                }
                file.set_len(have).map_err(Error::io(part, "cut it"))?;
                file.seek(SeekFrom::Start(have)).map_err(Error::io(part, "write it"))?;
                let limit = total.or(size).unwrap_or(MAX_BYTES) - have.min(total.or(size).unwrap_or(MAX_BYTES));
                let (came, stopped) = copy(answer, &mut file, limit, part, options)?;
                match total.or(size) {
                    Some(t) if have + came >= t => return Ok(()),
                    None if stopped.is_none() => return Ok(()),
                    // cut off: go on from here, if this try brought anything
                    _ if came > 0 => {}
                    _ => {
                        let why = stopped.unwrap_or_else(|| "the server sends nothing".into());
                        return Err(Error::Source(format!("interrupted: {why}")));
                    }
                }
            }
            Err(Error::Source(format!("interrupted more than {MAX_TRIES} times")))
        })();
        if started {
            options.reporter.finish();
        }
        result
    }
}

/// Copies the body; gives the bytes that came and, when the connection broke, why.
fn copy(
    answer: Answer,
    file: &mut File,
    limit: u64,
    part: &Path,
    options: &FetchOptions,
) -> Result<(u64, Option<String>)> {
    let mut body = answer.response.into_body().into_with_config().limit(limit.saturating_add(1)).reader();
    let mut buf = vec![0u8; 1 << 17];
    let mut came = 0u64;
    loop {
        match body.read(&mut buf) {
            Ok(0) => return Ok((came, None)),
            Ok(n) => {
                if came + n as u64 > limit {
                    return Err(Error::Source(format!("the server sends more than the {limit} bytes it announced")));
                }
                // a full disk is reported with the part's name; what is there can be resumed
                file.write_all(&buf[..n]).map_err(Error::io(part, "write it"))?;
                came += n as u64;
                options.reporter.advance(n as u64);
            }
            Err(e) => return Ok((came, Some(e.to_string()))),
        }
    }
}

/// The whole file's length: from `Content-Range` when this is a part, else from `Content-Length`.
fn total_length(answer: &Answer, have: u64) -> Result<Option<u64>> {
    if answer.status() == 206 {
        let range = answer.header("content-range").unwrap_or_default();
        let parsed = range.strip_prefix("bytes ").and_then(|r| r.split_once('/')).and_then(|(span, total)| {
            let (start, _) = span.split_once('-')?;
            Some((start.trim().parse::<u64>().ok()?, total.trim().parse::<u64>().ok()))
        });
        return match parsed {
            Some((start, total)) if start == have => Ok(total),
            _ => Err(Error::Source(format!("the server answers with another part of the file ('{range}')"))),
        };
    }
    Ok(answer.header("content-length").and_then(|l| l.parse().ok()))
}

/// What a status means to a person.
pub(crate) fn status_error(answer: &Answer, status: u16, with_token: bool) -> Error {
    let host = parse(&answer.url).map(|u| host(&u)).unwrap_or_default();
    Error::Source(match status {
        401 if with_token => format!("{host} refuses the token (401)"),
        401 => format!("{host} wants a login (401): set HF_TOKEN if the file is on the hub"),
        403 => format!("{host} denies access (403): the terms may have to be accepted on its page first"),
        404 | 410 => format!("{host} does not have the file ({status})"),
        429 => format!("{host} is asked too often (429): try again later"),
        _ => format!("{host} answers with status {status}"),
    })
}

fn parse(url: &str) -> Result<Uri> {
    url.parse::<Uri>().ok().filter(|u| u.host().is_some()).ok_or_else(|| Error::Argument {
        what: "address",
        value: url.to_owned(),
        expected: "expected https://host/path".into(),
    })
}

fn host(url: &Uri) -> String {
    url.authority().map_or_else(String::new, |a| a.as_str().rsplit('@').next().unwrap_or_default().to_owned())
}

fn same_host(a: &Uri, b: &Uri) -> bool {
    a.scheme() == b.scheme() && a.host() == b.host() && a.port_u16() == b.port_u16()
}

/// `https` everywhere; plain `http` for an address of this machine that the user gave, and for redirects from one
/// such address to another.
fn guard(url: &Uri, first: Option<&Uri>) -> Result<()> {
    let plain_ok = |u: &Uri| u.scheme_str() == Some("http") && is_loopback(u);
    match url.scheme_str() {
        Some("https") => Ok(()),
        _ if plain_ok(url) && first.is_none_or(plain_ok) => Ok(()),
        _ => Err(Error::Source(match first {
            Some(first) => format!("{} redirects to the unprotected address {url}: not followed", host(first)),
            None => format!("{url} is not protected: only https is used (http for this machine's own addresses)"),
        })),
    }
}

fn is_loopback(url: &Uri) -> bool {
    let name = url.host().unwrap_or_default().trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A `Location` header against the address that sent it.
fn resolve(base: &Uri, location: &str) -> Result<String> {
    if location.contains("://") {
        return Ok(location.to_owned());
    }
    let (scheme, authority) = (base.scheme_str().unwrap_or("https"), base.authority().map_or("", |a| a.as_str()));
    if let Some(rest) = location.strip_prefix("//") {
        return Ok(format!("{scheme}://{rest}"));
    }
    if location.starts_with('/') {
        return Ok(format!("{scheme}://{authority}{location}"));
    }
    let folder = base.path().rsplit_once('/').map_or("", |(f, _)| f);
    Ok(format!("{scheme}://{authority}{folder}/{location}"))
}
