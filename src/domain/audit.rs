//! What an audit row can say. By type, its fields can't hold a seed, a code, a URI, a key, a label or an e-mail
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
    /// A person whom an identity provider authenticated.
    Login,
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
    /// What was done, or asked for.
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
        /// A code that somebody typed was checked.
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
        /// Nobody answered in time.
        EnrolExpire = "enrol.expire",
        /// A call outside the caller's rights, or of an unknown operation.
        Call = "call",
        /// The audit log was pruned.
        AuditPrune = "trail.prune",
        /// Damaged rows of the audit log were fenced off: the row stands in their place.
        AuditFence = "audit.fence",
        /// The vault was made.
        VaultCreate = "vault.create",
        /// The vault was moved to a newer format.
        VaultMigrate = "vault.migrate",
        /// A backup of the vault was made.
        VaultBackup = "vault.backup",
        /// A person accepted an older copy of the vault.
        VaultAcceptLoss = "vault.accept_loss",
        /// The damaged vault was repaired; with a subject, that was restored or removed.
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
    /// How it ended. Refusals use the contract's error codes.
    Outcome {
        /// It was done.
        Ok = "ok",
        /// A code that was checked was wrong, or used already.
        Wrong = "wrong",
        /// Malformed or out of range.
        InvalidArgument = "invalid_argument",
        /// No key or a wrong one.
        Unauthenticated = "unauthenticated",
        /// Not within the caller's rights.
        PermissionDenied = "permission_denied",
        /// No such thing for this caller.
        NotFound = "not_found",
        /// No unused code in time.
        Busy = "busy",
        /// Too big.
        TooLarge = "too_large",
        /// Too often.
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
    /// When.
    pub at: Timestamp,
    /// In which account, if that is known.
    pub account: Option<AccountId>,
    /// Who.
    pub actor: Actor,
    /// For whom.
    pub seat: Option<SeatId>,
    /// What.
    pub action: Action,
    /// How it ended.
    pub outcome: Outcome,
    /// On which secret.
    pub secret: Option<SecretId>,
    /// On which key, where a key was made or revoked, or a wrong secret was given for one.
    pub key: Option<KeyId>,
    /// Which time step's code.
    pub step: Option<Step>,
    /// A keyed hash of the code, so that "did this code come from us" has an answer without keeping codes.
    pub code_tag: Option<[u8; 16]>,
    /// Why, as the caller claims.
    pub purpose: Option<Purpose>,
    /// How many like it, for the rows that count: refusals left out, rows pruned.
    pub count: Option<u64>,
    /// What the client says about itself.
    pub client: Client,
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
    /// The keyed hash over it and the row before it.
    pub mac: [u8; 32],
}

/// Where a chain ends: the number and the MAC of its last row. Kept outside, it is an anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainHead {
    /// The chain.
    pub chain: u32,
    /// Number of the last row; 0 before the first.
    pub seq: u64,
    /// Its hash; zeros before the first.
    pub mac: [u8; 32],
}

/// Which audit rows to read.
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
        }
    }

    /// The bytes under the MAC of a row in a chain (format 2): as [`Self::canonical_v1`], but with the chain and under
    /// another name.
    pub fn canonical(&self, chain: u32, seq: u64) -> Vec<u8> {
        self.under_mac(b"countersign/v2/audit", Some(chain), seq)
    }

    /// The bytes under the MAC of a row that a vault of format 1 wrote.
    pub fn canonical_v1(&self, seq: u64) -> Vec<u8> {
        self.under_mac(b"countersign/v1/trail", None, seq)
    }

    /// Every field, length-prefixed.
    fn under_mac(&self, name: &[u8], chain: Option<u32>, seq: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        let mut field = |bytes: &[u8]| {
            out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
            out.extend_from_slice(bytes);
        };
        field(name);
        if let Some(chain) = chain {
            field(&chain.to_be_bytes());
        }
        field(&seq.to_be_bytes());
        self.fields(field);
        out
    }

    /// Passes on the bytes of every field, in this order for ever: that of the MAC and of the stored row.
    pub fn fields(&self, mut field: impl FnMut(&[u8])) {
        let Self { at, account, actor, seat, action, outcome, secret, key, step, code_tag, purpose, count, client } =
            self;
        field(&at.micros().to_be_bytes());
        field(account.as_ref().map_or(&[], |id| id.as_bytes()));
        field(actor.kind().as_bytes());
        field(actor.key().as_ref().map_or("", KeyId::as_str).as_bytes());
        field(seat.as_ref().map_or(&[], |id| id.as_bytes()));
        field(action.as_str().as_bytes());
        field(outcome.as_str().as_bytes());
        field(secret.as_ref().map_or(&[], |id| id.as_bytes()));
        field(key.as_ref().map_or("", KeyId::as_str).as_bytes());
        field(step.map(|step| step.0.to_be_bytes()).as_ref().map_or(&[], |bytes| bytes));
        field(code_tag.as_ref().map_or(&[], |tag| tag));
        field(purpose.as_ref().map_or("", Purpose::as_str).as_bytes());
        field(count.map(u64::to_be_bytes).as_ref().map_or(&[], |bytes| bytes));
        field(client.name.as_str().as_bytes());
        field(client.version.as_str().as_bytes());
    }
}

impl Actor {
    /// The word that the audit log keeps.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Person => "cli",
            Self::Stdio => "stdio",
            Self::Key(_) => "key",
            Self::Login => "oauth",
            Self::Page => "page",
            Self::System => "system",
            Self::Unknown => "unknown",
        }
    }

    /// The key, if it is one.
    pub const fn key(self) -> Option<KeyId> {
        match self {
            Self::Key(id) => Some(id),
            Self::Person | Self::Stdio | Self::Login | Self::Page | Self::System | Self::Unknown => None,
        }
    }

    /// Reads the word, and the key beside it, back.
    pub fn from_word(word: &str, key: Option<KeyId>) -> Option<Self> {
        let keyless = [Self::Person, Self::Stdio, Self::Login, Self::Page, Self::System, Self::Unknown];
        keyless.into_iter().chain(key.map(Self::Key)).find(|actor| actor.kind() == word)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use uuid::Uuid;

    use super::*;
    use crate::domain::text::Claim;

    fn key() -> KeyId {
        "0123456789AB".parse().unwrap()
    }

    fn bare() -> AuditEntry {
        AuditEntry::by(Actor::Unknown, Action::Call, Timestamp::from_micros(1))
    }

    /// A row with something in every field.
    fn full() -> AuditEntry {
        AuditEntry {
            at: Timestamp::from_micros(1_795_336_200_123_456),
            account: Some(AccountId::new(Uuid::from_u128(1))),
            actor: Actor::Key(key()),
            seat: Some(SeatId::new(Uuid::from_u128(2))),
            action: Action::CodeGet,
            outcome: Outcome::Ok,
            secret: Some(SecretId::new(Uuid::from_u128(3))),
            key: Some(key()),
            step: Some(Step(4)),
            code_tag: Some([5; 16]),
            purpose: Some(Purpose::of("nightly release").unwrap()),
            count: Some(6),
            client: Client { name: Claim::of("agent"), version: Claim::of("1.0") },
        }
    }

    /// Fields with their lengths before them.
    fn prefixed(fields: &[&[u8]]) -> Vec<u8> {
        fields.iter().flat_map(|field| [&u32::try_from(field.len()).unwrap().to_be_bytes(), *field].concat()).collect()
    }

    #[test]
    fn the_bytes_that_are_hashed_never_change() {
        let id = |last: u8| [&[0; 15][..], &[last]].concat();
        let number = |last: u8| [&[0; 7][..], &[last]].concat();
        let at = 1_795_336_200_123_456_i64.to_be_bytes();
        let (trail, audit): (&[u8], &[u8]) = (b"countersign/v1/trail", b"countersign/v2/audit");
        let (one, two, three, four, six, nine) = (id(1), id(2), id(3), number(4), number(6), number(9));
        let rest: [&[u8]; 15] = [
            &at,
            &one,
            b"key",
            b"0123456789AB",
            &two,
            b"code.get",
            b"ok",
            &three,
            b"0123456789AB",
            &four,
            &[5; 16],
            b"nightly release",
            &six,
            b"agent",
            b"1.0",
        ];
        assert_eq!(full().canonical_v1(9), prefixed(&[&[trail, &nine], &rest[..]].concat()));
        assert_eq!(full().canonical(7, 9), prefixed(&[&[audit, &[0, 0, 0, 7], &nine], &rest[..]].concat()));

        let (first, early) = (number(1), 1_i64.to_be_bytes());
        let expected = prefixed(&[
            trail, &first, &early, b"", b"unknown", b"", b"", b"call", b"ok", b"", b"", b"", b"", b"", b"", b"", b"",
        ]);
        assert_eq!(bare().canonical_v1(1), expected);
    }

    #[test]
    fn every_field_changes_the_bytes() {
        let bare = bare();
        let full = full();
        let client = |client: Client| AuditEntry { client, ..bare.clone() };
        let rows = [
            bare.clone(),
            AuditEntry { at: full.at, ..bare.clone() },
            AuditEntry { account: full.account, ..bare.clone() },
            AuditEntry { actor: Actor::Person, ..bare.clone() },
            AuditEntry { actor: full.actor, ..bare.clone() },
            AuditEntry { seat: full.seat, ..bare.clone() },
            AuditEntry { action: full.action, ..bare.clone() },
            AuditEntry { outcome: Outcome::Wrong, ..bare.clone() },
            AuditEntry { secret: full.secret, ..bare.clone() },
            AuditEntry { key: full.key, ..bare.clone() },
            AuditEntry { step: full.step, ..bare.clone() },
            AuditEntry { code_tag: full.code_tag, ..bare.clone() },
            AuditEntry { purpose: full.purpose.clone(), ..bare.clone() },
            AuditEntry { count: Some(4), ..bare.clone() },
            client(Client { name: Claim::of("x"), ..Client::default() }),
            client(Client { version: Claim::of("x"), ..Client::default() }),
            full,
        ];
        let bytes: BTreeSet<Vec<u8>> = rows.iter().map(|row| row.canonical(0, 1)).collect();
        assert_eq!(bytes.len(), rows.len());
        assert_ne!(bare.canonical(0, 1), bare.canonical(0, 2));
        assert_ne!(bare.canonical(0, 1), bare.canonical(1, 1));
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
