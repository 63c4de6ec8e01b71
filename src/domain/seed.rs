//! The seed: the key bytes that every code of a secret is made from. The one value this program exists to keep.

use std::sync::LazyLock;

use data_encoding::{BASE32_NOPAD, Encoding};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::limits::SEED_BYTES_MAX;

/// Bytes of a text that can be a seed: four for each of its bytes.
const TEXT_BYTES_MAX: usize = SEED_BYTES_MAX * 4;

/// Key bytes of a TOTP secret, 1..=128 of them, wiped on drop.
///
/// No `Debug`, `Clone`, `Serialize` or `PartialEq`: it can be opened by [`Seed::expose`] alone, which a reviewer can
/// search for.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Seed(Box<[u8]>);

/// Why a text or some bytes are no seed. It says nothing of the input.
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
    /// So many characters as no number of bytes makes.
    #[error("has a length that base32 never has: characters are missing, or too many")]
    Length,
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

    /// Reads base32 as people and services write it: spaces, dashes, lower case and `=` padding are all accepted.
    ///
    /// # Errors
    /// [`SeedError`], which never quotes the text.
    pub fn from_base32(text: &str) -> Result<Self, SeedError> {
        // The longest seed is 205 characters; no spacing makes more than twice that of it.
        if text.len() > TEXT_BYTES_MAX {
            return Err(SeedError::TooLong);
        }
        let mut kept = Zeroizing::new(Vec::with_capacity(text.len()));
        kept.extend(text.trim().bytes().filter(|b| !matches!(b, b' ' | b'-')).map(|b| b.to_ascii_uppercase()));
        while kept.last() == Some(&b'=') {
            kept.pop();
        }
        if !kept.iter().all(|symbol| matches!(symbol, b'A'..=b'Z' | b'2'..=b'7')) {
            return Err(SeedError::NotBase32);
        }
        let longest = BASE32_NOPAD.decode_len(kept.len()).map_err(|_| SeedError::Length)?;
        let mut bytes = Zeroizing::new(vec![0_u8; longest]);
        let written = BASE32_LENIENT.decode_mut(&kept, &mut bytes).map_err(|_| SeedError::NotBase32)?;
        bytes.truncate(written);
        Self::from_bytes(bytes)
    }

    /// The key bytes. The one way in: search for `expose` to find everybody who looks.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Base32, upper case, no padding: how a registration's answer shows it, once.
    pub fn to_base32(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE32_NOPAD.encode(&self.0))
    }

    /// How many bytes it has.
    #[expect(clippy::len_without_is_empty, reason = "a seed is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// RFC 4648 base32 without padding that ignores left-over bits: several services cut their seeds at a character.
static BASE32_LENIENT: LazyLock<Encoding> = LazyLock::new(|| {
    let mut spec = BASE32_NOPAD.specification();
    spec.check_trailing_bits = false;
    // The specification of a valid encoding, made laxer, is valid.
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
    fn a_seed_has_1_to_128_bytes() {
        let seed = |count| Seed::from_bytes(Zeroizing::new(vec![7; count])).map(|seed| seed.len());
        assert_eq!(seed(0), Err(SeedError::Empty));
        assert_eq!(seed(1), Ok(1));
        assert_eq!(seed(SEED_BYTES_MAX), Ok(SEED_BYTES_MAX));
        assert_eq!(seed(SEED_BYTES_MAX + 1), Err(SeedError::TooLong));

        let text = |count| BASE32_NOPAD.encode(&vec![7; count]);
        check(&text(SEED_BYTES_MAX), Ok(&text(SEED_BYTES_MAX)));
        check(&text(SEED_BYTES_MAX + 1), Err(SeedError::TooLong));
        check(&format!("AA{}", " ".repeat(TEXT_BYTES_MAX - 2)), Ok("AA"));
        check(&format!("AA{}", " ".repeat(TEXT_BYTES_MAX - 1)), Err(SeedError::TooLong));
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
