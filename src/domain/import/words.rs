//! Names that are made of known words.

use std::collections::BTreeSet;

/// Characters of the longest name that is examined.
const NAME_CHARS: usize = 48;

/// Whether a plain name is made of these words and of those in `about`, with at least one of these.
pub(super) fn is_made_of(name: &str, words: &[&str], about: &[&[&str]]) -> bool {
    if name.len() > NAME_CHARS {
        return false;
    }
    // Each beginning of the name is examined once, however many ways there are to part it into words.
    let mut ends = BTreeSet::from([(0, false)]);
    while let Some((at, has_word)) = ends.pop_first() {
        let rest = name.get(at..).unwrap_or_default();
        if rest.is_empty() && has_word {
            return true;
        }
        let all =
            words.iter().map(|word| (word, true)).chain(about.iter().copied().flatten().map(|word| (word, has_word)));
        ends.extend(
            all.filter(|(word, _)| rest.starts_with(**word)).map(|(word, has_word)| (at + word.len(), has_word)),
        );
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_can_be_parted_in_many_ways_takes_no_longer_than_others() {
        // Two lists have `s`, so there are two ways for each letter.
        let name = "s".repeat(NAME_CHARS);
        let begun = std::time::Instant::now();
        let about: [&[&str]; 2] = [&["s"], &["s"]];
        assert!(!is_made_of(&name, &["period"], &about));
        assert!(is_made_of(&format!("{}period", &name[6..]), &["period"], &about));
        assert!(begun.elapsed() < std::time::Duration::from_secs(1), "{:?}", begun.elapsed());
    }
}
