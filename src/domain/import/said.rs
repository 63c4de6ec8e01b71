//! The entries of lists in JSON: what their members say beyond the fields of a format. Many such files are written by
//! hand, and the names of their fields are a person's own, like those of the columns of a table.

use std::{borrow::Cow, cell::RefCell};

use super::{
    Format, Import,
    columns::Columns,
    entry::{Entry, Kind, Note, Number, Place, RawEntry, Skip},
    fields::plain,
    item::Item,
    json::Json,
    unread,
    uri::{Beside, StatedParameters},
    walk::{self, MEMBERS_MAX},
};
use crate::domain::{limits::IMPORT_ENTRIES_MAX, seed::Seed};

impl Import {
    /// The entries of a list, each by the same reader. An item that names a field twice is skipped.
    pub(super) fn of_list<'a>(
        format: Format,
        list: impl IntoIterator<Item = &'a Json>,
        read: impl Fn(&Json, Place) -> Entry,
    ) -> Self {
        Self::of_named(format, list.into_iter().map(|item| ("", item)), |_, item, place| read(item, place))
    }

    /// The same for the members of an object, with their names. A text that is a link is an entry of its own.
    pub(super) fn of_named<'a>(
        format: Format,
        list: impl IntoIterator<Item = (&'a str, &'a Json)>,
        read: impl Fn(&str, &Json, Place) -> Entry,
    ) -> Self {
        let entries = |(index, (name, item)): (usize, (&str, &Json))| {
            let place = Place::nth(index);
            let why = if item.repeated() { Some(Skip::Repeated) } else { (!item.is_object()).then_some(Skip::Shape) };
            let Some(why) = why else { return entries_of(item, read(name, item, place), place) };
            let mut found = Item::new(Beside { issuer: name, ..Beside::default() }, place, None);
            found.scan(item.text());
            if found.is_empty() {
                found.skip(why);
            }
            found.entries()
        };
        // One entry more than an import accepts has it refused; a longer list of empty items takes no more memory.
        let list = list.into_iter().take(IMPORT_ENTRIES_MAX + 1).enumerate();
        Self { entries: list.flat_map(entries).collect(), ..Self::new(format) }
    }
}

/// The entries of an item: the one that was read, and the links and keys in the rest of it.
fn entries_of(item: &Json, mut read: Entry, place: Place) -> Vec<Entry> {
    let texts = walk::texts("", item);
    let has_key = |read: &Entry| !matches!(read.read, Err(Skip::NoSeed));
    let keys = texts.iter().filter(|(_, text)| !has_key(&read) && unread::is_key(text)).count();
    if keys > 0 {
        read.read = Err(Skip::Elsewhere);
    }
    let mut found = Item::new(Beside::default(), place, None);
    let is_read = read.read.is_ok();
    // What has no key of its own may have a link.
    let empty = if has_key(&read) {
        found.add(true, read, None);
        None
    } else {
        Some(read)
    };
    // The first of them is the entry's.
    (1..keys).for_each(|_| found.skip(Skip::Elsewhere));
    // Some people keep another link in an entry's note.
    let note = item.get("note").text();
    found.scan(note);
    for (name, text) in texts.iter().filter(|(_, text)| *text != note) {
        // The key of a link that an app keeps beside a skipped entry is also in another member.
        let is_own = |seed: &Seed| texts.iter().any(|(_, other)| other != text && seed.is_in(other));
        found.scan_beside(text, |seed| !is_read && texts.len() <= MEMBERS_MAX && is_own(seed));
        if is_read && unread::is_key(text) {
            found.beside(name, text, Skip::Elsewhere);
        }
    }
    if is_read && unread::is_key(note) {
        found.beside("note", note, Skip::Elsewhere);
    }
    let entries = found.entries();
    if entries.is_empty() { empty.into_iter().collect() } else { entries }
}

/// Reads entries whose fields may have other names than those of their format.
#[derive(Default)]
pub(super) struct Said {
    /// The members of the entry before, as columns of a table: most lists have the same in each entry.
    before: RefCell<Option<Columns>>,
}

impl Said {
    /// Makes an entry of the values that a format has, and of what else the item says of how its codes are made. Where
    /// something of that is not understood, the entry is doubtful.
    pub(super) fn entry(&self, raw: RawEntry<'_>, item: &Json, place: Place) -> Entry {
        let members = members(item);
        if members.len() > MEMBERS_MAX {
            let mut entry = raw.entry(place);
            entry.read.iter_mut().for_each(|found| found.notes.push(Note::Unread));
            return entry;
        }
        let is_same = |columns: &Columns| columns.names.iter().eq(members.iter().map(|(name, _)| name));
        let columns = self.before.take().filter(is_same).unwrap_or_else(|| {
            let names: Vec<String> = members.iter().map(|(name, _)| name.clone()).collect();
            Columns::of(&names)
        });
        let text = |at: usize| members.get(at).map_or("", |(_, text)| text.trim());
        let said = columns.settings.stated(text, None);
        // Some apps write a zero where they have no value.
        let or = |own: Number, said: Number| if own == Number::Absent { said.unless_zero() } else { own };
        let stated = StatedParameters {
            algorithm: if raw.algorithm.is_empty() { said.algorithm } else { raw.algorithm },
            digits: or(raw.digits, said.digits),
            period: or(raw.period, said.period),
            ..said
        };
        let StatedParameters { algorithm, digits, period, .. } = stated;
        let kind = if raw.kind == Kind::Totp { Kind::of_word(said.kind) } else { raw.kind };
        let raw = RawEntry { kind, algorithm, digits, period, ..raw };
        let mut entry = raw.entry(place);
        if columns.may_say_more(text, &stated) {
            entry.read.iter_mut().for_each(|found| found.notes.push(Note::Unread));
        }
        self.before.replace(Some(columns));
        entry
    }
}

/// The texts, numbers and truths in an object and in the objects in it, each with its name.
pub(super) fn members(item: &Json) -> Vec<(String, Cow<'_, str>)> {
    let mut members = Vec::new();
    collect(item, &mut members);
    members
}

fn collect<'a>(item: &'a Json, members: &mut Vec<(String, Cow<'a, str>)>) {
    for (name, value) in item.fields() {
        let text = match value {
            Json::Text(text) => Cow::Borrowed(text.as_str()),
            Json::Whole(number) => Cow::Owned(number.to_string()),
            Json::Bool(is_true) => Cow::Borrowed(if *is_true { "true" } else { "false" }),
            Json::Fraction => Cow::Borrowed("?"),
            Json::Null | Json::List(_) => continue,
            Json::Object(_) => {
                collect(value, members);
                continue;
            }
        };
        members.push((plain(name), text));
    }
}
