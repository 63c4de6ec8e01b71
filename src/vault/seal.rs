//! Sealed blobs, and how they are bound to their place.
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

/// The place of a blob. The blob does not open anywhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The account of the record.
    pub account: AccountId,
    /// The record.
    pub secret: SecretId,
    /// The version of the record's sealed value.
    pub version: u32,
    /// When the record was made.
    pub created_at: Timestamp,
}

/// The contents of a blob: the `info` of its key and part of its additional data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Seed,
    Metadata,
    RootKey,
    DataKey,
    Bundle,
    Session,
    Authority,
}

/// Why a blob does not open. The error holds nothing of its contents.
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
            Self::Session => b"countersign/v1/session",
            Self::Authority => b"countersign/v1/authority",
        }
    }
}

/// The data that a blob is bound to: its column, and its additional data except format and epoch.
pub(super) struct Bound {
    column: Column,
    data: Vec<u8>,
}

impl Bound {
    /// Binds to a record.
    pub(super) fn to_place(vault: VaultId, column: Column, place: &Place) -> Self {
        let (version, created_at) = (place.version.to_be_bytes(), place.created_at.millis().to_be_bytes());
        let fields = [vault.as_bytes(), place.account.as_bytes(), place.secret.as_bytes(), &version[..], &created_at];
        Self::to_fields(column, &fields)
    }

    /// Binds to a key's number.
    pub(super) fn to_number(vault: VaultId, column: Column, number: u32) -> Self {
        Self::to_fields(column, &[vault.as_bytes(), &number.to_be_bytes()])
    }

    /// Length-prefixed fields, in an order that never changes.
    fn to_fields(column: Column, fields: &[&[u8]]) -> Self {
        let mut data = Vec::with_capacity(128);
        for field in std::iter::once(&column.info()).chain(fields) {
            data.extend_from_slice(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
            data.extend_from_slice(field);
        }
        Self { column, data }
    }
}

/// The epoch that a blob claims; no part of it is authenticated yet.
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
    bound: &Bound,
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
    let message = Payload { msg: plain, aad: &aad };
    let body = with_cipher(key, &salt, bound.column, |cipher, nonce| cipher.encrypt(nonce, message).ok());
    // AES-GCM refuses only plaintexts above 64 GiB; ours have a limit of kilobytes.
    out.extend_from_slice(&body.ok_or(NoRandomness)?);
    Ok(out)
}

pub(super) fn open(key: &Key, bound: &Bound, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenSealError> {
    epoch_of(sealed)?;
    let (head, body) = sealed.split_at_checked(BODY_AT).ok_or(OpenSealError::Damaged)?;
    let salt: &[u8; 32] = head.get(SALT_AT..).and_then(|salt| salt.try_into().ok()).ok_or(OpenSealError::Damaged)?;
    let aad = additional(head, bound);
    let message = Payload { msg: body, aad: &aad };
    with_cipher(key, salt, bound.column, |cipher, nonce| cipher.decrypt(nonce, message).ok())
        .map(Zeroizing::new)
        .ok_or(OpenSealError::Damaged)
}

/// The additional data of a blob. Format and epoch are in it as well as in the blob, so neither can be changed.
fn additional(head: &[u8], bound: &Bound) -> Vec<u8> {
    let mut aad = Vec::with_capacity(SALT_AT + bound.data.len());
    aad.extend_from_slice(head.get(..SALT_AT).unwrap_or_default());
    aad.extend_from_slice(&bound.data);
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
