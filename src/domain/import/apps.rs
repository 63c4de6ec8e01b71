//! Programs with small formats: `LastPass` Authenticator, 2FAuth, Raivo, the Authenticator extension, Duo, 1Password's
//! `export.data`, Enpass, and the answer of Vault.

use super::{
    Format, Import,
    entry::{Entry, Kind, Note, Number, Place, RawEntry, Skip},
    item::Item,
    json::Json,
    naming,
    said::Said,
    unread,
    uri::{self, Beside},
};

/// Characters of the shortest id that an app makes itself.
const ID_CHARS: usize = 16;

/// `LastPass` Authenticator. Names that the person never changed may be empty.
pub(super) fn last_pass(json: &Json) -> Import {
    let said = Said::default();
    Import::of_list(Format::LastPass, json.get("accounts").list(), |item, place| {
        let raw = RawEntry {
            issuer: item.first_text(&["issuerName", "originalIssuerName"]),
            account: item.first_text(&["userName", "originalUserName"]),
            algorithm: item.get("algorithm").word(),
            digits: item.get("digits").number().unless_zero(),
            period: item.get("timeStep").number().unless_zero(),
            ..RawEntry::plain("", "", item.get("secret").word())
        };
        said.entry(raw, item, place)
    })
}

/// 2FAuth.
pub(super) fn two_f_auth(json: &Json) -> Import {
    let said = Said::default();
    Import::of_list(Format::TwoFAuth, json.get("data").list(), |item, place| {
        if !item.has("secret") && item.has("uri") {
            // These links are decoded already, so that a name may look like a parameter.
            let mut read = uri::link(item.get("uri").text(), Beside::default(), place);
            if let Ok(found) = &mut read.read {
                found.notes.push(Note::Ambiguous);
            }
            return read;
        }
        let raw = RawEntry {
            kind: Kind::of_word(item.get("otp_type").word()),
            issuer: item.get("service").text(),
            account: item.get("account").text(),
            algorithm: item.get("algorithm").word(),
            digits: item.get("digits").number(),
            period: item.get("period").number(),
            ..RawEntry::plain("", "", item.get("secret").word())
        };
        said.entry(raw, item, place)
    })
}

/// Raivo: an array, with numbers as text.
pub(super) fn raivo(items: &[Json]) -> Import {
    let said = Said::default();
    Import::of_list(Format::Raivo, items, |item, place| {
        let raw = RawEntry {
            kind: Kind::of_word(item.get("kind").word()),
            issuer: item.get("issuer").text(),
            account: item.get("account").text(),
            algorithm: item.get("algorithm").word(),
            digits: item.get("digits").number(),
            period: item.get("timer").number(),
            ..RawEntry::plain("", "", item.get("secret").word())
        };
        said.entry(raw, item, place)
    })
}

/// Duo's accounts, as found on rooted phones. Its own accounts are push registrations.
pub(super) fn duo(items: &[Json]) -> Import {
    Import::of_list(Format::Duo, items, |item, place| {
        let key = item.at(&["otpGenerator", "otpSecret"]).text();
        let kind = if item.at(&["otpGenerator", "counter"]).is_null() { Kind::Totp } else { Kind::HOTP };
        RawEntry { kind, ..RawEntry::plain("", item.get("name").text(), key) }.entry(place)
    })
}

/// The Authenticator extension of browsers: an object of entries by hash. People write such objects, too, by names.
pub(super) fn extension(json: &Json) -> Option<Import> {
    // The extension's own settings.
    const OTHERS: [&str; 2] = ["key", "LocalStorage"];
    let is_entry = |item: &Json| item.has("secret") || item.has("account");
    let is_link = |item: &Json| uri::is_link(item.text());
    let is_of_entries = |item: &Json| is_entry(item) || is_link(item) || item.list().iter().any(is_entry);
    json.fields().find(|(_, item)| is_of_entries(item))?;
    let may_be_entry = |(name, item): &(&str, &Json)| {
        is_entry(item)
            || (item.is_object() || item.is_list()) && !OTHERS.contains(name)
            || unread::is_key(item.text())
            || item.text().contains("://") && uri::has(item.text(), "otpauth")
    };
    // A person may have put several entries under one name.
    let entries = json.fields().filter(may_be_entry).flat_map(|(name, item)| {
        // The extension keeps the hash in the entry, too.
        let name = if is_id(name) || item.has("hash") { "" } else { name };
        let one = (!item.is_list()).then_some((name, item));
        one.into_iter().chain(item.list().iter().map(move |item| (name, item)))
    });
    let said = Said::default();
    Some(Import::of_named(Format::Extension, entries, |name, item, place| {
        let (issuer, account) = (item.get("issuer").text(), item.get("account").text());
        // `Issuer::domain` restricts an entry to a page.
        let issuer = issuer.split("::").next().unwrap_or_default();
        let issuer = if issuer.trim().is_empty() { name } else { issuer };
        if item.get("encrypted").is_true() {
            Entry::skipped(place, naming::title(issuer, account), Skip::Encrypted)
        } else {
            let kind = match item.get("type").word() {
                "hex" | "hhex" => Kind::Other("hexadecimal-key"),
                word => Kind::of_word(word),
            };
            let raw = RawEntry {
                kind,
                issuer,
                account,
                algorithm: item.get("algorithm").word(),
                digits: item.get("digits").number(),
                period: item.get("period").number(),
                ..RawEntry::plain("", "", item.get("secret").word())
            };
            said.entry(raw, item, place)
        }
    }))
}

/// Whether the name of an entry is a number, a hash or another id, as the extension names its entries.
fn is_id(name: &str) -> bool {
    let has_digit = name.bytes().any(|byte| byte.is_ascii_digit());
    !name.contains(char::is_alphabetic) || has_digit && name.len() >= ID_CHARS && !name.contains(char::is_whitespace)
}

/// The answer of Vault or `OpenBao` to the creation of a key. Later answers don't hold it.
pub(super) fn vault(json: &Json) -> Option<Import> {
    let data = if json.get("data").is_object() { json.get("data") } else { json };
    if uri::is_link(data.get("url").text()) {
        let read = uri::link(data.get("url").text(), Beside::default(), Place::nth(0));
        return Some(Import { entries: vec![read], ..Import::new(Format::Vault) });
    }
    None
}

/// 1Password's `export.data`: any section may hold seeds, and an item several.
pub(super) fn one_password(json: &Json) -> Import {
    let mut import = Import::new(Format::OnePassword);
    let vaults = json.get("accounts").list().iter().flat_map(|account| account.get("vaults").list());
    let items = vaults.flat_map(|vault| vault.get("items").list());
    for (index, item) in items.enumerate() {
        let item = if item.get("item").is_object() { item.get("item") } else { item };
        let logins = item.at(&["details", "loginFields"]).list();
        let user = logins.iter().find(|field| field.get("designation").text() == "username");
        let account = user.map_or("", |field| field.get("value").text());
        let beside = Beside { issuer: item.at(&["overview", "title"]).text(), account, ..Beside::default() };
        let trashed = item.get("state").text().eq_ignore_ascii_case("trashed")
            || matches!(item.get("trashed").number(), Number::Is(1))
            || item.get("trashed").is_true();
        let mut found = Item::new(beside, Place::nth(index), trashed.then_some(Skip::Trashed));
        for field in item.at(&["details", "sections"]).list().iter().flat_map(|section| section.get("fields").list()) {
            let value = field.get("value");
            found.own(value.get("totp").word(), None);
            for kind in ["concealed", "string"] {
                found.field_of(field.get("title").text(), value.get(kind));
            }
        }
        found.scan_all(item);
        found.field("notes", item.at(&["details", "notesPlain"]).text());
        import.entries.append(&mut found.entries());
    }
    import
}

/// Enpass: an item's fields have types, and the value of a removed one is kept.
pub(super) fn enpass(json: &Json) -> Option<Import> {
    let items = json.get("items").list();
    let is_field = |field: &Json| field.has("type") && field.has("value") && field.has("label");
    items.iter().find(|item| item.has("title") && item.get("fields").list().iter().any(is_field))?;
    let is_true = |json: &Json| json.is_true() || json.number() == Number::Is(1);
    let mut import = Import::new(Format::Enpass);
    for (index, item) in items.iter().enumerate() {
        let fields = || item.get("fields").list().iter().filter(|field| !is_true(field.get("deleted")));
        let users = ["username", "email"].into_iter();
        let mut users = users.flat_map(|kind| fields().filter(move |field| field.get("type").text() == kind));
        let account = users.find_map(|user| Some(user.get("value").text()).filter(|text| !text.trim().is_empty()));
        let beside =
            Beside { issuer: item.get("title").text(), account: account.unwrap_or_default(), ..Beside::default() };
        let why = is_true(item.get("trashed")).then_some(Skip::Trashed);
        let mut found = Item::new(beside, Place::nth(index), if item.repeated() { Some(Skip::Repeated) } else { why });
        for field in fields() {
            let value = field.get("value");
            if field.get("type").text() == "totp" {
                found.own(value.word(), None);
            } else {
                found.field_of(field.get("label").text(), value);
                found.scan(value.text());
            }
        }
        found.scan(item.get("note").text());
        found.field("note", item.get("note").text());
        import.entries.append(&mut found.entries());
    }
    Some(import)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_of_duo_are_reported_by_its_name() {
        assert_eq!(duo(&[]).format.name(), "Duo Mobile");
    }
}
