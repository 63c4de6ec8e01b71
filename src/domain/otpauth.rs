//! `otpauth://` URIs: read strictly where safety asks for it, leniently where real services differ; and written back.

use super::{
    seed::{Seed, SeedError},
    text::{ShownText, TextError},
    totp::TotpParameters,
};

/// What a URI holds.
pub struct OtpAuth {
    /// The decoded label without an issuer prefix.
    pub label: ShownText,
    /// The issuer: the query's, else the label's prefix.
    pub issuer: Option<ShownText>,
    /// How its codes are made.
    pub totp: TotpParameters,
    /// The seed.
    pub seed: Seed,
}

/// Why a URI is refused. It never quotes the URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OtpAuthError {
    /// Longer than any URI of this kind.
    #[error("is too long")]
    TooLong,
    /// Not `otpauth://totp/…`.
    #[error("is not an otpauth://totp/ URI")]
    NotOtpAuth,
    /// `otpauth://hotp/…`: counter-based codes are not kept here.
    #[error("is a counter-based (hotp) secret; only time-based (totp) ones are supported")]
    Hotp,
    /// A percent sign without two hexadecimal digits, or bytes that are not UTF-8.
    #[error("has a broken percent-encoding")]
    Encoding,
    /// The same parameter twice.
    #[error("has the parameter `{0}` twice")]
    Twice(&'static str),
    /// No `secret`.
    #[error("has no secret")]
    NoSecret,
    /// The seed is no seed.
    #[error("has a secret that {0}")]
    Seed(SeedError),
    /// The label can't be shown or is missing.
    #[error("has a label that {0}")]
    Label(TextError),
    /// The issuer can't be shown.
    #[error("has an issuer that {0}")]
    Issuer(TextError),
    /// Not one of the hash functions.
    #[error("has an algorithm that is not SHA1, SHA256 or SHA512")]
    Algorithm,
    /// Neither 6 nor 8.
    #[error("has digits that are not 6 or 8")]
    Digits,
    /// Outside 1..=3600.
    #[error("has a period that is not 1 to 3600 seconds")]
    Period,
}
