//! Request bodies: bounded in size, in depth and in the time they take to arrive.

use std::{borrow::Cow, collections::HashSet, fmt, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header::CONTENT_LENGTH, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use super::answer::Problem;
use crate::{domain::limits::BODY_BYTES_MAX, service::Refusal, transport::wire::depth_within_limit};

const TOO_LARGE: Refusal = Refusal::TooLarge { what: "the body", limit: "64 KiB" };

/// Whether a body says of itself that it is JSON.
pub(super) fn says_json(headers: &HeaderMap) -> bool {
    let essence = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(|text| {
        let (essence, _) = text.split_once(';').unwrap_or((text, ""));
        essence.trim()
    });
    essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"))
}

/// Reads a whole body.
pub(super) async fn bytes(headers: &HeaderMap, body: Body, wait: Duration) -> Result<Bytes, Problem> {
    // What announces itself as too large is not read at all.
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|count| count > BODY_BYTES_MAX as u64) {
        return Err(Problem::Own(TOO_LARGE));
    }
    let read = tokio::time::timeout(wait, Limited::new(body, BODY_BYTES_MAX).collect()).await;
    match read {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(cause)) if cause.is::<LengthLimitError>() => Err(Problem::Own(TOO_LARGE)),
        Ok(Err(_)) => Err(Problem::Own(Refusal::invalid("body", "did not arrive whole"))),
        Err(_) => Err(Problem::SlowBody),
    }
}

/// Refuses JSON in which an object has two fields of one name: a proxy in front and this server might each go by another
/// of them. What is no JSON at all is for whoever reads it to refuse.
pub(super) fn unambiguous(bytes: &[u8]) -> Result<(), Refusal> {
    let mut repeated = false;
    let mut source = serde_json::Deserializer::from_slice(bytes);
    let _ = Names(&mut repeated).deserialize(&mut source);
    if repeated { Err(Refusal::invalid("body", "names a field twice")) } else { Ok(()) }
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

    /// Whether it was not there before.
    fn insert(&mut self, name: Cow<'a, str>) -> bool {
        if self.few.contains(&name) {
            return false;
        }
        if self.few.len() < Self::FEW {
            self.few.push(name);
            return true;
        }
        self.many.insert(name)
    }
}

/// Looks at the names of fields, at every level, and keeps no value.
struct Names<'a>(&'a mut bool);

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
            *self.0 |= !seen.insert(name);
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

/// Reads a JSON object.
pub(super) fn object(bytes: &[u8]) -> Result<Map<String, Value>, Refusal> {
    unambiguous(bytes)?;
    // Parsing stops at 128 levels by itself, before the stack is in danger.
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(fields)) if depth_within_limit(&fields) => Ok(fields),
        Ok(Value::Object(_)) => Err(Refusal::invalid("body", "is nested too deeply")),
        _ => Err(Refusal::invalid("body", "must be a JSON object")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_an_object_of_bounded_depth() {
        let nested = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
        assert!(object(nested(32).as_bytes()).is_ok());
        for bad in [nested(33), nested(20_000), "[]".into(), "1".into(), String::new(), "{".into(), "{}x".into()] {
            assert!(object(bad.as_bytes()).is_err());
        }
        assert!(object(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn a_field_may_stand_in_an_object_once() {
        let once = r#"{"a":[{"b":null,"c":-1.5},{"b":true}],"b":{"a":"a","\u0061\u0061":1}}"#;
        assert!(object(once.as_bytes()).is_ok());
        let many = |last: usize| {
            let fields = (0..100).chain([last]).map(|nth| format!("\"{nth}\":0")).collect::<Vec<_>>();
            object(format!("{{{}}}", fields.join(",")).as_bytes()).is_ok()
        };
        assert_eq!([100, 99, 16, 15, 0].map(many), [true, false, false, false, false]);
        for twice in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"{"a":[0,{"b":1,"c":2,"b":3}]}"#] {
            let refused = object(twice.as_bytes()).unwrap_err().to_string();
            assert!(refused.contains("twice"), "{refused}");
        }
    }

    #[test]
    fn only_json_says_that_it_is() {
        let says = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, http::HeaderValue::from_static(text));
            says_json(&headers)
        };
        assert!(says("application/json") && says("Application/JSON; charset=utf-8"));
        for other in
            ["", "text/plain", "application/jsonp", "text/plain;application/json", "application/x-www-form-urlencoded"]
        {
            assert!(!says(other), "{other}");
        }
        assert!(!says_json(&HeaderMap::new()));
    }
}
