//! What a server is told: typed, checked, and without defaults that depend on the machine.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::domain::{ids::AccountId, rate::Rate};

/// How to serve.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Where to listen. Anything but loopback needs TLS or a proxy in front.
    pub listen: SocketAddr,
    /// The URL that callers know the server by; its host is accepted in `Host`, and links start with it.
    pub public_url: Option<BaseUrl>,
    /// A proxy that ends TLS stands in front: nobody is taken for a local caller, and `X-Forwarded-For` is believed
    /// when failed authentications are counted.
    pub behind_proxy: bool,
    /// Certificate and key, if this server ends TLS itself.
    pub tls: Option<TlsFiles>,
    /// Whether the deprecated HTTP+SSE transport is offered.
    pub sse: bool,
    /// Origins of web pages that may call.
    pub allow_origins: Vec<Origin>,
    /// Calls for each key.
    pub rate_per_key: Option<Rate>,
    /// Calls for each secret.
    pub rate_per_secret: Option<Rate>,
    /// Failed authentications for each address.
    pub auth_failures: Option<Rate>,
    /// The identity provider whose access tokens are taken beside keys.
    pub oauth: Option<OAuthSettings>,
    /// Maxima.
    pub limits: Limits,
}

/// PEM files. They are read again when they change.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate chain, the server's first.
    pub certificates: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// An identity provider.
#[derive(Debug, Clone)]
pub struct OAuthSettings {
    /// The issuer, as it stands in its tokens.
    pub issuer: String,
    /// What tokens for this server have as their audience.
    pub audience: String,
    /// The account that logins act in.
    pub account: AccountId,
}

/// Maxima of the server. The defaults are the contract's; tests and special set-ups move them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Connections at once from one address, loopback and proxies apart.
    pub connections_per_address: usize,
    /// How long a request's head may take to arrive, and a TLS handshake to end.
    pub head_wait: Duration,
    /// How long a request's body may take to arrive.
    pub body_wait: Duration,
    /// How long a connection may be idle, or a written answer go unread.
    pub idle: Duration,
    /// How long an ordinary request may take.
    pub request: Duration,
    /// How long what runs may take to finish once the server is told to stop.
    pub drain: Duration,
    /// Sessions of handshake clients over Streamable HTTP.
    pub sessions: usize,
    /// Such sessions of one key.
    pub sessions_per_key: usize,
    /// How long such a session may be idle.
    pub session_idle: Duration,
    /// SSE streams.
    pub streams: usize,
    /// SSE streams of one key.
    pub streams_per_key: usize,
    /// How often an SSE stream shows that it lives.
    pub keep_alive: Duration,
}

/// Where a web page comes from, as browsers write it: scheme, host, and the port unless it is the scheme's own. Extensions
/// have schemes of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    text: String,
    host: String,
}

/// Where a server is, such as `https://auth.example.com:8443` or `https://example.com/codes`: an origin that is `http` or
/// `https`, and the path under which a proxy serves it, if that is not the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    origin: Origin,
    path: String,
}

/// A text that is no origin, or no base URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a scheme and a host such as https://codes.example.com; only --public-url may have a path")]
pub struct NotABaseUrl;

impl HttpSettings {
    /// Settings for an address; everything else as the contract says.
    pub fn listening_on(listen: SocketAddr) -> Self {
        Self {
            listen,
            public_url: None,
            behind_proxy: false,
            tls: None,
            sse: true,
            allow_origins: Vec::new(),
            rate_per_key: None,
            rate_per_secret: None,
            auth_failures: Some(Rate::per_minute(60)),
            oauth: None,
            limits: Limits::default(),
        }
    }

    /// Whether callers elsewhere know no name that is accepted in `Host`: an address that stands for all of this machine's
    /// is none of them.
    pub fn has_no_public_name(&self) -> bool {
        self.listen.ip().is_unspecified() && self.public_url.is_none()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_address: 64,
            head_wait: Duration::from_secs(10),
            body_wait: Duration::from_secs(15),
            idle: Duration::from_mins(1),
            request: Duration::from_secs(30),
            drain: Duration::from_secs(10),
            sessions: 1024,
            sessions_per_key: 64,
            session_idle: Duration::from_mins(5),
            streams: 512,
            streams_per_key: 16,
            keep_alive: Duration::from_secs(15),
        }
    }
}

impl Origin {
    /// As it stands in an `Origin` header.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl BaseUrl {
    /// Its origin, as it stands in an `Origin` header.
    pub fn as_str(&self) -> &str {
        &self.origin.text
    }

    /// Its path, without a slash at its end: empty for the root.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The host alone, lower case; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.origin.host
    }

    /// Whether it is `https`.
    pub fn is_https(&self) -> bool {
        self.origin.text.starts_with("https:")
    }
}

impl std::fmt::Display for BaseUrl {
    /// The whole URL, without a slash at its end.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.origin.text, self.path)
    }
}

impl std::str::FromStr for Origin {
    type Err = NotABaseUrl;

    fn from_str(text: &str) -> Result<Self, NotABaseUrl> {
        let uri: http::Uri = text.trim().parse().map_err(|_| NotABaseUrl)?;
        let scheme = uri.scheme_str().ok_or(NotABaseUrl)?.to_ascii_lowercase();
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or(NotABaseUrl)?;
        let host = authority.host().to_ascii_lowercase();
        if host.is_empty() || uri.path().len() > 1 || uri.query().is_some() {
            return Err(NotABaseUrl);
        }
        let own_port = match scheme.as_str() {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        let port = authority.port_u16().filter(|port| Some(*port) != own_port);
        let text = port.map_or_else(|| format!("{scheme}://{host}"), |port| format!("{scheme}://{host}:{port}"));
        Ok(Self { text, host: host.trim_matches(['[', ']']).to_owned() })
    }
}

impl std::str::FromStr for BaseUrl {
    type Err = NotABaseUrl;

    fn from_str(text: &str) -> Result<Self, NotABaseUrl> {
        let text = text.trim();
        let uri: http::Uri = text.parse().map_err(|_| NotABaseUrl)?;
        let web = uri.scheme_str().is_some_and(|scheme| matches!(scheme, "http" | "https"));
        let path = uri.path().trim_end_matches('/');
        let whole = web && uri.query().is_none() && !text.contains('#') && !path.contains("//");
        let authority = uri.authority().filter(|_| whole).ok_or(NotABaseUrl)?;
        let origin = format!("{}://{authority}", uri.scheme_str().unwrap_or_default()).parse()?;
        Ok(Self { origin, path: path.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_written_as_browsers_write_origins() {
        let check = |text: &str, origin: &str, host: &str| {
            let url: BaseUrl = text.parse().unwrap();
            assert_eq!((url.as_str(), url.host()), (origin, host), "{text}");
        };
        check("https://Auth.Example.com/", "https://auth.example.com", "auth.example.com");
        check("https://a.example:443/", "https://a.example", "a.example");
        check("http://[::1]:8787", "http://[::1]:8787", "::1");
    }

    #[test]
    fn a_base_url_may_have_the_path_that_a_proxy_serves_it_under() {
        for (text, path) in [("https://a.example", ""), ("https://a.example/", ""), ("https://a.example/b/c/", "/b/c")]
        {
            let url: BaseUrl = text.parse().unwrap();
            assert_eq!((url.as_str(), url.path()), ("https://a.example", path), "{text}");
            assert_eq!(url.to_string(), format!("https://a.example{path}"));
        }
        for text in ["https://a.example/b?c", "https://a.example/b#c", "https://a.example//b"] {
            assert_eq!(text.parse::<BaseUrl>(), Err(NotABaseUrl), "{text}");
        }
    }

    #[test]
    fn what_is_no_base_url_is_refused() {
        let others = ["", "example.com", "https://", "https://user@a.example", "null", "*"];
        for text in others {
            assert_eq!(text.parse::<BaseUrl>(), Err(NotABaseUrl), "{text}");
            assert_eq!(text.parse::<Origin>(), Err(NotABaseUrl), "{text}");
        }
        assert_eq!("chrome-extension://abc".parse::<BaseUrl>(), Err(NotABaseUrl));
        assert_eq!("https://a.example/path".parse::<Origin>(), Err(NotABaseUrl));
        assert_eq!("chrome-extension://ABC".parse::<Origin>().unwrap().as_str(), "chrome-extension://abc");
    }
}
