//! Converts SQLite's errors to the store's.

use std::{io, path::Path};

use rusqlite::{ErrorCode, ffi};

use crate::store::{OpenError, StoreError};

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error() {
            Some(code) if matches!(code.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged { what: format!("the database is malformed (error {})", code.extended_code) }
            }
            Some(code) => Self::Unavailable(in_words(*code)),
            // A column has a type or range that is never written.
            None => Self::Damaged { what: "a value of another kind than was written".to_owned() },
        }
    }
}

/// Converts the error of a connection that can't be opened while the store is in use.
impl From<OpenError> for StoreError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Damaged { what, .. } => Self::Damaged { what },
            OpenError::Store(error) => error,
            OpenError::NoServerVault(_)
            | OpenError::Server { .. }
            | OpenError::Address(_)
            | OpenError::NeedsFile
            | OpenError::NeedsServer
            | OpenError::Moved { .. }
            | OpenError::Occupied(_)
            | OpenError::Unfinished(_)
            | OpenError::NoAddress
            | OpenError::NoVault(_)
            | OpenError::HalfRestored { .. }
            | OpenError::LooseMode { .. }
            | OpenError::NotOurs { .. }
            | OpenError::Newer { .. }
            | OpenError::UnderNewerLog { .. }
            | OpenError::Unusable { .. }
            | OpenError::Io { .. } => Self::Unavailable(error.to_string()),
        }
    }
}

impl StoreError {
    /// The same error with its path, for errors while a store is opened.
    pub(super) fn at(self, path: &Path) -> OpenError {
        let path = path.to_owned();
        match self {
            Self::Damaged { what } => OpenError::Damaged { path, what },
            Self::Unavailable(what) => OpenError::Unusable { path, what },
            Self::Unknown(_) => self.into(),
        }
    }
}

const FULL: &str = "the disk is full";
const NOT_SYNCED: &str = "the disk did not confirm a write";

/// Whether an error came from the disk's lack of room or a failed sync, and not from the log's index, which all connections
/// of a process share.
pub(super) fn spares_index(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(what) | StoreError::Unknown(what) if what == FULL) || is_unsynced(error)
}

/// Whether the disk did not confirm a write.
pub(super) fn is_unsynced(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(what) | StoreError::Unknown(what) if what.starts_with(NOT_SYNCED))
}

/// The error of a failed sync, without which nothing is committed.
pub(super) fn unsynced(cause: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("{NOT_SYNCED} ({cause})"))
}

/// Describes an error, with SQLite's error number. SQLite's own messages give no remedy.
pub(super) fn in_words(code: ffi::Error) -> String {
    let number = code.extended_code;
    match number {
        ffi::SQLITE_IOERR_READ | ffi::SQLITE_IOERR_SHORT_READ | ffi::SQLITE_IOERR_CORRUPTFS => {
            format!("the disk can't be read (error {number})")
        }
        ffi::SQLITE_IOERR_WRITE => format!("the disk can't be written (error {number})"),
        ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC => {
            format!("{NOT_SYNCED} (error {number})")
        }
        ffi::SQLITE_FULL => FULL.to_owned(),
        ffi::SQLITE_IOERR_SHMOPEN
        | ffi::SQLITE_IOERR_SHMSIZE
        | ffi::SQLITE_IOERR_SHMMAP
        | ffi::SQLITE_IOERR_TRUNCATE => {
            format!("the disk takes no more: it is full or failing (error {number})")
        }
        ffi::SQLITE_READONLY_DIRECTORY => "its folder can't be written".to_owned(),
        _ if code.code == ErrorCode::CannotOpen => format!("it can't be opened (error {number})"),
        _ if code.code == ErrorCode::ReadOnly => format!("it can't be written (error {number})"),
        _ if code.code == ErrorCode::SystemIoFailure => format!("the disk can't be read or written (error {number})"),
        _ if code.code == ErrorCode::OutOfMemory => "there is not enough memory".to_owned(),
        _ if matches!(code.code, ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another process holds it".to_owned()
        }
        _ => format!("SQLite refuses it (error {number})"),
    }
}

/// The error of a failed commit. After a disk error the commit may be stored nevertheless.
pub(super) fn of_commit(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error() {
        Some(code) if code.code == ErrorCode::SystemIoFailure => StoreError::Unknown(in_words(*code)),
        _ => error.into(),
    }
}

/// Whether another connection holds a lock that the statement needed.
pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}
