//! Ente Auth's encrypted export: Argon2id, and one message of libsodium's secretstream, in which are lines of links.

use aes_gcm::KeyInit as _;
use chacha20::{
    ChaCha20, KeyIvInit as _, R20,
    cipher::{StreamCipher as _, StreamCipherSeek as _},
    hchacha,
};
use poly1305::Poly1305;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{
    Format, Import, ImportError, Opened,
    entry::Number,
    json::Json,
    links,
    sealed::{How, Kdf, Key, Locked, base64},
};

/// Bytes of a block of the cipher.
const BLOCK: usize = 64;
/// Bytes of the tag that authenticates the message.
const TAG: usize = 16;
/// Bytes of a stream's header.
const HEADER: usize = 24;

/// An encrypted export.
pub(super) struct Sealed {
    pub(super) kdf: Kdf,
    salt: Vec<u8>,
    header: [u8; HEADER],
    message: Vec<u8>,
}

/// Reads an encrypted export.
pub(super) fn read(json: &Json) -> Result<Opened, ImportError> {
    let params = json.get("kdfParams");
    let kib = match params.get("memLimit").number() {
        Number::Is(bytes) => Number::Is(bytes / 1024),
        other @ (Number::Absent | Number::Wrong) => other,
    };
    let header = base64(json.get("encryptionNonce").text())?;
    let sealed = Sealed {
        kdf: Kdf::argon2id(kib, params.get("opsLimit").number(), Number::Is(1))?,
        salt: base64(params.get("salt").text())?,
        header: header.try_into().map_err(|_| ImportError::Damaged)?,
        message: base64(json.get("encryptedData").text())?,
    };
    Ok(Opened::Locked(Locked::new(Format::Ente, How::Ente(sealed))))
}

impl Sealed {
    pub(super) fn open(&self, passphrase: &str) -> Result<Import, ImportError> {
        let key = self.kdf.derive(passphrase.as_bytes(), &self.salt)?;
        let plain = opened(&key, &self.header, &self.message).ok_or(ImportError::WrongPassphraseOrDamaged)?;
        let text = std::str::from_utf8(&plain).map_err(|_| ImportError::Damaged)?;
        Ok(Import { format: Format::Ente, ..links::read(text) })
    }
}

/// Opens the first message of a stream (libsodium's `crypto_secretstream_xchacha20poly1305`). The first encrypted byte
/// states whether it is the last one; versions of the app differ in it.
fn opened(key: &Key, header: &[u8; HEADER], message: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (salt, rest) = header.split_first_chunk::<16>()?;
    let subkey = Zeroizing::new(hchacha::<R20>((&**key).into(), salt.into()).0);
    // The counter of messages, which begins at one, and the rest of the header.
    let mut nonce = [0_u8; 12];
    for (to, from) in nonce.iter_mut().zip([1, 0, 0, 0].iter().chain(rest)) {
        *to = *from;
    }
    let (kind, rest) = message.split_first()?;
    let (sealed, tag) = rest.split_at_checked(rest.len().checked_sub(TAG)?)?;
    let mut cipher = ChaCha20::new((&*subkey).into(), (&nonce).into());
    let mut once = Zeroizing::new([0_u8; BLOCK]);
    cipher.apply_keystream(once.as_mut_slice());
    let mac_key: &[u8; 32] = once.first_chunk()?;
    // The block that encrypts the first byte is authenticated whole, with that byte as it was sent.
    let mut block = Zeroizing::new([0_u8; BLOCK]);
    cipher.apply_keystream(block.as_mut_slice());
    *block.first_mut()? = *kind;
    let mut authenticated = Vec::with_capacity(BLOCK + sealed.len() + 2 * TAG);
    authenticated.extend_from_slice(block.as_slice());
    authenticated.extend_from_slice(sealed);
    // The library pads by this amount, not to a whole block; it has to stay as it is.
    authenticated.resize(authenticated.len() + sealed.len() % TAG, 0);
    authenticated.extend_from_slice(&0_u64.to_le_bytes());
    authenticated.extend_from_slice(&u64::try_from(BLOCK + sealed.len()).ok()?.to_le_bytes());
    let proof = Poly1305::new(mac_key.into()).compute_unpadded(&authenticated);
    if !bool::from(proof.as_slice().ct_eq(tag)) {
        return None;
    }
    let mut plain = Zeroizing::new(sealed.to_vec());
    cipher.try_seek(BLOCK * 2).ok()?;
    cipher.apply_keystream(&mut plain);
    Some(plain)
}
