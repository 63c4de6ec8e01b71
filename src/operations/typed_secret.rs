//! What a person types on the page of an enrolment, as the registration that they mean.

use zeroize::Zeroizing;

use super::{Failed, Refusal, Registration, register_secret::shown};
use crate::domain::{
    enrolment::Proposal,
    otpauth::{Names, OtpAuth, Repair, is_link, unquoted},
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
        let (key, label, issuer) = (unquoted(key), label.trim(), issuer.trim());
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
            let doubts = Repair::of_key(key).chain(Repair::of_issuer(issuer, false));
            return Ok((registration, doubts.collect()));
        }
        let changed = |field, text: &str, proposed: &Option<ShownText>| {
            let is_proposed = text == proposed.as_ref().map_or("", ShownText::as_str);
            if is_proposed || text.is_empty() { Ok(None) } else { shown(field, text).map(Some) }
        };
        let mut said = Names {
            label: changed("label", label, &proposal.label)?,
            issuer: changed("issuer", issuer, &proposal.issuer)?,
        };
        let parse = |said: &Names| {
            OtpAuth::parse_meant(key, said.clone()).map_err(|problem| Refusal::invalid("key", problem.to_string()))
        };
        let (mut read, mut repaired) = parse(&said)?;
        if !label.is_empty() && read.seed.is_in(read.label.as_str()) {
            // What the field shows is better than a name that can't be kept.
            said.label = Some(shown("label", label)?);
            (read, repaired) = parse(&said)?;
        }
        Ok((Registration { uri: Some(read.to_uri()), ..Registration::default() }, repaired))
    }
}
