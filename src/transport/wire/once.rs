//! JSON in which no object names a field twice. Parsers differ in which of the two they go by, so whoever checks a message
//! and whoever acts on it might each see another.

use std::{borrow::Cow, collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

/// A JSON object. At any level, a field that is named twice is an error.
pub struct Fields(pub Map<String, Value>);

/// A value of one.
struct Once(Value);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct AnObject;

        impl<'de> Visitor<'de> for AnObject {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, from: A) -> Result<Fields, A::Error> {
                fields_of(from).map(Fields)
            }
        }

        source.deserialize_map(AnObject)
    }
}

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Once;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_map<A: MapAccess<'de>>(self, from: A) -> Result<Once, A::Error> {
                fields_of(from).map(|fields| Once(Value::Object(fields)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Once, A::Error> {
                let mut items = Vec::new();
                while let Some(Once(item)) = from.next_element()? {
                    items.push(item);
                }
                Ok(Once(Value::Array(items)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Once, E> {
                Ok(Once(text.into()))
            }

            fn visit_string<E>(self, text: String) -> Result<Once, E> {
                Ok(Once(text.into()))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Once, E> {
                Ok(Once(value.into()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Once, E> {
                Ok(Once(number.into()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Once, E> {
                Ok(Once(number.into()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Once, E> {
                Ok(Once(number.into()))
            }

            fn visit_unit<E>(self) -> Result<Once, E> {
                Ok(Once(Value::Null))
            }
        }

        source.deserialize_any(Any)
    }
}

fn fields_of<'de, A: MapAccess<'de>>(mut from: A) -> Result<Map<String, Value>, A::Error> {
    let mut fields = Map::new();
    while let Some((name, Once(value))) = from.next_entry()? {
        if fields.insert(name, value).is_some() {
            return Err(A::Error::custom("a field is named twice"));
        }
    }
    Ok(fields)
}

/// Whether JSON that somebody else will read names a field twice. What is no JSON at all is theirs to refuse.
pub fn names_a_field_twice(bytes: &[u8]) -> bool {
    let mut twice = None;
    let mut source = serde_json::Deserializer::from_slice(bytes);
    let _ = Names(&mut twice).deserialize(&mut source);
    twice.is_some()
}

/// For each item of a JSON array, the first field that is named twice in it. The name may be anything, a seed even.
pub fn named_twice_by_item(bytes: &[u8]) -> Vec<Option<String>> {
    let mut items = Vec::new();
    let mut source = serde_json::Deserializer::from_slice(bytes);
    let _ = source.deserialize_seq(Items(&mut items));
    items
}

/// Looks at each item of an array.
struct Items<'a>(&'a mut Vec<Option<String>>);

impl<'de> Visitor<'de> for Items<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        loop {
            let mut twice = None;
            if items.next_element_seed(Names(&mut twice))?.is_none() {
                return Ok(());
            }
            self.0.push(twice);
        }
    }
}

/// A field's name, which is copied only where it is written with escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// The names in one object. Most have few fields, which are looked through faster than they are hashed.
#[derive(Default)]
struct Seen<'a> {
    few: Vec<Cow<'a, str>>,
    many: HashSet<Cow<'a, str>>,
}

impl<'a> Seen<'a> {
    const FEW: usize = 16;

    /// Takes a name, or gives back one that was there before.
    fn insert(&mut self, name: Cow<'a, str>) -> Option<Cow<'a, str>> {
        if self.few.contains(&name) {
            return Some(name);
        }
        if self.few.len() < Self::FEW {
            self.few.push(name);
            return None;
        }
        self.many.replace(name)
    }
}

/// Looks at the names of fields, at every level, and keeps no value but the first name that is there twice.
struct Names<'a>(&'a mut Option<String>);

impl<'de> DeserializeSeed<'de> for Names<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<(), D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Names<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let mut seen = Seen::default();
        while let Some(Name(name)) = fields.next_key()? {
            if let Some(name) = seen.insert(name) {
                self.0.get_or_insert_with(|| name.into_owned());
            }
            fields.next_value_seed(Names(&mut *self.0))?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Names(&mut *self.0))?.is_some() {}
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_field_may_stand_in_an_object_once() {
        let check = |text: &str, twice: bool| {
            assert_eq!(names_a_field_twice(text.as_bytes()), twice, "{text}");
            let read = serde_json::from_str(text).map(|Fields(fields)| Value::Object(fields)).ok();
            assert_eq!(read, serde_json::from_str(text).ok().filter(|_| !twice), "{text}");
        };
        check(r#"{"a":[{"b":null,"c":-1.5},{"b":true}],"b":{"a":"a","\u0061\u0061":18446744073709551615}}"#, false);
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"{"a":[0,{"b":1,"c":2,"b":3}]}"#] {
            check(text, true);
        }
        for last in [100, 99, 16, 15, 0] {
            let fields = (0..100).chain([last]).map(|nth| format!("\"{nth}\":0")).collect::<Vec<_>>();
            check(&format!("{{{}}}", fields.join(",")), last != 100);
        }
    }

    #[test]
    fn the_field_is_found_in_its_item() {
        let found = |text: &str| named_twice_by_item(text.as_bytes());
        let named = |name: &str| Some(name.to_owned());
        assert_eq!(
            found(r#"[{"a":1,"b":1},{"a":{"b":1,"b":2},"a":1},"x",{"a":1,"a":2}]"#),
            [None, named("b"), None, named("a")]
        );
        assert_eq!(found(r#"{"a":1,"a":2}"#), []);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, text in "[{}\\[\\]:,\"a0.\\\\-]*") {
            for bytes in [bytes.as_slice(), text.as_bytes()] {
                let read = serde_json::from_slice(bytes).map(|Fields(fields)| fields);
                let plain = serde_json::from_slice::<Map<String, Value>>(bytes);
                prop_assert_eq!(read.is_ok(), plain.is_ok() && !names_a_field_twice(bytes));
            }
        }
    }
}
