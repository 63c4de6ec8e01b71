//! The flags and settings of `countersign serve`.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, ValueEnum};
use directories::BaseDirs;
use http::{HeaderName, Uri};

use super::{
    ConfigError,
    otlp::OtlpFlags,
    places::{Written, absolute},
};
use crate::{
    domain::{
        limits::AUDIT_KEPT_MIN,
        rate::{NotARate, Rate},
        span::Span,
    },
    telemetry::Form,
    transport::http::{BaseUrl, HttpSettings, Origin, TlsFiles},
};

/// The shortest time between two backups.
const BACKUP_EVERY_MIN: Duration = Duration::from_mins(1);

/// What `countersign serve` takes, as typed.
#[derive(Debug, Args)]
pub struct ServeFlags {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8787", value_parser = address)]
    listen: SocketAddr,
    /// How clients reach this server, with the path that a proxy serves it under, if any: an accepted host name, and, of the
    /// first one, the links that are given out
    #[arg(long, value_name = "URL")]
    public_url: Vec<BaseUrl>,
    /// A reverse proxy in front ends TLS and says who calls (X-Forwarded-For)
    #[arg(long)]
    behind_proxy: bool,
    /// The header in which that proxy names the user whom it has signed in (e-mail address or `auth_subject`); it must
    /// take the header out of requests from outside
    #[arg(long, value_name = "NAME", requires = "behind_proxy")]
    user_header: Option<HeaderName>,
    /// Certificate chain (PEM); read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Leave out the 2024-11-05 HTTP+SSE transport (/sse, /messages)
    #[arg(long)]
    no_sse: bool,
    /// Web origins that may call from a browser, separated by commas
    #[arg(long, value_name = "ORIGIN,…", value_delimiter = ',')]
    allow_origin: Vec<Origin>,
    /// Identity provider whose access tokens are accepted
    #[arg(long, value_name = "URL", requires = "oauth_audience")]
    oauth_issuer: Option<String>,
    /// The audience that access tokens must name
    #[arg(long, value_name = "URL", requires = "oauth_issuer")]
    oauth_audience: Option<String>,
    /// This server's client id at that provider: people sign in there to prove who they are on the page of an enrolment. The
    /// provider sends them back to /enroll/callback of the first --public-url
    #[arg(long, value_name = "ID", requires = "oauth_issuer")]
    oauth_client_id: Option<String>,
    /// File of that client's secret; without it, it is a public client
    #[arg(long, value_name = "FILE", requires = "oauth_client_id")]
    oauth_client_secret_file: Option<PathBuf>,
    /// File of the key with which Skyvern signs what it asks for at /hooks/skyvern/SECRET-ID: its API key
    #[arg(long, value_name = "FILE")]
    hook_key_file: Option<PathBuf>,
    /// The form of log lines
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    log_format: Form,
    /// When commits reach the disk
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    durability: Durability,
    /// Folder (0700, its owner's alone) to write backups of the vault to; the vault's key is not in them
    #[arg(long, value_name = "DIR")]
    backup_dir: Option<PathBuf>,
    /// How often
    #[arg(long, value_name = "SPAN", default_value = "24h", requires = "backup_dir")]
    backup_every: Span,
    /// How many of them are kept
    #[arg(long, value_name = "N", default_value_t = 7, requires = "backup_dir", value_parser = clap::value_parser!(u16).range(1..=1000))]
    backup_keep: u16,
    /// Remove rows of the audit log that are older than this, 365d at least, once a day [default: none]
    #[arg(long, value_name = "SPAN")]
    audit_keep: Option<Span>,
    /// Calls allowed for each key, such as 600/min [default: no limit]
    #[arg(long, value_name = "N/UNIT")]
    rate_per_key: Option<Rate>,
    /// Calls allowed for each secret, such as 60/min [default: no limit]
    #[arg(long, value_name = "N/UNIT")]
    rate_per_secret: Option<Rate>,
    /// Failed authentications allowed for each address, or `off`
    #[arg(long, value_name = "N/UNIT|off", default_value = "60/min", value_parser = rate_or_off)]
    auth_failures: RateOrOff,
    #[command(flatten)]
    otlp: OtlpFlags,
}

/// The settings of the server.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// The transport's settings; the identity provider is added once the vault is open and the account is known.
    pub http: HttpSettings,
    /// The identity provider whose access tokens are accepted.
    pub oauth: Option<Oauth>,
    /// The file of the key with which Skyvern signs.
    pub hook_key: Option<PathBuf>,
    /// The collector of traces and metrics.
    pub otlp: Option<String>,
    /// When commits reach the disk.
    pub durability: Durability,
    /// The backups that the server makes.
    pub backups: Option<Backups>,
    /// How long rows of the audit log are kept; `None` if for ever.
    pub audit_keep: Option<Duration>,
}

/// The backups that a server makes by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backups {
    /// The folder.
    pub dir: PathBuf,
    /// The time between two backups.
    pub every: Duration,
    /// How many backups are kept.
    pub keep: usize,
}

/// When commits reach the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Durability {
    /// What reveals or changes something at once; repeated reads of a code within 250 ms
    #[default]
    Normal,
    /// Every commit before it is acknowledged
    Strict,
}

/// An identity provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oauth {
    /// Its URL, as in its tokens.
    pub issuer: String,
    /// The audience that its tokens must name.
    pub audience: String,
    /// This server as a client, if people sign in by their browsers.
    pub client: Option<Client>,
}

/// This server as a client of an identity provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its client id.
    pub id: String,
    /// The file of its secret.
    pub secret_file: Option<PathBuf>,
}

/// A rate, or no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RateOrOff(Option<Rate>);

impl ServeFlags {
    /// The form of log lines.
    pub const fn log_form(&self) -> Form {
        self.log_format
    }
}

impl ServeConfig {
    /// Checks the flags.
    ///
    /// # Errors
    /// [`ConfigError`] names the flag and what is wrong with its value.
    pub fn of(flags: ServeFlags) -> Result<Self, ConfigError> {
        let base = BaseDirs::new();
        let home = base.as_ref().map(BaseDirs::home_dir);
        let path =
            |typed: Option<PathBuf>, flag| typed.map(|path| absolute(&path, Written::Flag(flag), home)).transpose();
        let (certificates, key) = (path(flags.tls_cert, "--tls-cert")?, path(flags.tls_key, "--tls-key")?);
        let tls = certificates.zip(key).map(|(certificates, key)| TlsFiles { certificates, key });
        if !flags.listen.ip().is_loopback() && tls.is_none() && !flags.behind_proxy {
            let problem = "is not a loopback address, and keys and codes would cross the network in clear; \
                           give --tls-cert and --tls-key, or --behind-proxy if a proxy in front ends TLS";
            return Err(ConfigError::Serve { flag: "--listen", problem });
        }
        let secret_file = path(flags.oauth_client_secret_file, "--oauth-client-secret-file")?;
        let client = flags.oauth_client_id.map(|id| Client { id, secret_file });
        let oauth = flags.oauth_issuer.zip(flags.oauth_audience);
        let oauth = oauth.map(|(issuer, audience)| Oauth { issuer, audience, client });
        if let Some(oauth) = &oauth {
            check_oauth(oauth)?;
        }
        if flags.user_header.as_ref().is_some_and(carries_something_else) {
            let problem = "names a header that carries something else, so it can't say who signed in; have the proxy write \
                           another one, such as X-Forwarded-Email or Remote-User, and name that";
            return Err(ConfigError::Serve { flag: "--user-header", problem });
        }
        let http = HttpSettings {
            public_urls: flags.public_url,
            behind_proxy: flags.behind_proxy,
            user_header: flags.user_header,
            tls,
            sse: !flags.no_sse,
            allow_origins: flags.allow_origin,
            rate_per_key: flags.rate_per_key,
            rate_per_secret: flags.rate_per_secret,
            auth_failures: flags.auth_failures.0,
            ..HttpSettings::listening_on(flags.listen)
        };
        let Span(every) = flags.backup_every;
        if every < BACKUP_EVERY_MIN {
            return Err(ConfigError::Serve { flag: "--backup-every", problem: "must be 1m at least" });
        }
        let audit_keep = flags.audit_keep.map(|Span(keep)| keep);
        if audit_keep.is_some_and(|keep| keep < AUDIT_KEPT_MIN) {
            return Err(ConfigError::Serve { flag: "--audit-keep", problem: "must be 365d at least" });
        }
        let backups =
            path(flags.backup_dir, "--backup-dir")?.map(|dir| Backups { dir, every, keep: flags.backup_keep.into() });
        let hook_key = path(flags.hook_key_file, "--hook-key-file")?;
        let (otlp, durability) = (flags.otlp.endpoint()?, flags.durability);
        Ok(Self { http, oauth, hook_key, otlp, durability, backups, audit_keep })
    }

    /// The folder of its backups.
    pub fn backup_dir(&self) -> Option<&Path> {
        self.backups.as_ref().map(|plan| plan.dir.as_path())
    }
}

/// Refuses an issuer over plain HTTP, except on this machine: an attacker on the network could supply its keys.
fn check_oauth(oauth: &Oauth) -> Result<(), ConfigError> {
    let refused = |flag, problem| Err(ConfigError::Serve { flag, problem });
    let Ok(issuer) = oauth.issuer.parse::<Uri>() else {
        return refused("--oauth-issuer", "must be an https URL");
    };
    let local = issuer.host().is_some_and(|host| matches!(host, "localhost" | "127.0.0.1" | "[::1]"));
    match issuer.scheme_str() {
        Some("https") => {}
        Some("http") if local => {}
        _ => return refused("--oauth-issuer", "must be an https URL"),
    }
    if oauth.client.as_ref().is_some_and(|client| client.id.is_empty() || client.id == oauth.audience) {
        let problem = "must be this server's client id at the provider, and not the audience of its access tokens: what \
                       says who signed in would be taken for one";
        return refused("--oauth-client-id", problem);
    }
    if oauth.audience.parse::<Uri>().is_ok_and(|audience| audience.scheme().is_some()) {
        Ok(())
    } else {
        refused("--oauth-audience", "must be a URL, that of this server's /mcp as clients know it")
    }
}

/// Whether a header has a meaning of its own, to this server, to a proxy or to HTTP.
fn carries_something_else(header: &HeaderName) -> bool {
    const NAMES: [&str; 34] = [
        "authorization",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "date",
        "dnt",
        "expect",
        "forwarded",
        "host",
        "idempotency-key",
        "keep-alive",
        "last-event-id",
        "origin",
        "pragma",
        "range",
        "referer",
        "sb-api-key-id",
        "sb-api-secret-key",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "upgrade-insecure-requests",
        "user-agent",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-real-ip",
        "x-request-id",
    ];
    const FAMILIES: [&str; 5] = ["accept", "access-control-", "mcp-", "proxy-", "sec-"];
    NAMES.contains(&header.as_str()) || FAMILIES.iter().any(|family| header.as_str().starts_with(family))
}

/// An address and port; `localhost` means the loopback address.
fn address(text: &str) -> Result<SocketAddr, &'static str> {
    let local = text.strip_prefix("localhost:").and_then(|port| Some((Ipv4Addr::LOCALHOST, port.parse().ok()?).into()));
    let read = local.or_else(|| text.parse().ok());
    read.ok_or("must be an IP address and a port, such as 127.0.0.1:8787, or localhost and a port")
}

fn rate_or_off(text: &str) -> Result<RateOrOff, NotARate> {
    if text == "off" { Ok(RateOrOff(None)) } else { text.parse().map(|rate| RateOrOff(Some(rate))) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        flags: ServeFlags,
    }

    fn config_of(arguments: &str) -> Result<ServeConfig, String> {
        let all = ["serve"].into_iter().chain(arguments.split_whitespace());
        let typed = Typed::try_parse_from(all).map_err(|error| error.kind().to_string())?;
        ServeConfig::of(typed.flags).map_err(|error| error.to_string())
    }

    #[test]
    fn paths_of_a_server_obey_the_rules_of_all_paths() {
        let home = BaseDirs::new().map(|base| base.home_dir().join("b")).unwrap();
        assert_eq!(config_of("--backup-dir ~/b").unwrap().backups.unwrap().dir, home);
        let secret = "--oauth-issuer https://id.example --oauth-audience https://c.example --oauth-client-id c --oauth-client-secret-file";
        for flag in ["--backup-dir", "--tls-key k.pem --tls-cert", "--tls-cert c.pem --tls-key", secret] {
            let refused = config_of(&format!("{flag} $HOME/x")).unwrap_err();
            assert!(refused.contains("no shell expands"), "{flag}: {refused}");
        }
    }

    #[test]
    fn an_open_address_needs_tls_or_a_proxy() {
        assert!(config_of("--listen 0.0.0.0:8787").unwrap_err().contains("--tls-cert"));

        assert!(config_of("--listen 0.0.0.0:8787 --behind-proxy").is_ok());
        assert!(config_of("--listen [::]:8787 --tls-cert c.pem --tls-key k.pem").unwrap().http.tls.is_some());
        assert!(config_of("--listen [::1]:0").is_ok());
        assert_eq!(config_of("--listen localhost:8803").unwrap().http.listen, "127.0.0.1:8803".parse().unwrap());
        for wrong in ["localhost", "localhost:", "localhost:65536", "localhost:x", "example.com:80", "127.0.0.1"] {
            assert!(config_of(&format!("--listen {wrong}")).is_err(), "{wrong}");
        }
        assert!(config_of("--tls-cert c.pem").is_err());
    }

    #[test]
    fn rates_and_addresses_are_read_or_refused() {
        let http = config_of("--rate-per-key 600/min --auth-failures off --public-url https://Codes.example.com/")
            .unwrap()
            .http;
        assert_eq!(http.rate_per_key, Some(Rate::per_minute(600)));
        assert_eq!(http.auth_failures, None);
        assert_eq!(http.public_urls[0].as_str(), "https://codes.example.com");
        let several = config_of("--public-url https://a.example --public-url http://10.0.0.5:8787").unwrap().http;
        assert_eq!(several.public_urls.len(), 2);

        assert_eq!(config_of("").unwrap().http.auth_failures, Some(Rate::per_minute(60)));
        for wrong in [
            "--rate-per-key 0/min",
            "--rate-per-key off",
            "--auth-failures on",
            "--public-url codes.example.com",
            "--public-url https://a.example/base?x",
            "--allow-origin https://a.example/?x",
            "--allow-origin http://127.0.0.1:*",
            "--allow-origin https://a.example,https://*.b.example",
        ] {
            assert!(config_of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_user_header_needs_the_proxy_that_writes_it() {
        let http = config_of("--behind-proxy --user-header X-Auth-Request-Email").unwrap().http;
        assert_eq!(http.user_header.unwrap(), "x-auth-request-email");
        assert!(config_of("--user-header X-Auth-Request-Email").is_err());
        assert!(config_of("--behind-proxy --user-header X:Y").is_err());
        for name in ["Remote-User", "X-Forwarded-User", "X-Forwarded-Email", "Cf-Access-Authenticated-User-Email"] {
            assert!(config_of(&format!("--behind-proxy --user-header {name}")).is_ok(), "{name}");
        }
        for name in [
            "Authorization",
            "cookie",
            "Host",
            "Content-Length",
            "Content-Type",
            "Transfer-Encoding",
            "Connection",
            "Forwarded",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "X-Real-IP",
            "Origin",
            "Referer",
            "User-Agent",
            "Accept",
            "Accept-Language",
            "Sec-Fetch-Site",
            "Proxy-Authorization",
            "Mcp-Session-Id",
            "sb-api-secret-key",
        ] {
            let refused = config_of(&format!("--behind-proxy --user-header {name}")).unwrap_err();
            assert!(
                refused.starts_with("--user-header ") && refused.contains("X-Forwarded-Email"),
                "{name}: {refused}"
            );
        }
    }

    #[test]
    fn several_origins_stand_behind_one_flag() {
        let http = config_of("--no-sse --allow-origin https://a.example,http://localhost:3000").unwrap().http;
        assert_eq!((http.sse, http.allow_origins.len()), (false, 2));
    }

    #[test]
    fn an_issuer_is_reached_by_tls_or_stands_here() {
        let with = |issuer| config_of(&format!("--oauth-issuer {issuer} --oauth-audience https://x.example/mcp"));
        assert!(with("https://id.example/realm").is_ok());
        assert!(with("http://127.0.0.1:9000").is_ok());
        assert!(with("http://id.example").is_err());
        assert!(config_of("--oauth-issuer https://id.example").is_err());
    }

    #[test]
    fn a_client_has_a_provider_an_id_of_its_own_and_perhaps_a_secret() {
        let provider = "--oauth-issuer https://id.example --oauth-audience https://x.example/mcp";
        let with = |more: &str| config_of(&format!("{provider} {more}"));
        let client = |more: &str| with(more).unwrap().oauth.unwrap().client;
        assert_eq!(client(""), None);
        assert_eq!(client("--oauth-client-id web").unwrap().secret_file, None);
        assert!(client("--oauth-client-id web --oauth-client-secret-file s").unwrap().secret_file.is_some());
        assert!(config_of("--oauth-client-id web").is_err());
        assert!(with("--oauth-client-secret-file s").is_err());
        assert!(with("--oauth-client-id=").is_err());
        assert!(with("--oauth-client-id https://x.example/mcp").unwrap_err().contains("audience"));
    }
}
