//! The address at which a browser takes commands, as an operator names it. It never comes from a call: that would be a
//! tool for reaching into networks.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

/// A browser that takes commands by the `DevTools` protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrowserAddress {
    /// `http://127.0.0.1:9222`, without a slash at its end; it may be written without the scheme. The browser reports
    /// the path under which it takes commands.
    Port(String),
    /// `ws://…` or `wss://…`: the whole address, which may hold a credential.
    Whole(String),
    /// The folder of a browser's profile, or the file `DevToolsActivePort` in it.
    Profile(PathBuf),
    /// `pipe:FOLDER`: the folder of two named pipes, from which a browser takes commands and into which it answers.
    Pipes(PathBuf),
}

/// The text names no browser. The error holds nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BrowserAddressError {
    /// Not one of the forms.
    #[error("not the address of a browser")]
    Form,
    /// A browser on another machine, without its path.
    #[error("a browser on another machine, which is not named in full")]
    Elsewhere,
}

impl BrowserAddress {
    /// The folder of its pipes.
    pub fn pipes(&self) -> Option<&Path> {
        if let Self::Pipes(folder) = self { Some(folder) } else { None }
    }
}

impl FromStr for BrowserAddress {
    type Err = BrowserAddressError;

    fn from_str(text: &str) -> Result<Self, BrowserAddressError> {
        if let Some(port) = text.parse::<u16>().ok().filter(|port| *port != 0) {
            return Ok(Self::Port(format!("http://127.0.0.1:{port}")));
        }
        // No folder has such a name.
        if text.rsplit_once(':').is_some_and(|(host, port)| is_loopback(host) && port.parse::<u16>().is_ok()) {
            return format!("http://{text}").parse();
        }
        if let Some(rest) = text.strip_prefix("http://") {
            let authority = rest.strip_suffix('/').unwrap_or(rest);
            let (host, port) = authority.rsplit_once(':').ok_or(BrowserAddressError::Form)?;
            port.parse::<u16>().map_err(|_| BrowserAddressError::Form)?;
            return if is_loopback(host) {
                Ok(Self::Port(format!("http://{authority}")))
            } else {
                Err(BrowserAddressError::Elsewhere)
            };
        }
        if let Some(rest) = text.strip_prefix("ws://").or_else(|| text.strip_prefix("wss://")) {
            let has_path = rest.split_once('/').is_some_and(|(host, path)| !host.is_empty() && !path.is_empty());
            return if has_path { Ok(Self::Whole(text.to_owned())) } else { Err(BrowserAddressError::Form) };
        }
        if let Some(folder) = text.strip_prefix("pipe:").filter(|folder| !folder.is_empty()) {
            return Ok(Self::Pipes(PathBuf::from(folder)));
        }
        if text.is_empty() || text == "pipe:" || text.contains("://") {
            return Err(BrowserAddressError::Form);
        }
        Ok(Self::Profile(PathBuf::from(text)))
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_named_by_its_port_its_whole_address_its_profile_or_its_pipes() {
        let port = |text: &str| Ok(BrowserAddress::Port(text.to_owned()));
        let whole = |text: &str| Ok(BrowserAddress::Whole(text.to_owned()));
        for (text, expected) in [
            ("9222", port("http://127.0.0.1:9222")),
            ("http://127.0.0.1:9222", port("http://127.0.0.1:9222")),
            ("http://localhost:9222/", port("http://localhost:9222")),
            ("127.0.0.1:9222", port("http://127.0.0.1:9222")),
            ("localhost:9222", port("http://localhost:9222")),
            ("http://[::1]:9222", port("http://[::1]:9222")),
            ("ws://127.0.0.1:9222/devtools/browser/a", whole("ws://127.0.0.1:9222/devtools/browser/a")),
            ("wss://browsers.example/?token=x", whole("wss://browsers.example/?token=x")),
            ("/tmp/profile", Ok(BrowserAddress::Profile("/tmp/profile".into()))),
            ("pipe:/tmp/pipes", Ok(BrowserAddress::Pipes("/tmp/pipes".into()))),
            ("pipe:", Err(BrowserAddressError::Form)),
            ("http://10.0.0.5:9222", Err(BrowserAddressError::Elsewhere)),
            ("http://localhost.example.com:9222", Err(BrowserAddressError::Elsewhere)),
            ("http://127.0.0.1", Err(BrowserAddressError::Form)),
            ("http://127.0.0.1:9222/json", Err(BrowserAddressError::Form)),
            ("https://127.0.0.1:9222", Err(BrowserAddressError::Form)),
            ("ws://127.0.0.1:9222", Err(BrowserAddressError::Form)),
            ("wss://", Err(BrowserAddressError::Form)),
            ("", Err(BrowserAddressError::Form)),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
    }
}
