//! The headers of `KeePass` databases: the cipher, the key derivation, and its cost, which is checked here.

use super::{
    ImportError,
    entry::Number,
    sealed::{Kdf, Variant},
};
use crate::domain::limits::IMPORT_KDBX_ROUNDS_MAX;

/// AES-256 in CBC mode.
const AES: [u8; 16] = 0x31C1_F2E6_BF71_4350_BE58_0521_6AFC_5AFF_u128.to_be_bytes();
/// `ChaCha20`.
pub(super) const CHACHA20: [u8; 16] = 0xD603_8A2B_8B6F_4CB5_A524_339A_31DB_B59A_u128.to_be_bytes();
/// Twofish in CBC mode.
pub(super) const TWOFISH: [u8; 16] = 0xAD68_F29F_576F_4BB9_A36A_D47A_F965_346C_u128.to_be_bytes();
/// The two ids of the derivation by AES.
const AES_KDF: [[u8; 16]; 2] = [
    0xC9D9_F39A_628A_4460_BF74_0D08_C18A_4FEA_u128.to_be_bytes(),
    0x7C02_BB82_79A7_4AC0_927D_114A_0064_8238_u128.to_be_bytes(),
];
const ARGON2D: [u8; 16] = 0xEF63_6DDF_8C29_444B_91F7_A9A4_03E3_0A0C_u128.to_be_bytes();
const ARGON2ID: [u8; 16] = 0x9E29_8B19_56DB_4773_B23D_FC3E_C6F0_A1E6_u128.to_be_bytes();

/// The generation of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Three,
    Four,
}

/// A key derivation within the bounds.
pub(super) enum Derivation {
    Aes { rounds: u64, seed: [u8; 32] },
    Argon2 { kdf: Kdf, salt: Vec<u8> },
}

/// The stream that hides protected values, with its key.
#[derive(Clone)]
pub(super) enum InnerStream {
    Salsa20(Vec<u8>),
    ChaCha20(Vec<u8>),
}

/// A header.
pub(super) struct Header {
    pub(super) version: Version,
    pub(super) cipher: [u8; 16],
    pub(super) is_packed: bool,
    pub(super) master_seed: Vec<u8>,
    pub(super) nonce: Vec<u8>,
    pub(super) derivation: Derivation,
    /// The first decrypted bytes (version 3.1).
    pub(super) start: Vec<u8>,
    /// The inner stream in version 3.1; in version 4 it is encrypted.
    pub(super) inner: Option<InnerStream>,
}

impl Header {
    /// The mark at the start of a database.
    pub(super) const MAGIC: &[u8] = &[0x03, 0xD9, 0xA2, 0x9A, 0x67, 0xFB, 0x4B, 0xB5];

    /// Reads the header after its mark, and returns it with the bytes that follow it.
    pub(super) fn read(bytes: &[u8]) -> Result<(Self, &[u8]), ImportError> {
        let (minor_and_major, rest) = bytes.split_first_chunk::<4>().ok_or(ImportError::Truncated)?;
        let version = match u32::from_le_bytes(*minor_and_major) >> 16 {
            3 => Version::Three,
            4 => Version::Four,
            _ => {
                return Err(ImportError::Refused(
                    "a KeePass database of an unknown version; export CSV from KeePassXC",
                ));
            }
        };
        let (fields, rest) = fields(rest, version).ok_or(ImportError::Truncated)?;
        let field = |id: u8| fields.iter().find(|(known, _)| *known == id).map_or(&[][..], |(_, value)| *value);
        let cipher: [u8; 16] = field(2).try_into().map_err(|_| ImportError::Damaged)?;
        if ![AES, CHACHA20, TWOFISH].contains(&cipher) {
            return Err(ImportError::Refused("a KeePass database with a rare cipher; export CSV from KeePassXC"));
        }
        let derivation = match version {
            Version::Three => aes(number(field(6)), field(5))?,
            Version::Four => derivation(field(11))?,
        };
        let header = Self {
            version,
            cipher,
            is_packed: number(field(3)) == 1,
            master_seed: field(4).to_vec(),
            nonce: field(7).to_vec(),
            derivation,
            start: field(9).to_vec(),
            inner: InnerStream::of(number(field(10)), field(8)),
        };
        Ok((header, rest))
    }

    /// Bytes of memory that the derivation takes.
    pub(super) const fn memory(&self) -> u64 {
        match &self.derivation {
            Derivation::Aes { .. } => 0,
            Derivation::Argon2 { kdf, .. } => kdf.memory(),
        }
    }
}

impl InnerStream {
    fn of(id: u64, key: &[u8]) -> Option<Self> {
        match id {
            2 => Some(Self::Salsa20(key.to_vec())),
            3 => Some(Self::ChaCha20(key.to_vec())),
            _ => None,
        }
    }

    /// Reads the header inside a database of version 4, and returns the document behind it.
    pub(super) fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (fields, rest) = fields(bytes, Version::Four)?;
        let field = |id: u8| fields.iter().find(|(known, _)| *known == id).map(|(_, value)| *value);
        Some((Self::of(number(field(1)?), field(2)?)?, rest))
    }
}

type Field<'a> = (u8, &'a [u8]);

/// The fields of a header up to the last one, whose id is 0, and the bytes that follow.
pub(super) fn fields(mut bytes: &[u8], version: Version) -> Option<(Vec<Field<'_>>, &[u8])> {
    let mut fields = Vec::new();
    loop {
        let (id, rest) = bytes.split_first()?;
        let (length, rest) = match version {
            Version::Three => {
                rest.split_first_chunk::<2>().map(|(length, rest)| (u32::from(u16::from_le_bytes(*length)), rest))?
            }
            Version::Four => rest.split_first_chunk::<4>().map(|(length, rest)| (u32::from_le_bytes(*length), rest))?,
        };
        let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        if *id == 0 {
            return Some((fields, rest));
        }
        fields.push((*id, value));
        bytes = rest;
    }
}

/// A number of up to eight bytes, the lowest first.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn aes(rounds: u64, seed: &[u8]) -> Result<Derivation, ImportError> {
    if rounds > IMPORT_KDBX_ROUNDS_MAX {
        return Err(ImportError::Bounds("the database's number of rounds"));
    }
    Ok(Derivation::Aes { rounds, seed: seed.try_into().map_err(|_| ImportError::Damaged)? })
}

/// The derivation of version 4: a dictionary.
fn derivation(bytes: &[u8]) -> Result<Derivation, ImportError> {
    let entries = dictionary(bytes).ok_or(ImportError::Damaged)?;
    let value = |name: &[u8]| entries.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    let count = |name: &[u8]| value(name).map_or(Number::Absent, |bytes| Number::Is(number(bytes)));
    let id: [u8; 16] = value(b"$UUID").and_then(|id| id.try_into().ok()).ok_or(ImportError::Damaged)?;
    let salt = value(b"S").unwrap_or_default();
    if AES_KDF.contains(&id) {
        return aes(number(value(b"R").unwrap_or_default()), salt);
    }
    if id != ARGON2D && id != ARGON2ID || value(b"K").is_some() || value(b"A").is_some() {
        return Err(ImportError::Refused(
            "a KeePass database with an unknown key derivation; export CSV from KeePassXC",
        ));
    }
    let kib = value(b"M").map_or(Number::Absent, |bytes| Number::Is(number(bytes) / 1024));
    let variant = match (id == ARGON2D, count(b"V")) {
        (true, Number::Is(0x10)) => Variant::Argon2dOld,
        (true, _) => Variant::Argon2d,
        (false, Number::Is(0x10)) => Variant::Argon2idOld,
        (false, _) => Variant::Argon2id,
    };
    Ok(Derivation::Argon2 { kdf: Kdf::argon2(variant, kib, count(b"I"), count(b"P"))?, salt: salt.to_vec() })
}

/// The names and values of a dictionary, up to its end.
fn dictionary(bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let (_, mut bytes) = bytes.split_first_chunk::<2>()?;
    let mut entries = Vec::new();
    loop {
        let (kind, rest) = bytes.split_first()?;
        if *kind == 0 {
            return Some(entries);
        }
        let (name, rest) = counted(rest)?;
        let (value, rest) = counted(rest)?;
        entries.push((name, value));
        bytes = rest;
    }
}

fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}
