//! The entries of a table's rows, by its columns: the cells that are read, and others that may hold a key or a remark
//! on one.

use zeroize::Zeroizing;

use super::{
    Format, Import,
    columns::{Columns, is_remark, text_of},
    ends,
    entry::{Entry, Note, Place, Skip},
    item::Item,
    naming, settings,
    table::Row,
    unread,
    uri::{self, Beside, StatedParameters},
};
use crate::domain::{otpauth::OtpAuthError, text::ShownText};

/// The user that `KeePassXC` writes for an entry without one.
const NOBODY: &str = "none";
/// The group of deleted entries in an export of `KeePassXC`.
const BIN: &str = "root/recycle bin";

impl Columns {
    /// Adds the entries of a row: none if it has no secret, as most logins; several if it has several.
    pub(super) fn add(&self, row: &Row, import: &mut Import) {
        let (cells, place) = (self.cells(row), Place::Line(row.line));
        let cell = |column: usize| cells.get(column).map_or("", |cell| text_of(cell));
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
        let word_of_kind = self
            .seeds
            .iter()
            .find_map(|(at, _)| settings::kind_word(cell(*at)).filter(|_| settings::is_word(cell(*at))));
        let stated = self.settings.stated(cell, word_of_kind);
        let has_unread = self.may_say_more(cell, &stated);
        let beside = Beside { issuer: title, account, stated };
        let mut found = Item::new(beside, place, is_trashed.then_some(Skip::Trashed));
        seeds.sort_by_key(|(_, text)| is_remark(text));
        let (is_short, last) = (cells.len() < self.width, cells.len().saturating_sub(1));
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
        for (at, name) in self.names.iter().enumerate().filter(|(at, _)| !self.is_name(*at) && Some(*at) != self.fields)
        {
            found.beside(name, cell(at), Skip::Column(at + 1));
        }
        import.entries.extend(found.entries().into_iter().map(|read| named(read, title, account, import.format)));
    }

    /// Whether a row holds more about its bare keys than is read of it.
    pub(super) fn may_say_more<'a>(&self, cell: impl Fn(usize) -> &'a str, stated: &StatedParameters<'_>) -> bool {
        let is_usual_kind = stated.kind.is_empty() || stated.kind == settings::TOTP;
        let says = |(at, name): (usize, &String)| {
            let text = cell(at);
            if text.is_empty() || settings::tells_of_logins(name) {
                return false;
            }
            if self.is_name(at) {
                return is_usual_kind && unread::names_kind(text) || unread::says_unusual_number(text);
            }
            if self.seeds.iter().any(|(seed, _)| *seed == at) {
                // The column's name begins like one of seeds.
                let is_key = uri::is_link_or_usual_seed(text) || ends::is_like_mistyped_seed(text);
                return !is_key && (unread::is_unusual_bare_number(text) || unread::says_unusual_number(text));
            }
            let is_number = self.settings.has_number(at, text, stated);
            let is_ignored = || self.settings.ignores(at, text, stated) && text.contains(|c: char| c.is_ascii_digit());
            let says_number =
                || unread::says_unusual_number(text) || unread::are_settings(text) || self.numbers.contains(&at);
            let speaks = settings::may_be_setting(name) && settings::is_about_codes(name) && !is_usual(text);
            is_usual_kind && (unread::counts(name, text) || unread::names_kind(text))
                || stated.algorithm.is_empty()
                    && (unread::names_hash(text) || settings::is_about_hashes(name) && unread::is_number_of_hash(text))
                || !is_number && !is_usual(text) && says_number()
                || !is_number
                    && matches!(text, "8" | "60")
                    && (settings::is_setting(name) || settings::may_be_setting(name))
                || is_ignored() && !is_usual(text)
                || !is_number && !self.settings.reads(at, stated) && speaks
        };
        self.names.iter().enumerate().any(says)
    }

    /// The cells of a row, without empty ones beyond the columns, unless it has rather lost its quotes.
    fn cells<'a>(&self, row: &'a Row) -> &'a [Zeroizing<String>] {
        let cells = row.cells_without_blank_ones_behind(self.width);
        let cell = |at: usize| cells.get(at).map_or("", |cell| text_of(cell));
        let are_keys = self.seeds(cell).iter().all(|(_, text)| uri::is_link_or_usual_seed(text));
        if are_keys { cells } else { &row.cells }
    }

    /// The reason why nothing in a row can be relied on.
    fn problem(&self, row: &Row, seeds: &[(usize, &str)]) -> Option<Skip> {
        let cells = self.cells(row);
        let (is_short, last) = (cells.len() < self.width, cells.len().saturating_sub(1));
        let may_be_seed = |text: &str| uri::is_link_or_usual_seed(text) || ends::is_like_mistyped_seed(text);
        let is_seed = |cell: &str| !self.seeds.is_empty() && (may_be_seed(cell.trim()) || ends::keys(cell) > 0);
        let in_any = || cells.iter().any(|cell| is_seed(cell) || uri::has(cell, "otpauth://"));
        if cells.len() > self.width {
            // The row has lost its quotes, so it is unknown which of its cells is a short key.
            let is_key = |cell: &str| !self.seeds.is_empty() && !is_remark(cell) && !settings::is_word(cell);
            let holds_any = in_any()
                || cells.iter().any(|cell| is_key(cell.trim()))
                || seeds.iter().any(|(_, seed)| !is_remark(seed));
            return holds_any.then_some(Skip::Wide);
        }
        // Without a key of its own, a row whose name looks like one has lost a cell.
        let has_own = || seeds.iter().any(|(_, seed)| uri::is_link_or_usual_seed(seed));
        let is_slipped = |at: usize| unread::is_key(cells.get(at).map_or("", |cell| cell.trim()));
        // Most logins have no key.
        let has_any = !seeds.is_empty() || is_short || !self.is_of_logins;
        if !self.seeds.is_empty()
            && has_any
            && !has_own()
            && self.title.iter().chain(&self.users).any(|at| is_slipped(*at))
        {
            return Some(Skip::Slipped);
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

/// Whether a text states the usual parameters of codes, or none.
fn is_usual(text: &str) -> bool {
    let is = |usual: &&str| usual.eq_ignore_ascii_case(text);
    ["30;6", "6;30", "0", "SHA1", "TOTP"].iter().any(is) || unread::is_usual_number(text)
}

/// The name of a site: of an address, its host.
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

/// Corrects the label of an entry, or the reason for skipping it.
fn named(mut read: Entry, title: &str, account: &str, format: Format) -> Entry {
    if format == Format::KeePass
        && account.is_empty()
        && let Ok(found) = &mut read.read
        && found.label.as_str() == NOBODY
        && let Ok(title) = ShownText::parse(&naming::without_keys(title))
    {
        found.label = title;
    }
    // A column of this name may hold codes or remarks; then the message should not mention links.
    if let Err(Skip::Link(OtpAuthError::NotOtpAuth)) = read.read {
        read.read = Err(Skip::Shape);
    }
    read
}
