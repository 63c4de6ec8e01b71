//! Request bodies: bounded in size and in the time they take to arrive.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, header::CONTENT_LENGTH, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::{Map, Value};

use super::{
    answer::Problem,
    routes::{Route, Run},
};
use crate::{
    domain::limits::BODY_BYTES_MAX,
    operations::Refusal,
    transport::json::{Json, message_depth_within_limit},
};

const TOO_LARGE: Refusal = Refusal::TooLarge { what: "the body", limit: "64 KiB" };

/// Whether the headers declare the body to be JSON.
fn says_json(headers: &HeaderMap) -> bool {
    let essence = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(|text| {
        let (essence, _) = text.split_once(';').unwrap_or((text, ""));
        essence.trim()
    });
    essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"))
}

/// How long a body may take to arrive before the credential is checked: most bodies arrive with their heads.
const PROMPT: Duration = Duration::from_millis(5);

/// A body, read as far as it arrived promptly.
pub(super) enum Arriving {
    /// It has arrived, or has failed to.
    Whole(Result<Bytes, Problem>),
    /// It is still arriving.
    Coming(BoxFuture<'static, Result<Bytes, Problem>>),
}

impl Arriving {
    /// An empty body, for a request whose body is not read.
    pub(super) const fn nothing() -> Self {
        Self::Whole(Ok(Bytes::new()))
    }

    /// Whether the body has arrived and contains `text`.
    pub(super) fn says(&self, text: &str) -> bool {
        matches!(self, Self::Whole(Ok(read)) if read.windows(text.len()).any(|window| window == text.as_bytes()))
    }

    /// Whether the headers declare the body to be JSON. A request for an operation may also have no body.
    pub(super) fn is_json(&self, headers: &HeaderMap, route: &Route) -> bool {
        let nothing = || matches!(self, Self::Whole(Ok(read)) if read.is_empty());
        says_json(headers) || matches!(route.run, Run::Operation(_)) && nothing()
    }

    /// Begins to read a body.
    pub(super) async fn of(headers: &HeaderMap, body: Body, wait: Duration) -> Self {
        let mut coming = Box::pin(bytes(announced(headers), body, wait));
        match tokio::time::timeout(PROMPT, coming.as_mut()).await {
            Ok(read) => Self::Whole(read),
            Err(_) => Self::Coming(coming),
        }
    }
}

/// The length that the headers declare.
fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok())
}

/// Reads a whole body.
async fn bytes(announced: Option<u64>, body: Body, wait: Duration) -> Result<Bytes, Problem> {
    // Don't read a body that is declared too large.
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

const TWICE: &str = "names a field twice";

/// Refuses JSON in which an object has a field twice, or that is nested too deeply. Invalid JSON becomes `null` here;
/// the reader of the message refuses it.
pub(super) fn flawless(bytes: &[u8]) -> Result<Value, Refusal> {
    match serde_json::from_slice(bytes) {
        Ok(Json { repeated: Some(_), .. }) => Err(Refusal::invalid("body", TWICE)),
        Ok(Json { value, .. }) if !message_depth_within_limit(&value) => {
            Err(Refusal::invalid("body", "is nested too deeply"))
        }
        Ok(Json { value, .. }) => Ok(value),
        Err(_) => Ok(Value::Null),
    }
}

/// Reads a JSON object; an empty body counts as an empty object. The reader of the arguments checks their nesting.
pub(super) fn object(bytes: &[u8]) -> Result<Map<String, Value>, Refusal> {
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    // Parsing stops at 128 levels, before the stack overflows.
    match serde_json::from_slice(bytes) {
        Ok(Json { repeated: Some(_), .. }) => Err(Refusal::invalid("body", TWICE)),
        Ok(Json { value: Value::Object(fields), .. }) => Ok(fields),
        Ok(_) | Err(_) => Err(Refusal::invalid("body", "must be a JSON object")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_an_object() {
        let nested = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
        assert!(object(nested(32).as_bytes()).is_ok());
        for bad in [nested(20_000), "[]".into(), "1".into(), " ".into(), "{".into(), "{}x".into()] {
            assert!(object(bad.as_bytes()).is_err());
        }
        assert!(object(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn a_field_that_is_named_twice_is_refused() {
        for twice in [r#"{"a":1,"a":1}"#, r#"{"a":[0,{"b":1,"c":2,"b":3}]}"#, r#"[{"a":1,"a":1}]"#] {
            let refused = object(twice.as_bytes()).err().unwrap().to_string();
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
