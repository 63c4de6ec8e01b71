//! The guard's output for the person who started it, in every build.

use std::path::PathBuf;

use crate::operations::Refusal;

/// The certificate of an authority, as people give it to a browser.
#[derive(Debug)]
pub struct Certificate {
    /// The certificate in PEM form.
    pub pem: String,
    /// The hash of its public key, as Chromium takes it: SHA-256 in base64.
    pub key_hash: String,
    /// The hosts and domains that the authority is limited to.
    pub hosts: Vec<String>,
}

/// Why the guard does not work.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// An operation was refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No secret has an origin.
    #[error("no secret has an origin; `countersign secret update NAME --origin https://…` gives it one")]
    NothingBound,
    /// A certificate for all the hosts would be larger than clients accept.
    #[error(
        "one certificate can't be for {0} hosts; keep the secrets of some of them in another account (`countersign account add`), with a \
         guard of its own (`--account`)"
    )]
    TooManyHosts(usize),
    /// A file of roots can't be used.
    #[error("--ca must name a file of certificates in PEM form that can be read: {}", .0.display())]
    Roots(PathBuf),
    /// A certificate or TLS can't be made.
    #[error("the guard's certificates can't be made: {0}")]
    Certificates(String),
    /// The address can't be listened on.
    #[error("--listen: {0}")]
    Listen(#[from] std::io::Error),
    /// The address is not this machine's own.
    #[error("--listen must be a loopback address: everybody who reaches the guard can use it")]
    NotLoopback,
    /// This build has no guard.
    #[error("this build has no guard: it was made without the feature `guard`")]
    Absent,
}
