//! The columns of a table: those with seeds, names and settings, found by their names and their contents.

use std::borrow::Borrow;

use zeroize::Zeroizing;

use super::{
    Column, ends,
    fields::{self, Named, SEEDS, without_number},
    links, pieces,
    settings::{self, Settings},
    table::{self, Row, Rows},
    unread, uri,
};
use crate::domain::text::ShownText;

/// Names of columns with a title.
const TITLES: [&str; 6] = ["issuer", "service", "servicename", "title", "name", "itemname"];
/// Names of columns that are as good as a title, where no column has one.
const SITES: [&str; 23] = [
    "website",
    "websitename",
    "site",
    "sitename",
    "game",
    "app",
    "appname",
    "application",
    "company",
    "provider",
    "platform",
    "organization",
    "organisation",
    "system",
    "tool",
    "vendor",
    "bank",
    "anbieter",
    "dienst",
    "product",
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
/// Parts of the names of columns with a user, and with a title, where no column has a name above; and of columns with
/// neither.
const USER_PARTS: [&str; 16] = [
    "user",
    "login",
    "mail",
    "account",
    "konto",
    "benutzer",
    "nutzer",
    "anmelde",
    "utilisateur",
    "identifiant",
    "usuario",
    "utente",
    "gebruiker",
    "handle",
    "logon",
    "customer",
];
const TITLE_PARTS: [&str; 14] = [
    "title", "titel", "titre", "titulo", "name", "servic", "dienst", "site", "system", "tool", "vendor", "bank",
    "anbieter", "product",
];
const OTHER_PARTS: [&str; 9] = ["pass", "url", "date", "time", "type", "note", "group", "folder", "created"];
/// Names of columns that may have seeds, and other things, too.
const PLAIN: [&str; 8] = ["secret", "secretkey", "sharedsecret", "seed", "key", "setupkey", "base32", "token"];
/// Characters of a text that may be a seed beside another one, and is not a code or a word about it.
const SEED_CHARS_USUAL: usize = 16;
/// Characters of the longest words about a secret that some write in capitals.
const WORD_CHARS: usize = 8;

/// The positions of the columns.
pub(super) struct Columns {
    /// The columns that may have seeds, the surest first.
    pub(super) seeds: Vec<(usize, Named)>,
    /// The columns that have the seeds of rows without a seed in the surer columns.
    pub(super) others: Vec<(usize, Named)>,
    pub(super) title: Option<usize>,
    /// Whether these titles may be addresses.
    pub(super) is_of_sites: bool,
    pub(super) users: Vec<usize>,
    pub(super) group: Option<usize>,
    /// Bitwarden's column with the fields that a person added: a name and a value in each line.
    pub(super) fields: Option<usize>,
    pub(super) settings: Settings,
    /// The names of all columns, plain.
    pub(super) names: Vec<String>,
    /// The columns in which every filled cell is a number that codes have, and one is not usual.
    pub(super) numbers: Vec<usize>,
    /// Whether the table has passwords.
    pub(super) is_of_logins: bool,
    pub(super) width: usize,
}

impl Columns {
    pub(super) fn of(head: &[String]) -> Self {
        let place = |names: &[&str]| names.iter().find_map(|name| head.iter().position(|column| column == name));
        let part = |parts: &[&str], but: Option<usize>| {
            let is = |name: &str, parts: &[&str]| parts.iter().any(|part| name.contains(part));
            let fits = |(at, name): &(usize, &String)| {
                is(name, parts) && !is(name, &OTHER_PARTS) && Some(*at) != but && fields::named(name).is_none()
            };
            head.iter().enumerate().find(fits).map(|(at, _)| at)
        };
        let title = place(&TITLES).or_else(|| place(&SITES)).or_else(|| place(&[ACCOUNT]));
        let users = USERS.iter().chain(&OTHER_TITLES).filter_map(|name| place(&[name]));
        let mut users: Vec<usize> = users.filter(|at| Some(*at) != title).collect();
        if users.is_empty() {
            users.extend(part(&USER_PARTS, title));
        }
        let title = title.or_else(|| part(&TITLE_PARTS, users.first().copied()));
        let seeds = head.iter().enumerate().filter_map(|(at, column)| {
            let name =
                fields::named(column).filter(|_| !settings::is_setting(column) && !settings::may_be_setting(column))?;
            Some((at, name))
        });
        let mut seeds: Vec<(usize, Named)> = seeds.collect();
        let rank = |column: &String| SEEDS.iter().position(|name| *name == without_number(column));
        seeds.sort_by_key(|(at, name)| (*name, head.get(*at).and_then(rank)));
        let (group, fields) = (place(&["group"]), place(&["fields"]));
        let is_of_sites = place(&TITLES).is_none() && place(&SITES).is_some();
        let (others, settings) = (Vec::new(), Settings::of(head));
        let is_of_logins = head.iter().any(|name| settings::tells_of_logins(name));
        Self {
            seeds,
            others,
            title,
            is_of_sites,
            users,
            group,
            fields,
            settings,
            names: head.to_vec(),
            numbers: Vec::new(),
            is_of_logins,
            width: head.len(),
        }
    }

    /// Looks for columns of bare numbers that codes have: they may hold the parameters of codes, whatever their names
    /// are.
    pub(super) fn find_numbers(&mut self, rows: Rows<'_>) {
        self.see_numbers(rows.map_while(Result::ok));
    }

    /// The same for rows that were read.
    pub(super) fn see_numbers(&mut self, rows: impl Iterator<Item = impl Borrow<Row>>) {
        let mut columns = vec![unread::Bare::default(); self.width];
        for row in rows {
            let row: &Row = row.borrow();
            columns.iter_mut().zip(&row.cells).for_each(|(column, cell)| column.see(text_of(cell)));
        }
        let is_of_days =
            |at: usize| self.names.get(at).is_some_and(|name| name.contains("day") || name.contains("tage"));
        let others = (0..self.width).filter(|at| !self.is_name(*at) && !is_of_days(*at));
        self.numbers = others.filter(|at| columns.get(*at).is_some_and(unread::Bare::are_settings)).collect();
    }

    /// The columns by the names that the table gives them, with the field that each is read as.
    pub(super) fn shown(&self, head: &[Zeroizing<String>]) -> Vec<Column> {
        let read_as = |at: usize| {
            let holds = |columns: &[(usize, Named)]| columns.iter().any(|(seed, _)| *seed == at);
            if holds(&self.seeds) || holds(&self.others) {
                Some("key")
            } else if self.title == Some(at) {
                Some("issuer")
            } else if self.users.contains(&at) {
                Some("account")
            } else {
                self.settings.word(at)
            }
        };
        // A key in the place of a name would be shown.
        let name = |cell: &str| if ends::keys(cell) > 0 { None } else { ShownText::parse(table::cut(cell)).ok() };
        let column = |(at, cell): (usize, &Zeroizing<String>)| Some(Column { name: name(cell)?, read_as: read_as(at) });
        head.iter().enumerate().filter_map(column).collect()
    }

    pub(super) fn is_name(&self, at: usize) -> bool {
        self.title == Some(at) || self.users.contains(&at)
    }

    /// Looks for columns of a plain name where no column has a surer one. Those in which a row has a seed, perhaps a
    /// mistyped one, count, so that no seed is left out silently. Beside surer columns, the row must have no seed in
    /// these.
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
        // A key of a program is often hexadecimal, which a mistyped seed hardly ever is.
        let is_hex = |cell: &str| cell.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_seed = |cell: &str| {
            let is_one = uri::is_link_or_usual_seed(cell) || ends::is_like_mistyped_seed(cell) && !is_hex(cell);
            is_one && !ends::is_id_of_aws(cell)
        };
        let holds = |at: usize| {
            rows().map_while(Result::ok).any(|row| {
                let cell = |at: usize| row.cells.get(at).map_or("", |cell| text_of(cell));
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

    /// The cells of a row in the columns whose names mean seeds and little else.
    fn surer<'a>(&self, cell: impl Fn(usize) -> &'a str) -> impl Iterator<Item = &'a str> {
        let surer = self.seeds.iter().filter(|(_, name)| *name < Named::Perhaps);
        surer
            .map(move |(at, name)| (*name, cell(*at)))
            .filter(|(name, text)| can_be_seed(*name, text))
            .map(|(_, text)| text)
    }

    /// The texts in a row that may be seeds, with their columns.
    pub(super) fn seeds<'a>(&self, cell: impl Fn(usize) -> &'a str) -> Vec<(usize, &'a str)> {
        let of = |columns: &[(usize, Named)]| -> Vec<(usize, &'a str)> {
            let cells = columns.iter().map(|(at, name)| (*at, *name, cell(*at)));
            cells.filter(|(_, name, text)| can_be_seed(*name, text)).map(|(at, _, text)| (at, text)).collect()
        };
        let mut seeds = of(&self.seeds);
        if seeds.iter().all(|(_, text)| is_remark(text)) {
            let mut others = of(&self.others);
            let is_seed = |text: &str| uri::is_link_or_usual_seed(text);
            let has_seed = others.iter().any(|(_, text)| is_seed(text));
            // A mistyped one is reported once, however many columns there are.
            others.sort_by_key(|(_, text)| is_remark(text));
            let most = if has_seed { others.len() } else { 1 };
            seeds.extend(others.into_iter().filter(|(_, text)| !has_seed || is_seed(text)).take(most));
        }
        seeds
    }

    /// Whether a column has names.
    pub(super) const fn is_named(&self) -> bool {
        self.title.is_some() || !self.users.is_empty()
    }

    /// Whether they are the columns of a table with seeds, and not of a text whose first line has a comma.
    pub(super) fn are_of_a_table(&self) -> bool {
        self.seeds.first().is_some_and(|(_, name)| *name < Named::Perhaps || self.title.is_some())
    }

    /// Whether no column has seeds.
    pub(super) const fn are_without_seeds(&self) -> bool {
        self.seeds.is_empty()
    }
}

/// The text of a cell, without the signs that mark it as text for a spreadsheet.
pub(super) fn text_of(cell: &str) -> &str {
    let cell = cell.trim();
    let formula = cell.strip_prefix("=\"").and_then(|rest| rest.strip_suffix('"'));
    let text = formula.or_else(|| cell.strip_prefix('\'').filter(|rest| !rest.contains('\'')));
    text.unwrap_or(cell)
}

/// Whether a text in a column of such a name may be a seed.
fn can_be_seed(name: Named, text: &str) -> bool {
    let is_none = text.is_empty() || settings::is_word(text);
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

/// Whether a text beside a secret is a word or a code about it, and not a mistyped or cut secret.
pub(super) fn is_remark(text: &str) -> bool {
    if text.contains("://") && !links::are_in(text) {
        return text.lines().all(|line| pieces::keys_beside(line) == 0);
    }
    let has = |is: fn(&u8) -> bool| text.as_bytes().iter().any(is);
    let count = text.bytes().filter(u8::is_ascii_alphanumeric).count();
    let is_mixed = has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic);
    let is_in_capitals = count > WORD_CHARS && has(u8::is_ascii_uppercase) && !has(u8::is_ascii_lowercase);
    if ends::is_sentence(text) {
        return true;
    }
    let is_key = count >= WORD_CHARS && is_mixed || is_in_capitals || uri::is_link_or_usual_seed(text);
    !is_key && !uri::has(text, "otpauth") && text.chars().nth(SEED_CHARS_USUAL).is_none()
}
