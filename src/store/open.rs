//! Opens the store at an address, or returns an error without having changed anything. This needs no key: the caller
//! reads the header record, and commits nothing before it has verified the key.

use std::path::{Path, PathBuf};

use super::{
    Commit, SharedStore, StoreError,
    format1::Format1,
    postgres,
    sqlite::{self, incoming::Incoming, salvage::Salvage, snapshot::Snapshot},
};
use crate::domain::{characters::is_unshowable, sensitive::without_seeds, time::Timestamp};

/// The most characters that are shown of a place that a store has recorded.
const PLACE_CHARS_MAX: usize = 1024;

/// Where a vault is and how to open it.
#[derive(Debug, Clone)]
pub struct OpenRequest {
    /// `sqlite:` (the file `vault.db` in the data directory), `sqlite:PATH`, or `postgres://…`.
    pub url: String,
    /// The data directory.
    pub data_dir: PathBuf,
    /// How writes are carried out.
    pub writes: Writes,
    /// Whether to create a vault if none exists.
    pub make: bool,
}

impl OpenRequest {
    /// The same request for another file, which exists.
    ///
    /// # Errors
    /// [`OpenError::NotOurs`]: its path is not UTF-8, as an address is.
    pub fn at_file(&self, path: &Path) -> Result<Self, OpenError> {
        let named = path.to_str().ok_or_else(|| sqlite::files::not_in_utf8(path))?;
        Ok(Self { url: format!("sqlite:{named}"), make: false, ..self.clone() })
    }
}

/// On which thread writes run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writes {
    /// The caller's thread, unless a lock is held: for a sidecar or a command, which has one caller.
    Inline,
    /// A separate thread, unless it is a few changes that wait for no disk: for a server, whose threads must not wait
    /// for one.
    Thread,
}

/// The result of opening an address.
pub enum Opened {
    /// A store of the current format. Nothing has been written to it.
    Store(SharedStore, Facts),
    /// A store of format 1, which must be migrated before use.
    Format1(Box<Format1>),
    /// No store.
    Absent(Absent),
}

/// Facts about a store, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Version of the format.
    pub format: u32,
    /// The backend, in words.
    pub backend: String,
    /// Where it is.
    pub location: PathBuf,
}

/// A place for a new store. If it is a file, no other process creates a store there while this value exists.
#[derive(Debug)]
pub struct Absent {
    pub(super) place: Spot,
}

/// Where a new store will be.
#[derive(Debug)]
pub(super) enum Spot {
    File(sqlite::Place),
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "no address of a server gets this far"))]
    Server(postgres::Place),
}

impl Absent {
    /// The path of the new store.
    pub fn location(&self) -> &Path {
        match &self.place {
            Spot::File(place) => place.location(),
            Spot::Server(place) => place.location(),
        }
    }

    /// Creates the store with a first commit. Either all of it exists afterwards or nothing, even after a crash. Then
    /// [`open`] finds it.
    ///
    /// # Errors
    /// [`OpenError`]; nothing exists then, unless it is [`StoreError::Unknown`].
    pub async fn create(self, first: Commit) -> Result<(), OpenError> {
        match self.place {
            Spot::File(place) => blocking(move || place.create(&first)).await,
            Spot::Server(place) => place.create(&first).await,
        }
    }
}

/// Why a store can't be opened. Nothing was changed. Exit code 78. Paths are shown without parts that look like a seed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no vault, and the caller only reads.
    #[error(
        "there is no vault in {}. See that --data-dir and COUNTERSIGN_DATA_DIR are right; the first command that stores \
         something makes one, such as `countersign secret add`, and so does `countersign vault create`",
        without_seeds(.0)
    )]
    NoVault(PathBuf),
    /// A restore was killed while the vault had another name.
    #[error(
        "{} is not there: a restore was interrupted. Run `countersign vault restore BACKUP` again, which keeps the vault that was \
         there; or go on with that one: rename {}",
        without_seeds(.path), renames(.moved)
    )]
    HalfRestored {
        /// Where the vault should be.
        path: PathBuf,
        /// The renames that give it its name back, in order.
        moved: Vec<(PathBuf, PathBuf)>,
    },
    /// There is no vault in the database, and only `vault create` makes one on a server: a mistyped address must not become
    /// a new vault.
    #[error("there is no vault in {0}. See that the address is right; `countersign vault create` makes one there")]
    NoServerVault(String),
    /// The server can't be reached or used.
    #[error("the server {place} can't be used: {what}")]
    Server {
        /// The address, without user and password.
        place: String,
        /// The problem.
        what: String,
    },
    /// The address of a server is malformed. It may hold a password, so it is not shown.
    #[error("the store's address can't be used: {0}")]
    Address(&'static str),
    /// The vault that was here was moved elsewhere.
    #[error(
        "the vault that was in {} was moved to {}; name that place with --store or COUNTERSIGN_STORE. What is left here opens \
         nothing: remove it once there is a backup of the moved vault",
        without_seeds(.from), shown(.to)
    )]
    Moved {
        /// Where it was.
        from: PathBuf,
        /// Where it is now, as the old place records. No MAC covers this: anyone who can write to the old place can
        /// change it.
        to: String,
    },
    /// The place for a new vault is not empty.
    #[error(
        "there is something in {} already, and a vault comes only to where nothing is; name another file or an empty database",
        without_seeds(.0)
    )]
    Occupied(PathBuf),
    /// The remains of an interrupted move or restore, which are no vault.
    #[error(
        "{} was left by a `vault move` or `vault restore` that did not end. Run that again as it was, and it goes on; or remove \
         what is there, if the vault is still where it was",
        without_seeds(.0)
    )]
    Unfinished(PathBuf),
    /// The operation needs a file.
    #[error("this works on a file: `sqlite:` (the default) or `sqlite:FILE`, not on a server")]
    NeedsFile,
    /// The operation needs a server.
    #[error("this works on a server: `postgres://USER@HOST/DATABASE`, not on a file")]
    NeedsServer,
    /// The address is malformed.
    #[error(
        "the store's address can't be read; leave it out, or name `sqlite:` (the default), `sqlite:FILE` or \
         `postgres://USER@HOST/DATABASE`"
    )]
    NoAddress,
    /// A file or directory is readable or writable by others.
    #[error("{0} is accessible to other users (mode {mode:o}); run: chmod {wanted:o} {0}", without_seeds(.path))]
    LooseMode {
        /// The file or directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The mode that it should have.
        wanted: u32,
    },
    /// A link, a directory or another kind of file in place of a regular file; or a file of another user.
    #[error("{} {what}", without_seeds(.path))]
    NotOurs {
        /// The file or directory.
        path: PathBuf,
        /// The problem with it.
        what: &'static str,
    },
    /// Made by a newer version.
    #[error("{} has format {found}, newer than this version's {known}; use the newer countersign", without_seeds(.path))]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that is understood.
        known: u32,
    },
    /// It is not a vault, or it is damaged.
    #[error("{} is damaged or no vault: {what}", without_seeds(.path))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The problem.
        what: String,
    },
    /// The database can't be read or written.
    #[error(
        "{} can't be read or written: {what}. See that it and its folder are yours and writable (chmod 600 the file, \
         chmod 700 the folder), and that the disk is neither full nor read-only",
        without_seeds(.path)
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The problem.
        what: String,
    },
    /// An older copy was put over a vault whose newest changes are in its log.
    #[error(
        "{} is older than its log {}: somebody has put an older copy over it, and the two do not fit. Put the newer file back; or \
         go on with the copy: `countersign vault restore COPY` keeps both files aside",
        without_seeds(.path), without_seeds(.log)
    )]
    UnderNewerLog {
        /// The file.
        path: PathBuf,
        /// Its log.
        log: PathBuf,
    },
    /// A file or directory can't be read or made.
    #[error("{}: {source}{}", without_seeds(.path), remedy(.source))]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// An error of the store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OpenError {
    /// The store at a place that can't be read or written. A server's own error contains the remedy.
    pub fn unusable(path: PathBuf, what: String) -> Self {
        if path.to_str().is_some_and(|place| matches!(kind_of(place), Ok(Kind::Server))) {
            return Self::Store(StoreError::Unavailable(what));
        }
        Self::Unusable { path, what }
    }
}

fn renames(moved: &[(PathBuf, PathBuf)]) -> String {
    let one = |(from, to): &(PathBuf, PathBuf)| format!("{} to {}", without_seeds(from), without_seeds(to));
    moved.iter().map(one).collect::<Vec<_>>().join(", and then ")
}

/// A place that a store has recorded, made safe to show in a terminal.
fn shown(place: &str) -> String {
    let shown: String = place.chars().filter(|character| !is_unshowable(*character)).take(PLACE_CHARS_MAX).collect();
    without_seeds(Path::new(&shown))
}

/// A remedy for the system errors that a person can fix at once: permissions, and on Windows a file that another process has
/// open, which can be neither renamed nor removed there.
fn remedy(cause: &std::io::Error) -> &'static str {
    // ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION
    if cfg!(windows) && matches!(cause.raw_os_error(), Some(32 | 33)) {
        ". Stop every countersign and whatever else has it open, such as a virus scanner, and run this again"
    } else if cause.kind() == std::io::ErrorKind::PermissionDenied {
        ". See that it and its folder are yours and writable (chmod 600 the file, chmod 700 the folder)"
    } else {
        ""
    }
}

/// Opens the store at an address. Several processes may do so at the same time.
///
/// # Errors
/// [`OpenError`]; nothing was changed then.
pub async fn open(request: &OpenRequest) -> Result<Opened, OpenError> {
    match kind_of(&request.url)? {
        Kind::File(path) => {
            let request = request.clone();
            blocking(move || sqlite::open(&request, &path)).await
        }
        Kind::Server => postgres::open(request).await,
    }
}

/// Opens the store on a server read-only, as of this moment: others go on writing.
///
/// # Errors
/// [`OpenError`].
pub async fn still(request: &OpenRequest) -> Result<(SharedStore, Facts), OpenError> {
    match kind_of(&request.url)? {
        Kind::File(_) => Err(OpenError::NeedsServer),
        Kind::Server => postgres::still(request).await,
    }
}

/// The backend that an address names.
pub(super) enum Kind {
    /// A file; empty: the usual one.
    File(String),
    /// A database on a server.
    Server,
}

/// Returns the backend of an address.
pub(super) fn kind_of(url: &str) -> Result<Kind, OpenError> {
    match url.split_once(':') {
        Some(("sqlite", path)) => Ok(Kind::File(path.to_owned())),
        Some(("postgres" | "postgresql", _)) => Ok(Kind::Server),
        Some(_) | None => Err(OpenError::NoAddress),
    }
}

/// Copies the store at an address as of one moment, while other processes use it.
///
/// # Errors
/// [`OpenError`]; there is no copy then.
pub async fn snapshot(request: &OpenRequest) -> Result<Snapshot, OpenError> {
    let (request, path) = (request.clone(), file_of(&request.url)?);
    blocking(move || sqlite::snapshot(&request, &path)).await
}

/// Copies a backup to the place of the store at an address, whether there is one or not; for a server, to a file in the
/// private folder of this machine. The `time` becomes a part of the names of the copy and of the store that it
/// replaces. A store that a killed process moved aside has its name back then.
///
/// # Errors
/// [`OpenError`]; there is no copy then.
pub async fn incoming(request: &OpenRequest, backup: &Path, time: Timestamp) -> Result<Incoming, OpenError> {
    let path = match kind_of(&request.url)? {
        Kind::File(path) => path,
        // The copy goes beside the file that an address without a path names.
        Kind::Server => String::new(),
    };
    let (request, backup) = (request.clone(), backup.to_owned());
    let time = time.to_string().replace(':', "-");
    blocking(move || sqlite::incoming(&request, &path, &backup, &time)).await
}

/// Reads the store at an address as far as possible, to build it anew. Nothing has been written to it yet.
///
/// A person's command does this and nothing else, so it runs on the caller's thread. A backup that was copied beside the store
/// holds the lock that this needs.
///
/// # Errors
/// [`OpenError`].
pub fn salvage(request: &OpenRequest, incoming: Option<&Incoming>) -> Result<Salvage, OpenError> {
    sqlite::salvage(request, &file_of(&request.url)?, incoming)
}

/// The folder of the store at an address, in which the store keeps all its files; `None` for a backend without one.
pub fn folder_of(request: &OpenRequest) -> Option<PathBuf> {
    sqlite::files::folder_of(&request.data_dir, &file_of(&request.url).ok()?)
}

/// The file in an address; an error for a backend without one.
fn file_of(url: &str) -> Result<String, OpenError> {
    match kind_of(url)? {
        Kind::File(path) => Ok(path),
        Kind::Server => Err(OpenError::NeedsFile),
    }
}

/// Runs a function that waits for locks or the disk outside the runtime's threads.
pub(super) async fn blocking<T: Send + 'static>(
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

    /// A test may run as a user who has every permission, so the error is constructed here.
    #[test]
    fn what_the_system_forbids_is_named_with_what_to_do() {
        let told =
            |kind: ErrorKind| OpenError::Io { path: PathBuf::from("/v/vault.db"), source: kind.into() }.to_string();
        assert!(told(ErrorKind::PermissionDenied).starts_with("/v/vault.db: permission denied. See that it"));
        assert!(!told(ErrorKind::StorageFull).contains("chmod"));
    }
}
