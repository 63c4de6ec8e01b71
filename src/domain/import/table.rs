//! CSV of password managers: any table whose head names a column of seeds. The reader is our own because a table may
//! hold every password of a person: it copies one row at a time and wipes it, and it notices a quote that never ends,
//! which would swallow the rows after it.

use zeroize::Zeroizing;

use super::{
    Format, Import, ImportError,
    entry::{self, Entry, Place, Skip},
    uri::{self, Beside},
};
use crate::domain::{
    limits::{IMPORT_CSV_FIELD_BYTES_MAX, IMPORT_ENTRIES_MAX},
    otpauth::OtpAuthError,
    text::ShownText,
};

/// Names of columns with seeds, the most specific first, as letters and digits in lower case.
const SEEDS: [&str; 13] = [
    "logintotp",
    "otpauth",
    "otpsecret",
    "otpurl",
    "otpuri",
    "totpsecret",
    "totpuri",
    "totp",
    "otp",
    "twofactorcode",
    "2fa",
    "onetimepassword",
    "onetimecode",
];
/// Names of columns with a title.
const TITLES: [&str; 6] = ["title", "name", "itemname", "issuer", "service", "account"];
/// Names of columns with a user.
const USERS: [&str; 8] = ["loginusername", "username", "login", "user", "email", "label", "username2", "username3"];
/// What `KeePassXC` writes for an entry without a user.
const NOBODY: &str = "none";
/// The group of deleted entries in an export of `KeePassXC`.
const BIN: &str = "root/recycle bin";

type Row = Vec<Zeroizing<String>>;

/// Reads a table, or `None` if the text has no head of one.
pub(super) fn read(text: &str) -> Result<Option<Import>, ImportError> {
    let text = text.trim_start();
    let head_line = text.lines().next().unwrap_or_default();
    // A comment of a list of links.
    if head_line.starts_with('#') {
        return Ok(None);
    }
    let count = |separator: u8| head_line.bytes().filter(|byte| *byte == separator).count();
    let Some(separator) = [b',', b';', b'\t'].into_iter().filter(|by| count(*by) > 0).max_by_key(|by| count(*by))
    else {
        return Ok(None);
    };
    let mut rows = Rows { rest: text, line: 1, separator };
    let Some(Ok((_, head))) = rows.next() else { return Ok(None) };
    let head: Vec<String> = head.iter().map(|name| plain(name)).collect();
    let Some(columns) = Columns::of(&head) else {
        let is_passwords = ["password", "loginpassword"].iter().any(|name| head.iter().any(|column| column == name));
        return if is_passwords { Err(ImportError::Refused(NO_COLUMN)) } else { Ok(None) };
    };
    let mut import = Import::new(format(&head));
    for row in rows {
        if import.entries.len() > IMPORT_ENTRIES_MAX {
            break;
        }
        let (line, row) = row?;
        import.entries.extend(columns.entry(&row, Place::Line(line), import.format));
    }
    Ok(Some(import))
}

const NO_COLUMN: &str = "a table of passwords without a column of one-time secrets (Chrome, Edge and Firefox keep none); nothing is in it to import";

/// The program that writes a table, by its head.
fn format(head: &[String]) -> Format {
    let has = |names: &[&str]| names.iter().all(|name| head.iter().any(|column| column == name));
    if has(&["logintotp"]) {
        Format::Bitwarden
    } else if has(&["group", "title", "totp"]) {
        Format::KeePass
    } else if has(&["otpauth", "favorite", "archived"]) {
        Format::OnePassword
    } else if has(&["title", "url", "username", "password", "otpauth"]) {
        Format::Apple
    } else if has(&["totp", "createtime", "vault"]) {
        Format::ProtonPass
    } else {
        Format::Csv
    }
}

/// Where the columns are.
struct Columns {
    seeds: Vec<usize>,
    title: Option<usize>,
    users: Vec<usize>,
    group: Option<usize>,
    width: usize,
}

impl Columns {
    fn of(head: &[String]) -> Option<Self> {
        let place = |names: &[&str]| names.iter().find_map(|name| head.iter().position(|column| column == name));
        let places =
            |names: &[&str]| names.iter().filter_map(|name| head.iter().position(|column| column == name)).collect();
        let (seeds, users): (Vec<_>, _) = (places(&SEEDS), places(&USERS));
        let width = head.len();
        (!seeds.is_empty()).then(|| Self { seeds, title: place(&TITLES), users, group: place(&["group"]), width })
    }

    /// The entry of a row, or `None` if it has no seed: most logins have none.
    fn entry(&self, row: &Row, place: Place, format: Format) -> Option<Entry> {
        let cell = |column: usize| row.get(column).map_or("", |cell| cell.trim());
        let first = |columns: &[usize]| columns.iter().map(|column| cell(*column)).find(|cell| !cell.is_empty());
        let seed = first(&self.seeds).unwrap_or_default();
        let title = self.title.map_or("", cell);
        let account = first(&self.users).unwrap_or_default();
        let name = || entry::title(title, account);
        // A row with more cells than the head has lost its quotes, and nothing in it can be relied on.
        if row.len() > self.width {
            return Some(Entry::skipped(place, name(), Skip::Shape));
        }
        if seed.is_empty() {
            // A line break without quotes cut this row off, and put the seed into another column.
            let is_cut = row.len() < self.width && row.iter().any(|cell| uri::is_link_or_usual_seed(cell.trim()));
            return is_cut.then(|| Entry::skipped(place, name(), Skip::Shape));
        }
        if self.group.is_some_and(|group| cell(group).to_ascii_lowercase().starts_with(BIN)) {
            return Some(Entry::skipped(place, name(), Skip::Trashed));
        }
        let mut read = uri::link_or_seed(seed, Beside { issuer: title, account }, place);
        if format == Format::KeePass
            && account.is_empty()
            && let Ok(found) = &mut read.read
            && found.label.as_str() == NOBODY
            && let Ok(title) = ShownText::parse(title)
        {
            found.label = title;
        }
        // A column of this name may hold codes or remarks; the message should not speak of links then.
        if let Err(Skip::Link(OtpAuthError::NotOtpAuth)) = read.read {
            read.read = Err(Skip::Shape);
        }
        Some(read)
    }
}

/// A column's name without case and punctuation.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// The rows of a table, each with its line (RFC 4180, and lone line feeds).
struct Rows<'a> {
    rest: &'a str,
    line: usize,
    separator: u8,
}

impl Iterator for Rows<'_> {
    type Item = Result<(usize, Row), ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(rest) = self.rest.strip_prefix("\r\n").or_else(|| self.rest.strip_prefix('\n')) {
            (self.rest, self.line) = (rest, self.line + 1);
        }
        if self.rest.is_empty() {
            return None;
        }
        let line = self.line;
        let mut row = Vec::new();
        loop {
            let Some((cell, after)) = self.cell() else {
                self.rest = "";
                return Some(Err(ImportError::Csv { line }));
            };
            row.push(cell);
            match after {
                Some(byte) if byte == self.separator => {}
                _ => return Some(Ok((line, row))),
            }
        }
    }
}

impl Rows<'_> {
    /// The next cell and the byte that ends it; `None` if the cell is too long or its quote never ends.
    fn cell(&mut self) -> Option<(Zeroizing<String>, Option<u8>)> {
        let mut cell = Zeroizing::new(String::new());
        if let Some(mut quoted) = self.rest.strip_prefix('"') {
            loop {
                let (part, after) = quoted.split_once('"')?;
                if cell.len() + part.len() > IMPORT_CSV_FIELD_BYTES_MAX {
                    return None;
                }
                self.line += part.bytes().filter(|byte| *byte == b'\n').count();
                grow(&mut cell, part);
                let Some(more) = after.strip_prefix('"') else {
                    self.rest = after;
                    break;
                };
                grow(&mut cell, "\"");
                quoted = more;
            }
        }
        let end = self.rest.bytes().position(|byte| byte == self.separator || byte == b'\n');
        let (bare, rest) = self.rest.split_at_checked(end.unwrap_or(self.rest.len()))?;
        if cell.len() + bare.len() > IMPORT_CSV_FIELD_BYTES_MAX {
            return None;
        }
        grow(&mut cell, bare.strip_suffix('\r').unwrap_or(bare));
        let mut after = rest.chars();
        let ended = after.next().and_then(|c| u8::try_from(c).ok());
        self.line += usize::from(ended == Some(b'\n'));
        self.rest = after.as_str();
        Some((cell, ended))
    }
}

/// Appends to a text without leaving an unwiped copy behind where it moves.
fn grow(text: &mut Zeroizing<String>, more: &str) {
    let mut grown = Zeroizing::new(String::with_capacity(text.len() + more.len()));
    grown.push_str(text);
    grown.push_str(more);
    *text = grown;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<(usize, Vec<String>)> {
        let rows = Rows { rest: text, line: 1, separator: b',' };
        let plain = |row: Row| row.iter().map(|cell| cell.to_string()).collect();
        rows.map(|row| row.map(|(line, row)| (line, plain(row))).unwrap()).collect()
    }

    #[test]
    fn cells_may_hold_quotes_commas_and_lines() {
        let read = rows("a,\"b\"\"c\",\"d,\ne\"\r\n\n1,,\n\"x\"");
        let expected = [(1, vec!["a", "b\"c", "d,\ne"]), (4, vec!["1", "", ""]), (5, vec!["x"])];
        assert_eq!(read.len(), expected.len());
        for ((line, row), (expected_line, expected_row)) in read.iter().zip(expected) {
            assert_eq!((*line, row.iter().map(String::as_str).collect::<Vec<_>>()), (expected_line, expected_row));
        }
    }

    #[test]
    fn a_quote_that_never_ends_and_a_huge_cell_are_errors_with_their_line() {
        let long = "x".repeat(IMPORT_CSV_FIELD_BYTES_MAX);
        for (body, line) in
            [("a,b\n\"c,d\n".to_owned(), Some(3)), (format!("a,{long}\n"), None), (format!("a,{long}x\n"), Some(2))]
        {
            let read = read(&format!("title,totp\n{body}"));
            let error = read.err();
            assert_eq!(error, line.map(|line| ImportError::Csv { line }), "{}", body.len());
        }
    }

    const SEED: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    #[test]
    fn a_seed_is_found_in_each_column_of_seeds() {
        let table = format!("title,OTPAuth,totp\nA,,{SEED}\nB,{SEED},\nC,,\n");
        let import = read(&table).unwrap().unwrap();
        assert_eq!(import.entries.iter().filter(|entry| entry.read.is_ok()).count(), 2);
        assert_eq!(import.entries.len(), 2, "a login without a seed is no entry");
    }

    #[test]
    fn a_row_that_a_line_break_cut_off_is_reported_if_a_seed_is_in_it() {
        let link = format!("otpauth://totp/A?secret={SEED}");
        for cut in [SEED, link.as_str()] {
            let table = format!("title,notes,totp\nA,first line\nsecond line,{cut}\nB,plain\n");
            let import = read(&table).unwrap().unwrap();
            let why: Vec<_> = import.entries.iter().map(|entry| entry.read.as_ref().err().copied()).collect();
            assert_eq!(why, [Some(Skip::Shape)]);
        }
    }
}
