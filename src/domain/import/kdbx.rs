//! `KeePass` databases, versions 3.1 and 4: the container around the XML of `keepass.rs`. A password, a key file or both
//! open them here; hardware keys don't.

use std::io::Read as _;

use aes::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use chacha20::ChaCha20;
use data_encoding::BASE64;
use flate2::read::GzDecoder;
use hmac::{Hmac, Mac as _};
use salsa20::{
    Salsa20,
    cipher::{KeyIvInit as _, StreamCipher},
};
use sha2::{Digest as _, Sha256, Sha512};
use zeroize::Zeroizing;

use super::{
    Format, Import, ImportError,
    kdbx_header::{CHACHA20, Derivation, Header, InnerStream, TWOFISH, Version},
    kdbx_key, keepass,
    sealed::{How, Key, Locked, cbc, cbc_of},
};
use crate::domain::limits::IMPORT_UNPACKED_BYTES_MAX;

/// The nonce of Salsa20 in every database.
const SALSA20_NONCE: [u8; 8] = [0xE8, 0x30, 0x09, 0x4B, 0x97, 0x20, 0x5D, 0x2A];
/// The number of the block that authenticates the header.
const HEADER_BLOCK: u64 = u64::MAX;

/// A database.
pub(super) struct Sealed {
    pub(super) header: Header,
    /// The header as it is in the file, which is authenticated.
    head: Vec<u8>,
    /// The bytes that follow it.
    body: Vec<u8>,
}

/// A database, or `None` if the file is not a database.
pub(super) fn locked(bytes: &[u8]) -> Option<Result<Locked, ImportError>> {
    let rest = bytes.strip_prefix(Header::MAGIC)?;
    Some(Header::read(rest).map(|(header, body)| {
        let head = bytes.len() - body.len();
        let head = bytes.get(..head).unwrap_or_default().to_vec();
        Locked::new(Format::KeePass, How::Kdbx(Box::new(Sealed { header, head, body: body.to_vec() })))
    }))
}

impl Sealed {
    pub(super) fn open(&self, passphrase: &str, key_file: Option<&[u8]>) -> Result<Import, ImportError> {
        let composite = composite(passphrase, key_file)?;
        let transformed = match &self.header.derivation {
            Derivation::Aes { rounds, seed } => aes_transformed(&composite, seed, *rounds),
            Derivation::Argon2 { kdf, salt } => kdf.derive(composite.as_slice(), salt)?,
        };
        let seed = &self.header.master_seed;
        let key =
            Zeroizing::new(<[u8; 32]>::from(Sha256::new().chain_update(seed).chain_update(*transformed).finalize()));
        match self.header.version {
            Version::Three => self.open_3(&key),
            Version::Four => self.open_4(&key, &transformed),
        }
    }

    /// Version 3.1: everything is encrypted, and begins with bytes that the header repeats.
    fn open_3(&self, key: &Key) -> Result<Import, ImportError> {
        let plain = self.decrypted(key, &self.body).ok_or(ImportError::WrongKeysOrDamaged)?;
        let start = self.header.start.as_slice();
        let blocks = plain.strip_prefix(start).filter(|_| !start.is_empty());
        let packed = hashed_blocks(blocks.ok_or(ImportError::WrongKeysOrDamaged)?).ok_or(ImportError::Damaged)?;
        let inner = self.header.inner.clone().ok_or(ImportError::Damaged)?;
        document(&self.unpacked(packed)?, inner)
    }

    /// Version 4: the header and the encrypted blocks are authenticated, and the inner stream's key is inside.
    fn open_4(&self, key: &Key, transformed: &Key) -> Result<Import, ImportError> {
        let (hash, rest) = self.body.split_first_chunk::<32>().ok_or(ImportError::Truncated)?;
        let (proof, blocks) = rest.split_first_chunk::<32>().ok_or(ImportError::Truncated)?;
        if Sha256::digest(&self.head).as_slice() != hash {
            return Err(ImportError::Damaged);
        }
        let base = Sha512::new().chain_update(&self.header.master_seed).chain_update(**transformed).chain_update([1]);
        let base = Zeroizing::new(<[u8; 64]>::from(base.finalize()));
        let header = block_mac(&base, HEADER_BLOCK).chain_update(&self.head);
        header.verify_slice(proof).map_err(|_| ImportError::WrongKeys)?;
        let sealed = proven_blocks(&base, blocks).ok_or(ImportError::Damaged)?;
        let plain = self.unpacked(self.decrypted(key, &sealed).ok_or(ImportError::Damaged)?)?;
        let (inner, xml) = InnerStream::read(&plain).ok_or(ImportError::Damaged)?;
        document(xml, inner)
    }

    fn decrypted(&self, key: &Key, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        if self.header.cipher == TWOFISH {
            return cbc_of::<twofish::Twofish>(key, &self.header.nonce, sealed);
        }
        if self.header.cipher != CHACHA20 {
            return cbc(key, &self.header.nonce, sealed);
        }
        let nonce: [u8; 12] = self.header.nonce.as_slice().try_into().ok()?;
        let mut plain = Zeroizing::new(sealed.to_vec());
        ChaCha20::new((&**key).into(), (&nonce).into()).apply_keystream(&mut plain);
        Some(plain)
    }

    fn unpacked(&self, packed: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, ImportError> {
        if !self.header.is_packed {
            return Ok(packed);
        }
        let mut plain = Zeroizing::new(Vec::with_capacity(packed.len()));
        let most = IMPORT_UNPACKED_BYTES_MAX as u64 + 1;
        GzDecoder::new(packed.as_slice()).take(most).read_to_end(&mut plain).map_err(|_| ImportError::Damaged)?;
        if plain.len() > IMPORT_UNPACKED_BYTES_MAX {
            Err(ImportError::Bounds("the database's size"))
        } else {
            Ok(plain)
        }
    }
}

/// The input of the key derivation: a passphrase, a key file, or both. An empty passphrase beside a key file counts as
/// no passphrase, as in the programs that make databases; without a key file it is a passphrase.
fn composite(passphrase: &str, key_file: Option<&[u8]>) -> Result<Key, ImportError> {
    let mut both = Sha256::new();
    if key_file.is_none() || !passphrase.is_empty() {
        both.update(Sha256::digest(passphrase.as_bytes()));
    }
    if let Some(file) = key_file {
        both.update(*kdbx_key::key_of(file)?);
    }
    Ok(Zeroizing::new(both.finalize().into()))
}

/// Reads the XML, with the stream that hides its protected values.
fn document(xml: &[u8], inner: InnerStream) -> Result<Import, ImportError> {
    let xml = std::str::from_utf8(xml).map_err(|_| ImportError::Damaged)?;
    let xml = xml.trim_start_matches('\u{FEFF}');
    let mut stream: Box<dyn StreamCipher> = match inner {
        InnerStream::Salsa20(key) => {
            let key = Zeroizing::new(<[u8; 32]>::from(Sha256::digest(&key)));
            Box::new(Salsa20::new((&*key).into(), (&SALSA20_NONCE).into()))
        }
        InnerStream::ChaCha20(key) => {
            let key = Zeroizing::new(<[u8; 64]>::from(Sha512::digest(&key)));
            let (cipher_key, rest) = key.split_first_chunk::<32>().ok_or(ImportError::Damaged)?;
            let nonce = rest.first_chunk::<12>().ok_or(ImportError::Damaged)?;
            Box::new(ChaCha20::new(cipher_key.into(), nonce.into()))
        }
    };
    keepass::read(xml, &mut |text| {
        let mut plain = Zeroizing::new(BASE64.decode(text.trim().as_bytes()).ok()?);
        stream.try_apply_keystream(&mut plain).ok()?;
        // An attachment may be protected too, and is no text.
        Some(Zeroizing::new(String::from_utf8_lossy(&plain).into_owned()))
    })
}

/// The derivation of old databases: AES in many rounds.
fn aes_transformed(composite: &[u8; 32], seed: &[u8; 32], rounds: u64) -> Key {
    let cipher = aes::Aes256::new(seed.into());
    let mut halves = Zeroizing::new(*composite);
    let (pairs, _) = halves.as_chunks_mut::<16>();
    for half in pairs {
        let block: &mut aes::Block = half.into();
        for _ in 0..rounds {
            cipher.encrypt_block(&mut *block);
        }
    }
    Zeroizing::new(Sha256::digest(halves.as_slice()).into())
}

/// The contents of blocks that each carry a hash (version 3.1).
fn hashed_blocks(mut bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut all = Zeroizing::new(Vec::with_capacity(bytes.len()));
    loop {
        let (_, rest) = bytes.split_first_chunk::<4>()?;
        let (hash, rest) = rest.split_first_chunk::<32>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (block, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        if block.is_empty() {
            return Some(all);
        }
        if Sha256::digest(block).as_slice() != hash {
            return None;
        }
        all.extend_from_slice(block);
        bytes = rest;
    }
}

/// The contents of blocks that are each authenticated, and still encrypted (version 4).
fn proven_blocks(base: &[u8; 64], mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut all = Vec::with_capacity(bytes.len());
    for number in 0_u64.. {
        let (proof, rest) = bytes.split_first_chunk::<32>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (block, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        let mac = block_mac(base, number).chain_update(number.to_le_bytes()).chain_update(length).chain_update(block);
        mac.verify_slice(proof).ok()?;
        if block.is_empty() {
            break;
        }
        all.extend_from_slice(block);
        bytes = rest;
    }
    Some(all)
}

/// The MAC of a block, by its own key.
fn block_mac(base: &[u8; 64], number: u64) -> Hmac<Sha256> {
    let key = Sha512::new().chain_update(number.to_le_bytes()).chain_update(base).finalize();
    let key = Zeroizing::new(<[u8; 64]>::from(key));
    // The key is as long as a block of the hash, so it is used as it is.
    Hmac::<Sha256>::new((&*key).into())
}
