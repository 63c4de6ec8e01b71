//! What a row of a table holds beside what is read of it: a key, or words about how codes are made. The names of columns are
//! a person's own, so no list of them is whole, and what stands in their cells tells more, in every language.

use super::{ends, item::plain, uri};

/// Letters of the longest text that is only about how codes are made.
const SETTING_CHARS: usize = 40;
/// The numbers that codes have as digits or seconds, and those that are taken where nothing is said.
const NUMBERS: [u64; 11] = [5, 6, 7, 8, 10, 15, 20, 30, 45, 60, 120];
const USUAL: [u64; 2] = [6, 30];
/// Parts of words about other hash functions than the usual one.
const HASHES: [&str; 6] = ["sha256", "sha512", "sha2", "sha384", "sha3", "md5"];
/// Parts of words about other kinds of codes than the usual one.
const KINDS: [&str; 6] = ["hotp", "motp", "4226", "steam", "counterbased", "eventbased"];
/// Parts of the names of columns that only such codes have.
const NAMES: [&str; 4] = ["hotp", "counter", "movingfactor", "zaehler"];
/// What says that something is not so.
const NO: [&str; 8] = ["", "0", "no", "n", "false", "f", "none", "off"];

/// What a cell says about how codes are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setting {
    /// As they are made where nothing is said.
    Usual,
    /// In another way.
    Unusual,
}

/// What a text says if it says how codes are made and nothing else: numbers that codes have, and a few words.
pub(super) fn setting(text: &str) -> Option<Setting> {
    if text.len() > SETTING_CHARS || text.contains("://") {
        return None;
    }
    let is_minutes = || plain(text).trim_start_matches(|c: char| c.is_ascii_digit()).starts_with("min");
    let numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|number| !number.is_empty());
    let mut numbers = numbers.map(|number| number.parse::<u64>().ok()).peekable();
    numbers.peek()?;
    // So a plugin of KeePass marks Steam.
    let (mut count, mut unusual) = (0, text.ends_with(";S"));
    for number in numbers {
        let number = number.filter(|number| NUMBERS.contains(number) || *number < 5 && is_minutes())?;
        (count, unusual) = (count + 1, unusual || !USUAL.contains(&number));
    }
    let words = text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).count();
    (count < 3 && words < 4).then_some(if unusual { Setting::Unusual } else { Setting::Usual })
}

/// Whether a text speaks of another hash function than the usual one.
pub(super) fn names_hash(text: &str) -> bool {
    speaks_of(text, &HASHES)
}

/// Whether a text speaks of another kind of codes than the usual one.
pub(super) fn names_kind(text: &str) -> bool {
    speaks_of(text, &KINDS)
}

fn speaks_of(text: &str, parts: &[&str]) -> bool {
    let text = if text.len() > SETTING_CHARS || text.contains("://") { String::new() } else { plain(text) };
    parts.iter().any(|part| text.contains(part))
}

/// Whether a column of this plain name says of a row, by this cell, that its codes are counted.
pub(super) fn counts(name: &str, cell: &str) -> bool {
    NAMES.iter().any(|part| name.contains(part)) && !NO.contains(&plain(cell).as_str())
}

/// Whether a text can only be a key, and nobody's word or name.
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
    fn numbers_that_codes_have_are_settings_in_every_language() {
        for text in [
            "60",
            "60 s",
            "60;8",
            "8 digits / 60 s",
            "8桁",
            "60 秒",
            "1 min",
            "7",
            "60;S",
            "30;S",
            "каждые 60 с",
            "6/60",
        ] {
            assert_eq!(setting(text), Some(Setting::Unusual), "{text}");
        }
        for text in ["6", "30", "30s", "6 digits", "30;6", "6 / 30"] {
            assert_eq!(setting(text), Some(Setting::Usual), "{text}");
        }
        for text in ["", "abc", "2021-08-10", "Room 12", "+49 30 1234", "1", "3", "100", "a b c d 60", "60 60 60"] {
            assert_eq!(setting(text), None, "{text}");
        }
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
        ] {
            assert!(!is_key(other), "{other}");
        }
    }
}
