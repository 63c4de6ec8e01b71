//! FreeOTP+: `{tokens, tokenOrder}`, with seeds as arrays of signed bytes.

use zeroize::Zeroizing;

use super::{
    Format, Import,
    entry::{Entry, Key, Kind, Place, RawEntry, Skip},
    json::Json,
    said::Said,
};

/// Reads an export.
pub(super) fn read(json: &Json) -> Import {
    let said = Said::default();
    Import::of_list(Format::FreeOtp, json.get("tokens").list(), |item, place| entry(item, place, &said))
}

fn entry(json: &Json, place: Place, said: &Said) -> Entry {
    // The names that the person chose come first.
    let issuer = json.first_text(&["issuerAlt", "issuerExt", "issuerInt"]);
    let account = json.first_text(&["labelAlt", "label"]);
    let Some(bytes) = bytes(json.get("secret")) else {
        return Entry::skipped(place, super::naming::title(issuer, account), Skip::Shape);
    };
    let raw = RawEntry {
        kind: Kind::of_word(json.get("type").word()),
        issuer,
        account,
        key: Key::Bytes(bytes),
        algorithm: json.get("algo").word(),
        digits: json.get("digits").number(),
        period: json.get("period").number(),
    };
    said.entry(raw, json, place)
}

/// The bytes of an array of numbers, which Java writes with a sign.
fn bytes(json: &Json) -> Option<Zeroizing<Vec<u8>>> {
    if !json.is_list() && !json.is_null() {
        return None;
    }
    let items = json.list();
    let mut bytes = Zeroizing::new(Vec::with_capacity(items.len()));
    for item in items {
        let Json::Whole(number) = item else { return None };
        let byte = u8::try_from(*number).ok().or_else(|| i8::try_from(*number).ok().map(i8::cast_unsigned));
        bytes.push(byte?);
    }
    Some(bytes)
}
