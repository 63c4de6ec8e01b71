//! The body of a long list: its parts are read one after the other, each once the client has taken the one before, so
//! that the memory of a list depends neither on its length nor on a slow client.
//!
//! An error in the middle ends the connection without the end of the body, so no client takes a part for the whole.

use axum::body::Body;
use bytes::Bytes;
use futures::stream;

use crate::{
    domain::principal::Principal,
    operations::{Answer, Rest, Service},
};

/// The part of the body that is still to be written.
enum Left {
    Bytes(Bytes, Rest),
    Rest(Rest),
    Nothing,
}

/// A list that is being written.
struct Listing {
    service: Service,
    caller: Principal,
    left: Left,
    /// Whether an item was written, so that the next one needs a comma before it.
    begun: bool,
    /// The bytes that close the list and the document around it.
    end: Bytes,
}

/// The error that ends a list in the middle. The refusal is in the audit log.
#[derive(Debug, thiserror::Error)]
#[error("the list could not be read to its end")]
struct Ended;

/// The body of a list whose first part is this document.
pub(super) fn body(service: Service, caller: Principal, first: &str, rest: Rest) -> Body {
    let (start, items, end) = parted(first.as_bytes());
    let left = Left::Bytes(Bytes::from([start, items].concat()), rest);
    let listing = Listing { service, caller, left, begun: !items.is_empty(), end: Bytes::copy_from_slice(end) };
    Body::from_stream(stream::try_unfold(listing, Listing::next))
}

impl Listing {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Ended> {
        let mut rest = match std::mem::replace(&mut self.left, Left::Nothing) {
            Left::Bytes(bytes, rest) => return Ok(Some((bytes, Self { left: Left::Rest(rest), ..self }))),
            Left::Rest(rest) => rest,
            Left::Nothing => return Ok(None),
        };
        // A part may have no matching items; an empty chunk would end the body.
        loop {
            let answer = rest.next(&self.service, &self.caller).await.map_err(|_refusal| Ended)?;
            let mut bytes = self.items_of(&answer);
            let Some(next) = answer.rest else {
                bytes.extend_from_slice(&self.end);
                return Ok(Some((bytes.into(), self)));
            };
            if !bytes.is_empty() {
                return Ok(Some((bytes.into(), Self { left: Left::Rest(next), ..self })));
            }
            rest = next;
        }
    }

    /// The items of a part, after a comma if other items precede them.
    fn items_of(&mut self, part: &Answer) -> Vec<u8> {
        let (_, items, _) = parted(part.json.as_bytes());
        let comma: &[u8] = if self.begun && !items.is_empty() { b"," } else { b"" };
        self.begun |= !items.is_empty();
        [comma, items].concat()
    }
}

/// A document's start, with the bracket that opens its list, the list's items, and its end. The documents with lists
/// have no other list before or after it.
fn parted(document: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let open = document.iter().position(|byte| *byte == b'[').map_or(0, |at| at + 1);
    let (start, rest) = document.split_at(open);
    let (items, end) = rest.split_at(rest.iter().rposition(|byte| *byte == b']').unwrap_or(rest.len()));
    (start, items, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_parted_around_the_items_of_its_list() {
        let cases = [
            (r#"{"status":"OK","totp_secrets":[]}"#, (r#"{"status":"OK","totp_secrets":["#, "", "]}")),
            (r#"[{"a":"[]"},{"b":[1]}]"#, ("[", r#"{"a":"[]"},{"b":[1]}"#, "]")),
        ];
        for (document, (start, items, end)) in cases {
            assert_eq!(parted(document.as_bytes()), (start.as_bytes(), items.as_bytes(), end.as_bytes()), "{document}");
        }
    }
}
