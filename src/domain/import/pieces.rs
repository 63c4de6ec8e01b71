//! The links of a line of text, wherever they stand in it: alone, in quotes, after words, joined by commas as old files of
//! Ente have them.

use super::uri;

/// The schemes that stand for a secret wherever they stand. Others may be the end of a word, or an address in a note.
const ANYWHERE: [&str; 2] = ["otpauth://", "otpauth-migration://"];
/// What may stand between two links.
const JOINTS: [char; 3] = [',', ';', '|'];
/// Quotes and brackets around a link, and whether the last of several ends it: an account may have an apostrophe, too.
const QUOTES: [(char, char, bool); 7] = [
    ('"', '"', false),
    ('`', '`', false),
    ('<', '>', false),
    ('\'', '\'', true),
    ('(', ')', true),
    ('[', ']', true),
    ('{', '}', true),
];
/// The parameters whose values have no words in them.
const WITHOUT_WORDS: [&str; 5] = ["secret", "digits", "period", "algorithm", "single_use"];
/// Letters of a seed that is whole without the groups behind it.
const SEED_CHARS_USUAL: usize = 16;

/// A part of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub(super) text: &'a str,
    /// Whether it is a link, or was meant as one.
    pub(super) is_link: bool,
    /// Whether words behind the link were left out.
    pub(super) is_shortened: bool,
}

/// The links of a line, or the whole line if it holds no link.
pub(super) fn pieces(line: &str) -> Vec<Piece<'_>> {
    let starts = starts(line);
    if starts.is_empty() {
        let text = line.trim();
        return vec![Piece { text, is_link: uri::starts(text, "otpauth"), is_shortened: false }];
    }
    let ends = starts.iter().skip(1).copied().chain([line.len()]);
    starts.iter().zip(ends).filter_map(|(start, end)| piece(line, *start, end)).collect()
}

/// Where links begin.
fn starts(line: &str) -> Vec<usize> {
    // A scheme ends like this, and most lines of a large file have none or one.
    let colons = line.match_indices("://").map(|(at, _)| at);
    let starts = colons.filter_map(|at| {
        let before = line.get(..at)?;
        let name = before.bytes().rev().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'-').count();
        let word = at - name;
        if uri::is_link(line.get(word..)?) {
            return Some(word);
        }
        // `xotpauth://` is one as well.
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
    let text = without_words(link.trim());
    Some(Piece { text, is_link: true, is_shortened: text.len() < link.trim().len() })
}

/// A link without the words behind it, as far as they can be told from it: an issuer has spaces, too.
fn without_words(link: &str) -> &str {
    let at = link.rfind(['?', '&']).map_or(link.len(), |at| at + 1);
    let Some((path, last)) = link.split_at_checked(at) else { return link };
    let Some((name, value)) = last.split_once('=') else { return link };
    let word = value.split(char::is_whitespace).next().unwrap_or_default();
    let is_setting = WITHOUT_WORDS.iter().any(|setting| setting.eq_ignore_ascii_case(name));
    // A seed may be written in groups.
    let is_group = name.eq_ignore_ascii_case("secret") && word.len() < SEED_CHARS_USUAL;
    if !is_setting || is_group || word.is_empty() {
        return link;
    }
    link.get(..path.len() + name.len() + 1 + word.len()).unwrap_or(link)
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
        check("otpauth://a?digits=8 and more", &["otpauth://a?digits=8"]);
        check("otpauth://a?secret=abcd efgh ijkl", &["otpauth://a?secret=abcd efgh ijkl"]);
        check("otpauth://a?secret=ABCDEFGHIJKLMNOP here", &["otpauth://a?secret=ABCDEFGHIJKLMNOP"]);
    }
}
