//! JSON in which no object names a field twice. Parsers differ in which of the two they go by, so whoever checks a message
//! and whoever acts on it might each see another.

use std::{borrow::Cow, collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use crate::domain::limits::JSON_DEPTH_MAX;

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

/// What is wrong with JSON that can be read. No `Debug`: a name may be anything, a seed even.
#[derive(Default)]
pub struct Flaws {
    /// The first name that an object gives to two fields.
    pub twice: Option<String>,
    /// It is nested more deeply than a message may be. What a tool's arguments hold is the tool's to refuse.
    pub deep: bool,
}

/// Levels of a message: the limit's for what it carries, and two around that.
const MESSAGE_DEPTH_MAX: usize = JSON_DEPTH_MAX + 2;

/// What is wrong with JSON that somebody else will read. What is no JSON at all is theirs to refuse.
pub fn flaws_of(bytes: &[u8]) -> Flaws {
    let mut flaws = Flaws::default();
    let mut source = serde_json::Deserializer::from_slice(bytes);
    let _ = Look { flaws: &mut flaws, depth: 0, at: At::Message }.deserialize(&mut source);
    flaws
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
            let mut flaws = Flaws::default();
            if items.next_element_seed(Look { flaws: &mut flaws, depth: 0, at: At::Elsewhere })?.is_none() {
                return Ok(());
            }
            self.0.push(flaws.twice);
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

/// Where in a message a value stands.
#[derive(Clone, Copy)]
enum At {
    Message,
    Params,
    Arguments,
    Elsewhere,
}

impl At {
    fn within(self, name: &str) -> Self {
        match (self, name) {
            (Self::Message, "params") => Self::Params,
            (Self::Params, "arguments") | (Self::Arguments, _) => Self::Arguments,
            _ => Self::Elsewhere,
        }
    }
}

/// Looks at the names of fields, at every level, and keeps no value.
struct Look<'a> {
    flaws: &'a mut Flaws,
    /// Levels around it.
    depth: usize,
    at: At,
}

impl Look<'_> {
    /// Looks into an object or array.
    fn enter(&mut self) {
        self.depth += 1;
        self.flaws.deep |= self.depth > MESSAGE_DEPTH_MAX && !matches!(self.at, At::Arguments);
    }

    fn inside(&mut self, at: At) -> Look<'_> {
        Look { flaws: &mut *self.flaws, depth: self.depth, at }
    }
}

impl<'de> DeserializeSeed<'de> for Look<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<(), D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Look<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<(), A::Error> {
        self.enter();
        let mut seen = Seen::default();
        while let Some(Name(name)) = fields.next_key()? {
            let at = self.at.within(&name);
            if let Some(name) = seen.insert(name) {
                self.flaws.twice.get_or_insert_with(|| name.into_owned());
            }
            fields.next_value_seed(self.inside(at))?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        self.enter();
        let at = self.at.within("");
        while items.next_element_seed(self.inside(at))?.is_some() {}
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
            assert_eq!(flaws_of(text.as_bytes()).twice.is_some(), twice, "{text}");
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
    fn a_message_is_as_deep_as_what_it_may_carry_and_two_levels_more() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        let deep = |text: String| flaws_of(text.as_bytes()).deep;
        assert!(!deep(nested(34)) && deep(nested(35)) && deep(nested(128)));
        for (around, levels) in [(r#"{"a":@}"#, 33), (r#"{"params":@}"#, 33), (r#"{"params":{"_meta":@}}"#, 32)] {
            let deep = |levels: usize| deep(around.replace('@', &nested(levels)));
            assert!(!deep(levels) && deep(levels + 1), "{around}");
        }
        assert!(!deep(format!("{{\"params\":{{\"arguments\":{}}}}}", nested(100))));
        assert!(deep(format!("{{\"arguments\":{}}}", nested(100))));
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
                prop_assert_eq!(read.is_ok(), plain.is_ok() && flaws_of(bytes).twice.is_none());
            }
        }
    }
}
