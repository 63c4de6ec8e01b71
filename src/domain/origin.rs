//! Web origins that a secret's codes may be typed into: `https://login.example.com`, or every host below a domain,
//! `https://*.example.com`. Plain `http` is for loopback alone.

use std::{fmt, net::Ipv4Addr, str::FromStr};

/// The most origins of one secret: people don't read longer lists.
pub const ORIGINS_MAX: usize = 16;
/// Characters of a host name (RFC 1035).
const HOST_CHARS_MAX: usize = 253;
/// Characters of one label of a host name.
const LABEL_CHARS_MAX: usize = 63;

/// An origin in its canonical form: lower case, no path, no port that the scheme implies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    scheme: Scheme,
    /// Whether it covers every name below the host.
    below: bool,
    host: String,
    port: Option<u16>,
}

/// The text is not an origin. The error holds nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// Not `https://HOST[:PORT]` in lower case without a path, or the scheme's default port is written out.
    #[error(
        "must be an origin such as https://login.example.com or https://*.example.com, in lower case, without a path"
    )]
    Form,
    /// `http` to a host other than this machine.
    #[error("must begin with https://; http:// is for localhost and loopback addresses")]
    Plain,
    /// A wildcard over a top-level domain or over an address.
    #[error("must name two labels at least after `*.`, and no address")]
    Wildcard,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Scheme {
    Https,
    Http,
}

impl Scheme {
    const fn default_port(self) -> u16 {
        match self {
            Self::Https => 443,
            Self::Http => 80,
        }
    }
}

impl Origin {
    /// The domain below which it covers every host; `None` if it covers one host.
    pub fn below(&self) -> Option<&str> {
        self.below.then_some(&self.host)
    }

    /// The host; of a wildcard, the domain below which it covers every host.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether its pages come over TLS.
    pub fn is_secure(&self) -> bool {
        self.scheme == Scheme::Https
    }

    /// Whether a page of `other` (not a wildcard) is within this origin.
    pub fn covers(&self, other: &Self) -> bool {
        let below = || other.host.strip_suffix(&self.host).is_some_and(|name| name.len() > 1 && name.ends_with('.'));
        let host = if self.below { below() } else { other.host == self.host };
        self.scheme == other.scheme && self.port == other.port && !other.below && host
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let (scheme, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (Scheme::Https, rest),
            (None, Some(rest)) => (Scheme::Http, rest),
            (None, None) => return Err(OriginError::Form),
        };
        let (below, rest) = rest.strip_prefix("*.").map_or((false, rest), |rest| (true, rest));
        let (host, port) = split_port(rest)?;
        let address = is_address(host)?;
        if below && (address || !host.contains('.')) {
            return Err(OriginError::Wildcard);
        }
        if scheme == Scheme::Http && (below || !is_loopback(host)) {
            return Err(OriginError::Plain);
        }
        // In the canonical form, a port that the scheme implies is left out.
        if port == Some(scheme.default_port()) {
            return Err(OriginError::Form);
        }
        Ok(Self { scheme, below, host: host.to_owned(), port })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Https => "https",
            Scheme::Http => "http",
        };
        let below = if self.below { "*." } else { "" };
        write!(f, "{scheme}://{below}{}", self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), OriginError> {
    // The colons of an IPv6 address are inside brackets.
    let from = text.rfind(']').unwrap_or(0);
    let Some(colon) = text.get(from..).and_then(|rest| rest.find(':')).map(|at| from + at) else {
        return Ok((text, None));
    };
    let (host, port) = text.split_at(colon);
    let port = port.trim_start_matches(':');
    let canonical = !port.starts_with('0') && port.bytes().all(|b| b.is_ascii_digit()) && text.len() > colon + 1;
    let port: u16 = port.parse().ok().filter(|_| canonical).ok_or(OriginError::Form)?;
    if format!("{host}:{port}") == text { Ok((host, Some(port))) } else { Err(OriginError::Form) }
}

/// Whether a host is an IP address; an error if it is neither an address nor a name in canonical form.
fn is_address(host: &str) -> Result<bool, OriginError> {
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let address: std::net::Ipv6Addr = inner.parse().map_err(|_| OriginError::Form)?;
        return if address.to_string() == inner { Ok(true) } else { Err(OriginError::Form) };
    }
    if host.parse::<Ipv4Addr>().is_ok() {
        return Ok(true);
    }
    let label = |label: &str| {
        let ends = [label.chars().next(), label.chars().next_back()];
        (1..=LABEL_CHARS_MAX).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && ends.iter().all(|end| *end != Some('-'))
    };
    // Browsers read a host whose last label is all digits as an address.
    let numeric = host.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    let whole = host.len() <= HOST_CHARS_MAX && host.split('.').all(label) && !numeric;
    if whole { Ok(false) } else { Err(OriginError::Form) }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host == "[::1]" || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<(), OriginError>) {
        let read = text.parse::<Origin>();
        assert_eq!(read.as_ref().map(|_| ()).map_err(|error| *error), expected, "{text}");
        if let Ok(origin) = read {
            assert_eq!(origin.to_string(), text);
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port_in_one_spelling() {
        for text in [
            "https://example.com",
            "https://login.example.com:8443",
            "https://*.example.com",
            "https://xn--mller-kva.example",
            "https://192.0.2.7",
            "https://[2001:db8::1]:444",
            "http://localhost:3000",
            "http://127.0.0.1",
            "http://[::1]:8080",
            "https://intranet",
        ] {
            check(text, Ok(()));
        }
        for text in [
            "",
            "example.com",
            "https://",
            "https://Example.com",
            "HTTPS://example.com",
            "https://example.com/",
            "https://example.com/login",
            "https://example.com?x",
            "https://user@example.com",
            "https://example.com:443",
            "http://localhost:80",
            "https://example.com:0",
            "https://example.com:08443",
            "https://example.com:65536",
            "https://example.com:",
            "https://example.com::1",
            "https://exa mple.com",
            "https://müller.example",
            "https://a..b",
            "https://.example.com",
            "https://example.com.",
            "https://-a.example",
            "https://a.1",
            "https://1.2.3",
            "https://[2001:DB8::1]",
            "https://[::1",
            "https://ex*mple.com",
            "https://*.*.example.com",
            "ftp://example.com",
        ] {
            check(text, Err(OriginError::Form));
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_and_a_wildcard_for_names_below_a_domain() {
        for text in ["http://example.com", "http://10.0.0.1", "http://localhost.example.com"] {
            check(text, Err(OriginError::Plain));
        }
        for text in ["https://*.com", "https://*.192.0.2.7", "http://*.localhost"] {
            check(text, Err(OriginError::Wildcard));
        }
    }

    #[test]
    fn a_page_is_covered_by_its_own_origin_or_by_a_wildcard_above_it() {
        let covers = |one: &str, page: &str| one.parse::<Origin>().unwrap().covers(&page.parse().unwrap());
        assert!(covers("https://a.example.com", "https://a.example.com"));
        assert!(covers("https://*.example.com", "https://a.example.com"));
        assert!(covers("https://*.example.com", "https://a.b.example.com"));
        for (one, page) in [
            ("https://*.example.com", "https://example.com"),
            ("https://*.example.com", "https://badexample.com"),
            ("https://*.example.com", "https://a.example.com:8443"),
            ("https://a.example.com", "https://b.example.com"),
            ("https://*.example.com", "https://*.a.example.com"),
            ("https://localhost", "http://localhost"),
        ] {
            assert!(!covers(one, page), "{one} {page}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_what_is_read_prints_as_it_was(text in "https?://[a-z*.:\\[\\]0-9-]{0,20}|\\PC*") {
            if let Ok(origin) = text.parse::<Origin>() {
                prop_assert_eq!(origin.to_string(), text);
            }
        }
    }
}
