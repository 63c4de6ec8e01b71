//! Parses JSON and detects repeated fields. Parsers differ in which of two fields with one name they use, so a message
//! could be checked with one value and acted on with the other: such messages are refused.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value, map::Entry};

use crate::{domain::limits::JSON_DEPTH_MAX, operations::levels};

/// A JSON value and its defects. No `Debug`: a name may hold anything, even a seed.
pub(in crate::transport) struct Json {
    /// The value. Of repeated fields it holds the first.
    pub(in crate::transport) value: Value,
    /// The first repeated field name of an object, at any level.
    pub(in crate::transport) repeated: Option<String>,
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(AnyValue)
    }
}

struct AnyValue;

macro_rules! scalars {
    ($($visit:ident: $kind:ty),*) => {$(
        fn $visit<E>(self, value: $kind) -> Result<Json, E> {
            Ok(Json { value: Value::from(value), repeated: None })
        }
    )*};
}

impl<'de> Visitor<'de> for AnyValue {
    type Value = Json;

    scalars!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str, visit_string: String);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json { value: Value::Null, repeated: None })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Json, A::Error> {
        let (mut items, mut repeated) = (Vec::new(), None);
        while let Some(item) = from.next_element::<Json>()? {
            repeated = repeated.or(item.repeated);
            items.push(item.value);
        }
        Ok(Json { value: Value::from(items), repeated })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Json, A::Error> {
        let (mut fields, mut repeated) = (Map::new(), None);
        while let Some((name, field)) = from.next_entry::<String, Json>()? {
            repeated = repeated.or(field.repeated);
            match fields.entry(name) {
                Entry::Vacant(place) => {
                    place.insert(field.value);
                }
                Entry::Occupied(first) => repeated = repeated.or_else(|| Some(first.key().clone())),
            }
        }
        Ok(Json { value: Value::from(fields), repeated })
    }
}

/// Whether an MCP message is nested no deeper than the limit. A tool's arguments are left out: the tool refuses those,
/// so that the refusal belongs to a call.
pub(in crate::transport) fn message_depth_within_limit(message: &Value) -> bool {
    let within = |value: &Value| levels(value) <= JSON_DEPTH_MAX;
    let Value::Object(fields) = message else { return within(message) };
    fields.iter().all(|(name, field)| match field.as_object().filter(|_| name == "params") {
        Some(params) => params.iter().all(|(name, value)| name == "arguments" || within(value)),
        None => within(field),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn repeated(text: &str) -> Option<String> {
        serde_json::from_str::<Json>(text).ok().and_then(|json| json.repeated)
    }

    #[test]
    fn a_name_that_an_object_gives_to_two_fields_is_found() {
        for (text, name) in [
            (r#"{"a":[{"b":null,"c":-1.5},{"b":true}],"b":{"a":"a","\u0061\u0061":18446744073709551615}}"#, None),
            (r#"{"a":1,"a":1}"#, Some("a")),
            (r#"{"a":1,"\u0061":2}"#, Some("a")),
            (r#"{"a":[0,{"b":1,"c":2,"b":3}]}"#, Some("b")),
            (r#"{"a":{"b":1,"b":2},"a":1}"#, Some("b")),
            (r#"[{"a":1},{"b":1,"b":1}]"#, Some("b")),
            (r#""a""#, None),
        ] {
            assert_eq!(repeated(text).as_deref(), name, "{text}");
        }
        for last in [100, 99, 16, 15, 0] {
            let fields = (0..100).chain([last]).map(|nth| format!("\"{nth}\":0")).collect::<Vec<_>>();
            assert_eq!(repeated(&format!("{{{}}}", fields.join(","))).is_some(), last != 100);
        }
    }

    #[test]
    fn a_message_is_as_deep_as_the_limit_allows_but_for_a_tools_arguments() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        for (around, deep_too) in [
            ("@", false),
            (r#"{"a":@}"#, false),
            (r#"{"params":@}"#, false),
            (r#"{"params":{"_meta":@}}"#, false),
            (r#"{"arguments":@}"#, false),
            (r#"{"params":{"arguments":@}}"#, true),
        ] {
            for (levels, within) in [(JSON_DEPTH_MAX, true), (JSON_DEPTH_MAX + 1, deep_too), (100, deep_too)] {
                let message = serde_json::from_str(&around.replace('@', &nested(levels))).unwrap();
                assert_eq!(message_depth_within_limit(&message), within, "{around} {levels}");
            }
        }
    }

    proptest! {
        #[test]
        fn it_is_the_json_that_others_read(bytes: Vec<u8>, text in "[{}\\[\\]:,\"a0.\\\\-]*") {
            for bytes in [bytes.as_slice(), text.as_bytes()] {
                let (ours, plain) = (serde_json::from_slice::<Json>(bytes), serde_json::from_slice::<Value>(bytes));
                match (ours, plain) {
                    (Ok(json), Ok(plain)) => prop_assert!(json.repeated.is_some() || json.value == plain),
                    (ours, plain) => prop_assert!(ours.is_err() && plain.is_err()),
                }
            }
        }
    }
}
