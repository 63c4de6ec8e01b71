//! The names of an entry: those that a file gives it, as they can be shown.

use std::borrow::Cow;

use super::{
    ends,
    entry::{ImportedSecret, Note, Skip},
    unread,
};
use crate::domain::{
    characters::{Flaw, first_flaw, parts_groups},
    limits::TEXT_CHARS_MAX,
    seed::Seed,
    sensitive::{MASK, with_seeds_masked},
    text::ShownText,
    totp::TotpParameters,
};

/// The name of an entry that has neither an account nor an issuer: better kept under a poor name than lost.
const UNNAMED: &str = "Unnamed";

/// Letters of a text in small letters that is longer than words, and of the shortest seed in hexadecimal.
const LONG_CHARS: usize = 24;
const HEX_CHARS: usize = 32;

/// The name of an entry in messages. A part that looks like a seed is masked: it may be in the wrong field.
pub(super) fn title(issuer: &str, account: &str) -> Option<ShownText> {
    let masked = |name: &str| {
        let masked = with_seeds_masked(name.trim());
        if ends::is_like_seed(name) || holds_key(&masked) { MASK.to_owned() } else { masked }
    };
    let (issuer, account) = (masked(issuer), masked(account));
    let both = match (issuer.as_str(), account.as_str()) {
        (issuer, "") => issuer.to_owned(),
        ("", account) => account.to_owned(),
        (issuer, account) => format!("{issuer}: {account}"),
    };
    clean(&both, &mut Vec::new())
}

/// The same for an entry that was read: a name that held its key is left out.
pub(super) fn title_of(read: &Result<ImportedSecret, Skip>, issuer: &str, account: &str) -> Option<ShownText> {
    match read {
        Ok(found) if found.notes.iter().any(|note| matches!(note, Note::KeyAsName)) => {
            title(found.issuer.as_ref().map_or("", ShownText::as_str), found.label.as_str())
        }
        Ok(_) | Err(_) => title(issuer, account),
    }
}

/// A name with a mask in place of a key, for every list shows names. Fewer texts count as keys than in messages, because
/// people find their entries by these names.
pub(super) fn without_keys(name: &str) -> Cow<'_, str> {
    if !holds_key(name) {
        return Cow::Borrowed(name);
    }
    let masked = with_seeds_masked(name);
    Cow::Owned(if holds_key(&masked) { MASK.to_owned() } else { masked })
}

fn holds_key(name: &str) -> bool {
    let mut parts = name.split(|c: char| !c.is_alphanumeric() && !parts_groups(c));
    // An e-mail address in small letters may have random ones in it.
    let may_be_key = |part: &str| !name.contains('@') || !part.contains(|c: char| c.is_ascii_lowercase());
    let is_key = |part: &str| may_be_key(part) && ends::keys(part) > 0 || is_long_and_random(part);
    unread::holds_key(name) || parts.any(is_key)
}

/// Whether a text is longer than words, without a sign of words in it: hexadecimal, or small letters that can't be spoken.
fn is_long_and_random(text: &str) -> bool {
    let is_hex = || {
        let has = |is: fn(&u8) -> bool| text.as_bytes().iter().any(is);
        let is_mixed = has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic);
        is_mixed && text.len() >= HEX_CHARS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    // A row of consonants alone is no key, either.
    let is_random = || {
        let is_small = text.bytes().all(|byte| byte.is_ascii_lowercase());
        is_small && text.contains(['a', 'e', 'i', 'o', 'u', 'y']) && !ends::are_words_and_a_number(text)
    };
    text.len() >= LONG_CHARS && (is_hex() || is_random())
}

/// A secret with these names. The account loses a prefix that repeats the issuer; without an account the issuer is the
/// label.
pub(super) fn named(issuer: &str, account: &str, totp: TotpParameters, seed: Seed) -> ImportedSecret {
    let mut notes = Vec::new();
    let [issuer, account] = [issuer, account].map(|name| {
        let is_key = seed.is_in(name);
        let shown = if is_key { Cow::Borrowed("") } else { without_keys(name.trim()) };
        let is_masked = matches!(shown, Cow::Owned(_)).then_some(Note::KeyInName);
        let note = is_key.then_some(Note::KeyAsName).or(is_masked);
        notes.extend(note.filter(|note| !notes.contains(note)));
        shown
    });
    let (issuer, account) = (issuer.as_ref(), account.as_ref());
    let prefix = account.split_at_checked(issuer.len()).filter(|(start, _)| start.eq_ignore_ascii_case(issuer));
    let bare = prefix.filter(|_| !issuer.is_empty()).and_then(|(_, rest)| rest.trim_start().strip_prefix(':'));
    let issuer = clean(issuer, &mut notes);
    let label = clean(bare.unwrap_or(account), &mut notes).or_else(|| issuer.clone()).unwrap_or_else(|| {
        notes.push(Note::Unnamed);
        ShownText::kept(UNNAMED.to_owned())
    });
    ImportedSecret { label, issuer, totp, seed, single_use: false, notes }
}

/// A text as it can be shown: without hidden characters, and no longer than a label may be.
fn clean(text: &str, notes: &mut Vec<Note>) -> Option<ShownText> {
    let (text, most) = (text.trim(), TEXT_CHARS_MAX * 4);
    let mut kept: String = text.chars().take(most).collect();
    let mut cleaned = false;
    while let Some(Flaw::Unshowable(at) | Flaw::Stacked(at)) = first_flaw(&kept, usize::MAX) {
        let before: String = kept.chars().take(at).collect();
        // A line break or a tab separates words.
        let gap = if kept.chars().nth(at).is_some_and(char::is_whitespace) { " " } else { "" };
        let after: String = kept.chars().skip(at + 1).collect();
        kept = [&before, gap, &after].concat();
        cleaned = true;
    }
    notes.extend(cleaned.then_some(Note::Cleaned));
    if kept.trim().chars().nth(TEXT_CHARS_MAX).or_else(|| text.chars().nth(most)).is_some() {
        notes.push(Note::Cut);
    }
    let kept: String = kept.trim().chars().take(TEXT_CHARS_MAX).collect();
    // Cutting may leave a joiner at the end without what it joined.
    ShownText::parse(&kept).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_names_are_masked_and_names_that_look_like_them_are_not() {
        for (name, shown) in [
            ("GEZDGNBVGY3TQOJQ", MASK),
            ("gezd gnbv gy3t qojq", MASK),
            ("KZXWMQRBTDPLHVNC", MASK),
            ("ada (old key GEZDGNBVGY3TQOJQ)", "ada (old key [masked])"),
            ("ada_GEZDGNBVGY3TQOJQ", "ada_[masked]"),
            ("ada <gezdgnbvgy3tqojqgezdgnbvgy3tqojq>", "ada <[masked]>"),
            ("GitHub: gezd-gnbv-gy3t-qojq", "GitHub: [masked]"),
            ("ada.GEZDGNBVGY3TQOJQ", "ada.[masked]"),
            ("GEZDGNBVGY3TQOJQ@example.com", "[masked]@example.com"),
            ("gezdgnbvgyxtqojqgezdgnbvgyxtqojq", MASK),
            ("5f4dcc3b5aa765d61d8327deb882cf99", MASK),
            ("otpauth://totp/x?secret=GEZDGNBVGY3TQOJQ", MASK),
        ] {
            assert_eq!(without_keys(name), shown, "{name}");
            assert!(title("", name).is_some_and(|title| !title.as_str().to_lowercase().contains("gnbv")), "{name}");
        }
        for name in [
            "",
            "JOHNDOE2",
            "christophermiller7",
            "RASPBERRYPI4CLUSTER2",
            "schwarzwaldhof24@example.com",
            "jbsw2y3dpehpk3pxp@example.com",
            "donaudampfschiff",
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "maxmustermannunternehmensberatung",
            "a.very.long.address.of.somebody2@mail.department.example.com",
            "INTERNATIONALIZATION",
            "Deutsche Kreditbank AG",
            "AKIAIOSFODNN7EXAMPLE",
            "prod-cluster-2-frankfurt",
            "https://example.com/login?id=7",
            "+49 170 2345672",
            "550e8400-e29b-41d4-a716-446655440000",
        ] {
            assert_eq!(without_keys(name), name);
        }
    }

    #[test]
    fn a_name_is_cut_only_if_what_can_be_shown_of_it_is_too_long() {
        let noted = |text: &str| {
            let mut notes = Vec::new();
            let kept = clean(text, &mut notes).unwrap();
            (kept.as_str().chars().count(), notes)
        };
        let hidden = "\u{200B}".repeat(20);
        assert_eq!(noted(&format!("{}{hidden}", "a".repeat(250))), (250, vec![Note::Cleaned]));
        assert_eq!(noted(&"a".repeat(300)), (TEXT_CHARS_MAX, vec![Note::Cut]));
        assert_eq!(noted(&format!("a{}b", "\u{200B}".repeat(2_000))), (1, vec![Note::Cleaned, Note::Cut]));
    }
}
