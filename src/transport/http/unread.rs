//! Requests whose head hyper can't read: it answers them before anybody else sees them, with a status and nothing else.
//! Here that becomes an answer of the form that all errors have.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::answer::{error_body, protect};
use crate::operations::ErrorCode;

/// More than hyper's own answer has.
const BARE_BYTES_MAX: usize = 160;

/// What goes out instead of these bytes, if they are such an answer.
pub(super) fn worded(written: &[u8]) -> Option<Bytes> {
    let text = std::str::from_utf8(written.get(..BARE_BYTES_MAX).map_or(written, |_| &[])).ok()?;
    let status = match text.strip_prefix("HTTP/1.1 ")?.get(..3)? {
        "400" => StatusCode::BAD_REQUEST,
        "431" => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        _ => return None,
    };
    // All that comes from further in says how long it may be kept.
    if !text.ends_with("\r\n\r\n") || !text.contains("content-length: 0\r\n") || text.contains("cache-control") {
        return None;
    }
    let (code, message) = if status == StatusCode::BAD_REQUEST {
        (ErrorCode::InvalidArgument, "the head of the request can't be read; send HTTP/1.1")
    } else {
        (ErrorCode::TooLarge, "the head of the request is larger than 16 KiB, or it has more than 64 headers")
    };
    let body = error_body(code, message.to_owned(), None);
    let mut headers = HeaderMap::new();
    protect(&mut headers, false);
    let mut head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n");
    for (name, value) in &headers {
        let _ = write!(head, "{name}: {}\r\n", value.to_str().unwrap_or_default());
    }
    let _ = write!(head, "content-length: {}\r\n\r\n", body.len());
    Some([head.into_bytes(), body].concat().into())
}
