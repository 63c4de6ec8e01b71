//! What SQLite says, in the store's words.

use rusqlite::{ErrorCode, Row, ffi::SQLITE_CONSTRAINT_FOREIGNKEY, types::ValueRef};

use crate::{domain::api_key::KeyId, store::StoreError};

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

/// The same of a record that has an id: its damage says which one it is. `column` is the id's.
pub(super) fn of_record(error: StoreError, table: &'static str, row: &Row<'_>, column: usize) -> StoreError {
    if let StoreError::Damaged { what, .. } = error {
        return damaged(table, format!("{}: {what}", id_in(row, column)));
    }
    error
}

/// An id as people write it. What could be read as no id is not shown: anybody may have written it.
fn id_in(row: &Row<'_>, column: usize) -> String {
    let id = match row.get_ref(column) {
        Ok(ValueRef::Blob(bytes)) => uuid::Uuid::from_slice(bytes).ok().map(|id| id.to_string()),
        Ok(ValueRef::Text(text)) => {
            std::str::from_utf8(text).ok().and_then(|text| Some(text.parse::<KeyId>().ok()?.to_string()))
        }
        _ => None,
    };
    id.unwrap_or_else(|| "with an unreadable id".to_owned())
}

/// A record whose keyed hash is wrong.
pub(super) fn tampered(table: &'static str) -> StoreError {
    damaged(table, "it was changed without the vault's key")
}

/// A record that was found where another one is.
pub(super) fn misplaced(table: &'static str) -> StoreError {
    damaged(table, "an index leads to another record")
}

/// Refuses a write of one record that changed another number of them.
pub(super) fn one_changed(table: &'static str, changed: usize) -> Result<(), StoreError> {
    if changed == 1 { Ok(()) } else { Err(damaged(table, format!("a write of one record changed {changed}"))) }
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
