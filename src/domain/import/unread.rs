//! Finds keys, and words about the parameters of codes, in the cells of a row that are not read. The names of columns
//! are a person's own, so no list of them is complete; the contents of the cells show more, in every language.

use super::{
    ends,
    fields::{is_question, plain},
    pieces, uri,
};

/// Letters of the longest text that is only about the parameters of codes.
const SETTING_CHARS: usize = 40;
/// Digits of a date with a time.
const DIGITS_OF_TIMES: usize = 14;
/// Words for digits, in some languages, as they begin; and for seconds and minutes.
const DIGITS: [&str; 11] =
    ["digit", "stell", "ziffer", "chiffre", "cifra", "cifre", "cijfer", "dígito", "цифр", "桁", "位"];
const SECONDS: [&str; 20] = [
    "s",
    "sec",
    "secs",
    "second",
    "seconds",
    "sek",
    "sekunde",
    "sekunden",
    "seg",
    "segundos",
    "secondes",
    "secondi",
    "period",
    "step",
    "timestep",
    "interval",
    "秒",
    "с",
    "сек",
    "секунд",
];
const MINUTES: [&str; 9] = ["min", "mins", "minute", "minutes", "minuten", "minutos", "minuti", "分", "мин"];
/// Names of other hash functions than the usual one.
const HASHES: [&str; 8] = ["sha256", "sha512", "sha384", "sha224", "md5", "hs256", "hs512", "sha2"];
/// The numbers at the ends of such names.
const HASH_BITS: [&str; 4] = ["256", "512", "384", "224"];
/// The prefixes of such a name.
const BEFORE_HASHES: [&str; 3] = ["hmac", "totp", "otp"];
/// Names of other kinds of codes than the usual one.
const KINDS: [&str; 7] = ["hotp", "motp", "rfc4226", "counterbased", "eventbased", "steamguard", "steamtotp"];
/// What such codes are based on, in some languages: a counter or an event.
const BASES: [&str; 7] = ["counter", "zahler", "zaehler", "compteur", "contador", "contatore", "ereignis"];
/// The names of columns that only such codes have, beside those with a counter of codes.
const NAMES: [&str; 5] = ["counter", "countervalue", "nextcounter", "movingfactor", "ishotp"];
/// Texts of a cell that mean no.
const NO: [&str; 11] = ["", "0", "no", "n", "false", "f", "none", "off", "nein", "non", "nao"];
/// Digits and seconds that a column of bare numbers may have, each with the usual number.
const BARE: [(&[u64], u64); 2] = [(&[6, 8], 6), (&[15, 30, 45, 60, 90, 120, 180, 300], 30)];

/// Whether a text states, in few words and with a unit, a number of digits or a period that is not usual.
pub(super) fn says_unusual_number(text: &str) -> bool {
    if text.chars().nth(SETTING_CHARS).is_some() || text.contains("://") {
        return false;
    }
    let text = text.to_lowercase();
    let parts: Vec<&str> = parts(&text).collect();
    let number = |part: &str| part.parse::<u64>().ok();
    let is_unusual = |(at, part): (usize, &&str)| {
        let before = at.checked_sub(1).and_then(|at| parts.get(at)).copied().unwrap_or_default();
        let behind = parts.get(at + 1).copied().unwrap_or_default();
        number(part).is_some_and(|number| {
            matches!(number, 7 | 8) && (is_of_digits(before) || is_of_digits(behind))
                || matches!(number, 15 | 20 | 45 | 60 | 90 | 120 | 180 | 300)
                    && (is_of_seconds(before) || is_of_seconds(behind))
                || parts.len() == 2
                    && (matches!(number, 1 | 2) && MINUTES.contains(&behind)
                        || matches!(before, "totp" | "otp") && is_unusual_bare_number(part))
        })
    };
    parts.iter().enumerate().any(is_unusual)
}

/// Whether a text may name a number, a hash function or a kind of codes. One that may not, such as an identifier or a
/// time, needs no closer look.
pub(super) fn may_speak(text: &str) -> bool {
    const PARTS: [&str; 3] = ["otp", "steam", "bas"];
    let has =
        |part: &&str| text.as_bytes().windows(part.len()).any(|found| found.eq_ignore_ascii_case(part.as_bytes()));
    let digits = text.chars().filter(|c| c.is_numeric()).count();
    text.len() <= SETTING_CHARS * 4 && ((1..DIGITS_OF_TIMES).contains(&digits) || PARTS.iter().any(has))
}

/// The numbers and words of a text.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let kind = |c: char| (c.is_ascii_digit(), c.is_alphabetic());
    let ends = text.char_indices().zip(text.chars().skip(1)).filter(move |((_, one), next)| kind(*one) != kind(*next));
    let ends = ends.map(|((at, one), _)| at + one.len_utf8()).chain([text.len()]);
    let parts = ends.scan(0, |start, end| text.get(std::mem::replace(start, end)..end));
    parts.filter(|part| part.chars().all(char::is_alphanumeric) && !part.is_empty())
}

/// Whether a text is a number that unusual codes may have, as digits or as a period.
pub(super) fn is_unusual_bare_number(text: &str) -> bool {
    text.parse::<u64>().is_ok_and(|number| matches!(number, 5 | 7 | 8 | 10..=29 | 31..=300))
}

/// Whether a text is a usual number of digits or seconds, perhaps with its unit.
pub(super) fn is_usual_number(text: &str) -> bool {
    let units: [fn(&str) -> bool; 2] = [is_of_digits, is_of_seconds];
    BARE.iter().zip(units).any(|((_, usual), is_unit)| number_of(text, is_unit) == Some(*usual))
}

/// The number of a text that is one, perhaps with a unit behind it.
fn number_of(text: &str, is_unit: fn(&str) -> bool) -> Option<u64> {
    if text.len() > SETTING_CHARS {
        return None;
    }
    let text = text.to_lowercase();
    let (number, unit) = text.split_at_checked(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))?;
    let unit = unit.strip_prefix(['.', ',']).map_or(unit, |zeros| zeros.trim_start_matches('0'));
    let unit = unit.trim_matches([' ', '.', '-', '(', ')']);
    number.parse().ok().filter(|_| unit.is_empty() || is_unit(unit))
}

fn is_of_digits(unit: &str) -> bool {
    DIGITS.iter().any(|word| unit.starts_with(word))
}

fn is_of_seconds(unit: &str) -> bool {
    SECONDS.contains(&unit)
}

/// The possible meanings of the cells in a column of bare numbers.
#[derive(Clone, Default)]
pub(super) struct Bare {
    /// Whether a cell of the column is not in the list of numbers: for digits, and for periods.
    is_other: [bool; BARE.len()],
    /// Whether a cell differs from the usual number, for each of the two.
    is_unusual: [bool; BARE.len()],
}

impl Bare {
    /// Takes one more cell into account.
    pub(super) fn see(&mut self, cell: &str) {
        if cell.is_empty() {
            return;
        }
        let kinds = BARE.iter().zip([is_of_digits, is_of_seconds]);
        let kinds = kinds.zip(self.is_other.iter_mut().zip(&mut self.is_unusual));
        for (((numbers, usual), is_unit), (is_other, is_unusual)) in kinds {
            let number = number_of(cell, is_unit);
            *is_other |= !number.is_some_and(|number| numbers.contains(&number));
            *is_unusual |= number != Some(*usual);
        }
    }

    /// Whether all cells are digits or periods of codes, and one is not usual.
    pub(super) fn are_settings(&self) -> bool {
        self.is_other.iter().zip(self.is_unusual).any(|(is_other, is_unusual)| !is_other && is_unusual)
    }
}

/// Whether a text names another hash function than the usual one.
pub(super) fn names_hash(text: &str) -> bool {
    has_word(text, |word| {
        let bare = BEFORE_HASHES.iter().fold(word, |word, before| word.strip_prefix(before).unwrap_or(word));
        HASHES.contains(&bare)
    })
}

/// Whether a text ends in the number of another hash function than the usual one: `256`, `HS512`.
pub(super) fn is_number_of_hash(text: &str) -> bool {
    text.len() <= SETTING_CHARS && HASH_BITS.iter().any(|bits| text.trim_end().ends_with(bits))
}

/// Whether a text names another kind of codes than the usual one.
pub(super) fn names_kind(text: &str) -> bool {
    let is_kind = |word: &str| KINDS.contains(&word.strip_prefix("oath").unwrap_or(word));
    let is_based = || text.len() <= SETTING_CHARS && is_base(&plain(text));
    has_word(text, is_kind) || is_based()
}

/// Whether a plain text is of codes that are based on a counter: `basado en contador`.
fn is_base(text: &str) -> bool {
    text.contains("bas") && BASES.iter().any(|base| text.contains(base))
}

/// Whether a text is only a number of digits and a period, or a hash function and one of these, that are not usual:
/// `30;8`, `6/60`. A day and a month are no such pair.
pub(super) fn are_settings(text: &str) -> bool {
    if text.len() > SETTING_CHARS {
        return false;
    }
    let parts: Vec<&str> = text.split([';', '/', ',', ':', ' ']).filter(|part| !part.is_empty()).collect();
    let has = |numbers: &[u64]| parts.iter().any(|part| part.parse().is_ok_and(|number| numbers.contains(&number)));
    let [(digits, _), (periods, _)] = BARE;
    let is_hash = |part: &&&str| plain(part).starts_with("sha");
    let hashes = parts.iter().filter(is_hash).count();
    let is_setting = |part: &&str| {
        is_hash(&part) || part.parse().is_ok_and(|number| digits.contains(&number) || periods.contains(&number))
    };
    let is_date =
        parts.len() == 2 && hashes == 0 && text.contains(['/', ',', ':', ' ']) && !has(&[45, 60, 90, 120, 180, 300]);
    let are_two = matches!(parts.len(), 2 | 3) && (hashes == 1 || has(digits) && has(periods));
    let is_unusual = parts.iter().any(|part| part.parse::<u64>().is_ok_and(|number| !matches!(number, 6 | 30)));
    are_two && !is_date && is_unusual && parts.iter().all(is_setting)
}

fn has_word(text: &str, is: impl Fn(&str) -> bool) -> bool {
    let text = if text.len() > SETTING_CHARS { "" } else { text };
    // A part of an address or a path is not such a word.
    let is_whole = |word: &&str| !word.trim_end_matches('.').contains(['@', '.', '\\']);
    let words = text.split(|c: char| c.is_whitespace() || ",;/()|:=!\"".contains(c)).filter(is_whole);
    let parts = words.clone().flat_map(|word| word.split('-'));
    let pairs = words.clone().zip(words.clone().skip(1)).map(|(one, next)| plain(one) + &plain(next));
    words.chain(parts).map(plain).chain(pairs).any(|word| is(&word))
}

/// Whether this cell, in a column of this plain name, means that the codes of its row are counter-based.
pub(super) fn counts(name: &str, cell: &str) -> bool {
    let is_of_codes = NAMES.contains(&name)
        || name.starts_with("hotp")
        || name.ends_with("hotp")
        || name.contains("counter") && super::settings::is_about_codes(name);
    let is_no = NO.contains(&plain(cell).as_str());
    let asks_for_others = || name.contains("timebased") || is_question(name) && name.ends_with("totp");
    is_of_codes && !is_no || is_no && !cell.is_empty() && asks_for_others()
}

/// Whether a text holds a key, perhaps with words around it.
pub(super) fn holds_key(text: &str) -> bool {
    // Addresses of pages have identifiers in them.
    let is_address = text.contains("://") && !text.trim().contains(char::is_whitespace);
    let is_word = || {
        text.bytes().any(|byte| byte.is_ascii_digit()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '=')
    };
    let is_name = || ends::is_id_of_aws(text) || ends::are_words_and_a_number(text);
    let is_whole = || uri::is_link_or_usual_seed(text) && (ends::is_grouped(text) || is_word() && !is_name());
    is_key(text)
        || !is_address && (ends::keys(text) > 0 || is_whole())
        || pieces::secret_in(text).is_some_and(|secret| ends::keys(secret) > 0)
}

/// Whether a text can only be a key, and not a word or a name.
pub(super) fn is_key(text: &str) -> bool {
    !text.contains("://")
        && uri::is_link_or_usual_seed(text)
        && (ends::is_like_seed(text) || ends::is_in_random_capitals(text))
        && !ends::is_id_of_aws(text)
        && !ends::are_words_and_a_number(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_their_units_are_settings_in_some_languages() {
        for text in [
            "60 s",
            "60s",
            "8 digits / 60 s",
            "8桁",
            "60 秒",
            "1 min",
            "8-stellig",
            "60 Sek.",
            "TOTP 60s",
            "digits: 8",
            "period=60",
            "every 60 s",
            "new code every 60 seconds",
            "uses 8 digits",
            "digits: 8, period: 60",
            "2 Minuten",
            "TOTP 8",
            "TOTP60",
            "TOTP timeStep: 60",
        ] {
            assert!(says_unusual_number(text), "{text}");
        }
        for text in [
            "",
            "60",
            "8",
            "6 digits",
            "30 s",
            "30 Sekunden",
            "7 days trial",
            "iPhone 15",
            "Room 12",
            "20 €",
            "2021-08-10",
            "10:42:26",
            "8.5",
            "Pixel 8",
            "+49 30 60 80",
            "8 seats",
            "PIN has 5 digits",
            "last 5 digits of card",
            "5 minutes from home",
            "10 Charles Street",
            "Section 12",
            "2 Minecraft servers",
            "2 min walk",
            "TOTP 2",
            "TOTP6",
        ] {
            assert!(!says_unusual_number(text), "{text}");
        }
    }

    #[test]
    fn a_column_of_numbers_that_codes_have_is_one_of_settings_if_one_is_unusual() {
        let columns = |cells: &[&str]| {
            let mut column = Bare::default();
            for cell in cells {
                column.see(cell);
            }
            column.are_settings()
        };
        assert!(columns(&["8"]) && columns(&["60", "30"]) && columns(&["6", "8", "6"]));
        assert!(columns(&["8.0"]) && !columns(&["8.05"]) && !columns(&["6.0", "6"]));
        assert!(columns(&["30s", "60"]) && columns(&["60 Sek."]) && columns(&["6 digits", "8"]));
        assert!(
            !columns(&["30s"]) && !columns(&["60", "8 digits"]) && !columns(&["60 m"]) && !columns(&["60", "30 %"])
        );
        assert!(!columns(&["6"]) && !columns(&["30", "30"]) && !columns(&["5", "10"]) && !columns(&["8", "60"]));
        assert!(!columns(&["10", "20", "30"]) && !columns(&[]) && !columns(&["8", "x"]));
    }

    #[test]
    fn kinds_and_hash_functions_are_words() {
        for text in [
            "SHA256",
            "SHA-256",
            "HMAC-SHA256",
            "TOTP-SHA512",
            "TOTP SHA256",
            "sha256, 8 digits",
            "MD5",
            "Uses SHA512.",
        ] {
            assert!(names_hash(text), "{text}");
        }
        for text in [
            "HOTP",
            "OATH-HOTP",
            "HMAC-based (HOTP)",
            "Steam Guard",
            "RFC 4226",
            "mOTP",
            "HOTP.",
            "HOTP, see hr.example.com",
            "counter-based",
            "event based token",
        ] {
            assert!(names_kind(text), "{text}");
        }
        for text in [
            "natasha2@gmail.com",
            "Hotpoint",
            "hotphone",
            "4/2/26",
            "+1 555 422 6123",
            "Games\\Steam",
            "Steam bath",
            "SHA1",
            "TOTP",
        ] {
            assert!(!names_hash(text) && !names_kind(text), "{text}");
        }
        assert!(
            counts("counter", "5")
                && counts("hotpcounter", "1")
                && counts("ishotp", "true")
                && counts("otpcounter", "2")
        );
        assert!(
            !counts("counterparty", "Acme")
                && !counts("ishotp", "no")
                && !counts("logincounter", "5")
                && !counts("shotputs", "1")
        );
    }

    #[test]
    fn keys_are_told_from_words_and_names() {
        for key in ["GEZDGNBVGY3TQOJQ", "gezd gnbv gy3t qojq", "KZXWMQRBTDPLHVNC", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"] {
            assert!(is_key(key), "{key}");
        }
        for other in [
            "",
            "INTERNATIONALIZATION",
            "internationalization",
            "alexanderthegreat22",
            "AKIAIOSFODNN7EXAMPLE",
            "correct horse battery",
            "KZXWMQRBTDPLHVN",
            "kzxwmqrbtdplhvnc",
            "PASSWORDPASSWORD",
            "christophermiller7",
            "schwarzwaldhof24",
            "serviceaccountprod2",
            "RASPBERRYPI4CLUSTER2",
        ] {
            assert!(!is_key(other), "{other}");
        }
    }
}
