//! The secrets of one entry of a password manager: in its own field for them, and wherever else a person put a link.

use std::{
    collections::{HashMap, HashSet, hash_map::RandomState},
    hash::BuildHasher as _,
};

use unicode_normalization::UnicodeNormalization as _;

use super::{
    Format, Import, ends,
    entry::{Entry, Note, Place, Skip},
    google,
    json::Json,
    pieces::{self, Piece, pieces},
    settings, unread,
    uri::{self, Beside},
};
use crate::domain::seed::Seed;

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
/// The beginnings of other names of such fields.
const STARTS: [&str; 5] = ["otp", "totp", "onetimepassword", "onetimecode", "einmal"];
/// The beginnings of names that such fields may have, and other fields, too.
const LOOSE_STARTS: [&str; 5] = ["2fa", "mfa", "authenticator", "googleauthenticator", "secretkey"];
/// The ends of names that begin like this, and belong to fields about a seed.
pub(super) const ABOUT: [&str; 38] = [
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
    "device",
    "serial",
    "model",
    "provider",
    "backup",
    "recovery",
];

/// The end of the names of fields in which password managers keep the earlier values of others.
const HISTORY: &str = "history";

/// How surely a field of a name has a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Named {
    /// Services and programs use the name for a seed.
    Surely,
    /// The name begins or ends like these: it may be of a remark about a seed.
    Nearly,
    /// Other things have the name, too: only a value that can be a seed is one.
    Perhaps,
}

/// How surely a field of this name, which is plain, has a seed.
pub(super) fn named(name: &str) -> Option<Named> {
    let bare = without_number(name);
    let begins = |starts: &[&str]| starts.iter().any(|start| bare.starts_with(start));
    if SEEDS.contains(&bare) {
        Some(Named::Surely)
    } else if ABOUT.iter().any(|end| bare.ends_with(end)) {
        None
    } else if begins(&STARTS) || bare.ends_with("totp") && !is_question(bare) {
        Some(Named::Nearly)
    } else {
        (begins(&LOOSE_STARTS) || bare.ends_with("seed") || bare == "secret").then_some(Named::Perhaps)
    }
}

/// Whether the name asks what is answered by yes or no: `is TOTP`.
pub(super) fn is_question(name: &str) -> bool {
    let asked = ["is", "has", "uses"].iter().find_map(|start| name.strip_prefix(start));
    asked.is_some_and(|asked| SEEDS.contains(&asked))
}

/// Whether a field of this plain name has an identifier or a password, however much it looks like a key.
fn is_of_ids_or_passwords(name: &str) -> bool {
    // In some languages a password for one use is called by the words for it.
    const FOR_ONE_USE: [&str; 6] = ["onetime", "einmal", "unsolouso", "usageunique", "usounico", "monouso"];
    let is_of_codes = || settings::is_about_codes(name) || FOR_ONE_USE.iter().any(|part| name.contains(part));
    is_of_ids(name) || settings::tells_of_logins(name) && !is_of_codes()
}

fn is_of_ids(name: &str) -> bool {
    let bare = without_number(name);
    ["id", "uuid", "serial"].iter().any(|end| bare.ends_with(end)) && !bare.ends_with("android")
}

/// Whether a field of this plain name has a password, an identifier, a license, or codes for the loss of a phone: they may look
/// like keys.
fn is_of_other_codes(name: &str) -> bool {
    const PARTS: [&str; 18] = [
        "passw",
        "passphrase",
        "passcode",
        "recover",
        "backup",
        "emergency",
        "wiederherst",
        "notfall",
        "secours",
        "recupera",
        "licen",
        "lizenz",
        "product",
        "apikey",
        "wlan",
        "wifi",
        "order",
        "fiscal",
    ];
    let is_seed = || named(name).is_some_and(|name| name < Named::Perhaps);
    (is_of_ids(name) || PARTS.iter().any(|part| name.contains(part))) && !is_seed()
}

/// The name without its number: two fields may have one name, or a number each.
pub(super) fn without_number(name: &str) -> &str {
    name.trim_end_matches(|c: char| c.is_ascii_digit())
}

/// A field's name without case, accents and punctuation.
pub(super) fn plain(name: &str) -> String {
    name.nfd().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// The secrets of an entry, each once.
pub(super) struct Item<'a> {
    beside: Beside<'a>,
    place: Place,
    /// The reason for skipping all of them, if the entry as a whole is skipped.
    why: Option<Skip>,
    /// The secrets, each with whether it comes from a link.
    found: Vec<(bool, Entry)>,
    /// The index of each seed in `found`: by the seed alone, and by the seed with each of the parameters that links
    /// give it.
    known: HashMap<u64, usize>,
    hashes: RandomState,
    /// The texts that were read.
    read: HashSet<&'a str>,
    /// The links that were refused: a key in one of them may make other codes.
    refused: Vec<&'a str>,
    /// The reason for counting it although nothing was read: a text holds a key, but would be something else beside one.
    unread: Option<Skip>,
}

impl<'a> Item<'a> {
    pub(super) fn new(beside: Beside<'a>, place: Place, why: Option<Skip>) -> Self {
        let (found, known, hashes, read, refused, unread) = Default::default();
        Self { beside, place, why, found, known, hashes, read, refused, unread }
    }

    /// Reads a field of seeds: a link, several, or a bare key. Each of them gets the note.
    pub(super) fn own(&mut self, text: &'a str, note: Option<Note>) {
        if text.trim().is_empty() {
            return;
        }
        self.read.insert(text);
        let links: Vec<Piece<'_>> = links_of(text).collect();
        let has_link = !links.is_empty();
        if !has_link {
            self.add(false, uri::link_or_seed(text, self.beside, self.place), note);
        }
        for link in links {
            self.link(link.text, note);
        }
        if text.contains("://") {
            let keys: usize = text.lines().map(pieces::keys_beside).sum();
            // A text without a link was reported already, with the key in it.
            let counted = usize::from(!has_link);
            (counted..keys).for_each(|_| self.skip(Skip::Bare));
        }
    }

    /// Reads a field that a person named: a bare key, perhaps with words around it, if the name suggests one. Links in it
    /// are found with those elsewhere.
    pub(super) fn field(&mut self, name: &str, value: &'a str) {
        let can_be_seed = |name| {
            uri::is_link_or_usual_seed(value)
                || name < Named::Perhaps && unread::holds_key(value)
                || match name {
                    Named::Surely => ends::is_like_mistyped_seed(value),
                    Named::Nearly => ends::is_like_seed(value),
                    Named::Perhaps => false,
                }
        };
        let plain = plain(name);
        if !value.contains("://") && named(&plain).is_some_and(can_be_seed) {
            self.own(value, None);
        } else {
            self.beside(&plain, value, Skip::Elsewhere);
        }
    }

    /// Looks for a key in a field of this plain name that is not read. A field with codes for the loss of a phone and the
    /// like counts, and so do words around a key, where nothing else is read: the key may be the only one.
    pub(super) fn beside(&mut self, name: &str, text: &'a str, why: Skip) {
        if is_of_ids_or_passwords(name) || self.has(text) {
            return;
        }
        let is_known = || unread::is_key(text) && !is_of_other_codes(name);
        let is_named = || named(name).is_some() && !text.contains("://") && unread::holds_key(text);
        if is_known() || is_named() {
            self.skip(why);
        } else if self.unread.is_none() && unread::holds_key(text) {
            self.unread = Some(why);
        }
    }

    /// Whether a key is that of an entry already.
    pub(super) fn has(&self, text: &str) -> bool {
        let seed = Seed::from_base32(text).ok();
        let is_known = |seed: Seed| self.known.contains_key(&self.hashes.hash_one(seed.expose()));
        seed.is_some_and(is_known) || self.read.contains(text)
    }

    /// The same for a value that should be a text.
    pub(super) fn field_of(&mut self, name: &str, value: &'a Json) {
        let is_text = matches!(value, Json::Text(_) | Json::Null | Json::Bool(_));
        if !is_text && named(&plain(name)).is_some_and(|name| name < Named::Perhaps) {
            self.skip(Skip::Shape);
        }
        self.field(name, value.text());
    }

    /// Reads the links in a text that is not made for them. A bare key there is not guessed at.
    pub(super) fn scan(&mut self, text: &'a str) {
        if !text.contains("://") || self.read.contains(text) {
            return;
        }
        for link in links_of(text).filter(|link| pieces::holds_secret(link.text)) {
            self.link(link.text, None);
        }
    }

    /// The same for every text in a value, except the earlier values of a field: they were replaced.
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
        let Ok(secret) = &one.read else {
            self.found.push((is_link, one));
            return;
        };
        // Seeds are compared by keyed hashes, for which no file can make a collision.
        let totp = secret.totp;
        let seed = self.hashes.hash_one(secret.seed.expose());
        let with_parameters = self.hashes.hash_one((secret.seed.expose(), totp));
        let has_same_codes = |kept: &Entry| matches!(&kept.read, Ok(kept) if kept.totp == totp);
        let same = if is_link { self.known.get(&with_parameters) } else { None }.or_else(|| self.known.get(&seed));
        let at = match same.and_then(|at| Some((*at, self.found.get_mut(*at)?))) {
            Some(_) if !is_link => return,
            Some((at, kept)) if has_same_codes(&kept.1) => {
                kept.0 = true;
                at
            }
            // A link gives the parameters of codes, and a bare key does not.
            Some((at, kept)) if !kept.0 => {
                *kept = (true, one);
                at
            }
            Some(_) | None => {
                self.found.push((is_link, one));
                self.found.len() - 1
            }
        };
        self.known.entry(seed).or_insert(at);
        if is_link {
            self.known.insert(with_parameters, at);
        }
    }

    pub(super) fn skip(&mut self, why: Skip) {
        let title = self.title();
        self.found.push((false, Entry::skipped(self.place, title, why)));
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(super) fn entries(mut self) -> Vec<Entry> {
        if let Some(why) = self.unread.filter(|_| self.found.is_empty()) {
            self.skip(why);
        }
        let Self { place, why, found, refused, .. } = self;
        let skipped = |entry: Entry| match why {
            Some(why) => Entry::skipped(place, entry.title, why),
            None => entry,
        };
        // A refused link takes precedence over the bare key in it.
        let is_refused = |(is_link, entry): &(bool, Entry)| match &entry.read {
            Ok(secret) if !is_link => refused.iter().any(|link| secret.seed.is_in(link)),
            Ok(_) | Err(_) => false,
        };
        found.into_iter().filter(|found| !is_refused(found)).map(|(_, entry)| skipped(entry)).collect()
    }

    fn title(&self) -> Option<crate::domain::text::ShownText> {
        super::naming::title(self.beside.issuer, self.beside.account)
    }

    fn link(&mut self, text: &'a str, note: Option<Note>) {
        if google::is_link(text) {
            let mut import = Import::new(Format::Google);
            google::read(text, 1, &mut import);
            for entry in import.entries {
                self.add(true, Entry { place: self.place, ..entry }, note);
            }
        } else {
            let read = uri::link(text, self.beside, self.place);
            if read.read.is_err() {
                self.refused.push(text);
            }
            self.add(true, read, note);
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
            assert!(named(&plain(name)).is_some_and(|name| name < Named::Perhaps), "{name}");
        }
        for name in ["MFA", "2FA setup", "Google Authenticator", "my seed", "Secret key", "Secret"] {
            assert_eq!(named(&plain(name)), Some(Named::Perhaps), "{name}");
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
            assert_eq!(named(&plain(name)), None, "{name}");
        }
    }
}
