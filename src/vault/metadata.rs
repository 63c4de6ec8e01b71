//! The encoding of a secret's metadata inside its seal: JSON with short, fixed names. Format 1 has `single_use` instead
//! of `use`; both are read.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::domain::{
    origin::Origin,
    secret::{SecretMetadata, SecretUse},
    text::ShownText,
    totp::{Algorithm, Digits, Period, TotpParameters},
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    #[serde(borrow)]
    label: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    issuer: Option<Cow<'a, str>>,
    algorithm: &'a str,
    digits: u8,
    period: u32,
    #[serde(rename = "use", default, skip_serializing_if = "Option::is_none")]
    usage: Option<&'a str>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    origins: Vec<String>,
    /// Only in format 1.
    #[serde(default, skip_serializing)]
    single_use: Option<bool>,
}

pub(super) fn encode(data: &SecretMetadata) -> Zeroizing<Vec<u8>> {
    let SecretMetadata { label, issuer, totp, usage, origins } = data;
    let TotpParameters { algorithm, digits, period } = totp;
    let written = Written {
        label: label.as_str().into(),
        issuer: issuer.as_ref().map(|issuer| issuer.as_str().into()),
        algorithm: algorithm.as_str(),
        digits: digits.get(),
        period: period.seconds(),
        usage: (*usage != SecretUse::Plain).then_some(usage.as_str()),
        origins: origins.iter().map(Origin::to_string).collect(),
        single_use: None,
    };
    // Plain strings and numbers always serialise.
    Zeroizing::new(serde_json::to_vec(&written).unwrap_or_default())
}

/// The texts were checked before they were sealed. Checking them again would cost more than everything else, and a
/// later change of the rules must not make a secret unreadable.
pub(super) fn decode(plain: &[u8]) -> Option<SecretMetadata> {
    let written: Written<'_> = serde_json::from_slice(plain).ok()?;
    let text = |text: Cow<'_, str>| (!text.is_empty()).then(|| ShownText::kept(text.into_owned()));
    let usage = match (written.usage, written.single_use) {
        (None, single_use) => SecretUse::of_single_use(single_use.unwrap_or_default()),
        (Some(word), None) => SecretUse::from_word(word)?,
        (Some(_), Some(_)) => return None,
    };
    Some(SecretMetadata {
        label: text(written.label)?,
        issuer: match written.issuer {
            Some(issuer) => Some(text(issuer)?),
            None => None,
        },
        totp: TotpParameters {
            algorithm: written.algorithm.parse::<Algorithm>().ok()?,
            digits: Digits::try_from(u64::from(written.digits)).ok()?,
            period: Period::try_from(u64::from(written.period)).ok()?,
        },
        usage,
        origins: written.origins.iter().map(|origin| origin.parse().ok()).collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(written: &str, expected: Option<&str>) {
        let read = decode(written.as_bytes());
        let shown = read.as_ref().map(|data| {
            let issuer = data.issuer.as_ref().map_or("-", ShownText::as_str);
            let TotpParameters { algorithm, digits, period } = data.totp;
            let usage = data.usage.as_str();
            let shown = format!("{issuer}|{}|{algorithm}|{}|{}|{usage}", data.label, digits.get(), period.seconds());
            data.origins.iter().fold(shown, |shown, origin| format!("{shown}|{origin}"))
        });
        assert_eq!(shown.as_deref(), expected, "{written}");
        if let Some(data) = read {
            assert_eq!(decode(&encode(&data)), Some(data));
        }
    }

    #[test]
    fn the_written_form_never_changes() {
        let data = SecretMetadata {
            label: ShownText::parse("ada \"山\"").unwrap(),
            issuer: Some(ShownText::parse("Acme\\Co").unwrap()),
            totp: TotpParameters {
                algorithm: Algorithm::Sha256,
                digits: Digits::Eight,
                period: Period::try_from(60).unwrap(),
            },
            usage: SecretUse::FillOnly,
            origins: vec!["https://acme.example".parse().unwrap(), "https://*.acme.example".parse().unwrap()],
        };
        assert_eq!(
            std::str::from_utf8(&encode(&data)).unwrap(),
            r#"{"label":"ada \"山\"","issuer":"Acme\\Co","algorithm":"SHA256","digits":8,"period":60,"use":"fill_only","origins":["https://acme.example","https://*.acme.example"]}"#
        );
        let plain = SecretMetadata {
            issuer: None,
            usage: SecretUse::Plain,
            origins: Vec::new(),
            totp: TotpParameters::default(),
            ..data
        };
        assert_eq!(
            std::str::from_utf8(&encode(&plain)).unwrap(),
            r#"{"label":"ada \"山\"","algorithm":"SHA1","digits":6,"period":30}"#
        );
    }

    #[test]
    fn what_was_written_is_read_back_in_either_format() {
        check(r#"{"label":"a","algorithm":"SHA1","digits":6,"period":30}"#, Some("-|a|SHA1|6|30|plain"));
        check(
            r#"{"label":"a","issuer":"B","algorithm":"SHA512","digits":8,"period":3600,"single_use":true}"#,
            Some("B|a|SHA512|8|3600|single_use"),
        );
        check(
            r#"{"label":"a","algorithm":"SHA1","digits":6,"period":30,"use":"fill_only","origins":["https://a.b"]}"#,
            Some("-|a|SHA1|6|30|fill_only|https://a.b"),
        );
        check(r#"{"label":"\u0061\"b","algorithm":"SHA1","digits":6,"period":30}"#, Some("-|a\"b|SHA1|6|30|plain"));
        check(r#"{"label":"a","issuer":null,"algorithm":"SHA1","digits":6,"period":30}"#, Some("-|a|SHA1|6|30|plain"));
    }

    #[test]
    fn what_is_no_metadata_is_refused() {
        for written in [
            "",
            "{}",
            "null",
            "[]",
            r#"{"label":"a","algorithm":"SHA1","digits":6}"#,
            r#"{"label":"","algorithm":"SHA1","digits":6,"period":30}"#,
            r#"{"label":"a","issuer":"","algorithm":"SHA1","digits":6,"period":30}"#,
            r#"{"label":"a","algorithm":"MD5","digits":6,"period":30}"#,
            r#"{"label":"a","algorithm":"SHA1","digits":7,"period":30}"#,
            r#"{"label":"a","algorithm":"SHA1","digits":6,"period":0}"#,
            r#"{"label":"a","algorithm":"SHA1","digits":6,"period":3601}"#,
            r#"{"label":"a","algorithm":"SHA1","digits":6,"period":-1}"#,
            r#"{"label":"a","label":"b","algorithm":"SHA1","digits":6,"period":30}"#,
            r#"{"label":"a","algorithm":"SHA1","digits":6,"period":30}x"#,
            r#"{"label":"a","algorithm":"SHA1","digits":6,"period":30,"use":"once"}"#,
            r#"{"label":"a","algorithm":"SHA1","digits":6,"period":30,"use":"plain","single_use":true}"#,
            r#"{"label":"a","algorithm":"SHA1","digits":6,"period":30,"origins":["http://a.b"]}"#,
            r#"{"label":"a","algorithm":"SHA1","digits":6,"period":30,"colour":null}"#,
        ] {
            check(written, None);
        }
    }
}
