//! The secrets of one entry of a password manager: in its own field for them, and wherever else a person put a link.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet, hash_map::RandomState},
    hash::BuildHasher as _,
};

use super::{
    Format, Import, ends,
    entry::{Entry, Note, Place, Skip},
    fields::{HISTORY, Named, is_of_ids_or_passwords, is_of_other_codes, named, plain},
    google,
    json::Json,
    pieces::{self, Piece, pieces},
    unread,
    uri::{self, Beside, StatedParameters},
    walk,
};
use crate::domain::seed::{SEED_CHARS_USUAL, Seed};

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
    /// The texts that were read or counted.
    read: HashSet<&'a str>,
    /// The texts beside them, which may say how the codes of its bare keys are made.
    said: Vec<walk::Member<'a>>,
    /// The links that were refused: a key in one of them may make other codes.
    refused: Vec<&'a str>,
    /// The reason for counting it although nothing was read: a text holds a key, but would be something else beside one.
    /// With the number of keys in it.
    unread: Option<(Skip, usize)>,
}

impl<'a> Item<'a> {
    pub(super) fn new(beside: Beside<'a>, place: Place, why: Option<Skip>) -> Self {
        let (found, known, hashes, read, said, refused, unread) = Default::default();
        Self { beside, place, why, found, known, hashes, read, said, refused, unread }
    }

    /// Reads a field of seeds: a link, several, or a bare key. Each of them gets the note.
    pub(super) fn own(&mut self, text: &'a str, note: Option<Note>) {
        if text.trim().is_empty() {
            return;
        }
        self.read.insert(text);
        let mut links: Vec<Piece<'_>> = links_of(text).collect();
        // The link's other parameters may stand on lines of their own.
        if let [link] = links.as_mut_slice()
            && uri::is_link(text)
            && text.lines().skip(1).any(|line| line.trim_start().starts_with('&'))
        {
            link.text = text.trim();
        }
        let has_link = !links.is_empty();
        if !has_link {
            self.add(false, uri::link_or_seed(text, self.beside, self.place), note);
        }
        for link in links {
            self.link(link.text, note, true);
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
        self.say(&plain, value.into());
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
            self.read.insert(text);
            self.skip(why);
        } else if self.unread.is_none() && unread::holds_key(text) {
            self.unread = Some((why, ends::keys(text).max(1)));
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
            self.pass_over(value);
        }
        self.field(name, value.text());
    }

    /// Reads the links in a text that is not made for them. A bare key there is not guessed at.
    pub(super) fn scan(&mut self, text: &'a str) {
        if !text.contains("://") || self.read.contains(text) {
            return;
        }
        for link in links_of(text).filter(|link| pieces::holds_secret(link.text)) {
            self.link(link.text, None, false);
        }
    }

    /// The same for every text in a value, except the earlier values of a field: they were replaced. Bare keys in it are
    /// counted.
    pub(super) fn scan_all(&mut self, json: &'a Json) {
        self.scan_links(json);
        for (name, text) in walk::texts("", json) {
            // A shorter text is no key, and neither is a time.
            if text.bytes().filter(|byte| matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'2'..=b'7')).count()
                >= SEED_CHARS_USUAL
            {
                self.beside(&name, text, Skip::Elsewhere);
            }
            self.say(&name, text.into());
        }
        for (name, number) in walk::numbers(json) {
            self.say(&name, number.to_string().into());
        }
    }

    fn scan_links(&mut self, json: &'a Json) {
        self.scan(json.text());
        json.list().iter().for_each(|item| self.scan_links(item));
        let present = json.fields().filter(|(name, _)| !plain(name).ends_with(HISTORY));
        present.for_each(|(_, value)| self.scan_links(value));
    }

    /// Reads the links in a text beside the entry's own key. An app may keep there the link that it made the entry of: if
    /// that says something else than the entry, the entry is doubtful. Those of a skipped entry may be its own, by
    /// `is_own`.
    pub(super) fn scan_beside(&mut self, text: &'a str, is_own: impl Fn(&Seed) -> bool) {
        let is_skipped = self.found.iter().all(|(_, entry)| entry.read.is_err());
        for link in links_of(text).filter(|link| pieces::holds_secret(link.text)) {
            let other = uri::link(link.text, Beside::default(), self.place).read.ok();
            let at = other.as_ref().and_then(|other| self.known.get(&self.hashes.hash_one(other.seed.expose())));
            let kept = at.and_then(|at| self.found.get_mut(*at)).and_then(|(_, entry)| entry.read.as_mut().ok());
            if let Some(kept) = kept {
                let stated = StatedParameters::of(kept.totp);
                let joined = uri::link(link.text, Beside { stated, ..Beside::default() }, self.place).read;
                let is_other = joined.is_ok_and(|joined| joined.totp != kept.totp);
                kept.notes.extend(is_other.then_some(Note::Differs));
            } else if other.as_ref().map_or(!is_skipped, |other| !is_own(&other.seed)) {
                self.link(link.text, None, false);
            }
        }
    }

    /// Counts what a text of this plain name holds: links and keys, none of which is read.
    pub(super) fn count(&mut self, name: &str, text: &'a str, why: Skip) {
        links_of(text).filter(|link| pieces::holds_secret(link.text)).for_each(|_| self.skip(why));
        self.beside(name, text, why);
    }

    /// Takes the bare keys in a value for read.
    pub(super) fn pass_over(&mut self, json: &'a Json) {
        let texts = walk::texts("", json).into_iter().map(|(_, text)| text);
        self.read.extend(texts.filter(|text| !text.contains("://")));
    }

    /// Notes what else an entry says, in as many texts as are compared.
    fn say(&mut self, name: &str, text: Cow<'a, str>) {
        if self.said.len() <= walk::MEMBERS_MAX {
            self.said.push((name.to_owned(), text));
        }
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
        if let Some((why, keys)) = self.unread.filter(|_| self.found.is_empty()) {
            (0..keys).for_each(|_| self.skip(why));
        }
        self.doubt();
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

    /// Marks the bare keys whose codes may be made in another way, by what the entry says elsewhere.
    fn doubt(&mut self) {
        let bare = self.found.iter_mut().filter(|(is_link, _)| !is_link);
        let mut bare = bare.filter_map(|(_, entry)| entry.read.as_mut().ok()).peekable();
        if bare.peek().is_some() && walk::say_more(&self.said) {
            bare.for_each(|found| found.notes.extend(Some(Note::Unread).filter(|note| !found.notes.contains(note))));
        }
    }

    fn title(&self) -> Option<crate::domain::text::ShownText> {
        super::naming::title(self.beside.issuer, self.beside.account)
    }

    /// Reads a link: one in a field of keys, or one elsewhere, to which what stands beside the entry's own key does not
    /// apply if it has another key.
    fn link(&mut self, text: &'a str, note: Option<Note>, is_own: bool) {
        if google::is_link(text) {
            let mut import = Import::new(Format::Google);
            google::read(text, 1, &mut import);
            for entry in import.entries {
                self.add(true, Entry { place: self.place, ..entry }, note);
            }
        } else {
            let mut read = uri::link(text, self.beside, self.place);
            let is_known = |seed: &Seed| self.known.contains_key(&self.hashes.hash_one(seed.expose()));
            let is_other = read.read.as_ref().is_ok_and(|found| !is_known(&found.seed));
            if !is_own && is_other && !self.found.is_empty() {
                let stated = StatedParameters::default();
                read = uri::link(text, Beside { stated, ..self.beside }, self.place);
            }
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
