//! The settings of a server: typed, checked, and without defaults that depend on the machine.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use http::HeaderName;
use zeroize::Zeroizing;

use crate::{
    child::Children,
    domain::{ids::AccountId, rate::Rate},
};

/// The settings of an HTTP server.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// The address to listen on. Anything but loopback needs TLS or a proxy in front.
    pub listen: SocketAddr,
    /// The URLs by which callers know the server; their hosts are accepted in `Host`, and links start with the first.
    pub public_urls: Vec<BaseUrl>,
    /// Whether a proxy that terminates TLS is in front: then no caller counts as local, and `X-Forwarded-For` is
    /// trusted when failed authentications are counted.
    pub behind_proxy: bool,
    /// The header in which that proxy names the user whom it has signed in. Without a proxy it is ignored: any client
    /// could send it.
    pub user_header: Option<HeaderName>,
    /// Certificate and key, if this server terminates TLS itself.
    pub tls: Option<TlsFiles>,
    /// Whether the deprecated HTTP+SSE transport is offered.
    pub sse: bool,
    /// Origins of web pages that may call.
    pub allow_origins: Vec<Origin>,
    /// The rate of calls for each key.
    pub rate_per_key: Option<Rate>,
    /// The rate of calls for each secret.
    pub rate_per_secret: Option<Rate>,
    /// The rate of failed authentications for each address.
    pub auth_failures: Option<Rate>,
    /// The identity provider whose access tokens are accepted besides keys.
    pub oauth: Option<OAuthSettings>,
    /// The account and key of a program that requests codes by a webhook, if there is one.
    pub hook: Option<HookSettings>,
    /// The processes that read the pictures which people send to the page.
    pub children: Children,
    /// Limits.
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
    /// The issuer, as in its tokens.
    pub issuer: String,
    /// The audience of tokens for this server.
    pub audience: String,
    /// The account that logins act in.
    pub account: AccountId,
    /// This server as a client of the provider, if people sign in there by their browsers.
    pub client: Option<OAuthClient>,
}

/// A program that requests codes by a webhook.
#[derive(Debug, Clone)]
pub struct HookSettings {
    /// The account of its secrets.
    pub account: AccountId,
    /// The key with which it signs.
    pub key: Arc<ClientSecret>,
}

/// This server as a client of an identity provider.
#[derive(Debug, Clone)]
pub struct OAuthClient {
    /// The client's id.
    pub id: String,
    /// The client's secret; a public client has none.
    pub secret: Option<Arc<ClientSecret>>,
}

/// A secret that this server shares with another: of a client with its provider, or of a webhook with the program that
/// calls it. It may be replaced while the server runs.
pub struct ClientSecret(RwLock<Zeroizing<String>>);

impl ClientSecret {
    /// A secret.
    pub const fn new(text: Zeroizing<String>) -> Self {
        Self(RwLock::new(text))
    }

    /// Replaces the text.
    pub fn replace(&self, text: Zeroizing<String>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = text;
    }

    /// The text, to be sent to the provider, or to verify a webhook's signature with.
    pub(super) fn expose(&self) -> Zeroizing<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl std::fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// The server's limits. The defaults are the contract's; tests and special set-ups change them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Connections at once from one address, except loopback and proxies.
    pub connections_per_address: usize,
    /// Connections at once of one key. Behind a proxy, which distributes its connections: requests in progress.
    pub connections_per_key: usize,
    /// How long a request's head may take to arrive, and a TLS handshake to finish.
    pub head_wait: Duration,
    /// How long a request's body may take to arrive.
    pub body_wait: Duration,
    /// How long a connection may be idle, or a written answer go unread.
    pub idle: Duration,
    /// How long an ordinary request may take.
    pub request: Duration,
    /// How long running work may take to finish once the server is stopped.
    pub drain: Duration,
    /// Sessions of handshake clients over Streamable HTTP.
    pub sessions: usize,
    /// Such sessions of one key.
    pub sessions_per_key: usize,
    /// How long such a session may be idle.
    pub session_idle: Duration,
    /// Open streams: those of `/sse`, and those on which a client of `/mcp` listens.
    pub streams: usize,
    /// Such streams of one key.
    pub streams_per_key: usize,
    /// The interval of an SSE stream's keep-alive messages.
    pub keep_alive: Duration,
}

/// The origin of a web page, as browsers write it: scheme, host, and the port unless it is the scheme's default.
/// Extensions have schemes of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    text: String,
    host: String,
}

/// The URL of a server, such as `https://auth.example.com:8443` or `https://example.com/codes`: an `http` or `https`
/// origin, and the path under which a proxy serves it, if that is not the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    origin: Origin,
    path: String,
}

/// The error of a text that is not an origin or a base URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a scheme and a host such as https://codes.example.com, without a pattern; only --public-url may have a path"
)]
pub struct NotABaseUrl;

impl HttpSettings {
    /// The settings for an address, with the contract's defaults.
    pub fn listening_on(listen: SocketAddr) -> Self {
        Self {
            listen,
            public_urls: Vec::new(),
            behind_proxy: false,
            user_header: None,
            tls: None,
            sse: true,
            allow_origins: Vec::new(),
            rate_per_key: None,
            rate_per_secret: None,
            auth_failures: Some(Rate::per_minute(60)),
            oauth: None,
            hook: None,
            children: Children::new(),
            limits: Limits::default(),
        }
    }

    /// Whether remote callers know no name that is accepted in `Host`: an unspecified address is not one.
    pub fn has_no_public_name(&self) -> bool {
        self.listen.ip().is_unspecified() && self.public_urls.is_empty()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_address: 64,
            connections_per_key: 128,
            head_wait: Duration::from_secs(10),
            body_wait: Duration::from_secs(15),
            idle: Duration::from_mins(1),
            request: Duration::from_secs(30),
            drain: Duration::from_secs(10),
            sessions: 1024,
            sessions_per_key: 64,
            session_idle: Duration::from_mins(5),
            streams: 1024,
            streams_per_key: 16,
            keep_alive: Duration::from_secs(15),
        }
    }
}

impl Origin {
    /// The text of the `Origin` header.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl BaseUrl {
    /// Its origin, in the form of an `Origin` header.
    pub fn as_str(&self) -> &str {
        &self.origin.text
    }

    /// Its path, without a trailing slash: empty for the root.
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
    /// The whole URL, without a trailing slash.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.origin.text, self.path)
    }
}

impl std::str::FromStr for Origin {
    type Err = NotABaseUrl;

    fn from_str(text: &str) -> Result<Self, NotABaseUrl> {
        let text = text.trim();
        // The parser would silently drop a fragment.
        if text.contains('#') {
            return Err(NotABaseUrl);
        }
        let uri: http::Uri = text.parse().map_err(|_| NotABaseUrl)?;
        let scheme = uri.scheme_str().ok_or(NotABaseUrl)?.to_ascii_lowercase();
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or(NotABaseUrl)?;
        if uri.path().len() > 1 || uri.query().is_some() {
            return Err(NotABaseUrl);
        }
        let host = host_as_browsers_write_it(authority.host()).ok_or(NotABaseUrl)?;
        // A port that is not a number is a pattern or a typing error.
        let rest = authority.as_str().get(authority.host().len()..).unwrap_or_default();
        if !rest.is_empty() && authority.port_u16().is_none() {
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

/// A host in the form that `Origin` and `Host` use: a name, or an address in canonical form. `None` for patterns.
fn host_as_browsers_write_it(text: &str) -> Option<String> {
    if let Some(v6) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return v6.parse::<Ipv6Addr>().ok().map(|address| format!("[{address}]"));
    }
    let host = text.to_ascii_lowercase();
    let is_name = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    let last = host.rsplit('.').next().unwrap_or_default();
    // A host that ends in a number is an address, and browsers write addresses in full.
    let is_number = !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit());
    (is_name && !host.is_empty() && (!is_number || host.parse::<Ipv4Addr>().is_ok())).then_some(host)
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
        assert_eq!("http://[0::1]:80".parse::<Origin>().unwrap().as_str(), "http://[::1]");
        for pattern in [
            "http://127.0.0.1:*",
            "http://localhost:",
            "http://localhost:70000",
            "https://*.example.com",
            "https://*",
            "https://a.example/#x",
            "https://a.example#x",
            "http://127.1",
            "http://256.1.1.1",
            "http://[::1",
            "http://[x]",
            "https://%61.example",
            "https://a b.example",
            "https://ä.example",
        ] {
            assert_eq!(pattern.parse::<Origin>(), Err(NotABaseUrl), "{pattern}");
        }
        assert_eq!("chrome-extension://ABC".parse::<Origin>().unwrap().as_str(), "chrome-extension://abc");
    }
}
