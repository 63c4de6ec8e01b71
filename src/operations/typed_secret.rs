//! Converts the text that a person types on the page of an enrolment, or shows to it, to the registration that they
//! mean.

use zeroize::Zeroizing;

use super::{Failed, Refusal, Registration, register_secret::shown};
use crate::domain::{
    enrolment::Proposal,
    otpauth::{Names, OtpAuth, OtpAuthError, Repair, is_link, unquoted},
    text::ShownText,
};

/// The label of a secret if neither its link nor the request for it has a name. The person sees it before it is stored.
const UNNAMED: &str = "Unnamed";

/// The text that a person typed. No `Debug`.
pub struct Typed<'a> {
    /// A seed in base32, or an `otpauth://` link.
    pub key: &'a str,
    /// The secret's label; `None`: there was no field for it.
    pub label: Option<&'a str>,
    /// The service that issued it; `None`: there was no field for it.
    pub issuer: Option<&'a str>,
}

impl Typed<'_> {
    /// The registration that a person means. A link brings its own names, which the agent's proposal does not override,
    /// but the person's changes in the fields do. A name that the link lacks is the one that the field shows.
    pub(super) fn meant(&self, proposal: &Proposal) -> Result<(Registration, Vec<Repair>), Failed> {
        let key = unquoted(self.key);
        if key.is_empty() {
            return Err(Refusal::invalid("key", "is empty: paste the key or the link that the service shows").into());
        }
        let [label, issuer] = [(self.label, &proposal.label), (self.issuer, &proposal.issuer)]
            .map(|(text, proposed)| text.or(proposed.as_ref().map(ShownText::as_str)).unwrap_or_default().trim());
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
        let shown = |field, text: &str| if text.is_empty() { Ok(None) } else { shown(field, text).map(Some) };
        let [typed_label, typed_issuer] = [shown("label", label)?, shown("issuer", issuer)?];
        let mut given = Names {
            label: typed_label.clone().filter(|label| Some(label) != proposal.label.as_ref()),
            issuer: typed_issuer.clone().filter(|issuer| Some(issuer) != proposal.issuer.as_ref()),
        };
        let mut read = OtpAuth::parse_meant(key, given.clone());
        // The names that the link lacks, or that hold the seed and can't be kept: every list shows names.
        let lacks = match &read {
            Ok((read, _)) => (read.seed.is_in(read.label.as_str()), read.issuer.is_none()),
            Err(OtpAuthError::NoName) => (true, true),
            Err(_) => (false, false),
        };
        let or_unnamed = || self.label.is_none().then(|| ShownText::kept(UNNAMED.to_owned()));
        if lacks.0 {
            given.label = typed_label.or_else(or_unnamed);
        }
        if lacks.1 {
            given.issuer = typed_issuer;
        }
        if lacks != (false, false) {
            read = OtpAuth::parse_meant(key, given);
        }
        let (read, repaired) = read.map_err(|problem| Refusal::invalid("key", problem.to_string()))?;
        Ok((Registration { uri: Some(read.to_uri()), ..Registration::default() }, repaired))
    }
}
