//! Where a secret ends: words stand behind it, it may be written in groups, and a file may be cut in the middle of it. A
//! word such as `from` is base32, too, so a seed is never taken to be longer than it surely is without a word about it.

use super::{entry::Note, json::Json};
use crate::domain::characters::parts_groups;

/// Letters of a seed that is whole without the groups behind it: every service's seed has as many.
const SEED_CHARS_USUAL: usize = 16;
/// Letters of the groups in which services show a seed. The lengths of seeds are multiples of it, but for 26.
const GROUP_CHARS: usize = 4;
/// The parameters whose values have no words in them.
const WITHOUT_WORDS: [&str; 4] = ["digits", "period", "algorithm", "single_use"];
/// The link's parameter in which Ente keeps what it knows of an entry, as JSON.
pub(super) const ENTE: &str = "codeDisplay=";

/// A link without the words behind it, as far as they can be told from it: an issuer has spaces, too.
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

/// What is doubtful about a seed in groups that other parameters, or words with a sign of them, follow.
fn doubt_within(link: &str) -> Option<Note> {
    let pairs = link.split(['?', '&']).filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("secret"))?;
    seed(value).1.map(|_| Note::Groups)
}

/// The seed that a text begins with, and what is doubtful about its end. Groups have one length, and the last one may be
/// shorter.
pub(super) fn seed(text: &str) -> (&str, Option<Note>) {
    let mut at = 0;
    let words = text.split_inclusive(char::is_whitespace).map(|part| {
        let start = at;
        at += part.len();
        let word = part.trim_end();
        (word, start + word.len())
    });
    let words: Vec<(&str, usize)> = words.filter(|(word, _)| !word.is_empty()).collect();
    let [(first, end), others @ ..] = words.as_slice() else { return (text, None) };
    if others.is_empty() {
        return (text, None);
    }
    let size = letters(first);
    let is_group = |word: &str| size <= SEED_CHARS_USUAL && is_base32(word) && are_in_one_case(first, word);
    let same = others.iter().take_while(|(word, _)| letters(word) == size && is_group(word)).count();
    let before_last = size * (same + 1);
    let (groups, total) = match others.get(same..) {
        // A usual length is whole without it, unless it is one with it, too.
        Some([(last, _)])
            if letters(last) < size
                && is_group(last)
                && (!before_last.is_multiple_of(SEED_CHARS_USUAL)
                    || (before_last + letters(last)).is_multiple_of(GROUP_CHARS)) =>
        {
            (others.len(), before_last + letters(last))
        }
        _ => (same, before_last),
    };
    if groups < others.len() && total >= SEED_CHARS_USUAL {
        let end = groups.checked_sub(1).and_then(|last| others.get(last)).map_or(*end, |(_, end)| *end);
        return (text.get(..end).unwrap_or(text), Some(Note::Around));
    }
    let symbols = || text.chars().filter(char::is_ascii_alphanumeric);
    let may_be_words = total > SEED_CHARS_USUAL && !symbols().skip(SEED_CHARS_USUAL).any(|c| c.is_ascii_digit());
    let ends_in_group = || others.last().is_some_and(|(last, _)| last.bytes().any(|byte| byte.is_ascii_digit()));
    let is_whole = total.is_multiple_of(SEED_CHARS_USUAL) || ends_in_group();
    let is_usual = groups == others.len() && is_whole && size < SEED_CHARS_USUAL;
    (text, (!is_usual || may_be_words).then_some(Note::Groups))
}

/// Whether a text holds two seeds, or one in two long parts: nobody can tell.
pub(super) fn are_several(text: &str) -> bool {
    let whole = |parts: &mut dyn Iterator<Item = &str>| parts.filter(|part| is_whole(part)).count();
    let words = || text.split_whitespace();
    // Two groups of 16 in one line are rather one seed.
    let are_groups = words().count() == 2 && words().all(|word| letters(word) == SEED_CHARS_USUAL);
    whole(&mut words()) > 1 && !are_groups || whole(&mut text.lines()) > 1
}

/// Whether a text holds a bare key, as a word or in groups behind a name.
pub(super) fn holds_key(text: &str) -> bool {
    let joints = |c: char| c.is_whitespace() || matches!(c, ':' | '=' | ',' | ';' | '|' | '"' | '\'' | '`' | '(' | ')');
    // What has no digit, or letters of both cases, is rather words or a password.
    let is_key = |text: &str| {
        let has = |is: fn(&u8) -> bool| text.as_bytes().iter().any(is);
        let is_mixed = has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase);
        is_whole(text) && has(u8::is_ascii_digit) && !is_mixed
    };
    let behind = text.rsplit([':', '=']).next().unwrap_or_default().trim();
    let is_grouped = || is_key(behind) && seed(behind).0.len() == behind.len() && !has_odd_groups(behind);
    text.split(joints).any(is_key) || is_grouped()
}

/// Whether the words of a text are no groups of one length.
fn has_odd_groups(text: &str) -> bool {
    let mut sizes = text.split_whitespace().map(letters);
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

/// What Ente knows of an entry, if that can be read.
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

/// Whether a text is base32 of a usual length.
fn is_whole(text: &str) -> bool {
    letters(text) >= SEED_CHARS_USUAL && is_base32(text)
}

/// Whether a word has no letter of the other case than the only one of the first.
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
            ("GEZDGNBVGY3TQOJQ for bob", "GEZDGNBVGY3TQOJQ", Some(Note::Around)),
            ("jbsw y3dp ehpk 3pxp jbsw y3dp eb", "jbsw y3dp ehpk 3pxp jbsw y3dp eb", Some(Note::Groups)),
            ("jbsw y3 dpehpk", "jbsw y3 dpehpk", Some(Note::Groups)),
            // A seed of 32 bytes has 52 letters.
            (
                &format!("{} mzxw", "gezdgnbv ".repeat(6).trim()),
                &format!("{} mzxw", "gezdgnbv ".repeat(6).trim()),
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
    fn a_bare_key_is_told_from_words() {
        for key in [
            "GEZDGNBVGY3TQOJQ",
            "GitHub: gezd gnbv gy3t qojq",
            "GitHub GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
            "key=\"GEZDGNBVGY3TQOJQ\"",
            "gezd-gnbv-gy3t-qojq",
        ] {
            assert!(holds_key(key), "{key}");
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
        ] {
            assert!(!holds_key(other), "{other}");
        }
        assert!(
            are_several("GEZDGNBVGY3TQOJQ GEZDGNBVGY3TQOJQ GEZDGNBVGY3TQOJQ")
                && are_several("gezd gnbv gy3t qojq\ngezd gnbv gy3t qojq")
        );
        assert!(!are_several("GEZDGNBVGY3TQOJQ for bob"));
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
