//! Finds digits that may be a code or a decoy in bytes that arrive piece by piece. Such digits stand alone, with no
//! digit before or after them, and are replaced in place: a decoy has as many digits as a code. Only the digits at the
//! end of a piece are held back.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::json::Json;

/// How many digits a code or a decoy has.
const LENGTHS: [usize; 2] = [6, 8];
/// The largest of [`LENGTHS`].
const LONGEST: usize = 8;

/// The state between two pieces.
#[derive(Default)]
pub(super) struct Window {
    /// The digits at the end of the last piece, which may continue in the next one.
    held: BytesMut,
    /// Whether the last byte that was passed on is a digit.
    within: bool,
    /// What the bytes are as JSON.
    json: Json,
}

/// Bytes that may be passed on, and the places in them where digits stand alone.
pub(super) struct Ready {
    pub(super) bytes: BytesMut,
    pub(super) found: Vec<Found>,
}

/// Digits that stand alone.
pub(super) struct Found {
    pub(super) place: Range<usize>,
    /// Whether they are a number in JSON, where no zero may come first.
    pub(super) is_number: bool,
}

impl Window {
    /// Whether nothing is held back.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Notes a piece that is passed on as it is, while nothing is held back.
    pub(super) fn pass(&mut self, piece: &[u8]) {
        self.within = piece.last().is_some_and(u8::is_ascii_digit);
    }

    /// Takes the next piece; after the last one nothing is held back.
    pub(super) fn take(&mut self, piece: Bytes, last: bool) -> Ready {
        let mut bytes = if self.held.is_empty() {
            piece.try_into_mut().unwrap_or_else(|shared| BytesMut::from(shared.as_ref()))
        } else {
            let mut all = std::mem::take(&mut self.held);
            all.extend_from_slice(&piece);
            all
        };
        let mut found = Vec::new();
        // The start of the current run of digits. At the first byte, digits that were passed on before belong to it.
        let mut begun: Option<usize> = self.within.then_some(0);
        let mut alone = !self.within;
        for (at, byte) in bytes.iter().enumerate() {
            if byte.is_ascii_digit() {
                begun = begun.or(Some(at));
                continue;
            }
            if let Some(from) = begun.take() {
                add(&mut found, from..at, alone, self.json);
            }
            alone = true;
            self.json = self.json.then(*byte);
        }
        self.within = false;
        if let Some(from) = begun {
            let digits = bytes.len().saturating_sub(from);
            if last {
                add(&mut found, from..bytes.len(), alone, self.json);
            } else if alone && digits <= LONGEST {
                self.held = bytes.split_off(from);
            } else {
                self.within = true;
            }
        }
        if last {
            self.json = Json::default();
        }
        Ready { bytes, found }
    }
}

fn add(found: &mut Vec<Found>, place: Range<usize>, alone: bool, before: Json) {
    if alone && LENGTHS.contains(&place.len()) {
        found.push(Found { place, is_number: before.begins_number() });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::json::as_number, *};

    /// Replaces one run of digits by another wherever it is found, over these pieces.
    fn replaced(pieces: &[&[u8]], decoys: &[(&str, &str)]) -> String {
        let mut window = Window::default();
        let mut all = Vec::new();
        for (nth, piece) in pieces.iter().enumerate() {
            let Ready { mut bytes, found } = window.take(Bytes::copy_from_slice(piece), nth + 1 == pieces.len());
            for Found { place, is_number } in found {
                let met = decoys.iter().find(|(decoy, _)| decoy.as_bytes() == &bytes[place.clone()]);
                if let Some((_, code)) = met {
                    bytes[place.clone()].copy_from_slice(code.as_bytes());
                    if is_number {
                        as_number(&mut bytes[place]);
                    }
                }
            }
            assert!(window.held.len() <= LONGEST);
            all.extend_from_slice(&bytes);
        }
        assert!(window.is_empty());
        String::from_utf8(all).unwrap()
    }

    /// Checks the text over every cut into three pieces, some of which are empty, and byte by byte.
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let decoys = [("123456", "987654"), ("22222222", "33333333"), ("444444", "012345")];
        let bytes = text.as_bytes();
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(replaced(&pieces, &decoys), expected, "{text} cut at {first} and {second}");
            }
        }
        let single: Vec<&[u8]> = bytes.chunks(1).chain([&b""[..]]).collect();
        assert_eq!(replaced(&single, &decoys), expected, "{text}");
    }

    #[test]
    fn a_decoy_is_replaced_wherever_it_stands_and_however_it_arrives() {
        check("123456", "987654");
        check("code=123456&x=1", "code=987654&x=1");
        check("{\"otp\":\"123456\"}", "{\"otp\":\"987654\"}");
        check("{\"otp\":123456,\"again\":123456}", "{\"otp\":987654,\"again\":987654}");
        check("123456-22222222 ", "987654-33333333 ");
        check("--b\r\n\r\n22222222\r\n--b--", "--b\r\n\r\n33333333\r\n--b--");
        check("", "");
    }

    #[test]
    fn a_code_that_begins_with_zero_is_a_number_where_json_has_a_number() {
        check(r#"{"otp":444444,"s":"444444"}"#, r#"{"otp": 12345,"s":"012345"}"#);
        check(r#"42["otp",[444444]]"#, r#"42["otp",[ 12345]]"#);
        check("444444 [444444]", "012345 [ 12345]");
        check("otp:444444,[444444]", "otp:012345,[012345]");
    }

    #[test]
    fn digits_with_digits_beside_them_stay() {
        for text in
            ["%22123456", "1234567", "0123456", "12345", "123456789", "11234561", "1234561234567890123", "222222222"]
        {
            check(text, text);
        }
        check("123456789012 123456", "123456789012 987654");
        check("123456 7654321234567", "987654 7654321234567");
    }

    #[test]
    fn digits_go_on_from_a_piece_that_was_passed_on_as_it_is() {
        for (passed, expected) in [("x1", "123456 987654"), ("1x", "987654 987654")] {
            let mut window = Window::default();
            window.pass(passed.as_bytes());
            let Ready { mut bytes, found } = window.take(Bytes::from_static(b"123456 123456"), true);
            for Found { place, .. } in found {
                bytes[place].copy_from_slice(b"987654");
            }
            assert_eq!(bytes, expected, "{passed}");
        }
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(text in "[0-9 ]{0,40}|(123456|22222222|[0-9]|x){0,8}", cuts in prop::collection::vec(0_usize..41, 0..5)) {
            let decoys = [("123456", "987654"), ("22222222", "33333333")];
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([bytes.len()]) {
                pieces.push(&bytes[from..cut]);
                from = cut;
            }
            prop_assert_eq!(replaced(&pieces, &decoys), replaced(&[bytes], &decoys));
        }
    }
}
