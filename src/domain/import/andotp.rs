//! `andOTP`: an array of entries. Old versions have no issuer and write it into the label.

use super::{
    Format, Import, ImportError,
    entry::{Entry, Key, Kind, Number, Place, RawEntry},
    json::Json,
    sealed::{How, Kdf, Locked, gcm, json_of},
};

/// Rounds, salt and nonce before the ciphertext, and the tag after it.
const SEALED_BYTES_MIN: usize = 4 + 12 + 12 + 16;

/// An encrypted backup.
pub(super) struct Sealed {
    kdf: Kdf,
    salt: Vec<u8>,
    nonce: Vec<u8>,
    content: Vec<u8>,
}

/// The fewest rounds of the app and of programs that write its format. Many other files begin with a small number.
const ROUNDS_MIN: u32 = 10_000;

/// Whether a file may be an encrypted backup. It has no mark: only its first number tells, and the right password.
pub(super) fn locked(bytes: &[u8]) -> Option<Result<Locked, ImportError>> {
    if bytes.len() < SEALED_BYTES_MIN {
        return None;
    }
    let (rounds, rest) = bytes.split_first_chunk::<4>()?;
    let rounds = u32::from_be_bytes(*rounds);
    let kdf = Kdf::pbkdf2_sha1(Number::Is(u64::from(rounds))).ok().filter(|_| rounds >= ROUNDS_MIN)?;
    let (salt, rest) = rest.split_at_checked(12)?;
    let (nonce, sealed) = rest.split_at_checked(12)?;
    let sealed = Sealed { kdf, salt: salt.to_vec(), nonce: nonce.to_vec(), content: sealed.to_vec() };
    Some(Ok(Locked::new(Format::AndOtp, How::AndOtp(sealed))))
}

impl Sealed {
    pub(super) fn open(&self, passphrase: &str) -> Result<Import, ImportError> {
        let key = self.kdf.derive(passphrase.as_bytes(), &self.salt)?;
        let plain = gcm(&key, &self.nonce, &self.content, &[]).ok_or(ImportError::WrongPassphraseOrDamaged)?;
        Ok(read(json_of(&plain)?.list()))
    }
}

/// Reads a plain backup.
pub(super) fn read(items: &[Json]) -> Import {
    Import::of_list(Format::AndOtp, items, entry)
}

fn entry(json: &Json, place: Place) -> Entry {
    let (issuer, label) = (json.get("issuer").text(), json.get("label").text());
    let (issuer, account) = match label.split_once(" - ") {
        Some(parted) if issuer.trim().is_empty() && !json.has("issuer") => parted,
        _ => match label.split_once(':') {
            Some(parted) if issuer.trim().is_empty() => parted,
            _ => (issuer, label),
        },
    };
    let said = RawEntry {
        kind: Kind::of_word(json.get("type").word()),
        issuer,
        account,
        key: Key::Text(json.get("secret").word()),
        algorithm: json.get("algorithm").word(),
        digits: json.get("digits").number(),
        period: json.get("period").number(),
    };
    said.entry(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_of_rounds_that_the_app_uses_marks_a_backup() {
        let file = |first: u32| [first.to_be_bytes().as_slice(), &[7; 60]].concat();
        assert!(locked(&file(150_000)).is_some());
        // The length of the first box of a photograph or a film.
        for first in [0, 1, 24, 36, 9_999] {
            assert!(locked(&file(first)).is_none(), "{first}");
        }
    }
}
