//! A second secret with the same issuer and label: people could not distinguish the two, so a person is asked first.

use crate::{
    domain::{
        ids::SecretId,
        name_query::normalised,
        secret::{SecretMetadata, TotpSecret},
    },
    operations::{FindSecrets, Life, Registration},
    transport::cli::{Failure, Session},
};

/// Issuer and label, normalised for comparison.
pub(super) type Name = (Option<String>, String);

/// Asks whether to store a secret whose issuer and label already exist; an error if no person can be asked. Returns the
/// secrets that have them.
pub(super) async fn ask(registration: &Registration, session: &mut Session) -> Result<Vec<SecretId>, Failure> {
    let wanted = name(&session.service.check_registration(registration)?.metadata);
    ask_for(&wanted, None, session).await
}

/// [`ask`] for an issuer and label. The secret `of`, which is about to get them, does not count.
pub(super) async fn ask_for(
    wanted: &Name,
    of: Option<SecretId>,
    session: &mut Session,
) -> Result<Vec<SecretId>, Failure> {
    let (issuer, label) = wanted;
    let query = format!("{} {label}", issuer.as_deref().unwrap_or_default());
    let there = session.perform(FindSecrets { query, life: Life::Live }).await?;
    let is_same = |secret: &&TotpSecret| Some(secret.id) != of && name(&secret.metadata) == *wanted;
    let same: Vec<&TotpSecret> = there.iter().filter(is_same).collect();
    let ids = same.iter().map(|secret| secret.id).collect();
    let Some(first) = same.first() else { return Ok(ids) };
    let present = super::view::name(first);
    if !session.console.can_ask() {
        return Err(Failure::invalid(format!(
            "{present} is there already; with --allow-duplicate there is another of this issuer and label"
        )));
    }
    let question = format!("{present} is there already. Have another of this issuer and label?");
    session.console.confirm(&question, false.into()).map(|()| ids)
}

/// The name by which people know a secret.
pub(super) fn name(metadata: &SecretMetadata) -> Name {
    (metadata.issuer.as_ref().map(|issuer| normalised(issuer.as_str())), normalised(metadata.label.as_str()))
}

/// A secret's name after a change. An empty issuer counts as none.
pub(super) fn changed(metadata: &SecretMetadata, label: Option<&str>, issuer: Option<&str>) -> Name {
    let (old_issuer, old_label) = name(metadata);
    let issuer =
        issuer.map_or(old_issuer, |issuer| Some(normalised(issuer.trim())).filter(|issuer| !issuer.is_empty()));
    (issuer, label.map_or(old_label, |label| normalised(label.trim())))
}
