//! Words that stand for a keyed hash, for people to compare or to type: two on a page and in a chat show that both are
//! about the same thing, and four prove that a person has seen a terminal.

/// Short, common words without a hyphen, a homophone or a second spelling in the list. Their order never matters: no
/// word is stored.
#[rustfmt::skip]
const WORDS: [&str; 256] = [
    "acorn", "agate", "alder", "alley", "amber", "anchor", "anvil", "apple", "april", "apron", "arch", "arrow",
    "ash", "aspen", "atlas", "autumn", "badge", "baker", "bamboo", "banjo", "barley", "basil", "basket", "beach",
    "beaver", "bell", "berry", "birch", "bison", "blanket", "blossom", "boat", "bonnet", "border", "bottle",
    "boulder", "bramble", "branch", "brass", "breeze", "brick", "bridge", "bronze", "brook", "brush", "bucket",
    "butter", "button", "cabin", "cactus", "camel", "candle", "canoe", "canyon", "carbon", "carpet", "castle",
    "cedar", "cellar", "chalk", "cherry", "chess", "chimney", "cider", "cinder", "circle", "citrus", "clay",
    "cliff", "clover", "coast", "cobalt", "comet", "copper", "coral", "cotton", "cradle", "crane", "crater",
    "cricket", "crystal", "curtain", "cypress", "daisy", "delta", "desert", "diamond", "dolphin", "donkey", "dove",
    "drum", "dune", "eagle", "echo", "elbow", "elder", "ember", "emerald", "engine", "falcon", "feather", "fern",
    "fiddle", "field", "finch", "flag", "flame", "flint", "flute", "forest", "fossil", "fountain", "fox", "galaxy",
    "garden", "garlic", "garnet", "gate", "gecko", "ginger", "glacier", "globe", "goose", "gorge", "grape",
    "granite", "gravel", "guitar", "hammer", "harbor", "harp", "hazel", "helmet", "hermit", "heron", "hill",
    "honey", "horizon", "hornet", "indigo", "iris", "island", "ivory", "ivy", "jacket", "jade", "jasmine", "jigsaw",
    "juniper", "kayak", "kettle", "kite", "kiwi", "koala", "ladder", "lagoon", "lantern", "laurel", "lemon", "lily",
    "linen", "lizard", "lobster", "locket", "lotus", "magnet", "mango", "maple", "marble", "meadow", "melon",
    "meteor", "mint", "mirror", "moss", "mountain", "mustard", "nectar", "needle", "nutmeg", "oak", "oasis",
    "ocean", "olive", "onyx", "opal", "orbit", "orchid", "otter", "owl", "oyster", "paddle", "palm", "panda",
    "paper", "parrot", "peach", "pebble", "pelican", "pepper", "piano", "pigeon", "pillow", "pine", "planet",
    "plum", "pocket", "pond", "poppy", "prairie", "prism", "puffin", "pumpkin", "quartz", "quill", "rabbit",
    "radish", "raven", "reef", "ribbon", "ridge", "river", "robin", "rocket", "rose", "ruby", "saddle", "saffron",
    "salmon", "sandal", "sapphire", "satin", "scarf", "shadow", "shell", "silver", "sparrow", "spider", "spruce",
    "squirrel", "star", "stone", "summit", "sunset", "swan", "tango", "temple", "thistle", "thunder", "tiger",
    "timber", "topaz", "tower", "trumpet", "tulip", "turtle",
];

/// The words for some bytes, one for each, with hyphens between them.
pub fn words_of(bytes: &[u8]) -> String {
    let word = |byte: &u8| WORDS.get(usize::from(*byte)).copied().unwrap_or_default();
    bytes.iter().map(word).collect::<Vec<_>>().join("-")
}

/// Brings typed words into the form of [`words_of`]: case, and the characters between the words, don't matter.
pub fn normal_words(typed: &str) -> String {
    let words = typed.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_words_are_taken_for_each_other() {
        let beginnings: HashSet<_> = WORDS.iter().collect();
        assert_eq!(beginnings.len(), WORDS.len());
        assert!(WORDS.iter().all(|word| word.len() >= 3 && word.bytes().all(|b| b.is_ascii_lowercase())));
    }

    #[test]
    fn words_are_read_however_a_person_types_them() {
        let words = words_of(&[0, 255, 7, 7]);
        assert_eq!(words.matches('-').count(), 3);
        let typed = format!("  {} ", words.to_uppercase().replace('-', " , "));
        assert_eq!(normal_words(&typed), words);
        assert_ne!(normal_words("acorn"), words);
    }
}
