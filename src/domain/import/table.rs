//! CSV of password managers: any table whose head names a column of seeds. The reader is our own because a table may
//! hold every password of a person: it copies one row at a time and wipes it, and it notices a quote that never ends,
//! which would swallow the rows after it.

use zeroize::Zeroizing;

use super::{
    Format, Import, ImportError, ends,
    entry::{Entry, Kind, Note, Place, Skip},
    item::{self, Item, Named, SEEDS, plain, without_number},
    json::number_of,
    links, naming, pieces,
    uri::{self, Beside, Said},
};
use crate::domain::{
    limits::{IMPORT_CSV_FIELD_BYTES_MAX, IMPORT_ENTRIES_MAX},
    otpauth::OtpAuthError,
    text::ShownText,
};

/// Names of columns with a title.
const TITLES: [&str; 6] = ["issuer", "service", "title", "name", "itemname", "account"];
/// Names of columns with a user.
const USERS: [&str; 10] = [
    "loginusername",
    "username",
    "login",
    "user",
    "email",
    "label",
    "username2",
    "username3",
    "accountname",
    "account",
];
/// Names of columns with the account, where another one has the title.
const OTHER_TITLES: [&str; 3] = ["name", "itemname", "title"];
/// Names of columns that say how codes are made.
const KINDS: [&str; 3] = ["otptype", "tokentype", "type"];
const ALGORITHMS: [&str; 3] = ["algorithm", "algo", "otpalgorithm"];
const DIGITS: [&str; 3] = ["digits", "otpdigits", "codelength"];
const PERIODS: [&str; 4] = ["period", "otpperiod", "interval", "timestep"];
/// Names of columns that may have seeds, and other things, too.
const PLAIN: [&str; 8] = ["secret", "secretkey", "sharedsecret", "seed", "key", "setupkey", "base32", "token"];
/// Characters of a text that may be a seed beside another one, and is not a code or a word about it.
const SEED_CHARS_USUAL: usize = 16;
/// Characters of the longest words about a secret that some write in capitals.
const WORD_CHARS: usize = 8;
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
    let (text, said_separator) = without_separator(text);
    let head_line = text.lines().next().unwrap_or_default();
    // A comment of a list of links, or one of them.
    if head_line.starts_with('#') || head_line.contains("://") {
        return Ok(None);
    }
    let count = |separator: u8| head_line.bytes().filter(|byte| *byte == separator).count();
    let usual = || [b',', b';', b'\t'].into_iter().filter(|by| count(*by) > 0).max_by_key(|by| count(*by));
    let Some(separator) = said_separator.or_else(usual) else { return Ok(None) };
    let mut rows = Rows { rest: text, line: 1 + usize::from(said_separator.is_some()), separator };
    let Some(Ok(head)) = rows.next() else { return Ok(None) };
    let head: Vec<String> = head.cells.iter().map(|name| plain(name)).collect();
    let mut columns = Columns::of(&head);
    columns.find_plain(&head, || Rows { rest: rows.rest, ..rows });
    let is_passwords = ["password", "loginpassword"].iter().any(|name| head.iter().any(|column| column == name));
    if !columns.are_of_a_table() && !is_passwords {
        if columns.is_named() && head.iter().any(|name| is_plain(name)) && !links::are_in(text) {
            let broken = rows.find_map(Result::err);
            return Err(broken.unwrap_or(ImportError::Refused(NO_KEY)));
        }
        return Ok(None);
    }
    let mut import = Import::new(format(&head));
    for row in rows {
        if import.entries.len() > IMPORT_ENTRIES_MAX {
            break;
        }
        columns.add(&row?, &mut import);
    }
    if columns.seeds.is_empty() && import.entries.is_empty() {
        return Err(ImportError::Refused(NO_COLUMN));
    }
    Ok(Some(import))
}

const NO_KEY: &str = "a table in which no row has a whole key in the column for it (`secret`, `key` and the like); nothing is in it to import";
const NO_COLUMN: &str = "a table of passwords without a column of one-time secrets (Chrome, Edge and Firefox keep none); nothing is in it to import";

/// The text behind a first line `sep=;`, by which Excel is told what separates cells, and what it says.
fn without_separator(text: &str) -> (&str, Option<u8>) {
    let said = || {
        let (first, rest) = text.split_once('\n')?;
        let [separator] = *first.trim_end_matches('\r').strip_prefix("sep=")?.as_bytes() else { return None };
        Some((rest, separator))
    };
    said().map_or((text, None), |(rest, separator)| (rest, Some(separator)))
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

/// Where the columns are.
struct Columns {
    /// Those that may have seeds, the surest first.
    seeds: Vec<(usize, Named)>,
    title: Option<usize>,
    users: Vec<usize>,
    group: Option<usize>,
    /// That of Bitwarden with the fields that a person added: a name and a value in each line.
    fields: Option<usize>,
    kind: Option<usize>,
    algorithm: Option<usize>,
    digits: Option<usize>,
    period: Option<usize>,
    width: usize,
}

impl Columns {
    fn of(head: &[String]) -> Self {
        let place = |names: &[&str]| names.iter().find_map(|name| head.iter().position(|column| column == name));
        let title = place(&TITLES);
        let users = USERS.iter().chain(&OTHER_TITLES).filter_map(|name| place(&[name]));
        let users = users.filter(|at| Some(*at) != title).collect();
        let seeds = head.iter().enumerate().filter_map(|(at, column)| Some((at, item::named(column)?)));
        let mut seeds: Vec<(usize, Named)> = seeds.collect();
        let rank = |column: &String| SEEDS.iter().position(|name| *name == without_number(column));
        seeds.sort_by_key(|(at, name)| (*name, head.get(*at).and_then(rank)));
        let (kind, algorithm) = (place(&KINDS), place(&ALGORITHMS));
        let (digits, period) = (place(&DIGITS), place(&PERIODS));
        let (group, fields) = (place(&["group"]), place(&["fields"]));
        Self { seeds, title, users, group, fields, kind, algorithm, digits, period, width: head.len() }
    }

    /// Looks for columns of a plain name where none has a surer one. Those in which a row has a seed are theirs, so that a
    /// mistyped one in another row is not left out silently.
    fn find_plain<'a>(&mut self, head: &[String], rows: impl Fn() -> Rows<'a>) {
        let has_surer = self.seeds.first().is_some_and(|(_, name)| *name < Named::Perhaps);
        if has_surer || !self.is_named() {
            return;
        }
        let is_plain = |at: usize| head.get(at).is_some_and(|name| is_plain(name));
        self.seeds.retain(|(at, _)| !is_plain(*at));
        let is_seed = |cell: &str| uri::is_link_or_usual_seed(cell) && !ends::is_id_of_aws(cell);
        let holds = |at: usize| {
            rows().map_while(Result::ok).any(|row| row.cells.get(at).is_some_and(|cell| is_seed(cell.trim())))
        };
        let found: Vec<_> = (0..head.len()).filter(|at| is_plain(*at) && holds(*at)).collect();
        self.seeds.splice(..0, found.into_iter().map(|at| (at, Named::Surely)));
    }

    /// Whether one of them has names.
    const fn is_named(&self) -> bool {
        self.title.is_some() || !self.users.is_empty()
    }

    /// Whether they are those of a table with seeds, and not of a text whose first line has a comma.
    fn are_of_a_table(&self) -> bool {
        self.seeds.first().is_some_and(|(_, name)| *name < Named::Perhaps || self.title.is_some())
    }

    /// Adds the entries of a row: none if it has no secret, as most logins; several if it has several.
    fn add(&self, row: &Row, import: &mut Import) {
        let (cells, place) = (&row.cells, Place::Line(row.line));
        let cell = |column: usize| cells.get(column).map_or("", |cell| cell.trim());
        let title = self.title.map_or("", cell);
        let account = self.users.iter().map(|column| cell(*column)).find(|cell| !cell.is_empty()).unwrap_or_default();
        let can_be_seed = |name: Named, text: &str| match name {
            Named::Surely => !text.is_empty(),
            Named::Nearly => !text.is_empty() && !is_remark(text),
            Named::Perhaps => uri::is_link_or_usual_seed(text),
        };
        let seeds = self.seeds.iter().map(|(at, name)| (*at, *name, cell(*at)));
        let mut seeds: Vec<(usize, &str)> =
            seeds.filter(|(_, name, text)| can_be_seed(*name, text)).map(|(at, _, text)| (at, text)).collect();
        if let Some(why) = self.problem(row, &seeds) {
            import.entries.push(Entry::skipped(place, naming::title(title, account), why));
            return;
        }
        if cells.len() > self.width {
            return;
        }
        let is_trashed = self.group.map_or("", cell).to_ascii_lowercase().starts_with(BIN);
        let text = |column: Option<usize>| column.map_or("", cell);
        // Such a column may say other things of a login.
        let kind = Some(text(self.kind)).filter(|word| Kind::of_word(word) != Kind::Unknown).unwrap_or_default();
        let (algorithm, digits, period) =
            (text(self.algorithm), number_of(text(self.digits)), number_of(text(self.period)));
        let beside = Beside { issuer: title, account, said: Said { kind, algorithm, digits, period } };
        let mut found = Item::new(beside, place, is_trashed.then_some(Skip::Trashed));
        seeds.sort_by_key(|(_, text)| is_remark(text));
        let (is_short, last) = (cells.len() < self.width, cells.len().saturating_sub(1));
        for (at, cell) in seeds {
            // A word or a code beside a secret is about it.
            if found.is_empty() || !is_remark(cell) {
                let is_cut = at == last && (is_short || !row.is_ended && ends::may_be_cut(cell));
                found.own(cell, is_cut.then_some(Note::Ends));
            }
        }
        for (name, value) in text(self.fields).lines().filter_map(|field| field.split_once(": ")) {
            found.field(name, value.trim());
        }
        for column in 0..cells.len() {
            found.scan(cell(column));
        }
        import.entries.extend(found.entries().into_iter().map(|read| named(read, title, account, import.format)));
    }

    /// Why nothing in a row can be relied on.
    fn problem(&self, row: &Row, seeds: &[(usize, &str)]) -> Option<Skip> {
        let cells = &row.cells;
        let (is_short, last) = (cells.len() < self.width, cells.len().saturating_sub(1));
        let is_seed = |cell: &str| !self.seeds.is_empty() && uri::is_link_or_usual_seed(cell.trim());
        let in_any = || cells.iter().any(|cell| is_seed(cell) || uri::has(cell, "otpauth://"));
        if cells.len() > self.width {
            // It has lost its quotes.
            let holds_any = in_any() || seeds.iter().any(|(_, seed)| !is_remark(seed));
            return holds_any.then_some(Skip::Shape);
        }
        if self.seeds.is_empty() || !is_short {
            return None;
        }
        let ends_in_seed = seeds.iter().any(|(at, _)| *at == last);
        if !row.is_ended && (ends_in_seed || seeds.is_empty()) {
            return Some(Skip::CutOff);
        }
        // A line break without quotes cut this row off, and put the seed into another column.
        (seeds.is_empty() && in_any()).then_some(Skip::Shape)
    }
}

/// Whether a column of this name may have seeds, and other things, too.
fn is_plain(name: &str) -> bool {
    [name, without_number(name)].iter().any(|name| PLAIN.contains(name))
}

/// Whether a text beside a secret is a word or a code about it, and no secret that somebody mistyped or cut.
fn is_remark(text: &str) -> bool {
    if text.contains("://") && !links::are_in(text) {
        return text.lines().all(|line| pieces::keys_beside(line) == 0);
    }
    let has = |is: fn(&u8) -> bool| text.as_bytes().iter().any(is);
    let count = text.bytes().filter(u8::is_ascii_alphanumeric).count();
    let is_mixed = has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic);
    let is_in_capitals = count > WORD_CHARS && has(u8::is_ascii_uppercase) && !has(u8::is_ascii_lowercase);
    let is_key = count >= WORD_CHARS && is_mixed || is_in_capitals || uri::is_link_or_usual_seed(text);
    !is_key && !uri::has(text, "otpauth") && text.chars().nth(SEED_CHARS_USUAL).is_none()
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
