//! Words that name a secret, a seat or a key: in any order, in any case, with the accents composed or not.

use unicode_normalization::UnicodeNormalization as _;

/// A text in the form that is compared: composed (NFC) and without case.
pub fn folded(text: &str) -> String {
    // By way of upper case `ß` becomes `ss` and the long s an `s`, as Unicode's case folding has it.
    let upper: String = text.nfc().flat_map(char::to_uppercase).collect();
    upper.chars().flat_map(char::to_lowercase).nfc().collect()
}

/// The words of a query, folded. What is neither letter nor digit separates: `github.com` is two words. A query of signs
/// alone, such as an emoji, is one word.
pub fn words(text: &str) -> Vec<String> {
    let folded = folded(text);
    let parts = folded.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let words: Vec<String> = parts.map(str::to_owned).collect();
    let signs = folded.trim();
    if words.is_empty() && !signs.is_empty() { vec![signs.to_owned()] } else { words }
}

/// Whether every word of a query occurs in issuer and label taken together. An empty query matches nothing.
pub fn matches(query: &str, issuer: Option<&str>, label: &str) -> bool {
    let words = words(query);
    let text = folded(&format!("{} {label}", issuer.unwrap_or_default()));
    !words.is_empty() && words.iter().all(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, expected: bool) {
        assert_eq!(matches(query, Some("GitHub"), "ada@Example.com"), expected, "{query}");
    }

    #[test]
    fn words_are_found_in_issuer_and_label_together_without_case() {
        for query in ["GitHub ada", "ada github", "github.com", "GitHub: ada@example.com", "ADA", "exam git"] {
            check(query, true);
        }
        for query in ["", "  ", "gitlab ada", "bob", "🔑"] {
            check(query, false);
        }
    }

    #[test]
    fn accents_are_the_same_composed_and_decomposed() {
        assert!(matches("mu\u{308}ller", None, "M\u{fc}ller"));
        assert!(matches("M\u{dc}LLER", None, "mu\u{308}ller"));
        assert!(matches("STRASSE", None, "Hauptstraße") && matches("🔑", None, "my 🔑"));
    }
}
