//! The address of a server: `postgres://USER@HOST[:PORT][,HOST…]/DATABASE?sslmode=…`.
//!
//! The parameters that libpq knows and the client library does not are read here: `sslmode`, `sslrootcert` and
//! `passfile`. A password may stand in the address, so no error quotes it.

use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use percent_encoding::percent_decode_str;
use tokio_postgres::config::{Config, Host, SslMode, TargetSessionAttrs};

use crate::store::OpenError;

/// The longest time to reach one host.
const REACH: Duration = Duration::from_secs(2);
/// The most bytes read from a password file.
const PASSFILE_BYTES_MAX: u64 = 64 * 1024;

/// Whether and how the connection is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tls {
    /// By certificates that these roots signed, or those that the system trusts.
    Verified(Option<PathBuf>),
    /// Not at all.
    Off,
}

/// One host of a server.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) config: Config,
    pub(super) tls: Tls,
    /// Host and port.
    pub(super) name: String,
    /// Whether it is on this machine.
    pub(super) is_near: bool,
}

/// A server's hosts, of which one is the primary.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) nodes: Vec<Node>,
    /// Whether statements are prepared.
    pub(super) prepares: bool,
    passfile: Option<PathBuf>,
    place: String,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

/// The parameters in an address's query that the client library does not read.
#[derive(Default)]
struct Extras {
    sslmode: Option<String>,
    sslrootcert: Option<PathBuf>,
    passfile: Option<PathBuf>,
    prepare: Option<String>,
}

impl Address {
    /// Reads an address.
    pub(super) fn read(url: &str) -> Result<Self, OpenError> {
        let (rest, query) = url.split_once('?').unwrap_or((url, ""));
        let mut extras = Extras::default();
        let mut others = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = || {
                percent_decode_str(value)
                    .decode_utf8()
                    .map(String::from)
                    .map_err(|_| malformed("its query is not UTF-8"))
            };
            match name {
                "sslmode" => extras.sslmode = Some(value()?),
                "sslrootcert" => extras.sslrootcert = Some(PathBuf::from(value()?)),
                "passfile" => extras.passfile = Some(PathBuf::from(value()?)),
                "prepare" => extras.prepare = Some(value()?),
                "host" | "port" | "user" | "password" | "dbname" | "application_name" => others.push(pair),
                _ => {
                    return Err(malformed(
                        "it has a parameter that is not known; there are sslmode, sslrootcert, passfile, prepare, host, port, \
                         user, password, dbname and application_name",
                    ));
                }
            }
        }
        let url = if others.is_empty() { rest.to_owned() } else { format!("{rest}?{}", others.join("&")) };
        let config: Config =
            url.parse().map_err(|_| malformed("it is not of the form postgres://USER@HOST:PORT/DATABASE"))?;
        Self::of(&config, extras)
    }

    fn of(config: &Config, extras: Extras) -> Result<Self, OpenError> {
        if config.get_user().is_none() || config.get_dbname().is_none() || config.get_hosts().is_empty() {
            return Err(malformed("it must name a user, a host and a database"));
        }
        let prepares = match extras.prepare.as_deref() {
            None => true,
            Some("never") => false,
            Some(_) => {
                return Err(malformed(
                    "`prepare` can only be `never`, for a pooler that hands out connections by the transaction",
                ));
            }
        };
        let ports = config.get_ports();
        let mut nodes = Vec::new();
        for (nth, host) in config.get_hosts().iter().enumerate() {
            let port = ports.get(nth).or_else(|| ports.first()).copied().unwrap_or(5432);
            nodes.push(node(config, host, port, &extras)?);
        }
        let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        let place = format!("postgres://{}/{}", names.join(","), config.get_dbname().unwrap_or_default());
        Ok(Self { nodes, prepares, passfile: extras.passfile, place })
    }

    /// Where the server is, without user and password.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// How to connect to a host now. The password file is read each time: a password in it may be changed.
    pub(super) fn config(&self, node: &Node) -> Result<Config, String> {
        let mut config = node.config.clone();
        if config.get_password().is_none()
            && let Some(file) = &self.passfile
        {
            config.password(password(file, node)?);
        }
        Ok(config)
    }
}

fn node(from: &Config, host: &Host, port: u16, extras: &Extras) -> Result<Node, OpenError> {
    let mut config = Config::new();
    let (name, near) = match host {
        Host::Tcp(name) => {
            config.host(name);
            let near = name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
            (format!("{name}:{port}"), near)
        }
        #[cfg(unix)]
        Host::Unix(folder) => {
            config.host_path(folder);
            (format!("{}:{port}", folder.display()), true)
        }
    };
    let tls = match extras.sslmode.as_deref() {
        Some("disable") => Tls::Off,
        // A socket has no TLS. An address that names a root requires TLS, also on this machine.
        None if near && (extras.sslrootcert.is_none() || !matches!(host, Host::Tcp(_))) => Tls::Off,
        None | Some("verify-full" | "require") => Tls::Verified(extras.sslrootcert.clone()),
        Some(_) => {
            return Err(malformed(
                "`sslmode` can be `verify-full` (the default), `require`, which verifies as well, or `disable`",
            ));
        }
    };
    config.port(port);
    if let Some(user) = from.get_user() {
        config.user(user);
    }
    if let Some(database) = from.get_dbname() {
        config.dbname(database);
    }
    if let Some(password) = from.get_password() {
        config.password(password);
    }
    config.application_name(from.get_application_name().unwrap_or("countersign"));
    config.ssl_mode(if tls == Tls::Off { SslMode::Disable } else { SslMode::Require });
    config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    config.connect_timeout(REACH).tcp_user_timeout(Duration::from_secs(3));
    config.keepalives_idle(Duration::from_secs(5)).keepalives_interval(Duration::from_secs(1)).keepalives_retries(3);
    Ok(Node { config, tls, name, is_near: near })
}

/// The password of a host in a file of lines `HOST:PORT:DATABASE:USER:PASSWORD`, where `*` stands for anything.
fn password(file: &Path, node: &Node) -> Result<String, String> {
    let unread = |what: &str| format!("the password file {what}");
    let opened = std::fs::File::open(file).map_err(|cause| unread(&format!("can't be read ({})", cause.kind())))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let facts = opened.metadata().map_err(|cause| unread(&format!("can't be read ({})", cause.kind())))?;
        if facts.mode() & 0o007 != 0 {
            return Err(unread("is accessible to other users; run chmod 600 on it"));
        }
    }
    let text = std::io::read_to_string(std::io::Read::take(opened, PASSFILE_BYTES_MAX))
        .map_err(|_| unread("can't be read as text"))?;
    let (host, port) = node.name.rsplit_once(':').unwrap_or((&node.name, ""));
    let wanted = [host, port, node.config.get_dbname().unwrap_or_default(), node.config.get_user().unwrap_or_default()];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let fields = fields(line);
        let [first @ .., password] = fields.as_slice() else { continue };
        if first.len() == 4 && first.iter().zip(wanted).all(|(field, wanted)| field == "*" || field == wanted) {
            return Ok(password.clone());
        }
    }
    Err(unread("has no line for this host, port, database and user"))
}

/// The fields of a line: a backslash takes the next character as it is.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        let next = match character {
            '\\' => characters.next(),
            ':' if fields.len() < 5 => {
                fields.push(String::new());
                None
            }
            other => Some(other),
        };
        if let Some(last) = fields.last_mut() {
            last.extend(next);
        }
    }
    fields
}

fn malformed(what: &'static str) -> OpenError {
    OpenError::Address(what)
}
