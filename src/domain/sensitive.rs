//! Finds in free text what must not be stored in clear: a seed, a code, a URI, a key or an e-mail address. It catches
//! what people and models paste without thinking; it can't stop a person who hides a seed in prose on purpose.

use std::{
    ops::Range,
    path::{MAIN_SEPARATOR, MAIN_SEPARATOR_STR, Path},
};

use super::characters::parts_groups;

/// The replacement for a masked part.
pub const MASK: &str = "[masked]";

/// The fewest characters recognised as a seed: ten bytes in base32, the shortest that real services issue.
const SEED_CHARS_MIN: usize = 16;
/// The same for a text that is a whole part of a path: five bytes.
const BARE_SEED_CHARS_MIN: usize = 8;
/// A run of this many letters in one case, without a digit, is not a word of any language.
const WORD_CHARS_MAX: usize = 24;
/// The longest group in which capitals alone make a row of groups look like a seed: longer groups are words.
const SHOUTED_GROUP_CHARS_MAX: usize = 8;
/// The longest range of years (`2024-2025`) that is not taken for an eight-digit code in two halves.
const YEARS_MAX: u32 = 10;

/// How to treat a run of letters that may be a seed without digits or a long word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LongWords {
    /// Mask it: the stored text must hold no seed, and can do without a word.
    Masked,
    /// Let it pass: a name without it would be useless.
    Pass,
}

/// A text with [`MASK`] in place of everything that looks like a secret: a URI, an e-mail address, a key of ours, 6 or
/// 8 digits in a row, 16 or more letters and digits in a row, and codes and seeds in groups, as apps show them.
///
/// Prose, years, dates, versions and small numbers stay. Ambiguous text is masked: a six-digit ticket number looks like
/// a code.
pub fn masked(text: &str) -> String {
    replaced(text, secrets_in(text, LongWords::Masked))
}

/// A name with [`MASK`] in place of what looks like a seed or an otpauth URI. Words, addresses and numbers stay.
pub fn with_seeds_masked(text: &str) -> String {
    let mut spans = seeds_in(text, LongWords::Pass);
    spans.extend(otpauth_uri_in(text));
    replaced(text, spans)
}

fn replaced(text: &str, mut spans: Vec<Range<usize>>) -> String {
    spans.sort_by_key(|span| (span.start, span.end));
    let (mut shown, mut end) = (String::with_capacity(text.len()), 0);
    for span in spans {
        if span.start >= end {
            shown.push_str(text.get(end..span.start).unwrap_or_default());
            shown.push_str(MASK);
        }
        end = end.max(span.end);
    }
    shown.push_str(text.get(end..).unwrap_or_default());
    shown
}

/// Whether a name, such as a program's or a field's, seems to hold a secret. Long words of letters alone pass.
pub fn looks_sensitive(text: &str) -> bool {
    !secrets_in(text, LongWords::Pass).is_empty()
}

/// Returns a path for display. Components that look like a seed are replaced by `…`, and so is the whole of a path that
/// contains an otpauth URI: a secret may have been typed where a file name belongs.
pub fn without_seeds(path: &Path) -> String {
    const WITHHELD: &str = "…";
    let shown = path.display().to_string();
    if shown.to_ascii_lowercase().contains("otpauth") {
        return WITHHELD.to_owned();
    }
    let part = |part| if is_bare_seed(part) || !seeds_in(part, LongWords::Pass).is_empty() { WITHHELD } else { part };
    shown.split(MAIN_SEPARATOR).map(part).collect::<Vec<_>>().join(MAIN_SEPARATOR_STR)
}

/// Whether a part of a path is base32 as seeds are printed, and nothing else.
fn is_bare_seed(part: &str) -> bool {
    part.len() >= BARE_SEED_CHARS_MIN && part.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'2'..=b'7'))
}

fn secrets_in(text: &str, words: LongWords) -> Vec<Range<usize>> {
    let mut spans = uris_in(text);
    spans.extend(emails_in(text));
    spans.extend(keys_in(text));
    spans.extend(codes_in(text));
    spans.extend(seeds_in(text, words));
    spans
}

/// URIs, each up to the next space. An otpauth URI goes on to the end of the text: its label may hold spaces.
fn uris_in(text: &str) -> Vec<Range<usize>> {
    let of_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let plain = text.match_indices("://").map(|(at, _)| {
        let before = text.get(..at).unwrap_or_default();
        let end = text.get(at..).unwrap_or_default().find(char::is_whitespace).map_or(text.len(), |length| at + length);
        before.trim_end_matches(of_scheme).len()..end
    });
    plain.chain(otpauth_uri_in(text)).collect()
}

fn otpauth_uri_in(text: &str) -> Option<Range<usize>> {
    const OTPAUTH: &str = "otpauth";
    let lower = text.to_ascii_lowercase();
    let mut found = lower.match_indices(OTPAUTH).filter(|(at, _)| {
        let after = lower.get(at + OTPAUTH.len()..).unwrap_or_default();
        after.strip_prefix("-migration").unwrap_or(after).starts_with([':', '%'])
    });
    found.next().map(|(at, _)| at..text.len())
}

/// E-mail addresses, but not `@scope/package`, which some clients use as their name. Each part of the text between spaces
/// and brackets is looked at once: a row of `a@a@a@…` costs no more than prose.
fn emails_in(text: &str) -> Vec<Range<usize>> {
    let ends_a_name = |c: char| c.is_alphanumeric() || "._%+-\"".contains(c);
    let parts = |c: char| c.is_whitespace() || "<>(){},;:".contains(c);
    let mut begin = 0;
    let pieces = text.split_inclusive(parts).map(|piece| {
        begin += piece.len();
        (begin - piece.len(), piece.trim_end_matches(parts))
    });
    let around = pieces.filter_map(|(begin, piece)| {
        piece.match_indices('@').find_map(|(at, _)| {
            let (before, after) = (piece.get(..at)?, piece.get(at + 1..)?);
            let is_one = before.ends_with(ends_a_name) && after.starts_with(|c: char| c.is_alphanumeric() || c == '[');
            let domain = after.trim_end_matches(['.', '!', '?', '\'', '"']);
            is_one.then(|| begin..begin + at + 1 + domain.len())
        })
    });
    around.collect()
}

/// Keys: `cs_` at the start of a word, and the characters that follow. `docs_index` is not one.
fn keys_in(text: &str) -> Vec<Range<usize>> {
    let lower = text.to_ascii_lowercase();
    let keys = lower.match_indices("cs_").filter_map(|(at, prefix)| {
        let (before, after) = (lower.get(..at)?, lower.get(at + prefix.len()..)?);
        let is_one = !before.ends_with(char::is_alphanumeric) && after.starts_with(|c: char| c.is_ascii_alphanumeric());
        let length = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(after.len());
        is_one.then(|| at..at + prefix.len() + length)
    });
    keys.collect()
}

/// A run of characters of one kind.
struct Run<'a> {
    text: &'a str,
    begin: usize,
    /// The text between it and the run before; `None` for the first.
    gap: Option<&'a str>,
}

impl Run<'_> {
    fn chars(&self) -> usize {
        self.text.chars().count()
    }

    fn span(&self) -> Range<usize> {
        self.begin..self.begin + self.text.len()
    }

    fn has(&self, kind: fn(&u8) -> bool) -> bool {
        self.text.as_bytes().iter().any(kind)
    }

    /// Whether only characters that `by` accepts separate it from the run before.
    fn is_joined(&self, by: fn(char) -> bool) -> bool {
        self.gap.is_some_and(|gap| gap.chars().all(by))
    }
}

fn runs_of(text: &str, belongs: fn(char) -> bool) -> Vec<Run<'_>> {
    let (mut runs, mut end): (Vec<Run<'_>>, usize) = (Vec::new(), 0);
    while let Some(rest) = text.get(end..)
        && let Some(start) = rest.find(belongs)
    {
        let (gap, tail) = rest.split_at(start);
        let length = tail.find(|c| !belongs(c)).unwrap_or(tail.len());
        let gap = (!runs.is_empty()).then_some(gap);
        runs.push(Run { text: tail.get(..length).unwrap_or_default(), begin: end + start, gap });
        end += start + length;
    }
    runs
}

/// Codes: 6 or 8 digits of any script, in one run, or in runs separated only by spaces and dashes: `123456`, `123 456`,
/// `1234-5678`, `12 34 56`, `1 2 3 4 5 6`. `10:30:45`, `192.168.1.1`, `123,456` and dates with dashes are not codes.
fn codes_in(text: &str) -> Vec<Range<usize>> {
    let runs = runs_of(text, char::is_numeric);
    let dated = dates_in(&runs);
    let mut spans = Vec::new();
    for first in 0..runs.len() {
        let (mut digits, mut begin) = (0, None);
        for (at, run) in runs.iter().enumerate().skip(first) {
            let goes_on = begin.is_none() || run.is_joined(parts_groups);
            if !goes_on || dated.contains(&at) || digits + run.chars() > 8 {
                break;
            }
            digits += run.chars();
            let begin = *begin.get_or_insert(run.begin);
            if matches!(digits, 6 | 8) {
                spans.push(begin..run.span().end);
            }
        }
    }
    spans
}

/// Which runs of digits are parts of a date (`2024-05-01`, `2024-05`) or of a range of years (`2024-2025`).
fn dates_in(runs: &[Run<'_>]) -> Vec<usize> {
    let number = |at: usize, digits: usize, dashed: bool| {
        let run = runs.get(at).filter(|run| run.text.len() == digits && (!dashed || run.gap == Some("-")))?;
        run.text.parse::<u32>().ok()
    };
    let year = |at, dashed| number(at, 4, dashed).filter(|year| (1900..2100).contains(year));
    let within = |at, most| number(at, 2, true).is_some_and(|number| (1..=most).contains(&number));
    let mut dated = Vec::new();
    for at in 0..runs.len() {
        let Some(begin) = year(at, false) else { continue };
        let is_range = year(at + 1, true).is_some_and(|end| (begin..=begin + YEARS_MAX).contains(&end));
        let count = match (is_range, within(at + 1, 12), within(at + 2, 31)) {
            (true, ..) | (_, true, false) => 2,
            (_, true, true) => 3,
            (false, false, _) => continue,
        };
        dated.extend(at..at + count);
    }
    dated
}

/// Seeds in one piece, and in groups.
fn seeds_in(text: &str, words: LongWords) -> Vec<Range<usize>> {
    // Letters of other scripts separate pieces, like punctuation: Chinese has no spaces, so a whole sentence would be
    // one piece.
    let pieces = runs_of(text, |c| c.is_ascii_alphabetic() || c.is_numeric());
    let mut spans: Vec<_> = pieces.iter().filter(|piece| is_seed(piece, words)).map(Run::span).collect();
    let mut rest = pieces.as_slice();
    while let Some(row) = Row::at_start_of(rest) {
        spans.extend(row.seeds());
        rest = rest.get(row.alike.len().max(1)..).unwrap_or_default();
    }
    spans
}

/// Whether a piece is a seed: base32, or base64 and hexadecimal, which look alike.
fn is_seed(piece: &Run<'_>, words: LongWords) -> bool {
    let shouted = !piece.has(u8::is_ascii_lowercase);
    let one_case = shouted || !piece.has(u8::is_ascii_uppercase);
    match (piece.chars(), words) {
        (0..SEED_CHARS_MIN, _) => false,
        (_, LongWords::Masked) => true,
        (SEED_CHARS_MIN..WORD_CHARS_MAX, LongWords::Pass) => shouted || piece.has(u8::is_ascii_digit),
        (_, LongWords::Pass) => one_case || piece.has(u8::is_ascii_digit),
    }
}

/// A row of base32 pieces of one length, possibly with a shorter one at its end: `JBSW Y3DP EHPK 3PXP` in any case.
struct Row<'a> {
    width: usize,
    alike: &'a [Run<'a>],
    last: Option<&'a Run<'a>>,
}

impl<'a> Row<'a> {
    /// The row that begins with the first piece; empty if that piece is not base32; `None` if there are no pieces.
    fn at_start_of(pieces: &'a [Run<'a>]) -> Option<Self> {
        let is_base32 =
            |piece: &Run<'_>| piece.text.bytes().all(|b| b.is_ascii_alphabetic() || matches!(b, b'2'..=b'7'));
        let joins = |c: char| parts_groups(c) || matches!(c, '_' | '.');
        let width = pieces.first()?.chars();
        let follows = |piece: &&Run<'_>| is_base32(piece) && piece.is_joined(joins);
        let count = match pieces.first() {
            Some(first) if is_base32(first) => {
                1 + pieces.iter().skip(1).take_while(|piece| follows(piece) && piece.text.len() == width).count()
            }
            _ => 0,
        };
        let last = pieces.get(count).filter(|piece| count > 0 && follows(piece) && piece.text.len() < width);
        Some(Self { width, alike: pieces.get(..count)?, last })
    }

    /// The seeds in the row. Words of one length in a row are no seed: they mix no digits with letters, and are not all
    /// capitals.
    fn seeds(&self) -> Vec<Range<usize>> {
        let whole: Vec<&Run<'_>> = self.alike.iter().chain(self.last).collect();
        let is_mixed = |piece: &&Run<'_>| piece.has(u8::is_ascii_digit) && piece.has(u8::is_ascii_alphabetic);
        if self.width == 1 || whole.iter().any(is_mixed) {
            return Vec::from_iter(span_of(&whole));
        }
        if self.width > SHOUTED_GROUP_CHARS_MAX {
            return Vec::new();
        }
        whole.split(|piece| piece.has(u8::is_ascii_lowercase)).filter_map(span_of).collect()
    }
}

/// The range of these pieces, if they are long enough for a seed.
fn span_of(pieces: &[&Run<'_>]) -> Option<Range<usize>> {
    let chars: usize = pieces.iter().map(|piece| piece.text.len()).sum();
    let (first, last) = (pieces.first()?, pieces.last()?);
    (chars >= SEED_CHARS_MIN && pieces.len() > 1).then(|| first.begin..last.span().end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: bool) {
        assert_eq!(looks_sensitive(text), expected, "{text}");
        assert_eq!(masked(text) != text, expected, "{text}");
    }

    #[test]
    fn long_words_pass_in_names_alone() {
        for text in ["@modelcontextprotocol/inspector", "internationalization", "AbstractSingletonProxyFactoryBean"] {
            assert!(!looks_sensitive(text) && masked(text).contains(MASK), "{text}");
        }
    }

    #[test]
    fn what_is_masked_is_no_more_than_it_has_to_be() {
        for (text, shown) in [
            ("log in for ticket 123456", "log in for ticket [masked]"),
            ("JIRA OPS-204817.", "JIRA OPS-[masked]."),
            ("see https://github.com/login now", "see [masked] now"),
            ("scan otpauth://totp/My App?secret=JBSW now", "scan [masked]"),
            ("mail <ada@example.com>, then bob@example.com.", "mail <[masked]>, then [masked]."),
            ("with cs_0123456789ab_x, please", "with [masked], please"),
            ("OTP123456 and a654321b", "OTP[masked] and a[masked]b"),
            ("step 2 123 456 now", "step 2 [masked] now"),
            ("use jbsw y3dp ehpk 3pxp today", "use [masked] today"),
            ("seed=JBSWY3DPEHPK3PXP====", "seed=[masked]===="),
            ("open this JBSW YDPE HPKA PXPB", "open this [masked]"),
        ] {
            assert_eq!(masked(text), shown);
        }
    }

    #[test]
    fn an_address_is_masked_with_what_touches_it_and_a_row_of_them_as_one() {
        for (text, shown) in [
            ("a@b@c@d", MASK.to_owned()),
            ("x,a@b;c@d y", format!("x,{MASK};{MASK} y")),
            ("@scope/package a@@b @", "@scope/package a@@b @".to_owned()),
            ("(ada@example.com!) \"ada lovelace\"@example.com.", format!("({MASK}!) \"ada {MASK}.")),
            ("é@ü", MASK.to_owned()),
        ] {
            assert_eq!(masked(text), shown, "{text}");
        }
        // Pieces of two bytes, each of which is examined once.
        let row = "a@".repeat(200_000) + "b";
        assert_eq!(masked(&row), MASK);
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
            "number 1234567 of 123456789",
            "finish before 2026-11-27 10:30, as in 2024-05",
            "copy the s3 bucket to ec2 for team 42",
            "this will help team with that open task",
            "from open port 4444 with test data",
            "2 + 2 = 4, and 3-4 people wait",
            "登录到生产环境发布版本2并检查日志是否正常",
            "Übergabe für Größe 12 an Müller",
            "@modelcontext/inspector",
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
            "J B S W Y 3 D P E H P K 3 P X P",
            "jbsw_y3dp_ehpk_3pxp",
            "JBSW.Y3DP.EHPK.3PXP",
            "JBSWY3DPEHPK 3PXP",
            "JBSW  Y3DP\u{a0}EHPK \u{2011} 3PXP",
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
            "otpauth:totp",
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
            // Digits alone in a group, without a mixed group, can't be distinguished from numbers between words.
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
