//! Finds a secret by words of its issuer and label, as people and models type them.

use unicase::UniCase;
use unicode_normalization::UnicodeNormalization as _;

/// The shortest part of a host's name that is looked for anywhere in a name. A shorter one (`x` of `x.com`, `co` of
/// `amazon.co.uk`) must be a whole word of it.
const HOST_PART_CHARS_MIN: usize = 3;

/// Words, all of which must occur in the issuer and the label taken together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameQuery(Vec<String>);

impl NameQuery {
    /// The words of a text. Without words the query matches everything.
    pub fn of(text: &str) -> Self {
        Self(normalised_words(text))
    }

    /// Whether it has no words.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The words that a matching name contains literally. Host names are left out: any part of one may match.
    pub fn plain_words(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str).filter(|word| !word.contains('.'))
    }

    /// Whether a secret with this issuer and label matches.
    pub fn matches(&self, issuer: Option<&str>, label: &str) -> bool {
        let name = normalised(&[issuer.unwrap_or_default(), label].join("\n"));
        self.0.iter().all(|word| name.contains(word.as_str()) || names_host(word, &name))
    }
}

/// The words of a text, normalised: characters other than letters and digits separate words, except the dots of a
/// host's name. Of a URL only the host counts. In a text without letters and digits, signs such as an emoji are words.
pub fn normalised_words(text: &str) -> Vec<String> {
    let text = normalised(text);
    let words = text.split_whitespace().flat_map(|token| {
        let host = token.split_once("://").map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
        let parts = host.unwrap_or(token).split(|c: char| !c.is_alphanumeric() && c != '.');
        parts.map(|part| part.trim_matches('.').to_owned())
    });
    let words: Vec<String> = words.filter(|word| !word.is_empty()).collect();
    if words.is_empty() { text.split_whitespace().map(str::to_owned).collect() } else { words }
}

/// The words under which a name is indexed: as [`normalised_words`], but the parts of a host's name are words of their
/// own.
pub fn indexed_words(name: &str) -> Vec<String> {
    normalised_words(name)
        .iter()
        .flat_map(|word| word.split('.'))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Normalises a text: canonical composition (NFC), without differences of case.
pub fn normalised(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let composed: String = text.nfc().collect();
    UniCase::unicode(composed).to_folded_case().nfc().collect()
}

/// Whether a word such as `github.com` or `accounts.google.com` is the host of a service with this name: a model has a
/// page's address, and a secret has an issuer's name. The last part (`com`) is ignored.
fn names_host(word: &str, name: &str) -> bool {
    let Some((parts, _)) = word.rsplit_once('.') else { return false };
    let is_word = |part: &str| name.split(|c: char| !c.is_alphanumeric()).any(|word| word == part);
    parts
        .split('.')
        .filter(|part| !part.is_empty() && *part != "www")
        .any(|part| if part.chars().count() < HOST_PART_CHARS_MIN { is_word(part) } else { name.contains(part) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [(Option<&str>, &str); 7] = [
        (Some("GitHub"), "ada@example.com"),
        (None, "Mu\u{308}ller"),
        (Some("Straße 7"), "ΣΊΣΥΦΟΣ"),
        (Some("Google"), "bob@example.com"),
        (Some("X"), "@ada"),
        (Some("AWS"), "prod-eu/root"),
        (Some("🔑 work"), "ci"),
    ];

    /// The positions in [`NAMES`] of the names that a query finds.
    fn found(query: &str) -> Vec<usize> {
        let query = NameQuery::of(query);
        (0..NAMES.len()).filter(|at| query.matches(NAMES[*at].0, NAMES[*at].1)).collect()
    }

    #[test]
    fn every_word_occurs_in_issuer_and_label_taken_together() {
        for query in ["GitHub ada", "ada github", "GITHUB: ada@example.com", "GitHub (ada)", "git, ada", "\"github\""] {
            assert_eq!(found(query), [0], "{query}");
        }
        assert_eq!(found("example"), [0, 3]);
        assert_eq!(found("prod eu root aws"), [5]);
        for query in ["github bob", "gitlab", "ada google"] {
            assert!(found(query).is_empty(), "{query}");
        }
        for query in ["", " \t"] {
            assert_eq!(found(query).len(), NAMES.len());
        }
    }

    #[test]
    fn a_name_is_found_however_its_characters_are_written() {
        for query in ["Müller", "mu\u{308}ller", "MÜLLER", "mÜLL"] {
            assert_eq!(found(query), [1], "{query}");
        }
        for query in ["STRASSE", "straße", "STRAẞE", "σίσυφος", "Σίσυφοσ"] {
            assert_eq!(found(query), [2], "{query}");
        }
    }

    #[test]
    fn the_address_of_a_services_page_finds_it() {
        for query in
            ["github.com", "www.github.com", "https://github.com/login?return_to=x", "GitHub.com ada", "github."]
        {
            assert_eq!(found(query), [0], "{query}");
        }
        assert_eq!(found("accounts.google.com"), [3]);
        assert_eq!(found("x.com"), [4]);
        assert_eq!(found("ada@example.com"), [0]);
        for query in ["com", "gitlab.com", "ada@example.org github.org", "co.uk"] {
            let expected: &[usize] = if query == "com" { &[0, 3] } else { &[] };
            let all = found(query);
            assert!(query.contains("example.org") || all == expected, "{query}: {all:?}");
        }
    }

    #[test]
    fn signs_alone_are_looked_for_as_they_stand() {
        assert_eq!(found("🔑"), [6]);
        assert!(found("🔒").is_empty());
    }

    proptest! {
        #[test]
        fn a_name_finds_itself(issuer in "\\PC{0,20}", label in "\\PC{1,20}") {
            let query = NameQuery::of(&[issuer.as_str(), label.as_str()].join(" "));
            prop_assert!(query.matches(Some(&issuer), &label), "{:?}", query);
        }

        #[test]
        fn no_text_makes_it_panic(query: String, name: String) {
            let _ = NameQuery::of(&query).matches(Some(&name), &name);
        }
    }
}
