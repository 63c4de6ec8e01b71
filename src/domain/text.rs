//! Text written by others that a model or a terminal will read: checked once, on the way in, by type.

use std::{fmt, sync::Arc};

use super::{
    characters::{Flaw, first_flaw, is_unshowable},
    limits::{CLAIM_CHARS_MAX, EMAIL_CHARS_MAX, MARKS_MAX, NAME_CHARS_MAX, SUBJECT_CHARS_MAX, TEXT_CHARS_MAX},
};
pub use super::{purpose::Purpose, sensitive::looks_sensitive};

/// Why a text is refused. It never quotes the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing is left after trimming.
    #[error("must not be empty")]
    Empty,
    /// More characters than allowed.
    #[error("must be at most {max} characters")]
    TooLong {
        /// The most that is allowed.
        max: usize,
    },
    /// A character that a model or a terminal would obey rather than show; its position counts from 1.
    #[error("has a control, bidirectional, zero-width or invisible character at position {position}")]
    Unshowable {
        /// The position of the character, counted from 1.
        position: usize,
    },
    /// More marks on one letter than any language puts there; the position of the first too many counts from 1.
    #[error("has more than {MARKS_MAX} marks on one letter, at position {position}")]
    Stacked {
        /// The position of the character, counted from 1.
        position: usize,
    },
    /// The text does not have the form of this field.
    #[error("{0}")]
    Form(&'static str),
}

macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Checks a text and takes it.
            ///
            /// # Errors
            /// [`TextError`], which never quotes the text.
            pub fn parse(text: &str) -> Result<Self, TextError> {
                let check: fn(&str) -> Result<String, TextError> = $check;
                check(text).map(Self)
            }

            /// Takes a stored text unchanged. It was checked when it came in; a later change of the rules does not
            /// invalidate it.
            pub(crate) const fn kept(text: String) -> Self {
                Self(text)
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

checked_text!(
    /// A label, an issuer or a seat's name: 1..=256 showable characters after trimming.
    ShownText,
    |text| showable(text, TEXT_CHARS_MAX)
);
checked_text!(
    /// The name of an account or a key: 1..=64 showable characters.
    Name,
    |text| showable(text, NAME_CHARS_MAX)
);
checked_text!(
    /// A seat's e-mail address, as the directory has it: `local@domain`, no spaces.
    Email,
    email
);
checked_text!(
    /// The user's id at an identity provider (`sub`).
    AuthSubject,
    |text| showable(text, SUBJECT_CHARS_MAX)
);
checked_text!(
    /// A telephone number in E.164 form: `+` and 2 to 15 digits.
    PhoneNumber,
    phone
);

/// A claim of an MCP client about itself: cut to length, without invisible characters, and withheld if it looks like a
/// secret. Cheap to clone, because every audit row has one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claim(Arc<str>);

impl Claim {
    /// Makes a claim from any text.
    pub fn of(text: &str) -> Self {
        // The text is searched further than it is kept, so that no part of a secret is left at the end.
        let shown: String = text.trim().chars().filter(|c| !is_unshowable(*c)).take(2 * CLAIM_CHARS_MAX).collect();
        if looks_sensitive(&shown) {
            return Self("(withheld)".into());
        }
        Self(shown.chars().take(CLAIM_CHARS_MAX).collect::<String>().into())
    }

    /// Takes a stored claim unchanged: the audit log's MACs cover its bytes.
    pub(crate) fn kept(text: String) -> Self {
        Self(text.into())
    }

    /// The text; empty if the client sent none.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn showable(text: &str, max: usize) -> Result<String, TextError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(TextError::Empty);
    }
    if let Some(flaw) = first_flaw(text, max + 1) {
        return Err(match flaw {
            Flaw::Unshowable(at) => TextError::Unshowable { position: at + 1 },
            Flaw::Stacked(at) => TextError::Stacked { position: at + 1 },
        });
    }
    if text.chars().nth(max).is_some() {
        return Err(TextError::TooLong { max });
    }
    Ok(text.to_owned())
}

fn email(text: &str) -> Result<String, TextError> {
    const FORM: TextError = TextError::Form("must be an e-mail address such as ada@example.com");
    let text = showable(text, EMAIL_CHARS_MAX)?;
    let (local, domain) = text.rsplit_once('@').ok_or(FORM)?;
    let whole = !local.is_empty() && !domain.is_empty() && !text.contains(char::is_whitespace);
    if whole && !local.contains('@') { Ok(text) } else { Err(FORM) }
}

fn phone(text: &str) -> Result<String, TextError> {
    const FORM: TextError = TextError::Form("must be an E.164 number such as +14155550123");
    let text = text.trim();
    let digits = text.strip_prefix('+').ok_or(FORM)?;
    let fits =
        (2..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    if fits { Ok(text.to_owned()) } else { Err(FORM) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Parse = fn(&str) -> Result<String, TextError>;

    fn shown(text: &str) -> Result<String, TextError> {
        ShownText::parse(text).map(|text| text.to_string())
    }

    #[track_caller]
    fn check(text: &str, expected: Result<&str, TextError>) {
        assert_eq!(shown(text).as_deref().map_err(|error| *error), expected, "{text:?}");
    }

    #[test]
    fn text_in_any_script_is_kept_as_it_is_but_trimmed() {
        for text in [
            "GitHub",
            "Ünïcode Straße",
            "山田 太郎",
            "עברית",
            "🔑 work",
            "a\u{a0}b",
            "e\u{301}",
            "☁\u{fe0f} Cloud",
            "<script>",
            "../..",
            "%00",
        ] {
            check(text, Ok(text));
        }
        check("  Acme  Co \n", Ok("Acme  Co"));
        check(" \t\n\u{a0}\u{2003}", Err(TextError::Empty));
        check("", Err(TextError::Empty));
    }

    #[test]
    fn characters_that_are_obeyed_or_not_seen_are_refused_with_their_position() {
        for hidden in [
            '\0',
            '\n',
            '\r',
            '\t',
            '\u{1b}',
            '\u{7f}',
            '\u{85}',
            '\u{9b}',
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{180e}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{200e}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{202a}',
            '\u{202e}',
            '\u{2060}',
            '\u{2064}',
            '\u{2066}',
            '\u{2069}',
            '\u{2800}',
            '\u{3164}',
            '\u{e000}',
            '\u{fdd0}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{fff9}',
            '\u{fffe}',
            '\u{1fffe}',
            '\u{1d173}',
            '\u{e0041}',
            '\u{e0100}',
            '\u{10fffd}',
        ] {
            check(&format!(" ab{hidden}c"), Err(TextError::Unshowable { position: 3 }));
        }
    }

    #[test]
    fn joiners_pass_between_letters_that_need_them() {
        for name in ["می\u{200c}خواهم", "क\u{94d}\u{200d}ष", "ක\u{dca}\u{200d}ර"] {
            check(name, Ok(name));
        }
        check("\u{200c}می", Err(TextError::Unshowable { position: 1 }));
        check("می\u{200c}", Err(TextError::Unshowable { position: 3 }));
        check("می\u{200c}\u{200c}خ", Err(TextError::Unshowable { position: 3 }));
        check("م\u{200c}a", Err(TextError::Unshowable { position: 2 }));
        check("م\u{61c}\u{200c}م", Err(TextError::Unshowable { position: 2 }));
    }

    #[test]
    fn limits_hold_at_the_limit_and_one_past_it() {
        let fields: [(usize, &str, Parse); 3] = [
            (TEXT_CHARS_MAX, "é", shown),
            (NAME_CHARS_MAX, "é", |text| Name::parse(text).map(|text| text.to_string())),
            (SUBJECT_CHARS_MAX, "é", |text| AuthSubject::parse(text).map(|text| text.to_string())),
        ];
        for (max, letter, parse) in fields {
            assert_eq!(parse(letter), Ok(letter.to_owned()));
            assert_eq!(parse(&format!(" {} ", letter.repeat(max))), Ok(letter.repeat(max)));
            assert_eq!(parse(&letter.repeat(max + 1)), Err(TextError::TooLong { max }));
            assert_eq!(parse(" "), Err(TextError::Empty));
        }

        let email =
            |chars: usize| Email::parse(&format!("{}@b.c", "a".repeat(chars - 4))).map(|email| email.as_str().len());
        assert_eq!(email(EMAIL_CHARS_MAX), Ok(EMAIL_CHARS_MAX));
        assert_eq!(email(EMAIL_CHARS_MAX + 1), Err(TextError::TooLong { max: EMAIL_CHARS_MAX }));

        let claim = |chars: usize| Claim::of(&"é".repeat(chars)).as_str().chars().count();
        assert_eq!([CLAIM_CHARS_MAX, CLAIM_CHARS_MAX + 1].map(claim), [CLAIM_CHARS_MAX; 2]);
    }

    #[test]
    fn claims_are_made_fit_to_be_kept() {
        let claims = [
            ("claude-code", "claude-code"),
            ("  a\u{1b}[31mb\u{202e} ", "a[31mb"),
            ("@modelcontextprotocol/inspector", "@modelcontextprotocol/inspector"),
            ("", ""),
            ("agent of ada@example.com", "(withheld)"),
            ("JBSW\u{200b}Y3DPEHPK3PXP", "(withheld)"),
        ];
        for (said, kept) in claims {
            assert_eq!(Claim::of(said).as_str(), kept, "{said}");
        }
    }

    #[test]
    fn addresses_and_numbers_have_their_form() {
        for text in ["ada@example.com", "a+b.c@x", "müller@größe.example"] {
            assert_eq!(Email::parse(text).as_ref().map(Email::as_str), Ok(text));
        }
        for text in ["ada", "@", "ada@", "@example.com", "a b@c.d", "a@b@c", "ada@exa mple.com"] {
            assert!(matches!(Email::parse(text), Err(TextError::Form(_))), "{text}");
        }
        for text in ["+14155550123", "+12", "+123456789012345"] {
            assert_eq!(PhoneNumber::parse(text).as_ref().map(PhoneNumber::as_str), Ok(text));
        }
        for text in ["", "+", "+1", "+1234567890123456", "14155550123", "+04155550123", "+1 415", "+1٢٣٤٥"] {
            assert!(matches!(PhoneNumber::parse(text), Err(TextError::Form(_))), "{text}");
        }
    }

    #[test]
    fn no_error_quotes_the_text() {
        for text in ["KZQX\u{0}J7WV", &"KZQX".repeat(99), "code 123456 KZQXJ7WVYB2MHXNQ"] {
            for error in [shown(text).err(), Email::parse(text).err()].into_iter().flatten() {
                assert!(!format!("{error}{error:?}").contains("KZQX"));
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_is_trimmed_short_and_showable_and_is_taken_again(text in "\\PC{0,300}") {
            if let Ok(text) = shown(&text) {
                prop_assert!(!text.is_empty() && text.trim() == text && text.chars().count() <= TEXT_CHARS_MAX);
                prop_assert_eq!(first_flaw(&text, usize::MAX), None);
                prop_assert_eq!(shown(&text), Ok(text));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = (shown(&text), Email::parse(&text), PhoneNumber::parse(&text), Claim::of(&text));
        }
    }

    #[test]
    fn a_claim_is_searched_beyond_where_it_is_cut() {
        let seed = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        let claim = format!("{} {seed}", "my agent ".repeat(CLAIM_CHARS_MAX / 9));
        assert_eq!(Claim::of(&claim).as_str(), "(withheld)");
    }
}
