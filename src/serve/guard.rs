//! Who may ask: the `Host` must be ours, the `Origin` too, and the token right; and the headers that every answer has.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};
use std::net::{IpAddr, Ipv6Addr};

use super::App;
use super::problem::{Code, Problem, Result};

/// Nothing but our own files, no scripts or styles in the page, no frames around it, no strings that become markup.
const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
                      object-src 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// What every answer says beside its own headers.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
];

/// Who is let in.
#[derive(Debug, Default)]
pub struct Guard {
    /// The token's digest: comparing digests takes the same time whatever is wrong.
    token: Option<[u8; 32]>,
    /// In lower case.
    names: Vec<String>,
}

impl Guard {
    pub fn new(token: Option<&str>, names: &[String]) -> Self {
        let names = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        Self { token: token.map(|token| Sha256::digest(token).into()), names }
    }

    /// Whether a token is wanted.
    pub fn wants_token(&self) -> bool {
        self.token.is_some()
    }

    fn check(&self, path: &str, headers: &HeaderMap) -> Result<()> {
        let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let host = text(header::HOST).unwrap_or_default().to_ascii_lowercase();
        if !self.is_ours(&host) {
            let name = if host.is_empty() { "no `Host`" } else { &host };
            return Err(Problem::new(
                Code::UnknownHost,
                format!("the request is for {name}: expected an address, localhost, or a name that --allow-host gives"),
            ));
        }
        let own = |origin: &str| {
            let origin = origin.to_ascii_lowercase();
            let named = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            named == Some(host.as_str())
        };
        let foreign = text(header::ORIGIN).is_some_and(|origin| !own(origin));
        // what browsers say by themselves where they send no origin
        let from = text(HeaderName::from_static("sec-fetch-site"));
        let of_api = is_guarded(path);
        if foreign || of_api && from.is_some_and(|from| from != "same-origin" && from != "none") {
            return Err(Problem::new(Code::ForeignOrigin, "a page of another origin asked; only the server's own may"));
        }
        match &self.token {
            Some(token) if of_api => {
                let given = text(header::AUTHORIZATION).and_then(|text| text.strip_prefix("Bearer ")).map(str::trim);
                match given.map(|given| <[u8; 32]>::from(Sha256::digest(given)) == *token) {
                    Some(true) => Ok(()),
                    Some(false) => Err(Problem::new(Code::Unauthorized, "the token is wrong")),
                    None => Err(Problem::new(Code::Unauthorized, "expected `Authorization: Bearer` and the token")),
                }
            }
            _ => Ok(()),
        }
    }

    /// Whether a `Host` is an address, `localhost` or a name that was given, with or without a port.
    fn is_ours(&self, host: &str) -> bool {
        if let Some((inner, rest)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            return is_port(rest) && inner.parse::<Ipv6Addr>().is_ok();
        }
        let (name, port) = host.find(':').map_or((host, ""), |at| host.split_at(at));
        is_port(port)
            && (name == "localhost" || name.parse::<IpAddr>().is_ok() || self.names.iter().any(|known| known == name))
    }
}

fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

/// What the token is for.
fn is_guarded(path: &str) -> bool {
    path == "/v1" || path.starts_with("/v1/") || path == "/metrics"
}

/// Lets a request in or not, and gives every answer its headers.
pub async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let checked = app.guard.check(request.uri().path(), request.headers());
    let mut response = match checked {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(path: &str, headers: &[(&'static str, &str)], guard: &Guard) -> std::result::Result<(), &'static str> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        guard.check(path, &map).map_err(|problem| problem.code.as_str())
    }

    #[test]
    fn hosts_and_origins() {
        let guard = Guard::new(None, &["Studio.Example".into()]);
        for host in ["127.0.0.1:8080", "localhost", "LOCALHOST:1", "[::1]:8080", "192.168.1.7", "studio.example:443"] {
            assert_eq!(asked("/v1/info", &[("host", host)], &guard), Ok(()), "{host}");
        }
        let others =
            ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "localhost:x", "[::1", "studio"];
        for host in others {
            assert_eq!(asked("/", &[("host", host)], &guard), Err("unknown-host"), "{host}");
        }
        let with = |origin: &str| asked("/v1/info", &[("host", "localhost:8080"), ("origin", origin)], &guard);
        assert_eq!(with("http://localhost:8080"), Ok(()));
        for origin in
            ["null", "http://localhost:8081", "http://localhost", "http://evil.example", "ftp://localhost:8080"]
        {
            assert_eq!(with(origin), Err("foreign-origin"), "{origin}");
        }
        let from = |path, site: &str| asked(path, &[("host", "localhost"), ("sec-fetch-site", site)], &guard);
        assert_eq!(from("/v1/models", "cross-site"), Err("foreign-origin"));
        assert_eq!(from("/v1/models", "same-site"), Err("foreign-origin"));
        assert_eq!(from("/v1/models", "same-origin"), Ok(()));
        assert_eq!(from("/", "cross-site"), Ok(()), "a link to the page may be followed");
    }

    #[test]
    fn tokens() {
        let guard = Guard::new(Some("0123456789abcdef"), &[]);
        let with = |path, value: &str| asked(path, &[("host", "10.0.0.1"), ("authorization", value)], &guard);
        assert_eq!(with("/v1/info", "Bearer 0123456789abcdef"), Ok(()));
        for wrong in ["Bearer 0123456789abcdee", "Bearer ", "0123456789abcdef", "Basic 0123456789abcdef"] {
            assert_eq!(with("/v1/info", wrong), Err("unauthorized"), "{wrong}");
        }
        assert_eq!(asked("/metrics", &[("host", "10.0.0.1")], &guard), Err("unauthorized"));
        assert_eq!(asked("/healthz", &[("host", "10.0.0.1")], &guard), Ok(()));
        assert_eq!(asked("/js/main.js", &[("host", "10.0.0.1")], &guard), Ok(()));
    }
}
