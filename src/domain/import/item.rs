//! The secrets of one entry of a password manager: in its own field for them, and wherever else a person put a link.

use super::{
    Format, Import,
    entry::{Entry, Note, Place, Skip},
    google,
    json::Json,
    pieces::{self, Piece, pieces},
    uri::{self, Beside},
};

/// Names of fields with seeds, the most specific first, as letters and digits in lower case.
pub(super) const SEEDS: [&str; 18] = [
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
    "2fasecret",
    "2fakey",
    "mfasecret",
    "onetimepassword",
    "onetimecode",
    "authenticatorkey",
    "authenticatorsecret",
];
/// How other names of such fields begin.
const STARTS: [&str; 2] = ["otp", "totp"];
/// How names end that begin like this, and are of something about a seed.
const ABOUT: [&str; 32] = [
    "type",
    "kind",
    "digits",
    "length",
    "period",
    "interval",
    "step",
    "algorithm",
    "algo",
    "hash",
    "issuer",
    "account",
    "label",
    "name",
    "user",
    "enabled",
    "active",
    "status",
    "date",
    "time",
    "at",
    "created",
    "updated",
    "modified",
    "counter",
    "count",
    "method",
    "id",
    "app",
    "notes",
    "note",
    "codes",
];

/// How the names of fields end, in which password managers keep what others held before.
const HISTORY: &str = "history";

/// Whether a field of this name, which is plain, has a seed.
pub(super) fn names_seed(name: &str) -> bool {
    let bare = without_number(name);
    let begins = STARTS.iter().any(|start| bare.starts_with(start));
    SEEDS.contains(&bare) || begins && !ABOUT.iter().any(|end| bare.ends_with(end))
}

/// Two fields may have one name, or a number each.
pub(super) fn without_number(name: &str) -> &str {
    name.trim_end_matches(|c: char| c.is_ascii_digit())
}

/// A field's name without case and punctuation.
pub(super) fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// The secrets of an entry, each once.
pub(super) struct Item<'a> {
    beside: Beside<'a>,
    place: Place,
    /// Why none of them is kept, if the entry as a whole is not.
    why: Option<Skip>,
    /// With whether a link says it.
    found: Vec<(bool, Entry)>,
    /// The texts that were read.
    read: Vec<&'a str>,
}

impl<'a> Item<'a> {
    pub(super) const fn new(beside: Beside<'a>, place: Place, why: Option<Skip>) -> Self {
        Self { beside, place, why, found: Vec::new(), read: Vec::new() }
    }

    /// Reads a field of seeds: a link, several, or a bare key. A note goes to each of them.
    pub(super) fn own(&mut self, text: &'a str, note: Option<Note>) {
        if text.trim().is_empty() {
            return;
        }
        self.read.push(text);
        let links: Vec<Piece<'_>> = links_of(text).collect();
        if links.is_empty() {
            self.add(false, uri::link_or_seed(text, self.beside, self.place), note);
        }
        for link in links {
            self.link(link.text, note);
        }
        if text.contains("://") && text.lines().any(pieces::has_key_beside) {
            self.skip(Skip::Bare);
        }
    }

    /// Reads a field that a person named: a bare key, if the name says so. Links in it are found with those elsewhere.
    pub(super) fn field(&mut self, name: &str, value: &'a str) {
        if !value.contains("://") && names_seed(&plain(name)) && uri::is_link_or_usual_seed(value) {
            self.own(value, None);
        }
    }

    /// Reads the links in a text that is not made for them. A bare key there is not guessed at.
    pub(super) fn scan(&mut self, text: &'a str) {
        if !text.contains("://") || self.read.contains(&text) {
            return;
        }
        for link in links_of(text).filter(|link| pieces::holds_secret(link.text)) {
            self.link(link.text, None);
        }
    }

    /// The same for every text in a value, but for what a field held before: it was replaced.
    pub(super) fn scan_all(&mut self, json: &'a Json) {
        self.scan(json.text());
        json.list().iter().for_each(|item| self.scan_all(item));
        let present = json.fields().filter(|(name, _)| !plain(name).ends_with(HISTORY));
        present.for_each(|(_, value)| self.scan_all(value));
    }

    /// Adds an entry that was read elsewhere, unless it is there.
    pub(super) fn add(&mut self, is_link: bool, mut one: Entry, note: Option<Note>) {
        if let Ok(found) = &mut one.read {
            found.notes.extend(note);
        }
        // A link says how codes are made, and a bare key does not.
        let same_codes =
            |other: &Entry| matches!((&other.read, &one.read), (Ok(other), Ok(one)) if other.totp == one.totp);
        let same = |(other_is_link, other): &&mut (bool, Entry)| match (&other.read, &one.read) {
            (Ok(other), Ok(one)) => {
                let alike = !*other_is_link || !is_link || other.totp == one.totp;
                alike && other.seed.expose() == one.seed.expose()
            }
            _ => false,
        };
        match self.found.iter_mut().find(same) {
            None => self.found.push((is_link, one)),
            Some((_, other)) if same_codes(other) => {}
            Some(other) if is_link => *other = (is_link, one),
            Some(_) => {}
        }
    }

    pub(super) fn skip(&mut self, why: Skip) {
        let title = self.title();
        self.found.push((false, Entry::skipped(self.place, title, why)));
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(super) fn entries(self) -> Vec<Entry> {
        let Self { place, why, found, .. } = self;
        let skipped = |entry: Entry| match why {
            Some(why) => Entry::skipped(place, entry.title, why),
            None => entry,
        };
        found.into_iter().map(|(_, entry)| skipped(entry)).collect()
    }

    fn title(&self) -> Option<crate::domain::text::ShownText> {
        super::naming::title(self.beside.issuer, self.beside.account)
    }

    fn link(&mut self, text: &str, note: Option<Note>) {
        if google::is_link(text) {
            let mut import = Import::new(Format::Google);
            google::read(text, 1, &mut import);
            for entry in import.entries {
                self.add(true, Entry { place: self.place, ..entry }, note);
            }
        } else {
            self.add(true, uri::link(text, self.beside, self.place), note);
        }
    }
}

/// The links of a text of several lines.
fn links_of(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let lines = if text.contains("://") { text } else { "" };
    lines.lines().flat_map(pieces).filter(|piece| uri::is_link(piece.text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_seeds_are_known_by_their_names() {
        for name in
            ["otp", "OTP Key", "otp_1", "TOTP Secret Key", "otpauth2", "Authenticator Key", "2FA", "otp code secret"]
        {
            assert!(names_seed(&plain(name)), "{name}");
        }
        for name in [
            "",
            "otp type",
            "otp_digits",
            "totp_period",
            "otp created at",
            "password",
            "option",
            "2fa enabled",
            "notes",
        ] {
            assert!(!names_seed(&plain(name)), "{name}");
        }
    }
}
