//! The names of fields and columns, and what they say of the value: a seed, a remark on one, or another code that may look
//! like a key.

use unicode_normalization::UnicodeNormalization as _;

use super::settings;

/// Names of fields with seeds, the most specific first, as letters and digits in lower case.
pub(super) const SEEDS: [&str; 18] = [
    "logintotp",
    "otpauth",
    "otpsecret",
    "otpurl",
    "otpuri",
    "totpsecret",
    "totpuri",
    "totp",
    "otp",
    "twofactorcode",
    "2fa",
    "2fasecret",
    "2fakey",
    "mfasecret",
    "onetimepassword",
    "onetimecode",
    "authenticatorkey",
    "authenticatorsecret",
];
/// The beginnings of other names of such fields.
const STARTS: [&str; 5] = ["otp", "totp", "onetimepassword", "onetimecode", "einmal"];
/// The beginnings of names that such fields may have, and other fields, too.
const LOOSE_STARTS: [&str; 5] = ["2fa", "mfa", "authenticator", "googleauthenticator", "secretkey"];
/// The ends of names that begin like this, and belong to fields about a seed.
pub(super) const ABOUT: [&str; 38] = [
    "type",
    "kind",
    "digits",
    "length",
    "period",
    "interval",
    "step",
    "algorithm",
    "algo",
    "hash",
    "issuer",
    "account",
    "label",
    "name",
    "user",
    "enabled",
    "active",
    "status",
    "date",
    "time",
    "at",
    "created",
    "updated",
    "modified",
    "counter",
    "count",
    "method",
    "id",
    "app",
    "notes",
    "note",
    "codes",
    "device",
    "serial",
    "model",
    "provider",
    "backup",
    "recovery",
];

/// The end of the names of fields in which password managers keep the earlier values of others.
pub(super) const HISTORY: &str = "history";

/// How surely a field of a name has a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Named {
    /// Services and programs use the name for a seed.
    Surely,
    /// The name begins or ends like these: it may be of a remark about a seed.
    Nearly,
    /// Other things have the name, too: only a value that can be a seed is one.
    Perhaps,
}

/// How surely a field of this name, which is plain, has a seed.
pub(super) fn named(name: &str) -> Option<Named> {
    let bare = without_number(name);
    let begins = |starts: &[&str]| starts.iter().any(|start| bare.starts_with(start));
    if SEEDS.contains(&bare) {
        Some(Named::Surely)
    } else if ABOUT.iter().any(|end| bare.ends_with(end)) {
        None
    } else if begins(&STARTS) || bare.ends_with("totp") && !is_question(bare) {
        Some(Named::Nearly)
    } else {
        (begins(&LOOSE_STARTS) || bare.ends_with("seed") || bare == "secret").then_some(Named::Perhaps)
    }
}

/// Whether the name asks what is answered by yes or no: `is TOTP`.
pub(super) fn is_question(name: &str) -> bool {
    let asked = ["is", "has", "uses"].iter().find_map(|start| name.strip_prefix(start));
    asked.is_some_and(|asked| SEEDS.contains(&asked))
}

/// Whether a field of this plain name has an identifier or a password, however much it looks like a key.
pub(super) fn is_of_ids_or_passwords(name: &str) -> bool {
    // In some languages a password for one use is called by the words for it.
    const FOR_ONE_USE: [&str; 6] = ["onetime", "einmal", "unsolouso", "usageunique", "usounico", "monouso"];
    let is_of_codes = || settings::is_about_codes(name) || FOR_ONE_USE.iter().any(|part| name.contains(part));
    is_of_ids(name) || settings::tells_of_logins(name) && !is_of_codes()
}

fn is_of_ids(name: &str) -> bool {
    let bare = without_number(name);
    ["id", "uuid", "serial"].iter().any(|end| bare.ends_with(end)) && !bare.ends_with("android")
}

/// Whether a field of this plain name has a password, an identifier, a license, or codes for the loss of a phone: they may look
/// like keys.
pub(super) fn is_of_other_codes(name: &str) -> bool {
    const PARTS: [&str; 18] = [
        "passw",
        "passphrase",
        "passcode",
        "recover",
        "backup",
        "emergency",
        "wiederherst",
        "notfall",
        "secours",
        "recupera",
        "licen",
        "lizenz",
        "product",
        "apikey",
        "wlan",
        "wifi",
        "order",
        "fiscal",
    ];
    let is_seed = || named(name).is_some_and(|name| name < Named::Perhaps);
    (is_of_ids(name) || PARTS.iter().any(|part| name.contains(part))) && !is_seed()
}

/// The name without its number: two fields may have one name, or a number each.
pub(super) fn without_number(name: &str) -> &str {
    name.trim_end_matches(|c: char| c.is_ascii_digit())
}

/// A field's name without case, accents and punctuation.
pub(super) fn plain(name: &str) -> String {
    // Most names need no decomposition, which takes ten times as long.
    if name.is_ascii() {
        return name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    }
    name.nfd().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_seeds_are_known_by_their_names() {
        for name in
            ["otp", "OTP Key", "otp_1", "TOTP Secret Key", "otpauth2", "Authenticator Key", "2FA", "otp code secret"]
        {
            assert!(named(&plain(name)).is_some_and(|name| name < Named::Perhaps), "{name}");
        }
        for name in ["MFA", "2FA setup", "Google Authenticator", "my seed", "Secret key", "Secret"] {
            assert_eq!(named(&plain(name)), Some(Named::Perhaps), "{name}");
        }
        for name in [
            "",
            "otp type",
            "otp_digits",
            "totp_period",
            "otp created at",
            "password",
            "option",
            "2fa enabled",
            "notes",
        ] {
            assert_eq!(named(&plain(name)), None, "{name}");
        }
    }
}
