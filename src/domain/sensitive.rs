//! Whether a free text seems to hold something that must not be kept in clear. It catches what people and models paste
//! without thinking; somebody who wants to hide a seed in prose can.

use std::path::{MAIN_SEPARATOR, MAIN_SEPARATOR_STR, Path};

/// Characters of a seed from which on it is recognised: ten bytes in base32, the shortest that real services issue.
const SEED_CHARS_MIN: usize = 16;
/// The same for what is all of a file's name: five bytes.
const BARE_SEED_CHARS_MIN: usize = 8;
/// Letters in one case from which on a run without any digit is no word of any language.
const WORD_CHARS_MAX: usize = 24;

/// Whether a text seems to hold a seed, a code, a URI, a key of ours or an e-mail address.
///
/// Prose passes: words, years, dates, versions, small numbers. What it can't tell apart it takes for a secret: a ticket
/// number of six digits is refused like a code.
pub fn looks_sensitive(text: &str) -> bool {
    holds_uri(text) || holds_email(text) || holds_key(text) || holds_seed_or_code(text)
}

/// A path as it may be shown: a part of it that seems to hold a seed is left out, and so is a whole one that holds an
/// otpauth URI. Somebody may have typed it where the name of a file belongs.
pub fn without_seeds(path: &Path) -> String {
    const WITHHELD: &str = "…";
    let shown = path.display().to_string();
    if holds_otpauth(&shown) {
        return WITHHELD.to_owned();
    }
    let part = |part| if holds_seed(part) || is_bare_seed(part) { WITHHELD } else { part };
    shown.split(MAIN_SEPARATOR).map(part).collect::<Vec<_>>().join(MAIN_SEPARATOR_STR)
}

/// Base32 as seeds are printed, and nothing else.
fn is_bare_seed(part: &str) -> bool {
    part.len() >= BARE_SEED_CHARS_MIN && part.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'2'..=b'7'))
}

fn holds_uri(text: &str) -> bool {
    text.contains("://") || holds_otpauth(text)
}

fn holds_otpauth(text: &str) -> bool {
    text.to_ascii_lowercase().contains("otpauth")
}

/// `local@domain`, but not `@scope/package`, which is what some clients call themselves.
fn holds_email(text: &str) -> bool {
    let ends_a_name = |c: char| c.is_alphanumeric() || "._%+-\"".contains(c);
    text.match_indices('@').any(|(at, _)| {
        let (before, after) = (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default());
        before.ends_with(ends_a_name) && after.starts_with(|c: char| c.is_alphanumeric() || c == '[')
    })
}

/// `cs_` at the start of a word: `docs_index` is none.
fn holds_key(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    lower.match_indices("cs_").any(|(at, prefix)| {
        let (before, after) = (lower.get(..at).unwrap_or_default(), lower.get(at + prefix.len()..).unwrap_or_default());
        !before.ends_with(char::is_alphanumeric) && after.starts_with(|c: char| c.is_ascii_alphanumeric())
    })
}

fn holds_seed_or_code(text: &str) -> bool {
    pieces(text).iter().any(|piece| is_code(piece.text) || is_seed(piece.text)) || holds_groups(&pieces(text))
}

/// What has the look of a code is let through: dates and process ids have it too.
fn holds_seed(text: &str) -> bool {
    let pieces = pieces(text);
    pieces.iter().any(|piece| is_seed(piece.text))
        || rows(&pieces).any(|row| is_grouped_seed(row.with_last(), row.width))
}

/// A run of ASCII letters and digits of any script.
struct Piece<'a> {
    text: &'a str,
    /// Whether only spaces and dashes part it from the piece before: people group seeds and codes with them, while
    /// `10:30:45`, `192.168.1.1` and `123,456` are something else.
    joined: bool,
}

/// Letters of other scripts part pieces like punctuation: Chinese has no spaces, so that a whole sentence would be one.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(belongs) {
        let (gap, tail) = rest.split_at(start);
        let end = tail.find(|c| !belongs(c)).unwrap_or(tail.len());
        let (piece, after) = tail.split_at(end);
        let joined = !pieces.is_empty() && gap.chars().all(|c| c.is_whitespace() || is_dash(c));
        pieces.push(Piece { text: piece, joined });
        rest = after;
    }
    pieces
}

fn belongs(c: char) -> bool {
    c.is_ascii_alphabetic() || c.is_numeric()
}

fn is_dash(c: char) -> bool {
    matches!(c, '-' | '\u{2010}'..='\u{2015}')
}

/// `123456`, in the digits of any script.
fn is_code(piece: &str) -> bool {
    (6..=8).contains(&piece.chars().count()) && piece.chars().all(char::is_numeric)
}

/// A seed in one piece: base32, but base64 and hexadecimal have the same look.
fn is_seed(piece: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| piece.as_bytes().iter().any(kind);
    let shouted = !has(u8::is_ascii_lowercase);
    let one_case = shouted || !has(u8::is_ascii_uppercase);
    match piece.chars().count() {
        0..SEED_CHARS_MIN => false,
        SEED_CHARS_MIN..WORD_CHARS_MAX => shouted || has(u8::is_ascii_digit),
        _ => one_case || has(u8::is_ascii_digit),
    }
}

/// Pieces of one length in a row, and a shorter one that may end it.
struct Groups<'a> {
    width: usize,
    alike: &'a [Piece<'a>],
    last: Option<&'a Piece<'a>>,
}

impl<'a> Groups<'a> {
    fn with_last(&self) -> impl Iterator<Item = &'a Piece<'a>> {
        self.alike.iter().chain(self.last)
    }
}

/// A seed or a code in groups, as apps show them.
fn holds_groups(pieces: &[Piece<'_>]) -> bool {
    rows(pieces).any(|row| is_grouped_code(row.alike, row.width) || is_grouped_seed(row.with_last(), row.width))
}

/// The rows that begin at each piece.
fn rows<'a>(pieces: &'a [Piece<'a>]) -> impl Iterator<Item = Groups<'a>> {
    (0..pieces.len()).map(|first| {
        let row = pieces.get(first..).unwrap_or_default();
        let width = row.first().map_or(0, |piece| piece.text.chars().count());
        let more = row.iter().skip(1).take_while(|piece| piece.joined && piece.text.chars().count() == width).count();
        let alike = row.get(..=more).unwrap_or_default();
        let last = row.get(more + 1).filter(|piece| piece.joined && piece.text.chars().count() < width);
        Groups { width, alike, last }
    })
}

/// `123 456`, `1234-5678`, `12 34 56`, `1 2 3 4 5 6`, but not `2024-2025`.
fn is_grouped_code(groups: &[Piece<'_>], width: usize) -> bool {
    let is_year = |piece: &Piece<'_>| piece.text.len() == 4 && ["19", "20"].iter().any(|c| piece.text.starts_with(c));
    let count = groups.iter().take_while(|piece| piece.text.chars().all(char::is_numeric)).count();
    let whole = matches!((width, count), (1, 6..=8) | (2, 3 | 4) | (3 | 4, 2));
    whole && !groups.iter().take(count).all(is_year)
}

/// `JBSW Y3DP EHPK 3PXP` in any case. Words of one length in a row have no digits amid their letters.
fn is_grouped_seed<'a>(groups: impl Iterator<Item = &'a Piece<'a>>, width: usize) -> bool {
    let is_base32 =
        |piece: &&Piece<'_>| piece.text.bytes().all(|b| b.is_ascii_alphabetic() || matches!(b, b'2'..=b'7'));
    let (mut chars, mut mixed, mut shouted) = (0, false, true);
    for piece in groups.take_while(is_base32) {
        let has = |kind: fn(&u8) -> bool| piece.text.as_bytes().iter().any(kind);
        chars += piece.text.len();
        mixed |= has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic);
        shouted &= !has(u8::is_ascii_lowercase);
    }
    (3..=8).contains(&width) && chars >= SEED_CHARS_MIN && (mixed || shouted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: bool) {
        assert_eq!(looks_sensitive(text), expected, "{text}");
    }

    #[test]
    fn prose_passes() {
        for text in [
            "",
            "log in to GitHub for the nightly release",
            "deploy 2024 release notes to staging",
            "nightly release 2024-05-01 of v2.13.4",
            "from 10:30:45 to 11:00, ports 22, 80 and 443",
            "compare fiscal years 2024-2025",
            "rotate the certificates of 192.168.100.200",
            "process 123,456 rows of metrics_export and docs_index",
            "internationalization of the GitHub onboarding",
            "refactor AbstractSingletonProxyFactoryBean",
            "copy the s3 bucket to ec2 for team 42",
            "this will help team with that open task",
            "from open port 4444 with test data",
            "2 + 2 = 4, and 3-4 people wait",
            "登录到生产环境发布版本2并检查日志是否正常",
            "Übergabe für Größe 12 an Müller",
            "@modelcontextprotocol/inspector",
            "meet @ noon",
            "countersign-cli 1.4.0-beta.2",
            "ACME CORP STAGING ACCOUNT",
        ] {
            check(text, false);
        }
    }

    #[test]
    fn seeds_are_found_however_they_are_written() {
        for text in [
            "JBSWY3DPEHPK3PXP",
            "jbswy3dpehpk3pxp",
            "the seed is JBSWY3DPEHPK3PXP.",
            "seed=JBSWY3DPEHPK3PXP",
            "jbsw y3dp ehpk 3pxp",
            "JBSW Y3DP EHPK 3PXP",
            "JBSW-Y3DP-EHPK-3PXP",
            "use jbsw y3dp ehpk 3pxp now",
            "gezdg nbvgy 3tqoj q",
            "gezdgnbv gy3tqojq",
            "GEZ DGN BVG Y3T QOJ Q",
            "ABCDEFGHIJKLMNOP",
            "ABCD EFGH IJKL MNOP",
            "abcdefghijklmnopqrstuvwxyzabcdef",
            "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
            "种子JBSWY3DPEHPK3PXP种子",
            "3132333435363738393031323334353637383930",
            "dGhpcyBpcyBhIHNlZWQ5MTIz",
        ] {
            check(text, true);
        }
    }

    #[test]
    fn codes_are_found_however_they_are_written() {
        for text in [
            "123456",
            "code 123456",
            "code:123456.",
            "1234567",
            "12345678",
            "123 456",
            "123-456",
            "123\u{2013}456",
            "1234 5678",
            "12 34 56",
            "1 2 3 4 5 6",
            "9-8-7-6-5-4-3-2",
            "the code 123 456 for 2 people",
            "１２３４５６",
            "١٢٣٤٥٦",
            "验证码123456已发送",
        ] {
            check(text, true);
        }
    }

    #[test]
    fn uris_keys_and_addresses_are_found() {
        for text in [
            "otpauth://totp/a?secret=AA",
            "OTPAUTH://TOTP/A",
            "otpauth%3A%2F%2Ftotp",
            "otpauth-migration://offline?data=x",
            "see https://example.com/reset?token=1",
            "cs_abc",
            "with cs_0123456789ab_x",
            "(CS_0123456789AB_x)",
            "ada@example.com",
            "for ada.lovelace+work@example.com, please",
            "<ada_@localhost>",
            "\"ada\"@example.com",
        ] {
            check(text, true);
        }
    }

    #[test]
    fn a_path_is_shown_without_what_looks_like_a_seed() {
        for (path, shown) in [
            ("/home/ada/.config/countersign/keys/01900000-0000-7000-8000-000000000001.key", None),
            ("/run/user/1000/vault-20261122/vault.db", None),
            ("relative.key", None),
            ("/home/ada/JBSWY3DPEHPK3PXP/vault.db", Some("/home/ada/…/vault.db")),
            ("/home/ADA/JBSWY3DP", Some("/home/ADA/…")),
            ("/home/ada/jbsw y3dp ehpk 3pxp", Some("/home/ada/…")),
            ("/home/ada/otpauth:/totp/a?secret=AA", Some("…")),
        ] {
            assert_eq!(without_seeds(Path::new(path)), shown.unwrap_or(path));
        }
    }

    proptest! {
        #[test]
        fn every_code_is_found_in_one_piece_and_in_halves(code in 0..100_000_000_u32, joint in "[ -]") {
            let (six, eight) = (format!("{:06}", code % 1_000_000), format!("{code:08}"));
            for code in [six, eight] {
                prop_assert!(looks_sensitive(&["code ", &code, " please"].concat()));
                let (one, other) = code.split_at(code.len() / 2);
                let years = code.len() == 8 && [one, other].iter().all(|half| half.starts_with("19") || half.starts_with("20"));
                prop_assert!(years || looks_sensitive(&[one, &joint, other].concat()));
            }
        }

        #[test]
        fn every_upper_case_seed_is_found_in_one_piece_and_in_groups(seed in "[A-Z2-7]{16,64}", width in 4..=8_usize, joint in "[ -]") {
            prop_assert!(looks_sensitive(&["seed ", &seed, " please"].concat()));
            // Only digits in a group, and no mixed group at all, can't be told from numbers between words.
            let groups: Vec<&str> = seed.as_bytes().chunks(width).filter_map(|group| std::str::from_utf8(group).ok()).collect();
            prop_assert!(looks_sensitive(&groups.join(&joint)));
        }

        #[test]
        fn lower_case_words_without_digits_pass(words in proptest::collection::vec("[a-z]{1,15}", 0..20)) {
            prop_assert!(!looks_sensitive(&words.join(" ")));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*") {
            let _ = looks_sensitive(&text);
        }
    }
}
