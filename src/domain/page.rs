//! The pages of a browser, as a caller sees them.

use std::str::FromStr;

use super::text::Claim;

/// A page or a frame, by the id that its browser gave it: 32 digits of base 16.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PageId(String);

/// The text is not the id of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be the `page` of an earlier answer, 32 letters and digits")]
pub struct NotAPage;

/// A page that a code might have been typed into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The id by which a call names it.
    pub page: PageId,
    /// Its origin, as the browser reports it.
    pub origin: String,
    /// Its title, cut and cleaned. Untrusted text.
    pub title: String,
}

impl PageId {
    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PageId {
    type Err = NotAPage;

    fn from_str(text: &str) -> Result<Self, NotAPage> {
        let is_id = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_id { Ok(Self(text.to_ascii_uppercase())) } else { Err(NotAPage) }
    }
}

impl Candidate {
    /// Makes a candidate. The page's own title is cut and cleaned.
    pub fn new(page: PageId, origin: String, title: &str) -> Self {
        Self { page, origin, title: Claim::of(title).as_str().to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_named_by_the_id_of_its_browser() {
        let id = "0123456789abcdefABCDEF0123456789";
        assert_eq!(id.parse::<PageId>().unwrap().as_str(), "0123456789ABCDEFABCDEF0123456789");
        for text in ["", "0123", "0123456789abcdefABCDEF012345678g", "../0123456789abcdefABCDEF01234567"] {
            assert_eq!(text.parse::<PageId>(), Err(NotAPage), "{text}");
        }
    }

    #[test]
    fn a_title_is_cut_and_cleaned() {
        let page = "0123456789abcdefABCDEF0123456789".parse::<PageId>().unwrap();
        let shown = |title: &str| Candidate::new(page.clone(), "https://a.example".to_owned(), title).title;
        assert_eq!(shown("Sign in"), "Sign in");
        assert!(!shown("Sign in\u{202e}\u{7}").contains(['\u{202e}', '\u{7}']));
        assert!(shown(&"x".repeat(5000)).chars().count() < 300);
        assert!(!shown("your code is 123456").contains("123456"));
    }
}
