//! Splits a URI into its kind, label and query, decoded. A URI from a model is read strictly; one from a person's file
//! or picture leniently, because many programs escape too little or too much.

use std::fmt;

use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use super::{OtpAuthError, push_app, query::is_known};
use crate::domain::{
    limits::URI_BYTES_MAX,
    seed::{SEED_BYTES_USUAL, Seed, Seeds},
};

/// The issuer whose codes are letters. Old apps write its entries like any other.
pub(in crate::domain) const STEAM: &str = "Steam";

/// How a URI is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// As written.
    Strict,
    /// As intended, with a note of each repair.
    Lenient,
}

/// A repair of a URI from a person's file or picture, or a doubt about what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Repair {
    /// `&amp;` between parameters.
    HtmlEscapes,
    /// `#` that was not written `%23`.
    Hash,
    /// `?` in the label that was not written `%3F`.
    QuestionMark,
    /// A space in the label that was not written `%20`.
    Space,
    /// `%` that was not written `%25`.
    Percent,
    /// A secret that may be two.
    PerhapsTwo,
    /// A secret that is shorter than those that services issue: it may be cut, or a word.
    Short,
    /// The issuer is Steam and the number of digits is not given: the codes may be letters.
    PerhapsSteam,
}

impl Repair {
    /// Whether it is a doubt about the meaning, not a repair.
    pub const fn is_doubt(self) -> bool {
        matches!(self, Self::PerhapsTwo | Self::Short | Self::PerhapsSteam)
    }

    /// The doubts about a seed that is given without a link.
    pub fn of_key(text: &str) -> impl Iterator<Item = Self> {
        let perhaps_two = (Seeds::of(text) == Seeds::PerhapsTwo).then_some(Self::PerhapsTwo);
        let short = Seed::from_base32(text).ok().and_then(|seed| Self::of_seed(&seed));
        perhaps_two.into_iter().chain(short)
    }

    /// The doubt about a seed that is shorter than any service's.
    pub(in crate::domain) fn of_seed(seed: &Seed) -> Option<Self> {
        (seed.len() < SEED_BYTES_USUAL).then_some(Self::Short)
    }

    /// The doubt about the codes of an issuer.
    pub fn of_issuer(issuer: &str, says_digits: bool) -> Option<Self> {
        (issuer.trim().eq_ignore_ascii_case(STEAM) && !says_digits).then_some(Self::PerhapsSteam)
    }

    /// Describes it for a person.
    pub fn description(self) -> String {
        if self.is_doubt() { format!("Doubtful: {self}.") } else { format!("In the URI, {self}.") }
    }
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HtmlEscapes => "`&amp;` was read as `&`",
            Self::Hash => "a raw `#` was read as a part of the text",
            Self::QuestionMark => "a raw `?` was read as a part of the label",
            Self::Space => "a raw space was read as a part of the label",
            Self::Percent => "a raw `%` was read as itself",
            Self::PerhapsTwo => Seeds::DOUBT,
            Self::Short => {
                "its secret is shorter than any service's: it may be cut off, or a word that somebody wrote there"
            }
            Self::PerhapsSteam => {
                "nothing says how its codes look; if this is Steam Guard, the codes will be wrong, because Steam's are \
                 letters"
            }
        })
    }
}

/// The parts of a URI.
pub(super) struct UriParts {
    /// Decoded, with the issuer's prefix if there is one.
    pub(super) label: Zeroizing<String>,
    /// Not decoded yet.
    pub(super) query: Zeroizing<String>,
    pub(super) repaired: Vec<Repair>,
}

impl UriParts {
    /// Splits a URI, ignoring white space around it: people paste, and files end in a newline.
    pub(super) fn of(uri: &str, reading: Reading) -> Result<Self, OtpAuthError> {
        let uri = uri.trim();
        if uri.len() > URI_BYTES_MAX {
            return Err(OtpAuthError::TooLong);
        }
        let mut repaired = Vec::new();
        let rest = without_start(uri, "otpauth://").ok_or_else(|| no_uri_of_ours(uri))?;
        let unescaped = without_html_escapes(rest);
        if *unescaped != *rest {
            repaired.push(Repair::HtmlEscapes);
        }
        let whole = without_fragment(&unescaped, reading, &mut repaired)?;
        let (path, query) = at_query(whole, reading, &mut repaired);
        let (kind, label) = path.split_once('/').unwrap_or((path, ""));
        if kind.eq_ignore_ascii_case("hotp") {
            return Err(OtpAuthError::Hotp);
        }
        if kind.eq_ignore_ascii_case(STEAM) {
            return Err(OtpAuthError::Steam);
        }
        if kind.eq_ignore_ascii_case("yaotp") {
            return Err(OtpAuthError::Yandex);
        }
        if !kind.eq_ignore_ascii_case("totp") {
            return Err(OtpAuthError::NotOtpAuth);
        }
        let label = decoded_label(label, reading, &mut repaired)?;
        Ok(Self { label, query: Zeroizing::new(query.to_owned()), repaired })
    }
}

/// The text after a prefix, which is compared without case.
fn without_start<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    let (given, rest) = text.split_at_checked(start.len())?;
    given.eq_ignore_ascii_case(start).then_some(rest)
}

fn no_uri_of_ours(uri: &str) -> OtpAuthError {
    if let Some(app) = push_app(uri) {
        return OtpAuthError::Push(app);
    }
    if without_start(uri, "steam://").is_some() {
        return OtpAuthError::Steam;
    }
    if without_start(uri, "motp://").is_some() {
        return OtpAuthError::MobileOtp;
    }
    let export = without_start(uri, "otpauth-migration://");
    export.map_or(OtpAuthError::NotOtpAuth, |_| OtpAuthError::GoogleExport)
}

/// Undoes HTML escapes of the signs between parameters, even repeated ones: `&amp;`, `&#38;`, `&amp;amp;` for `&`, and
/// `&#61;` for `=`.
fn without_html_escapes(text: &str) -> Zeroizing<String> {
    const AND: [&str; 4] = ["amp;", "#38;", "#038;", "#x26;"];
    const IS: [&str; 4] = ["equals;", "#61;", "#061;", "#x3d;"];
    fn after_one_of<'a>(text: &'a str, names: &[&str]) -> Option<&'a str> {
        names.iter().find_map(|name| without_start(text, name))
    }

    let mut read = Zeroizing::new(String::with_capacity(text.len()));
    let mut pieces = text.split('&');
    read.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let mut piece = piece;
        while let Some(rest) = after_one_of(piece, &AND) {
            piece = rest;
        }
        match after_one_of(piece, &IS) {
            Some(rest) => read.extend(["=", rest]),
            None => read.extend(["&", piece]),
        }
    }
    read
}

/// Drops the fragment, which is not part of what a URI names (RFC 3986 §3.5). A "fragment" that holds parameters comes
/// from a raw `#` in a label or an issuer, and codes would be wrong without them.
fn without_fragment<'a>(text: &'a str, reading: Reading, repaired: &mut Vec<Repair>) -> Result<&'a str, OtpAuthError> {
    let Some((before, fragment)) = text.split_once('#') else { return Ok(text) };
    let mut pieces = fragment.split(['&', '?', '#']).skip(1);
    if !pieces.any(|piece| piece.split_once('=').is_some_and(|(name, _)| is_known(name))) {
        return Ok(before);
    }
    if reading == Reading::Strict {
        return Err(OtpAuthError::RawHash);
    }
    repaired.push(Repair::Hash);
    Ok(text)
}

/// Splits path and query at the first question mark, or, if the label contains some, at the one before a parameter.
fn at_query<'a>(text: &'a str, reading: Reading, repaired: &mut Vec<Repair>) -> (&'a str, &'a str) {
    let first = text.split_once('?').unwrap_or((text, ""));
    let begins = |query: &str| query.split_once('=').is_some_and(|(name, _)| is_known(name));
    if reading == Reading::Strict || begins(first.1) || first.1.split('&').any(begins) {
        return first;
    }
    let mut later = text.match_indices('?').filter_map(|(at, _)| Some((text.get(..at)?, text.get(at + 1..)?)));
    match later.find(|(_, query)| begins(query)) {
        Some(parted) => {
            repaired.push(Repair::QuestionMark);
            parted
        }
        None => first,
    }
}

fn decoded_label(raw: &str, reading: Reading, repaired: &mut Vec<Repair>) -> Result<Zeroizing<String>, OtpAuthError> {
    if reading == Reading::Lenient {
        repaired.extend(raw.contains(' ').then_some(Repair::Space));
        repaired.extend((!is_whole(raw)).then_some(Repair::Percent));
    }
    decoded(raw, b'+', reading)
}

/// Whether every percent sign begins an escape.
fn is_whole(raw: &str) -> bool {
    let whole = |escape: &str| escape.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    raw.split('%').skip(1).all(whole)
}

/// Decodes a piece of the URI. `plus` is the meaning of a plus sign there: itself in the label, a space in the query.
pub(super) fn decoded(raw: &str, plus: u8, reading: Reading) -> Result<Zeroizing<String>, OtpAuthError> {
    // The crate keeps a broken escape as it is. A strict reading refuses it, so that a URI has only one meaning.
    if reading == Reading::Strict && !is_whole(raw) {
        return Err(OtpAuthError::Encoding);
    }
    // The decoded text is never longer, so the buffer does not move and leaves no copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(raw.len()));
    for (nth, part) in raw.split('+').enumerate() {
        if nth > 0 {
            bytes.push(plus);
        }
        bytes.extend(percent_decode_str(part));
    }
    // Check first, then move: an error of `from_utf8` on the vector itself would carry the bytes away.
    match std::str::from_utf8(&bytes) {
        Ok(_) => Ok(Zeroizing::new(String::from_utf8(std::mem::take(&mut *bytes)).unwrap_or_default())),
        Err(_) => Err(OtpAuthError::Encoding),
    }
}
