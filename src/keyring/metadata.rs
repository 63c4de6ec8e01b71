//! How a secret's metadata is written inside its seal: JSON with short, fixed names. Unknown names are ignored, so that an
//! older version reads what a newer one wrote.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::domain::{
    secret::SecretMetadata,
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
        totp: TotpParameters {
            algorithm: written.algorithm.parse::<Algorithm>().ok()?,
            digits: Digits::try_from(u64::from(written.digits)).ok()?,
            period: Period::try_from(u64::from(written.period)).ok()?,
        },
        single_use: written.single_use,
    })
}
