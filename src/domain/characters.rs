//! Which characters a text may hold that a model or a terminal will read: visible ones. The classes are Unicode's
//! (general category and emoji, by `unicode-properties`); this file lists what those classes don't distinguish.

use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeEmoji, UnicodeGeneralCategory as _};

use super::limits::MARKS_MAX;

/// Requests the emoji form of the character before it.
const EMOJI_FORM: char = '\u{FE0F}';
/// Requests the text form of the character before it.
const TEXT_FORM: char = '\u{FE0E}';
const JOINER: char = '\u{200D}';
const NON_JOINER: char = '\u{200C}';
const BLACK_FLAG: char = '\u{1F3F4}';
/// The flags of England, Scotland and Wales: a black flag and one of these. Any other use of tag characters, even for
/// other regions, is hidden text.
const FLAG_TAGS: [&str; 3] = [
    "\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F}",
    "\u{E0067}\u{E0062}\u{E0073}\u{E0063}\u{E0074}\u{E007F}",
    "\u{E0067}\u{E0062}\u{E0077}\u{E006C}\u{E0073}\u{E007F}",
];

/// A flaw of a text, with the index of its character, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// A character that a terminal or model would obey, or that is invisible.
    Unshowable(usize),
    /// More marks on one letter than any language puts there.
    Stacked(usize),
}

/// Whether a character, wherever it stands, is invisible or changes how a line is shown: controls, format characters,
/// line separators, private use, characters that Unicode has not assigned, variation selectors and fillers.
pub fn is_unshowable(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    let hidden_class = matches!(
        c.general_category(),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::Surrogate
            | GeneralCategory::PrivateUse
            | GeneralCategory::Unassigned
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
    );
    hidden_class || is_selector(c) || is_filler(c)
}

/// Whether a character only separates the groups of a seed or a code: white space, line breaks and dashes, and the
/// invisible format characters (zero-width spaces, soft hyphens, direction marks) that copying from a page brings
/// along.
pub fn parts_groups(c: char) -> bool {
    match c {
        ' ' | '-' => true,
        _ if c.is_ascii_alphanumeric() => false,
        // By its class the minus sign is a mathematical symbol; readers see a dash.
        '\u{2212}' => true,
        _ => {
            c.is_whitespace()
                || matches!(c.general_category(), GeneralCategory::DashPunctuation | GeneralCategory::Format)
        }
    }
}

/// Finds the first character of a text that is not allowed, among the first `within`. Joiners and variation selectors
/// are allowed where they shape visible characters, one at a time.
pub(super) fn first_flaw(text: &str, within: usize) -> Option<Flaw> {
    let mut rest = text.chars();
    let (mut before, mut base, mut marks, mut position) = (None, None, 0, 0);
    while let Some(c) = rest.next().filter(|_| position < within) {
        if c == BLACK_FLAG
            && let Some(after) = FLAG_TAGS.iter().find_map(|tags| rest.as_str().strip_prefix(tags))
        {
            position += rest.as_str().chars().count() - after.chars().count();
            rest = after.chars();
            (base, marks) = (Some(c), 0);
        } else if is_mark(c) {
            marks += 1;
        } else if !is_shaping(c) {
            (base, marks) = (Some(c), 0);
        }
        if marks > MARKS_MAX {
            return Some(Flaw::Stacked(position));
        }
        if is_unshowable(c) && !shapes(c, before, base, rest.clone().next()) {
            return Some(Flaw::Unshowable(position));
        }
        before = Some(c);
        position += 1;
    }
    None
}

fn is_mark(c: char) -> bool {
    !c.is_ascii() && c.general_category_group() == GeneralCategoryGroup::Mark && !is_selector(c)
}

/// Whether a character only shapes others, and so is no base for a mark.
fn is_shaping(c: char) -> bool {
    matches!(c, JOINER | NON_JOINER) || is_selector(c)
}

/// Whether an invisible character shapes its neighbours: `before` is the character right before it, `base` the last
/// letter or symbol.
fn shapes(c: char, before: Option<char>, base: Option<char>, after: Option<char>) -> bool {
    let joins_letters = || [before, after].into_iter().all(|near| near.is_some_and(needs_joiners));
    match c {
        NON_JOINER => joins_letters(),
        JOINER => joins_letters() || before.is_some_and(is_virama) || joins_emoji(before, base, after),
        // The vowel separator and the selectors of Mongolian.
        '\u{180E}' => [before, after].into_iter().all(|near| near.is_some_and(is_mongolian)),
        '\u{180B}'..='\u{180D}' | '\u{180F}' => before.is_some_and(is_mongolian),
        TEXT_FORM | EMOJI_FORM => before.is_some_and(UnicodeEmoji::is_emoji_char),
        // Variants of ideographs, as Japanese names are registered with, and of the letters that have standard ones.
        '\u{FE00}'..='\u{FE0D}' => before.is_some_and(|base| is_ideograph(base) || has_variants(base)),
        '\u{E0100}'..='\u{E01EF}' => before.is_some_and(is_ideograph),
        _ => false,
    }
}

/// Whether a joiner makes one picture of emoji: 👩‍💻. Digits are emoji characters too, but no pictures.
fn joins_emoji(before: Option<char>, base: Option<char>, after: Option<char>) -> bool {
    let is_picture = |c: char| c.is_emoji_char() && !c.is_ascii();
    let left = match before {
        Some(EMOJI_FORM) => base,
        other => other,
    };
    left.is_some_and(is_picture) && after.is_some_and(is_picture)
}

const fn is_selector(c: char) -> bool {
    matches!(c, '\u{180B}'..='\u{180D}' | '\u{180F}' | '\u{FE00}'..='\u{FE0F}' | '\u{E0100}'..='\u{E01EF}')
}

/// Letters, marks and symbols by class that show nothing: fillers of Hangul, inherent vowels of Khmer, blanks of
/// Braille, Egyptian, Khitan and music, the grapheme joiner, and the object replacement characters.
const fn is_filler(c: char) -> bool {
    matches!(
        c,
        '\u{034F}'
            | '\u{115F}'
            | '\u{1160}'
            | '\u{17B4}'
            | '\u{17B5}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{FFA0}'
            | '\u{FFFC}'
            | '\u{13441}'
            | '\u{13442}'
            | '\u{16FE4}'
            | '\u{1D159}'
    )
}

const fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3005}'..='\u{3007}' | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFD}')
}

/// Letters of Myanmar and Phags-pa, and punctuation of East Asia, for which Unicode lists a variant.
const fn has_variants(c: char) -> bool {
    matches!(c, '\u{1000}'..='\u{109F}' | '\u{A840}'..='\u{A877}' | '\u{AA60}'..='\u{AA7F}' | '\u{3001}' | '\u{3002}' | '\u{FF01}'..='\u{FF1F}')
}

/// Letters of the Mongolian script.
const fn is_mongolian(c: char) -> bool {
    matches!(c, '\u{1820}'..='\u{18AA}')
}

/// The signs that suppress a consonant's vowel, after which a joiner requests the half form, even at a word's end.
const fn is_virama(c: char) -> bool {
    matches!(
        c,
        '\u{094D}'
            | '\u{09CD}'
            | '\u{0A4D}'
            | '\u{0ACD}'
            | '\u{0B4D}'
            | '\u{0BCD}'
            | '\u{0C4D}'
            | '\u{0CCD}'
            | '\u{0D4D}'
            | '\u{0DCA}'
    )
}

/// Letters and marks of the scripts whose spelling needs joiners: Arabic, Syriac, N'Ko and Mongolian, and the scripts
/// of India and South-East Asia.
fn needs_joiners(c: char) -> bool {
    let script = matches!(c,
        '\u{0620}'..='\u{07FF}'
        | '\u{0840}'..='\u{0DFF}'
        | '\u{0F40}'..='\u{0FBC}'
        | '\u{1000}'..='\u{109F}'
        | '\u{1700}'..='\u{17D3}'
        | '\u{1820}'..='\u{18AA}'
        | '\u{1A20}'..='\u{1A7F}'
        | '\u{1B00}'..='\u{1BF3}'
        | '\u{1C00}'..='\u{1C37}'
        | '\u{A840}'..='\u{A8FF}'
        | '\u{A930}'..='\u{A9E5}'
        | '\u{AA00}'..='\u{AA36}'
        | '\u{ABC0}'..='\u{ABED}'
        | '\u{10D00}'..='\u{10D27}'
        | '\u{11000}'..='\u{11FFF}'
        | '\u{1E900}'..='\u{1E94B}'
    );
    let is_written = matches!(c.general_category_group(), GeneralCategoryGroup::Letter | GeneralCategoryGroup::Mark);
    script && is_written && !is_unshowable(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn passes(text: &str) {
        assert_eq!(first_flaw(text, usize::MAX), None, "{text} {:?}", text.escape_unicode().to_string());
    }

    #[track_caller]
    fn refused(text: &str, flaw: Flaw) {
        assert_eq!(first_flaw(text, usize::MAX), Some(flaw), "{}", text.escape_unicode());
    }

    #[test]
    fn ordinary_names_of_every_script_pass() {
        for name in [
            "Zoë Ångström-Łukasiewicz",                   // Latin
            "Nguyễn Thị Ánh Tuyết",                       // Vietnamese
            "Nguye\u{302}\u{303}n Thi\u{323} A\u{301}nh", // the same, decomposed
            "Παπαδόπουλος Γιώργος",                       // Greek
            "Ἀριστοτέλης",
            "Владимир Щербаков-Їжак", // Cyrillic
            "Արամ Խաչատրյան",         // Armenian
            "გიორგი მარგველაშვილი",   // Georgian
            "משה כהן־לוי",            // Hebrew
            "בְּרֵאשִׁ֖ית בָּרָ֣א",             // pointed Hebrew
            "محمد بن عبد الله",       // Arabic
            "مُحَمَّدٌ",                   // vocalised Arabic
            "علی‌رضا می‌خواهم",         // Persian, with non-joiners
            "ܡܪܝܡ",                   // Syriac
            "މުޙައްމަދު",                  // Thaana
            "ߞߏߣߊߞߙߌ",                // N'Ko
            "राजेश्वरी क्ष्‍म",            // Devanagari
            "শ্রীকান্ত চট্টোপাধ্যায়",        // Bengali
            "ਗੁਰਪ੍ਰੀਤ ਸਿੰਘ",             // Gurmukhi
            "નરેન્દ્ર પટેલ",              // Gujarati
            "ଜଗନ୍ନାଥ",                  // Odia
            "கார்த்திகேயன்",              // Tamil
            "వెంకటేశ్వర్లు",              // Telugu
            "ಶ್ರೀನಿವಾಸ್",                 // Kannada
            "രാജന്‍ കൃഷ്ണന്‍",               // Malayalam, with joiners at the end of words
            "ශ්‍රී ලංකා",                 // Sinhala
            "สมชาย น้ำทิพย์",            // Thai
            "ສົມໄຊ ແກ້ວ",               // Lao
            "བསྟན་འཛིན་རྒྱ་མཚོ",           // Tibetan
            "အောင်ဆန်းစုကြည်",            // Myanmar
            "សុខ ស្រីពៅ",                // Khmer
            "ᠴᠢᠩᠭᠢᠰ ᠬᠠᠭᠠᠨ",           // Mongolian
            "ᠰᠠᠷ\u{180e}ᠠ ᠠ\u{180b}", // with a vowel separator and a selector
            "አበበ ቢቂላ",                // Ethiopic
            "ᏣᎳᎩ ᏍᏏᏉᏯ",               // Cherokee
            "ᐃᓄᒃᑎᑐᑦ",                 // Canadian syllabics
            "山田太郎 葛\u{e0100}城", // Japanese, with a registered variant
            "さくら サクラ ー 々",
            "王小明 李\u{fe00}",               // Chinese
            "김철수 \u{1100}\u{1161}\u{11a8}", // Korean, composed and decomposed
            "ꦱꦸꦒꦼꦁ ꦫꦲꦪꦸ",                          // Javanese
            "ᬓᬢᬸᬢ᭄",                            // Balinese
            "ⵎⵓⵃⵎⵎⴷ",                          // Tifinagh
            "𞤀𞤣𞤤𞤢𞤥",                           // Adlam
            "𞄀𞄄𞄰𞄩",                             // Nyiakeng Puachue Hmong
            "ꆈꌠꁱꂷ",                        // Yi
            "𐐔𐐇𐐝𐐀𐐡𐐇𐐓",                         // Deseret
            "O’Brien & Söhne GmbH № 5 – «Ωmega»…",
            "ada+work@example.com (prod)",
        ] {
            passes(name);
        }
    }

    #[test]
    fn emoji_sequences_are_text() {
        for text in [
            "☁️ Cloud",
            "☁\u{fe0e} Cloud",
            "❤️‍🔥",
            "👨‍👩‍👧‍👦 family",
            "👩🏽‍💻",
            "🏳️‍🌈 🏳️‍⚧️",
            "🏴‍☠️",
            "1️⃣ #️⃣ *⃣",
            "🇺🇦🇯🇵",
            "👍🏿",
            "🧑‍🤝‍🧑",
            "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f} x",
            "©️ ™️ ℹ️",
            "🫱🏻‍🫲🏿",
        ] {
            passes(text);
        }
    }

    #[test]
    fn variation_selectors_joiners_and_tags_outside_sequences_are_refused() {
        for (text, at) in [
            ("a\u{fe0f}", 1),
            ("\u{fe0f}☁", 0),
            ("☁\u{fe0f}\u{fe0f}", 2),
            ("☁\u{fe0f}\u{fe00}", 2),
            ("☁\u{fe00}", 1),
            ("a\u{e0100}", 1),
            ("山\u{e0100}\u{e0101}", 2),
            ("a\u{200d}b", 1),
            ("☁\u{200d}", 1),
            ("\u{200d}☁", 0),
            ("👩\u{200d}\u{200d}💻", 1),
            ("👩\u{200d}a", 1),
            ("1\u{200d}2", 1),
            ("a\u{200c}b", 1),
            ("☁\u{200c}☁", 1),
            ("🏴\u{e0067}\u{e0062}\u{e007f}", 1),
            ("🏴\u{e0075}\u{e0073}\u{e0063}\u{e0061}\u{e007f}", 1),
            ("🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}\u{e0041}", 7),
            ("x\u{e0067}", 1),
            ("a\u{180e}b", 1),
            ("a\u{180b}", 1),
            ("ᠠ\u{180e}", 1),
        ] {
            refused(text, Flaw::Unshowable(at));
        }
    }

    #[test]
    fn every_character_that_nobody_sees_is_refused_on_its_own() {
        let all = || (0..=0x10_FFFF).filter_map(char::from_u32);
        for c in all().filter(|c| is_unshowable(*c)) {
            refused(&format!("a{c}b"), Flaw::Unshowable(1));
        }
        // Unicode's own list of characters that are not drawn by default. No version removes any from it.
        let ignorable = |c: char| {
            matches!(c,
                '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}'
                | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
                | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFF8}'
                | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
        };
        assert!(all().filter(|c| ignorable(*c)).all(is_unshowable));
        for named in [
            '\u{13430}',
            '\u{13438}',
            '\u{1343F}',
            '\u{13441}',
            '\u{16FE4}',
            '\u{FFFC}',
            '\u{2FFFF}',
            '\u{40000}',
            '\u{DFFFF}',
            '\u{0378}',
            '\u{E000}',
            '\u{F0000}',
            '\u{10FFFD}',
            '\u{FFFE}',
            '\u{FDD0}',
            '\u{2028}',
            '\u{2800}',
            '\u{FFF9}',
        ] {
            assert!(is_unshowable(named), "{}", named.escape_unicode());
        }
        assert!(all().filter(|c| c.is_alphanumeric() && !is_filler(*c)).all(|c| !is_unshowable(c)));
    }

    #[test]
    fn marks_pile_up_to_the_limit_and_not_one_beyond_it() {
        let letter = |marks: usize| format!("e{}", "\u{301}".repeat(marks));
        passes(&letter(MARKS_MAX).repeat(20));
        refused(&letter(MARKS_MAX + 1), Flaw::Stacked(MARKS_MAX + 1));
        refused(&letter(250), Flaw::Stacked(MARKS_MAX + 1));
        // An invisible character starts no new count: neither joiners nor selectors.
        let parted = format!("☁{0}\u{20dd}{0}", "\u{301}".repeat(MARKS_MAX));
        refused(&parted, Flaw::Stacked(MARKS_MAX + 1));
        let joined = format!("क\u{94d}\u{200d}{}", "\u{94d}".repeat(MARKS_MAX));
        refused(&joined, Flaw::Stacked(MARKS_MAX + 2));
    }

    #[test]
    fn only_so_many_characters_are_looked_at() {
        assert_eq!(first_flaw("abc\0", 3), None);
        assert_eq!(first_flaw("abc\0", 4), Some(Flaw::Unshowable(3)));
    }
}
