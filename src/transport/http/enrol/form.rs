//! Reads the forms of the page. What they hold may be a seed; the process wipes all memory when it is freed.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{BoxError, body::Body};
use futures::{StreamExt as _, future::ready, stream};
use http::{HeaderMap, Method, header::CONTENT_TYPE, request::Parts};
use multer::{Constraints, Multipart, SizeLimit};
use percent_encoding::percent_decode;
use tokio::{task::yield_now, time::timeout};

use super::picture::Picture;
use crate::{
    domain::limits::{BODY_BYTES_MAX, PICTURE_FORM_BYTES_MAX},
    operations::Refusal,
    transport::http::{answer::Problem, body::Arriving},
};

/// Fields of one form. Ours have fewer.
const FIELDS_MAX: usize = 16;
/// The field that holds a picture. It is the last one of its form.
const PICTURE: &str = "picture";

/// What came with a request: the fields of a form, and a picture that has not been read.
#[derive(Default)]
pub(super) struct Sent {
    pub(super) form: Form,
    pub(super) picture: Option<Picture>,
}

impl Sent {
    /// Reads the body of a form, without its picture; other requests have none.
    pub(super) async fn of(parts: &Parts, body: Body, wait: Duration) -> Result<Self, Problem> {
        let declared = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if parts.method != Method::POST {
            return Ok(Self::default());
        }
        if let Ok(boundary) = multer::parse_boundary(declared) {
            return timeout(wait, Self::in_parts(body, boundary)).await.unwrap_or(Err(Problem::SlowBody));
        }
        let read = match Arriving::of(&parts.headers, body, wait).await {
            Arriving::Whole(read) => read,
            Arriving::Coming(coming) => coming.await,
        };
        let read = read?;
        let form = if is_one(&parts.headers) { Form::read(&read) } else { Form::default() };
        Ok(Self { form, picture: None })
    }

    /// Reads `multipart/form-data` as far as its picture.
    async fn in_parts(body: Body, boundary: String) -> Result<Self, Problem> {
        // The parser takes in all that is there, has no limit on what stands between fields, and errs when the end comes
        // together with the last piece. With a pause before each piece and before the end it takes one at a time, and only
        // the picture may go beyond the limit of a body.
        let (mut size, at_picture) = (0, Arc::new(AtomicBool::new(false)));
        let may_go_on = Arc::clone(&at_picture);
        let pieces = body.into_data_stream().map(Some).chain(stream::iter([None]));
        let paced = pieces.then(move |piece| {
            let is_within = size <= BODY_BYTES_MAX || may_go_on.load(Ordering::Relaxed);
            size += piece.as_ref().and_then(|piece| Some(piece.as_ref().ok()?.len())).unwrap_or_default();
            async move {
                yield_now().await;
                if is_within { piece.map(|piece| piece.map_err(BoxError::from)) } else { Some(Err("too large".into())) }
            }
        });
        let paced = paced.filter_map(ready);
        let (text, all) = (BODY_BYTES_MAX as u64, PICTURE_FORM_BYTES_MAX as u64);
        let sizes = SizeLimit::new().whole_stream(all).per_field(text).for_field(PICTURE, all);
        let constraints = Constraints::new().size_limit(sizes);
        let mut parts = Multipart::with_constraints(paced, boundary, constraints);
        let mut fields = Vec::new();
        while let Some(part) = parts.next_field().await.map_err(broken)? {
            if part.name() == Some(PICTURE) {
                at_picture.store(true, Ordering::Relaxed);
                return Ok(Self { form: Form::of(Some(fields)), picture: Some(Picture(part)) });
            }
            let name = part.name().unwrap_or_default().to_owned();
            let value = part.bytes().await.map_err(broken)?;
            let Ok(value) = String::from_utf8(value.into()) else { return Ok(Self::default()) };
            if fields.len() >= FIELDS_MAX {
                return Ok(Self::default());
            }
            fields.push((name, value));
        }
        Ok(Self { form: Form::of(Some(fields)), picture: None })
    }
}

fn broken(_: multer::Error) -> Problem {
    let limit = BODY_BYTES_MAX / 1024;
    let problem = format!("did not arrive whole, is no form, or has more than {limit} KiB besides a picture");
    Problem::Own(Refusal::invalid("body", problem))
}

/// A form's fields. No `Debug`.
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

    /// A field. One that occurs twice is none.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut named = self.0.iter().filter(|(known, _)| known == name);
        match (named.next(), named.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }
}

/// Whether a request's body is such a form.
fn is_one(headers: &HeaderMap) -> bool {
    let declared = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = declared.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
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
        assert_eq!(Form::read(b"step=%ff").get("step"), None);
        assert_eq!(Form::read("step=add&".repeat(99).as_bytes()).get("step"), None);
    }
}
