//! Our own export, and lists of links or registrations in JSON.

use zeroize::Zeroizing;

use super::{
    Format, Import,
    columns::Columns,
    entry::{Entry, ImportedSecret, Key, Kind, Place, RawEntry, Skip},
    google,
    item::Item,
    json::Json,
    said::members,
    table::Row,
    uri::{self, Beside},
    walk::MEMBERS_MAX,
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
        entries: items.iter().take(IMPORT_ENTRIES_MAX + 1).enumerate().flat_map(entry).collect(),
        ..Import::new(Format::Countersign)
    }
}

fn entry(json: &Json, place: Place) -> Vec<Entry> {
    if google::is_link(json.text()) {
        let mut found = Item::new(Beside::default(), place, None);
        found.own(json.text(), None);
        return found.entries();
    }
    if json.is_text() {
        return vec![uri::link(json.text(), Beside::default(), place)];
    }
    if json.repeated() {
        return vec![Entry::skipped(place, None, Skip::Repeated)];
    }
    if !json.is_object() {
        return vec![Entry::skipped(place, None, Skip::Shape)];
    }
    let read = if json.has("uri") {
        uri::link(json.get("uri").text(), Beside::default(), place)
    } else {
        raw(json).entry(place)
    };
    if let Err(Skip::UnknownField) = checked(json)
        && let Some(entries) = by_names(json, place)
    {
        return entries;
    }
    let Entry { title, read, .. } = read;
    let found =
        read.map(|found| ImportedSecret { single_use: found.single_use || json.get("single_use").is_true(), ..found });
    vec![Entry { place, title, read: checked(json).and(found) }]
}

/// The entries of an object that a person wrote with other names of fields, by these names, like a row of a table. An
/// object with the fields that only registrations have is one; its misspelt fields are not guessed at.
fn by_names(json: &Json, place: Place) -> Option<Vec<Entry>> {
    const OF_REGISTRATIONS: [&str; 3] = ["uri", "label", "single_use"];
    let is_registration = OF_REGISTRATIONS.iter().any(|name| json.has(name));
    let members = members(json);
    if is_registration || members.len() > MEMBERS_MAX || json.fields().any(|(_, value)| value.is_list()) {
        return None;
    }
    let names: Vec<String> = members.iter().map(|(name, _)| name.clone()).collect();
    let cells = members.iter().map(|(_, text)| Zeroizing::new(text.clone().into_owned())).collect();
    let row = Row { line: 0, cells, is_ended: true };
    let mut columns = Columns::of(&names);
    columns.see_numbers(std::iter::once(&row));
    let mut import = Import::new(Format::Csv);
    columns.add(&row, &mut import);
    let of_list = |entry: Entry| match entry.read {
        Err(Skip::Column(_)) => Entry::skipped(place, entry.title, Skip::Elsewhere),
        read @ (Ok(_) | Err(_)) => Entry { place, read, ..entry },
    };
    let entries: Vec<Entry> = import.entries.into_iter().map(of_list).collect();
    (!entries.is_empty()).then_some(entries)
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
