//! The refusals of calls: one list for every transport, distinguished by the caller's remedy.

use std::time::Duration;

use super::Limit;
use crate::domain::{audit::Outcome, origin::Origin, page::Candidate, scope::Scope};

/// The stable word for a refusal, as in the contract. Every transport maps each of them.
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
    /// No page of the secret's origins.
    WrongOrigin,
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

/// A refusal, as the caller sees it. Causes go to the log, never in here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A value is malformed or out of range. Never holds the value.
    #[error("`{field}` {problem}")]
    Invalid {
        /// The field at fault.
        field: &'static str,
        /// The problem, and the accepted values.
        problem: String,
    },
    /// No key or a wrong one; the text does not say which half was wrong.
    #[error(
        "no valid API key or access token; send `Authorization: Bearer cs_…`, or `sb-api-key-id` with \
         `sb-api-secret-key`. A person makes a key with `countersign key create`. A client that tries to log in instead, \
         such as mcp-remote, needs the key as a header in its configuration"
    )]
    Unauthenticated,
    /// The caller lacks a scope.
    #[error("this needs the scope `{0}`; ask the person who made this key or configured this server")]
    MissingScope(Scope),
    /// The caller is limited to given secrets, and a new secret would not be among them.
    #[error("this key is limited to given secrets and can't register others; ask the person who made it")]
    Limited,
    /// The caller is bound to another seat.
    #[error("`seat_id` names another seat than the one this caller is bound to; leave it out")]
    OtherSeat,
    /// A login whose subject belongs to no seat.
    #[error(
        "the access token's subject is not the `auth_subject` of any seat; a person adds it with `countersign seat add`"
    )]
    NoSeat,
    /// The seat that the caller is bound to was removed.
    #[error("the seat that this caller is bound to was removed; ask the person who configured this server")]
    SeatRemoved,
    /// The secret's codes may only be typed into pages.
    #[error("codes of this secret, or for this key, are typed into pages and shown to nobody; call `fill_totp_code`")]
    FillOnly,
    /// No page of a browser has one of the secret's origins.
    #[error(
        "no open page is of an origin of this secret ({}), so nothing was typed; open the page that asks for the code, then call again",
        listed(.0)
    )]
    WrongOrigin(Vec<Origin>),
    /// The page moved on before a code was typed into it.
    #[error(
        "the page went on, or to another origin, before the code was typed; nothing was typed. Look at it, then call again"
    )]
    PageMoved,
    /// The secret has no origins.
    #[error(
        "no page is right for this secret, because it has no origins; a person adds one with `countersign secret update NAME \
         --origin https://login.example.com`"
    )]
    NoOrigins,
    /// It is not clear which page or field a code is for.
    #[error("{problem}")]
    WhichPage {
        /// The ambiguity, and the argument that resolves it.
        problem: &'static str,
        /// The pages that may be meant.
        candidates: Vec<Candidate>,
    },
    /// No browser can be reached.
    #[error("no browser can be reached: {0}; nothing was typed")]
    NoBrowser(String),
    /// A page of the right origin does not answer.
    #[error(
        "a page of this secret's origins does not answer: it is busy, or shows a dialogue; nothing was typed. Answer the dialogue, \
         then call again"
    )]
    PageSilent,
    /// The page went away while a code was typed into it.
    #[error(
        "the page was closed, did not answer or did not keep what was typed, so it may or may not have got the code, which counts as \
         used. Look at the page, then call again"
    )]
    PageLost,
    /// The person who is to add a secret has no means to prove their identity.
    #[error(
        "this person can't prove who they are yet; the person who runs this server sets a PIN for them with \
         `countersign seat update SEAT --pin`, or has an identity provider or a proxy sign people in (`countersign serve \
         --oauth-client-id` or `--user-header`)"
    )]
    NoProof,
    /// No page is served on which a person could add a secret.
    #[error("no page can be served here on which a person could add a secret; `countersign secret add` adds one")]
    NoPage,
    /// Only the holder of an API key may do this.
    #[error("this needs an API key itself, not a token or a login")]
    KeyOnly,
    /// Only a person at the command line may do this.
    #[error("only a person at the command line may do this")]
    PersonOnly,
    /// No such thing for this caller.
    #[error("no such {what}; {remedy}", what = .0, remedy = where_to_find(.0))]
    NotFound(&'static str),
    /// No unused code in time.
    #[error("{reason}; a code is free in {} s", seconds_up(*after))]
    Busy {
        /// The reason.
        reason: &'static str,
        /// The time until a code is free.
        after: Duration,
    },
    /// Too many callers wait.
    #[error("too many callers wait; try again in a second")]
    TooManyWaiting,
    /// Too big.
    #[error("{what} is larger than {limit}")]
    TooLarge {
        /// The thing that is too large.
        what: &'static str,
        /// The limit, with its unit.
        limit: &'static str,
    },
    /// Too often.
    #[error("{}; try again in {} s", limit.words(), seconds_up(*after))]
    RateLimited {
        /// The limit.
        limit: Limit,
        /// The time until the next call is allowed.
        after: Duration,
    },
    /// It exists already.
    #[error("{0} exists already")]
    Exists(&'static str),
    /// It is still used, or not in the state that the call is for.
    #[error("{0}")]
    InUse(&'static str),
    /// The store can't do it now.
    #[error(
        "the vault can't be reached or written right now{}; nothing was changed. Try again; if it stays so, run \
         `countersign vault doctor`",
        in_brackets(.obstacle.as_deref())
    )]
    Unavailable {
        /// The obstacle, in the store's words.
        obstacle: Option<String>,
    },
    /// The disk failed during a change, or the change was given up after its limit of time.
    #[error(
        "the vault did not confirm that this is durable, so it may or may not have happened: look before you try again, \
         and run `countersign vault doctor`"
    )]
    OutcomeUnknown,
    /// Other callers keep changing the same record.
    #[error("other callers keep changing this; nothing was changed. Try again in a second")]
    Contended,
    /// A backup could not be made.
    #[error("no backup was made: {0}")]
    NotBackedUp(String),
    /// A key that opens the vault could not be added or removed.
    #[error("no key of the vault was changed: {0}")]
    VaultKey(String),
    /// The machine's clock can't be right.
    #[error(
        "the clock of this machine is not set: it stands before 1970 or after 9999; nothing was changed. Set it, then try again"
    )]
    Clock,
    /// The machine's clock and that of the server that the vault is on are far apart.
    #[error(
        "the clock of this machine is {seconds} s {} that of the vault's server, so one of the two is wrong, and codes may be; \
         nothing was changed. Have both follow a time server (NTP), then try again",
        if *ahead { "ahead of" } else { "behind" }
    )]
    ClockApart {
        /// The difference, in seconds.
        seconds: u64,
        /// Whether the machine's clock is ahead of the server's.
        ahead: bool,
    },
    /// The process is ending.
    #[error("the server is stopping; nothing was changed. Try again in a moment")]
    Stopping,
    /// A record of the vault is damaged. The text names the record and the damage.
    #[error("the vault is damaged: {0}. A person finds out more with `countersign vault doctor`")]
    Damaged(String),
    /// A bug. The log has the cause under this id.
    #[error("internal error {id}; the log has more under this id. Run `countersign vault doctor`")]
    Internal {
        /// Random; the log line has the same id.
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
            Self::Invalid { .. } | Self::Exists(_) | Self::InUse(_) | Self::NoOrigins | Self::WhichPage { .. } => {
                ErrorCode::InvalidArgument
            }
            Self::Unauthenticated => ErrorCode::Unauthenticated,
            Self::MissingScope(_)
            | Self::Limited
            | Self::OtherSeat
            | Self::NoSeat
            | Self::SeatRemoved
            | Self::FillOnly
            | Self::NoProof
            | Self::KeyOnly
            | Self::PersonOnly => ErrorCode::PermissionDenied,
            Self::NotFound(_) => ErrorCode::NotFound,
            Self::WrongOrigin(_) | Self::PageMoved => ErrorCode::WrongOrigin,
            Self::Busy { .. } | Self::TooManyWaiting | Self::Contended => ErrorCode::Busy,
            Self::TooLarge { .. } => ErrorCode::TooLarge,
            Self::RateLimited { .. } => ErrorCode::RateLimited,
            Self::Unavailable { .. }
            | Self::OutcomeUnknown
            | Self::NotBackedUp(_)
            | Self::VaultKey(_)
            | Self::Clock
            | Self::ClockApart { .. }
            | Self::Stopping
            | Self::NoBrowser(_)
            | Self::PageSilent
            | Self::PageLost
            | Self::NoPage => ErrorCode::Unavailable,
            Self::Damaged(_) | Self::Internal { .. } => ErrorCode::Internal,
        }
    }

    /// The limit that the caller exceeded, if the refusal is for one.
    pub const fn limit(&self) -> Option<Limit> {
        if let Self::RateLimited { limit, .. } = self {
            Some(*limit)
        } else if matches!(self, Self::Busy { .. }) {
            Some(Limit::SingleUse)
        } else if matches!(self, Self::TooManyWaiting) {
            Some(Limit::Waiting)
        } else if matches!(self, Self::TooLarge { .. }) {
            Some(Limit::Body)
        } else {
            None
        }
    }

    /// Whole seconds after which to try again, if known: at least 1, and never shortened, since every earlier try
    /// fails.
    pub fn retry_after(&self) -> Option<u64> {
        if let Self::Busy { after, .. } | Self::RateLimited { after, .. } = self {
            return Some(seconds_up(*after));
        }
        let passes = matches!(self, Self::TooManyWaiting | Self::Contended | Self::Unavailable { .. } | Self::Stopping);
        passes.then_some(1)
    }
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [Self; 10] = [
        Self::InvalidArgument,
        Self::Unauthenticated,
        Self::PermissionDenied,
        Self::NotFound,
        Self::WrongOrigin,
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

    /// The outcome in the audit log.
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::InvalidArgument => Outcome::InvalidArgument,
            Self::Unauthenticated => Outcome::Unauthenticated,
            Self::PermissionDenied => Outcome::PermissionDenied,
            Self::NotFound => Outcome::NotFound,
            Self::WrongOrigin => Outcome::WrongOrigin,
            Self::Busy => Outcome::Busy,
            Self::TooLarge => Outcome::TooLarge,
            Self::RateLimited => Outcome::RateLimited,
            Self::Unavailable => Outcome::Unavailable,
            Self::Internal => Outcome::Internal,
        }
    }
}

/// Origins, as a list in a sentence.
fn listed(origins: &[Origin]) -> String {
    origins.iter().map(Origin::to_string).collect::<Vec<_>>().join(", ")
}

/// A text in parentheses, or nothing.
fn in_brackets(aside: Option<&str>) -> String {
    aside.map(|aside| format!(" ({aside})")).unwrap_or_default()
}

/// The remedy for something that does not exist. Enrolments are not listed.
fn where_to_find(what: &str) -> &'static str {
    match what {
        "enrolment" => "it ended more than a day ago, or another caller began it: begin a new one",
        "token" => "it expired or was revoked, or another key made it",
        _ => "list what exists to find its id",
    }
}

/// Whole seconds, rounded up, at least one.
fn seconds_up(span: Duration) -> u64 {
    span.as_micros().div_ceil(1_000_000).try_into().unwrap_or(u64::MAX).max(1)
}
