//! The targets of `fuzz/`: each parser of untrusted input, on any bytes. It must neither panic nor hang, and the values
//! that it accepts must keep what they promise. Built only for a fuzzer.
#![expect(clippy::panic, clippy::expect_used, reason = "a fuzzer finds a broken promise by its panic")]

use std::str;

use crate::{
    domain::{
        api_key::{KeyId, PlainKey},
        import,
        limits::TEXT_CHARS_MAX,
        name_query::NameQuery,
        origin::Origin,
        otpauth::OtpAuth,
        seed::Seed,
        text::{Claim, Purpose, ShownText},
    },
    picture, transport, vault,
};

/// A target's name, and its function.
type Target = (&'static str, fn(&[u8]));

/// The target of this name.
pub fn target(name: &str) -> Option<fn(&[u8])> {
    TARGETS.into_iter().chain(import::PARSERS).find(|(known, _)| *known == name).map(|(_, target)| target)
}

/// Every target but those for one format of imports, which `domain/import` has.
const TARGETS: [Target; 9] = [
    ("uri", uri),
    ("seed", seed),
    ("text", text),
    ("claim", claim),
    ("import", read_import),
    ("picture", read_picture),
    ("token", token),
    ("line", transport::fuzz_line),
    ("stored", vault::fuzz_stored),
];

fn uri(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(read) = OtpAuth::parse(text) {
        let again = OtpAuth::parse(&read.to_uri()).unwrap_or_else(|_| panic!("its own URI is not read"));
        assert!(again.to_uri() == read.to_uri(), "its own URI is read as something else");
    }
}

fn seed(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(read) = Seed::from_base32(text) {
        let again = Seed::from_base32(&read.to_base32()).expect("its own text is read");
        assert!(*again.to_base32() == *read.to_base32(), "its own text is read as something else");
    }
}

fn text(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(label) = ShownText::parse(text) {
        assert!(ShownText::parse(label.as_str()).as_ref() == Ok(&label), "its own text is read as something else");
    }
    let _ = text.parse::<Origin>();
    // A query and a name are at most this long.
    let short: String = text.chars().take(TEXT_CHARS_MAX).collect();
    let _ = NameQuery::of(&short).matches(Some(&short), &short);
}

/// Texts that are searched for a seed before they are stored. A separate target: it takes longer than everything in
/// `text`.
fn claim(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let _ = (Purpose::of(text), Claim::of(text));
}

fn read_import(bytes: &[u8]) {
    let _ = import::open(bytes);
}

fn read_picture(bytes: &[u8]) {
    let _ = picture::read(bytes);
}

fn token(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let _ = (PlainKey::from_token(text), text.parse::<KeyId>());
    if let Some((id, secret)) = text.split_once(' ') {
        let _ = PlainKey::from_pair(id, secret);
    }
}
