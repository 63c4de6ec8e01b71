//! The trace that a request belongs to, from its headers.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::domain::trace::TraceParent;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The `traceparent` header. A header that can't be read, or that occurs twice, is ignored: a bad trace is no reason to refuse a
/// request.
pub(in crate::transport) fn trace_of(headers: &HeaderMap) -> Option<TraceParent> {
    let mut sent = headers.get_all(TRACEPARENT).iter().map(HeaderValue::to_str);
    match (sent.next(), sent.next()) {
        (Some(Ok(text)), None) => text.parse().ok(),
        _ => None,
    }
}
