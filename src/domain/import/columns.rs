//! The columns of a table: which have seeds, names and settings, by their names and by what is in them; and the entries of a
//! row by them.

use zeroize::Zeroizing;

use super::{
    Format, Import, ends,
    entry::{Entry, Note, Place, Skip},
    item::{self, Item, Named, SEEDS, without_number},
    links, naming, pieces,
    said::{self, Settings},
    table::{Row, Rows},
    uri::{self, Beside},
};
use crate::domain::{otpauth::OtpAuthError, text::ShownText};

/// Names of columns with a title.
const TITLES: [&str; 6] = ["issuer", "service", "servicename", "title", "name", "itemname"];
/// Names of columns with what is as good as a title, where none has one.
const SITES: [&str; 15] = [
    "website",
    "websitename",
    "site",
    "sitename",
    "app",
    "appname",
    "application",
    "company",
    "provider",
    "platform",
    "organization",
    "organisation",
    "url",
    "websiteurl",
    "loginurl",
];
/// The name of a column with a title if no other has one, and of one with a user.
const ACCOUNT: &str = "account";
/// Names of columns with a user.
const USERS: [&str; 16] = [
    "loginusername",
    "loginname",
    "loginemail",
    "emailaddress",
    "useremail",
    "userid",
    "mail",
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

/// Where the columns are.
pub(super) struct Columns {
    /// Those that may have seeds, the surest first.
    seeds: Vec<(usize, Named)>,
    /// Those that have the seeds of rows without any in the surer ones.
    others: Vec<(usize, Named)>,
    title: Option<usize>,
    /// Whether these titles may be addresses.
    is_of_sites: bool,
    users: Vec<usize>,
    group: Option<usize>,
    /// That of Bitwarden with the fields that a person added: a name and a value in each line.
    fields: Option<usize>,
    settings: Settings,
    /// Those that are of nothing that is known, and whether they seem to say how codes are made.
    unread: Vec<(usize, bool)>,
    /// Those with passwords, numbers of devices and the like.
    keyless: Vec<usize>,
    width: usize,
}

impl Columns {
    pub(super) fn of(head: &[String]) -> Self {
        let place = |names: &[&str]| names.iter().find_map(|name| head.iter().position(|column| column == name));
        let title = place(&TITLES).or_else(|| place(&SITES)).or_else(|| place(&[ACCOUNT]));
        let users = USERS.iter().chain(&OTHER_TITLES).filter_map(|name| place(&[name]));
        let users: Vec<usize> = users.filter(|at| Some(*at) != title).collect();
        let seeds = head.iter().enumerate().filter_map(|(at, column)| {
            let name = item::named(column).filter(|_| !said::is_setting(column) && !said::may_be_setting(column))?;
            Some((at, name))
        });
        let mut seeds: Vec<(usize, Named)> = seeds.collect();
        let rank = |column: &String| SEEDS.iter().position(|name| *name == without_number(column));
        seeds.sort_by_key(|(at, name)| (*name, head.get(*at).and_then(rank)));
        let (group, fields) = (place(&["group"]), place(&["fields"]));
        let is_of_sites = place(&TITLES).is_none() && place(&SITES).is_some();
        let (others, settings) = (Vec::new(), Settings::of(head));
        // A person may keep a key in a note.
        let about = || item::ABOUT.iter().filter(|end| !end.starts_with("note"));
        let is_keyless = |at: &usize| {
            let is_so =
                |name: &String| said::tells_of_logins(name) || about().any(|end| without_number(name).ends_with(end));
            head.get(*at).is_some_and(is_so) && Some(*at) != title && !users.contains(at)
        };
        let keyless: Vec<usize> = (0..head.len()).filter(is_keyless).collect();
        let is_of_logins = |at: usize| head.get(at).is_some_and(|name| said::tells_of_logins(name));
        let is_read = |at: &usize| {
            // Beside a key, other keys are called by a plain name.
            let is_setting = head.get(*at).is_some_and(|name| said::is_setting(name) || is_plain(name));
            let is_name = Some(*at) == title || users.contains(at);
            is_setting || is_name || is_of_logins(*at) || seeds.iter().any(|(seed, _)| seed == at)
        };
        let has_logins = (0..head.len()).any(is_of_logins);
        let speaks = |at: usize| !has_logins && head.get(at).is_some_and(|name| said::may_be_setting(name));
        let unread = (0..head.len()).filter(|at| !is_read(at)).map(|at| (at, speaks(at))).collect();
        Self { seeds, others, title, is_of_sites, users, group, fields, settings, unread, keyless, width: head.len() }
    }

    /// Looks for columns of a plain name where none has a surer one. Those in which a row has a seed, perhaps a mistyped one,
    /// are theirs, so that none is left out silently. Beside surer ones, the row must have no seed there.
    pub(super) fn find_plain<'a>(&mut self, head: &[String], rows: impl Fn() -> Rows<'a>) {
        if !self.is_named() {
            return;
        }
        let has_surer = self.seeds.first().is_some_and(|(_, name)| *name < Named::Perhaps);
        let is_plain = |at: usize| head.get(at).is_some_and(|name| is_plain(name));
        if !has_surer {
            self.seeds.retain(|(at, _)| !is_plain(*at));
        }
        let is_perhaps = |at: usize| self.seeds.contains(&(at, Named::Perhaps));
        // A key of a program is often hexadecimal, which hardly any seed is that somebody mistyped.
        let is_hex = |cell: &str| cell.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_seed = |cell: &str| {
            let is_one = uri::is_link_or_usual_seed(cell) || ends::is_like_mistyped_seed(cell) && !is_hex(cell);
            is_one && !ends::is_id_of_aws(cell)
        };
        let holds = |at: usize| {
            rows().map_while(Result::ok).any(|row| {
                let cell = |at: usize| row.cells.get(at).map_or("", |cell| cell.trim());
                is_seed(cell(at)) && !self.surer(cell).any(|seed| !is_remark(seed))
            })
        };
        let found: Vec<usize> = (0..head.len()).filter(|at| (is_plain(*at) || is_perhaps(*at)) && holds(*at)).collect();
        let (plain, perhaps): (Vec<usize>, Vec<usize>) = found.into_iter().partition(|at| is_plain(*at));
        let plain = plain.into_iter().map(|at| (at, Named::Surely));
        self.others.extend(perhaps.into_iter().map(|at| (at, Named::Nearly)));
        if has_surer {
            self.others.splice(..0, plain);
        } else {
            self.seeds.splice(..0, plain);
        }
    }

    /// What a row has in the columns whose names are of seeds and of little else.
    fn surer<'a>(&self, cell: impl Fn(usize) -> &'a str) -> impl Iterator<Item = &'a str> {
        let surer = self.seeds.iter().filter(|(_, name)| *name < Named::Perhaps);
        surer
            .map(move |(at, name)| (*name, cell(*at)))
            .filter(|(name, text)| can_be_seed(*name, text))
            .map(|(_, text)| text)
    }

    /// What may be seeds in a row, with their columns.
    fn seeds<'a>(&self, cell: impl Fn(usize) -> &'a str) -> Vec<(usize, &'a str)> {
        let of = |columns: &[(usize, Named)]| -> Vec<(usize, &'a str)> {
            let cells = columns.iter().map(|(at, name)| (*at, *name, cell(*at)));
            cells.filter(|(_, name, text)| can_be_seed(*name, text)).map(|(at, _, text)| (at, text)).collect()
        };
        let mut seeds = of(&self.seeds);
        if seeds.iter().all(|(_, text)| is_remark(text)) {
            let mut others = of(&self.others);
            let is_seed = |text: &str| uri::is_link_or_usual_seed(text);
            let has_seed = others.iter().any(|(_, text)| is_seed(text));
            // One that is mistyped is told once, however many columns there are.
            others.sort_by_key(|(_, text)| is_remark(text));
            let most = if has_seed { others.len() } else { 1 };
            seeds.extend(others.into_iter().filter(|(_, text)| !has_seed || is_seed(text)).take(most));
        }
        seeds
    }

    /// Whether one of them has names.
    pub(super) const fn is_named(&self) -> bool {
        self.title.is_some() || !self.users.is_empty()
    }

    /// Whether they are those of a table with seeds, and not of a text whose first line has a comma.
    pub(super) fn are_of_a_table(&self) -> bool {
        self.seeds.first().is_some_and(|(_, name)| *name < Named::Perhaps || self.title.is_some())
    }

    /// Whether no column has seeds.
    pub(super) const fn are_without_seeds(&self) -> bool {
        self.seeds.is_empty()
    }

    /// Adds the entries of a row: none if it has no secret, as most logins; several if it has several.
    pub(super) fn add(&self, row: &Row, import: &mut Import) {
        let (cells, place) = (self.cells(row), Place::Line(row.line));
        let cell = |column: usize| cells.get(column).map_or("", |cell| cell.trim());
        let is_site =
            |text: &str| self.is_of_sites || ["https://", "http://"].iter().any(|start| uri::starts(text, start));
        let title = self.title.map_or("", |at| if is_site(cell(at)) { site(cell(at)) } else { cell(at) });
        let account = self.users.iter().map(|column| cell(*column)).find(|cell| !cell.is_empty()).unwrap_or_default();
        let mut seeds = self.seeds(cell);
        if let Some(why) = self.problem(row, &seeds) {
            import.entries.push(Entry::skipped(place, naming::title(title, account), why));
            return;
        }
        if cells.len() > self.width {
            return;
        }
        let is_trashed = self.group.map_or("", cell).to_ascii_lowercase().starts_with(BIN);
        let text = |column: Option<usize>| column.map_or("", cell);
        let word_of_kind =
            self.seeds.iter().find_map(|(at, _)| said::kind_word(cell(*at)).filter(|_| said::is_word(cell(*at))));
        let beside = Beside { issuer: title, account, said: self.settings.said(cell, word_of_kind) };
        let mut found = Item::new(beside, place, is_trashed.then_some(Skip::Trashed));
        seeds.sort_by_key(|(_, text)| is_remark(text));
        let (is_short, last) = (cells.len() < self.width, cells.len().saturating_sub(1));
        let says = |(at, speaks): &(usize, bool)| *speaks && !cell(*at).is_empty() || said::is_unusual(cell(*at));
        let has_unread = self.unread.iter().any(says);
        for (at, cell) in seeds {
            // A word or a code beside a secret is about it.
            if found.is_empty() || !is_remark(cell) {
                let is_cut = at == last && (is_short || !row.is_ended && ends::may_be_cut(cell));
                let unread = (has_unread && !cell.contains("://")).then_some(Note::Unread);
                found.own(cell, is_cut.then_some(Note::Ends).or(unread));
            }
        }
        for (name, value) in text(self.fields).lines().filter_map(|field| field.split_once(": ")) {
            found.field(name, value.trim());
        }
        for column in 0..cells.len() {
            found.scan(cell(column));
        }
        // The names of columns are a person's own, so no list of them is whole.
        let is_key =
            |text: &str| uri::is_link_or_usual_seed(text) && ends::is_like_seed(text) && !ends::is_id_of_aws(text);
        let is_elsewhere = |at: usize| {
            // A row whose cells slipped has its key where another has a name.
            let is_read = self.seeds.iter().chain(&self.others).any(|(seed, _)| *seed == at);
            let is_unread = !is_read && self.unread.iter().any(|(unread, _)| *unread == at);
            (found.is_empty() || is_unread) && !self.keyless.contains(&at) && is_key(cell(at))
        };
        if !self.seeds.is_empty() && (0..cells.len()).any(is_elsewhere) {
            found.skip(Skip::Elsewhere);
        }
        import.entries.extend(found.entries().into_iter().map(|read| named(read, title, account, import.format)));
    }

    /// The cells of a row, without empty ones beyond the columns, unless it has rather lost its quotes.
    fn cells<'a>(&self, row: &'a Row) -> &'a [Zeroizing<String>] {
        let cells = row.cells_without_blank_ones_behind(self.width);
        let cell = |at: usize| cells.get(at).map_or("", |cell| cell.trim());
        let are_keys = self.seeds(cell).iter().all(|(_, text)| uri::is_link_or_usual_seed(text));
        if are_keys { cells } else { &row.cells }
    }

    /// Why nothing in a row can be relied on.
    fn problem(&self, row: &Row, seeds: &[(usize, &str)]) -> Option<Skip> {
        let cells = self.cells(row);
        let (is_short, last) = (cells.len() < self.width, cells.len().saturating_sub(1));
        let may_be_seed = |text: &str| uri::is_link_or_usual_seed(text) || ends::is_like_mistyped_seed(text);
        let is_seed = |cell: &str| !self.seeds.is_empty() && may_be_seed(cell.trim());
        let in_any = || cells.iter().any(|cell| is_seed(cell) || uri::has(cell, "otpauth://"));
        if cells.len() > self.width {
            // It has lost its quotes, and nobody can tell which of its cells is a short key.
            let is_key = |cell: &str| !self.seeds.is_empty() && !is_remark(cell) && !said::is_word(cell);
            let holds_any = in_any()
                || cells.iter().any(|cell| is_key(cell.trim()))
                || seeds.iter().any(|(_, seed)| !is_remark(seed));
            return holds_any.then_some(Skip::Wide);
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

/// What a person calls a site: of an address, its host.
fn site(text: &str) -> &str {
    if uri::is_link(text) {
        return "";
    }
    let is_address = text.contains('.') && !text.contains(char::is_whitespace);
    let Some(address) = text.split_once("://").map(|(_, rest)| rest).or_else(|| is_address.then_some(text)) else {
        return text;
    };
    let host = address.split(['/', '?', '#', ',', ';', ' ', '\n']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default().split(':').next().unwrap_or_default();
    host.strip_prefix("www.").unwrap_or(host)
}

/// Whether a text in a column of such a name may be a seed.
fn can_be_seed(name: Named, text: &str) -> bool {
    let is_none = text.is_empty() || said::is_word(text);
    !is_none
        && match name {
            Named::Surely => true,
            Named::Nearly => !is_remark(text),
            Named::Perhaps => uri::is_link_or_usual_seed(text),
        }
}

/// Whether a column of this name may have seeds, and other things, too.
pub(super) fn is_plain(name: &str) -> bool {
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
