//! The seed: the key bytes that every code of a secret is made from. The one value this program exists to keep.

use data_encoding::BASE32_NOPAD;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::limits::SEED_BYTES_MAX;

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
    /// A character outside the base32 alphabet, or bits left over.
    #[error("is not base32 (letters A to Z and digits 2 to 7)")]
    NotBase32,
}

impl Seed {
    /// Takes raw key bytes.
    ///
    /// # Errors
    /// [`SeedError::Empty`] or [`SeedError::TooLong`].
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
        // Twice the longest encoding is more than any spacing makes of it; beyond that it is not worth wiping copies.
        if text.len() > SEED_BYTES_MAX * 4 {
            return Err(SeedError::TooLong);
        }
        let mut kept = Zeroizing::new(Vec::with_capacity(text.len()));
        kept.extend(text.trim().bytes().filter(|b| !matches!(b, b' ' | b'-')).map(|b| b.to_ascii_uppercase()));
        while kept.last() == Some(&b'=') {
            kept.pop();
        }
        let longest = BASE32_NOPAD.decode_len(kept.len()).map_err(|_| SeedError::NotBase32)?;
        let mut bytes = Zeroizing::new(vec![0_u8; longest]);
        let written = base32_lenient().decode_mut(&kept, &mut bytes).map_err(|_| SeedError::NotBase32)?;
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
fn base32_lenient() -> &'static data_encoding::Encoding {
    static ENCODING: std::sync::OnceLock<data_encoding::Encoding> = std::sync::OnceLock::new();
    ENCODING.get_or_init(|| {
        let mut spec = BASE32_NOPAD.specification();
        spec.check_trailing_bits = false;
        spec.encoding().unwrap_or(BASE32_NOPAD)
    })
}
