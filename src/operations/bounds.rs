//! The types of arguments: each defines its parsing, its schema and its error text in one place.
//!
//! A schema holds the text as `x-accepts`. Descriptions and errors are made from it; callers never see the keyword.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use serde_json::{Number, Value};
use zeroize::Zeroizing;

use crate::domain::{
    api_key::KeyId,
    audit::{Action, AuditCursor},
    ids::{EnrolmentId, SeatId, SecretId, TokenId},
    limits::{GRANTS_MAX, PERIOD_SECONDS_MAX, PURPOSE_CHARS_MAX, TEXT_CHARS_MAX},
    origin::ORIGINS_MAX,
    scope::{Scope, ScopeSet},
    text::ShownText,
    time::Timestamp,
    totp::{Algorithm, Digits, Period},
};

/// The schema keyword for what a field accepts, in words.
pub(super) const ACCEPTS: &str = "x-accepts";

/// A whole number within bounds. `30.0` is accepted too, because JSON Schema calls that an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Whole<const MIN: u32, const MAX: u32>(u32);

/// A number of seconds within bounds.
pub type Seconds<const MIN: u32, const MAX: u32> = Whole<MIN, MAX>;
/// A number of items up to a limit.
pub type Count<const MAX: u32> = Whole<0, MAX>;

/// A text of at most `MAX` characters, without white space around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text<const MAX: usize>(String);

impl<const MIN: u32, const MAX: u32> Whole<MIN, MAX> {
    /// The number, if it is within the bounds.
    pub const fn new(number: u32) -> Option<Self> {
        if MIN <= number && number <= MAX { Some(Self(number)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl<const MAX: usize> Text<MAX> {
    /// The text, if it is within the bound.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (text.chars().count() <= MAX).then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Reads a whole number of any size. One that does not fit into `i64` becomes the largest or the smallest that does, which
/// every bound refuses.
pub(super) fn whole<'de, D: Deserializer<'de>>(source: D) -> Result<Option<i64>, D::Error> {
    /// The largest whole number below which an `f64` holds every whole number exactly.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let Some(number) = Option::<Number>::deserialize(source)? else { return Ok(None) };
    match (number.as_i64(), number.as_f64()) {
        (Some(whole), _) => Ok(Some(whole)),
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and within 2^53")]
        (None, Some(real)) if real.fract() == 0.0 && real.abs() <= EXACT => Ok(Some(real as i64)),
        (None, Some(real)) if real.is_infinite() || real.abs() > EXACT => {
            Ok(Some(if real > 0.0 { i64::MAX } else { i64::MIN }))
        }
        _ => Err(refused()),
    }
}

/// Reads a number that is not negative, without an upper bound.
pub(super) fn not_negative<'de, D: Deserializer<'de>>(source: D) -> Result<u64, D::Error> {
    whole(source)?.unwrap_or(0).try_into().map_err(|_| refused())
}

/// Reads a text that may be or contain a seed: wiped on drop.
pub(super) fn wiped<'de, D: Deserializer<'de>>(source: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(source).map(Zeroizing::new)
}

/// As [`wiped`], for an optional field.
pub(super) fn wiped_option<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Zeroizing<String>>, D::Error> {
    wiped(source).map(Some)
}

/// The text that describes what a type accepts.
pub(super) fn words<T: JsonSchema>() -> String {
    let schema = T::json_schema(&mut SchemaGenerator::default());
    schema.get(ACCEPTS).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The error for every mistake. The field's text describes the accepted values, and no error quotes the sent one.
fn refused<E: serde::de::Error>() -> E {
    E::custom("not accepted")
}

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Whole<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let number = whole(source)?.and_then(|number| number.try_into().ok());
        number.and_then(Self::new).ok_or_else(refused)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Text<MAX> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        Self::new(&Zeroizing::new(String::deserialize(source)?)).ok_or_else(refused)
    }
}

/// Implements `JsonSchema` for types with a schema of their own.
macro_rules! schemas {
    ($([$($bound:tt)*] $kind:ty: $schema:expr;)*) => {$(
        impl<$($bound)*> JsonSchema for $kind {
            fn schema_name() -> Cow<'static, str> {
                stringify!($kind).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    )*};
}

/// Implements `Deserialize` for types that are parsed from a text.
macro_rules! read_from_text {
    ($($kind:ty: $parse:expr;)*) => {$(
        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
                let parse: fn(&str) -> Option<Self> = $parse;
                parse(&Zeroizing::new(String::deserialize(source)?)).ok_or_else(refused)
            }
        }
    )*};
}

/// A number that is not negative.
pub(super) struct NotNegative;
/// The digits of a code.
pub(super) struct CodeDigits;
/// Web origins.
pub(super) struct OriginList;
/// Secrets, by their ids.
pub(super) struct Grants;
/// A page of a browser.
pub(super) struct PageText;
/// A caller's purpose. It is cut, never refused.
pub(super) struct PurposeText;

schemas! {
    [const MIN: u32, const MAX: u32] Whole<MIN, MAX>: json_schema!({
        "type": "integer", "minimum": MIN, "maximum": MAX, ACCEPTS: format!("a whole number, {MIN} to {MAX}"),
    });
    [const MAX: usize] Text<MAX>: json_schema!({
        "type": "string", "maxLength": MAX, ACCEPTS: format!("a text of at most {MAX} characters"),
    });
    [] ShownText: json_schema!({
        "type": "string", "maxLength": TEXT_CHARS_MAX, ACCEPTS: format!("a text of 1 to {TEXT_CHARS_MAX} characters"),
    });
    [] NotNegative: json_schema!({"type": "integer", "minimum": 0, ACCEPTS: "a whole number, 0 or more"});
    [] CodeDigits: json_schema!({"type": "string", ACCEPTS: "a text of 6 or 8 digits"});
    [] PageText: json_schema!({
        "type": "string", ACCEPTS: "a candidate's `page`",
    });
    [] PurposeText: json_schema!({
        "type": "string", ACCEPTS: format!("a text of which {PURPOSE_CHARS_MAX} characters are kept"),
    });
    [] Digits: json_schema!({
        "type": "integer", "minimum": Self::Six.get(), "maximum": Self::Eight.get(),
        ACCEPTS: format!("{} or {}", Self::Six.get(), Self::Eight.get()),
    });
    [] Period: json_schema!({
        "type": "integer", "minimum": 1, "maximum": PERIOD_SECONDS_MAX,
        ACCEPTS: format!("a whole number of seconds, 1 to {PERIOD_SECONDS_MAX}"),
    });
    [] Algorithm: json_schema!({
        "type": "string", "enum": ["SHA1", "SHA256", "SHA512"],
        ACCEPTS: "SHA1, SHA256 or SHA512",
    });
    [] SecretId: json_schema!({"type": "string", "format": "uuid", ACCEPTS: "the UUID of a secret"});
    [] EnrolmentId: json_schema!({
        "type": "string", "format": "uuid", ACCEPTS: "the UUID of an enrolment",
    });
    [] OriginList: json_schema!({
        "type": "array", "items": {"type": "string"},
        ACCEPTS: format!("a list of at most {ORIGINS_MAX} origins such as https://login.example.com"),
    });
    [] Grants: json_schema!({
        "type": "array", "items": {"type": "string", "format": "uuid"},
        ACCEPTS: format!("a list of 1 to {GRANTS_MAX} UUIDs of secrets"),
    });
    [] ScopeSet: json_schema!({
        "type": "string",
        ACCEPTS: format!("scopes, separated by commas: {}", Scope::ALL.map(Scope::as_str).join(", ")),
    });
    [] TokenId: json_schema!({"type": "string", "format": "uuid", ACCEPTS: "the UUID of a token"});
    [] SeatId: json_schema!({"type": "string", "format": "uuid", ACCEPTS: "the UUID of a seat"});
    [] KeyId: json_schema!({
        "type": "string", "pattern": "^([0-9A-Za-z]{12})?$", ACCEPTS: "the id of a key, 12 letters and digits",
    });
    [] Timestamp: json_schema!({"type": "string", "format": "date-time", ACCEPTS: "an RFC 3339 time"});
    [] Action: json_schema!({
        "type": "string", "enum": Self::ALL.iter().map(|action| action.as_str()).collect::<Vec<_>>(), ACCEPTS: "the word for an action, such as code.get",
    });
    [] AuditCursor: json_schema!({"type": "string", ACCEPTS: "`next` of an earlier answer, or 0 for the oldest row"});
}

read_from_text! {
    SecretId: |text| text.parse().ok();
    EnrolmentId: |text| text.parse().ok();
    SeatId: |text| text.parse().ok();
    TokenId: |text| text.parse().ok();
    ScopeSet: |text| text.parse().ok();
    KeyId: |text| text.parse().ok();
    Timestamp: |text| text.parse().ok();
    Action: Self::from_word;
    AuditCursor: |text| if text == "0" { Some(Self::default()) } else { text.parse().ok() };
}

#[cfg(test)]
mod tests {
    use serde_json::{from_str, from_value, json};

    use super::*;

    #[test]
    fn a_number_is_read_within_its_bounds_in_whichever_way_it_is_written() {
        let read = |text: &str| from_str::<Whole<1, 120>>(text).ok().map(Whole::get);
        for (text, number) in [("1", Some(1)), ("120", Some(120)), ("30.0", Some(30)), ("1.2e2", Some(120))] {
            assert_eq!(read(text), number, "{text}");
        }
        for text in ["0", "121", "-1", "1.5", "1e300", "-1e300", "18446744073709551615", "\"5\"", "true"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_number_below_all_others_is_negative() {
        let read = |text: &str| not_negative(&mut serde_json::Deserializer::from_str(text)).ok();
        for (text, number) in [("0", Some(0)), ("1e300", Some(i64::MAX.unsigned_abs())), ("-1", None), ("-1e300", None)]
        {
            assert_eq!(read(text), number, "{text}");
        }
        assert_eq!(read("-36893488147419103232"), None);
    }

    #[test]
    fn no_error_quotes_what_was_sent() {
        let canary = "JBSWY3DPEHPK3PXP";
        let check = |error: serde_json::Error| assert!(!error.to_string().contains(canary), "{error}");
        check(from_value::<SecretId>(json!(canary)).unwrap_err());
        check(from_value::<Action>(json!(canary)).unwrap_err());
        check(from_value::<AuditCursor>(json!(canary)).unwrap_err());
        check(from_value::<Text<3>>(json!(canary)).unwrap_err());
    }
}
