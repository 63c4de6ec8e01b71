//! A stored secret, as a caller may see it: everything but the seed.

use super::{
    ids::SecretId,
    origin::Origin,
    text::ShownText,
    time::Timestamp,
    totp::{Period, TotpParameters},
};

/// The stored data of a secret besides its seed. Both are sealed, separately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretMetadata {
    /// Its label, for people.
    pub label: ShownText,
    /// The service that issued it.
    pub issuer: Option<ShownText>,
    /// The parameters of its codes.
    pub totp: TotpParameters,
    /// How its codes may be given (our extension of the mirrored API).
    pub usage: SecretUse,
    /// The web origins that its codes may be typed into; if empty, any origin that a person confirms.
    pub origins: Vec<Origin>,
}

/// How the codes of a secret may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SecretUse {
    /// As the mirrored API gives them: callers share the current one.
    #[default]
    Plain,
    /// Each to one caller only, whatever the call asks for.
    SingleUse,
    /// Never to a caller: each code is typed into a page, once.
    FillOnly,
}

impl SecretUse {
    /// The word that metadata keeps. It never changes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::SingleUse => "single_use",
            Self::FillOnly => "fill_only",
        }
    }

    /// Reads the word back.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Plain, Self::SingleUse, Self::FillOnly].into_iter().find(|usage| usage.as_str() == word)
    }

    /// Makes a use from the `single_use` of a call or URI.
    pub const fn of_single_use(single_use: bool) -> Self {
        if single_use { Self::SingleUse } else { Self::Plain }
    }

    /// Whether a code goes to one caller only.
    pub const fn single_use(self) -> bool {
        matches!(self, Self::SingleUse | Self::FillOnly)
    }
}

impl SecretMetadata {
    /// Whether every call for it is single-use.
    pub const fn single_use(&self) -> bool {
        self.usage.single_use()
    }
}

/// The part of the metadata that decides how a code is made and given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeTerms {
    /// The parameters of the codes.
    pub totp: TotpParameters,
    /// How they may be given.
    pub usage: SecretUse,
}

/// A secret of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TotpSecret {
    /// Its identity, independent of the label.
    pub id: SecretId,
    /// When it was registered, in whole milliseconds.
    pub created_at: Timestamp,
    /// When a new code of it was last handed out (at most once a time step).
    pub last_used_at: Option<Timestamp>,
    /// When it was deleted, for the person who may still restore it.
    pub deleted_at: Option<Timestamp>,
    /// Its metadata.
    pub metadata: SecretMetadata,
}

impl TotpSecret {
    /// The period of its codes.
    pub const fn period(&self) -> Period {
        self.metadata.totp.period
    }
}
