//! A JSON document from a file: wiped when dropped, no deeper than the limit, and it remembers repeated fields, because
//! readers differ in which of two values they use.

use std::{cell::Cell, fmt};

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

use super::{ImportError, entry::Number};
use crate::domain::limits::{IMPORT_JSON_DEPTH_MAX, IMPORT_JSON_VALUES_MAX};

/// A JSON value. No `Debug`: it may hold seeds.
pub(super) enum Json {
    Null,
    Bool(bool),
    /// A whole number.
    Whole(i64),
    /// Any other number: no field of any format needs its value.
    Fraction,
    Text(Zeroizing<String>),
    List(Vec<Self>),
    Object(Object),
}

/// The fields of an object, in order.
pub(super) struct Object {
    fields: Vec<(Zeroizing<String>, Json)>,
    /// Whether it, or an object in it, names a field twice.
    pub(super) repeated: bool,
    /// Whether it names a field twice itself.
    pub(super) repeats: bool,
}

static NULL: Json = Json::Null;

impl Json {
    /// Parses a document.
    pub(super) fn parse(text: &str) -> Result<Self, ImportError> {
        let mut source = serde_json::Deserializer::from_str(text);
        let left = Cell::new(IMPORT_JSON_VALUES_MAX);
        let read =
            Level { depth: 0, left: &left }.deserialize(&mut source).and_then(|json| source.end().map(|()| json));
        // The error's text may quote the file, so only its kind and its line are passed on.
        read.map_err(|error| match error.classify() {
            serde_json::error::Category::Data => ImportError::TooDeep { line: error.line() },
            serde_json::error::Category::Eof => ImportError::Truncated,
            serde_json::error::Category::Syntax | serde_json::error::Category::Io => {
                ImportError::Json { line: error.line() }
            }
        })
    }

    /// A field of an object; null if the object has no such field.
    pub(super) fn get(&self, name: &str) -> &Self {
        if let Self::Object(object) = self { object.get(name).unwrap_or(&NULL) } else { &NULL }
    }

    /// A field, by a path of names.
    pub(super) fn at(&self, path: &[&str]) -> &Self {
        path.iter().fold(self, |json, name| json.get(name))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        matches!(self, Self::Object(object) if object.get(name).is_some())
    }

    /// The text; empty if the value is not a text.
    pub(super) fn text(&self) -> &str {
        if let Self::Text(text) = self { text } else { "" }
    }

    /// The first text of these fields that is not empty.
    pub(super) fn first_text(&self, names: &[&str]) -> &str {
        let mut texts = names.iter().map(|name| self.get(name).text());
        texts.find(|text| !text.trim().is_empty()).unwrap_or_default()
    }

    /// The text of a field that determines the codes. A value that is not a text must not count as missing, which has a
    /// meaning of its own; it becomes a text that no format knows.
    pub(super) fn word(&self) -> &str {
        match self {
            Self::Null => "",
            Self::Text(text) => text,
            Self::Bool(_) | Self::Whole(_) | Self::Fraction | Self::List(_) | Self::Object(_) => "?",
        }
    }

    /// The items of a list; empty if the value is not a list.
    pub(super) fn list(&self) -> &[Self] {
        if let Self::List(items) = self { items } else { &[] }
    }

    pub(super) const fn is_list(&self) -> bool {
        matches!(self, Self::List(_))
    }

    pub(super) const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub(super) const fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    pub(super) const fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    pub(super) const fn is_true(&self) -> bool {
        matches!(self, Self::Bool(true))
    }

    /// The fields of an object; empty if the value is not an object.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &Self)> {
        let fields = if let Self::Object(object) = self { object.fields.as_slice() } else { &[] };
        fields.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Whether an object, at any level of it, names a field twice.
    pub(super) fn repeated(&self) -> bool {
        match self {
            Self::Object(object) => object.repeated,
            Self::List(items) => items.iter().any(Self::repeated),
            Self::Null | Self::Bool(_) | Self::Whole(_) | Self::Fraction | Self::Text(_) => false,
        }
    }

    /// Whether this very object names a field twice.
    pub(super) const fn repeats(&self) -> bool {
        matches!(self, Self::Object(object) if object.repeats)
    }

    /// A number, which some apps write as text.
    pub(super) fn number(&self) -> Number {
        match self {
            Self::Null => Number::Absent,
            Self::Whole(number) => u64::try_from(*number).map_or(Number::Wrong, Number::Is),
            Self::Text(text) => number_of(text),
            Self::Bool(_) | Self::Fraction | Self::List(_) | Self::Object(_) => Number::Wrong,
        }
    }
}

/// A number in text; an empty text counts as absent. Digits only: `str::parse` would also accept a sign.
pub(super) fn number_of(text: &str) -> Number {
    let text = text.trim();
    match text.parse() {
        _ if text.is_empty() => Number::Absent,
        Ok(number) if text.bytes().all(|byte| byte.is_ascii_digit()) => Number::Is(number),
        _ => Number::Wrong,
    }
}

impl Object {
    fn get(&self, name: &str) -> Option<&Json> {
        self.fields.iter().find(|(known, _)| known.as_str() == name).map(|(_, value)| value)
    }
}

/// Reads a value at a level of nesting.
#[derive(Clone, Copy)]
struct Level<'a> {
    depth: usize,
    /// Values that may still follow, at any level.
    left: &'a Cell<usize>,
}

impl Level<'_> {
    fn below<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth < IMPORT_JSON_DEPTH_MAX {
            Ok(Self { depth: self.depth + 1, ..self })
        } else {
            Err(E::custom("too deep"))
        }
    }
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = Json;

    fn deserialize<D: serde::Deserializer<'de>>(self, source: D) -> Result<Json, D::Error> {
        let left = self.left.get().checked_sub(1).ok_or_else(|| serde::de::Error::custom("too many values"))?;
        self.left.set(left);
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Whole(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(i64::try_from(value).map_or(Json::Fraction, Json::Whole))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        // JavaScript knows no whole numbers, so some apps write 30.0.
        #[expect(clippy::cast_possible_truncation, reason = "the range is checked, and only whole numbers are kept")]
        let whole = (value.fract() == 0.0 && value.abs() < 1e15).then_some(value as i64);
        Ok(whole.map_or(Json::Fraction, Json::Whole))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(Zeroizing::new(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(Zeroizing::new(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Json, A::Error> {
        let below = self.below()?;
        let mut items = Vec::new();
        while let Some(item) = from.next_element_seed(below)? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Json, A::Error> {
        let below = self.below::<A::Error>()?;
        let mut fields: Vec<(Zeroizing<String>, Json)> = Vec::new();
        let mut inside = false;
        while let Some(name) = from.next_key::<String>()? {
            let (name, value) = (Zeroizing::new(name), from.next_value_seed(below)?);
            inside |= value.repeated();
            fields.push((name, value));
        }
        let mut names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        let repeats = names.windows(2).any(|pair| matches!(pair, [one, other] if one == other));
        Ok(Json::Object(Object { fields, repeated: repeats || inside, repeats }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> String {
        "[".repeat(levels) + &"]".repeat(levels)
    }

    #[test]
    fn a_document_is_as_deep_as_the_limit_allows() {
        assert!(Json::parse(&nested(IMPORT_JSON_DEPTH_MAX)).is_ok());
        for levels in [IMPORT_JSON_DEPTH_MAX + 1, 100_000] {
            assert!(matches!(Json::parse(&nested(levels)), Err(ImportError::TooDeep { line: 1 })), "{levels}");
        }
    }

    #[test]
    fn a_document_has_as_many_values_as_the_limit_allows() {
        let list = |values: usize| format!("[{}0]", "0,".repeat(values - 2));
        assert!(Json::parse(&list(IMPORT_JSON_VALUES_MAX)).is_ok());
        assert!(matches!(Json::parse(&list(IMPORT_JSON_VALUES_MAX + 1)), Err(ImportError::TooDeep { line: 1 })));
    }

    #[test]
    fn repeated_fields_are_found_in_small_and_large_objects() {
        assert!(Json::parse(r#"{"a":1,"b":[{"c":1,"c":2}]}"#).is_ok_and(|json| json.repeated() && !json.repeats()));
        for (last, repeated) in [(0, true), (15, true), (16, true), (17, true), (99, true), (100, false)] {
            let fields: Vec<String> = (0..100).chain([last]).map(|nth| format!("\"{nth}\":0")).collect();
            let read = Json::parse(&format!("{{{}}}", fields.join(",")));
            assert_eq!(read.is_ok_and(|json| json.repeats()), repeated, "{last}");
        }
    }

    #[test]
    fn numbers_are_read_as_apps_write_them() {
        for (text, number) in [
            ("30", Number::Is(30)),
            ("30.0", Number::Is(30)),
            ("\"30\"", Number::Is(30)),
            ("\"\"", Number::Absent),
            ("null", Number::Absent),
            ("-1", Number::Wrong),
            ("30.5", Number::Wrong),
            ("\"+30\"", Number::Wrong),
            ("18446744073709551615", Number::Wrong),
            ("true", Number::Wrong),
        ] {
            assert!(Json::parse(text).is_ok_and(|json| json.number() == number), "{text}");
        }
    }
}
