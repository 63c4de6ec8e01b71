//! What a person types on the page of an enrolment, as the registration that they mean.

use zeroize::Zeroizing;

use super::{Failed, Refusal, Registration, register_secret::shown};
use crate::domain::{
    enrolment::Proposal,
    otpauth::{Names, OtpAuth, Repair, is_link},
    seed::Seeds,
    text::ShownText,
};

/// What a person typed. No `Debug`.
pub struct Typed<'a> {
    /// A seed in base32, or an `otpauth://` link.
    pub key: &'a str,
    /// What to call the secret.
    pub label: &'a str,
    /// The service that issued it.
    pub issuer: &'a str,
}

impl Typed<'_> {
    /// The registration that a person means: a link brings its own names, which the agent's proposal does not override, but
    /// what the person changed in the fields does.
    pub(super) fn meant(&self, proposal: &Proposal) -> Result<(Registration, Vec<Repair>), Failed> {
        let Typed { key, label, issuer } = self;
        let (key, label, issuer) = (key.trim(), label.trim(), issuer.trim());
        if key.is_empty() {
            return Err(Refusal::invalid("key", "is empty: paste the key or the link that the service shows").into());
        }
        if !is_link(key) {
            if label.is_empty() {
                return Err(Refusal::invalid("label", "is missing: say which account the key is for").into());
            }
            let registration = Registration {
                label: Some(label.to_owned()),
                issuer: Some(issuer.to_owned()).filter(|issuer| !issuer.is_empty()),
                secret: Some(Zeroizing::new(key.to_owned())),
                ..Registration::default()
            };
            let doubt = (Seeds::of(key) == Seeds::PerhapsTwo).then_some(Repair::PerhapsTwo);
            return Ok((registration, doubt.into_iter().collect()));
        }
        let changed = |field, text: &str, proposed: &Option<ShownText>| {
            let is_proposed = text == proposed.as_ref().map_or("", ShownText::as_str);
            if is_proposed || text.is_empty() { Ok(None) } else { shown(field, text).map(Some) }
        };
        let said = Names {
            label: changed("label", label, &proposal.label)?,
            issuer: changed("issuer", issuer, &proposal.issuer)?,
        };
        let read = OtpAuth::parse_meant(key, said).map_err(|problem| Refusal::invalid("key", problem.to_string()))?;
        let (read, repaired) = read;
        Ok((Registration { uri: Some(read.to_uri()), ..Registration::default() }, repaired))
    }
}
