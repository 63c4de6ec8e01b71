//! The names of an entry: those that a file gives it, as they can be shown.

use super::{
    ends,
    entry::{ImportedSecret, Note, Skip},
};
use crate::domain::{
    characters::{Flaw, first_flaw},
    limits::TEXT_CHARS_MAX,
    seed::Seed,
    sensitive::{MASK, with_seeds_masked},
    text::ShownText,
    totp::TotpParameters,
};

/// The name of an entry that has neither an account nor an issuer: better kept under a poor name than lost.
const UNNAMED: &str = "Unnamed";

/// The name of an entry in messages. A part that looks like a seed is masked: it may be in the wrong field.
pub(super) fn title(issuer: &str, account: &str) -> Option<ShownText> {
    let masked = |name: &str| if ends::is_like_seed(name) { MASK.to_owned() } else { with_seeds_masked(name.trim()) };
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

/// A secret with these names. The account loses a prefix that repeats the issuer; without an account the issuer is the
/// label.
pub(super) fn named(issuer: &str, account: &str, totp: TotpParameters, seed: Seed) -> ImportedSecret {
    let mut notes = Vec::new();
    // A name that holds the key is left out: every list shows names.
    let [issuer, account] = [issuer, account].map(|name| {
        let is_key = seed.is_in(name);
        notes.extend(Some(Note::KeyAsName).filter(|note| is_key && !notes.contains(note)));
        if is_key { "" } else { name.trim() }
    });
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
