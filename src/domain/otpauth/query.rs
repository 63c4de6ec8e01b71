//! The parameters of a URI. A misspelt known parameter is refused rather than ignored: every code would be wrong,
//! without a sign of it.

use zeroize::Zeroizing;

use super::{
    OtpAuthError,
    parts::{Reading, decoded},
};
use crate::domain::totp::{Algorithm, Digits, Period, TotpParameters};

/// The known parameters. Others are ignored, as in every authenticator.
pub(super) const KNOWN: [&str; 6] = ["secret", "issuer", "algorithm", "digits", "period", SINGLE_USE];
/// Our own parameter, so that an export can be imported unchanged. Other programs ignore it.
pub(super) const SINGLE_USE: &str = "single_use";
/// The parameters whose loss makes every code wrong.
const SETTINGS: [&str; 3] = ["algorithm", "digits", "period"];
/// The names that other programs use for them. Other parameters have these names too, so one counts only if its value
/// is valid for the setting and differs from the URI's.
const OTHER_NAMES: [(&str, &str); 6] = [
    ("algo", "algorithm"),
    ("alg", "algorithm"),
    ("hash", "algorithm"),
    ("interval", "period"),
    ("step", "period"),
    ("length", "digits"),
];
/// The parameter by which `KeePassXC` marks Steam's codes, which are letters.
const ENCODER: &str = "encoder";

/// The decoded parameters of a query, by name.
pub(super) struct Query(Vec<Parameter>);

struct Parameter {
    /// In lower case: QR codes in alphanumeric mode have capitals only, and ignoring `DIGITS=8` would give wrong codes.
    name: Zeroizing<String>,
    value: Zeroizing<String>,
}

impl Query {
    /// Reads a query in which every known name has one value. Readers differ in which of two values they use, so a URI
    /// with both could show one to the person who checks it and give us another.
    pub(super) fn read(raw: &str, reading: Reading) -> Result<Self, OtpAuthError> {
        if is_cut(raw) {
            return Err(OtpAuthError::Cut);
        }
        let mut query = Self(Vec::new());
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let mut name = decoded(name, b' ', reading)?;
            name.make_ascii_lowercase();
            let value = decoded(value, b' ', reading)?;
            let known = KNOWN.into_iter().find(|known| *known == name.as_str());
            if let Some(near) = hidden_in(pair).or_else(|| known.is_none().then(|| meant_by(&name)).flatten()) {
                return Err(OtpAuthError::Mangled(near));
            }
            if name.as_str() == ENCODER && !value.trim().is_empty() {
                return Err(OtpAuthError::Encoder);
            }
            if let Some(known) = known
                && query.get(known).is_some_and(|other| other != value.as_str())
            {
                return Err(OtpAuthError::Twice(known));
            }
            query.0.push(Parameter { name, value });
        }
        Ok(query)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|parameter| parameter.name.as_str() == name).map(|parameter| parameter.value.as_str())
    }

    pub(super) fn single_use(&self) -> Result<bool, OtpAuthError> {
        let read = self.get(SINGLE_USE).map(|text| text.trim().to_ascii_lowercase().parse());
        read.unwrap_or(Ok(false)).map_err(|_| OtpAuthError::SingleUse)
    }

    /// The code parameters. An empty value is refused like a wrong one: a guess would give wrong codes.
    pub(super) fn totp(&self) -> Result<TotpParameters, OtpAuthError> {
        let algorithm = self.get("algorithm").map(|text| text.trim().parse::<Algorithm>());
        let digits = self.get("digits").map(|text| number(text).and_then(|count| Digits::try_from(count).ok()));
        let period = self.get("period").map(|text| number(text).and_then(|seconds| Period::try_from(seconds).ok()));
        let totp = TotpParameters {
            algorithm: algorithm.unwrap_or(Ok(Algorithm::default())).map_err(|_| OtpAuthError::Algorithm)?,
            digits: digits.unwrap_or(Some(Digits::default())).ok_or(OtpAuthError::Digits)?,
            period: period.unwrap_or(Some(Period::default())).ok_or(OtpAuthError::Period)?,
        };
        self.contradicted(totp).map_or(Ok(totp), |setting| Err(OtpAuthError::Mangled(setting)))
    }

    /// The setting for which a parameter with another program's name has another value: every code would be wrong
    /// without it.
    fn contradicted(&self, totp: TotpParameters) -> Option<&'static str> {
        let differs = |name: &str, setting: &str| {
            let text = self.get(name)?.trim();
            Some(match setting {
                "algorithm" => text.parse().is_ok_and(|stated: Algorithm| stated != totp.algorithm),
                "period" => number(text)
                    .and_then(|stated| Period::try_from(stated).ok())
                    .is_some_and(|stated| stated != totp.period),
                _ => number(text)
                    .and_then(|stated| Digits::try_from(stated).ok())
                    .is_some_and(|stated| stated != totp.digits),
            })
        };
        let found = OTHER_NAMES.into_iter().find(|(name, setting)| differs(name, setting) == Some(true));
        found.map(|(_, setting)| setting)
    }
}

/// Whether a query ends in the beginning of a known name: the part that was cut off may have held a setting.
fn is_cut(raw: &str) -> bool {
    let last = raw.rsplit(['&', '?']).next().unwrap_or_default();
    let begins = |known: &str| {
        let parted = known.split_at_checked(last.len());
        parted.is_some_and(|(start, rest)| start.eq_ignore_ascii_case(last) && !rest.is_empty())
    };
    !last.is_empty() && KNOWN.into_iter().any(begins)
}

/// Whether a name, as written, is a known parameter.
pub(super) fn is_known(name: &str) -> bool {
    KNOWN.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// The known parameter that an unknown name stands for: equal except for remains of escapes, white space and
/// punctuation, or for one letter.
fn meant_by(name: &str) -> Option<&'static str> {
    // The remains of `&amp;` and similar escapes, including doubly encoded ones.
    const LEFT_OF_ESCAPES: [&str; 6] = ["amp", "38", "038", "x26", "26", "3f"];
    let plain = |name: &str| -> Zeroizing<String> {
        let mut plain = Zeroizing::new(String::with_capacity(name.len()));
        plain.extend(name.chars().filter(char::is_ascii_alphanumeric));
        plain
    };
    let again = decoded(name, b' ', Reading::Lenient).ok()?;
    let name = plain(&again);
    let mut core = name.as_str();
    while let Some(rest) = LEFT_OF_ESCAPES.iter().find_map(|escape| core.strip_prefix(escape)) {
        core = rest;
    }
    KNOWN.into_iter().find(|known| [core, &name].iter().any(|name| is_one_letter_apart(name, &plain(known))))
}

/// Whether two words are equal except for one letter missing, added or replaced, or two neighbours swapped.
fn is_one_letter_apart(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let same = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let (one, other) = (one.get(same..).unwrap_or_default(), other.get(same..).unwrap_or_default());
    match (one, other) {
        ([], [] | [_]) | ([_], []) => true,
        ([a, b, one @ ..], [c, d, other @ ..]) if (a, b) == (d, c) && one == other => true,
        ([_, rest @ ..], _) if rest == other => true,
        (_, [_, rest @ ..]) if rest == one => true,
        ([_, one @ ..], [_, other @ ..]) => one == other,
        _ => false,
    }
}

/// A setting inside a piece between two `&`, behind a `;`, a `?` or a space.
fn hidden_in(piece: &str) -> Option<&'static str> {
    let named = |text: &str| {
        let name = text.rsplit(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        SETTINGS.into_iter().find(|known| known.eq_ignore_ascii_case(name)).filter(|_| name.len() < text.len())
    };
    piece.match_indices('=').find_map(|(at, _)| named(piece.get(..at).unwrap_or_default()))
}

/// Digits only: `str::parse` would also accept a sign.
fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(query: &str) -> Option<OtpAuthError> {
        Query::read(query, Reading::Strict).map(|_| ()).err()
    }

    #[test]
    fn a_parameter_that_is_a_mangled_known_one_is_refused_and_never_ignored() {
        for (name, known) in [
            ("amp;digits", "digits"),
            ("%26amp%3Bdigits", "digits"),
            ("%26%2338%3Bdigits", "digits"),
            ("amp%3Bamp%3Balgorithm", "algorithm"),
            ("+digits", "digits"),
            ("%20period", "period"),
            ("Digits%20", "digits"),
            ("digits%0A", "digits"),
            ("%C2%A0digits", "digits"),
            ("%E2%80%8Bdigits", "digits"),
            ("%EF%BB%BFalgorithm", "algorithm"),
            ("digits;", "digits"),
            ("?digits", "digits"),
            ("x?digits", "digits"),
            ("[digits]", "digits"),
            ("%22period%22", "period"),
            ("%2564igits", "digits"),
            ("digit", "digits"),
            ("digtis", "digits"),
            ("diggits", "digits"),
            ("algoritm", "algorithm"),
            ("algorihtm", "algorithm"),
            ("peroid", "period"),
            ("periods", "period"),
            ("d%D1%96gits", "digits"),
            ("Secret.", "secret"),
            ("issuer%3A", "issuer"),
            ("singleuse", "single_use"),
            ("single-use", "single_use"),
        ] {
            assert_eq!(problem(&format!("secret=AA&{name}=8")), Some(OtpAuthError::Mangled(known)), "{name}");
        }
        for hidden in ["issuer=A;digits=8", "issuer=A?period=60", "x=1 algorithm=SHA256", "image=a.png;Digits=8"] {
            assert!(matches!(problem(hidden), Some(OtpAuthError::Mangled(_))), "{hidden}");
        }
    }

    #[test]
    fn a_query_that_ends_in_the_beginning_of_a_known_name_was_cut() {
        for end in ["p", "per", "PER", "perio", "iss", "digit", "al", "single_"] {
            assert_eq!(problem(&format!("secret=AA&{end}")), Some(OtpAuthError::Cut), "{end}");
        }
        for end in ["", "lock", "x", "per=1", "issuer", "issuer=A"] {
            assert_eq!(problem(&format!("secret=AA&{end}")), None, "{end}");
        }
    }

    #[test]
    fn other_parameters_are_ignored_and_may_repeat() {
        for query in [
            "tags=a&tags=b",
            "=1&=2",
            "image=https%3A%2F%2Fexample.com%2Flogo.png%3Fdigits%3D8",
            "color=red&icon=x&lock&counter=7&type=totp&codeDisplay=1&issuerExt=A&encoder=",
            "hash=x&algo=x&interval=1&step=1",
            "user=a&amp=1&id=2",
        ] {
            assert_eq!(problem(query), None, "{query}");
        }
        assert_eq!(problem("encoder=steam"), Some(OtpAuthError::Encoder));
    }

    #[test]
    fn a_known_parameter_may_repeat_with_the_same_value_alone() {
        for known in KNOWN {
            assert_eq!(problem(&format!("{known}=1&{known}=1&{}=%31", known.to_uppercase())), None, "{known}");
            assert_eq!(problem(&format!("{known}=1&x=2&{known}=2")), Some(OtpAuthError::Twice(known)), "{known}");
        }
    }
}
