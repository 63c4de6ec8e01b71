//! The door: from a store's address to an open vault, or a refusal that has changed nothing.

use std::{path::PathBuf, sync::Arc};

use super::{SharedStore, StoreError, sqlite};
use crate::{
    domain::{
        ids::{AccountId, VaultId},
        sensitive::without_seeds,
        time::Timestamp,
    },
    keyring::{KeyFileError, Keyring, UnlockError},
};

/// Where a vault is and how to open it.
#[derive(Debug, Clone)]
pub struct OpenRequest {
    /// `sqlite:` (the file `vault.db` in the data directory), `sqlite:PATH`, or `postgres://…`.
    pub url: String,
    /// The data directory.
    pub data_dir: PathBuf,
    /// The folder for key files, `<vault id>.key` in it. It is ours, so it must be its owner's alone, and nobody else may
    /// write in the one around it.
    pub key_dir: PathBuf,
    /// The key file, if it was named. Elsewhere than in `key_dir`, its own mode is what counts.
    pub key_file: Option<PathBuf>,
    /// Now: what is made is made then.
    pub now: Timestamp,
    /// How writes are carried out.
    pub writes: Writes,
    /// Every commit is made durable before it is acknowledged.
    pub strict: bool,
}

/// Who carries out writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writes {
    /// The runtime's own thread: a sidecar or a command, which has one caller.
    Inline,
    /// A writer thread: a server, where many callers share a commit.
    Thread,
}

/// An open vault.
pub struct Opened {
    /// What is kept.
    pub store: SharedStore,
    /// What opens it.
    pub keyring: Arc<Keyring>,
    /// The facts that `vault status` prints.
    pub status: VaultStatus,
    /// Whether it was made by this opening.
    pub made: Made,
}

/// When a vault was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// By this opening.
    Now,
    /// Earlier, or by another process.
    Before,
}

/// Facts about a vault.
#[derive(Debug, Clone)]
pub struct VaultStatus {
    /// Its identity.
    pub vault: VaultId,
    /// The account that exists from the start.
    pub default_account: AccountId,
    /// Version of the format on disk.
    pub format: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// Which backend keeps it, in words.
    pub backend: String,
    /// Where it is.
    pub location: PathBuf,
    /// The key file that opened it.
    pub key_file: PathBuf,
    /// Kinds of the slots that can open it.
    pub slots: Vec<String>,
    /// The epoch that new seals use.
    pub epoch: u32,
}

/// Why a vault can't be opened. Nothing was changed. Exit code 78. What looks like a seed in a path is left out.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is none, and who asked only reads.
    #[error(
        "there is no vault in {}. See that --data-dir and COUNTERSIGN_DATA_DIR are right; the first command that stores \
         something makes one, such as `countersign secret add`, and so does `countersign vault create`",
        without_seeds(.0)
    )]
    NoVault(PathBuf),
    /// The address is of a kind that is not built in.
    #[error("the store `{scheme}:` is not supported by this build; use `sqlite:` (the default)")]
    Unsupported {
        /// The part before the colon. Only known ones are named: anything may have been typed there.
        scheme: &'static str,
    },
    /// The address is none.
    #[error("the store's address is none; leave it out, or name `sqlite:` (the default) or `sqlite:FILE`")]
    NoAddress,
    /// A file or directory is readable or writable by others.
    #[error("{0} is accessible to other users (mode {mode:o}); run: chmod {wanted:o} {0}", without_seeds(.path))]
    LooseMode {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// What it should be.
        wanted: u32,
    },
    /// A link, a directory, or another kind of file where a plain file must be; or somebody else's.
    #[error("{} {what}", without_seeds(.path))]
    NotOurs {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Whoever copies the vault's folder would have its key too.
    #[error("{} lies in the folder of the vault; a copy of that must not open itself: keep the key elsewhere", without_seeds(.0))]
    KeyBesideVault(PathBuf),
    /// Made by a newer version.
    #[error("{} has format {found}, newer than this version's {known}; use the newer countersign", without_seeds(.path))]
    Newer {
        /// Which.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that is understood.
        known: u32,
    },
    /// It is not a vault, or a damaged one.
    #[error("{} is damaged or no vault: {what}", without_seeds(.path))]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The key file.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The key is not this vault's.
    #[error("{source}; key file: {}. Name the right one with --key-file or COUNTERSIGN_KEY_FILE", without_seeds(.key_file))]
    WrongKey {
        /// The file that was tried.
        key_file: PathBuf,
        /// What the keyring said.
        source: UnlockError,
    },
    /// The database can't be read or written.
    #[error(
        "{} can't be read or written: {what}. See that it and its folder are yours and writable (chmod 600 the file, \
         chmod 700 the folder), and that the disk is neither full nor read-only",
        without_seeds(.path)
    )]
    Unusable {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A file or directory can't be read or made.
    #[error("{}: {source}{}", without_seeds(.path), remedy(.source))]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What helps against the one error of the system that a person can mend at once.
fn remedy(cause: &std::io::Error) -> &'static str {
    if cause.kind() == std::io::ErrorKind::PermissionDenied {
        ". See that it and its folder are yours and writable (chmod 600 the file, chmod 700 the folder)"
    } else {
        ""
    }
}

/// Opens a vault, making it first if there is none. Several processes may do it at the same instant.
///
/// # Errors
/// [`OpenError`]; nothing was changed then.
pub fn open(request: &OpenRequest) -> Result<Opened, OpenError> {
    open_or(request, sqlite::open)
}

/// Opens a vault that is there, and makes nothing.
///
/// # Errors
/// [`OpenError`], [`OpenError::NoVault`] among them; nothing was changed then.
pub fn open_existing(request: &OpenRequest) -> Result<Opened, OpenError> {
    open_or(request, sqlite::open_existing)
}

fn open_or(
    request: &OpenRequest,
    embedded: fn(&OpenRequest, &str) -> Result<Opened, OpenError>,
) -> Result<Opened, OpenError> {
    match request.url.split_once(':') {
        Some(("sqlite", path)) => embedded(request, path),
        Some(("postgres" | "postgresql", _)) => Err(OpenError::Unsupported { scheme: "postgres" }),
        Some(_) | None => Err(OpenError::NoAddress),
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    /// A test may run as a user to whom nothing is forbidden, so the error is made here.
    #[test]
    fn what_the_system_forbids_is_named_with_what_to_do() {
        let told =
            |kind: ErrorKind| OpenError::Io { path: PathBuf::from("/v/vault.db"), source: kind.into() }.to_string();
        assert!(told(ErrorKind::PermissionDenied).starts_with("/v/vault.db: permission denied. See that it"));
        assert!(!told(ErrorKind::StorageFull).contains("chmod"));
    }
}
