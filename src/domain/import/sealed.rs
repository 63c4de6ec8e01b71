//! Encrypted files: key derivations whose cost is checked before any work, and the ciphers that exports use. Our own
//! vault never uses these.

use aes::cipher::{BlockCipherDecrypt, KeyInit};
use aes_gcm::{
    Aes256Gcm,
    aead::{Aead as _, Payload},
};
use cbc::cipher::{BlockModeDecrypt as _, KeyIvInit as _, block_padding::Pkcs7};
use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use sha1::Sha1;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{
    Format, Import, ImportError, Keys, aegis, age, andotp, archive, bitwarden, ente, entry::Number, json::Json, kdbx,
    proton, stratum, twofas,
};
use crate::domain::limits::{
    IMPORT_ARGON2_KIB_MAX, IMPORT_ARGON2_LANES_MAX, IMPORT_ARGON2_PASSES_MAX, IMPORT_PBKDF2_ROUNDS_MAX,
    IMPORT_SCRYPT_LOG_MAX, IMPORT_SCRYPT_PARALLEL_MAX,
};

/// An encrypted file, which a passphrase opens.
pub struct Locked {
    format: Format,
    how: How,
}

pub(super) enum How {
    Age(age::Sealed),
    Aegis(aegis::Sealed),
    TwoFas(twofas::Sealed),
    AndOtp(andotp::Sealed),
    Ente(ente::Sealed),
    Stratum(stratum::Sealed),
    Bitwarden(bitwarden::Sealed),
    Proton(proton::Sealed),
    Kdbx(Box<kdbx::Sealed>),
    Archive(archive::Sealed),
}

impl Locked {
    pub(super) const fn new(format: Format, how: How) -> Self {
        Self { format, how }
    }

    /// The program that wrote it.
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Bytes of memory that opening it takes beyond the file.
    pub fn memory(&self) -> u64 {
        match &self.how {
            How::Age(sealed) => sealed.kdf.memory(),
            How::Aegis(sealed) => sealed.memory(),
            How::Ente(sealed) => sealed.kdf.memory(),
            How::Stratum(sealed) => sealed.kdf.memory(),
            How::Bitwarden(sealed) => sealed.kdf.memory(),
            How::Proton(sealed) => sealed.kdf.memory(),
            How::Kdbx(sealed) => sealed.header.memory(),
            How::TwoFas(_) | How::AndOtp(_) | How::Archive(_) => 0,
        }
    }

    /// Opens it. Only a `KeePass` database has a key file. The key derivation may take seconds.
    ///
    /// # Errors
    /// [`ImportError::WrongPassphrase`], [`ImportError::WrongPassphraseOrDamaged`] where the format can't distinguish
    /// these, or an error of the contents.
    pub fn open(&self, keys: Keys<'_>) -> Result<Import, ImportError> {
        let passphrase = keys.passphrase.unwrap_or_default();
        match &self.how {
            How::Age(sealed) => sealed.open(passphrase),
            How::Aegis(sealed) => sealed.open(passphrase),
            How::TwoFas(sealed) => sealed.open(passphrase),
            How::AndOtp(sealed) => sealed.open(passphrase),
            How::Ente(sealed) => sealed.open(passphrase),
            How::Stratum(sealed) => sealed.open(passphrase),
            How::Bitwarden(sealed) => sealed.open(passphrase),
            How::Proton(sealed) => sealed.open(passphrase),
            How::Kdbx(sealed) => sealed.open(passphrase, keys.key_file),
            How::Archive(sealed) => sealed.open(passphrase),
        }
    }
}

/// A key derivation within the bounds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kdf(Derivation);

#[derive(Debug, Clone, Copy)]
enum Derivation {
    Pbkdf2Sha1(u32),
    Pbkdf2Sha256(u32),
    Scrypt { log: u8, parallel: u32 },
    Argon2 { variant: Variant, kib: u32, passes: u32, lanes: u32 },
}

/// A kind of Argon2 in one of its two versions.
#[derive(Debug, Clone, Copy)]
pub(super) enum Variant {
    Argon2id,
    Argon2d,
    /// Version 1.0.
    Argon2idOld,
    /// Version 1.0.
    Argon2dOld,
}

/// A derived key.
pub(super) type Key = Zeroizing<[u8; 32]>;

impl Kdf {
    pub(super) fn pbkdf2_sha1(rounds: Number) -> Result<Self, ImportError> {
        within("the number of rounds of PBKDF2", rounds, 1, IMPORT_PBKDF2_ROUNDS_MAX)
            .map(|rounds| Self(Derivation::Pbkdf2Sha1(rounds)))
    }

    pub(super) fn pbkdf2_sha256(rounds: Number) -> Result<Self, ImportError> {
        let rounds = within("the number of rounds of PBKDF2", rounds, 1, IMPORT_PBKDF2_ROUNDS_MAX)?;
        Ok(Self(Derivation::Pbkdf2Sha256(rounds)))
    }

    /// Scrypt with blocks of 8 × 128 bytes, the only size that any export uses.
    pub(super) fn scrypt(cost: Number, block: Number, parallel: Number) -> Result<Self, ImportError> {
        within("scrypt's block size", block, 8, 8)?;
        let cost = within("scrypt's cost", cost, 2, 1 << IMPORT_SCRYPT_LOG_MAX)?;
        let parallel = within("scrypt's parallelization", parallel, 1, IMPORT_SCRYPT_PARALLEL_MAX)?;
        let log = u8::try_from(cost.ilog2()).ok().filter(|_| cost.is_power_of_two());
        let log = log.ok_or(ImportError::Bounds("scrypt's cost"))?;
        Ok(Self(Derivation::Scrypt { log, parallel }))
    }

    pub(super) fn argon2id(kib: Number, passes: Number, lanes: Number) -> Result<Self, ImportError> {
        Self::argon2(Variant::Argon2id, kib, passes, lanes)
    }

    pub(super) fn argon2(variant: Variant, kib: Number, passes: Number, lanes: Number) -> Result<Self, ImportError> {
        let lanes = within("the number of lanes of Argon2", lanes, 1, IMPORT_ARGON2_LANES_MAX)?;
        let kib = within("Argon2's memory", kib, u64::from(lanes) * 8, IMPORT_ARGON2_KIB_MAX)?;
        let passes = within("the number of passes of Argon2", passes, 1, IMPORT_ARGON2_PASSES_MAX)?;
        Ok(Self(Derivation::Argon2 { variant, kib, passes, lanes }))
    }

    /// The work of scrypt, in blocks that it mixes; none for another derivation.
    pub(super) const fn scrypt_blocks(self) -> u64 {
        if let Derivation::Scrypt { log, parallel } = self.0 { (parallel as u64) << log } else { 0 }
    }

    /// Bytes of memory that it takes.
    pub(super) const fn memory(self) -> u64 {
        match self.0 {
            Derivation::Pbkdf2Sha1(_) | Derivation::Pbkdf2Sha256(_) => 0,
            Derivation::Scrypt { log, .. } => 1024 << log,
            Derivation::Argon2 { kib, .. } => kib as u64 * 1024,
        }
    }

    pub(super) fn derive(self, secret: &[u8], salt: &[u8]) -> Result<Key, ImportError> {
        let mut key = Zeroizing::new([0_u8; 32]);
        let out = key.as_mut_slice();
        match self.0 {
            Derivation::Pbkdf2Sha1(rounds) => pbkdf2::pbkdf2_hmac::<Sha1>(secret, salt, rounds, out),
            Derivation::Pbkdf2Sha256(rounds) => pbkdf2::pbkdf2_hmac::<Sha256>(secret, salt, rounds, out),
            Derivation::Scrypt { log, parallel } => {
                let params = scrypt::Params::new(log, 8, parallel).map_err(|_| ImportError::Damaged)?;
                scrypt::scrypt(secret, salt, &params, out).map_err(|_| ImportError::Damaged)?;
            }
            Derivation::Argon2 { variant, kib, passes, lanes } => {
                let params = argon2::Params::new(kib, passes, lanes, Some(out.len()));
                let params = params.map_err(|_| ImportError::Damaged)?;
                let argon2 = argon2::Argon2::new(variant.algorithm(), variant.version(), params);
                argon2.hash_password_into(secret, salt, out).map_err(|problem| {
                    let no_memory = problem == argon2::Error::OutOfMemory;
                    if no_memory { ImportError::Memory(self.memory() >> 20) } else { ImportError::Damaged }
                })?;
            }
        }
        Ok(key)
    }
}

impl Variant {
    const fn algorithm(self) -> argon2::Algorithm {
        match self {
            Self::Argon2id | Self::Argon2idOld => argon2::Algorithm::Argon2id,
            Self::Argon2d | Self::Argon2dOld => argon2::Algorithm::Argon2d,
        }
    }

    const fn version(self) -> argon2::Version {
        match self {
            Self::Argon2id | Self::Argon2d => argon2::Version::V0x13,
            Self::Argon2idOld | Self::Argon2dOld => argon2::Version::V0x10,
        }
    }
}

/// A cost within its bounds.
fn within(what: &'static str, number: Number, least: u64, most: u64) -> Result<u32, ImportError> {
    match number {
        Number::Is(number) if (least..=most).contains(&number) => {
            u32::try_from(number).map_err(|_| ImportError::Bounds(what))
        }
        Number::Is(_) | Number::Absent | Number::Wrong => Err(ImportError::Bounds(what)),
    }
}

/// Opens AES-256-GCM with the tag at the end.
pub(super) fn gcm(key: &[u8; 32], nonce: &[u8], sealed: &[u8], aad: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let nonce: [u8; 12] = nonce.try_into().ok()?;
    let opened = Aes256Gcm::new(key.into()).decrypt((&nonce).into(), Payload { msg: sealed, aad });
    opened.ok().map(Zeroizing::new)
}

/// Opens AES-256-CBC with PKCS#7 padding. It authenticates nothing: check a MAC before, or the contents after.
pub(super) fn cbc(key: &[u8; 32], iv: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    cbc_of::<aes::Aes256>(key, iv, sealed)
}

/// The same with another cipher.
pub(super) fn cbc_of<C: BlockCipherDecrypt + KeyInit>(
    key: &[u8; 32],
    iv: &[u8],
    sealed: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let cipher = cbc::Decryptor::<C>::new_from_slices(key, iv).ok()?;
    let mut plain = Zeroizing::new(sealed.to_vec());
    let length = cipher.decrypt_padded::<Pkcs7>(&mut plain).ok()?.len();
    plain.truncate(length);
    Some(plain)
}

/// The JSON in an opened part.
pub(super) fn json_of(plain: &[u8]) -> Result<Json, ImportError> {
    Json::parse(std::str::from_utf8(plain).map_err(|_| ImportError::Damaged)?)
}

/// Base64, with or without padding.
pub(super) fn base64(text: &str) -> Result<Vec<u8>, ImportError> {
    let padded = BASE64.decode(text.trim().as_bytes());
    padded.or_else(|_| data_encoding::BASE64_NOPAD.decode(text.trim().as_bytes())).map_err(|_| ImportError::Damaged)
}

pub(super) fn hex(text: &str) -> Result<Vec<u8>, ImportError> {
    HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).map_err(|_| ImportError::Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_beyond_the_bounds_are_refused_before_any_work() {
        let is = Number::Is;
        assert!(Kdf::pbkdf2_sha256(is(IMPORT_PBKDF2_ROUNDS_MAX)).is_ok());
        assert!(Kdf::scrypt(is(1 << 20), is(8), is(4)).is_ok());
        assert!(Kdf::argon2id(is(1 << 20), is(64), is(16)).is_ok());
        for refused in [
            Kdf::pbkdf2_sha256(is(IMPORT_PBKDF2_ROUNDS_MAX + 1)),
            Kdf::pbkdf2_sha1(is(0)),
            Kdf::pbkdf2_sha1(Number::Absent),
            Kdf::scrypt(is(1 << 21), is(8), is(1)),
            Kdf::scrypt(is(1000), is(8), is(1)),
            Kdf::scrypt(is(1024), is(9), is(1)),
            Kdf::scrypt(is(1024), is(8), is(5)),
            Kdf::argon2id(is((1 << 20) + 1), is(1), is(1)),
            Kdf::argon2id(is(7), is(1), is(1)),
            Kdf::argon2id(is(1024), is(65), is(1)),
            Kdf::argon2id(is(1024), is(1), is(17)),
            Kdf::argon2id(is(1024), Number::Wrong, is(1)),
        ] {
            assert!(matches!(refused, Err(ImportError::Bounds(_))));
        }
    }

    #[test]
    fn memory_is_known_before_it_is_taken() {
        let is = Number::Is;
        assert_eq!(Kdf::scrypt(is(1 << 15), is(8), is(1)).map(Kdf::memory).unwrap_or_default(), 32 << 20);
        assert_eq!(Kdf::argon2id(is(1 << 18), is(3), is(1)).map(Kdf::memory).unwrap_or_default(), 256 << 20);
    }
}
