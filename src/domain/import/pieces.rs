//! The links of a line of text, wherever they stand in it: alone, in quotes, after words, joined by commas as old files of
//! Ente have them.

use super::{ends, uri};

/// The schemes that mean a secret wherever they occur. Others may be the end of a word, or an address in a note.
const ANYWHERE: [&str; 2] = ["otpauth://", "otpauth-migration://"];
/// The characters that may stand between two links.
const JOINTS: [char; 3] = [',', ';', '|'];
/// Quotes and brackets around a link, and whether the last of several ends it: an account may have an apostrophe, too.
const QUOTES: [(char, char, bool); 12] = [
    ('"', '"', false),
    ('`', '`', false),
    ('<', '>', false),
    ('\u{ab}', '\u{bb}', false),
    ('\u{bb}', '\u{ab}', false),
    ('\u{201c}', '\u{201d}', false),
    ('\u{201e}', '\u{201c}', false),
    ('\u{2018}', '\u{2019}', true),
    ('\'', '\'', true),
    ('(', ')', true),
    ('[', ']', true),
    ('{', '}', true),
];
/// A part of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub(super) text: &'a str,
    /// Whether it is a link, or was meant as one.
    pub(super) is_link: bool,
}

/// The links of a line, or the whole line if it holds no link.
pub(super) fn pieces(line: &str) -> Vec<Piece<'_>> {
    let starts = starts(line);
    if starts.is_empty() {
        let text = line.trim();
        return vec![Piece { text, is_link: uri::starts(text, "otpauth") }];
    }
    let ends = starts.iter().skip(1).copied().chain([line.len()]);
    starts.iter().zip(ends).filter_map(|(start, end)| piece(line, *start, end)).collect()
}

/// The positions at which links begin.
fn starts(line: &str) -> Vec<usize> {
    // Every scheme ends like this, and most lines of a large file have none or one.
    let colons = line.match_indices("://").map(|(at, _)| at);
    let starts = colons.filter_map(|at| {
        let before = line.get(..at)?;
        let name = before.bytes().rev().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'-').count();
        let word = at - name;
        if uri::is_link(line.get(word..)?) {
            return Some(word);
        }
        // `xotpauth://` holds a link as well.
        ANYWHERE.iter().find_map(|scheme| {
            let start = (at + 3).checked_sub(scheme.len())?;
            line.get(start..at + 3).filter(|found| found.eq_ignore_ascii_case(scheme)).map(|_| start)
        })
    });
    starts.collect()
}

fn piece(all: &str, start: usize, end: usize) -> Option<Piece<'_>> {
    let (before, link) = (all.get(..start)?, all.get(start..end)?);
    let quote = before.chars().next_back().and_then(|last| QUOTES.iter().find(|(open, ..)| *open == last));
    let closed = quote.and_then(|(_, close, is_last)| if *is_last { link.rfind(*close) } else { link.find(*close) });
    let link = match closed {
        Some(at) => link.get(..at)?,
        None => link.trim_end().trim_end_matches(JOINTS),
    };
    Some(Piece { text: link.trim(), is_link: true })
}

/// Whether a link is more than the name of its scheme, or the address of a game.
pub(super) fn holds_secret(link: &str) -> bool {
    let key = link.split_once("://").map_or("", |(_, key)| key);
    ["secret=", "data="].iter().any(|field| uri::has(link, field))
        || uri::starts(link, "steam://") && ends::keys(key) > 0
}

/// The value behind `secret=` in a text, which may be percent-encoded: it is a part of what was meant as a link.
pub(super) fn secret_in(text: &str) -> Option<&str> {
    const JOINTS_ENCODED: [&str; 3] = ["%3f", "%3F", "%26"];
    let mut begins = text.char_indices().filter(|(_, first)| matches!(first, 's' | 'S'));
    begins.find_map(|(at, _)| {
        let (before, rest) = text.split_at_checked(at)?;
        let is_longer = before.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '-'));
        if is_longer && !JOINTS_ENCODED.iter().any(|joint| before.ends_with(joint)) {
            return None;
        }
        let behind =
            |name: &str| rest.split_at_checked(name.len()).filter(|(start, _)| start.eq_ignore_ascii_case(name));
        let (_, value) = behind("secret=").or_else(|| behind("secret%3d"))?;
        let is_end = |c: char| c.is_whitespace() || matches!(c, '&' | '%' | '#' | '"' | '\'');
        value.split(is_end).next().filter(|value| !value.is_empty())
    })
}

/// The number of bare keys that a line holds beside its links, or instead of one.
pub(super) fn keys_beside(line: &str) -> usize {
    let starts = starts(line);
    let before = line.get(..starts.first().copied().unwrap_or(line.len())).unwrap_or_default();
    let ends = starts.iter().skip(1).copied().chain([line.len()]);
    let behind = |(start, end): (&usize, usize)| {
        let text = piece(line, *start, end)?.text;
        let (whole, _) = ends::without_words(text);
        line.get(*start..end)?.trim_start().get(whole.len()..)
    };
    ends::keys(before) + starts.iter().zip(ends).filter_map(behind).map(ends::keys).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &[&str]) {
        let found: Vec<&str> = pieces(line).iter().map(|piece| piece.text).collect();
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn every_link_of_a_line_is_found_without_what_stands_around_it() {
        check("", &[""]);
        check(" words ", &["words"]);
        check("https://example.com", &["https://example.com"]);
        check(
            "otpauth://totp/a?secret=A,otpauth://totp/b,c?secret=B",
            &["otpauth://totp/a?secret=A", "otpauth://totp/b,c?secret=B"],
        );
        check("[\"otpauth://a\", \"OTPAUTH://b\"]", &["otpauth://a", "OTPAUTH://b"]);
        check("'otpauth://totp/O'Brien?secret=A'", &["otpauth://totp/O'Brien?secret=A"]);
        check("(otpauth://totp/Acme (old)?secret=A)", &["otpauth://totp/Acme (old)?secret=A"]);
        check("*otpauth://a", &["otpauth://a"]);
        check("xotpauth://a müotpauth-migration://b", &["otpauth://a mü", "otpauth-migration://b"]);
        check("notsteam://a", &["notsteam://a"]);
        check("a steam://b", &["steam://b"]);
        check("otpauth://a?issuer=Acme Co", &["otpauth://a?issuer=Acme Co"]);
        check(
            "\u{ab}otpauth://a\u{bb} \u{201c}otpauth://b\u{201d} \u{201e}otpauth://c\u{201c}",
            &["otpauth://a", "otpauth://b", "otpauth://c"],
        );
    }
}
