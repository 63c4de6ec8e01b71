//! Our own export, and lists of links or registrations in JSON.

use super::{
    Format, Import,
    entry::{Entry, ImportedSecret, Key, Kind, Place, RawEntry, Skip},
    json::Json,
    uri::{self, Beside},
};

use crate::domain::limits::IMPORT_ENTRIES_MAX;

/// The fields of a registration.
const FIELDS: [&str; 8] = ["uri", "label", "secret", "issuer", "algorithm", "digits", "period", "single_use"];

/// The document that `secret export --json` prints.
pub(super) fn exported(json: &Json) -> Import {
    array(json.get("uris").list())
}

/// An array of links and registrations.
pub(super) fn array(items: &[Json]) -> Import {
    let entry = |(index, item): (usize, &Json)| entry(item, Place::nth(index));
    Import {
        entries: items.iter().take(IMPORT_ENTRIES_MAX + 1).enumerate().map(entry).collect(),
        ..Import::new(Format::Countersign)
    }
}

fn entry(json: &Json, place: Place) -> Entry {
    if json.is_text() {
        return uri::link(json.text(), Beside::default(), place);
    }
    if json.repeated() {
        return Entry::skipped(place, None, Skip::Repeated);
    }
    if !json.is_object() {
        return Entry::skipped(place, None, Skip::Shape);
    }
    let read = if json.has("uri") {
        uri::link(json.get("uri").text(), Beside::default(), place)
    } else {
        raw(json).entry(place)
    };
    let Entry { title, read, .. } = read;
    let found =
        read.map(|found| ImportedSecret { single_use: found.single_use || json.get("single_use").is_true(), ..found });
    Entry { place, title, read: checked(json).and(found) }
}

fn raw(json: &Json) -> RawEntry<'_> {
    RawEntry {
        kind: Kind::Totp,
        issuer: json.get("issuer").text(),
        account: json.get("label").text(),
        key: Key::Text(json.get("secret").word()),
        algorithm: json.get("algorithm").word(),
        digits: json.get("digits").number(),
        period: json.get("period").number(),
    }
}

/// Refuses unknown fields and wrong types: a misspelt setting would make every code wrong.
fn checked(json: &Json) -> Result<(), Skip> {
    for (name, value) in json.fields() {
        let Some(field) = FIELDS.into_iter().find(|known| *known == name) else { return Err(Skip::UnknownField) };
        let fits = match field {
            "digits" | "period" => !value.is_list() && !value.is_object(),
            "single_use" => value.is_null() || matches!(value, Json::Bool(_)),
            _ => value.is_null() || value.is_text(),
        };
        if !fits {
            return Err(Skip::Field(field));
        }
    }
    Ok(())
}
