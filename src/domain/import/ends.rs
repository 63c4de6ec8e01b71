//! Finds the end of a secret: words may follow it, it may be written in groups, and a file may be cut off in the middle
//! of it. A word such as `from` is base32, too, so a seed is never taken to be longer than it surely is without a note.

use super::{entry::Note, json::Json};
use crate::domain::{
    characters::{is_unshowable, parts_groups},
    limits::IMPORT_ENTRIES_MAX,
    seed::{SEED_CHARS_USUAL, Seeds},
};

/// Letters of the groups in which services show a seed. The lengths of seeds are multiples of it, but for 26.
const GROUP_CHARS: usize = 4;
/// The parameters whose values have no words in them.
const WITHOUT_WORDS: [&str; 4] = ["digits", "period", "algorithm", "single_use"];
/// The link's parameter in which Ente keeps its data on an entry, as JSON.
pub(super) const ENTE: &str = "codeDisplay=";

/// Returns a link without the words after it, as far as the two can be distinguished: an issuer has spaces, too.
pub(super) fn without_words(link: &str) -> (&str, Option<Note>) {
    let at = link.rfind(['?', '&']).map_or(link.len(), |at| at + 1);
    let last = link.get(at..).and_then(|last| last.split_once('='));
    let (length, note) = match last {
        Some((name, value)) if name.eq_ignore_ascii_case("secret") => {
            let (seed, note) = seed(value);
            (name.len() + 1 + seed.len(), note)
        }
        Some((name, value)) if WITHOUT_WORDS.iter().any(|setting| setting.eq_ignore_ascii_case(name)) => {
            let word = value.split(char::is_whitespace).next().unwrap_or_default();
            let is_all = word.is_empty() || word.len() == value.trim_end().len();
            if is_all {
                return (link, doubt_within(link));
            }
            (name.len() + 1 + word.len(), Some(Note::Around))
        }
        _ => return (link, doubt_within(link)),
    };
    (link.get(..at + length).unwrap_or(link), note)
}

/// The doubt about a seed in groups that is followed by other parameters, or by words with a sign of them.
fn doubt_within(link: &str) -> Option<Note> {
    let pairs = link.split(['?', '&']).filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("secret"))?;
    seed(value).1.map(|_| Note::Groups)
}

/// The seed that a text begins with, and the doubt about its end. Groups have one length, and the last one may be
/// shorter; uneven ones are a seed if they have as many letters as seeds have, and none is a word.
pub(super) fn seed(text: &str) -> (&str, Option<Note>) {
    let groups = groups(text);
    let [(first, end), others @ ..] = groups.as_slice() else { return (text, None) };
    if others.is_empty() {
        return (text, None);
    }
    let size = letters(first);
    let is_group = |word: &str| size <= SEED_CHARS_USUAL && is_base32(word) && are_in_one_case(first, word);
    let same = others.iter().take_while(|(word, _)| letters(word) == size && is_group(word)).count();
    let before_last = size * (same + 1);
    let (count, total) = match others.get(same..) {
        // A seed of a usual length is whole without a word, unless a seed can have the length with it, too.
        Some([(last, _)])
            if letters(last) < size
                && is_group(last)
                && (!before_last.is_multiple_of(SEED_CHARS_USUAL)
                    || !is_word(last)
                    || !matches!((before_last + letters(last)) % 8, 1 | 3 | 6)) =>
        {
            (others.len(), before_last + letters(last))
        }
        _ => (same, before_last),
    };
    let is_seed = || {
        let sum: usize = groups.iter().map(|(group, _)| letters(group)).sum();
        let fits = |group: &str| is_base32(group) && are_in_one_case(first, group) && !is_word(group);
        let is_one = Seeds::of(text) != Seeds::Several && sum >= SEED_CHARS_USUAL && is_usual(sum);
        is_one && groups.iter().all(|(group, _)| fits(group))
    };
    // A group of the same length with letters and digits belongs to the seed, although it is mistyped.
    let is_mistyped = |(next, _): &(&str, usize)| {
        let has = |is: fn(&u8) -> bool| next.as_bytes().iter().any(is);
        letters(next) == size && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic) && !is_base32(next)
    };
    if others.get(count).is_some_and(is_mistyped) {
        return (text, None);
    }
    if count < others.len() && total >= SEED_CHARS_USUAL && !is_seed() {
        let end = count.checked_sub(1).and_then(|last| others.get(last)).map_or(*end, |(_, end)| *end);
        return (text.get(..end).unwrap_or(text), Some(Note::Around));
    }
    let is_whole = size < SEED_CHARS_USUAL && (count == others.len() || is_seed());
    (text, (!is_whole || may_end_in_words(&groups)).then_some(Note::Groups))
}

/// The groups of a text, each with the position of its end.
fn groups(text: &str) -> Vec<(&str, usize)> {
    let is_gap = |c: char| c.is_whitespace() || parts_groups(c) && !is_unshowable(c);
    let mut at = 0;
    let groups = text.split_inclusive(is_gap).map(|part| {
        let start = at;
        at += part.len();
        let group = part.trim_end_matches(is_gap);
        (group, start + group.len())
    });
    groups.filter(|(group, _)| !group.is_empty()).collect()
}

/// Whether a seed may have this number of letters: one of 16 bytes has 26.
const fn is_usual(letters: usize) -> bool {
    letters.is_multiple_of(GROUP_CHARS) || letters == 26
}

/// Whether the last groups look like words, and the others are whole without them.
fn may_end_in_words(groups: &[(&str, usize)]) -> bool {
    // The letters of seeds of 10, 16, 20, 32, 40 and 64 bytes; and those of 15 and 25, which are rarer.
    const USUAL: [usize; 6] = [16, 26, 32, 52, 64, 103];
    const RARER: [usize; 2] = [24, 40];
    let total: usize = groups.iter().map(|(group, _)| letters(group)).sum();
    let mut left = total;
    let words = groups.iter().rev().map_while(|(group, _)| is_word(group).then(|| letters(group)));
    words.into_iter().any(|length| {
        left -= length;
        let is_whole = USUAL.contains(&left) || RARER.contains(&left);
        left > 0 && left.is_multiple_of(SEED_CHARS_USUAL) || is_whole && !USUAL.contains(&total)
    })
}

/// Whether a text can be spoken, as few groups of a seed can.
fn is_word(text: &str) -> bool {
    let is_vowel = |c: char| matches!(c.to_ascii_lowercase(), 'a' | 'e' | 'i' | 'o' | 'u' | 'y');
    let can_be_spoken = text.contains(is_vowel) && text.split(is_vowel).all(|run| run.len() < 3);
    can_be_spoken && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// Whether a text is base32 only because its words are, and dashes do not count.
pub(super) fn are_words(text: &str) -> bool {
    let groups = groups(text);
    has_odd_groups(&groups) && !text.bytes().any(|byte| byte.is_ascii_digit())
}

/// Whether a text is written like a seed, in one word or in groups, although it may be mistyped.
pub(super) fn is_like_seed(text: &str) -> bool {
    is_like_mistyped_seed(text) && text.chars().all(|c| c.is_ascii_alphanumeric() || parts_groups(c))
}

/// The same, although it may have other signs in it.
pub(super) fn is_like_mistyped_seed(text: &str) -> bool {
    let has = |is: fn(&u8) -> bool| text.as_bytes().iter().any(is);
    let is_mixed = has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase);
    let is_random = has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic) && !is_mixed;
    is_random && letters(text) >= SEED_CHARS_USUAL && !has_odd_groups(&groups(text))
}

/// The number of bare keys in a text, as words or in groups of one length.
pub(super) fn keys(text: &str) -> usize {
    let is_joint = |c: char| matches!(c, ':' | '=' | ',' | ';' | '|' | '"' | '\'' | '`' | '(' | ')' | '+');
    let parts = text.split(is_joint).flat_map(|part| {
        // The text after the scheme of an address belongs to the address.
        let end = if part.starts_with("//") { part.find(char::is_whitespace).unwrap_or(part.len()) } else { 0 };
        part.get(end..).unwrap_or_default().split('/')
    });
    let keys = parts.map(|part| {
        // A sentence may end in a key.
        let groups: Vec<&str> = groups(part).into_iter().map(|(group, _)| group.trim_end_matches('.')).collect();
        let is_one = |one: &&str, next: &&str| letters(one) == letters(next) && letters(one) < SEED_CHARS_USUAL;
        groups.chunk_by(is_one).filter(|groups| is_key(groups)).count()
    });
    keys.sum::<usize>().min(IMPORT_ENTRIES_MAX)
}

/// Whether groups are a bare key. Groups without a digit, or with letters of both cases, are rather words or a
/// password.
fn is_key(groups: &[&str]) -> bool {
    let has = |is: fn(&u8) -> bool| groups.iter().any(|group| group.as_bytes().iter().any(is));
    let (lower, upper) = (has(u8::is_ascii_lowercase), has(u8::is_ascii_uppercase));
    let length: usize = groups.iter().map(|group| letters(group)).sum();
    let is_name = matches!(groups, [word] if is_id_of_aws(word) || are_words_and_a_number(word));
    let is_in_capitals = || matches!(groups, [word] if is_in_random_capitals(word));
    let is_random = has(u8::is_ascii_digit) && lower != upper && !is_name || is_in_capitals();
    length >= SEED_CHARS_USUAL && is_random && groups.iter().all(|group| is_base32(group))
}

/// Whether a text is one word in capitals that can't be spoken: three in a hundred keys of 16 letters have no digit.
pub(super) fn is_in_random_capitals(text: &str) -> bool {
    let is_capital = |c: char| c.is_ascii_uppercase();
    let is_vowel = |c: char| matches!(c, 'A' | 'E' | 'I' | 'O' | 'U');
    let length = text.len();
    let has_run = || text.split(is_vowel).any(|run| run.len() > 3);
    let is_usual = length >= SEED_CHARS_USUAL && (is_usual(length) || length.is_multiple_of(8));
    is_usual && text.chars().all(is_capital) && has_run()
}

/// Whether a text is a sentence about a key: words of several lengths, most of which can be spoken.
pub(super) fn is_sentence(text: &str) -> bool {
    let groups: Vec<(&str, usize)> = groups(text);
    let mut words = text.split(|c: char| !c.is_alphabetic()).filter(|word| word.len() > 1).map(is_word);
    let (spoken, others) = words
        .by_ref()
        .fold((0, 0), |(spoken, others), is_word| if is_word { (spoken + 1, others) } else { (spoken, others + 1) });
    has_odd_groups(&groups)
        && spoken > others
        && keys(text) == 0
        && !groups.iter().any(|(group, _)| is_like_mistyped_seed(group))
}

/// Whether a word is an identifier of AWS, such as that of an access key: AKIA, ASIA, AROA and others begin them.
pub(super) fn is_id_of_aws(word: &str) -> bool {
    matches!(word.as_bytes(), [b'A', _, _, b'A', rest @ ..] if matches!(rest.len(), 16 | 17))
}

/// Whether a text is made of words that can be spoken, with a number among them, as names of users are.
pub(super) fn are_words_and_a_number(text: &str) -> bool {
    let mut words = text.split(|c: char| c.is_ascii_digit()).filter(|word| !word.is_empty());
    words.clone().count() < 3 && words.all(is_name)
}

/// Whether a text can be spoken as names can, which have more consonants together than words.
fn is_name(text: &str) -> bool {
    let is_vowel = |c: char| matches!(c.to_ascii_lowercase(), 'a' | 'e' | 'i' | 'o' | 'u' | 'y');
    text.contains(is_vowel) && text.split(is_vowel).all(|run| run.len() < 5)
}

/// Whether a text is written in groups of one length as services show keys, whatever is in them.
pub(super) fn is_grouped(text: &str) -> bool {
    let groups = groups(text);
    let is_group = |group: &str| letters(group) == GROUP_CHARS && group.chars().all(|c| c.is_ascii_alphanumeric());
    let words = groups.iter().filter(|(group, _)| is_word(group)).count();
    groups.len() > 2 && groups.iter().all(|(group, _)| is_group(group)) && words * 2 <= groups.len()
}

/// Whether groups are not of one length.
fn has_odd_groups(groups: &[(&str, usize)]) -> bool {
    let mut sizes = groups.iter().map(|(group, _)| letters(group));
    let size = sizes.next().unwrap_or_default();
    let sizes: Vec<usize> = sizes.collect();
    sizes.split_last().is_some_and(|(last, others)| *last > size || others.iter().any(|other| *other != size))
}

/// Whether a link or a seed that a file ends in does not look whole: base32 is written in groups of eight, and a period
/// has two digits.
pub(super) fn may_be_cut(text: &str) -> bool {
    if !text.contains("://") {
        return is_part(text);
    }
    // A link without parameters is refused.
    let Some((path, query)) = text.split_once('?') else { return false };
    let last = query.rsplit(['?', '&']).next().unwrap_or_default();
    // A name without a value, or the sign before it.
    let Some((name, value)) = last.split_once('=') else { return true };
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    let is_broken =
        value.is_empty() || value.rsplit('%').next().is_some_and(|end| end.len() < 2 && value.contains('%'));
    if is("period") {
        value.trim().len() < 2
    } else if is("secret") {
        is_part(value)
    } else if is("issuer") {
        is_broken || begins_prefix(path, value)
    } else if last.starts_with(ENTE) {
        is_broken || display_of(text).is_none()
    } else {
        is_broken
    }
}

/// Ente's data on an entry, if it can be read.
pub(super) fn display_of(link: &str) -> Option<Json> {
    let (_, display) = link.split_once(ENTE)?;
    let display = display.split(['&', '#']).next().unwrap_or_default();
    let display = percent_encoding::percent_decode_str(display).decode_utf8_lossy();
    Json::parse(&display.replace('+', " ")).ok()
}

/// Whether an issuer is the beginning of the one that the label has before its colon.
fn begins_prefix(path: &str, issuer: &str) -> bool {
    let label = path.rsplit('/').next().unwrap_or_default();
    let rest = label.split_at_checked(issuer.len()).filter(|(start, _)| start.eq_ignore_ascii_case(issuer));
    let is_longer = |rest: &str| {
        let colon = rest.find(':').or_else(|| rest.find("%3A")).or_else(|| rest.find("%3a"));
        colon.is_some_and(|at| at > 0)
    };
    rest.is_some_and(|(_, rest)| is_longer(rest))
}

fn is_part(seed: &str) -> bool {
    !letters(seed).is_multiple_of(8)
}

fn letters(text: &str) -> usize {
    text.chars().filter(|c| !parts_groups(*c)).count()
}

fn is_base32(text: &str) -> bool {
    let is_symbol = |c: char| matches!(c, 'a'..='z' | 'A'..='Z' | '2'..='7') || parts_groups(c);
    text.trim_end_matches('=').chars().all(is_symbol)
}

/// Whether a word has no letter of the case that `first` lacks; any word fits if `first` has both cases or none.
fn are_in_one_case(first: &str, word: &str) -> bool {
    let has = |text: &str, is: fn(&u8) -> bool| text.as_bytes().iter().any(is);
    let (lower, upper) = (has(first, u8::is_ascii_lowercase), has(first, u8::is_ascii_uppercase));
    let mixes = lower == upper;
    mixes || lower && !has(word, u8::is_ascii_uppercase) || upper && !has(word, u8::is_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_in_groups_ends_where_a_word_follows_that_is_no_group_of_it() {
        const G: &str = "gezd gnbv gy3t qojq";
        let twice = format!("{G} {G}");
        for (text, read, note) in [
            ("", "", None),
            ("GEZDGNBVGY3TQOJQ", "GEZDGNBVGY3TQOJQ", None),
            (G, G, None),
            (&twice, &twice, None),
            (&format!("{G} for bob"), G, Some(Note::Around)),
            (&format!("{G} bob"), G, Some(Note::Around)),
            (&format!("{G} (bob)"), G, Some(Note::Around)),
            (&format!("{G} FROM"), G, Some(Note::Around)),
            (&format!("{G} from bank"), &format!("{G} from bank"), Some(Note::Groups)),
            (&format!("{G} this bank from here"), &format!("{G} this bank from here"), Some(Note::Groups)),
            ("GEZDGNBVGY3TQOJQ GEZDGNBVGY3TQOJQ", "GEZDGNBVGY3TQOJQ GEZDGNBVGY3TQOJQ", Some(Note::Groups)),
            ("GEZDGNBVGY3TQOJQ GEZDGNBVGY", "GEZDGNBVGY3TQOJQ GEZDGNBVGY", Some(Note::Groups)),
            ("GEZDGNBVGY3TQOJQGE GEZDGNBV", "GEZDGNBVGY3TQOJQGE GEZDGNBV", Some(Note::Groups)),
            ("GEZDGN BVGY3TQOJQ GEZD3NBVGY", "GEZDGN BVGY3TQOJQ GEZD3NBVGY", None),
            ("seed GEZDGNBVGY3TQOJQ", "seed GEZDGNBVGY3TQOJQ", Some(Note::Groups)),
            ("gezd-gnbv-gy3t-qojq-from-bank", "gezd-gnbv-gy3t-qojq-from-bank", Some(Note::Groups)),
            ("gezd-gnbv-gy3t-qojq for bob", "gezd-gnbv-gy3t-qojq", Some(Note::Around)),
            ("gezdg\u{ad}nbvgy3tqojq", "gezdg\u{ad}nbvgy3tqojq", None),
            ("GEZDGNBVGY3TQOJQ for bob", "GEZDGNBVGY3TQOJQ", Some(Note::Around)),
            ("jbsw y3dp ehpk 3pxp jbsw y3dp eb", "jbsw y3dp ehpk 3pxp jbsw y3dp eb", None),
            (&format!("{G} gezd"), &format!("{G} gezd"), Some(Note::Groups)),
            (&format!("{G} gnbv"), &format!("{G} gnbv"), None),
            ("jbsw y3 dpehpk", "jbsw y3 dpehpk", Some(Note::Groups)),
            // A seed of 32 bytes has 52 letters.
            (
                &format!("{} mail", "gezdgnbv ".repeat(6).trim()),
                &format!("{} mail", "gezdgnbv ".repeat(6).trim()),
                Some(Note::Groups),
            ),
            (
                &format!("{} gy3t", "gezdgnbv ".repeat(6).trim()),
                &format!("{} gy3t", "gezdgnbv ".repeat(6).trim()),
                None,
            ),
            (&format!("{G} gezd gy3t"), &format!("{G} gezd gy3t"), None),
        ] {
            assert_eq!(seed(text), (read, note), "{text}");
        }
    }

    #[test]
    fn bare_keys_are_told_from_words_and_counted() {
        for key in [
            "GEZDGNBVGY3TQOJQ",
            "GitHub: gezd gnbv gy3t qojq",
            "GitHub GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
            "key=\"GEZDGNBVGY3TQOJQ\"",
            "gezd-gnbv-gy3t-qojq",
            "GitHub gezd gnbv gy3t qojq for bob",
        ] {
            assert_eq!(keys(key), 1, "{key}");
        }
        for other in [
            "",
            "hunter2",
            "user: ada",
            "correct horse battery staple",
            "https://example.com/steam",
            "correcthorsebatterystaple",
            "CorrectHorseBatteryStaple",
            "user: john-smith-accounts",
            "department: Telecommunication",
            "license: ABCDE-FGHIJ-KLMNO-PQRST-UVWXY",
            "4242 4242 4242 4242",
            "AKIAIOSFODNN7EXAMPLE",
            "production2environment",
        ] {
            assert_eq!(keys(other), 0, "{other}");
        }
        for two in ["gezd gnbv gy3t qojq / jbsw y3dp ehpk 3pxp", "a: GEZDGNBVGY3TQOJQ b: JBSWY3DPEHPK3PXP"] {
            assert_eq!(keys(two), 2, "{two}");
        }
    }

    #[test]
    fn a_link_that_a_file_ends_in_is_cut_where_a_parameter_is_not_whole() {
        const LINK: &str = "otpauth://totp/GitHub:a?secret=GEZDGNBVGY3TQOJQ";
        for end in [
            "&",
            "&per",
            "&iss",
            "&issuer=",
            "&issuer=Git",
            "&issuer=Acme%2",
            "&issuer=Acme%",
            "&period=6",
            "&digits=",
            "&codeDisplay=%7B%22tra",
        ] {
            assert!(may_be_cut(&format!("{LINK}{end}")), "{end}");
        }
        for end in [
            "",
            "&issuer=GitHub",
            "&issuer=Acme%20Co",
            "&period=60",
            "&digits=8",
            "&codeDisplay=%7B%22trashed%22:true%7D",
        ] {
            assert!(!may_be_cut(&format!("{LINK}{end}")), "{end}");
        }
    }
}
