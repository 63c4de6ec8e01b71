//! The errors of a store.

/// The error of a store operation. The text is for logs: a caller gets `unavailable` or `internal`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store can't be reached or written right now; nothing was changed.
    #[error("the vault can't be reached or written: {0}")]
    Unavailable(String),
    /// The disk failed while a change was made durable: the change may or may not be stored.
    #[error("the vault could not make a change durable, so it may or may not be kept: {0}")]
    Unknown(String),
    /// Stored data can't be read as it was written. The text says what is wrong and never quotes contents.
    #[error("the vault is damaged: {what}")]
    Damaged {
        /// The damage.
        what: String,
    },
}
