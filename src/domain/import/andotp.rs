//! `andOTP`: an array of entries. Old versions have no issuer and write it into the label.

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{
    Format, Import, ImportError,
    entry::{Entry, Key, Kind, Number, Place, RawEntry},
    json::Json,
    refused::has_other_mark,
    said::Said,
    sealed::{How, Kdf, Locked, gcm, json_of},
};

/// Rounds and salt before the nonce of a backup.
const HEAD_BYTES: usize = 4 + 12;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// An encrypted backup.
pub(super) struct Sealed {
    /// `None` for a file that can only be of a version before 0.6.3, which had no key derivation.
    kdf: Option<Kdf>,
    file: Vec<u8>,
}

/// The fewest rounds of the app and of programs that write its format. Many other files begin with a small number.
const ROUNDS_MIN: u32 = 10_000;

/// Whether a file may be an encrypted backup. It has no mark: only its first number and the right password identify it.
pub(super) fn locked(bytes: &[u8]) -> Option<Result<Locked, ImportError>> {
    let (rounds, rest) = bytes.split_first_chunk::<4>()?;
    let rounds = u32::from_be_bytes(*rounds);
    let kdf = Kdf::pbkdf2_sha1(Number::Is(u64::from(rounds))).ok().filter(|_| rounds >= ROUNDS_MIN)?;
    let is_long = rest.len() >= HEAD_BYTES - 4 + NONCE_BYTES + TAG_BYTES;
    (is_long && !has_other_mark(bytes) && is_even(rest))
        .then(|| Ok(Sealed { kdf: Some(kdf), file: bytes.to_vec() }.locked()))
}

/// Whether a file of no other format may be a backup of a version before 0.6.3, which begins with a nonce: only
/// encrypted bytes look like this.
pub(super) fn old_locked(bytes: &[u8]) -> Option<Result<Locked, ImportError>> {
    let is_long = bytes.len() > NONCE_BYTES + TAG_BYTES;
    (is_long && !has_other_mark(bytes) && !is_mostly_text(bytes) && is_even(bytes))
        .then(|| Ok(Sealed { kdf: None, file: bytes.to_vec() }.locked()))
}

/// Whether most bytes are those of a text, such as one in an old encoding. Of encrypted bytes, two in five are.
fn is_mostly_text(bytes: &[u8]) -> bool {
    let of_text = bytes.iter().filter(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~')).count();
    of_text > bytes.len() / 4 * 3
}

/// Whether the bytes of a file are spread as evenly as those of a cipher: it has no more pairs of equal bytes than
/// chance gives, by six standard deviations. A text, a picture or a program has.
fn is_even(bytes: &[u8]) -> bool {
    let mut counts = [0_u64; 256];
    for byte in bytes {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let pairs = |count: u64| u128::from(count) * u128::from(count.saturating_sub(1)) / 2;
    let found: u128 = counts.iter().map(|count| pairs(*count)).sum();
    let usual = pairs(bytes.len() as u64) / 256;
    found <= usual + 6 * (usual.isqrt() + 1)
}

impl Sealed {
    const fn locked(self) -> Locked {
        Locked::new(Format::AndOtp, How::AndOtp(self))
    }

    pub(super) fn open(&self, passphrase: &str) -> Result<Import, ImportError> {
        let plain = match self.kdf {
            Some(kdf) => self.open_new(kdf, passphrase)?.or_else(|| self.open_old(passphrase)),
            None => self.open_old(passphrase),
        };
        Ok(read(json_of(&plain.ok_or(ImportError::WrongPassphraseOrOther)?)?.list()))
    }

    fn open_new(&self, kdf: Kdf, passphrase: &str) -> Result<Option<Zeroizing<Vec<u8>>>, ImportError> {
        let Some((head, sealed)) = self.file.split_at_checked(HEAD_BYTES) else { return Ok(None) };
        let key = kdf.derive(passphrase.as_bytes(), head.get(4..).unwrap_or_default())?;
        Ok(opened(&key, sealed))
    }

    /// Opens a backup as versions before 0.6.3 encrypted it.
    fn open_old(&self, passphrase: &str) -> Option<Zeroizing<Vec<u8>>> {
        let key = Zeroizing::new(<[u8; 32]>::from(Sha256::digest(passphrase)));
        opened(&key, &self.file)
    }
}

fn opened(key: &[u8; 32], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, sealed) = sealed.split_at_checked(NONCE_BYTES)?;
    gcm(key, nonce, sealed, &[])
}

/// Reads a plain backup.
pub(super) fn read(items: &[Json]) -> Import {
    let said = Said::default();
    Import::of_list(Format::AndOtp, items, |item, place| entry(item, place, &said))
}

fn entry(json: &Json, place: Place, said: &Said) -> Entry {
    let (issuer, label) = (json.get("issuer").text(), json.get("label").text());
    let (issuer, account) = match label.split_once(" - ") {
        Some(parted) if issuer.trim().is_empty() && !json.has("issuer") => parted,
        _ => match label.split_once(':') {
            Some(parted) if issuer.trim().is_empty() => parted,
            _ => (issuer, label),
        },
    };
    let raw = RawEntry {
        kind: Kind::of_word(json.get("type").word()),
        issuer,
        account,
        key: Key::Text(json.get("secret").word()),
        algorithm: json.get("algorithm").word(),
        digits: json.get("digits").number(),
        period: json.get("period").number(),
    };
    said.entry(raw, json, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_of_rounds_that_the_app_uses_marks_a_backup() {
        let noise: Vec<u8> = (0..60_u8).map(|at| at.wrapping_mul(37)).collect();
        let file = |first: u32| [first.to_be_bytes().as_slice(), &noise].concat();
        assert!(locked(&file(150_000)).is_some());
        // The length of the first box of a photograph or a film.
        for first in [0, 1, 24, 36, 9_999] {
            assert!(locked(&file(first)).is_none(), "{first}");
        }
        // Bytes that are not encrypted are no backup after such a number, either.
        assert!(locked(&[150_000_u32.to_be_bytes().as_slice(), &[7; 60]].concat()).is_none());
    }
}
