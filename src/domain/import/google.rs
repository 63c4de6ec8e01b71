//! Export links of Google Authenticator: `otpauth-migration://offline?data=` and a protobuf message. Parts of one export
//! are links of their own, ten accounts each.

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD};
use zeroize::Zeroizing;

use super::{
    Format, Import, Part,
    entry::{Entry, Key, Kind, Note, Number, Place, RawEntry, Skip},
    uri,
};
use crate::domain::limits::GOOGLE_PARTS_MAX;

const SCHEME: &str = "otpauth-migration://";

/// Whether a line is such a link.
pub(super) fn is_link(text: &str) -> bool {
    uri::starts(text, SCHEME)
}

/// Adds the accounts of a link. A damaged link is one skipped entry: how many accounts it held is unknown.
pub(super) fn read(text: &str, line: usize, import: &mut Import) {
    import.format = Format::Google;
    let data = data_of(text).unwrap_or_default();
    if add(data, line, import) {
        return;
    }
    // Words and a dot may follow the link.
    let word = data.split(char::is_whitespace).next().unwrap_or_default();
    let word = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '/' | '=' | '-' | '_'));
    let before = import.entries.len();
    if word.len() < data.len() && add(word, line, import) {
        let found = import.entries.iter_mut().skip(before).filter_map(|entry| entry.read.as_mut().ok());
        found.for_each(|found| found.notes.push(Note::Around));
    } else {
        import.entries.push(Entry::skipped(Place::Line(line), None, Skip::Migration));
    }
}

fn data_of(link: &str) -> Option<&str> {
    let (_, query) = link.split_once('?')?;
    query.split('&').find_map(|pair| pair.strip_prefix("data="))
}

/// Adds the accounts of a link's data, if all of it can be read.
fn add(data: &str, line: usize, import: &mut Import) -> bool {
    let before = import.entries.len();
    let is_read = message(data).is_some_and(|message| accounts(&message, line, import).is_some());
    if !is_read {
        import.entries.truncate(before);
    }
    is_read
}

/// The message in a link's data: base64, percent-encoded or not, with or without padding.
fn message(data: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut symbols = Zeroizing::new(Vec::with_capacity(data.len()));
    // A plus sign is a symbol of base64 here, never a space; a space was a plus sign before a program decoded it.
    symbols.extend(percent_encoding::percent_decode_str(data).map(|byte| if byte == b' ' { b'+' } else { byte }));
    while symbols.last().is_some_and(|last| *last == b'=' || last.is_ascii_whitespace()) {
        symbols.pop();
    }
    let for_urls = symbols.iter().any(|symbol| matches!(symbol, b'-' | b'_'));
    let alphabet = if for_urls { BASE64URL_NOPAD } else { BASE64_NOPAD };
    alphabet.decode(&symbols).ok().map(Zeroizing::new)
}

fn accounts(message: &[u8], line: usize, import: &mut Import) -> Option<()> {
    let (mut size, mut index, mut id, mut entry) = (0, 0, 0, 0);
    for field in Fields(message) {
        match field? {
            (1, Value::Bytes(account)) => {
                entry += 1;
                import.entries.push(account_of(account, Place::Inside { line, entry }));
            }
            (3, Value::Number(number)) => size = number,
            (4, Value::Number(number)) => index = number,
            (5, Value::Number(number)) => id = number,
            _ => {}
        }
    }
    let part = |number| u32::try_from(number).ok().filter(|number| *number <= GOOGLE_PARTS_MAX);
    if let (Some(size), Some(index)) = (part(size), part(index))
        && index < size
    {
        import.parts.push(Part { id, index, size });
    }
    // A message without accounts is no export.
    (entry > 0).then_some(())
}

fn account_of(message: &[u8], place: Place) -> Entry {
    let (mut secret, mut name, mut issuer) = (&[][..], "", "");
    let (mut algorithm, mut digits, mut kind) = (0, 0, 0);
    for field in Fields(message) {
        let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
        match field {
            None => return Entry::skipped(place, None, Skip::Shape),
            Some((1, Value::Bytes(bytes))) => secret = bytes,
            Some((2, Value::Bytes(bytes))) => name = text(bytes),
            Some((3, Value::Bytes(bytes))) => issuer = text(bytes),
            Some((4, Value::Number(number))) => algorithm = number,
            Some((5, Value::Number(number))) => digits = number,
            Some((6, Value::Number(number))) => kind = number,
            Some(_) => {}
        }
    }
    let (issuer, account) = match name.split_once(':') {
        Some((prefix, account)) if issuer.trim().is_empty() => (prefix, account),
        _ => (issuer, name),
    };
    let raw = RawEntry {
        kind: match kind {
            0 | 2 => Kind::Totp,
            1 => Kind::HOTP,
            _ => Kind::Unknown,
        },
        issuer,
        account,
        key: Key::Bytes(Zeroizing::new(secret.to_vec())),
        algorithm: match algorithm {
            0 | 1 => "SHA1",
            2 => "SHA256",
            3 => "SHA512",
            4 => "MD5",
            _ => "unknown",
        },
        digits: match digits {
            0 => Number::Absent,
            1 => Number::Is(6),
            2 => Number::Is(8),
            _ => Number::Wrong,
        },
        // The app knows no other period than 30 seconds.
        period: Number::Absent,
    };
    raw.entry(place)
}

/// The value of a field.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// A number of fixed length: no field of this message is one.
    Fixed,
}

/// The fields of a protobuf message: each its number and its value, or `None` once, where the message is damaged.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = self.number()?;
        let value = match tag & 7 {
            0 => Value::Number(self.number()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = usize::try_from(self.number()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return None,
        };
        Some((tag >> 3, value))
    }

    /// A number of seven bits a byte, the lowest first; ten bytes at most.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (first, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(first & 0x7F) << shift;
            if first & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}
