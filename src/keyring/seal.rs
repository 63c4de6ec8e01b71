//! The sealed bytes, and what binds them to their place.
//!
//! ```text
//! byte 0       format: 1
//! bytes 1..5   epoch of the key, big-endian
//! bytes 5..37  salt, random for each seal
//! the rest     AES-256-GCM ciphertext and 16-byte tag
//! ```

use aes_gcm::{
    Aes256Gcm,
    aead::{Aead as _, KeyInit as _, Payload},
};
use zeroize::Zeroizing;

use super::key::Key;
use crate::{
    domain::{
        ids::{AccountId, SecretId, VaultId},
        time::Timestamp,
    },
    random::{NoRandomness, Random},
};

const FORMAT: u8 = 1;
const SALT_AT: usize = 5;
const BODY_AT: usize = 37;

/// Where a blob belongs. Anywhere else it does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The account of the record.
    pub account: AccountId,
    /// The record.
    pub secret: SecretId,
    /// Which writing of the record.
    pub version: u32,
    /// When the record was made.
    pub created_at: Timestamp,
}

/// What a blob holds: the `info` of its key and part of its additional data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Seed,
    Metadata,
    RootKey,
    DataKey,
    Bundle,
}

/// Why a blob does not open. It says nothing of what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenSealError {
    /// Cut short, changed, moved from another place, or sealed under another key.
    #[error("a sealed value is damaged or not in its place")]
    Damaged,
    /// A format that this version does not know.
    #[error("a sealed value has a format that this version does not know")]
    UnknownFormat,
    /// A data key that this process does not have.
    #[error("a sealed value was written under a key epoch that this process does not know")]
    UnknownEpoch,
}

impl Column {
    const fn info(self) -> &'static [u8] {
        match self {
            Self::Seed => b"countersign/v1/seed",
            Self::Metadata => b"countersign/v1/metadata",
            Self::RootKey => b"countersign/v1/root-key",
            Self::DataKey => b"countersign/v1/data-key",
            Self::Bundle => b"countersign/v1/bundle",
        }
    }
}

/// The additional data of a record's blob, but for format and epoch: length-prefixed fields in this order for ever.
pub(super) fn bound(vault: VaultId, column: Column, place: &Place) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    for field in [
        column.info(),
        vault.as_bytes(),
        place.account.as_bytes(),
        place.secret.as_bytes(),
        &place.version.to_be_bytes(),
        &place.created_at.millis().to_be_bytes(),
    ] {
        out.extend_from_slice(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(field);
    }
    out
}

fn bound_key(vault: VaultId, column: Column, number: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    for field in [column.info(), vault.as_bytes(), &number.to_be_bytes()] {
        out.extend_from_slice(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(field);
    }
    out
}

/// Seals a key under another.
pub(super) fn wrap(
    by: &Key,
    vault: VaultId,
    column: Column,
    number: u32,
    plain: &[u8],
    random: &dyn Random,
) -> Result<Vec<u8>, NoRandomness> {
    seal(by, number, &bound_key(vault, column, number), column, plain, random)
}

/// Opens a key sealed under another.
pub(super) fn unwrap(
    by: &Key,
    vault: VaultId,
    column: Column,
    number: u32,
    wrapped: &[u8],
) -> Result<Zeroizing<Vec<u8>>, OpenSealError> {
    open(by, &bound_key(vault, column, number), column, wrapped)
}

/// The epoch that a blob names, before anything of it is trusted.
pub(super) fn epoch_of(sealed: &[u8]) -> Result<u32, OpenSealError> {
    match sealed.first() {
        None => Err(OpenSealError::Damaged),
        Some(&FORMAT) => {
            let bytes = sealed.get(1..SALT_AT).and_then(|bytes| bytes.try_into().ok());
            bytes.map(u32::from_be_bytes).ok_or(OpenSealError::Damaged)
        }
        Some(_) => Err(OpenSealError::UnknownFormat),
    }
}

pub(super) fn seal(
    key: &Key,
    epoch: u32,
    bound: &[u8],
    column: Column,
    plain: &[u8],
    random: &dyn Random,
) -> Result<Vec<u8>, NoRandomness> {
    let mut salt = [0; 32];
    random.fill(&mut salt)?;
    let mut out = Vec::with_capacity(BODY_AT + plain.len() + 16);
    out.push(FORMAT);
    out.extend_from_slice(&epoch.to_be_bytes());
    out.extend_from_slice(&salt);
    let aad = additional(&out, bound);
    let body =
        with_cipher(key, &salt, column, |cipher, nonce| cipher.encrypt(nonce, Payload { msg: plain, aad: &aad }).ok());
    // AES-GCM refuses only plaintexts above 64 GiB; ours have a limit of kilobytes.
    out.extend_from_slice(&body.ok_or(NoRandomness)?);
    Ok(out)
}

pub(super) fn open(
    key: &Key,
    bound: &[u8],
    column: Column,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, OpenSealError> {
    epoch_of(sealed)?;
    let (head, body) = sealed.split_at_checked(BODY_AT).ok_or(OpenSealError::Damaged)?;
    let salt: &[u8; 32] = head.get(SALT_AT..).and_then(|salt| salt.try_into().ok()).ok_or(OpenSealError::Damaged)?;
    let aad = additional(head, bound);
    with_cipher(key, salt, column, |cipher, nonce| cipher.decrypt(nonce, Payload { msg: body, aad: &aad }).ok())
        .map(Zeroizing::new)
        .ok_or(OpenSealError::Damaged)
}

/// Format and epoch stand in the blob and in its additional data, so that neither can be changed.
fn additional(head: &[u8], bound: &[u8]) -> Vec<u8> {
    let mut aad = Vec::with_capacity(SALT_AT + bound.len());
    aad.extend_from_slice(head.get(..SALT_AT).unwrap_or_default());
    aad.extend_from_slice(bound);
    aad
}

type GcmNonce = aes_gcm::Nonce<aes_gcm::aead::consts::U12>;

fn with_cipher<T>(key: &Key, salt: &[u8; 32], column: Column, act: impl FnOnce(&Aes256Gcm, &GcmNonce) -> T) -> T {
    let derived = key.derive(salt, column.info());
    let (cipher_key, nonce) = derived.split_at(32);
    let nonce: [u8; 12] = std::array::from_fn(|nth| nonce.get(nth).copied().unwrap_or_default());
    let mut fixed = Zeroizing::new([0_u8; 32]);
    fixed.copy_from_slice(cipher_key);
    let fixed_key: &[u8; 32] = &fixed;
    act(&Aes256Gcm::new(fixed_key.into()), (&nonce).into())
}
