//! Stratum, formerly Authenticator Pro: `{Authenticators}`, with types and hash functions as numbers; or encrypted, in
//! one of two ways.

use super::{
    Format, Import, ImportError,
    entry::{Entry, Key, Kind, Number, Place, RawEntry},
    json::Json,
    said::Said,
    sealed::{How, Kdf, Locked, cbc, gcm, json_of},
};

/// The mark at the start of an encrypted backup.
const MAGIC: &[u8] = b"AUTHENTICATORPRO";
/// The same, before 2023.
const OLD_MAGIC: &[u8] = b"AuthenticatorPro";
/// KiB, passes and lanes of Argon2.
const ARGON2: [u64; 3] = [64 * 1024, 3, 4];
/// Rounds of PBKDF2 in old backups.
const OLD_ROUNDS: u64 = 64_000;

/// An encrypted backup.
pub(super) struct Sealed {
    pub(super) kdf: Kdf,
    salt: Vec<u8>,
    nonce: Vec<u8>,
    content: Vec<u8>,
    cipher: Cipher,
}

enum Cipher {
    Gcm,
    Cbc,
}

/// An encrypted backup, or `None` if the file is not an encrypted backup.
pub(super) fn locked(bytes: &[u8]) -> Option<Result<Locked, ImportError>> {
    let [kib, passes, lanes] = ARGON2.map(Number::Is);
    let sealed = if let Some(rest) = bytes.strip_prefix(MAGIC) {
        Kdf::argon2id(kib, passes, lanes).and_then(|kdf| Sealed::read(kdf, rest, [16, 12], Cipher::Gcm))
    } else {
        let rest = bytes.strip_prefix(OLD_MAGIC)?;
        Kdf::pbkdf2_sha1(Number::Is(OLD_ROUNDS)).and_then(|kdf| Sealed::read(kdf, rest, [20, 16], Cipher::Cbc))
    };
    Some(sealed.map(|sealed| Locked::new(Format::Stratum, How::Stratum(sealed))))
}

impl Sealed {
    /// Reads a salt and a nonce of these lengths, and the rest.
    fn read(kdf: Kdf, bytes: &[u8], [salt, nonce]: [usize; 2], cipher: Cipher) -> Result<Self, ImportError> {
        let parts = bytes.split_at_checked(salt).and_then(|(salt, rest)| Some((salt, rest.split_at_checked(nonce)?)));
        let (salt, (nonce, sealed)) = parts.ok_or(ImportError::Truncated)?;
        Ok(Self { kdf, salt: salt.to_vec(), nonce: nonce.to_vec(), content: sealed.to_vec(), cipher })
    }

    pub(super) fn open(&self, passphrase: &str) -> Result<Import, ImportError> {
        let key = self.kdf.derive(passphrase.as_bytes(), &self.salt)?;
        let plain = match self.cipher {
            Cipher::Gcm => gcm(&key, &self.nonce, &self.content, &[]),
            // Nothing authenticates the old format but that its contents are JSON.
            Cipher::Cbc => cbc(&key, &self.nonce, &self.content).filter(|plain| plain.starts_with(b"{")),
        };
        let json = json_of(&plain.ok_or(ImportError::WrongPassphraseOrDamaged)?)?;
        Ok(read(&json))
    }
}

/// Reads a plain backup.
pub(super) fn read(json: &Json) -> Import {
    let said = Said::default();
    let list = json.get("Authenticators").list();
    Import::of_list(Format::Stratum, list, |item, place| entry(item, place, &said))
}

fn entry(json: &Json, place: Place, said: &Said) -> Entry {
    let raw = RawEntry {
        kind: match json.get("Type").number() {
            Number::Is(1) => Kind::HOTP,
            Number::Is(2) | Number::Absent => Kind::Totp,
            Number::Is(3) => Kind::MOTP,
            Number::Is(4) => Kind::STEAM,
            Number::Is(5) => Kind::YANDEX,
            Number::Is(_) | Number::Wrong => Kind::Unknown,
        },
        issuer: json.get("Issuer").text(),
        account: json.get("Username").text(),
        key: Key::Text(json.get("Secret").word()),
        algorithm: match json.get("Algorithm").number() {
            Number::Absent => "",
            Number::Is(0) => "SHA1",
            Number::Is(1) => "SHA256",
            Number::Is(2) => "SHA512",
            Number::Is(_) | Number::Wrong => "unknown",
        },
        digits: json.get("Digits").number(),
        period: json.get("Period").number(),
    };
    said.entry(raw, json, place)
}
