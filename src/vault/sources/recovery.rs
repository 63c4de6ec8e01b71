//! A recovery key: 256 random bits as 24 words of BIP-39, the last of which holds a checksum, so that words that were written
//! down wrong are noticed.

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::{
    random::{NoRandomness, Random},
    vault::key::{Kek, Key},
};

/// The English list of BIP-39: 2,048 words in order, no two of which begin with the same four letters.
const WORDS: &str = include_str!("recovery_words.txt");
/// The number of words of a key: 256 bits and a checksum of 8, at 11 bits a word.
const COUNT: usize = 24;
const WORD_BITS: usize = 11;

/// The words of a recovery key. No `Debug`.
pub struct RecoveryWords(Zeroizing<[u8; 32]>);

/// Why a text is no recovery key. The error does not hold a word of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    /// Too few or too many words.
    #[error("a recovery key has 24 words, and these are {0}")]
    Count(usize),
    /// A word that is not in the list.
    #[error("word {0} is not one that a recovery key can have; see how it is spelt")]
    Word(usize),
    /// The checksum is wrong.
    #[error("a word is wrong or in another's place: the last one does not fit the others")]
    Checksum,
}

impl RecoveryWords {
    /// Generates a key.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn generate(random: &dyn Random) -> Result<Self, NoRandomness> {
        let mut bytes = Zeroizing::new([0; 32]);
        random.fill(bytes.as_mut_slice())?;
        Ok(Self(bytes))
    }

    /// Reads the words, in any case, with white space of any kind and, as they are shown, a number before each.
    ///
    /// # Errors
    /// [`RecoveryError`].
    pub fn parse(text: &str) -> Result<Self, RecoveryError> {
        let typed = || {
            text.split(|c: char| c.is_whitespace() || c == '.')
                .filter(|word| !word.is_empty() && !word.bytes().all(|b| b.is_ascii_digit()))
        };
        let count = typed().count();
        if count != COUNT {
            return Err(RecoveryError::Count(count));
        }
        // The bits of the key, then those of the checksum.
        let mut bits = Zeroizing::new([0_u8; 33]);
        for (nth, word) in typed().enumerate() {
            let number = number_of(word).ok_or(RecoveryError::Word(nth + 1))?;
            for bit in (0..WORD_BITS).filter(|bit| number >> (WORD_BITS - 1 - bit) & 1 == 1) {
                let at = nth * WORD_BITS + bit;
                if let Some(byte) = bits.get_mut(at / 8) {
                    *byte |= 0x80 >> (at % 8);
                }
            }
        }
        let mut key = Zeroizing::new([0; 32]);
        key.iter_mut().zip(bits.iter()).for_each(|(to, from)| *to = *from);
        if bits.last() == Some(&checksum(&key)) { Ok(Self(key)) } else { Err(RecoveryError::Checksum) }
    }

    /// The words, with a space between them. The text has room for a line break.
    pub fn text(&self) -> Zeroizing<String> {
        // The longest word has eight letters. A text that grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(COUNT * 9));
        let bit = |at: usize| {
            let byte = self.0.get(at / 8).copied().unwrap_or_else(|| checksum(&self.0));
            usize::from(byte >> (7 - at % 8) & 1)
        };
        for nth in 0..COUNT {
            let number = (0..WORD_BITS).fold(0, |number, at| number << 1 | bit(nth * WORD_BITS + at));
            if nth > 0 {
                text.push(' ');
            }
            text.push_str(WORDS.lines().nth(number).unwrap_or_default());
        }
        text
    }

    /// Whether two recovery keys are the same.
    pub fn is(&self, other: &Self) -> bool {
        *self.0 == *other.0
    }

    pub(super) fn key(&self) -> Kek {
        let mut bytes = Zeroizing::new([0; 32]);
        bytes.copy_from_slice(self.0.as_slice());
        Kek(Key::of(&bytes))
    }
}

fn number_of(word: &str) -> Option<usize> {
    WORDS.lines().position(|known| known.eq_ignore_ascii_case(word))
}

/// The first byte of the key's SHA-256.
fn checksum(key: &[u8; 32]) -> u8 {
    Sha256::digest(key).first().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    #[test]
    fn the_list_is_that_of_bip_39() {
        assert_eq!(WORDS.lines().count(), 2048);
        let digest = HEXLOWER.encode(&Sha256::digest(WORDS));
        assert_eq!(digest, "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda");
    }

    /// The vectors of 256 bits in BIP-39.
    const VECTORS: [(&str, &str); 4] = [
        (
            "0000000000000000000000000000000000000000000000000000000000000000",
            "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
             abandon abandon abandon abandon abandon abandon abandon abandon abandon art",
        ),
        (
            "7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f",
            "legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth useful legal winner \
             thank year wave sausage worth title",
        ),
        (
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo vote",
        ),
        (
            "f585c11aec520db57dd353c69554b21a89b20fb0650966fa0a9d6f74fd989d8f",
            "void come effort suffer camp survey warrior heavy shoot primary clutch crush open amazing screen patrol group space \
             point ten exist slush involve unfold",
        ),
    ];

    #[test]
    fn keys_and_words_are_those_of_bip_39() {
        for (key, words) in VECTORS {
            let bytes: [u8; 32] = HEXLOWER.decode(key.as_bytes()).unwrap().try_into().unwrap();
            assert_eq!(*RecoveryWords(Zeroizing::new(bytes)).text(), words);
            assert_eq!(*RecoveryWords::parse(words).unwrap().0, bytes);
        }
    }

    #[test]
    fn words_are_read_as_people_write_them() {
        let (_, words) = VECTORS[3];
        let numbered: Vec<String> =
            words.split(' ').zip(1..).map(|(word, nth)| format!("{nth:>2}. {}", word.to_uppercase())).collect();
        let typed = RecoveryWords::parse(&numbered.join("\r\n\t")).unwrap();
        assert!(typed.is(&RecoveryWords::parse(words).unwrap()));
        assert!(!typed.is(&RecoveryWords::parse(VECTORS[2].1).unwrap()), "the words of another key");
    }

    #[test]
    fn words_that_are_wrong_are_told_by_their_place_and_never_quoted() {
        let (_, words) = VECTORS[3];
        let refused = |text: &str| RecoveryWords::parse(text).map(|_| ()).unwrap_err();
        assert_eq!(refused(""), RecoveryError::Count(0));
        assert_eq!(refused(&format!("{words} zoo")), RecoveryError::Count(25));
        assert_eq!(refused(&words.replace("warrior", "warior")), RecoveryError::Word(7));
        assert_eq!(refused(&words.replace("warrior", "zoo")), RecoveryError::Checksum);
        let swapped = words.replace("void come", "come void");
        assert_eq!(refused(&swapped), RecoveryError::Checksum);
    }
}
