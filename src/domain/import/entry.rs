//! One entry of an imported file: its place, its contents, and whether it is kept or skipped.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use super::note::Note;
use super::{
    ends,
    naming::{named, title_of},
};
use crate::domain::{
    otpauth::{OtpAuthError, Repair, STEAM},
    seed::{Seed, SeedError, Seeds},
    text::ShownText,
    totp::{Algorithm, Digits, Period, TotpParameters},
};

/// An entry of a file.
pub struct Entry {
    /// Its place in the file.
    pub place: Place,
    /// Its name in the file, for messages about it.
    pub title: Option<ShownText>,
    /// The secret, or the reason for skipping the entry.
    pub read: Result<ImportedSecret, Skip>,
}

/// The place of an entry in its file, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A line of text.
    Line(usize),
    /// An entry of a list.
    Entry(usize),
    /// An entry of a link that holds several.
    Inside {
        /// The link's line.
        line: usize,
        /// The entry in the link.
        entry: usize,
    },
}

/// A secret that a file holds. No `Debug`: it holds the seed.
pub struct ImportedSecret {
    /// The account.
    pub label: ShownText,
    /// The service.
    pub issuer: Option<ShownText>,
    /// The parameters of its codes.
    pub totp: TotpParameters,
    /// The seed.
    pub seed: Seed,
    /// Whether each of its codes goes to one caller only.
    pub single_use: bool,
    /// The repairs and the doubts.
    pub notes: Vec<Note>,
}

/// Why an entry is skipped. It never quotes the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Skip {
    /// Its codes are of a kind that is not supported.
    #[error("{0} codes are not supported; only time-based (totp) ones are")]
    Kind(&'static str),
    /// Its type is unknown.
    #[error("its type is unknown")]
    UnknownKind,
    /// A hash function that is not supported.
    #[error("its hash function {0} is not supported; only SHA1, SHA256 and SHA512 are")]
    Hash(&'static str),
    /// An unknown hash function.
    #[error("its hash function is not SHA1, SHA256 or SHA512, or is not written like these")]
    UnknownHash,
    /// Neither 6 nor 8 digits.
    #[error("its codes don't have 6 or 8 digits, or the number can't be read")]
    Digits,
    /// A period outside the bounds.
    #[error("its period is not 1 to 3600 seconds, or can't be read")]
    Period,
    /// No seed.
    #[error("it has no secret")]
    NoSeed,
    /// The seed is invalid.
    #[error("its secret {0}")]
    Seed(SeedError),
    /// Its link can't be read.
    #[error("the link {0}")]
    Link(OtpAuthError),
    /// A seed beside a link, without a name or settings of its own.
    #[error("it is a bare key beside links; add it with `countersign secret add`")]
    Bare,
    /// A damaged link of Google Authenticator.
    #[error("its data can't be read: it was cut off, or something was added; how many accounts it holds is unknown")]
    Migration,
    /// The file marks it as deleted.
    #[error("it is in the app's trash")]
    Trashed,
    /// A link in a comment.
    #[error("it is commented out")]
    Comment,
    /// The file ends in its row.
    #[error("its row was cut off where the file ends")]
    CutOff,
    /// The entry itself is encrypted.
    #[error("it is encrypted; export without a password")]
    Encrypted,
    /// A field stands twice in it.
    #[error("it names a field twice")]
    Repeated,
    /// A field of our own format has the wrong type.
    #[error("its field `{0}` has the wrong type")]
    Field(&'static str),
    /// A field that a registration doesn't have.
    #[error(
        "it has a field that a registration does not have; the fields are `uri`, or `label`, `secret`, `issuer`, \
         `algorithm`, `digits` and `period`, and `single_use`"
    )]
    UnknownField,
    /// A row of a table with more cells than its head.
    #[error("its row has more cells than the head; put the value that has the separator in it into quotes")]
    Wide,
    /// A text that looks like a key, in a column or a field that is not read.
    #[error("a column or field that is not read has what looks like a key; call it `totp`")]
    Elsewhere,
    /// The same, in the column of this number.
    #[error("a column or field that is not read has what looks like a key: column {0}; call it `totp`")]
    Column(usize),
    /// A key where another cell belongs.
    #[error("what looks like a key stands where its row has a name: a cell is missing, or there is one too many")]
    Slipped,
    /// Not an entry of this format at all.
    #[error("it is not an entry of this format")]
    Shape,
}

/// The kind of codes, as files name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Time-based.
    Totp,
    /// Known and not supported.
    Other(&'static str),
    /// Unknown.
    Unknown,
}

/// A seed as a file has it.
pub(super) enum Key<'a> {
    /// Base32.
    Text(&'a str),
    /// The bytes themselves.
    Bytes(Zeroizing<Vec<u8>>),
}

/// A number as a file has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Number {
    /// Left out, or null.
    #[default]
    Absent,
    /// A whole number.
    Is(u64),
    /// Something else.
    Wrong,
}

/// The values that a file has for one secret, not yet checked.
pub(super) struct RawEntry<'a> {
    pub(super) kind: Kind,
    pub(super) issuer: &'a str,
    pub(super) account: &'a str,
    pub(super) key: Key<'a>,
    /// Empty if the file does not give it.
    pub(super) algorithm: &'a str,
    pub(super) digits: Number,
    pub(super) period: Number,
}

impl Place {
    /// The nth entry, counted from 0.
    pub(super) const fn nth(index: usize) -> Self {
        Self::Entry(index + 1)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Entry(entry) => write!(f, "entry {entry}"),
            Self::Inside { line, entry } => write!(f, "line {line}, account {entry}"),
        }
    }
}

impl Kind {
    /// Reads a type's name in any spelling that apps use; empty means time-based.
    pub(super) fn of_word(word: &str) -> Self {
        match word.trim().to_ascii_lowercase().as_str() {
            "" | "totp" => Self::Totp,
            "hotp" => Self::HOTP,
            "steam" | "steamtotp" => Self::STEAM,
            "motp" => Self::MOTP,
            "yandex" | "yaotp" => Self::YANDEX,
            "battle" => Self::Other("Battle.net"),
            _ => Self::Unknown,
        }
    }

    pub(super) const HOTP: Self = Self::Other("counter-based (hotp)");
    pub(super) const STEAM: Self = Self::Other(STEAM);
    pub(super) const MOTP: Self = Self::Other("mOTP");
    pub(super) const YANDEX: Self = Self::Other("Yandex");

    pub(super) const fn check(self) -> Result<(), Skip> {
        match self {
            Self::Totp => Ok(()),
            Self::Other(name) => Err(Skip::Kind(name)),
            Self::Unknown => Err(Skip::UnknownKind),
        }
    }
}

impl Skip {
    pub(super) const STEAM: Self = Self::Kind(STEAM);
}

impl Number {
    /// Counts a zero as absent: the app writes it where it has no value.
    pub(super) const fn unless_zero(self) -> Self {
        if matches!(self, Self::Is(0)) { Self::Absent } else { self }
    }

    pub(super) fn read<T: TryFrom<u64> + Default>(self, otherwise: Skip) -> Result<T, Skip> {
        match self {
            Self::Absent => Ok(T::default()),
            Self::Is(number) => T::try_from(number).map_err(|_| otherwise),
            Self::Wrong => Err(otherwise),
        }
    }
}

impl<'a> RawEntry<'a> {
    /// A time-based secret with the usual parameters.
    pub(super) const fn plain(issuer: &'a str, account: &'a str, secret: &'a str) -> Self {
        Self {
            kind: Kind::Totp,
            issuer,
            account,
            key: Key::Text(secret),
            algorithm: "",
            digits: Number::Absent,
            period: Number::Absent,
        }
    }

    /// Checks the values, and makes an entry of them.
    pub(super) fn entry(self, place: Place) -> Entry {
        let (issuer, account) = (self.issuer, self.account);
        let read = self.found();
        Entry { place, title: title_of(&read, issuer, account), read }
    }

    fn found(self) -> Result<ImportedSecret, Skip> {
        self.kind.check()?;
        let is_steam = self.issuer.trim().eq_ignore_ascii_case(STEAM);
        // Steam's codes have five characters.
        if self.digits == Number::Is(5) && is_steam {
            return Err(Skip::STEAM);
        }
        let (seed, note) = match self.key {
            Key::Text(text) if text.trim().is_empty() => return Err(Skip::NoSeed),
            Key::Text(text) => {
                let (seed, note) = match Seeds::of(text) {
                    Seeds::One => ends::seed(text.trim()),
                    Seeds::PerhapsTwo => (text, Some(Note::Link(Repair::PerhapsTwo))),
                    Seeds::Several => return Err(Skip::Seed(SeedError::Several)),
                };
                (Seed::from_base32(seed), note)
            }
            Key::Bytes(bytes) if bytes.is_empty() => return Err(Skip::NoSeed),
            Key::Bytes(bytes) => (Seed::from_bytes(bytes), None),
        };
        let totp = TotpParameters {
            algorithm: algorithm(self.algorithm)?,
            digits: self.digits.read::<Digits>(Skip::Digits)?,
            period: self.period.read::<Period>(Skip::Period)?,
        };
        let mut found = named(self.issuer, self.account, totp, seed.map_err(Skip::Seed)?);
        let says_digits = self.digits != Number::Absent;
        let doubts = Repair::of_seed(&found.seed).into_iter().chain(Repair::of_issuer(self.issuer, says_digits));
        found.notes.extend(doubts.map(Note::Link).chain(note));
        Ok(found)
    }
}

impl Entry {
    /// An entry that is skipped.
    pub(super) fn skipped(place: Place, title: Option<ShownText>, why: Skip) -> Self {
        Self { place, title, read: Err(why) }
    }
}

/// The hash function of this name; the usual one if it is empty.
pub(super) fn algorithm(text: &str) -> Result<Algorithm, Skip> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(Algorithm::default());
    }
    let known = text.parse::<Algorithm>();
    known.map_err(|_| match text.to_ascii_uppercase().as_str() {
        "MD5" | "HMACMD5" => Skip::Hash("MD5"),
        "SHA224" | "HMACSHA224" | "SHA-224" => Skip::Hash("SHA224"),
        "SHA384" | "HMACSHA384" | "SHA-384" => Skip::Hash("SHA384"),
        _ => Skip::UnknownHash,
    })
}
