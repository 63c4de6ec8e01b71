//! The contents of an audit row. By type, its fields can't hold a seed, a code, a URI, a key, a label or an e-mail
//! address.

use std::{fmt, str::FromStr};

use super::{
    api_key::KeyId,
    ids::{AccountId, SeatId, SecretId},
    principal::{Client, Principal},
    text::Purpose,
    time::Timestamp,
    totp::Step,
};

/// The actor of an audit row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Actor {
    /// A person at the command line.
    Person,
    /// The host of a stdio sidecar.
    Stdio,
    /// The holder of an API key.
    Key(KeyId),
    /// The holder of a short-lived token that was made from this key.
    Token(KeyId),
    /// A person whom an identity provider authenticated.
    Login,
    /// A program that called a webhook with a signed request.
    Hook,
    /// A person on the page of an enrolment, who proved who they are.
    Page,
    /// Countersign itself: pruning, erasing what was deleted, counting refusals.
    System,
    /// A caller who could not be authenticated.
    Unknown,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),* }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word that the audit log keeps. It never changes: old rows are read with it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// Reads the word back.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

words!(
    /// The action that was done or requested.
    Action {
        /// A secret was registered.
        SecretRegister = "secret.register",
        /// A secret was changed.
        SecretUpdate = "secret.update",
        /// A secret was deleted; a person may restore it for a while.
        SecretDelete = "secret.delete",
        /// A secret was erased for good.
        SecretErase = "secret.erase",
        /// A deleted secret was brought back.
        SecretRestore = "secret.restore",
        /// Seeds were exported by a person.
        SecretExport = "secret.export",
        /// The step marks of a secret were reset by a person.
        SecretResetSteps = "secret.reset_steps",
        /// A code was handed out.
        CodeGet = "code.get",
        /// A time step was reserved for one caller.
        CodeReserve = "code.reserve",
        /// A reservation was given back unused.
        CodeRelease = "code.release",
        /// A code was typed into a page.
        CodeFill = "code.fill",
        /// A decoy was handed out, which stands for a code.
        CodeDecoy = "code.decoy",
        /// A typed code was checked.
        CodeVerify = "code.verify",
        /// A seat was added.
        SeatAdd = "seat.add",
        /// A seat was changed.
        SeatUpdate = "seat.update",
        /// A seat was removed.
        SeatRemove = "seat.remove",
        /// A key was made.
        KeyCreate = "key.create",
        /// A key was revoked.
        KeyRevoke = "key.revoke",
        /// A key that was off was enabled.
        KeyEnable = "key.enable",
        /// A short-lived token was made from a key.
        TokenCreate = "token.create",
        /// A token was revoked.
        TokenRevoke = "token.revoke",
        /// An account was added.
        AccountAdd = "account.add",
        /// An account was removed.
        AccountRemove = "account.remove",
        /// Authentication failed.
        Authenticate = "authenticate",
        /// A person was asked for a secret.
        EnrolBegin = "enrol.begin",
        /// The person proved who they are, or failed to.
        EnrolProve = "enrol.prove",
        /// The person, proved, saw the request for the first time.
        EnrolOpen = "enrol.open",
        /// The person added the secret; its registration has a row of its own.
        EnrolStore = "enrol.store",
        /// The person declined.
        EnrolDecline = "enrol.decline",
        /// Too many wrong proofs, or the agent's user, ended it.
        EnrolCancel = "enrol.cancel",
        /// The person did not answer in time.
        EnrolExpire = "enrol.expire",
        /// A call outside the caller's rights, or of an unknown operation.
        Call = "call",
        /// The audit log was pruned.
        AuditPrune = "trail.prune",
        /// Damaged rows of the audit log were fenced off: the row stands in their place.
        AuditFence = "audit.fence",
        /// A node recorded the ends of the other nodes' chains.
        AuditKnot = "audit.knot",
        /// A certificate authority of the guard was made.
        GuardAuthority = "guard.authority",
        /// The vault was made.
        VaultCreate = "vault.create",
        /// The vault was moved to a newer format.
        VaultMigrate = "vault.migrate",
        /// The vault was moved to another place.
        VaultMove = "vault.move",
        /// A backup of the vault was made.
        VaultBackup = "vault.backup",
        /// A person accepted an older copy of the vault.
        VaultAcceptLoss = "vault.accept_loss",
        /// The damaged vault was repaired; the row's subject, if it has one, was restored or removed.
        VaultRepair = "vault.repair",
        /// A way to open the vault was added.
        VaultKeyAdd = "vault.key_add",
        /// A way to open the vault was removed.
        VaultKeyRemove = "vault.key_remove",
        /// A way to open the vault got a new key in the place of its old one.
        VaultKeyRotate = "vault.key_rotate",
        /// A new data key was begun.
        VaultRotate = "vault.rotate",
        /// The root key was replaced, and a new data key begun.
        VaultRotateRoot = "vault.rotate_root",
        /// Everything was sealed under the new data key, and the older ones were removed.
        VaultRotated = "vault.rotated",
    }
);

words!(
    /// The outcome of an action. Refusals use the contract's error codes.
    Outcome {
        /// The action was done.
        Ok = "ok",
        /// A code that was checked was wrong, or used already.
        Wrong = "wrong",
        /// Malformed or out of range.
        InvalidArgument = "invalid_argument",
        /// No key or a wrong one.
        Unauthenticated = "unauthenticated",
        /// Not within the caller's rights.
        PermissionDenied = "permission_denied",
        /// The object does not exist for this caller.
        NotFound = "not_found",
        /// No page was at one of the secret's origins, or the page left it; nothing was typed.
        WrongOrigin = "wrong_origin",
        /// No unused code was free in time.
        Busy = "busy",
        /// The request is too large.
        TooLarge = "too_large",
        /// The requests come too often.
        RateLimited = "rate_limited",
        /// The store could not do it.
        Unavailable = "unavailable",
        /// A bug, or a damaged record.
        Internal = "internal",
    }
);

/// One row of the audit log, before it is chained. An operation makes it, and the vault commits it with the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// The time of the event.
    pub at: Timestamp,
    /// The account, if it is known.
    pub account: Option<AccountId>,
    /// The actor.
    pub actor: Actor,
    /// The seat for which it was done.
    pub seat: Option<SeatId>,
    /// The action.
    pub action: Action,
    /// The outcome.
    pub outcome: Outcome,
    /// The secret that it is about.
    pub secret: Option<SecretId>,
    /// The key, where one was made or revoked, a wrong secret was given for one, or a decoy of one was spent.
    pub key: Option<KeyId>,
    /// The time step of the code.
    pub step: Option<Step>,
    /// A keyed hash of the code, which shows whether a code came from this vault without keeping codes.
    pub code_tag: Option<[u8; 16]>,
    /// The purpose that the caller claims.
    pub purpose: Option<Purpose>,
    /// The number of events, in rows that count them: refusals without a row, pruned rows.
    pub count: Option<u64>,
    /// What the client claims about itself.
    pub client: Client,
    /// The last rows of other chains when this row was written: the heads of a knot.
    pub heads: Vec<ChainHead>,
}

/// A stored row of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// The chain that it is in: each node that writes has one of its own.
    pub chain: u32,
    /// Its number in the chain, from 1, without gaps.
    pub seq: u64,
    /// Its contents.
    pub entry: AuditEntry,
    /// The MAC over it and the row before it.
    pub mac: [u8; 32],
}

/// The end of a chain: the number and the MAC of its last row. Kept outside the vault, it is an anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainHead {
    /// The chain.
    pub chain: u32,
    /// Number of the last row; 0 before the first.
    pub seq: u64,
    /// Its MAC; zeros before the first.
    pub mac: [u8; 32],
}

/// Selects audit rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Rows of this account.
    pub account: Option<AccountId>,
    /// Rows for this seat.
    pub seat: Option<SeatId>,
    /// Rows on this secret.
    pub secret: Option<SecretId>,
    /// Rows on any of these secrets: those that exist for a limited reader.
    pub secrets: Option<Vec<SecretId>>,
    /// Rows by or on this key.
    pub key: Option<KeyId>,
    /// Rows of this action.
    pub action: Option<Action>,
    /// Rows from this time on.
    pub since: Option<Timestamp>,
    /// Rows before this time.
    pub until: Option<Timestamp>,
}

/// A place in the audit log, to go on from: the number of a row in each chain that was begun. Opaque to callers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditCursor(pub Vec<(u32, u64)>);

/// The text is not a valid cursor. The error does not hold the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of the audit log")]
pub struct NotACursor;

/// Chains that a cursor may name: more than any cluster has.
const CURSOR_CHAINS_MAX: usize = 1024;

/// `CHAIN.ROW` for each chain, with `-` between them.
impl fmt::Display for AuditCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, (chain, seq)) in self.0.iter().enumerate() {
            write!(f, "{}{chain}.{seq}", if nth > 0 { "-" } else { "" })?;
        }
        Ok(())
    }
}

impl FromStr for AuditCursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Self, NotACursor> {
        let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let place = |text: &str| {
            let (chain, seq) = text.split_once('.').filter(|(chain, seq)| number(chain) && number(seq))?;
            Some((chain.parse().ok()?, seq.parse().ok()?))
        };
        let places = text.split('-').take(CURSOR_CHAINS_MAX + 1).map(place).collect::<Option<Vec<_>>>();
        places.filter(|places| places.len() <= CURSOR_CHAINS_MAX).map(Self).ok_or(NotACursor)
    }
}

impl AuditEntry {
    /// A row about a call by `caller` that went well, to be refined with struct update syntax.
    pub fn of(caller: &Principal, action: Action, at: Timestamp) -> Self {
        Self {
            account: Some(caller.account()),
            actor: caller.actor(),
            seat: caller.seat(),
            client: caller.client().clone(),
            ..Self::by(Actor::Unknown, action, at)
        }
    }

    /// A row about something that no authenticated caller did.
    pub fn by(actor: Actor, action: Action, at: Timestamp) -> Self {
        Self {
            at,
            account: None,
            actor,
            seat: None,
            action,
            outcome: Outcome::Ok,
            secret: None,
            key: None,
            step: None,
            code_tag: None,
            purpose: None,
            count: None,
            client: Client::default(),
            heads: Vec::new(),
        }
    }
}

impl Actor {
    /// The word that the audit log keeps.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Person => "cli",
            Self::Stdio => "stdio",
            Self::Key(_) => "key",
            Self::Token(_) => "token",
            Self::Login => "oauth",
            Self::Hook => "hook",
            Self::Page => "page",
            Self::System => "system",
            Self::Unknown => "unknown",
        }
    }

    /// The key, if it is one, or a token of one.
    pub const fn key(self) -> Option<KeyId> {
        match self {
            Self::Key(id) | Self::Token(id) => Some(id),
            Self::Person | Self::Stdio | Self::Login | Self::Hook | Self::Page | Self::System | Self::Unknown => None,
        }
    }

    /// Reads the word, and the key beside it, back.
    pub fn from_word(word: &str, key: Option<KeyId>) -> Option<Self> {
        let keyless = [Self::Person, Self::Stdio, Self::Login, Self::Hook, Self::Page, Self::System, Self::Unknown];
        let of_key = [key.map(Self::Key), key.map(Self::Token)];
        keyless.into_iter().chain(of_key.into_iter().flatten()).find(|actor| actor.kind() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> KeyId {
        "0123456789AB".parse().unwrap()
    }

    #[test]
    fn a_cursor_is_read_back_and_other_texts_are_none() {
        for text in ["0.1", "0.18446744073709551615-4294967295.0"] {
            assert_eq!(text.parse::<AuditCursor>().unwrap().to_string(), text);
        }
        for text in ["", "1", "0.", ".1", "0.1-", "0.+1", "0.1 ", "-0.1", "4294967296.1", &"0.1-".repeat(2000)] {
            assert_eq!(text.parse::<AuditCursor>(), Err(NotACursor), "{text}");
        }
    }

    #[test]
    fn words_are_read_back_and_no_two_are_the_same() {
        for action in Action::ALL {
            assert_eq!(Action::from_word(action.as_str()), Some(*action));
        }
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::from_word(outcome.as_str()), Some(*outcome));
        }
        for actor in [Actor::Person, Actor::Stdio, Actor::Key(key()), Actor::Login, Actor::System, Actor::Unknown] {
            assert_eq!(Actor::from_word(actor.kind(), actor.key()), Some(actor));
        }
        assert_eq!((Action::from_word("x"), Outcome::from_word(""), Actor::from_word("key", None)), (None, None, None));
    }
}
