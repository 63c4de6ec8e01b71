//! Reads `multipart/form-data` (RFC 7578) part by part as it arrives, and holds no more than a piece of it.

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use http::HeaderMap;
use memchr::memmem::find;

use crate::domain::limits::BODY_BYTES_MAX;

/// The most bytes of a boundary (RFC 2046).
const BOUNDARY_BYTES_MAX: usize = 70;

/// The error for a body that is not a form, or that ended too early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

/// The parts of a body.
pub(super) struct FormParts {
    body: BodyDataStream,
    /// The bytes between two parts: a line break, two hyphens and the boundary.
    delimiter: Vec<u8>,
    /// The bytes that have arrived and not been read.
    here: BytesMut,
}

impl FormParts {
    /// The parts of a body, if its headers declare some; otherwise the body.
    pub(super) fn of(headers: &HeaderMap, body: Body) -> Result<Self, Body> {
        let Some(boundary) = boundary(headers) else { return Err(body) };
        // The first delimiter has no line before it.
        let (here, delimiter) = (BytesMut::from(&b"\r\n"[..]), format!("\r\n--{boundary}").into_bytes());
        Ok(Self { body: body.into_data_stream(), delimiter, here })
    }

    /// The name of the next part, after the content of the one before was read; `None` after the last part.
    pub(super) async fn next(&mut self) -> Result<Option<String>, Broken> {
        loop {
            let begins = self.here.get(..self.delimiter.len());
            if begins.is_some_and(|begin| begin != self.delimiter) || self.here.len() > 2 * BODY_BYTES_MAX {
                return Err(Broken);
            }
            let head = self.here.get(self.delimiter.len()..).unwrap_or_default();
            if head.starts_with(b"--") {
                return Ok(None);
            }
            if let Some(end) = find(head, b"\r\n\r\n") {
                let name = name_in(head.get(..end).unwrap_or_default()).ok_or(Broken)?;
                let _ = self.here.split_to(self.delimiter.len() + end + 4);
                return Ok(Some(name));
            }
            self.arrive().await?;
        }
    }

    /// The next piece of a part's content; `None` at its end.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            let ready = match find(&self.here, &self.delimiter) {
                Some(0) => return Ok(None),
                Some(end) => end,
                // The last bytes may be the beginning of a delimiter.
                None => self.here.len().saturating_sub(self.delimiter.len() - 1),
            };
            if ready > 0 {
                return Ok(Some(self.here.split_to(ready).freeze()));
            }
            self.arrive().await?;
        }
    }

    async fn arrive(&mut self) -> Result<(), Broken> {
        let Some(Ok(piece)) = self.body.next().await else { return Err(Broken) };
        self.here.extend_from_slice(&piece);
        Ok(())
    }
}

/// The boundary that the headers declare.
fn boundary(headers: &HeaderMap) -> Option<&str> {
    let declared = headers.get(http::header::CONTENT_TYPE)?.to_str().ok()?;
    let (essence, parameters) = declared.split_once(';')?;
    let is_form = essence.trim().eq_ignore_ascii_case("multipart/form-data");
    parameter(parameters, "boundary").filter(|boundary| is_form && (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len()))
}

/// The name in the head of a part.
fn name_in(head: &[u8]) -> Option<String> {
    let head = std::str::from_utf8(head).ok()?;
    let disposition = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-disposition").then_some(value)
    })?;
    let (_, parameters) = disposition.split_once(';')?;
    parameter(parameters, "name").map(str::to_owned)
}

/// A parameter of a header: `a=b; c="d; e"`.
fn parameter<'a>(mut rest: &'a str, wanted: &str) -> Option<&'a str> {
    loop {
        let (name, value) = rest.split_once('=')?;
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').map(|(value, after)| (value, after.split_once(';')))?,
            None => value.split_once(';').map_or((value, None), |(value, after)| (value, Some(("", after)))),
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value.trim());
        }
        rest = after?.1;
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http::{HeaderValue, header::CONTENT_TYPE};

    use super::*;

    const FORM: &str = "--x\r\nContent-Disposition: form-data; name=\"ticket\"\r\n\r\nt\r\n\r\n--x\r\ncontent-type: image/png\r\n\
                        content-disposition: form-data; filename=\" name=\"; name=\"picture\"\r\n\r\n\r\n--y\r\n--x--\r\n";

    fn parts(declared: &'static str, pieces: Vec<Vec<u8>>) -> Option<FormParts> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(declared))]);
        let pieces = stream::iter(pieces.into_iter().map(Ok::<_, std::convert::Infallible>));
        FormParts::of(&headers, Body::from_stream(pieces)).ok()
    }

    async fn all(mut parts: FormParts) -> Result<Vec<(String, Vec<u8>)>, Broken> {
        let mut read = Vec::new();
        while let Some(name) = parts.next().await? {
            let mut content = Vec::new();
            while let Some(piece) = parts.piece().await? {
                assert!(!piece.is_empty());
                content.extend_from_slice(&piece);
            }
            read.push((name, content));
        }
        Ok(read)
    }

    #[tokio::test]
    async fn a_form_is_the_same_however_it_is_cut_into_pieces() {
        for size in 1..=FORM.len() {
            let pieces = FORM.as_bytes().chunks(size).map(<[u8]>::to_vec).collect();
            let read = all(parts("multipart/form-data; boundary=x", pieces).unwrap()).await.unwrap();
            assert_eq!(read, [("ticket".into(), b"t\r\n".to_vec()), ("picture".into(), b"\r\n--y".to_vec())], "{size}");
        }
    }

    #[tokio::test]
    async fn a_form_that_is_cut_short_is_broken_wherever_it_is_cut() {
        let end = FORM.rfind("--\r\n").unwrap() + 2;
        for at in 0..end {
            let pieces = vec![FORM.as_bytes()[..at].to_vec()];
            assert_eq!(all(parts("multipart/form-data; boundary=x", pieces).unwrap()).await, Err(Broken), "{at}");
        }
        for other in ["--z\r\n\r\n", "x", "--x\r\nno: name\r\n\r\n\r\n--x--"] {
            let pieces = vec![other.as_bytes().to_vec()];
            assert_eq!(all(parts("multipart/form-data; boundary=x", pieces).unwrap()).await, Err(Broken), "{other}");
        }
    }

    #[tokio::test]
    async fn a_head_without_an_end_is_not_awaited() {
        let mut parts =
            parts("multipart/form-data; boundary=x", vec![b"--x\r\na: ".to_vec(), vec![b'x'; 1_000_000]]).unwrap();
        assert_eq!(parts.next().await, Err(Broken));
    }

    #[test]
    fn only_a_form_with_a_boundary_has_parts() {
        for good in ["multipart/form-data; boundary=x", "Multipart/Form-Data;boundary=\"x\"; charset=utf-8"] {
            assert!(parts(good, Vec::new()).is_some(), "{good}");
        }
        for bad in
            ["", "multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; boundary=x", "text/plain"]
        {
            assert!(parts(bad, Vec::new()).is_none(), "{bad}");
        }
    }
}
