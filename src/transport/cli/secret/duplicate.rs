//! A second secret of one issuer and label: nobody could tell the two apart, so a person is asked first.

use crate::{
    domain::{ids::SecretId, name_query::normalised, secret::SecretMetadata},
    operations::{FindSecrets, Life, Registration},
    transport::cli::{Failure, Session},
};

/// Issuer and label, as they are compared: without case.
pub(super) type Name = (Option<String>, String);

/// Asks whether to store what has the issuer and label of a secret that is there; refused where nobody can be asked.
pub(super) async fn ask(registration: &Registration, session: &mut Session) -> Result<(), Failure> {
    let wanted = name(&session.service.check_registration(registration)?.metadata);
    ask_for(&wanted, None, session).await
}

/// The same for a name that one of them is to get.
pub(super) async fn ask_for(wanted: &Name, of: Option<SecretId>, session: &mut Session) -> Result<(), Failure> {
    let (issuer, label) = wanted;
    let query = format!("{} {label}", issuer.as_deref().unwrap_or_default());
    let there = session.perform(FindSecrets { query, life: Life::Live }).await?;
    let same = there.iter().find(|secret| Some(secret.id) != of && name(&secret.metadata) == *wanted);
    let Some(same) = same else { return Ok(()) };
    let told = super::view::name(same);
    if !session.console.can_ask() {
        return Err(Failure::invalid(format!(
            "{told} is there already; with --allow-duplicate there is another of this issuer and label"
        )));
    }
    session.console.confirm(&format!("{told} is there already. Have another of this issuer and label?"), false.into())
}

/// Under which name people know a secret.
pub(super) fn name(metadata: &SecretMetadata) -> Name {
    (metadata.issuer.as_ref().map(|issuer| normalised(issuer.as_str())), normalised(metadata.label.as_str()))
}

/// The name that a change gives a secret. An empty issuer is none.
pub(super) fn changed(metadata: &SecretMetadata, label: Option<&str>, issuer: Option<&str>) -> Name {
    let (old_issuer, old_label) = name(metadata);
    let issuer =
        issuer.map_or(old_issuer, |issuer| Some(normalised(issuer.trim())).filter(|issuer| !issuer.is_empty()));
    (issuer, label.map_or(old_label, |label| normalised(label.trim())))
}
