//! How a secret's metadata is written inside its seal: JSON with short, fixed names. Unknown names are ignored, so that an
//! older version reads what a newer one wrote.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::domain::{
    secret::{CodeTerms, SecretMetadata},
    text::ShownText,
    totp::{Algorithm, Digits, Period, TotpParameters},
};

#[derive(Serialize, Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    label: std::borrow::Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    issuer: Option<std::borrow::Cow<'a, str>>,
    algorithm: &'a str,
    digits: u8,
    period: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    single_use: bool,
}

/// The same without what only people read.
#[derive(Deserialize)]
struct WrittenTerms<'a> {
    algorithm: &'a str,
    digits: u8,
    period: u32,
    #[serde(default)]
    single_use: bool,
}

pub(super) fn encode(data: &SecretMetadata) -> Zeroizing<Vec<u8>> {
    let written = Written {
        label: data.label.as_str().into(),
        issuer: data.issuer.as_ref().map(|issuer| issuer.as_str().into()),
        algorithm: data.totp.algorithm.as_str(),
        digits: data.totp.digits.get(),
        period: data.totp.period.seconds(),
        single_use: data.single_use,
    };
    // Plain strings and numbers always serialise.
    Zeroizing::new(serde_json::to_vec(&written).unwrap_or_default())
}

pub(super) fn decode(plain: &[u8]) -> Option<SecretMetadata> {
    let written: Written<'_> = serde_json::from_slice(plain).ok()?;
    Some(SecretMetadata {
        label: ShownText::parse(&written.label).ok()?,
        issuer: written.issuer.map(|issuer| ShownText::parse(&issuer)).transpose().ok()?,
        totp: parameters(written.algorithm, written.digits, written.period)?,
        single_use: written.single_use,
    })
}

/// For every code: checking the text that people read costs more than the rest.
pub(super) fn decode_terms(plain: &[u8]) -> Option<CodeTerms> {
    let written: WrittenTerms<'_> = serde_json::from_slice(plain).ok()?;
    let totp = parameters(written.algorithm, written.digits, written.period)?;
    Some(CodeTerms { totp, single_use: written.single_use })
}

fn parameters(algorithm: &str, digits: u8, period: u32) -> Option<TotpParameters> {
    Some(TotpParameters {
        algorithm: algorithm.parse::<Algorithm>().ok()?,
        digits: Digits::try_from(u64::from(digits)).ok()?,
        period: Period::try_from(u64::from(period)).ok()?,
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
            let single_use = if data.single_use { "|single" } else { "" };
            format!("{issuer}|{}|{algorithm}|{}|{}{single_use}", data.label, digits.get(), period.seconds())
        });
        assert_eq!(shown.as_deref(), expected, "{written}");
        if let Some(data) = read {
            let terms = CodeTerms { totp: data.totp, single_use: data.single_use };
            assert_eq!(decode_terms(written.as_bytes()), Some(terms));
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
            single_use: true,
        };
        assert_eq!(
            std::str::from_utf8(&encode(&data)).unwrap(),
            r#"{"label":"ada \"山\"","issuer":"Acme\\Co","algorithm":"SHA256","digits":8,"period":60,"single_use":true}"#
        );
        let plain = SecretMetadata { issuer: None, single_use: false, totp: TotpParameters::default(), ..data };
        assert_eq!(
            std::str::from_utf8(&encode(&plain)).unwrap(),
            r#"{"label":"ada \"山\"","algorithm":"SHA1","digits":6,"period":30}"#
        );
    }

    #[test]
    fn what_was_written_is_read_back() {
        check(r#"{"label":"a","algorithm":"SHA1","digits":6,"period":30}"#, Some("-|a|SHA1|6|30"));
        check(
            r#"{"label":"a","issuer":"B","algorithm":"SHA512","digits":8,"period":3600,"single_use":true}"#,
            Some("B|a|SHA512|8|3600|single"),
        );
        check(r#"{"label":"\u0061\"b","algorithm":"SHA1","digits":6,"period":30}"#, Some("-|a\"b|SHA1|6|30"));
        check(r#"{"label":"a","issuer":null,"algorithm":"SHA1","digits":6,"period":30}"#, Some("-|a|SHA1|6|30"));
    }

    #[test]
    fn names_that_a_newer_version_wrote_are_ignored() {
        check(
            r#"{"tags":["x",{"y":1}],"label":"a","algorithm":"SHA1","digits":6,"period":30,"colour":null}"#,
            Some("-|a|SHA1|6|30"),
        );
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
        ] {
            check(written, None);
        }
    }
}
