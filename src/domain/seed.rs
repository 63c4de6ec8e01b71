//! The seed: the key bytes from which every code of a secret is made. The most sensitive value of this program.

use std::{collections::BTreeSet, sync::LazyLock};

use data_encoding::{BASE32_NOPAD, Encoding, HEXUPPER};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{
    characters::parts_groups,
    limits::{SEED_BYTES_MAX, SEED_TEXT_BYTES_MAX},
};

/// The fewest bytes of any service's seed. A shorter text may be a word: `enabled` is base32, too.
pub const SEED_BYTES_USUAL: usize = 10;
/// A seed with fewer letters than this may be a word of a name.
const LETTERS_OF_WORDS: usize = 12;
/// The most letters at the end of a written seed that may make no whole byte.
const LETTERS_LEFT_OVER: usize = 2;
/// The fewest letters of any service's seed.
pub const SEED_CHARS_USUAL: usize = 16;

/// Key bytes of a TOTP secret, 1..=128 of them, wiped on drop.
///
/// No `Debug`, `Clone`, `Serialize` or `PartialEq`: only [`Seed::expose`] opens it, so a reviewer can search for that.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Seed(Box<[u8]>);

/// Why a text or some bytes are not a seed. The error holds nothing of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SeedError {
    /// No bytes at all.
    #[error("is empty")]
    Empty,
    /// More than [`SEED_BYTES_MAX`] bytes.
    #[error("is longer than 128 bytes")]
    TooLong,
    /// A character outside the base32 alphabet.
    #[error("is not base32 (letters A to Z and digits 2 to 7)")]
    NotBase32,
    /// A number of characters that no number of bytes encodes to.
    #[error("has a length that base32 never has: characters are missing, or too many")]
    Length,
    /// Two seeds or more, or one in long pieces.
    #[error("looks like several seeds; give one at a time, without spaces, dashes or other signs in it")]
    Several,
}

/// The number of seeds that a text looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seeds {
    /// One, perhaps in groups; or something else.
    One,
    /// Two of 16 letters, or one of 32 with a gap in its middle: the text does not show which.
    PerhapsTwo,
    /// Several.
    Several,
}

impl Seeds {
    /// The remark on a secret that is kept although it is [`Self::PerhapsTwo`].
    pub const DOUBT: &str =
        "its secret is in two parts of 16 letters, which may be two secrets; compare it with the app or the service";

    /// Looks at the gaps of a text. Gaps between the groups of a seed are alike, and groups are short. So where gaps of
    /// one kind leave two pieces that are each as long as a seed, these are two seeds, whatever the gaps inside them.
    pub fn of(text: &str) -> Self {
        let is_gap = |c: char| !c.is_alphanumeric();
        // The letters of each group, with the gap before it.
        let mut groups: Vec<(&str, usize)> = Vec::new();
        let (mut gap, mut rest) = ("", text.trim_matches(is_gap));
        // A longer text is refused for its length.
        while !rest.is_empty() && text.len() <= SEED_TEXT_BYTES_MAX {
            let (group, behind) = rest.split_at(rest.find(is_gap).unwrap_or(rest.len()));
            groups.push((gap, if group.bytes().all(is_symbol) { group.len() } else { 0 }));
            rest = behind.trim_start_matches(is_gap);
            gap = behind.strip_suffix(rest).unwrap_or_default();
        }
        let gaps: BTreeSet<&str> = groups.iter().skip(1).map(|(gap, _)| *gap).collect();
        let seeds = gaps.into_iter().map(|kind| {
            let pieces = groups.chunk_by(|_, (gap, _)| *gap != kind);
            let lengths: Vec<usize> = pieces.map(|piece| piece.iter().map(|(_, letters)| letters).sum()).collect();
            match lengths.as_slice() {
                [SEED_CHARS_USUAL, SEED_CHARS_USUAL] if kind.chars().all(parts_groups) => Self::PerhapsTwo,
                lengths if lengths.iter().filter(|length| **length >= SEED_CHARS_USUAL).count() > 1 => Self::Several,
                _ => Self::One,
            }
        });
        seeds.max().unwrap_or(Self::One)
    }
}

impl Seed {
    /// Takes raw key bytes.
    ///
    /// # Errors
    /// [`SeedError::Empty`] or [`SeedError::TooLong`].
    #[expect(clippy::needless_pass_by_value, reason = "the buffer is handed over, so that it is wiped here")]
    pub fn from_bytes(bytes: Zeroizing<Vec<u8>>) -> Result<Self, SeedError> {
        match bytes.len() {
            0 => Err(SeedError::Empty),
            n if n > SEED_BYTES_MAX => Err(SeedError::TooLong),
            // The copy keeps the buffer exactly as long as the seed; the original is wiped by its own type.
            _ => Ok(Self(bytes.as_slice().into())),
        }
    }

    /// Reads base32 as people write it: white space and dashes of every kind, lower case and `=` padding are accepted.
    /// A length that base32 never has is refused, since a character was lost or doubled in typing.
    ///
    /// # Errors
    /// [`SeedError`], which never quotes the text.
    pub fn from_base32(text: &str) -> Result<Self, SeedError> {
        Self::from_symbols(&symbols(text)?)
    }

    /// Reads the base32 of a URI. No person typed it, so its length is what the service intended: as phones do, this
    /// drops bits that make no whole byte.
    ///
    /// # Errors
    /// [`SeedError`], which never quotes the text.
    pub fn from_uri_base32(text: &str) -> Result<Self, SeedError> {
        let mut kept = symbols(text)?;
        // With one, three or six characters beyond a multiple of eight, the last character contributes to no byte.
        if matches!(kept.len() % 8, 1 | 3 | 6) {
            kept.pop();
            if kept.is_empty() {
                return Err(SeedError::Length);
            }
        }
        Self::from_symbols(&kept)
    }

    fn from_symbols(kept: &[u8]) -> Result<Self, SeedError> {
        let longest = BASE32_NOPAD.decode_len(kept.len()).map_err(|_| SeedError::Length)?;
        let mut bytes = Zeroizing::new(vec![0_u8; longest]);
        let written = BASE32_LENIENT.decode_mut(kept, &mut bytes).map_err(|_| SeedError::NotBase32)?;
        bytes.truncate(written);
        Self::from_bytes(bytes)
    }

    /// The key bytes. The only access: search for `expose` to find every use.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Base32, upper case, no padding, as a registration's answer shows it once.
    pub fn to_base32(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE32_NOPAD.encode(&self.0))
    }

    /// Whether a text holds it in base32 or hexadecimal, in groups or not. A seed that is shorter than usual may be a
    /// word of the text, so it counts only if the text holds nothing else.
    pub fn is_in(&self, text: &str) -> bool {
        let (base32, hex) = (self.to_base32(), Zeroizing::new(HEXUPPER.encode(&self.0)));
        let mut bare = Zeroizing::new(String::with_capacity(text.len()));
        bare.extend(text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()));
        // The last letters may differ: bits that make no whole byte are dropped when a seed is read.
        let whole = base32.get(..self.0.len() * 8 / 5).unwrap_or(&base32);
        if base32.len() < LETTERS_OF_WORDS {
            return *bare == *hex || bare.starts_with(whole) && bare.len() - whole.len() <= LETTERS_LEFT_OVER;
        }
        bare.contains(whole) || bare.contains(hex.as_str())
    }

    /// The number of bytes.
    #[expect(clippy::len_without_is_empty, reason = "a seed is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// The base32 characters of a text, in upper case, without separators and padding.
fn symbols(text: &str) -> Result<Zeroizing<Vec<u8>>, SeedError> {
    if text.len() > SEED_TEXT_BYTES_MAX {
        return Err(SeedError::TooLong);
    }
    if Seeds::of(text) == Seeds::Several {
        return Err(SeedError::Several);
    }
    // Allocate room for all of it: a buffer that grows leaves copies behind.
    let mut kept = Zeroizing::new(Vec::with_capacity(text.len()));
    for symbol in text.chars().filter(|c| !parts_groups(*c)) {
        kept.push(u8::try_from(symbol).map_err(|_| SeedError::NotBase32)?.to_ascii_uppercase());
    }
    while kept.last() == Some(&b'=') {
        kept.pop();
    }
    if kept.iter().copied().all(is_symbol) { Ok(kept) } else { Err(SeedError::NotBase32) }
}

/// Whether a byte is a character of base32, in any case.
const fn is_symbol(byte: u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'2'..=b'7')
}

/// RFC 4648 base32 without padding that ignores left-over bits: several services cut their seeds at a character.
static BASE32_LENIENT: LazyLock<Encoding> = LazyLock::new(|| {
    let mut spec = BASE32_NOPAD.specification();
    spec.check_trailing_bits = false;
    // A valid specification with a check removed is still valid.
    spec.encoding().unwrap_or(BASE32_NOPAD)
});

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, SeedError>) {
        let read = Seed::from_base32(text).map(|seed| seed.to_base32());
        assert_eq!(read.as_ref().map(|text| text.as_str()).map_err(|error| *error), expected, "{text}");
    }

    #[test]
    fn base32_is_read_as_people_and_services_write_it() {
        for text in [
            "JBSWY3DPEHPK3PXP",
            "jbswy3dpehpk3pxp",
            " jbsw y3dp ehpk 3pxp\n",
            "JBSW-Y3DP-EHPK-3PXP",
            "JBSWY3DPEHPK3PXP======",
            "J B S W Y 3 D P E H P K 3 P X P",
            "-JBSWY3DPEHPK3PXP-==",
        ] {
            check(text, Ok("JBSWY3DPEHPK3PXP"));
        }
        check("AA", Ok("AA"));
        check("GE======", Ok("GE"));
    }

    #[test]
    fn white_space_and_dashes_of_every_kind_part_a_seed() {
        for joint in [
            "\u{a0}",
            "\u{2011}",
            "\u{2010}",
            "\u{2012}",
            "\u{2013}",
            "\u{2014}",
            "\u{2015}",
            "\u{2212}",
            "\u{ff0d}",
            "\u{fe63}",
            "\u{301c}",
            "\t",
            "\n",
            "\r\n",
            "\u{b}",
            "\u{c}",
            "\u{85}",
            "\u{1680}",
            "\u{2003}",
            "\u{2009}",
            "\u{2028}",
            "\u{2029}",
            "\u{202f}",
            "\u{205f}",
            "\u{3000}",
            "\u{200b}",
            "\u{ad}",
            "\u{2060}",
            "\u{feff}",
            "\u{200e}",
            " \u{2013} ",
        ] {
            check(&["JBSW", "Y3DP", "EHPK", "3PXP"].join(joint), Ok("JBSWY3DPEHPK3PXP"));
            check(&format!("{joint}JBSWY3DP{joint}==={joint}"), Ok("JBSWY3DP"));
        }
        for (file, seed) in [
            (include_str!("../../tests/fixtures/seed-nbsp.txt"), "JBSWY3DPEHPK3PXP"),
            (include_str!("../../tests/fixtures/seed-nonbreaking-hyphen.txt"), "JBSWY3DPEHPK3PXP"),
        ] {
            check(file, Ok(seed));
        }
        for other in ["_", ".", "/", "\u{0}", "\u{1b}", "\u{b7}", "\u{e000}", "\u{301}"] {
            check(&format!("JBSW{other}Y3DP"), Err(SeedError::NotBase32));
        }
    }

    #[test]
    fn left_over_bits_of_a_uri_are_dropped_and_a_typed_seed_of_that_length_is_refused() {
        for (cut, whole) in [
            ("JBSWY3DPEHPK3PXPJBSWY3DPEHP", "JBSWY3DPEHPK3PXPJBSWY3DPEE"),
            ("JBSWY3DPE", "JBSWY3DP"),
            ("JBSWY3DPEHP===", "JBSWY3DPEE"),
            ("jbswy3 dpehpk3p", "JBSWY3DPEHPK2"),
        ] {
            let read = Seed::from_uri_base32(cut).map(|seed| seed.to_base32().to_string());
            assert_eq!(read.as_deref(), Ok(whole), "{cut}");
            check(cut, Err(SeedError::Length));
        }
        for (text, error) in [("A", SeedError::Length), ("", SeedError::Empty), ("JBSW!", SeedError::NotBase32)] {
            assert_eq!(Seed::from_uri_base32(text).map(|_| ()), Err(error), "{text}");
        }
    }

    #[test]
    fn several_seeds_are_told_from_one_in_groups() {
        let (one, other) = ("gezd gnbv gy3t qojq", "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP");
        let half = &other[..16];
        for (text, seeds) in [
            (String::new(), Seeds::One),
            (other.to_owned(), Seeds::One),
            (format!("{one} {one}"), Seeds::One),
            (format!("{other} for bob"), Seeds::One),
            (format!("{half} {half}"), Seeds::PerhapsTwo),
            (format!("{half}-{half}"), Seeds::PerhapsTwo),
            (format!("{one}  {one}"), Seeds::PerhapsTwo),
            (format!("{half}/{half}"), Seeds::Several),
            (format!("{half}\n{half}"), Seeds::PerhapsTwo),
            (format!("{half} {half} {half}"), Seeds::Several),
            (format!("{half} {half} for bob"), Seeds::Several),
            (format!("{other} {half}"), Seeds::Several),
            (format!("{other}\u{2013}{other}"), Seeds::Several),
            (format!("{one} / {other}"), Seeds::Several),
            (format!("{one}\n{one}"), Seeds::PerhapsTwo),
            ("3fd85c9a01e4b7728fd0 3fd85c9a01e4b7728fd0".to_owned(), Seeds::One),
        ] {
            assert_eq!(Seeds::of(&text), seeds, "{text:?}");
            if seeds == Seeds::Several {
                check(&text, Err(SeedError::Several));
                assert_eq!(Seed::from_uri_base32(&text).map(|_| ()), Err(SeedError::Several), "{text}");
            }
        }
    }

    #[test]
    fn bits_left_over_are_dropped() {
        check("GH", Ok("GE"));
        check("JBSWY3DPEHPK3PXPJR", Ok("JBSWY3DPEHPK3PXPJQ"));
    }

    #[test]
    fn what_is_no_base32_is_refused() {
        for text in ["0", "1", "8", "9", "JBSWY3D0", "JB=SWY3D", "JBSW_Y3DP", "JBSW.Y3DP", "ÄÖÜ", "\u{0}AA", "ＪＢＳＷ"]
        {
            check(text, Err(SeedError::NotBase32));
        }
        for cut in ["A", "AAA", "AAAAAA", "AAAAAAAAA"] {
            check(cut, Err(SeedError::Length));
        }
        for empty in ["", " ", "====", " - - ="] {
            check(empty, Err(SeedError::Empty));
        }
    }

    #[test]
    fn a_name_holds_a_seed_in_base32_or_hexadecimal_in_any_case_and_groups() {
        let seed = Seed::from_bytes(Zeroizing::new(b"12345678901234567890".to_vec())).unwrap();
        let hex = "3132333435363738393031323334353637383930";
        let groups = "31 32 33 34-35 36 37 38 39 30 31:32:33:34 35 36 37 38 39 30";
        for holds in ["GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "gezd-gnbv gy3tqojq.gezdgnbv gy3tqojq!", hex, groups] {
            assert!(seed.is_in(holds) && seed.is_in(&format!("ada ({holds})")), "{holds}");
        }
        for other in ["", "ada", "GEZDGNBVGY3TQOJQ", &hex[..38]] {
            assert!(!seed.is_in(other), "{other}");
        }
        let letters = Seed::from_bytes(Zeroizing::new(vec![0xAB; 10])).unwrap();
        assert!(letters.is_in("aBABababABababababab") && letters.is_in("0xABABABABABABABABABAB"));
        for written in ["MFRGGZDFMZTWQ2LKNNXW6YTBOB", "mfrggzdfmztwq2lkno", "MFRGGZDFMZTWQ2L", "MFRGGZDF2Z"] {
            let seed = Seed::from_base32(written).unwrap();
            assert!(seed.is_in(written), "{written}");
        }
        let cut = "JBSWY3DPEHPK3PXPJBSWY3DPEHP";
        assert!(Seed::from_uri_base32(cut).unwrap().is_in(cut));
        let fifteen = Seed::from_base32("QWB5PDKHX6PYGPB").unwrap();
        assert!(fifteen.is_in("ada QWB5PDKHX6PYGPB") && fifteen.is_in("(qwb5-pdkh-x6py-gpb)"));
        let short = Seed::from_bytes(Zeroizing::new(vec![0xDE, 0xAD])).unwrap();
        assert!(!short.is_in("dead end") && !short.is_in("my 32WQ"), "it may be a word");
        assert!(short.is_in("dead") && short.is_in("32wq"), "it is nothing else");
    }

    #[test]
    fn a_seed_has_1_to_128_bytes() {
        let seed = |count| Seed::from_bytes(Zeroizing::new(vec![7; count])).map(|seed| seed.len());
        assert_eq!(seed(0), Err(SeedError::Empty));
        assert_eq!(seed(1), Ok(1));
        assert_eq!(seed(SEED_BYTES_MAX), Ok(SEED_BYTES_MAX));
        assert_eq!(seed(SEED_BYTES_MAX + 1), Err(SeedError::TooLong));

        let text = |count| BASE32_NOPAD.encode(&vec![7; count]);
        check(&text(SEED_BYTES_MAX), Ok(&text(SEED_BYTES_MAX)));
        check(&text(SEED_BYTES_MAX + 1), Err(SeedError::TooLong));
        check(&format!("AA{}", " ".repeat(SEED_TEXT_BYTES_MAX - 2)), Ok("AA"));
        check(&format!("AA{}", " ".repeat(SEED_TEXT_BYTES_MAX - 1)), Err(SeedError::TooLong));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(bytes in proptest::collection::vec(any::<u8>(), 1..=SEED_BYTES_MAX)) {
            let seed = Seed::from_bytes(Zeroizing::new(bytes.clone())).unwrap();
            prop_assert_eq!(seed.expose(), bytes.as_slice());

            let again = Seed::from_base32(&seed.to_base32()).unwrap();
            prop_assert_eq!(again.expose(), bytes.as_slice());
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*") {
            let _ = Seed::from_base32(&text);
        }
    }
}
