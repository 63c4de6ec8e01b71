//! Keys and seals: the only room that sees key material or looks inside ciphertext.
//!
//! ```text
//! key file (slot 0; more kinds of slots come later) ──wraps──> root key
//! root key ──wraps──> data key of each epoch, and the bundle (pepper, trail, rows)
//! data key ──HKDF-SHA256(32 random bytes of salt, purpose)──> one-use key and nonce ──AES-256-GCM──> sealed blob
//! ```
//!
//! A blob is bound to its vault, account, record, column, version and epoch: copied anywhere else it does not open.
//! GCM does not commit to its key, so every key is known by a keyed check value that is compared before it is used.
//!
//! Never: a file but the key file, a database, a permission, or a way to turn a key into text.

mod key;
mod key_file;
mod metadata;
mod seal;

use std::collections::BTreeMap;

use zeroize::Zeroizing;

pub use key::Kek;
pub use key_file::{KeyFileError, create_key_file, read_key_file};
pub use seal::{OpenSealError, Place};

use crate::{
    domain::{
        api_key::{HashedKey, PlainKey},
        ids::{SecretId, VaultId},
        secret::SecretMetadata,
        seed::Seed,
        totp::{Code, Step},
    },
    random::{NoRandomness, Random},
};
use key::Key;
use seal::Column;

/// Everything about a vault's keys that is kept beside the data: wrapped keys and check values, no key in clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The vault.
    pub vault: VaultId,
    /// Ways to unwrap the root key.
    pub slots: Vec<Slot>,
    /// Data keys, wrapped by the root key, lowest epoch first.
    pub epochs: Vec<WrappedEpoch>,
    /// The epoch that new seals use.
    pub active_epoch: u32,
    /// Pepper, trail key and row key, wrapped by the root key.
    pub bundle: Vec<u8>,
}

/// One way to unwrap the root key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its number, 0..=15.
    pub number: u8,
    /// What kind of key opens it: `file`.
    pub kind: String,
    /// Check value of the key that opens it.
    pub check: [u8; 16],
    /// The root key, sealed under that key.
    pub wrapped: Vec<u8>,
}

/// One data key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedEpoch {
    /// Its number, from 1.
    pub epoch: u32,
    /// Its check value.
    pub check: [u8; 16],
    /// The data key, sealed under the root key.
    pub wrapped: Vec<u8>,
}

/// Why a key does not open a vault. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnlockError {
    /// No slot knows this key.
    #[error("this key is not the vault's")]
    WrongKey,
    /// The key is right, but a wrapped key does not open: the vault's header is damaged.
    #[error("the vault's header is damaged")]
    Damaged,
}

/// An unlocked vault's keys.
pub struct Keyring {
    vault: VaultId,
    active_epoch: u32,
    epochs: BTreeMap<u32, Key>,
    pepper: Key,
    trail: Key,
    rows: Key,
}

/// A message authentication code. Compare it with `subtle::ConstantTimeEq`, not with `==`.
pub type Mac = [u8; 32];

impl Keyring {
    /// Makes the keys of a new vault and the header to keep.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn create(vault: VaultId, kek: &Kek, random: &dyn Random) -> Result<(Self, Header), NoRandomness> {
        const FIRST_EPOCH: u32 = 1;
        let (root, data) = (Key::generate(random)?, Key::generate(random)?);
        let (pepper, trail, rows) = (Key::generate(random)?, Key::generate(random)?, Key::generate(random)?);
        let mut bundle = Zeroizing::new(Vec::with_capacity(96));
        for key in [&pepper, &trail, &rows] {
            bundle.extend_from_slice(key.expose());
        }
        let header = Header {
            vault,
            slots: vec![Slot {
                number: 0,
                kind: "file".to_owned(),
                check: kek.0.check(),
                wrapped: seal::wrap(&kek.0, vault, Column::RootKey, 0, root.expose(), random)?,
            }],
            epochs: vec![WrappedEpoch {
                epoch: FIRST_EPOCH,
                check: data.check(),
                wrapped: seal::wrap(&root, vault, Column::DataKey, FIRST_EPOCH, data.expose(), random)?,
            }],
            active_epoch: FIRST_EPOCH,
            bundle: seal::wrap(&root, vault, Column::Bundle, 0, &bundle, random)?,
        };
        let epochs = BTreeMap::from([(FIRST_EPOCH, data)]);
        Ok((Self { vault, active_epoch: FIRST_EPOCH, epochs, pepper, trail, rows }, header))
    }

    /// Opens the header with a key.
    ///
    /// # Errors
    /// [`UnlockError::WrongKey`] if no slot knows it, [`UnlockError::Damaged`] if the rest does not open.
    pub fn unlock(header: &Header, kek: &Kek) -> Result<Self, UnlockError> {
        let slot = header.slots.iter().find(|slot| kek.0.is_checked_by(&slot.check)).ok_or(UnlockError::WrongKey)?;
        let root = unwrap(&kek.0, header.vault, Column::RootKey, u32::from(slot.number), &slot.wrapped)?;
        let mut epochs = BTreeMap::new();
        for kept in &header.epochs {
            let data = unwrap(&root, header.vault, Column::DataKey, kept.epoch, &kept.wrapped)?;
            if !data.is_checked_by(&kept.check) {
                return Err(UnlockError::Damaged);
            }
            epochs.insert(kept.epoch, data);
        }
        if !epochs.contains_key(&header.active_epoch) {
            return Err(UnlockError::Damaged);
        }
        let bundle =
            seal::unwrap(&root, header.vault, Column::Bundle, 0, &header.bundle).map_err(|_| UnlockError::Damaged)?;
        let mut keys = bundle.chunks_exact(32).map(Key::from_slice);
        let mut next = || keys.next().flatten().ok_or(UnlockError::Damaged);
        let (pepper, trail, rows) = (next()?, next()?, next()?);
        Ok(Self { vault: header.vault, active_epoch: header.active_epoch, epochs, pepper, trail, rows })
    }

    /// The vault it opens.
    pub const fn vault(&self) -> VaultId {
        self.vault
    }

    /// Seals a seed to its place.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn seal_seed(&self, seed: &Seed, place: &Place, random: &dyn Random) -> Result<Vec<u8>, NoRandomness> {
        self.seal(Column::Seed, place, seed.expose(), random)
    }

    /// Opens a seed. The one place where a seed comes out of the vault.
    ///
    /// # Errors
    /// [`OpenSealError`]: damaged, moved, or sealed under an unknown epoch.
    pub fn open_seed(&self, sealed: &[u8], place: &Place) -> Result<Seed, OpenSealError> {
        Seed::from_bytes(self.open(Column::Seed, place, sealed)?).map_err(|_| OpenSealError::Damaged)
    }

    /// Seals what is known of a secret apart from its seed.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn seal_metadata(
        &self,
        data: &SecretMetadata,
        place: &Place,
        random: &dyn Random,
    ) -> Result<Vec<u8>, NoRandomness> {
        self.seal(Column::Metadata, place, &metadata::encode(data), random)
    }

    /// Opens what is known of a secret apart from its seed.
    ///
    /// # Errors
    /// [`OpenSealError`]: damaged, moved, or sealed under an unknown epoch.
    pub fn open_metadata(&self, sealed: &[u8], place: &Place) -> Result<SecretMetadata, OpenSealError> {
        metadata::decode(&self.open(Column::Metadata, place, sealed)?).ok_or(OpenSealError::Damaged)
    }

    /// What is kept of an API key.
    pub fn hash_key(&self, key: &PlainKey) -> HashedKey {
        HashedKey(self.pepper.mac(&[b"countersign/v1/api-key", key.expose_token().as_bytes()]))
    }

    /// A keyed hash of something a caller sent, to recognise it again without keeping it.
    pub fn fingerprint(&self, purpose: &'static str, fields: &[&[u8]]) -> Mac {
        let mut all: Vec<&[u8]> = vec![b"countersign/v1/fingerprint", purpose.as_bytes()];
        all.extend_from_slice(fields);
        self.pepper.mac(&all)
    }

    /// A keyed hash of a code, for the question "did this code come from us".
    pub fn code_tag(&self, secret: SecretId, step: Step, code: &Code) -> [u8; 16] {
        self.tag_of(secret, step, code.digits())
    }

    /// The same for a code that somebody shows us.
    pub fn tag_of(&self, secret: SecretId, step: Step, digits: &str) -> [u8; 16] {
        let fields: [&[u8]; 4] = [b"countersign/v1/code", secret.as_bytes(), &step.0.to_be_bytes(), digits.as_bytes()];
        let mac = self.pepper.mac(&fields);
        std::array::from_fn(|nth| mac.get(nth).copied().unwrap_or_default())
    }

    /// The keyed hash that a row of the trail, or its head, is chained with.
    pub fn trail_mac(&self, before: &Mac, canonical: &[u8]) -> Mac {
        self.trail.mac(&[before, canonical])
    }

    /// The keyed hash over everything in a row that authorises somebody.
    pub fn row_mac(&self, table: &'static str, fields: &[&[u8]]) -> Mac {
        let mut all: Vec<&[u8]> = vec![b"countersign/v1/row", self.vault.as_bytes(), table.as_bytes()];
        all.extend_from_slice(fields);
        self.rows.mac(&all)
    }

    fn seal(&self, column: Column, place: &Place, plain: &[u8], random: &dyn Random) -> Result<Vec<u8>, NoRandomness> {
        // `create` and `unlock` both refuse an active epoch without a key.
        let key = self.epochs.get(&self.active_epoch).ok_or(NoRandomness)?;
        seal::seal(key, self.active_epoch, &seal::bound(self.vault, column, place), column, plain, random)
    }

    fn open(&self, column: Column, place: &Place, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenSealError> {
        let key = self.epochs.get(&seal::epoch_of(sealed)?).ok_or(OpenSealError::UnknownEpoch)?;
        seal::open(key, &seal::bound(self.vault, column, place), column, sealed)
    }
}

fn unwrap(by: &Key, vault: VaultId, column: Column, number: u32, wrapped: &[u8]) -> Result<Key, UnlockError> {
    seal::unwrap(by, vault, column, number, wrapped)
        .ok()
        .and_then(|bytes| Key::from_slice(&bytes))
        .ok_or(UnlockError::Damaged)
}
