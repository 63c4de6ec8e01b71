//! Codes: RFC 6238 over `totp-rs`, with every parameter a type that can't be wrong.

use std::{fmt, num::NonZeroU32, str::FromStr};

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{limits::PERIOD_SECONDS_MAX, seed::Seed, time::Timestamp};

/// The HMAC's hash function (RFC 6238 §1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Algorithm {
    /// HMAC-SHA-1, what nearly every service uses.
    #[default]
    Sha1,
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-512.
    Sha512,
}

/// How many digits a code has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Digits {
    /// Six, the default.
    #[default]
    Six,
    /// Eight.
    Eight,
}

/// How many seconds a code lives: 1..=3600.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Period(NonZeroU32);

/// What a code is made with, apart from the seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TotpParameters {
    /// The hash function.
    pub algorithm: Algorithm,
    /// The number of digits.
    pub digits: Digits,
    /// The seconds a code lives.
    pub period: Period,
}

/// The number of a time step: seconds since 1970 divided by the period (RFC 6238 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Step(pub u64);

/// A value that is none of the accepted ones; the caller names the field and the accepted values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an accepted value")]
pub struct NotAccepted;

/// A code. Wiped on drop, and without `Debug`: it opens an account for as long as it lives.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Code(String);

impl Algorithm {
    /// The mirrored API's spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
        }
    }

    /// Bytes of a generated seed: 160 bits for each, as the contract says.
    pub const GENERATED_SEED_BYTES: usize = 20;
}

/// Reads the spellings that services use: `SHA1`, `sha-256`, `HMAC-SHA512`, `HmacSHA1`.
impl FromStr for Algorithm {
    type Err = NotAccepted;

    fn from_str(text: &str) -> Result<Self, NotAccepted> {
        if text.len() > 16 {
            return Err(NotAccepted);
        }
        let plain: String = text.chars().filter(|c| !matches!(c, '-' | '_')).map(|c| c.to_ascii_uppercase()).collect();
        match plain.strip_prefix("HMAC").unwrap_or(&plain) {
            "SHA1" => Ok(Self::Sha1),
            "SHA256" => Ok(Self::Sha256),
            "SHA512" => Ok(Self::Sha512),
            _ => Err(NotAccepted),
        }
    }
}

impl Digits {
    /// The number itself.
    pub const fn get(self) -> u8 {
        match self {
            Self::Six => 6,
            Self::Eight => 8,
        }
    }
}

impl TryFrom<u64> for Digits {
    type Error = NotAccepted;

    fn try_from(count: u64) -> Result<Self, NotAccepted> {
        match count {
            6 => Ok(Self::Six),
            8 => Ok(Self::Eight),
            _ => Err(NotAccepted),
        }
    }
}

impl Period {
    /// Seconds.
    pub const fn seconds(self) -> u32 {
        self.0.get()
    }
}

impl Default for Period {
    fn default() -> Self {
        const { Self(NonZeroU32::new(30).unwrap()) }
    }
}

impl TryFrom<u64> for Period {
    type Error = NotAccepted;

    fn try_from(seconds: u64) -> Result<Self, NotAccepted> {
        u32::try_from(seconds)
            .ok()
            .filter(|seconds| *seconds <= PERIOD_SECONDS_MAX)
            .and_then(NonZeroU32::new)
            .map(Self)
            .ok_or(NotAccepted)
    }
}

impl TotpParameters {
    /// The step that `now` lies in. Before 1970 it is step 0: a wrong clock gives wrong codes, never a panic.
    pub fn step_at(&self, now: Timestamp) -> Step {
        Step(u64::try_from(now.seconds()).unwrap_or(0) / u64::from(self.period.seconds()))
    }

    /// When a step begins.
    pub fn start_of(&self, step: Step) -> Timestamp {
        let seconds = step.0.saturating_mul(u64::from(self.period.seconds()));
        Timestamp::from_seconds(i64::try_from(seconds).unwrap_or(i64::MAX))
    }

    /// Whole seconds until the code of `now` rotates: 1..=period.
    pub fn expires_in(&self, now: Timestamp) -> u32 {
        let period = i64::from(self.period.seconds());
        u32::try_from(period - now.seconds().rem_euclid(period)).unwrap_or(1)
    }

    /// The code of a step.
    pub fn code_at(&self, seed: &Seed, step: Step) -> Code {
        let algorithm = match self.algorithm {
            Algorithm::Sha1 => totp_rs::Algorithm::SHA1,
            Algorithm::Sha256 => totp_rs::Algorithm::SHA256,
            Algorithm::Sha512 => totp_rs::Algorithm::SHA512,
        };
        // Real services issue 80-bit seeds, below the 128 bits that RFC 4226 asks for and that `build` insists on.
        let totp = totp_rs::Builder::new()
            .with_algorithm(algorithm)
            .with_digits(self.digits.get())
            .with_step_duration(1)
            .with_secret(seed.expose())
            .build_noncompliant();
        Code(totp.generate(step.0).to_string())
    }
}

impl Code {
    /// The digits, leading zeros kept. Search for `digits()` to find everybody who shows one.
    pub fn digits(&self) -> &str {
        &self.0
    }

    /// Whether this is the code that somebody typed, in time that does not depend on where they differ.
    pub fn matches(&self, typed: &str) -> bool {
        self.0.as_bytes().ct_eq(typed.as_bytes()).into()
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
