//! How a person names a secret: by its id, by the start of its id, or by its exact label; and a key, by its id or its name.

use std::fmt::Write as _;

use super::{Session, failure::Failure};
use crate::{
    domain::{api_key::KeyId, ids::SecretId, secret::TotpSecret},
    service::{Code, SecretQuery},
};

/// Candidates of an ambiguous name that are listed: ids made in the same years begin alike.
const CANDIDATES_MAX: usize = 20;

/// Among which secrets a name is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Among {
    /// Those that exist.
    Live,
    /// Those that may be restored.
    Deleted,
    /// Both.
    All,
}

/// The secret that a person names.
pub(super) async fn secret(session: &Session, name: &str, among: Among) -> Result<TotpSecret, Failure> {
    // A whole id needs no list, which with many secrets costs a moment.
    if let (Ok(id), Among::Live) = (name.trim().parse(), among) {
        return Ok(session.service.get_secret(&session.caller, id).await?);
    }
    let mut all = Vec::new();
    if among != Among::Deleted {
        all.extend(session.service.list_secrets(&session.caller, &SecretQuery::default()).await?.secrets);
    }
    if among != Among::Live {
        all.extend(session.service.list_deleted(&session.caller).await?);
    }
    chosen(all, name)
}

/// The id of the secret that a person names for a look at the trail, which remembers erased ones too.
pub(super) async fn secret_id(session: &Session, name: &str) -> Result<SecretId, Failure> {
    match name.trim().parse() {
        Ok(id) => Ok(id),
        Err(_) => Ok(secret(session, name, Among::All).await?.id),
    }
}

/// The id of the key that a person names for a look at the trail: by its id, which rows remember when the key is gone, or by
/// its name.
pub(super) async fn key_id(session: &Session, name: &str) -> Result<KeyId, Failure> {
    let (name, whole) = (name.trim(), name.trim().parse().ok());
    let mut called = session.service.list_keys(&session.caller).await?.sound;
    if let Some(key) = called.iter().find(|key| Some(key.id) == whole) {
        return Ok(key.id);
    }
    called.retain(|key| key.name.as_str() == name);
    match (called.as_slice(), whole) {
        ([only], _) => Ok(only.id),
        ([], Some(id)) => Ok(id),
        ([], None) => {
            let message = "no key has this id or name; `countersign key list` shows what exists".to_owned();
            Err(Failure::Failed { code: Code::NotFound, message })
        }
        (several, _) => Err(ambiguous("keys", several, |key| format!("{}  {}  {}", key.id, key.name, key.created_at))),
    }
}

fn chosen(mut all: Vec<TotpSecret>, name: &str) -> Result<TotpSecret, Failure> {
    let name = name.trim();
    all.retain(|secret| is_called(secret, name));
    match (all.pop(), all.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(last), false) => {
            all.push(last);
            Err(ambiguous("secrets", &all, candidate))
        }
        (None, _) => Err(Failure::Failed {
            code: Code::NotFound,
            message: "no secret has this id, start of an id, or label; `countersign secret list` shows what exists"
                .to_owned(),
        }),
    }
}

fn is_called(secret: &TotpSecret, name: &str) -> bool {
    let starts = !name.is_empty() && secret.id.to_string().starts_with(&name.to_ascii_lowercase());
    starts || secret.metadata.label.as_str() == name
}

fn candidate(secret: &TotpSecret) -> String {
    let issuer = secret.metadata.issuer.as_ref().map_or("-", |issuer| issuer.as_str());
    let gone = if secret.deleted_at.is_some() { "  (deleted)" } else { "" };
    format!("{}  {}  {issuer}  {}{gone}", secret.id, secret.metadata.label, secret.created_at)
}

/// A name that several things bear, with a line for each of them.
pub(super) fn ambiguous<T>(what: &str, candidates: &[T], line: impl Fn(&T) -> String) -> Failure {
    let mut message = format!("this names {} {what}; use the id of the one you mean:", candidates.len());
    for one in candidates.iter().take(CANDIDATES_MAX) {
        let _ = write!(message, "\n  {}", line(one));
    }
    let more = candidates.len().saturating_sub(CANDIDATES_MAX);
    if more > 0 {
        let _ = write!(message, "\n  and {more} more");
    }
    Failure::invalid(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{secret::SecretMetadata, text::ShownText, time::Timestamp, totp::TotpParameters};

    fn secrets() -> Vec<TotpSecret> {
        let made = |id: &str, label| TotpSecret {
            id: id.parse().unwrap(),
            created_at: Timestamp::from_seconds(0),
            last_used_at: None,
            deleted_at: None,
            metadata: SecretMetadata {
                label: ShownText::parse(label).unwrap(),
                issuer: None,
                totp: TotpParameters::default(),
                single_use: false,
            },
        };
        vec![
            made("01900000-0000-7000-8000-000000000001", "alice"),
            made("01900000-0000-7000-8000-000000000002", "alice"),
            made("01911111-0000-7000-8000-000000000003", "0190"),
            made("abcd1111-0000-7000-8000-000000000004", "bob"),
        ]
    }

    fn id_of(name: &str) -> Result<String, String> {
        chosen(secrets(), name).map(|secret| secret.id.to_string()).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_secret_is_named_by_label_or_by_the_start_of_its_id() {
        assert!(id_of("bob").unwrap().ends_with('4'));
        assert!(id_of("ABCD").unwrap().ends_with('4'));
        assert!(id_of("a").unwrap().ends_with('4'));
        assert!(id_of("01900000-0000-7000-8000-000000000002").unwrap().ends_with('2'));
    }

    #[test]
    fn no_text_a_part_of_a_label_and_the_middle_of_an_id_name_nothing() {
        for name in ["bo", "", " ", "alice2", "7000"] {
            assert!(id_of(name).unwrap_err().starts_with("no secret has this id"), "{name}");
        }
    }

    #[test]
    fn an_ambiguous_name_lists_its_candidates() {
        let refused = id_of("alice").unwrap_err();
        assert!(refused.starts_with("this names 2 secrets"), "{refused}");
        assert!(refused.contains("000000000001  alice  -  1970-01-01T00:00:00.000Z"), "{refused}");

        // One by its label, two by the start of their id.
        assert!(id_of("0190").unwrap_err().starts_with("this names 3 secrets"));
        assert!(id_of("0").unwrap_err().starts_with("this names 3 secrets"));
    }

    #[test]
    fn a_long_list_of_candidates_is_cut() {
        let refused = ambiguous("secrets", &[0; 22], ToString::to_string).to_string();
        assert_eq!(refused.lines().count(), 22);
        assert!(refused.starts_with("this names 22 secrets") && refused.ends_with("\n  and 2 more"), "{refused}");
    }
}
