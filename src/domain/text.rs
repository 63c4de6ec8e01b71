//! Text that somebody else wrote and that a model or a terminal will read: checked on the way in, once, by type.

use std::fmt;

use super::limits::{
    CLAIM_CHARS_MAX, EMAIL_CHARS_MAX, NAME_CHARS_MAX, PURPOSE_CHARS_MAX, SUBJECT_CHARS_MAX, TEXT_CHARS_MAX,
};
pub use super::sensitive::looks_sensitive;

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
        /// Which character it is, counted from 1.
        position: usize,
    },
    /// It looks like a seed, a code, an otpauth URI, a key or an e-mail address.
    #[error("must not hold a seed, a code, a URI, a key or an e-mail address")]
    Sensitive,
    /// It has not the form that this field asks for.
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
    /// Why a caller wants a code, in its own words; for the trail, so nothing that is worth stealing.
    Purpose,
    |text| {
        let text = showable(text, PURPOSE_CHARS_MAX)?;
        if looks_sensitive(&text) { Err(TextError::Sensitive) } else { Ok(text) }
    }
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

/// What an MCP client says of itself. It is only a claim: cut to length, stripped of what can't be shown, and blanked
/// when it looks like something that must not be kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claim(String);

impl Claim {
    /// Makes any text fit to be kept as a claim.
    pub fn of(text: &str) -> Self {
        let cut: String = text.trim().chars().filter(|c| !is_unshowable(*c)).take(CLAIM_CHARS_MAX).collect();
        if looks_sensitive(&cut) { Self("(withheld)".to_owned()) } else { Self(cut) }
    }

    /// The text; empty if the client said nothing.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn showable(text: &str, max: usize) -> Result<String, TextError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(TextError::Empty);
    }
    if let Some(position) = unshowable_at(text, max + 1) {
        return Err(TextError::Unshowable { position: position + 1 });
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

/// Characters that change how a line is shown or that nobody sees: controls, separators, bidirectional marks,
/// zero-width characters, invisible operators, fillers, variation selectors, tags, private use and non-characters.
pub fn is_unshowable(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
            | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
            | '\u{2800}' | '\u{3164}' | '\u{E000}'..='\u{F8FF}' | '\u{FDD0}'..='\u{FDEF}' | '\u{FE00}'..='\u{FE0F}'
            | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}'
            | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{10FFFF}')
        || (u32::from(c) & 0xFFFE) == 0xFFFE
}

/// Where the first character stands that can't be shown, from 0. The joiners U+200C and U+200D pass between letters of
/// the scripts that are misspelt without them: many names in Persian and in the languages of India need one.
fn unshowable_at(text: &str, within: usize) -> Option<usize> {
    let before = std::iter::once(None).chain(text.chars().map(Some));
    let after = text.chars().map(Some).skip(1).chain(std::iter::once(None));
    let joins = |c, before: Option<char>, after: Option<char>| {
        matches!(c, '\u{200C}' | '\u{200D}') && [before, after].into_iter().all(|near| near.is_some_and(needs_joiners))
    };
    text.chars().zip(before.zip(after)).take(within).position(|(c, (b, a))| is_unshowable(c) && !joins(c, b, a))
}

/// Letters and vowel signs of Arabic, Syriac and N'Ko, and of the scripts of India and South-East Asia.
fn needs_joiners(c: char) -> bool {
    matches!(c, '\u{0620}'..='\u{07FF}' | '\u{08A0}'..='\u{0DFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17D3}')
        && !is_unshowable(c)
}
