//! Why a call was refused: one list for every transport, by what the caller can do about it.

use std::time::Duration;

use crate::domain::{audit::Outcome, scope::Scope};

/// The stable word for a refusal, as the contract lists them. Every transport answers each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// Malformed or out of range.
    InvalidArgument,
    /// No key or a wrong one.
    Unauthenticated,
    /// Not within the caller's rights.
    PermissionDenied,
    /// No such thing for this caller.
    NotFound,
    /// No unused code in time.
    Busy,
    /// Too big.
    TooLarge,
    /// Too often.
    RateLimited,
    /// The store can't do it now.
    Unavailable,
    /// A bug, or a damaged record.
    Internal,
}

/// A refusal: what a caller is told. Causes go to the log, never in here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A value is malformed or out of range. Never holds the value.
    #[error("`{field}` {problem}")]
    Invalid {
        /// The field at fault.
        field: &'static str,
        /// What is wrong and what is accepted.
        problem: String,
    },
    /// No key or a wrong one; nothing says which half was wrong.
    #[error(
        "no valid API key or access token; send `Authorization: Bearer cs_…`, or `sb-api-key-id` with \
         `sb-api-secret-key`. A person makes a key with `countersign key create`. A client that tries to log in instead, \
         such as mcp-remote, needs the key as a header in its configuration"
    )]
    Unauthenticated,
    /// The caller lacks a scope.
    #[error("this needs the scope `{0}`; ask the person who made this key or configured this server")]
    MissingScope(Scope),
    /// The caller is limited to given secrets, and what it would register would not be among them.
    #[error("this key is limited to given secrets and can't register others; ask the person who made it")]
    Limited,
    /// The caller is bound to another seat.
    #[error("`seat_id` names another seat than the one this caller is bound to; leave it out")]
    OtherSeat,
    /// A login whose subject is no seat's.
    #[error(
        "the access token's subject is not the `auth_subject` of any seat; a person adds it with `countersign seat add`"
    )]
    NoSeat,
    /// The seat that the caller is bound to was removed.
    #[error("the seat that this caller is bound to was removed; ask the person who configured this server")]
    SeatRemoved,
    /// The secret's codes are typed into pages alone.
    #[error("codes of this secret are only typed into login pages, with `fill_totp_code`")]
    FillOnly,
    /// What only a person at the command line may do.
    #[error("only a person at the command line may do this")]
    PersonOnly,
    /// No such thing for this caller.
    #[error("no such {0}; list what exists to find its id")]
    NotFound(&'static str),
    /// No unused code in time.
    #[error("{reason}; a code is free in {} s", seconds_up(*after))]
    Busy {
        /// Why.
        reason: &'static str,
        /// How long until there is one.
        after: Duration,
    },
    /// Too many callers wait.
    #[error("too many callers wait for a code; try again in a second")]
    TooManyWaiting,
    /// Too big.
    #[error("{what} is larger than {limit}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// The limit, with its unit.
        limit: &'static str,
    },
    /// Too often.
    #[error("{what}; try again in {} s", seconds_up(*after))]
    RateLimited {
        /// What was done too often.
        what: &'static str,
        /// How long until it may be done again.
        after: Duration,
    },
    /// It exists already.
    #[error("{0} exists already")]
    Exists(&'static str),
    /// It is still used.
    #[error("{0}")]
    InUse(&'static str),
    /// The store can't do it now.
    #[error(
        "the vault can't be reached or written right now{}; nothing was changed. Try again; if it stays so, run \
         `countersign vault doctor`",
        in_brackets(.obstacle.as_deref())
    )]
    Unavailable {
        /// What is in the way, in the store's words.
        obstacle: Option<String>,
    },
    /// The disk failed in the middle of a change.
    #[error(
        "the vault could not make this durable, so it may or may not have happened: look before you try again, and run \
         `countersign vault doctor`"
    )]
    OutcomeUnknown,
    /// Others keep changing the same thing.
    #[error("other callers keep changing this; nothing was changed. Try again in a second")]
    Contended,
    /// The machine's clock can't be right.
    #[error(
        "the clock of this machine is not set: it stands before 1970 or after 9999; nothing was changed. Set it, then try again"
    )]
    Clock,
    /// The process ends.
    #[error("the server is stopping; nothing was changed. Try again in a moment")]
    Stopping,
    /// A bug, or a damaged record. The log has the cause under this id.
    #[error("internal error {id}; the log has more under this id. Run `countersign vault doctor`")]
    Internal {
        /// Random; it leads to the log line.
        id: String,
    },
}

impl Refusal {
    /// A refusal of a field's value.
    pub fn invalid(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Invalid { field, problem: problem.into() }
    }

    /// The stable word.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid { .. } | Self::Exists(_) | Self::InUse(_) => ErrorCode::InvalidArgument,
            Self::Unauthenticated => ErrorCode::Unauthenticated,
            Self::MissingScope(_)
            | Self::Limited
            | Self::OtherSeat
            | Self::NoSeat
            | Self::SeatRemoved
            | Self::FillOnly
            | Self::PersonOnly => ErrorCode::PermissionDenied,
            Self::NotFound(_) => ErrorCode::NotFound,
            Self::Busy { .. } | Self::TooManyWaiting | Self::Contended => ErrorCode::Busy,
            Self::TooLarge { .. } => ErrorCode::TooLarge,
            Self::RateLimited { .. } => ErrorCode::RateLimited,
            Self::Unavailable { .. } | Self::OutcomeUnknown | Self::Clock | Self::Stopping => ErrorCode::Unavailable,
            Self::Internal { .. } => ErrorCode::Internal,
        }
    }

    /// Whole seconds after which it is worth another try, where that is known: at least 1, and never cut, since every earlier
    /// try is in vain.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Busy { after, .. } | Self::RateLimited { after, .. } => Some(seconds_up(*after)),
            Self::TooManyWaiting | Self::Contended | Self::Unavailable { .. } | Self::Stopping => Some(1),
            Self::Invalid { .. }
            | Self::Unauthenticated
            | Self::MissingScope(_)
            | Self::Limited
            | Self::OtherSeat
            | Self::NoSeat
            | Self::SeatRemoved
            | Self::FillOnly
            | Self::PersonOnly
            | Self::NotFound(_)
            | Self::TooLarge { .. }
            | Self::Exists(_)
            | Self::InUse(_)
            | Self::OutcomeUnknown
            | Self::Clock
            | Self::Internal { .. } => None,
        }
    }
}

impl ErrorCode {
    /// Every one of them.
    pub const ALL: [Self; 9] = [
        Self::InvalidArgument,
        Self::Unauthenticated,
        Self::PermissionDenied,
        Self::NotFound,
        Self::Busy,
        Self::TooLarge,
        Self::RateLimited,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The contract's spelling.
    pub const fn as_str(self) -> &'static str {
        self.outcome().as_str()
    }

    /// What the audit log calls it.
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::InvalidArgument => Outcome::InvalidArgument,
            Self::Unauthenticated => Outcome::Unauthenticated,
            Self::PermissionDenied => Outcome::PermissionDenied,
            Self::NotFound => Outcome::NotFound,
            Self::Busy => Outcome::Busy,
            Self::TooLarge => Outcome::TooLarge,
            Self::RateLimited => Outcome::RateLimited,
            Self::Unavailable => Outcome::Unavailable,
            Self::Internal => Outcome::Internal,
        }
    }
}

/// An aside, if there is one.
fn in_brackets(aside: Option<&str>) -> String {
    aside.map(|aside| format!(" ({aside})")).unwrap_or_default()
}

/// Whole seconds, rounded up, at least one.
fn seconds_up(span: Duration) -> u64 {
    span.as_micros().div_ceil(1_000_000).try_into().unwrap_or(u64::MAX).max(1)
}
