//! The columns of a table with the parameters of its bare keys' codes: their names, and the meaning of their cells. A
//! name that other things have, too, counts only where its cell can mean nothing else.

use super::{
    entry::Number,
    fields::{Named, named, plain},
    json::number_of,
    unread,
    uri::StatedParameters,
    words::is_made_of,
};

/// Words about codes that stand in the names of such columns.
const ABOUT_CODES: [&str; 17] = [
    "totp", "hotp", "otp", "2fa", "mfa", "code", "token", "numberof", "number", "count", "value", "of", "no", "num",
    "used", "in", "s",
];
/// The number of words at the beginning of `ABOUT_CODES` that only names about codes have.
const SURELY_ABOUT_CODES: usize = 5;
const PERIODS: [&str; 9] =
    ["period", "periode", "periodo", "intervall", "interval", "intervalle", "intervalo", "timestep", "zeitschritt"];
const PERHAPS_PERIODS: [&str; 13] = [
    "refresh", "timer", "seconds", "second", "secs", "sec", "step", "duration", "rotation", "validity", "validfor",
    "lifetime", "ttl",
];
/// The numbers that such a column holds if it has periods.
const PERIODS_USUAL: [u64; 6] = [10, 15, 20, 30, 60, 120];
/// Words in the names of columns with a period, beside these.
const ABOUT_PERIODS: [&str; 6] = ["time", "rate", "every", "length", "in", "s"];
const DIGITS: [&str; 8] = ["digits", "digit", "stellen", "ziffern", "chiffres", "digitos", "cifras", "cijfers"];
const UNITS_OF_DIGITS: [&str; 2] = ["digits", "digit"];
const UNITS_OF_PERIODS: [&str; 5] = ["s", "sec", "secs", "second", "seconds"];
const LENGTHS: [&str; 2] = ["length", "size"];
const ALGORITHMS: [&str; 5] = ["algorithmus", "algorithme", "algorithm", "algoritmo", "algo"];
const HASHES: [&str; 6] = ["hash", "hmac", "hashing", "digest", "crypto", "sha"];
const ABOUT_HASHES: [&str; 3] = ["ing", "function", "method"];
const KINDS: [&str; 4] = ["type", "kind", "mode", "method"];
const ABOUT_KINDS: [&str; 4] = ["authenticator", "auth", "account", "entry"];
const CATEGORY: &str = "category";
const COUNTERS: [&str; 6] = ["counter", "zahler", "zaehler", "compteur", "contador", "contatore"];
const ABOUT_COUNTERS: [&str; 3] = ["initial", "current", "moving"];
/// Parts of the names of columns that belong to logins rather than to codes.
const OF_PASSWORDS: [&str; 8] = ["pass", "pwd", "kennwort", "contrase", "senha", "wachtwoord", "parola", "heslo"];
/// The name of another such column.
const PIN: &str = "pin";
/// Characters of the longest name of a hash function.
const HASH_CHARS: usize = 16;
/// Words in a column of seeds that state whether there is one, and of what kind.
const WORDS: [&str; 86] = [
    "ja",
    "nein",
    "si",
    "oui",
    "non",
    "configured",
    "setup",
    "enrolled",
    "pending",
    "default",
    "webauthn",
    "fido",
    "fido2",
    "u2f",
    "passkeys",
    "activado",
    "aktiv",
    "aktiviert",
    "yubico",
    "not",
    "up",
    "in",
    "see",
    "notes",
    "1password",
    "bitwarden",
    "yes",
    "no",
    "y",
    "n",
    "x",
    "on",
    "off",
    "true",
    "false",
    "t",
    "f",
    "0",
    "1",
    "enabled",
    "disabled",
    "enable",
    "disable",
    "active",
    "inactive",
    "activated",
    "set",
    "unset",
    "notset",
    "required",
    "optional",
    "null",
    "nil",
    "none",
    "na",
    "nan",
    "undefined",
    "empty",
    "unknown",
    "missing",
    "todo",
    "tbd",
    "totp",
    "hotp",
    "otp",
    "2fa",
    "mfa",
    "sms",
    "email",
    "mail",
    "app",
    "phone",
    "call",
    "voice",
    "push",
    "token",
    "hardware",
    "software",
    "yubikey",
    "passkey",
    "authy",
    "authenticator",
    "authapp",
    "authenticatorapp",
    "googleauthenticator",
    "microsoftauthenticator",
];

/// The setting that a column holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Setting {
    Kind,
    Counter,
    Algorithm,
    Digits,
    Period,
}

/// The columns of a table that hold the parameters of codes, the surest first.
pub(super) struct Settings(Vec<Column>);

#[derive(Clone, Copy)]
struct Column {
    at: usize,
    setting: Setting,
    /// Whether no other thing has the name.
    is_sure: bool,
}

impl Settings {
    pub(super) fn of(head: &[String]) -> Self {
        let is_of_logins = head.iter().any(|name| tells_of_logins(name));
        let columns = head.iter().enumerate().filter_map(|(at, name)| {
            let (setting, is_sure) = setting(name)?;
            let is_sure = is_sure || is_about_codes(name);
            // A password has a length, and changes at intervals.
            let is_of_others = matches!(setting, Setting::Digits | Setting::Period | Setting::Counter);
            let is_of_codes = is_sure || !is_of_logins || !is_of_others;
            is_of_codes.then_some(Column { at, setting, is_sure })
        });
        let mut columns: Vec<Column> = columns.collect();
        columns.sort_by_key(|column| !column.is_sure);
        Self(columns)
    }

    /// The setting that a column holds, if it holds one.
    pub(super) fn word(&self, at: usize) -> Option<&'static str> {
        self.0.iter().find(|column| column.at == at).map(|column| match column.setting {
            Setting::Kind => "type",
            Setting::Counter => "counter",
            Setting::Algorithm => "algorithm",
            Setting::Digits => "digits",
            Setting::Period => "period",
        })
    }

    /// Whether a column holds digits, a period or a hash function, and none was read from this row.
    pub(super) fn ignores(&self, at: usize, text: &str, stated: &StatedParameters<'_>) -> bool {
        self.0.iter().filter(|column| column.at == at).any(|column| match column.setting {
            Setting::Digits => stated.digits == Number::Absent,
            Setting::Period => stated.period == Number::Absent,
            Setting::Algorithm => stated.algorithm.is_empty() && unread::is_number_of_hash(text),
            Setting::Kind | Setting::Counter => false,
        })
    }

    /// Whether a column holds digits or a period, and it was read from this row.
    pub(super) fn has_number(&self, at: usize, text: &str, stated: &StatedParameters<'_>) -> bool {
        self.0.iter().filter(|column| column.at == at).any(|column| match column.setting {
            // Another column may hold another number.
            Setting::Digits => stated.digits != Number::Absent && counted(text, &UNITS_OF_DIGITS) == stated.digits,
            Setting::Period => stated.period != Number::Absent && counted(text, &UNITS_OF_PERIODS) == stated.period,
            Setting::Kind | Setting::Counter | Setting::Algorithm => false,
        })
    }

    /// Whether a column holds a setting, and it was read from this row.
    pub(super) fn reads(&self, at: usize, stated: &StatedParameters<'_>) -> bool {
        self.0.iter().filter(|column| column.at == at).any(|column| match column.setting {
            Setting::Kind | Setting::Counter => !stated.kind.is_empty(),
            Setting::Algorithm => !stated.algorithm.is_empty(),
            Setting::Digits => stated.digits != Number::Absent,
            Setting::Period => stated.period != Number::Absent,
        })
    }

    /// The parameters that a row states for its bare keys; `beside` is the kind that its column of seeds states.
    pub(super) fn stated<'a>(
        &self,
        cell: impl Fn(usize) -> &'a str,
        beside: Option<&'static str>,
    ) -> StatedParameters<'a> {
        let cells = |setting: Setting| {
            let columns = self.0.iter().filter(move |column| column.setting == setting);
            columns.map(|column| (cell(column.at), column.is_sure))
        };
        let number = |setting, units: &[&str], usual: &[u64]| {
            let read = |(text, is_sure)| match counted(text, units) {
                Number::Is(number) if is_sure || usual.contains(&number) => Some(Number::Is(number)),
                Number::Wrong if is_sure => Some(Number::Wrong),
                Number::Absent | Number::Is(_) | Number::Wrong => None,
            };
            cells(setting).find_map(read).unwrap_or_default()
        };
        let digits = number(Setting::Digits, &UNITS_OF_DIGITS, &[5, 6, 7, 8]);
        let period = number(Setting::Period, &UNITS_OF_PERIODS, &PERIODS_USUAL);
        let is_said = |text: &&str| !NOTHING.contains(&plain(text).as_str());
        let hash = |(text, is_sure)| hash_word(text).or_else(|| Some(text).filter(|text| is_sure && is_said(text)));
        let algorithm = cells(Setting::Algorithm).find_map(hash).unwrap_or_default();
        let kinds = || {
            let words = cells(Setting::Kind).filter_map(|(text, is_sure)| {
                // A category is a word of a person: only one that means nothing else is read.
                kind_word(text).filter(|word| is_sure || *word == HOTP && !text.eq_ignore_ascii_case("event"))
            });
            words.chain(beside)
        };
        // A counter may stand beside each entry of an app, but then the entry's kind does, too.
        let is_counted = |(text, _)| match counted(text, &[]) {
            Number::Is(count) => count > 0 || period == Number::Absent,
            Number::Absent | Number::Wrong => false,
        };
        let counted = || cells(Setting::Counter).any(is_counted).then_some(HOTP);
        let kind = kinds().find(|word| *word != TOTP).or_else(|| kinds().next()).or_else(counted).unwrap_or_default();
        StatedParameters { kind, algorithm, digits, period }
    }
}

/// Whether a column of this name belongs to logins rather than to codes.
pub(super) fn tells_of_logins(name: &str) -> bool {
    let is_of_codes = || {
        named(name).is_some_and(|name| name < Named::Perhaps) || name.contains("passkey") || name.contains("keepass")
    };
    name == PIN || OF_PASSWORDS.iter().any(|part| name.contains(part)) && !is_of_codes()
}

/// Whether a column of this name is about codes.
pub(super) fn is_about_codes(name: &str) -> bool {
    ABOUT_CODES.iter().take(SURELY_ABOUT_CODES).any(|word| name.contains(word))
}

/// Whether a column of this name is about hash functions.
pub(super) fn is_about_hashes(name: &str) -> bool {
    ["alg", "hash", "shavari", "shavers", "shatype", "shabits"].iter().any(|part| name.contains(part))
}

/// Whether the name of a column that is not read suggests a parameter of codes.
pub(super) fn may_be_setting(name: &str) -> bool {
    const PARTS: [&str; 11] = [
        "alg",
        "hash",
        "shaversion",
        "digit",
        "period",
        "interval",
        "setting",
        "keytype",
        "typeofkey",
        "stepsize",
        "timewindow",
    ];
    PARTS.iter().any(|part| name.contains(part))
}

pub(super) const TOTP: &str = "totp";
const HOTP: &str = "hotp";

/// Whether a column of this name holds a parameter of codes, and no seeds.
pub(super) fn is_setting(name: &str) -> bool {
    setting(name).is_some()
}

/// The setting of a column of a plain name, and whether no other thing has the name.
fn setting(name: &str) -> Option<(Setting, bool)> {
    let is_of = |words: &[&str], about: &[&[&str]]| is_made_of(name, words, about);
    let codes = &ABOUT_CODES[..];
    // The second key of an entry.
    if name.strip_prefix("second").is_some_and(|named| ABOUT_CODES.contains(&named) && named != "s") {
        return None;
    }
    Some(if is_of(&PERIODS, &[&PERHAPS_PERIODS, codes, &ABOUT_PERIODS]) {
        (Setting::Period, true)
    } else if is_of(&DIGITS, &[codes, &LENGTHS]) {
        (Setting::Digits, true)
    } else if is_of(&LENGTHS, &[codes]) {
        (Setting::Digits, !LENGTHS.contains(&name))
    } else if is_of(&PERHAPS_PERIODS, &[codes, &ABOUT_PERIODS]) {
        (Setting::Period, false)
    } else if is_of(&ALGORITHMS, &[codes, &HASHES, &ABOUT_HASHES]) {
        (Setting::Algorithm, true)
    } else if is_of(&HASHES, &[codes, &ABOUT_HASHES]) {
        (Setting::Algorithm, false)
    } else if is_of(&KINDS, &[codes, &ABOUT_KINDS]) {
        (Setting::Kind, true)
    } else if is_of(&[CATEGORY], &[codes]) {
        (Setting::Kind, false)
    } else if is_of(&COUNTERS, &[codes, &ABOUT_COUNTERS]) {
        (Setting::Counter, false)
    } else {
        return None;
    })
}

/// The texts of a cell that mean no value.
const NOTHING: [&str; 6] = ["", "na", "none", "null", "default", "standard"];

/// A whole number, perhaps with its unit, or with zeros as programs of spreadsheets write it: `6.0`.
fn counted(text: &str, units: &[&str]) -> Number {
    let text = text.trim();
    if NOTHING.contains(&plain(text).as_str()) && text.is_ascii() {
        return Number::Absent;
    }
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let Some((number, rest)) = text.split_at_checked(end).filter(|(number, _)| !number.is_empty()) else {
        return number_of(text);
    };
    let zeros = rest.strip_prefix(['.', ',']).filter(|rest| rest.starts_with('0'));
    let unit = zeros.map_or(rest, |zeros| zeros.trim_start_matches('0')).trim_matches([' ', '.']);
    let is_unit = unit.is_empty() || units.iter().any(|known| known.eq_ignore_ascii_case(unit));
    if is_unit { number_of(number) } else { Number::Wrong }
}

/// The name of a hash function in the spelling of apps, or as written if the function is unknown.
fn hash_word(text: &str) -> Option<&str> {
    let name = plain(text);
    match name.strip_prefix("hmac").unwrap_or(&name) {
        "sha1" => Some("SHA1"),
        "sha256" => Some("SHA256"),
        "sha512" => Some("SHA512"),
        "md5" => Some("MD5"),
        other => {
            let is_name = other.len() <= HASH_CHARS && (other.starts_with("sha") || other.starts_with("md"));
            is_name.then_some(text)
        }
    }
}

/// The kind of codes that a word means, as files of apps name it.
pub(super) fn kind_word(text: &str) -> Option<&'static str> {
    let word = plain(text);
    Some(match word.trim_start_matches("oath") {
        _ if unread::names_kind(text) && !has_other_kind(&word) => HOTP,
        word if word.starts_with("steam") => "steam",
        "counter" | "event" => HOTP,
        word if word.starts_with("counterbased") || word.starts_with("eventbased") => HOTP,
        "time" | "timebased" => TOTP,
        "motp" | "mobileotp" => "motp",
        "yandex" | "yaotp" => "yandex",
        "battle" | "battlenet" => "battle",
        word if word.starts_with(TOTP) => TOTP,
        _ => return None,
    })
}

/// Whether a plain text is of a kind beside counter-based codes.
fn has_other_kind(word: &str) -> bool {
    ["motp", "steam"].iter().any(|kind| word.contains(kind))
}

/// Whether a text in a column of seeds is not a key, but states whether there is one, or of what kind.
pub(super) fn is_word(text: &str) -> bool {
    let word = plain(text);
    let is_kind = || word.len() < HASH_CHARS && kind_word(text).is_some();
    let are_words = || text.split_whitespace().all(|part| WORDS.contains(&plain(part).as_str()));
    !text.contains("://") && (word.is_empty() || WORDS.contains(&word.as_str()) || are_words() || is_kind())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_say_how_codes_are_made_are_known_by_the_words_of_their_names() {
        for (names, expected) in [
            (
                &[
                    "period",
                    "Period (s)",
                    "Period (seconds)",
                    "Time step (s)",
                    "Period in seconds",
                    "TOTP interval",
                    "otp_period",
                ][..],
                Some((Setting::Period, true)),
            ),
            (&["Refresh", "timer", "Seconds", "Step", "refresh rate"], Some((Setting::Period, false))),
            (
                &[
                    "digits",
                    "Number of digits",
                    "Code digits",
                    "code length",
                    "Code size",
                    "otp_digits",
                    "Digits count",
                ],
                Some((Setting::Digits, true)),
            ),
            (&["Length"], Some((Setting::Digits, false))),
            (&["algorithm", "algo", "Hash Algorithm", "otp algorithm"], Some((Setting::Algorithm, true))),
            (&["hash", "Hash function", "HMAC"], Some((Setting::Algorithm, false))),
            (&["type", "kind", "OTP type", "token_type"], Some((Setting::Kind, true))),
            (&["Category"], Some((Setting::Kind, false))),
            (&["Counter", "HOTP counter", "initial counter"], Some((Setting::Counter, false))),
            (
                &[
                    "",
                    "secret",
                    "token",
                    "otp",
                    "2FA",
                    "code",
                    "time",
                    "password length",
                    "Change interval",
                    "password hash",
                ],
                None,
            ),
        ] {
            for name in names {
                assert!(setting(&plain(name)) == expected, "{name}");
            }
        }
    }

    #[test]
    fn a_number_may_have_its_unit_or_zeros() {
        for (text, expected) in [
            ("", Number::Absent),
            ("60", Number::Is(60)),
            ("60.0", Number::Is(60)),
            ("60,00", Number::Is(60)),
            ("60 s", Number::Is(60)),
            ("60s", Number::Is(60)),
            ("60 Sec.", Number::Is(60)),
            ("6.5", Number::Wrong),
            ("60 m", Number::Wrong),
            ("six", Number::Wrong),
            ("-6", Number::Wrong),
        ] {
            assert_eq!(counted(text, &["s", "sec"]), expected, "{text}");
        }
    }
}
