//! `otpauth://` URIs: read strictly where safety requires it, leniently where real services differ; and written.
//!
//! Every buffer that may hold the seed is wiped, and no error quotes the URI.

mod parts;
mod push;
mod query;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

pub use parts::Repair;
pub(super) use parts::STEAM;
use parts::{Reading, UriParts};
pub use push::push_app;
use query::{Query, SINGLE_USE};

use super::{
    seed::{Seed, SeedError, Seeds},
    text::{ShownText, TextError},
    totp::TotpParameters,
};

/// The characters that a written URI escapes: all but RFC 3986's unreserved ones.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The contents of a URI.
pub struct OtpAuth {
    /// The decoded label without an issuer prefix.
    pub label: ShownText,
    /// The issuer: the query's, else the label's prefix.
    pub issuer: Option<ShownText>,
    /// The parameters of its codes.
    pub totp: TotpParameters,
    /// The seed.
    pub seed: Seed,
    /// Whether each of its codes goes to one caller only.
    pub single_use: bool,
}

/// The names that a person gives beside a URI. They override the URI's.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// The label of the secret.
    pub label: Option<ShownText>,
    /// The service that issued it.
    pub issuer: Option<ShownText>,
}

/// Why a URI is refused. It never quotes the URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OtpAuthError {
    /// Longer than any URI of this kind.
    #[error("is too long")]
    TooLong,
    /// Not `otpauth://totp/…`.
    #[error("is not an otpauth://totp/ URI")]
    NotOtpAuth,
    /// `otpauth-migration://…`.
    #[error(
        "is an export of Google Authenticator (otpauth-migration), which may hold several accounts; `countersign secret \
         import` reads it"
    )]
    GoogleExport,
    /// A link that registers an app for push messages.
    #[error(
        "registers {0} for push messages and holds no secret; tell the service that you use another authenticator app, \
         and add the code that it shows then"
    )]
    Push(&'static str),
    /// `steam://…` or `otpauth://steam/…`.
    #[error("is one of Steam, whose codes are letters; only standard ones are supported")]
    Steam,
    /// `motp://…`: codes of another method, which go with a PIN.
    #[error("is one of mOTP; only standard (totp) ones are supported")]
    MobileOtp,
    /// `otpauth://yaotp/…`: codes of another method, which are letters.
    #[error("is one of Yandex Key, whose codes are letters; only standard ones are supported")]
    Yandex,
    /// `otpauth://hotp/…`: counter-based codes are not kept here.
    #[error("is a counter-based (hotp) secret; only time-based (totp) ones are supported")]
    Hotp,
    /// A percent sign without two hexadecimal digits, or bytes that are not UTF-8.
    #[error("has a broken percent-encoding")]
    Encoding,
    /// The same parameter twice, with two values.
    #[error("has the parameter `{0}` twice, with different values")]
    Twice(&'static str),
    /// A misspelt known parameter. Ignoring it would give wrong codes.
    #[error(
        "has a parameter that is nearly `{0}`, which would be ignored; write it `{0}=…` between two `&`, or leave it out"
    )]
    Mangled(&'static str),
    /// The last parameter has no value, and only the beginning of a known name.
    #[error("ends in the middle of a parameter, so it was cut off; copy the whole of it")]
    Cut,
    /// A fragment that holds parameters.
    #[error("has a raw `#` before its parameters; write it `%23`")]
    RawHash,
    /// An `encoder` parameter, such as `encoder=steam`: its codes are not digits.
    #[error("asks by `encoder` for codes that are not made of digits (Steam's, say); only standard ones are supported")]
    Encoder,
    /// Neither an account's name nor an issuer, so the secret would have no name.
    #[error("names neither an account nor an issuer; there is nothing to call it by")]
    NoName,
    /// No `secret`.
    #[error("has no secret")]
    NoSecret,
    /// The `secret` is not a seed.
    #[error("has a secret that {0}")]
    Seed(SeedError),
    /// The label can't be shown or is missing.
    #[error("has a label that {0}")]
    Label(TextError),
    /// The issuer can't be shown.
    #[error("has an issuer that {0}")]
    Issuer(TextError),
    /// Not one of the hash functions.
    #[error("has an algorithm that is not SHA1, SHA256 or SHA512")]
    Algorithm,
    /// Neither 6 nor 8.
    #[error("has digits that are not 6 or 8")]
    Digits,
    /// Outside 1..=3600.
    #[error("has a period that is not 1 to 3600 seconds")]
    Period,
    /// Neither `true` nor `false`.
    #[error("has a single_use that is not true or false")]
    SingleUse,
}

/// Returns a key or a link without the quotes or brackets around it.
pub fn unquoted(text: &str) -> &str {
    const QUOTES: [(char, char); 5] = [('"', '"'), ('\'', '\''), ('`', '`'), ('<', '>'), ('\u{201c}', '\u{201d}')];
    let text = text.trim();
    let inside = |(open, close)| text.strip_prefix(open)?.strip_suffix(close);
    QUOTES.into_iter().find_map(inside).map_or(text, str::trim)
}

/// Whether a text holds a whole link somewhere, and so a seed.
pub fn holds_link(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.find("otpauth").and_then(|at| text.get(at..)).is_some_and(|link| link.contains("://") && link.contains('?'))
}

/// Whether a text is meant as a link, and not as a seed.
pub fn is_link(text: &str) -> bool {
    let start = text.trim_start().get(..8).unwrap_or_default();
    let begins = ["otpauth:", "otpauth-", "steam://"].iter().any(|begin| start.eq_ignore_ascii_case(begin));
    let is_motp = start.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("motp://"));
    begins || is_motp || push_app(text).is_some()
}

impl OtpAuth {
    /// Reads a URI strictly, ignoring white space around it: people paste, and files end in a newline.
    ///
    /// # Errors
    /// [`OtpAuthError`], which never quotes the URI.
    pub fn parse(uri: &str) -> Result<Self, OtpAuthError> {
        Self::read(uri, Reading::Strict, Names::default()).map(|(read, _)| read)
    }

    /// Reads a URI from a person's file or picture leniently, and returns it with its repairs. Names in `given`
    /// override the URI's.
    ///
    /// # Errors
    /// [`OtpAuthError`], which never quotes the URI.
    pub fn parse_meant(uri: &str, given: Names) -> Result<(Self, Vec<Repair>), OtpAuthError> {
        Self::read(uri, Reading::Lenient, given)
    }

    fn read(uri: &str, reading: Reading, given: Names) -> Result<(Self, Vec<Repair>), OtpAuthError> {
        let Unnamed { label, issuer, totp, says_digits, seed, single_use, mut repaired } = Unnamed::read(uri, reading)?;
        let (label, issuer) = names(&label, &issuer, given)?;
        repaired.extend(issuer.as_ref().and_then(|issuer| Repair::of_issuer(issuer.as_str(), says_digits)));
        Ok((Self { label, issuer, totp, seed, single_use }, repaired))
    }

    /// Writes the URI, such that [`OtpAuth::parse`] reads the same from it.
    pub fn to_uri(&self) -> Zeroizing<String> {
        let mut uri = uri_of(&self.label, self.issuer.as_ref(), &self.totp, &self.seed);
        if self.single_use {
            for piece in ["&", SINGLE_USE, "=true"] {
                uri.push_str(piece);
            }
        }
        uri
    }
}

/// A URI whose names have not been checked: an import cleans names that a registration refuses.
pub(super) struct Unnamed {
    /// The decoded label, with the issuer's prefix if there is one.
    label: Zeroizing<String>,
    /// The query's issuer; empty if there is none.
    issuer: Zeroizing<String>,
    /// The parameters of its codes.
    pub(super) totp: TotpParameters,
    /// Whether the URI gives the number of a code's digits.
    pub(super) says_digits: bool,
    /// The seed.
    pub(super) seed: Seed,
    /// Whether each of its codes goes to one caller only.
    pub(super) single_use: bool,
    /// The repairs.
    pub(super) repaired: Vec<Repair>,
}

impl Unnamed {
    /// Reads a URI from a person's file leniently.
    pub(super) fn of_file(uri: &str) -> Result<Self, OtpAuthError> {
        Self::read(uri, Reading::Lenient)
    }

    fn read(uri: &str, reading: Reading) -> Result<Self, OtpAuthError> {
        let UriParts { label, query, mut repaired } = UriParts::of(uri, reading)?;
        let query = Query::read(&query, reading)?;
        let seed = query.get("secret").ok_or(OtpAuthError::NoSecret)?;
        repaired.extend((Seeds::of(seed) == Seeds::PerhapsTwo).then_some(Repair::PerhapsTwo));
        let seed = Seed::from_uri_base32(seed).map_err(OtpAuthError::Seed)?;
        repaired.extend(Repair::of_seed(&seed));
        Ok(Self {
            label,
            issuer: Zeroizing::new(query.get("issuer").unwrap_or_default().to_owned()),
            totp: query.totp()?,
            says_digits: query.get("digits").is_some(),
            single_use: query.single_use()?,
            seed,
            repaired,
        })
    }

    /// The issuer (the query's, else the label's prefix) and the account; each may be empty.
    pub(super) fn names(&self) -> (&str, &str) {
        let (prefix, account) = parted(self.label.trim(), self.issuer.trim());
        let issuer = if self.issuer.trim().is_empty() { prefix } else { self.issuer.as_str() };
        (issuer.trim(), account.trim())
    }
}

/// The label without the issuer, and the issuer: the query's, else the label's prefix. Without an account name the
/// issuer becomes the label.
fn names(label: &str, issuer: &str, given: Names) -> Result<(ShownText, Option<ShownText>), OtpAuthError> {
    let (prefix, account) = parted(label.trim(), issuer.trim());
    let issuer = match given.issuer {
        Some(issuer) => Some(issuer),
        None => [issuer, prefix]
            .into_iter()
            .find(|text| !text.trim().is_empty())
            .map(ShownText::parse)
            .transpose()
            .map_err(OtpAuthError::Issuer)?,
    };
    let label = match given.label {
        Some(label) => label,
        None if account.trim().is_empty() => issuer.clone().ok_or(OtpAuthError::NoName)?,
        None => ShownText::parse(account).map_err(OtpAuthError::Label)?,
    };
    Ok((label, issuer))
}

/// Splits a label into the issuer's prefix and the account. A prefix that equals the query's issuer may hold colons;
/// otherwise the first colon ends it, whether written `:` or `%3A`.
fn parted<'a>(label: &'a str, issuer: &str) -> (&'a str, &'a str) {
    let whole = label.split_at_checked(issuer.len()).filter(|(start, _)| start.eq_ignore_ascii_case(issuer));
    let after = whole.and_then(|(prefix, rest)| Some((prefix, rest.trim_start().strip_prefix(':')?)));
    after.or_else(|| label.split_once(':')).unwrap_or(("", label))
}

/// Writes the URI of a secret from its parts: `otpauth://totp/Issuer:label?secret=…&issuer=Issuer&…`.
pub fn uri_of(label: &ShownText, issuer: Option<&ShownText>, totp: &TotpParameters, seed: &Seed) -> Zeroizing<String> {
    let (label, issuer) = (label.as_str(), issuer.map(ShownText::as_str));
    // An export holds many of these, so this is as long as most are.
    let mut uri = Zeroizing::new(String::with_capacity(256));
    uri.push_str("otpauth://totp/");
    // Readers take the text before the first colon as the issuer. So an issuer with a colon is not the prefix, unless the
    // label would be read as beginning with it, and a label with a colon needs a prefix, even if it is empty.
    let begins_with = |issuer: &str| {
        let start = label.get(..issuer.len().saturating_sub(1));
        issuer.strip_prefix(':').zip(start).is_some_and(|(rest, start)| start.eq_ignore_ascii_case(rest))
    };
    let prefix = issuer.filter(|issuer| !issuer.contains(':') || begins_with(issuer));
    if prefix.is_some() || label.contains(':') {
        uri.extend(utf8_percent_encode(prefix.unwrap_or_default(), ESCAPED));
        uri.push(':');
    }
    uri.extend(utf8_percent_encode(label, ESCAPED));
    uri.push_str("?secret=");
    uri.push_str(&seed.to_base32());
    if let Some(issuer) = issuer {
        uri.push_str("&issuer=");
        uri.extend(utf8_percent_encode(issuer, ESCAPED));
    }
    uri.push_str("&algorithm=");
    uri.push_str(totp.algorithm.as_str());
    uri.push_str("&digits=");
    uri.push_str(&totp.digits.get().to_string());
    uri.push_str("&period=");
    uri.push_str(&totp.period.seconds().to_string());
    uri
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{
        limits::{SEED_BYTES_MAX, TEXT_CHARS_MAX, URI_BYTES_MAX},
        totp::{Algorithm, Digits, Period},
    };

    const SEED: &str = "JBSWY3DPEHPK3PXP";

    /// The contents of a URI in one line: `issuer|label|seed|algorithm|digits|period`.
    fn shown(read: &OtpAuth) -> String {
        let issuer = read.issuer.as_ref().map_or("-", ShownText::as_str);
        let TotpParameters { algorithm, digits, period } = read.totp;
        let seed = read.seed.to_base32();
        format!("{issuer}|{}|{}|{algorithm}|{}|{}", read.label, *seed, digits.get(), period.seconds())
    }

    #[track_caller]
    fn check(uri: &str, expected: &str) {
        let read = OtpAuth::parse(uri).unwrap_or_else(|error| panic!("{uri} {error}"));
        assert_eq!(shown(&read), expected, "{uri}");

        let printed = read.to_uri();
        let again = OtpAuth::parse(&printed).unwrap_or_else(|error| panic!("{} {error}", *printed));
        assert_eq!(shown(&again), expected, "{uri} printed as {}", *printed);
    }

    #[track_caller]
    fn refused(uri: &str, expected: OtpAuthError) {
        let error = OtpAuth::parse(uri).map(|read| shown(&read)).expect_err(uri);
        assert_eq!(error, expected, "{uri}");
    }

    #[test]
    fn uris_of_real_services_are_read() {
        check(
            "otpauth://totp/Example:alice@google.com?secret=JBSWY3DPEHPK3PXP&issuer=Example",
            "Example|alice@google.com|JBSWY3DPEHPK3PXP|SHA1|6|30",
        );
        // The example of Google's own page, and the issuer with a space that it names.
        check(
            "otpauth://totp/ACME%20Co:john.doe@email.com?secret=HXDMVJECJJWSRB3HWIZR4IFUGFTMXBOZ&issuer=ACME%20Co&algorithm=SHA1&digits=6&period=30",
            "ACME Co|john.doe@email.com|HXDMVJECJJWSRB3HWIZR4IFUGFTMXBOZ|SHA1|6|30",
        );
        check(
            "otpauth://totp/GitHub:octocat?secret=jbswy3dpehpk3pxp&issuer=GitHub",
            "GitHub|octocat|JBSWY3DPEHPK3PXP|SHA1|6|30",
        );
        check(
            "otpauth://totp/Amazon%20Web%20Services:root@1234-5678?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Amazon%20Web%20Services",
            "Amazon Web Services|root@1234-5678|JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP|SHA1|6|30",
        );
        check(
            "otpauth://totp/GitLab.com:gitlab.com_ada%40example.com?secret=JBSWY3DPEHPK3PXP&issuer=GitLab.com",
            "GitLab.com|gitlab.com_ada@example.com|JBSWY3DPEHPK3PXP|SHA1|6|30",
        );
        check(
            "otpauth://totp/Microsoft%3Aada%40contoso.com?secret=jbswy3dpehpk3pxp&issuer=Microsoft",
            "Microsoft|ada@contoso.com|JBSWY3DPEHPK3PXP|SHA1|6|30",
        );
        check(
            "otpauth://totp/Okta%3Aada%40example.com?secret=JBSWY3DPEHPK3PXP&issuer=example.okta.com&digits=6&period=30&algorithm=HmacSHA256",
            "example.okta.com|ada@example.com|JBSWY3DPEHPK3PXP|SHA256|6|30",
        );
        check(
            "otpauth://totp/PyPI:ada?digits=6&secret=JBSWY3DPEHPK3PXP&algorithm=SHA1&issuer=PyPI&period=30",
            "PyPI|ada|JBSWY3DPEHPK3PXP|SHA1|6|30",
        );
        check(
            "otpauth://totp/Facebook:ID:100000123?secret=JBSWY3DPEHPK3PXP&digits=8&issuer=Facebook",
            "Facebook|ID:100000123|JBSWY3DPEHPK3PXP|SHA1|8|30",
        );
        check(
            "otpauth://totp/Kanidm:ada%40idm.example.com?secret=JBSWY3DPEHPK3PXP&issuer=Kanidm&algorithm=SHA512&digits=6&period=60&image=https%3A%2F%2Fexample.com%2Flogo.png",
            "Kanidm|ada@idm.example.com|JBSWY3DPEHPK3PXP|SHA512|6|60",
        );
        check("otpauth://totp/alice?secret=JBSWY3DPEHPK3PXP", "-|alice|JBSWY3DPEHPK3PXP|SHA1|6|30");
    }

    #[test]
    fn scheme_type_and_names_are_read_in_any_case() {
        check("OTPAUTH://TOTP/ALICE?SECRET=JBSWY3DPEHPK3PXP&DIGITS=8", "-|ALICE|JBSWY3DPEHPK3PXP|SHA1|8|30");
        check("OtpAuth://Totp/alice?Secret=JBSWY3DPEHPK3PXP&Period=60", "-|alice|JBSWY3DPEHPK3PXP|SHA1|6|60");
    }

    #[test]
    fn the_issuer_is_the_querys_and_else_the_labels_prefix() {
        check("otpauth://totp/Acme:alice?secret=JBSWY3DPEHPK3PXP", "Acme|alice|JBSWY3DPEHPK3PXP|SHA1|6|30");
        check("otpauth://totp/Acme%3Aalice?secret=JBSWY3DPEHPK3PXP", "Acme|alice|JBSWY3DPEHPK3PXP|SHA1|6|30");
        check("otpauth://totp/Acme:%20alice?secret=JBSWY3DPEHPK3PXP", "Acme|alice|JBSWY3DPEHPK3PXP|SHA1|6|30");
        check("otpauth://totp/alice?secret=JBSWY3DPEHPK3PXP&issuer=Acme", "Acme|alice|JBSWY3DPEHPK3PXP|SHA1|6|30");
        check("otpauth://totp/Old:alice?secret=JBSWY3DPEHPK3PXP&issuer=New", "New|alice|JBSWY3DPEHPK3PXP|SHA1|6|30");
        check("otpauth://totp/Acme:alice?secret=JBSWY3DPEHPK3PXP&issuer=", "Acme|alice|JBSWY3DPEHPK3PXP|SHA1|6|30");
        check("otpauth://totp/Acme:alice?secret=JBSWY3DPEHPK3PXP&issuer=+%20", "Acme|alice|JBSWY3DPEHPK3PXP|SHA1|6|30");
        check("otpauth://totp/alice?secret=JBSWY3DPEHPK3PXP&issuer", "-|alice|JBSWY3DPEHPK3PXP|SHA1|6|30");
        check("otpauth://totp/:alice?secret=JBSWY3DPEHPK3PXP", "-|alice|JBSWY3DPEHPK3PXP|SHA1|6|30");
        check("otpauth://totp/a?secret=JBSWY3DPEHPK3PXP&issuer=x%3Ay", "x:y|a|JBSWY3DPEHPK3PXP|SHA1|6|30");
        check("otpauth://totp/A%253Ab?secret=JBSWY3DPEHPK3PXP", "-|A%3Ab|JBSWY3DPEHPK3PXP|SHA1|6|30");
    }

    #[test]
    fn a_plus_is_a_plus_in_the_label_and_a_space_in_the_query() {
        check(
            "otpauth://totp/ada+work?secret=JBSWY3DPEHPK3PXP&issuer=Big+Co",
            "Big Co|ada+work|JBSWY3DPEHPK3PXP|SHA1|6|30",
        );
        check("otpauth://totp/a%2Bb%20c?secret=JBSWY3DPEHPK3PXP&issuer=A%2BB", "A+B|a+b c|JBSWY3DPEHPK3PXP|SHA1|6|30");
    }

    #[test]
    fn seeds_are_read_as_people_write_them() {
        for secret in ["JBSWY3DPEHPK3PXP", "jbswy3dpehpk3pxp", "jbsw%20y3dp%20ehpk%203pxp", "jbsw+y3dp+ehpk+3pxp"] {
            check(&format!("otpauth://totp/a?secret={secret}"), "-|a|JBSWY3DPEHPK3PXP|SHA1|6|30");
        }
        check("otpauth://totp/a?secret=JBSW-Y3DP-EHPK-3PXP", "-|a|JBSWY3DPEHPK3PXP|SHA1|6|30");
        check("otpauth://totp/a?secret=GEZDGNA%3D", "-|a|GEZDGNA|SHA1|6|30");
        check("otpauth://totp/a?secret=GEZDGNA=", "-|a|GEZDGNA|SHA1|6|30");
    }

    #[test]
    fn algorithms_are_read_in_every_spelling_that_services_use() {
        let spellings = [
            ("SHA1", ["sha1", "SHA-1", "HMAC-SHA1", "HmacSHA1", "hmac_sha1"]),
            ("SHA256", ["sha256", "SHA-256", "HMAC-SHA256", "HmacSHA256", "HMAC-SHA-256"]),
            ("SHA512", ["sha512", "sha-512", "HMAC-SHA512", "HmacSHA512", "%48macSHA512"]),
        ];
        for (algorithm, spellings) in spellings {
            for spelling in spellings {
                let uri = format!("otpauth://totp/a?secret={SEED}&algorithm={spelling}");
                check(&uri, &format!("-|a|{SEED}|{algorithm}|6|30"));
            }
        }
    }

    #[test]
    fn a_secret_whose_codes_go_to_one_caller_each_stays_one() {
        let single_use = |query: &str| {
            let read = OtpAuth::parse(&format!("otpauth://totp/a?secret={SEED}{query}")).unwrap();
            let again = OtpAuth::parse(&read.to_uri()).unwrap();
            assert_eq!(again.single_use, read.single_use, "{query}");
            assert_eq!(read.to_uri().ends_with("&single_use=true"), read.single_use, "{query}");
            read.single_use
        };
        assert!(single_use("&single_use=true") && single_use("&SINGLE_USE=TRUE"));
        assert!(!single_use("") && !single_use("&single_use=false"));
        for value in ["", "1", "yes"] {
            refused(&format!("otpauth://totp/a?secret={SEED}&single_use={value}"), OtpAuthError::SingleUse);
        }
    }

    #[test]
    fn what_means_nothing_here_is_left_out() {
        check("  otpauth://totp/a?secret=JBSWY3DPEHPK3PXP\r\n", "-|a|JBSWY3DPEHPK3PXP|SHA1|6|30");
        check("otpauth://totp/a?&secret=JBSWY3DPEHPK3PXP&&", "-|a|JBSWY3DPEHPK3PXP|SHA1|6|30");
        check("otpauth://totp/a?secret=JBSWY3DPEHPK3PXP#secret=AAAA", "-|a|JBSWY3DPEHPK3PXP|SHA1|6|30");
        check("otpauth://totp/a?color=red&secret=JBSWY3DPEHPK3PXP&counter=7&lock", "-|a|JBSWY3DPEHPK3PXP|SHA1|6|30");
    }

    #[test]
    fn labels_in_any_script_are_read_encoded_and_raw() {
        check("otpauth://totp/M%C3%BCller:%E5%B1%B1?secret=JBSWY3DPEHPK3PXP", "Müller|山|JBSWY3DPEHPK3PXP|SHA1|6|30");
        check("otpauth://totp/Big Co:山 田?secret=JBSWY3DPEHPK3PXP", "Big Co|山 田|JBSWY3DPEHPK3PXP|SHA1|6|30");
        check("otpauth://totp/a/b//c?secret=JBSWY3DPEHPK3PXP", "-|a/b//c|JBSWY3DPEHPK3PXP|SHA1|6|30");
    }

    #[test]
    fn what_is_no_totp_uri_is_refused() {
        for uri in [
            "",
            "otpauth",
            "otpauth:",
            "otpauth://",
            "otpauth:///x?secret=JBSWY3DPEHPK3PXP",
            "otpauth:totp/x?secret=JBSWY3DPEHPK3PXP",
            "otpauth:/totp/x?secret=JBSWY3DPEHPK3PXP",
            "otpauth://totp:80/x?secret=JBSWY3DPEHPK3PXP",
            "https://totp/x?secret=JBSWY3DPEHPK3PXP",
            "xotpauth://totp/x?secret=JBSWY3DPEHPK3PXP",
            "ötpauth://totp/x",
            "otpauth:/ö",
            "JBSWY3DPEHPK3PXP",
        ] {
            refused(uri, OtpAuthError::NotOtpAuth);
        }
        refused("otpauth://hotp/a?secret=JBSWY3DPEHPK3PXP&counter=0", OtpAuthError::Hotp);
        refused("OTPAUTH://HOTP/a", OtpAuthError::Hotp);
        for steam in ["otpauth://steam/x?secret=JBSWY3DPEHPK3PXP", "STEAM://JBSWY3DPEHPK3PXP"] {
            refused(steam, OtpAuthError::Steam);
        }
        refused("Motp://x:ada?secret=0123456789abcdef", OtpAuthError::MobileOtp);
        refused("otpauth://yaotp/ada?secret=JBSWY3DPEHPK3PXP", OtpAuthError::Yandex);
    }

    #[test]
    fn the_export_link_of_google_authenticator_is_named() {
        let file = include_str!("../../../tests/fixtures/uri-google-migration.txt");
        for uri in [file, "OTPAUTH-MIGRATION://offline?data=JBSWY3DPEHPK3PXP", "otpauth-migration://"] {
            refused(uri, OtpAuthError::GoogleExport);
        }
        assert!(OtpAuthError::GoogleExport.to_string().contains("Google Authenticator"));
    }

    #[test]
    fn a_uri_that_was_escaped_for_html_is_read_as_meant() {
        let file = include_str!("../../../tests/fixtures/uri-html-amp.txt");
        let meant = "Example|user|JBSWY3DPEHPK3PXP|SHA256|8|60";
        check(file, meant);
        for and in
            ["&#38;", "&#038;", "&#x26;", "&#X26;", "&AMP;", "&amp;amp;", "&amp;amp;amp;", "&amp;#38;", "&#38;amp;"]
        {
            check(&file.replace("&amp;", and), meant);
        }
        for is in ["&#61;", "&#x3D;", "&equals;", "&amp;#61;"] {
            check(&file.replace('=', is), meant);
        }
        // A URI that was escaped in part.
        check(&file.replacen("&amp;", "&", 1), meant);
        check("otpauth://totp/A&amp;B:user?secret=JBSWY3DPEHPK3PXP", "A&B|user|JBSWY3DPEHPK3PXP|SHA1|6|30");
        check("otpauth://totp/A%26amp;B?secret=JBSWY3DPEHPK3PXP", "-|A&amp;B|JBSWY3DPEHPK3PXP|SHA1|6|30");
    }

    #[test]
    fn a_setting_by_another_programs_name_is_refused_if_it_says_otherwise() {
        for (parameters, setting) in [
            ("algo=SHA256", Some("algorithm")),
            ("alg=sha512&algorithm=SHA256", Some("algorithm")),
            ("hash=SHA1&algorithm=SHA256", Some("algorithm")),
            ("interval=60", Some("period")),
            ("step=30&period=60", Some("period")),
            ("length=8", Some("digits")),
            ("algo=SHA1&interval=30&length=6", None),
            ("algo=SHA256&algorithm=SHA256&step=60&period=60", None),
            ("hash=9f86d081&interval=x&step=0&length=4&alg=", None),
        ] {
            let read = OtpAuth::parse(&format!("otpauth://totp/a?secret={SEED}&{parameters}"));
            assert_eq!(read.err(), setting.map(OtpAuthError::Mangled), "{parameters}");
        }
    }

    #[test]
    fn an_issuer_that_holds_a_colon_is_left_out_of_the_label_once() {
        check(
            include_str!("../../../tests/fixtures/uri-issuer-colon-encoded.txt"),
            "Text: More Text|Secret|JBSWY3DPEHPK3PXP|SHA1|6|30",
        );
        check(
            include_str!("../../../tests/fixtures/uri-issuer-colon-all-encoded.txt"),
            "Test: Foo|User|JBSWY3DPEHPK3PXP|SHA1|6|30",
        );
        let read = |label: &str, issuer: &str, expected: &str| {
            check(
                &format!("otpauth://totp/{label}?secret={SEED}&issuer={issuer}"),
                &format!("{expected}|{SEED}|SHA1|6|30"),
            );
        };
        read("A%3AB%3Aada", "A%3AB", "A:B|ada");
        read("a%3ab%20%3A%20ada", "A%3AB", "A:B|ada");
        read("A:B:C:ada", "A%3AB", "A:B|C:ada");
        read("Acme:Acme:ada", "Acme", "Acme|Acme:ada");
        read("Acme%20Corp", "Acme", "Acme|Acme Corp");
        read("AcmeCorp:ada", "Acme", "Acme|ada");
        read("A%3AB", "A%3AB", "A:B|B");
        read("x%3A", "x%3A", "x:|x:");
        read("M%C3%BCller:ada", "Mu", "Mu|ada");
    }

    #[test]
    fn without_an_account_name_the_issuer_is_the_label() {
        for file in [
            include_str!("../../../tests/fixtures/uri-no-label.txt"),
            include_str!("../../../tests/fixtures/uri-label-is-issuer-only.txt"),
        ] {
            check(file, "Acme|Acme|JBSWY3DPEHPK3PXP|SHA1|6|30");
        }
        for label in ["", "/", "/Acme:", "/Acme%3A", "/Acme:%20", "/%20", "/:"] {
            let uri = format!("otpauth://totp{label}?secret={SEED}&issuer=Acme");
            check(&uri, &format!("Acme|Acme|{SEED}|SHA1|6|30"));
        }
        check("otpauth://totp/Acme:?secret=JBSWY3DPEHPK3PXP", "Acme|Acme|JBSWY3DPEHPK3PXP|SHA1|6|30");
        for label in ["", "/", "/:", "/%20", "/%20:%20"] {
            refused(&format!("otpauth://totp{label}?secret={SEED}&issuer=%20"), OtpAuthError::NoName);
        }
    }

    #[test]
    fn what_a_person_says_beside_a_uri_wins() {
        let said = |label: Option<&str>, issuer: Option<&str>, uri: &str| {
            let text = |text: &str| ShownText::parse(text).unwrap();
            let names = Names { label: label.map(text), issuer: issuer.map(text) };
            OtpAuth::parse_meant(uri, names).map(|(read, _)| shown(&read))
        };
        let uri = "otpauth://totp/Acme:ada?secret=JBSWY3DPEHPK3PXP";
        let rest = "JBSWY3DPEHPK3PXP|SHA1|6|30";
        assert_eq!(said(Some("bob"), None, uri), Ok(format!("Acme|bob|{rest}")));
        assert_eq!(said(None, Some("Other"), uri), Ok(format!("Other|ada|{rest}")));
        assert_eq!(said(Some("bob"), Some("Other"), uri), Ok(format!("Other|bob|{rest}")));
        let nameless = "otpauth://totp/?secret=JBSWY3DPEHPK3PXP";
        assert_eq!(said(Some("bob"), None, nameless), Ok(format!("-|bob|{rest}")));
        assert_eq!(said(None, Some("Other"), nameless), Ok(format!("Other|Other|{rest}")));
        assert_eq!(said(None, None, nameless), Err(OtpAuthError::NoName));
        assert_eq!(said(Some("bob"), None, "otpauth://totp/%00?secret=JBSWY3DPEHPK3PXP"), Ok(format!("-|bob|{rest}")));
    }

    #[test]
    fn a_persons_file_is_read_as_it_was_meant_and_a_models_uri_by_the_letter() {
        let rest = "JBSWY3DPEHPK3PXP|SHA1|8|30";
        for (label, strict, meant, repair) in [
            ("C#:ada", Err(OtpAuthError::RawHash), "C#|ada", Repair::Hash),
            ("#1", Err(OtpAuthError::RawHash), "-|#1", Repair::Hash),
            ("Big Co:ada", Ok("Big Co|ada"), "Big Co|ada", Repair::Space),
            ("100%:ada", Err(OtpAuthError::Encoding), "100%|ada", Repair::Percent),
            ("who?:ada", Err(OtpAuthError::NoSecret), "who?|ada", Repair::QuestionMark),
        ] {
            let tail = if label.contains('?') { "secret=JBSWY3DPEHPK3PXP" } else { "secret=JBSWY3DPEHPK3PXP&digits=8" };
            let rest = if label.contains('?') { "JBSWY3DPEHPK3PXP|SHA1|6|30" } else { rest };
            let uri = format!("otpauth://totp/{label}?{tail}");
            let by_letter = OtpAuth::parse(&uri).map(|read| shown(&read));
            assert_eq!(by_letter, strict.map(|names| format!("{names}|{rest}")), "{uri}");
            let (read, repaired) = OtpAuth::parse_meant(&uri, Names::default()).unwrap();
            assert_eq!((shown(&read), repaired), (format!("{meant}|{rest}"), vec![repair]), "{uri}");
        }
        let (read, repaired) = OtpAuth::parse_meant(
            "otpauth://totp/a?secret=JBSWY3DPEHPK3PXP&amp;issuer=C#&amp;digits=8",
            Names::default(),
        )
        .unwrap();
        assert_eq!(shown(&read), format!("C#|a|{rest}"));
        assert_eq!(repaired, [Repair::HtmlEscapes, Repair::Hash]);
        // No repair makes codes right by guessing.
        for uri in
            ["otpauth://totp/a?secret=JBSWY3DPEHPK3PXP&digit=8", "otpauth://totp/a?secret=JBSWY3DPEHPK3PXP&digits=7"]
        {
            assert!(OtpAuth::parse_meant(uri, Names::default()).is_err(), "{uri}");
        }
    }

    #[test]
    fn a_uri_without_a_seed_is_refused() {
        refused("otpauth://totp/a", OtpAuthError::NoSecret);
        refused("otpauth://totp/a?", OtpAuthError::NoSecret);
        refused("otpauth://totp/a?issuer=JBSWY3DPEHPK3PXP", OtpAuthError::NoSecret);
        refused("otpauth://totp/a#secret=JBSWY3DPEHPK3PXP", OtpAuthError::NoSecret);
        refused("otpauth://totp/a?secret=", OtpAuthError::Seed(SeedError::Empty));
        refused("otpauth://totp/a?secret", OtpAuthError::Seed(SeedError::Empty));
        refused("otpauth://totp/a?secret====", OtpAuthError::Seed(SeedError::Empty));
    }

    #[test]
    fn a_parameter_that_stands_twice_is_refused_unless_both_are_equal_or_mean_nothing() {
        let steam = "otpauth://totp/Steam:ada?secret=JBSWY3DPEHPK3PXP&issuer=Steam&issuer=Steam&tags=a&tags=b";
        check(steam, "Steam|ada|JBSWY3DPEHPK3PXP|SHA1|6|30");
        check("otpauth://totp/a?secret=JBSWY3DPEHPK3PXP&%73ECRET=JBSWY3DPEHPK3PXP", "-|a|JBSWY3DPEHPK3PXP|SHA1|6|30");
        refused("otpauth://totp/a?secret=JBSWY3DPEHPK3PXP&SECRET=GEZDGNBVGY3TQOJQ", OtpAuthError::Twice("secret"));
        refused("otpauth://totp/a?secret=JBSWY3DPEHPK3PXP&digits=6&digits=8", OtpAuthError::Twice("digits"));
    }

    #[test]
    fn bits_left_over_at_the_end_of_a_seed_are_dropped() {
        check(
            include_str!("../../../tests/fixtures/uri-seed-27-characters.txt"),
            "Gravity Zone Cloud|my@example.com|JBSWY3DPEHPK3PXPJBSWY3DPEE|SHA1|6|30",
        );
        check("otpauth://totp/a?secret=ABC", "-|a|AA|SHA1|6|30");
        refused("otpauth://totp/a?secret=A", OtpAuthError::Seed(SeedError::Length));
    }

    #[test]
    fn labels_with_emoji_sequences_are_read() {
        check(
            include_str!("../../../tests/fixtures/uri-emoji-vs16.txt"),
            "☁\u{fe0f} Cloud|ada|JBSWY3DPEHPK3PXP|SHA1|6|30",
        );
    }

    #[test]
    fn broken_percent_encoding_is_refused_wherever_it_stands() {
        for broken in ["%", "%4", "%zz", "%4g", "%%41", "a%", "%+1", "%ff", "%C3%28", "%ED%A0%80", "%F4%90%80%80"] {
            refused(&format!("otpauth://totp/a{broken}?secret={SEED}"), OtpAuthError::Encoding);
            refused(&format!("otpauth://totp/a?secret={SEED}{broken}"), OtpAuthError::Encoding);
            refused(&format!("otpauth://totp/a?secret={SEED}&issuer={broken}"), OtpAuthError::Encoding);
            refused(&format!("otpauth://totp/a?secret={SEED}&unknown={broken}"), OtpAuthError::Encoding);
            refused(&format!("otpauth://totp/a?secret={SEED}&{broken}=1"), OtpAuthError::Encoding);
        }
    }

    #[test]
    fn parameters_out_of_range_are_refused() {
        let at = |query: &str| format!("otpauth://totp/a?secret={SEED}&{query}");
        for algorithm in ["", "MD5", "SHA", "SHA224", "SHA3-256", "SHA1,SHA256", "SHA1%00", "HMACHMACSHA1"] {
            refused(&at(&format!("algorithm={algorithm}")), OtpAuthError::Algorithm);
        }
        for digits in ["", "0", "5", "7", "9", "-6", "%2B6", "6.0", "0x6", "six", "18446744073709551622", "٦"] {
            refused(&at(&format!("digits={digits}")), OtpAuthError::Digits);
        }
        for period in ["", "0", "3601", "-30", "%2B30", "30s", "1e1", "18446744073709551615", "99999999999999999999"] {
            refused(&at(&format!("period={period}")), OtpAuthError::Period);
        }
        check(&at("period=1"), "-|a|JBSWY3DPEHPK3PXP|SHA1|6|1");
        check(&at("period=3600"), "-|a|JBSWY3DPEHPK3PXP|SHA1|6|3600");
        for secret in ["0", "1", "JBSWY3DPEHPK3PX8", "JB=SWY3D", "%00", "geheim!", "Ünicode"] {
            refused(&format!("otpauth://totp/a?secret={secret}"), OtpAuthError::Seed(SeedError::NotBase32));
        }
    }

    #[test]
    fn text_that_a_terminal_or_a_model_would_obey_is_refused() {
        for hostile in
            ["%00", "%0A", "%1B%5B2J", "%7F", "%E2%80%AE", "%E2%81%A6", "%E2%80%8B", "%EF%BB%BF", "%F3%A0%81%81"]
        {
            let unshowable = TextError::Unshowable { position: 2 };
            refused(&format!("otpauth://totp/a{hostile}b?secret={SEED}"), OtpAuthError::Label(unshowable));
            refused(&format!("otpauth://totp/a{hostile}b:c?secret={SEED}"), OtpAuthError::Issuer(unshowable));
            refused(&format!("otpauth://totp/a?secret={SEED}&issuer=a{hostile}b"), OtpAuthError::Issuer(unshowable));
        }
    }

    #[test]
    fn limits_hold_at_the_limit_and_one_past_it() {
        let (long, too_long) = ("é".repeat(TEXT_CHARS_MAX), "é".repeat(TEXT_CHARS_MAX + 1));
        let too_long_error = TextError::TooLong { max: TEXT_CHARS_MAX };
        check(&format!("otpauth://totp/{long}:{long}?secret={SEED}"), &format!("{long}|{long}|{SEED}|SHA1|6|30"));
        refused(&format!("otpauth://totp/{too_long}?secret={SEED}"), OtpAuthError::Label(too_long_error));
        refused(&format!("otpauth://totp/{too_long}:a?secret={SEED}"), OtpAuthError::Issuer(too_long_error));

        let seed = |count| Zeroizing::new(data_encoding::BASE32.encode(&vec![7; count]));
        check(
            &format!("otpauth://totp/a?secret={}", *seed(SEED_BYTES_MAX)),
            &format!("-|a|{}|SHA1|6|30", seed(SEED_BYTES_MAX).trim_end_matches('=')),
        );
        refused(
            &format!("otpauth://totp/a?secret={}", *seed(SEED_BYTES_MAX + 1)),
            OtpAuthError::Seed(SeedError::TooLong),
        );

        let padded = |length: usize| format!("{:x<length$}", format!("otpauth://totp/a?secret={SEED}&pad="));
        check(&padded(URI_BYTES_MAX), "-|a|JBSWY3DPEHPK3PXP|SHA1|6|30");
        refused(&padded(URI_BYTES_MAX + 1), OtpAuthError::TooLong);
    }

    #[test]
    fn the_longest_secret_fits_into_a_uri() {
        let widest = ShownText::parse(&"𐍈".repeat(TEXT_CHARS_MAX)).unwrap();
        let totp = TotpParameters { period: Period::try_from(3600).unwrap(), ..TotpParameters::default() };
        let seed = Seed::from_bytes(Zeroizing::new(vec![7; SEED_BYTES_MAX])).unwrap();

        let uri = uri_of(&widest, Some(&widest), &totp, &seed);

        assert!(uri.len() <= URI_BYTES_MAX);
        assert!(OtpAuth::parse(&uri).is_ok());
    }

    #[test]
    fn a_printed_uri_is_what_other_authenticators_expect() {
        let read = OtpAuth::parse("otpauth://totp/Big Co:ada+1@example.com?secret=jbswy3dpehpk3pxp&digits=8").unwrap();

        assert_eq!(
            *read.to_uri(),
            "otpauth://totp/Big%20Co:ada%2B1%40example.com?secret=JBSWY3DPEHPK3PXP&issuer=Big%20Co&algorithm=SHA1&digits=8&period=30"
        );
    }

    /// Every way to break a URI that holds a seed.
    fn broken(secret: &str) -> Vec<String> {
        vec![
            format!("otpauth://hotp/a?secret={secret}"),
            format!("{secret}://totp/a?secret={secret}"),
            format!("otpauth://{secret}/a?secret={secret}"),
            format!("otpauth://totp/?secret={secret}"),
            format!("otpauth://totp/a%0A{secret}?secret={secret}"),
            format!("otpauth://totp/a?secret={secret}&{secret};digits={secret}"),
            format!("otpauth://totp/a#{secret}?secret={secret}"),
            format!("otpauth://totp/a?secret={secret}&encoder={secret}"),
            format!("otpauth://totp/a?secret={secret}&secret={}", secret.repeat(2)),
            format!("otpauth-migration://offline?data={secret}"),
            format!("otpauth://totp/a?secret={secret}!"),
            format!("otpauth://totp/a?secret={secret}%zz"),
            format!("otpauth://totp/a?secret={}", secret.repeat(30)),
            format!("otpauth://totp/a?seed={secret}"),
            format!("otpauth://totp/a?secret={secret}&algorithm={secret}"),
            format!("otpauth://totp/a?secret={secret}&digits={secret}"),
            format!("otpauth://totp/a?secret={secret}&period={secret}"),
            format!("otpauth://totp/a?secret={secret}&issuer=%00{secret}"),
            format!("otpauth://totp/a?secret={secret}&pad={}", "x".repeat(URI_BYTES_MAX)),
        ]
    }

    #[test]
    fn no_error_holds_a_piece_of_the_secret() {
        // The words of the messages themselves must not count: this seed shares no four letters with them.
        for uri in broken("KZQXJ7WVYB2MHXNQ") {
            let error = OtpAuth::parse(&uri).map(|read| shown(&read)).expect_err(&uri);
            let said = format!("{error} {error:?}").to_uppercase();
            for piece in "KZQXJ7WVYB2MHXNQ".as_bytes().windows(4) {
                assert!(!said.contains(std::str::from_utf8(piece).unwrap()), "{said} quotes {uri}");
            }
        }
    }

    fn shown_text() -> impl Strategy<Value = ShownText> {
        let text = prop_oneof!["[ -~]{1,40}", "[:+%&=#?/ a]{1,12}", "\\PC{1,256}"];
        text.prop_filter_map("text that is refused", |text| ShownText::parse(&text).ok())
    }

    fn parameters() -> impl Strategy<Value = TotpParameters> {
        let algorithm = prop_oneof![Just(Algorithm::Sha1), Just(Algorithm::Sha256), Just(Algorithm::Sha512)];
        let digits = prop_oneof![Just(Digits::Six), Just(Digits::Eight)];
        let period = (1..=3600_u64).prop_map(|seconds| Period::try_from(seconds).unwrap());
        (algorithm, digits, period).prop_map(|(algorithm, digits, period)| TotpParameters { algorithm, digits, period })
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(
            label in shown_text(),
            issuer in proptest::option::of(shown_text()),
            totp in parameters(),
            seed in proptest::collection::vec(any::<u8>(), 1..=SEED_BYTES_MAX),
        ) {
            let kept = Seed::from_bytes(Zeroizing::new(seed.clone())).unwrap();
            let read = OtpAuth::parse(&uri_of(&label, issuer.as_ref(), &totp, &kept)).unwrap();

            prop_assert_eq!(read.label, label);
            prop_assert_eq!(read.issuer, issuer);
            prop_assert_eq!(read.totp, totp);
            prop_assert_eq!(read.seed.expose(), seed.as_slice());
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*", tail in "[%&=#?:+/a-z0-9]{0,40}") {
            let _ = OtpAuth::parse(&text);
            let _ = OtpAuth::parse(&format!("otpauth://totp/{text}"));
            let both = format!("otpauth://totp/{tail}?{text}&secret={tail}");
            let by_letter = OtpAuth::parse(&both).map(|read| shown(&read));
            let meant = OtpAuth::parse_meant(&both, Names::default()).map(|(read, _)| shown(&read));
            // Where the strict reading succeeds, the lenient one gives the same result.
            prop_assert!(by_letter.is_err() || by_letter == meant);
        }
    }
}
