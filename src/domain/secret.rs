//! A stored secret, as a caller may see it: everything but the seed.

use super::{
    ids::SecretId,
    text::ShownText,
    time::Timestamp,
    totp::{Algorithm, Digits, Period, TotpParameters},
};

/// What is known of a secret apart from its seed. It is sealed at rest, apart from the seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretMetadata {
    /// What people call it.
    pub label: ShownText,
    /// The service that issued it.
    pub issuer: Option<ShownText>,
    /// How its codes are made.
    pub totp: TotpParameters,
    /// Whether every call for it is single-use (ours, beside the mirrored API).
    pub single_use: bool,
}

/// The part of the metadata that decides how a code is made and given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeTerms {
    /// How codes are made.
    pub totp: TotpParameters,
    /// Whether every call is single-use.
    pub single_use: bool,
}

/// A secret of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TotpSecret {
    /// Its identity: never the label.
    pub id: SecretId,
    /// When it was registered, in whole milliseconds.
    pub created_at: Timestamp,
    /// When a new code of it was last handed out (once a time step).
    pub last_used_at: Option<Timestamp>,
    /// When it was deleted, for the person who may still restore it.
    pub deleted_at: Option<Timestamp>,
    /// The rest.
    pub metadata: SecretMetadata,
}

impl TotpSecret {
    /// The hash function of its codes.
    pub const fn algorithm(&self) -> Algorithm {
        self.metadata.totp.algorithm
    }

    /// The number of digits of its codes.
    pub const fn digits(&self) -> Digits {
        self.metadata.totp.digits
    }

    /// How long its codes live.
    pub const fn period(&self) -> Period {
        self.metadata.totp.period
    }
}
