//! From an address to a store, or a refusal that has changed nothing. No key is needed here: the caller reads the header
//! record, and commits nothing before it knows that the key is right.

use std::path::{Path, PathBuf};

use super::{Commit, SharedStore, StoreError, format1::Format1, sqlite};
use crate::domain::sensitive::without_seeds;

/// Where a vault is and how to open it.
#[derive(Debug, Clone)]
pub struct OpenRequest {
    /// `sqlite:` (the file `vault.db` in the data directory), `sqlite:PATH`, or `postgres://…`.
    pub url: String,
    /// The data directory.
    pub data_dir: PathBuf,
    /// How writes are carried out.
    pub writes: Writes,
    /// Whether a vault is to be made if there is none.
    pub make: bool,
}

/// Who carries out writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writes {
    /// The caller's thread, as long as nobody is in its way: a sidecar or a command, which has one caller.
    Inline,
    /// A thread of their own: a server, whose threads must not wait for the disk.
    Thread,
}

/// What an address leads to.
pub enum Opened {
    /// A store of the present format. Nothing has been written to it.
    Store(SharedStore, Facts),
    /// A store of format 1, which has to be moved before it can be used.
    Format1(Box<Format1>),
    /// Nothing is there yet.
    Absent(Absent),
}

/// Facts about a store, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Version of the format.
    pub format: u32,
    /// Which backend keeps it, in words.
    pub backend: String,
    /// Where it is.
    pub location: PathBuf,
}

/// A place for a new store. Until this is made or dropped, nobody else makes one there.
#[derive(Debug)]
pub struct Absent {
    pub(super) place: sqlite::Place,
}

impl Absent {
    /// Where it would be.
    pub fn location(&self) -> &Path {
        self.place.location()
    }

    /// Makes the store, with a first commit in it: a whole one or, also after a crash, none. Then [`open`] finds it.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is there then.
    pub async fn create(self, first: Commit) -> Result<(), OpenError> {
        blocking(move || self.place.create(&first)).await
    }
}

/// Why a store can't be opened. Nothing was changed. Exit code 78. What looks like a seed in a path is left out.
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
    /// The address can't be read.
    #[error("the store's address can't be read; leave it out, or name `sqlite:` (the default) or `sqlite:FILE`")]
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

/// Opens what is at an address. Several processes may do it at the same instant.
///
/// # Errors
/// [`OpenError`]; nothing was changed then.
pub async fn open(request: &OpenRequest) -> Result<Opened, OpenError> {
    match request.url.split_once(':') {
        Some(("sqlite", path)) => {
            let (request, path) = (request.clone(), path.to_owned());
            blocking(move || sqlite::open(&request, &path)).await
        }
        Some(("postgres" | "postgresql", _)) => Err(OpenError::Unsupported { scheme: "postgres" }),
        Some(_) | None => Err(OpenError::NoAddress),
    }
}

/// Runs what waits for locks or the disk off the runtime's threads.
async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, OpenError> + Send + 'static,
) -> Result<T, OpenError> {
    tokio::task::spawn_blocking(act)
        .await
        .unwrap_or_else(|_| Err(StoreError::Unavailable("opening it was given up".to_owned()).into()))
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
