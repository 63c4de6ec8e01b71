//! The FIDO Credential Exchange Format 1.0: accounts with items, whose credentials include seeds.

use super::{
    Format, Import,
    entry::{Entry, Key, Kind, Place, RawEntry, Skip},
    json::Json,
};

/// Reads a document, or `None` if it has no items of this format.
pub(super) fn read(json: &Json) -> Option<Import> {
    let accounts = json.get("accounts").list().iter().chain(std::iter::once(json));
    let items: Vec<&Json> = accounts.flat_map(|account| account.get("items").list()).collect();
    if !items.iter().any(|item| item.has("credentials")) {
        return None;
    }
    let mut import = Import::new(Format::Cxf);
    for (index, item) in items.into_iter().enumerate() {
        let place = Place::nth(index);
        for credential in item.get("credentials").list() {
            if credential.get("type").text() == "totp" {
                import.entries.push(if item.repeated() {
                    Entry::skipped(place, None, Skip::Repeated)
                } else {
                    entry(credential, item, place)
                });
            }
        }
    }
    Some(import)
}

fn entry(json: &Json, item: &Json, place: Place) -> Entry {
    let algorithm = json.get("algorithm").word();
    let or = |text: &str, other: &str| if text.trim().is_empty() { other.to_owned() } else { text.to_owned() };
    let issuer = or(json.get("issuer").text(), item.get("title").text());
    // The user of the item's login, for a seed that names none.
    let user = item.get("credentials").list().iter().map(|other| other.at(&["username", "value"]).text());
    let account = or(json.get("username").text(), user.into_iter().find(|text| !text.is_empty()).unwrap_or_default());
    let said = RawEntry {
        kind: if algorithm.eq_ignore_ascii_case("steam") { Kind::STEAM } else { Kind::Totp },
        issuer: &issuer,
        account: &account,
        key: Key::Text(json.get("secret").word()),
        algorithm,
        digits: json.get("digits").number(),
        period: json.get("period").number(),
    };
    said.entry(place)
}
