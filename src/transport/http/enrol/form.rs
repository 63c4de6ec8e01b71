//! Reads the forms of the page. A form may hold a seed; the process wipes all memory when it is freed.

use std::{borrow::Cow, time::Duration};

use axum::body::Body;
use http::{HeaderMap, HeaderName, Method, header::CONTENT_TYPE, request};
use percent_encoding::percent_decode;
use tokio::time::timeout;

use super::{
    parts::{Broken, FormParts},
    picture::Picture,
};
use crate::{
    domain::limits::BODY_BYTES_MAX,
    operations::Refusal,
    transport::http::{answer::Problem, body::Arriving},
};

/// The most fields of one form. The page's own forms have fewer.
const FIELDS_MAX: usize = 16;
/// The field that holds a picture. It is the last one of its form.
const PICTURE: &str = "picture";
const PURPOSE: HeaderName = HeaderName::from_static("purpose");
const SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");

/// The body of a request: the fields of a form, and a picture that has not been read.
#[derive(Default)]
pub(super) struct Sent {
    pub(super) form: Form,
    pub(super) picture: Option<Picture>,
}

impl Sent {
    /// Reads the body of a form, without its picture; other requests have none.
    pub(super) async fn of(head: &request::Parts, body: Body, wait: Duration) -> Result<Self, Problem> {
        if head.method != Method::POST {
            return Ok(Self::default());
        }
        let body = match FormParts::of(&head.headers, body) {
            Ok(parts) => return timeout(wait, Self::in_parts(parts)).await.map_err(|_| Problem::SlowBody)?,
            Err(body) => body,
        };
        let read = match Arriving::of(&head.headers, body, wait).await {
            Arriving::Whole(read) => read?,
            Arriving::Coming(coming) => coming.await?,
        };
        let form = if is_one(&head.headers) { Form::read(&read) } else { Form::default() };
        Ok(Self { form, picture: None })
    }

    async fn in_parts(mut parts: FormParts) -> Result<Self, Problem> {
        let broken = |Broken| {
            let limit = BODY_BYTES_MAX / 1024;
            let problem = format!("did not arrive whole, is no form, or has more than {limit} KiB besides a picture");
            Problem::Own(Refusal::invalid("body", problem))
        };
        let (mut fields, mut size) = (Vec::new(), 0);
        while let Some(name) = parts.next().await.map_err(broken)? {
            if name == PICTURE {
                return Ok(Self { form: Form::of(Some(fields)), picture: Some(Picture::of(parts)) });
            }
            let mut value = Vec::new();
            while let Some(piece) = parts.piece().await.map_err(broken)? {
                size += piece.len();
                if size > BODY_BYTES_MAX || fields.len() >= FIELDS_MAX {
                    return Err(broken(Broken));
                }
                value.extend_from_slice(&piece);
            }
            fields.push((name, String::from_utf8(value).map_err(|_| broken(Broken))?));
        }
        Ok(Self { form: Form::of(Some(fields)), picture: None })
    }
}

/// A form's fields. It has no `Debug`, since a field may hold a seed.
#[derive(Default)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads `application/x-www-form-urlencoded`. A form that is not UTF-8, or has too many fields, is empty.
    pub(super) fn read(body: &[u8]) -> Self {
        let decode = |bytes: &[u8]| -> Option<String> {
            let spaced: Vec<u8> = bytes.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
            percent_decode(&spaced).decode_utf8().ok().map(Cow::into_owned)
        };
        let field = |part: &[u8]| {
            let at = part.iter().position(|byte| *byte == b'=').unwrap_or(part.len());
            let (name, value) = part.split_at(at);
            Some((decode(name)?, decode(value.get(1..).unwrap_or_default())?))
        };
        let parts: Vec<&[u8]> = body.split(|byte| *byte == b'&').take(FIELDS_MAX + 1).collect();
        let fields = parts.iter().filter(|part| !part.is_empty()).map(|part| field(part)).collect::<Option<Vec<_>>>();
        Self::of(fields)
    }

    fn of(fields: Option<Vec<(String, String)>>) -> Self {
        Self(fields.filter(|fields| fields.len() <= FIELDS_MAX).unwrap_or_default())
    }

    /// Whether a field occurs at all.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// A field. A field that occurs twice counts as missing.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut named = self.0.iter().filter(|(known, _)| known == name);
        match (named.next(), named.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }
}

/// Whether the headers declare the body to be `application/x-www-form-urlencoded`.
fn is_one(headers: &HeaderMap) -> bool {
    let declared = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = declared.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Whether the headers mark the request as a prefetch or a preview, which the browser sends before the person opens the
/// page.
pub(super) fn is_ahead(headers: &HeaderMap) -> bool {
    let says = |name: &HeaderName| {
        let text = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        text.contains("prefetch") || text.contains("preview")
    };
    says(&SEC_PURPOSE) || says(&PURPOSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_as_browsers_write_it() {
        let form = Form::read(b"step=look&label=ada+l%2B%C3%A4&key=&issuer=a=b");
        assert_eq!(form.get("label"), Some("ada l+\u{e4}"));
        assert_eq!((form.get("key"), form.get("issuer"), form.get("other")), (Some(""), Some("a=b"), None));
    }

    #[test]
    fn a_form_that_says_two_things_says_nothing() {
        assert_eq!(Form::read(b"step=add&step=decline").get("step"), None);
        assert!(Form::read(b"step=add&step=decline").has("step"));
        assert_eq!(Form::read(b"step=%ff").get("step"), None);
        assert_eq!(Form::read("step=add&".repeat(99).as_bytes()).get("step"), None);
    }
}
