//! The guard: checks that a request is meant for this server and does not come from a foreign web page.
//!
//! A browser on the same machine can be made to call a local server (DNS rebinding, cross-site requests). The guard
//! stops both: the `Host` must be ours, an `Origin` must be ours or allowed, and a request that the browser marks as
//! cross-site is refused even without an `Origin`.

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Uri,
    header::{self, ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN, TRANSFER_ENCODING},
    uri::Authority,
};

use super::{enrol::CALLBACK, settings::HttpSettings};

/// The most bytes of a request's path and query. The longest one of this API, with a purpose of 128 characters, is much
/// shorter.
pub(super) const URI_BYTES_MAX: usize = 2048;
/// The same limit for an identity provider's answer: some providers write a whole token into the code.
const ANSWER_BYTES_MAX: usize = 8192;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Request headers that pages of allowed origins may send.
const CORS_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, accept, idempotency-key, sb-api-key-id, sb-api-secret-key, mcp-protocol-version, \
     mcp-session-id, mcp-method, mcp-name, last-event-id",
);
/// Response headers that they may read.
const CORS_EXPOSED: HeaderValue = HeaderValue::from_static("mcp-session-id, retry-after, www-authenticate");
const CORS_METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE");
/// How long a browser may cache the answer to a preflight.
const CORS_SECONDS: HeaderValue = HeaderValue::from_static("600");

/// Why the guard refused a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turned {
    /// No `Host`, or several.
    NoHost,
    /// A `Host` that is not ours.
    ForeignHost,
    /// An `Origin` that is neither ours nor allowed.
    ForeignOrigin,
    /// Several `Origin`s.
    ManyOrigins,
    /// The browser reports that another site caused the request.
    CrossSite,
    /// The body has a `Transfer-Encoding` other than `chunked`, or several.
    Coding,
    /// The URI is too long.
    LongUri,
    /// The URI by which an identity provider sends a browser back is too long.
    LongCallback,
}

/// Which `Host` a request may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HostRule {
    /// One that is ours.
    Ours,
    /// Any, or none: health checks connect by address, and their answers are not confidential.
    Any,
}

/// The guard's result for an accepted request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// The allowed origin of the page that sent it; the answer must name it.
    pub(super) origin: Option<HeaderValue>,
}

/// The rules by which requests are accepted.
pub(super) struct Guard {
    hosts: Vec<String>,
    origins: Vec<String>,
    own_origins: Vec<String>,
}

impl Guard {
    pub(super) fn new(settings: &HttpSettings) -> Self {
        let mut hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        // DNS rebinding does not work with literal addresses, so accept the one that the server listens on.
        if !settings.listen.ip().is_unspecified() {
            hosts.push(settings.listen.ip().to_string());
        }
        hosts.extend(settings.public_urls.iter().map(|url| url.host().to_owned()));
        Self {
            hosts,
            origins: settings.allow_origins.iter().map(|origin| origin.as_str().to_owned()).collect(),
            own_origins: settings.public_urls.iter().map(|url| url.as_str().to_owned()).collect(),
        }
    }

    /// The accepted host names.
    pub(super) fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// Checks a request's head.
    pub(super) fn admit(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        wanted: HostRule,
    ) -> Result<Entry, Turned> {
        let (most, long) = match uri.path() {
            CALLBACK => (ANSWER_BYTES_MAX, Turned::LongCallback),
            _ => (URI_BYTES_MAX, Turned::LongUri),
        };
        if uri.path().len() + uri.query().map_or(0, str::len) > most {
            return Err(long);
        }
        let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
        let chunked = codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
        if !chunked || codings.next().is_some() {
            return Err(Turned::Coding);
        }
        let host = match wanted {
            HostRule::Ours => self.host(uri, headers)?,
            HostRule::Any => any_host(headers)?,
        };
        let Some(origin) = headers.get(ORIGIN) else {
            let mode = headers.get(SEC_FETCH_MODE);
            // A person may follow a link from anywhere; a navigation sends none of our credentials.
            let navigates = method == Method::GET && mode.is_some_and(|mode| mode == "navigate");
            let cross = headers.get(SEC_FETCH_SITE).is_some_and(|site| site == "cross-site");
            return if cross && !navigates { Err(Turned::CrossSite) } else { Ok(Entry::default()) };
        };
        if headers.get_all(ORIGIN).iter().nth(1).is_some() {
            return Err(Turned::ManyOrigins);
        }
        let text = origin.to_str().map_err(|_| Turned::ForeignOrigin)?;
        if self.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(text)) {
            return Ok(Entry { origin: Some(origin.clone()) });
        }
        let same = text.split_once("://").is_some_and(|(scheme, authority)| {
            matches!(scheme, "http" | "https") && authority.eq_ignore_ascii_case(host)
        });
        let own = same || self.own_origins.iter().any(|own| own.eq_ignore_ascii_case(text));
        let cross = headers.get(SEC_FETCH_SITE).is_some_and(|site| site == "cross-site");
        match (own, cross) {
            (true, false) => Ok(Entry::default()),
            (true, true) => Err(Turned::CrossSite),
            (false, _) => Err(Turned::ForeignOrigin),
        }
    }

    /// The only `Host`, if it is ours. Its port does not matter: tunnels and containers change ports.
    fn host<'a>(&self, uri: &'a Uri, headers: &'a HeaderMap) -> Result<&'a str, Turned> {
        let mut sent = headers.get_all(HOST).iter();
        let (Some(host), None) = (sent.next(), sent.next()) else { return Err(Turned::NoHost) };
        let host = host.to_str().map_err(|_| Turned::ForeignHost)?;
        // A request line with a whole URL overrides the header.
        let named = uri.authority().map_or(host, Authority::as_str);
        if self.is_ours(host) && (named == host || self.is_ours(named)) { Ok(named) } else { Err(Turned::ForeignHost) }
    }

    fn is_ours(&self, text: &str) -> bool {
        let Some(name) = host_of(text) else { return false };
        self.hosts.iter().any(|ours| ours.eq_ignore_ascii_case(name))
    }
}

/// The only `Host` header, with any name; empty if the header is missing or is not text.
fn any_host(headers: &HeaderMap) -> Result<&str, Turned> {
    let mut sent = headers.get_all(HOST).iter();
    match (sent.next(), sent.next()) {
        (host, None) => Ok(host.and_then(|host| host.to_str().ok()).unwrap_or_default()),
        (_, Some(_)) => Err(Turned::NoHost),
    }
}

/// Whether browsers, collectors of metrics or `curl` send this header. Proxies add headers of countless names, so any
/// other header may come from a proxy.
fn is_clients(name: &HeaderName) -> bool {
    const KNOWN: [&str; 23] = [
        "accept",
        "accept-charset",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "dnt",
        "expect",
        "host",
        "if-modified-since",
        "if-none-match",
        "origin",
        "pragma",
        "priority",
        "referer",
        "traceparent",
        "tracestate",
        "upgrade-insecure-requests",
        "user-agent",
        "x-prometheus-scrape-timeout-seconds",
    ];
    KNOWN.contains(&name.as_str()) || name.as_str().starts_with("sec-")
}

/// Whether a request from this machine was made by a local client, as far as can be seen: a proxy on this machine sends
/// another host name, or a header of its own.
pub(super) fn is_made_here(uri: &Uri, headers: &HeaderMap) -> bool {
    let is_loopback = |text: &str| {
        host_of(text).is_some_and(|name| {
            name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        })
    };
    let mut sent = headers.get_all(HOST).iter();
    let (Some(host), None) = (sent.next(), sent.next()) else { return false };
    host.to_str().is_ok_and(is_loopback)
        && uri.authority().is_none_or(|named| is_loopback(named.as_str()))
        && headers.keys().all(is_clients)
}

/// The host of `host`, `host:port`, `[v6]` or `[v6]:port`.
pub(super) fn host_of(text: &str) -> Option<&str> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (name, port) = rest.split_once(']')?;
            (name, port.strip_prefix(':').or(port.is_empty().then_some("0")))
        }
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, Some("0")),
        },
    };
    port?.parse::<u16>().ok().map(|_| name)
}

/// Whether a request is a CORS preflight.
pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Lets a page of an allowed origin read the answer: exactly that origin, never `*`, never with cookies.
pub(super) fn share(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, CORS_EXPOSED);
    headers.insert(header::VARY, HeaderValue::from_static("origin"));
}

/// Adds the headers of a preflight's answer.
pub(super) fn permit(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, CORS_METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, CORS_HEADERS);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, CORS_SECONDS);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        let mut settings = HttpSettings::listening_on("192.0.2.7:8787".parse().unwrap());
        settings.public_urls =
            ["https://auth.example.com", "http://10.0.0.5:8787"].map(|url| url.parse().unwrap()).into();
        settings.allow_origins = vec!["https://app.example.com".parse().unwrap()];
        Guard::new(&settings)
    }

    fn admit(headers: &[(&'static str, &str)]) -> Result<Entry, Turned> {
        admit_at("/api/v2/seats", headers)
    }

    fn admit_at(uri: &str, headers: &[(&'static str, &str)]) -> Result<Entry, Turned> {
        let headers = headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let value: HeaderValue = value;
            map.append(name, value);
        }
        guard().admit(&Method::GET, &uri.parse().unwrap(), &map, HostRule::Ours)
    }

    #[test]
    fn a_host_is_ours_whatever_its_port_and_case() {
        for host in [
            "localhost",
            "LOCALHOST:8787",
            "127.0.0.1",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:65535",
            "192.0.2.7:8787",
            "auth.example.com",
            "Auth.Example.Com:443",
            "10.0.0.5:8787",
        ] {
            assert_eq!(admit(&[("host", host)]), Ok(Entry::default()), "{host}");
        }
    }

    #[test]
    fn any_other_host_is_turned_away() {
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "localhost:evil",
            "localhost:99999",
            "auth.example.com.",
            "xauth.example.com",
            "[::1",
            "[::1]x",
            "::1",
            "192.0.2.8",
            "user@localhost",
            "localhost:",
        ] {
            assert_eq!(admit(&[("host", host)]), Err(Turned::ForeignHost), "{host}");
        }
        assert_eq!(admit(&[]), Err(Turned::NoHost));
        assert_eq!(admit(&[("host", "localhost"), ("host", "localhost")]), Err(Turned::NoHost));
        assert_eq!(admit_at("http://evil.example/x", &[("host", "localhost")]), Err(Turned::ForeignHost));
        assert_eq!(admit_at("http://localhost/x", &[("host", "evil.example")]), Err(Turned::ForeignHost));
    }

    #[test]
    fn an_origin_is_ours_or_allowed_or_turned_away() {
        let from = |origin: &str| admit(&[("host", "localhost:8787"), ("origin", origin)]);
        for own in
            ["http://localhost:8787", "https://localhost:8787", "https://auth.example.com", "http://10.0.0.5:8787"]
        {
            assert_eq!(from(own), Ok(Entry::default()), "{own}");
        }
        let allowed = Entry { origin: Some(HeaderValue::from_static("https://app.example.com")) };
        assert_eq!(from("https://app.example.com"), Ok(allowed));
        for foreign in [
            "null",
            "",
            "http://localhost",
            "http://localhost:3000",
            "http://127.0.0.1:8787",
            "https://evil.example",
            "https://app.example.com.evil.example",
            "http://app.example.com",
            "https://app.example.com:8443",
            "ftp://localhost:8787",
            "localhost:8787",
        ] {
            assert_eq!(from(foreign), Err(Turned::ForeignOrigin), "{foreign}");
        }
        let twice = ("origin", "http://localhost:8787");
        assert_eq!(admit(&[("host", "localhost:8787"), twice, twice]), Err(Turned::ManyOrigins));
    }

    #[test]
    fn what_a_browser_calls_cross_site_is_turned_away_unless_its_origin_is_allowed() {
        let cross = ("sec-fetch-site", "cross-site");
        let host = ("host", "localhost:8787");
        assert_eq!(admit(&[host, cross]), Err(Turned::CrossSite));
        assert_eq!(admit(&[host, cross, ("origin", "http://localhost:8787")]), Err(Turned::CrossSite));
        assert!(admit(&[host, cross, ("origin", "https://app.example.com")]).is_ok());
        assert!(admit(&[host, cross, ("sec-fetch-mode", "navigate")]).is_ok());
        for site in ["same-origin", "none", "same-site"] {
            assert!(admit(&[host, ("sec-fetch-site", site)]).is_ok(), "{site}");
        }
    }

    #[test]
    fn a_body_comes_in_no_coding_but_chunks() {
        let coded = |coding: &str| admit(&[("host", "localhost"), ("transfer-encoding", coding)]);
        assert!(coded("chunked").is_ok() && coded("Chunked").is_ok());
        for coding in ["gzip, chunked", "gzip", "identity", "chunked, chunked", ""] {
            assert_eq!(coded(coding), Err(Turned::Coding), "{coding}");
        }
    }

    #[test]
    fn two_codings_are_none_that_is_understood() {
        let chunked = ("transfer-encoding", "chunked");
        assert_eq!(admit(&[("host", "localhost"), chunked, chunked]), Err(Turned::Coding));
    }

    #[test]
    fn what_a_proxy_on_this_machine_passes_on_was_not_made_here() {
        let made_here = |uri: &str, headers: &[(&'static str, &str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(HeaderName::from_static(name), value.parse().unwrap());
            }
            is_made_here(&uri.parse().unwrap(), &map)
        };
        for host in ["localhost", "LOCALHOST:8787", "127.0.0.1:8787", "127.8.9.1", "[::1]:80"] {
            assert!(made_here("/metrics", &[("host", host)]), "{host}");
        }
        for host in ["", "codes.example.com", "10.0.0.5:8787", "localhost.evil.example", "192.0.2.1", "::1"] {
            assert!(!made_here("/metrics", &[("host", host)]), "{host}");
        }
        assert!(!made_here("/metrics", &[]));
        assert!(!made_here("/metrics", &[("host", "localhost"), ("host", "localhost")]));
        assert!(!made_here("http://evil.example/metrics", &[("host", "localhost")]));
        for name in [
            "forwarded",
            "via",
            "x-forwarded-for",
            "x-envoy-external-address",
            "cf-connecting-ip",
            "x-real-ip",
            "x-proxyuser-ip",
            "x-azure-clientip",
            "cdn-loop",
            "tailscale-user-login",
            "x-request-id",
        ] {
            let name = HeaderName::from_static(name);
            let mut map = HeaderMap::from_iter([(HOST, HeaderValue::from_static("localhost"))]);
            map.insert(name.clone(), HeaderValue::from_static("x"));
            assert!(!is_made_here(&Uri::from_static("/metrics"), &map), "{name}");
        }
        let collector =
            [("host", "localhost"), ("accept", "text/plain"), ("x-prometheus-scrape-timeout-seconds", "10")];
        assert!(made_here("/metrics", &collector));
    }

    #[test]
    fn a_uri_may_be_just_so_long() {
        let long = |count: usize| format!("/{}", "x".repeat(count - 1));
        assert!(admit_at(&long(URI_BYTES_MAX), &[("host", "localhost")]).is_ok());
        assert_eq!(admit_at(&long(URI_BYTES_MAX + 1), &[("host", "localhost")]), Err(Turned::LongUri));
    }
}
