//! CSV of password managers: any table whose head names a column of seeds. The reader is our own because a table may
//! hold every password of a person: it copies one row at a time and wipes it, and it notices a quote that never ends,
//! which would swallow the rows after it.

use zeroize::Zeroizing;

use super::{
    Format, Import, ImportError,
    entry::{Entry, Note, Place, Skip},
    naming,
    pieces::{Piece, pieces},
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
/// Characters of a text that may be a seed beside another one, and is not a code or a word about it.
const SEED_CHARS_USUAL: usize = 16;
/// What `KeePassXC` writes for an entry without a user.
const NOBODY: &str = "none";
/// The group of deleted entries in an export of `KeePassXC`.
const BIN: &str = "root/recycle bin";

/// A row, and how it ends.
struct Row {
    line: usize,
    cells: Vec<Zeroizing<String>>,
    /// Whether a line break or the quote of its last cell ends it, and not the file.
    is_ended: bool,
}

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
    let Some(Ok(head)) = rows.next() else { return Ok(None) };
    let head: Vec<String> = head.cells.iter().map(|name| plain(name)).collect();
    let Some(columns) = Columns::of(&head) else {
        let is_passwords = ["password", "loginpassword"].iter().any(|name| head.iter().any(|column| column == name));
        return if is_passwords { Err(ImportError::Refused(NO_COLUMN)) } else { Ok(None) };
    };
    let mut import = Import::new(format(&head));
    for row in rows {
        if import.entries.len() > IMPORT_ENTRIES_MAX {
            break;
        }
        columns.add(&row?, &mut import);
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
        let users = USERS.iter().filter_map(|name| head.iter().position(|column| column == name)).collect();
        // Two columns may have one name, or a number each.
        let is_seed = |column: &str, name: &str| column.trim_end_matches(|c: char| c.is_ascii_digit()) == name;
        let of_name = |name| head.iter().enumerate().filter(move |(_, column)| is_seed(column, name)).map(|(at, _)| at);
        let seeds: Vec<usize> = SEEDS.into_iter().flat_map(of_name).collect();
        let width = head.len();
        (!seeds.is_empty()).then(|| Self { seeds, title: place(&TITLES), users, group: place(&["group"]), width })
    }

    /// Adds the entries of a row: none if it has no seed, as most logins; several if it has several.
    fn add(&self, row: &Row, import: &mut Import) {
        let (cells, place) = (&row.cells, Place::Line(row.line));
        let cell = |column: usize| cells.get(column).map_or("", |cell| cell.trim());
        let title = self.title.map_or("", cell);
        let account = self.users.iter().map(|column| cell(*column)).find(|cell| !cell.is_empty()).unwrap_or_default();
        let skipped = |why| Entry::skipped(place, naming::title(title, account), why);
        let (is_short, last) = (cells.len() < self.width, cells.len().saturating_sub(1));
        let mut seeds: Vec<(usize, &str)> =
            self.seeds.iter().map(|at| (*at, cell(*at))).filter(|(_, seed)| !seed.is_empty()).collect();
        let ends_in_seed = seeds.iter().any(|(at, _)| *at == last);
        // A row with more cells than the head has lost its quotes, and nothing in it can be relied on.
        let why = if cells.len() > self.width {
            Some(Skip::Shape)
        } else if is_short && !row.is_ended && (ends_in_seed || seeds.is_empty()) {
            Some(Skip::CutOff)
        } else if seeds.is_empty() {
            // A line break without quotes cut this row off, and put the seed into another column.
            let is_cut = is_short && cells.iter().any(|cell| uri::is_link_or_usual_seed(cell.trim()));
            is_cut.then_some(Skip::Shape)
        } else {
            let group = self.group.map_or("", cell);
            group.to_ascii_lowercase().starts_with(BIN).then_some(Skip::Trashed)
        };
        if let Some(why) = why {
            import.entries.push(skipped(why));
            return;
        }
        seeds.sort_by_key(|(_, text)| is_remark(text));
        let mut read: Vec<(bool, Entry)> = Vec::new();
        for (at, cell) in seeds {
            let ends = at == last && (is_short || !row.is_ended && uri::may_be_cut(cell));
            for Piece { text, is_link, is_shortened } in pieces_of(cell) {
                // A word or a code beside a secret is about it.
                if !read.is_empty() && is_remark(text) {
                    continue;
                }
                let beside = Beside { issuer: title, account };
                let mut one = named(uri::link_or_seed(text, beside, place), title, account, import.format);
                if let Ok(found) = &mut one.read {
                    found.notes.extend(is_shortened.then_some(Note::Around));
                    found.notes.extend(ends.then_some(Note::Ends));
                }
                add_another(&mut read, is_link, one);
            }
        }
        import.entries.extend(read.into_iter().map(|(_, entry)| entry));
    }
}

/// The links of a cell, or what else is in it.
fn pieces_of(cell: &str) -> Vec<Piece<'_>> {
    let links = || cell.lines().flat_map(pieces).filter(|piece| piece.is_link).collect();
    let links: Vec<Piece<'_>> = if uri::has(cell, "otpauth") { links() } else { Vec::new() };
    if links.is_empty() { vec![Piece { text: cell, is_link: false, is_shortened: false }] } else { links }
}

/// Whether a text is too short for a secret, as a word or a code is.
fn is_remark(text: &str) -> bool {
    !uri::is_link_or_usual_seed(text) && !uri::has(text, "otpauth") && text.chars().nth(SEED_CHARS_USUAL).is_none()
}

/// Adds an entry of a row to those before it, unless it is one of them. A link says how codes are made, and a seed does
/// not.
fn add_another(entries: &mut Vec<(bool, Entry)>, is_link: bool, one: Entry) {
    let same = |(other_is_link, other): &&mut (bool, Entry)| match (&other.read, &one.read) {
        (Ok(other), Ok(one)) => {
            let alike = !*other_is_link || !is_link || other.totp == one.totp;
            alike && other.seed.expose() == one.seed.expose()
        }
        _ => false,
    };
    match entries.iter_mut().find(same) {
        None => entries.push((is_link, one)),
        Some(other) if is_link => *other = (is_link, one),
        Some(_) => {}
    }
}

/// The entry as it is to be called.
fn named(mut read: Entry, title: &str, account: &str, format: Format) -> Entry {
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
    read
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
    type Item = Result<Row, ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(rest) = self.rest.strip_prefix("\r\n").or_else(|| self.rest.strip_prefix('\n')) {
            (self.rest, self.line) = (rest, self.line + 1);
        }
        if self.rest.is_empty() {
            return None;
        }
        let line = self.line;
        let mut cells = Vec::new();
        loop {
            let is_quoted = self.rest.starts_with('"');
            let Some((cell, after)) = self.cell() else {
                self.rest = "";
                return Some(Err(ImportError::Csv { line }));
            };
            cells.push(cell);
            match after {
                Some(byte) if byte == self.separator => {}
                after => return Some(Ok(Row { line, cells, is_ended: is_quoted || after.is_some() })),
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
        let plain = |row: Row| (row.line, row.cells.iter().map(|cell| cell.to_string()).collect());
        rows.map(|row| row.map(plain).unwrap()).collect()
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
