//! A caller's stated purpose, made fit for the audit log. A purpose is never a reason to refuse the code: whatever must
//! not be kept is masked, dropped or cut.

use std::fmt;

use super::{characters::is_unshowable, limits::PURPOSE_CHARS_MAX, sensitive::masked};

/// Characters that are examined. No person reads more, and searching more for secrets would take time.
const READ_CHARS_MAX: usize = 8 * PURPOSE_CHARS_MAX;
/// Characters cut before the end of the examined part: a seed that crosses that end can't be recognised.
const BLIND_CHARS: usize = 64;

/// A caller's purpose: at most 128 visible characters, in which nothing looks like a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Purpose(String);

impl Purpose {
    /// The part of a text that may be kept; `None` if nothing is left.
    pub fn of(text: &str) -> Option<Self> {
        let mut showable = text.chars().filter_map(|c| {
            let shown = if c.is_whitespace() { ' ' } else { c };
            (!is_unshowable(shown)).then_some(shown)
        });
        let read: String = showable.by_ref().take(READ_CHARS_MAX).collect();
        let masked = masked(read.trim());
        let mut kept: Vec<char> = masked.chars().collect();
        let is_whole = showable.next().is_none();
        if !is_whole {
            kept.truncate(kept.len().saturating_sub(BLIND_CHARS));
        }
        if !is_whole || kept.len() > PURPOSE_CHARS_MAX {
            kept.truncate(PURPOSE_CHARS_MAX - 1);
            kept.push('…');
        }
        (!kept.is_empty()).then(|| Self(kept.into_iter().collect()))
    }

    /// Takes a stored purpose unchanged: the audit log's MACs cover its bytes.
    pub(crate) const fn kept(text: String) -> Self {
        Self(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::sensitive::MASK;

    fn kept(text: &str) -> Option<String> {
        Purpose::of(text).map(|purpose| purpose.to_string())
    }

    #[test]
    fn a_purpose_is_kept_without_what_looks_like_a_secret() {
        for (said, expected) in [
            ("log in to GitHub for the nightly release", "log in to GitHub for the nightly release"),
            ("log in for ticket 123456", "log in for ticket [masked]"),
            ("release 20261127", "release [masked]"),
            ("see https://github.com", "see [masked]"),
            ("JIRA OPS-204817", "JIRA OPS-[masked]"),
            ("for ada@example.com, please", "for [masked], please"),
            ("  two\nlines\tand\u{0}\u{200b} more ", "two lines and more"),
        ] {
            assert_eq!(kept(said).as_deref(), Some(expected), "{said}");
        }
        for nothing in ["", " \n ", "\u{200b}\u{7}"] {
            assert_eq!(kept(nothing), None);
        }
    }

    #[test]
    fn invisible_characters_hide_nothing() {
        assert_eq!(kept("123\u{200b}456").as_deref(), Some(MASK));
        assert_eq!(kept("JBSWY3DP\u{ad}EHPK3PXP").as_deref(), Some(MASK));
        assert_eq!(kept("code 123\u{a0}456 please").as_deref(), Some("code [masked] please"));
        assert_eq!(kept("JBSW\nY3DP\r\nEHPK\t3PXP").as_deref(), Some(MASK));
    }

    #[test]
    fn what_is_too_long_is_cut() {
        let most = "é".repeat(PURPOSE_CHARS_MAX);
        assert_eq!(kept(&most), Some(most.clone()));
        let cut = "é".repeat(PURPOSE_CHARS_MAX - 1) + "…";
        for beyond in [1, 1000, 1_000_000] {
            assert_eq!(kept(&format!("{most}{}", "é".repeat(beyond))), Some(cut.clone()));
        }
    }

    #[test]
    fn the_end_of_what_is_looked_at_shows_no_part_of_a_seed() {
        // Much is masked, so that the end of the examined part would be shown.
        for reach in 1..40 {
            let long = READ_CHARS_MAX - reach - 2;
            for seed in ["JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", "JBSW Y3DP EHPK 3PXP JBSW Y3DP EHPK 3PXP"] {
                let text = format!("{} {seed} and more", "A".repeat(long));
                let shown = kept(&text).unwrap();
                assert!(!shown.contains("JBSW") && !shown.contains("Y3DP"), "{reach}: {shown}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_made_fit(text in "\\PC{0,300}") {
            if let Some(kept) = kept(&text) {
                prop_assert!(kept.chars().count() <= PURPOSE_CHARS_MAX);
                prop_assert!(!kept.chars().any(is_unshowable));
            }
        }

        #[test]
        fn no_code_or_seed_is_kept(code in "[0-9]{6}", seed in "[A-Za-z2-7]{16,64}", before in "[a-z ]{0,40}") {
            let shown = kept(&format!("{before} {code} {seed}")).unwrap();
            prop_assert!(!shown.contains(&code) && !shown.contains(&seed));
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = Purpose::of(&text);
        }
    }
}
