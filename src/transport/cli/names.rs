//! Finds a secret, a seat or a key by a person's name for it: its id, the short id in lists, its name, or words of its
//! name. For an ambiguous name, a person at a terminal is asked; otherwise it is an error that lists the candidates.

use std::fmt::Write as _;

use clap::Args;
use uuid::Uuid;

pub(super) use super::short_ids::ShortIds;
use super::{
    Failure, Session,
    numbers::code_digits,
    short_ids::{ends_with, may_be_short_id},
    table::Table,
};
use crate::{
    domain::{
        api_key::ApiKey,
        ids::SecretId,
        name_query::{NameQuery, indexed_words, normalised, normalised_words},
        seat::Seat,
        secret::TotpSecret,
        text::{AuthSubject, ShownText},
    },
    operations::{ErrorCode, EverySeat, FindSecrets, GetSecret, Life, ListDeleted, ListKeys, ListSecrets},
};

/// The most candidates of an ambiguous name that are listed.
const CANDIDATES_MAX: usize = 20;

/// A secret, as it is named on the command line. Several words need no quotes.
#[derive(Debug, Args)]
pub struct SecretName {
    /// The secret: its id, its short id, or words of its issuer and label
    #[arg(value_name = "NAME", required = true, num_args = 1..)]
    secret: Vec<String>,
}

/// The secrets among which a name is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Among {
    /// Live secrets.
    Live,
    /// Deleted secrets that may be restored.
    Deleted,
    /// Both.
    All,
}

/// How the words of a name must match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Words {
    /// Anywhere in the names, as parts of words too.
    Any,
    /// As whole words: `ol` must not remove `solo@example.com`.
    Whole,
}

/// Things that a person can name.
pub(super) trait Named {
    /// Their plural noun.
    const NOUN: &'static str;
    /// The head of a list of candidates.
    const HEAD: &'static [&'static str];

    /// Its id, if it has a short form.
    fn uuid(&self) -> Option<Uuid>;
    /// Whether this is its whole id.
    fn has_id(&self, id: &str) -> bool {
        self.uuid().is_some_and(|own| own.to_string().eq_ignore_ascii_case(id))
    }
    /// Whether its id ends with `end`, as short ids are the ends of ids.
    fn has_id_end(&self, end: &str) -> bool {
        self.uuid().is_some_and(|own| ends_with(own, end))
    }
    /// Its names, each of which names it as a whole.
    fn called(&self) -> Vec<&str>;
    /// All of its names together, as lists show them.
    fn in_full(&self) -> String {
        self.called().join(" ")
    }
    /// Whether its names contain every word of a query.
    fn has_words(&self, query: &str) -> bool;
    /// Its row in a list of candidates.
    fn candidate(&self) -> Vec<String>;
}

impl SecretName {
    /// Whether the last of several words looks like a code.
    pub(super) fn ends_with_a_code(&self) -> bool {
        self.secret.len() > 1 && self.secret.last().is_some_and(|word| code_digits(word).is_some())
    }

    /// The words as one text.
    pub(super) fn text(&self) -> String {
        self.secret.join(" ")
    }
}

/// The secret that a person names.
pub(super) async fn secret(session: &mut Session, name: &str, among: Among) -> Result<TotpSecret, Failure> {
    secret_by(session, name, among, Words::Any).await
}

/// The secret that a person names precisely enough to remove it.
pub(super) async fn secret_to_lose(session: &mut Session, name: &str, among: Among) -> Result<TotpSecret, Failure> {
    secret_by(session, name, among, Words::Whole).await
}

async fn secret_by(session: &mut Session, name: &str, among: Among, words: Words) -> Result<TotpSecret, Failure> {
    let found = narrowed(secrets(session, name.trim(), among).await?, name, words);
    let kind = if words == Words::Whole { "these whole words" } else { "these words" };
    let mut none = format!(
        "no secret has this id, short id, or {kind} in its issuer and label; `countersign secret list` shows what exists"
    );
    if found.is_empty() {
        // A damaged secret has no name to be found by.
        let all = session.perform(ListSecrets::default()).await?;
        let damaged = all.stored.saturating_sub(all.secrets.len() as u64);
        if damaged > 0 {
            let _ = write!(none, "; damaged ones ({damaged}) have no name, `countersign vault doctor` shows them");
        }
    }
    one(session, found, &none)
}

/// The secrets to which a name may refer. Listing many secrets takes long, so all are listed only if the name may be a
/// short id.
async fn secrets(session: &Session, name: &str, among: Among) -> Result<Vec<TotpSecret>, Failure> {
    let mut all = Vec::new();
    if among != Among::Live {
        all.extend(session.perform(ListDeleted).await?);
    }
    if let Ok(id) = name.parse() {
        all.retain(|secret| secret.id == id);
        if all.is_empty() && among != Among::Deleted {
            all.push(session.perform(GetSecret { id }).await?);
        }
        return Ok(all);
    }
    if among != Among::Deleted && !name.is_empty() {
        all.extend(if may_be_short_id(name) {
            session.perform(ListSecrets::default()).await?.secrets
        } else {
            session.perform(FindSecrets { query: name.to_owned(), life: Life::Live }).await?
        });
    }
    named(all, name)
}

/// The id of a secret, for searching the audit log, which also contains erased ones.
pub(super) async fn secret_id(session: &mut Session, name: &str) -> Result<SecretId, Failure> {
    match name.trim().parse() {
        Ok(id) => Ok(id),
        Err(_) => Ok(secret(session, name, Among::All).await?.id),
    }
}

/// The key that a person names: of several keys with one name, live ones come before revoked ones.
pub(super) async fn key(session: &mut Session, name: &str) -> Result<ApiKey, Failure> {
    key_by(session, name, Words::Any).await
}

/// The key that a person names precisely enough to revoke it.
pub(super) async fn key_to_lose(session: &mut Session, name: &str) -> Result<ApiKey, Failure> {
    key_by(session, name, Words::Whole).await
}

async fn key_by(session: &mut Session, name: &str, words: Words) -> Result<ApiKey, Failure> {
    let mut found = narrowed(named(session.perform(ListKeys).await?.sound, name)?, name, words);
    if found.len() > 1 && found.iter().any(|key| key.revoked_at.is_none()) {
        found.retain(|key| key.revoked_at.is_none());
    }
    one(session, found, "no key has this id or name; `countersign key list` shows what exists")
}

/// The seat that a person names by words, or by its short id.
pub(super) async fn seat(session: &mut Session, name: &str) -> Result<Seat, Failure> {
    seat_by(session, name, Words::Any).await
}

/// The seat that a person names precisely enough to remove it.
pub(super) async fn seat_to_lose(session: &mut Session, name: &str) -> Result<Seat, Failure> {
    seat_by(session, name, Words::Whole).await
}

async fn seat_by(session: &mut Session, name: &str, words: Words) -> Result<Seat, Failure> {
    let found = narrowed(named(session.perform(EverySeat).await?, name)?, name, words);
    one(session, found, "no such seat; `countersign seat list` shows what exists")
}

/// The candidates that match a name as `words` requires. An id, the end of an id and a whole name always match.
fn narrowed<T: Named>(mut found: Vec<T>, name: &str, words: Words) -> Vec<T> {
    if words == Words::Whole {
        let (name, whole, typed) = (name.trim(), normalised(name.trim()), indexed_words(name));
        found.retain(|one| {
            let theirs = indexed_words(&one.in_full());
            let is_called = one.called().iter().any(|called| normalised(called) == whole);
            let has_words = !typed.is_empty() && typed.iter().all(|word| theirs.contains(word));
            one.has_id(name) || one.has_id_end(name) || is_called || has_words
        });
    }
    found
}

/// The candidates for a name. A whole id comes first; an exact name comes before a match of words, but not before the
/// end of an id: a person or agent who chooses a label must not be able to take another secret's place.
fn named<T: Named>(mut all: Vec<T>, name: &str) -> Result<Vec<T>, Failure> {
    let name = name.trim();
    if name.is_empty() {
        return Err(Failure::Usage("a name must not be empty".to_owned()));
    }
    let (whole, words) = (normalised(name), normalised_words(name));
    let exact = |one: &T| one.has_id_end(name) || one.called().iter().any(|called| normalised(called) == whole);
    let in_full = |one: &T| normalised_words(&one.in_full()) == words;
    if all.iter().any(|one| one.has_id(name)) {
        all.retain(|one| one.has_id(name));
    } else if all.iter().any(exact) {
        all.retain(exact);
    } else if all.iter().any(in_full) {
        all.retain(in_full);
    } else {
        all.retain(|one| one.has_words(name));
    }
    Ok(all)
}

/// The only candidate, or the one that a person at the terminal chooses.
fn one<T: Named>(session: &mut Session, mut found: Vec<T>, none: &str) -> Result<T, Failure> {
    let last = found.pop().ok_or_else(|| Failure::Failed { code: ErrorCode::NotFound, message: none.to_owned() })?;
    if found.is_empty() {
        return Ok(last);
    }
    found.push(last);
    let console = &mut session.console;
    if !console.can_ask() || found.len() > CANDIDATES_MAX {
        return Err(ambiguous(&found));
    }
    let ids: Vec<Uuid> = found.iter().filter_map(T::uuid).collect();
    let short = ShortIds::of(&ids);
    let nth = console.choose(&format!("This names {} {}:", found.len(), T::NOUN), &candidates(&found, Some(&short)))?;
    found.into_iter().nth(nth).ok_or_else(|| Failure::invalid("nothing was chosen"))
}

/// A table of candidates: with short ids for a person, with whole ones for a program.
fn candidates<T: Named>(found: &[T], short: Option<&ShortIds>) -> Table {
    let mut table = Table::new(T::HEAD);
    for one in found.iter().take(CANDIDATES_MAX) {
        let mut row = one.candidate();
        if let (Some(short), Some(id), Some(cell)) = (short, one.uuid(), row.first_mut()) {
            *cell = short.short(id);
        }
        table.row(row);
    }
    table
}

/// The error for an ambiguous name, with a line for each candidate.
pub(super) fn ambiguous<T: Named>(found: &[T]) -> Failure {
    let rows = candidates(found, None).lines(None);
    let mut message = format!("this names {} {}; use the id of the one you mean:", found.len(), T::NOUN);
    for line in rows.iter().skip(1) {
        message.push_str("\n  ");
        message.push_str(line);
    }
    let more = found.len().saturating_sub(CANDIDATES_MAX);
    if more > 0 {
        let _ = write!(message, "\n  and {more} more");
    }
    Failure::invalid(message)
}

impl Named for TotpSecret {
    const NOUN: &'static str = "secrets";
    const HEAD: &'static [&'static str] = &["ID", "LABEL", "ISSUER", "CREATED"];

    fn uuid(&self) -> Option<Uuid> {
        Some(self.id.uuid())
    }

    fn called(&self) -> Vec<&str> {
        vec![self.metadata.label.as_str()]
    }

    fn in_full(&self) -> String {
        let issuer = self.metadata.issuer.as_ref().map_or("", ShownText::as_str);
        format!("{issuer} {}", self.metadata.label)
    }

    fn has_words(&self, query: &str) -> bool {
        let issuer = self.metadata.issuer.as_ref().map(ShownText::as_str);
        is_meant(query, issuer, self.metadata.label.as_str())
    }

    fn candidate(&self) -> Vec<String> {
        let gone = if self.deleted_at.is_some() { " (deleted)" } else { "" };
        vec![
            self.id.to_string(),
            self.metadata.label.to_string(),
            self.metadata.issuer.as_ref().map(ToString::to_string).unwrap_or_default(),
            format!("{}{gone}", self.created_at),
        ]
    }
}

impl Named for ApiKey {
    const NOUN: &'static str = "keys";
    const HEAD: &'static [&'static str] = &["ID", "NAME", "CREATED"];

    /// A key's id is already short.
    fn uuid(&self) -> Option<Uuid> {
        None
    }

    fn has_id(&self, id: &str) -> bool {
        self.id.as_str() == id
    }

    fn called(&self) -> Vec<&str> {
        vec![self.name.as_str()]
    }

    fn has_words(&self, query: &str) -> bool {
        is_meant(query, None, self.name.as_str())
    }

    fn candidate(&self) -> Vec<String> {
        let gone = if self.revoked_at.is_some() { " (revoked)" } else { "" };
        vec![self.id.to_string(), self.name.to_string(), format!("{}{gone}", self.created_at)]
    }
}

impl Named for Seat {
    const NOUN: &'static str = "seats";
    const HEAD: &'static [&'static str] = &["ID", "EMAIL", "AUTH SUBJECT"];

    fn uuid(&self) -> Option<Uuid> {
        Some(self.id.uuid())
    }

    fn called(&self) -> Vec<&str> {
        let subject = self.profile.auth_subject.as_ref().map(AuthSubject::as_str);
        [Some(self.profile.email.as_str()), subject].into_iter().flatten().collect()
    }

    fn in_full(&self) -> String {
        let names = [&self.profile.first_name, &self.profile.last_name];
        let names = names.into_iter().flatten().map(ShownText::as_str);
        self.called().into_iter().chain(names).collect::<Vec<_>>().join(" ")
    }

    fn has_words(&self, query: &str) -> bool {
        let names = [&self.profile.first_name, &self.profile.last_name];
        let names: Vec<&str> = names.into_iter().flatten().map(ShownText::as_str).collect();
        is_meant(query, Some(self.profile.email.as_str()), &names.join(" "))
    }

    fn candidate(&self) -> Vec<String> {
        let subject = self.profile.auth_subject.as_ref().map(ToString::to_string).unwrap_or_default();
        vec![self.id.to_string(), self.profile.email.to_string(), subject]
    }
}

/// Whether a query matches. An empty query matches nothing.
fn is_meant(query: &str, issuer: Option<&str>, label: &str) -> bool {
    !query.trim().is_empty() && NameQuery::of(query).matches(issuer, label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        secret::{SecretMetadata, SecretUse},
        time::Timestamp,
        totp::TotpParameters,
    };
    use crate::transport::cli::short_ids::end_of;

    fn secrets() -> Vec<TotpSecret> {
        let made = |id: &str, label, issuer: Option<&str>| TotpSecret {
            id: id.parse().unwrap(),
            created_at: Timestamp::from_seconds(0),
            last_used_at: None,
            deleted_at: None,
            metadata: SecretMetadata {
                label: ShownText::parse(label).unwrap(),
                issuer: issuer.map(|issuer| ShownText::parse(issuer).unwrap()),
                totp: TotpParameters::default(),
                usage: SecretUse::Plain,
                origins: Vec::new(),
            },
        };
        vec![
            made("01900000-0000-7000-8000-00000000aaa1", "ada@example.com", Some("GitHub")),
            made("01900000-0000-7000-8000-00000000bbb2", "ada@example.com", Some("GitLab")),
            made("01900000-0000-7000-8000-00000000ccc3", "bob", None),
            made("01900000-0000-7000-8000-00000000ddd4", "bob@work", Some("Acme")),
            // An agent may choose any label, even another secret's short id.
            made("01900000-0000-7000-8000-00000000eee5", "ccc3", None),
        ]
    }

    #[track_caller]
    fn check(name: &str, expected: &[&str]) {
        let found = named(secrets(), name).unwrap();
        let ends: Vec<String> = found.iter().map(|secret| end_of(secret.id.uuid(), 4)).collect();
        assert_eq!(ends, expected, "{name}");
    }

    #[test]
    fn any_words_of_issuer_and_label_name_a_secret_without_case() {
        check("GitHub", &["aaa1"]);
        check("github ada", &["aaa1"]);
        check("ACME", &["ddd4"]);
        check("ada gitlab", &["bbb2"]);
        check("ada", &["aaa1", "bbb2"]);
        check("nobody", &[]);
    }

    #[test]
    fn what_is_called_exactly_so_goes_before_what_has_the_words() {
        check("bob", &["ccc3"]);
        check("BOB", &["ccc3"]);
        check("bo", &["ccc3", "ddd4"]);
        // Issuer and label in full, as lists and errors show them, beside an issuer that begins alike.
        let mut both = secrets();
        both.truncate(2);
        for (secret, issuer) in both.iter_mut().zip(["Google", "Google Workspace"]) {
            secret.metadata.issuer = Some(ShownText::parse(issuer).unwrap());
        }
        assert_eq!(named(both.clone(), "google ada").unwrap().len(), 2);
        for name in ["Google: ada@example.com", "google ada@example.com"] {
            let found = named(both.clone(), name).unwrap();
            assert_eq!(found.iter().map(|secret| secret.id).collect::<Vec<_>>(), [both[0].id], "{name}");
        }
    }

    #[test]
    fn the_random_end_of_an_id_names_a_secret_and_no_label_takes_its_place() {
        check("aaa1", &["aaa1"]);
        check("0000AAA1", &["aaa1"]);
        check("01900000-0000-7000-8000-00000000aaa1", &["aaa1"]);
        check("ccc3", &["ccc3", "eee5"]);
        check("aa1", &[]);
    }

    #[test]
    fn short_ids_are_as_long_as_it_takes_to_tell_them_apart() {
        let id = |text: &str| Uuid::try_parse(text).unwrap();
        let (one, two) = (id("01900000-0000-7000-8000-0000001aaaa1"), id("01900000-0000-7000-8000-0000002aaaa1"));
        assert_eq!(ShortIds::of(&[one]).short(one), "aaa1");
        assert_eq!(ShortIds::of(&[one, two]).short(two), "2aaaa1");
        assert_eq!(ShortIds::of(&[]).short(one), "aaa1");
    }

    #[test]
    fn an_ambiguous_name_lists_its_candidates_and_a_long_list_is_cut() {
        let refused = ambiguous(&named(secrets(), "ada").unwrap()).to_string();
        assert!(refused.starts_with("this names 2 secrets; use the id of the one you mean:\n  01900000"), "{refused}");
        assert!(refused.contains("aaa1  ada@example.com  GitHub  1970-01-01T00:00:00.000Z"), "{refused}");

        let many: Vec<TotpSecret> = (0..5).flat_map(|_| secrets()).collect();
        let refused = ambiguous(&many).to_string();
        assert!(refused.starts_with("this names 25 secrets") && refused.ends_with("\n  and 5 more"), "{refused}");
    }
}
