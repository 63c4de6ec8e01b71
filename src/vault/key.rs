//! Keys: 32 bytes, wiped on drop, that can only derive, authenticate and identify themselves.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::random::{NoRandomness, Random};

/// A 256-bit key. No `Debug`, no `Clone`.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Key([u8; 32]);

/// The key-encryption key of a slot, which comes from the slot's source.
pub struct Kek(pub(super) Key);

/// A check value by which a key is recognised.
pub(super) type KeyCheck = [u8; 16];

impl Key {
    pub(super) fn generate(random: &dyn Random) -> Result<Self, NoRandomness> {
        let mut key = Self([0; 32]);
        random.fill(&mut key.0)?;
        Ok(key)
    }

    pub(super) const fn of(bytes: &[u8; 32]) -> Self {
        Self(*bytes)
    }

    pub(super) fn from_slice(bytes: &[u8]) -> Option<Self> {
        // The bytes are copied into a value that is wiped, and nowhere else.
        let mut key = Self([0; 32]);
        (bytes.len() == key.0.len()).then(|| {
            key.0.copy_from_slice(bytes);
            key
        })
    }

    /// The bytes of the key, only for wrapping.
    pub(super) const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// `HKDF-SHA256(salt, key, info)`, 44 bytes: a one-use AES-256 key and its 96-bit nonce (RFC 5869).
    pub(super) fn derive(&self, salt: &[u8; 32], info: &[u8]) -> Zeroizing<[u8; 44]> {
        let mut out = Zeroizing::new([0; 44]);
        // 44 bytes are far below HKDF's limit of 255 hashes; an error would leave zeros, which open nothing.
        let expanded = Hkdf::<Sha256>::new(Some(salt), &self.0).expand(info, out.as_mut_slice());
        debug_assert!(expanded.is_ok(), "44 bytes are within HKDF's limit");
        out
    }

    /// The key, prepared for many MACs.
    pub(super) fn for_macs(&self) -> MacKey {
        // HMAC pads a key with zeros to the hash's block of 64 bytes; padding here makes the length right by type.
        let mut block = Zeroizing::new([0_u8; 64]);
        block.iter_mut().zip(self.0).for_each(|(to, from)| *to = from);
        let block: &[u8; 64] = &block;
        MacKey(Hmac::new(block.into()))
    }

    /// The first 16 bytes of `HMAC-SHA256(key, "countersign/v1/key-check")`: it commits to the key, which GCM does not.
    pub(super) fn check(&self) -> KeyCheck {
        let mac = self.for_macs().mac(&[b"countersign/v1/key-check"]);
        std::array::from_fn(|nth| mac.get(nth).copied().unwrap_or_default())
    }

    pub(super) fn is_checked_by(&self, check: &KeyCheck) -> bool {
        self.check().ct_eq(check).into()
    }
}

/// A key with the first step of HMAC already done: that is half of the work for a short message. It is as secret as the
/// key, and wiped on drop. No `Debug`, no `Clone`.
pub(super) struct MacKey(Hmac<Sha256>);

impl MacKey {
    /// `HMAC-SHA256(key, length-prefixed fields)` (RFC 2104).
    pub(super) fn mac(&self, fields: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.0.clone();
        for field in fields {
            mac.update(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
            mac.update(field);
        }
        mac.finalize().into_bytes().into()
    }
}

/// Keeps the pages of a value out of swap until the process ends. They are not unlocked before: locks don't nest, and another
/// key may lie on the same page. `false`: the system does not allow it.
pub(super) fn lock_in_memory<T>(value: &T) -> bool {
    region::lock(std::ptr::from_ref(value), size_of::<T>()).map(std::mem::forget).is_ok()
}

impl Kek {
    /// Generates a key.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn generate(random: &dyn Random) -> Result<Self, NoRandomness> {
        Key::generate(random).map(Self)
    }
}
