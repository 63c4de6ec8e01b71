//! What SQLite says, in the store's words.

use rusqlite::{ErrorCode, ffi::SQLITE_CONSTRAINT_FOREIGNKEY};

use crate::store::StoreError;

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error() {
            Some(code) if matches!(code.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                damaged("the database", code.to_string())
            }
            // The library's own words and its number: they hold no value and no path.
            Some(code) => Self::Unavailable(code.to_string()),
            // A column of another type or range than was ever written.
            None => damaged("the database", "a value of another kind than was written"),
        }
    }
}

/// A record that does not read as it was written.
pub(super) fn damaged(table: &'static str, what: impl Into<String>) -> StoreError {
    StoreError::Damaged { table, what: what.into() }
}

/// A record whose keyed hash is wrong.
pub(super) fn tampered(table: &'static str) -> StoreError {
    damaged(table, "it was changed without the vault's key")
}

/// A record that was found where another one is.
pub(super) fn misplaced(table: &'static str) -> StoreError {
    damaged(table, "an index leads to another record")
}

/// Whether a statement failed because of a constraint of the schema.
pub(super) fn is_constraint(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation)
}

/// Why a record could not be added to an account: the account is gone, or the record is there.
pub(super) fn not_added(error: rusqlite::Error, what: &'static str) -> StoreError {
    match error.sqlite_error() {
        Some(code) if code.extended_code == SQLITE_CONSTRAINT_FOREIGNKEY => StoreError::NoAccount,
        Some(code) if code.code == ErrorCode::ConstraintViolation => StoreError::Exists(what),
        _ => error.into(),
    }
}
