//! The XML of `KeePass` and `KeePassXC`: groups with entries, whose fields hold seeds in several ways.

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use zeroize::Zeroizing;

use super::{
    Format, Import, ImportError,
    entry::{Entry, Key, Kind, Number, Place, RawEntry, Skip},
    item::Item,
    json::number_of,
    uri::{self, Beside},
    xml::{Piece, Xml},
};

type Text = Zeroizing<String>;

/// Reveals the protected values of a database, in the document's order.
pub(super) type Reveal<'a> = &'a mut dyn FnMut(&str) -> Option<Text>;

/// Reads a document. Old versions of entries are no entries: their seeds were replaced.
pub(super) fn read(text: &str, reveal: Reveal<'_>) -> Result<Import, ImportError> {
    let mut xml = Xml::new(text);
    let mut document = Document {
        import: Import::new(Format::KeePass),
        bin: Text::default(),
        groups: Vec::new(),
        fields: Vec::new(),
        count: 0,
    };
    let (mut value, mut is_protected) = (Text::default(), false);
    while let Some(piece) = xml.next()? {
        match piece {
            Piece::Open { name, attributes } => {
                value = Text::default();
                is_protected = attributes.contains("Protected=\"True\"");
                document.opens(name, xml.is_inside("History"));
            }
            Piece::Text(text) => value = text,
            Piece::Close { name } => {
                // Every protected value takes its part of one stream, needed or not.
                if std::mem::take(&mut is_protected) {
                    value = reveal(&value).ok_or(ImportError::Damaged)?;
                }
                if !xml.is_inside("History") {
                    document.closes(name, std::mem::take(&mut value), &xml);
                }
            }
        }
    }
    Ok(document.import)
}

struct Document {
    import: Import,
    /// The id of the group of deleted entries.
    bin: Text,
    /// Whether each open group is deleted.
    groups: Vec<bool>,
    /// The fields of the open entry.
    fields: Vec<(Text, Text)>,
    /// The entries so far, with and without seeds.
    count: usize,
}

impl Document {
    fn opens(&mut self, name: &str, is_old: bool) {
        match name {
            "Group" => self.groups.push(self.groups.last().is_some_and(|deleted| *deleted)),
            "Entry" if !is_old => {
                self.fields.clear();
                self.count += 1;
            }
            "String" if !is_old => self.fields.push((Text::default(), Text::default())),
            _ => {}
        }
    }

    fn closes(&mut self, name: &str, value: Text, xml: &Xml<'_>) {
        // Other keys and values belong to the data that plugins keep beside the fields.
        let is_of_field = xml.is_inside("String");
        match name {
            "RecycleBinUUID" => self.bin = value,
            "UUID" if !xml.is_inside("Entry") && !self.bin.is_empty() && value == self.bin => {
                if let Some(deleted) = self.groups.last_mut() {
                    *deleted = true;
                }
            }
            "Key" if is_of_field => {
                if let Some((key, _)) = self.fields.last_mut() {
                    *key = value;
                }
            }
            "Value" if is_of_field => {
                if let Some((_, kept)) = self.fields.last_mut() {
                    *kept = value;
                }
            }
            "Entry" => {
                let deleted = self.groups.last().is_some_and(|deleted| *deleted);
                let mut entries = entries(&self.fields, Place::Entry(self.count));
                for entry in entries.iter_mut().filter(|_| deleted) {
                    entry.read = Err(Skip::Trashed);
                }
                self.import.entries.append(&mut entries);
                self.fields.clear();
            }
            "Group" => drop(self.groups.pop()),
            _ => {}
        }
    }
}

/// The secrets of an entry: plugins and versions keep them in different fields.
fn entries(fields: &[(Text, Text)], place: Place) -> Vec<Entry> {
    let field =
        |name: &str| fields.iter().find(|(key, _)| key.as_str() == name).map_or("", |(_, value)| value.as_str());
    let beside = Beside { issuer: field("Title"), account: field("UserName"), ..Beside::default() };
    let mut found = Item::new(beside, place, None);
    for (key, value) in fields {
        if key.as_str() == "otp" || key.starts_with("otp_") {
            match without_default(value) {
                Some(nameless) => found.add(true, uri::link(&nameless, beside, place), None),
                None if value.contains("://") || value.trim().is_empty() => found.own(value, None),
                None => found.add(true, kee_otp(value, beside, place), None),
            }
        }
    }
    let raw = |secret| RawEntry::plain(beside.issuer, beside.account, secret);
    let seed = field("TOTP Seed");
    if !seed.trim().is_empty() {
        let mut settings = field("TOTP Settings").split(';');
        let (period, digits) = (settings.next().unwrap_or_default(), settings.next().unwrap_or_default());
        let kind = if digits.trim() == "S" { Kind::STEAM } else { Kind::Totp };
        let (period, digits) = (number_of(period), if kind == Kind::Totp { number_of(digits) } else { Number::Absent });
        found.add(true, RawEntry { kind, digits, period, ..raw(seed) }.entry(place), None);
    }
    let (period, digits) = (number_of(field("TimeOtp-Period")), number_of(field("TimeOtp-Length")));
    let algorithm = field("TimeOtp-Algorithm");
    let bytes = |name, read: fn(&[u8]) -> Option<Vec<u8>>| {
        let text = field(name).trim();
        (!text.is_empty()).then(|| read(text.as_bytes()).map(|bytes| Key::Bytes(Zeroizing::new(bytes))))
    };
    let base32 = field("TimeOtp-Secret-Base32");
    let key = bytes("TimeOtp-Secret", |text| Some(text.to_vec()))
        .or_else(|| bytes("TimeOtp-Secret-Hex", |text| HEXLOWER_PERMISSIVE.decode(text).ok()))
        .or_else(|| bytes("TimeOtp-Secret-Base64", |text| BASE64.decode(text).ok()))
        .or_else(|| (!base32.trim().is_empty()).then_some(Some(Key::Text(base32))));
    match key {
        Some(Some(key)) => found.add(true, RawEntry { key, algorithm, digits, period, ..raw("") }.entry(place), None),
        Some(None) => found.skip(Skip::Shape),
        None => {}
    }
    // `KeePass` has counter-based secrets beside the others.
    if fields.iter().any(|(key, value)| key.starts_with("HmacOtp-Secret") && !value.trim().is_empty()) {
        found.add(true, RawEntry { kind: Kind::HOTP, ..raw("") }.entry(place), None);
    }
    for (key, value) in fields.iter().filter(|(key, _)| !is_of_plugin(key)) {
        found.field(key, value);
        found.scan(value);
    }
    found.entries()
}

/// Whether a field is one of those in which plugins and versions keep seeds.
fn is_of_plugin(key: &str) -> bool {
    key == "otp" || ["otp_", "TOTP Se", "TimeOtp-", "HmacOtp-"].iter().any(|start| key.starts_with(start))
}

/// A link of `KeeWeb`, which calls each account `default`, without that name.
fn without_default(link: &str) -> Option<Text> {
    const DEFAULT: &str = "otpauth://totp/default?";
    let rest = link.trim_start().strip_prefix(DEFAULT)?;
    let mut nameless = Zeroizing::new(String::with_capacity(link.len()));
    nameless.extend(["otpauth://totp/?", rest]);
    Some(nameless)
}

/// Reads the format of the plugin `KeeOtp`: `key=BASE32&size=8&step=60`.
fn kee_otp(text: &str, beside: Beside<'_>, place: Place) -> Entry {
    let value = |name: &str| {
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        let found = pairs.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        percent_encoding::percent_decode_str(found.map_or("", |(_, value)| value)).decode_utf8_lossy().into_owned()
    };
    let secret = Zeroizing::new(value("key"));
    if secret.is_empty() {
        // Some people paste the bare seed there.
        return uri::link_or_seed(text, beside, place);
    }
    let algorithm = value("otpHashMode");
    let raw = RawEntry {
        kind: Kind::of_word(&value("type")),
        algorithm: &algorithm,
        digits: number_of(&value("size")),
        period: number_of(&value("step")),
        ..RawEntry::plain(beside.issuer, beside.account, &secret)
    };
    raw.entry(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_outside_a_field_never_replace_one() {
        let seed =
            "<String><Key>otp</Key><Value>otpauth://totp/A:b?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ</Value></String>";
        for beside in [
            "<CustomData><Item><Key>plugin</Key><Value>1</Value></Item></CustomData>",
            "<Binary><Key>photo.jpg</Key><Value Ref=\"0\"/></Binary>",
        ] {
            let text = format!("<KeePassFile><Root><Group><Entry>{seed}{beside}</Entry></Group></Root></KeePassFile>");
            let import = read(&text, &mut |_| None).unwrap();
            let kept: Vec<_> = import.entries.iter().filter_map(|entry| entry.read.as_ref().ok()).collect();
            assert_eq!(kept.len(), 1, "{beside}");
        }
    }
}
