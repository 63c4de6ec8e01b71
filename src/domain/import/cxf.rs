//! The FIDO Credential Exchange Format 1.0: accounts with items, whose credentials include seeds.

use super::{
    Format, Import,
    entry::{Entry, Key, Kind, Place, RawEntry, Skip},
    item::Item,
    json::Json,
    said::Said,
    uri::Beside,
};

/// Reads a document, or `None` if it has no items of this format.
pub(super) fn read(json: &Json) -> Option<Import> {
    let accounts = json.get("accounts").list().iter().chain(std::iter::once(json));
    let items: Vec<&Json> = accounts.flat_map(|account| account.get("items").list()).collect();
    if !items.iter().any(|item| item.has("credentials")) {
        return None;
    }
    let said = Said::default();
    let mut import = Import::new(Format::Cxf);
    for (index, item) in items.into_iter().enumerate() {
        let credentials = || item.get("credentials").list().iter();
        let user = credentials().map(|other| other.at(&["username", "value"]).text()).find(|text| !text.is_empty());
        let beside =
            Beside { issuer: item.get("title").text(), account: user.unwrap_or_default(), ..Beside::default() };
        let place = Place::nth(index);
        let mut found = Item::new(beside, place, item.repeated().then_some(Skip::Repeated));
        let is_totp = |credential: &&Json| credential.get("type").text().eq_ignore_ascii_case("totp");
        for credential in credentials().filter(is_totp) {
            found.add(true, entry(credential, beside, place, &said), None);
            found.pass_over(credential.get("secret"));
        }
        found.scan_all(item);
        import.entries.append(&mut found.entries());
    }
    Some(import)
}

/// A seed, which has the names of its item if it has none of its own.
fn entry(json: &Json, beside: Beside<'_>, place: Place, said: &Said) -> Entry {
    let algorithm = json.get("algorithm").word();
    let or = |text: &str, other: &str| if text.trim().is_empty() { other.to_owned() } else { text.to_owned() };
    let issuer = or(json.get("issuer").text(), beside.issuer);
    let account = or(json.get("username").text(), beside.account);
    let raw = RawEntry {
        kind: if algorithm.eq_ignore_ascii_case("steam") { Kind::STEAM } else { Kind::Totp },
        issuer: &issuer,
        account: &account,
        key: Key::Text(json.get("secret").word()),
        algorithm,
        digits: json.get("digits").number(),
        period: json.get("period").number(),
    };
    said.entry(raw, json, place)
}
