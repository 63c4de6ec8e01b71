//! CSV of password managers: any table whose head names a column of seeds. The reader is our own because a table may
//! hold every password of a person: it copies one row at a time and wipes it, and it notices a quote that never ends,
//! which would swallow the rows after it.

use zeroize::Zeroizing;

use super::{
    Format, Import, ImportError,
    columns::{Columns, is_plain},
    ends,
    fields::plain,
    links, unread,
};
use crate::domain::{
    limits::{IMPORT_CSV_FIELD_BYTES_MAX, IMPORT_ENTRIES_MAX},
    seed::SEED_CHARS_USUAL,
};

/// A row, and how it ends.
pub(super) struct Row {
    pub(super) line: usize,
    pub(super) cells: Vec<Zeroizing<String>>,
    /// Whether a line break or the quote of its last cell ends it, and not the file.
    pub(super) is_ended: bool,
}

impl Row {
    /// The cells without empty ones beyond the columns, which spreadsheets add.
    pub(super) fn cells_without_blank_ones_behind(&self, columns: usize) -> &[Zeroizing<String>] {
        let is_blank = |cell: &Zeroizing<String>| cell.trim().is_empty();
        let blank = self.cells.iter().skip(columns).rev().take_while(|cell| is_blank(cell)).count();
        self.cells.get(..self.cells.len() - blank).unwrap_or_default()
    }
}

/// Reads a table, or `None` if the text has no head of one.
pub(super) fn read(text: &str) -> Result<Option<Import>, ImportError> {
    let (text, said_separator) = without_separator(text.trim_start());
    let skipped = lines_above(text);
    let text = text.splitn(skipped + 1, '\n').last().unwrap_or_default();
    let head_line = text.lines().next().unwrap_or_default();
    // The line is a comment in a list of links, or a link.
    let is_comment = head_line.strip_prefix('#').is_some_and(|rest| !rest.starts_with([',', ';', '\t']));
    if is_comment || head_line.contains("://") {
        return Ok(None);
    }
    let count = |separator: u8| head_line.bytes().filter(|byte| *byte == separator).count();
    let usual = || [b',', b';', b'\t'].into_iter().filter(|by| count(*by) > 0).max_by_key(|by| count(*by));
    let Some(separator) = said_separator.or_else(usual) else { return Ok(None) };
    let mut rows = Rows { rest: text, line: 1 + skipped + usize::from(said_separator.is_some()), separator };
    let Some(Ok(row)) = rows.next() else { return Ok(None) };
    let head: Vec<String> = row.cells.iter().map(|name| plain(name)).collect();
    let mut columns = Columns::of(&head);
    if row.cells.iter().any(|cell| is_no_name(cell)) {
        // Its other cells may be passwords.
        return if columns.are_of_a_table() { Err(ImportError::Refused(NO_HEAD)) } else { Ok(None) };
    }
    columns.find_plain(&head, || Rows { rest: rows.rest, ..rows });
    columns.find_numbers(Rows { rest: rows.rest, ..rows });
    let is_passwords = ["password", "loginpassword"].iter().any(|name| head.iter().any(|column| column == name));
    if !columns.are_of_a_table() && !is_passwords {
        if columns.is_named() && head.iter().any(|name| is_plain(name)) && !links::are_in(text) {
            let broken = rows.find_map(Result::err);
            return Err(broken.unwrap_or(ImportError::Refused(NO_KEY)));
        }
        return Ok(None);
    }
    let mut import = Import::new(format(&head));
    if import.format == Format::Csv {
        import.columns = columns.shown(&row.cells);
    }
    for row in rows {
        if import.entries.len() > IMPORT_ENTRIES_MAX {
            break;
        }
        columns.add(&row?, &mut import);
    }
    if columns.are_without_seeds() && import.entries.is_empty() {
        return Err(ImportError::Refused(NO_COLUMN));
    }
    Ok(Some(import))
}

/// The number of lines above the head: blank ones, and titles alone in their rows, which spreadsheets pad with
/// separators.
fn lines_above(text: &str) -> usize {
    const SEPARATORS: [char; 3] = [',', ';', '\t'];
    let filled = |line: &str| line.split(SEPARATORS).filter(|cell| !cell.trim().is_empty()).count();
    let blank = text.lines().take_while(|line| filled(line) == 0).count();
    let is_title = |line: &str| {
        let is_text = || ends::keys(line) == 0 && !line.contains("://");
        filled(line) == 1 && line.contains(SEPARATORS) && is_text()
    };
    let titles = text.lines().take_while(|line| filled(line) == 0 || is_title(line)).count();
    let names: Vec<String> = text.lines().nth(titles).unwrap_or_default().split(SEPARATORS).map(plain).collect();
    let columns = Columns::of(&names);
    let is_head = columns.is_named() && (columns.are_of_a_table() || names.iter().any(|name| is_plain(name)));
    if is_head { titles } else { blank }
}

/// The part of a column's name that is shown.
pub(super) fn cut(name: &str) -> &str {
    let name = name.trim();
    name.char_indices().nth(COLUMN_CHARS_MAX).map_or(name, |(end, _)| name.split_at(end).0)
}

/// Characters of a column's name that are shown.
const COLUMN_CHARS_MAX: usize = 40;
/// Whether a cell is a key or an address, and not the name of a column.
fn is_no_name(cell: &str) -> bool {
    let cell = cell.trim();
    let is_hex = || cell.len() >= SEED_CHARS_USUAL && cell.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_address =
        || !cell.contains(char::is_whitespace) && cell.split_once('@').is_some_and(|(_, host)| host.contains('.'));
    let is_mistyped = || ends::is_like_seed(cell) && !cell.bytes().any(|byte| byte.is_ascii_lowercase());
    unread::is_key(cell) || ends::keys(cell) > 0 || is_mistyped() || ends::is_grouped(cell) || is_address() || is_hex()
}

const NO_HEAD: &str = "a table whose first row is not the names of its columns; write them above it, such as `issuer`, `account` and `totp`";
const NO_KEY: &str = "a table in which no row has a whole key in the column for it (`secret`, `key` and the like); nothing is in it to import";
const NO_COLUMN: &str = "a table of passwords without a column of one-time secrets (Chrome, Edge and Firefox keep none); nothing is in it to import";

/// The text behind a first line `sep=;`, which names the separator of cells for Excel, and that separator.
fn without_separator(text: &str) -> (&str, Option<u8>) {
    let declared = || {
        let (first, rest) = text.split_once('\n')?;
        let first = first.trim_end_matches('\r').trim_matches('"');
        let (_, separator) = first.split_at_checked(4).filter(|(name, _)| name.eq_ignore_ascii_case("sep="))?;
        let [separator] = *separator.as_bytes() else { return None };
        Some((rest, separator))
    };
    declared().map_or((text, None), |(rest, separator)| (rest, Some(separator)))
}

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

/// The rows of a table, each with its line (RFC 4180, and lone line feeds).
pub(super) struct Rows<'a> {
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
            let is_quoted = self.rest.trim_start_matches(' ').starts_with('"');
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
        // Some people put a space behind a comma.
        let begun = self.rest.trim_start_matches(' ');
        if let Some(mut quoted) = begun.strip_prefix('"') {
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
    use crate::domain::import::Skip;

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
