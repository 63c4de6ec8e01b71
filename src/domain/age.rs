//! Writes files in the format of `age` (<https://age-encryption.org/v1>), encrypted to public keys or to a passphrase,
//! for data that leaves the vault. The `age` program opens them. A file is sealed in chunks, so a large one takes
//! little memory.
//!
//! ```text
//! wrap key    = scrypt(passphrase, label || salt) or HKDF(X25519(ephemeral, recipient), ephemeral || recipient)
//! header      = version, stanzas with the file key under a wrap key each, HMAC of these under HKDF(file key)
//! payload key = HKDF(file key, nonce), for chunks of 64 KiB, each under ChaCha20-Poly1305
//! ```

#[cfg(feature = "age")]
#[path = "age/x25519.rs"]
mod x25519;
#[cfg(not(feature = "age"))]
#[path = "age/absent.rs"]
mod x25519;

use std::{
    fmt::Write as _,
    io::{self, Write},
    str::FromStr,
};

use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _, aead::Aead as _};
use data_encoding::BASE64_NOPAD;
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The first line of a file.
pub(super) const VERSION: &str = "age-encryption.org/v1";
/// The label before the salt in the key derivation of a passphrase.
pub(super) const SCRYPT_LABEL: &str = "age-encryption.org/v1/scrypt";
const X25519_LABEL: &str = "age-encryption.org/v1/X25519";
/// Bytes of plaintext in a chunk.
pub(super) const CHUNK: usize = 64 * 1024;
/// The base-2 logarithm of scrypt's cost for a passphrase, as the `age` program sets it: 256 MiB and about a second.
const SCRYPT_LOG: u8 = 18;

/// Fills a buffer with random bytes.
pub type Fill<'a> = dyn FnMut(&mut [u8]) -> io::Result<()> + 'a;

pub(super) type Key = Zeroizing<[u8; 32]>;
pub(super) type FileKey = Zeroizing<[u8; 16]>;

/// A recipient's public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipient([u8; 32]);

/// The text is not a public key of `age`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", x25519::WANTED)]
pub struct NotARecipient;

impl FromStr for Recipient {
    type Err = NotARecipient;

    fn from_str(text: &str) -> Result<Self, NotARecipient> {
        x25519::key_of(text.trim()).map(Self).ok_or(NotARecipient)
    }
}

/// The keys or the passphrase that open a file.
pub enum Openers<'a> {
    /// The recipients' public keys: each of the recipients can open it.
    Recipients(&'a [Recipient]),
    /// A passphrase.
    Passphrase(&'a str),
}

/// Writes a sealed file. Call [`finish`](Self::finish) at the end: without its last chunk the file does not open.
pub struct Sealing<W> {
    to: W,
    cipher: ChaCha20Poly1305,
    chunk: Zeroizing<Vec<u8>>,
    count: u64,
}

impl<W: Write> Sealing<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// When the header can't be written, random bytes can't be had, or a recipient is not a valid point.
    pub fn begin(mut to: W, openers: &Openers<'_>, fill: &mut Fill<'_>) -> io::Result<Self> {
        let mut file_key = FileKey::default();
        fill(file_key.as_mut_slice())?;
        let mut header = format!("{VERSION}\n");
        match openers {
            Openers::Recipients(recipients) => {
                for recipient in *recipients {
                    header.push_str(&for_recipient(recipient, &file_key, fill)?);
                }
            }
            Openers::Passphrase(passphrase) => header.push_str(&for_passphrase(passphrase, &file_key, fill)?),
        }
        header.push_str("---");
        let mac = header_mac(&file_key, header.as_bytes())?.finalize().into_bytes();
        let mut nonce = [0; 16];
        fill(&mut nonce)?;
        writeln!(to, "{header} {}", BASE64_NOPAD.encode(&mac))?;
        to.write_all(&nonce)?;
        let cipher = payload_cipher(&file_key, &nonce)?;
        Ok(Self { to, cipher, chunk: Zeroizing::new(Vec::with_capacity(CHUNK)), count: 0 })
    }

    /// Writes the last chunk, and returns the writer.
    ///
    /// # Errors
    /// When the chunk can't be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.put(true)?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn put(&mut self, is_last: bool) -> io::Result<()> {
        let sealed = self.cipher.encrypt(&nonce_of(self.count, is_last).into(), self.chunk.as_slice());
        self.to.write_all(&sealed.map_err(|_| unsealed())?)?;
        self.chunk.clear();
        self.count += 1;
        Ok(())
    }
}

impl<W: Write> Write for Sealing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() == CHUNK {
            self.put(false)?;
        }
        let taken = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

fn for_recipient(recipient: &Recipient, file_key: &FileKey, fill: &mut Fill<'_>) -> io::Result<String> {
    let mut ephemeral = Key::default();
    fill(ephemeral.as_mut_slice())?;
    let (share, secret) = x25519::agreed(&ephemeral, &recipient.0).ok_or_else(unsealed)?;
    let salt = [share, recipient.0].concat();
    let key = derived(secret.as_slice(), &salt, X25519_LABEL.as_bytes())?;
    stanza(&format!("X25519 {}", BASE64_NOPAD.encode(&share)), &key, file_key)
}

fn for_passphrase(passphrase: &str, file_key: &FileKey, fill: &mut Fill<'_>) -> io::Result<String> {
    let mut salt = [0; 16];
    fill(&mut salt)?;
    let mut key = Key::default();
    let params = scrypt::Params::new(SCRYPT_LOG, 8, 1).map_err(io::Error::other)?;
    let salted = [SCRYPT_LABEL.as_bytes(), &salt].concat();
    scrypt::scrypt(passphrase.as_bytes(), &salted, &params, key.as_mut_slice()).map_err(io::Error::other)?;
    stanza(&format!("scrypt {} {SCRYPT_LOG}", BASE64_NOPAD.encode(&salt)), &key, file_key)
}

/// A stanza: its arguments, and the file key under a wrap key. That key is used once, so the nonce may be zero.
fn stanza(arguments: &str, key: &Key, file_key: &FileKey) -> io::Result<String> {
    let wrapped = cipher(key).encrypt(&[0; 12].into(), file_key.as_slice()).map_err(|_| unsealed())?;
    let mut stanza = String::new();
    // 32 bytes make one line, which is shorter than a full one and so the last.
    let _ = writeln!(stanza, "-> {arguments}\n{}", BASE64_NOPAD.encode(&wrapped));
    Ok(stanza)
}

pub(super) fn cipher(key: &Key) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new((&**key).into())
}

pub(super) fn payload_cipher(file_key: &FileKey, nonce: &[u8]) -> io::Result<ChaCha20Poly1305> {
    Ok(cipher(&derived(file_key.as_slice(), nonce, b"payload")?))
}

/// The MAC of a header, up to and with its three dashes.
pub(super) fn header_mac(file_key: &FileKey, header: &[u8]) -> io::Result<Hmac<Sha256>> {
    let key = derived(file_key.as_slice(), &[], b"header")?;
    let mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key.as_slice()).map_err(|_| unsealed())?;
    Ok(mac.chain_update(header))
}

/// The nonce of a chunk: its number in eleven bytes, and whether it is the last one.
pub(super) fn nonce_of(count: u64, is_last: bool) -> [u8; 12] {
    let mut nonce = [0; 12];
    for (to, from) in nonce.iter_mut().skip(3).zip(count.to_be_bytes().into_iter().chain([u8::from(is_last)])) {
        *to = from;
    }
    nonce
}

fn derived(secret: &[u8], salt: &[u8], label: &[u8]) -> io::Result<Key> {
    let mut key = Key::default();
    Hkdf::<Sha256>::new(Some(salt), secret).expand(label, key.as_mut_slice()).map_err(|_| unsealed())?;
    Ok(key)
}

fn unsealed() -> io::Error {
    io::Error::other("the file could not be encrypted to this recipient")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipient_is_what_age_keygen_prints() {
        let key = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
        assert!(key.parse::<Recipient>().is_ok());
        for wrong in [
            "",
            "age1",
            "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8q",
            "AGE-SECRET-KEY-1QQQQ",
            "ssh-ed25519 AAAA",
            "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
        ] {
            assert_eq!(wrong.parse::<Recipient>(), Err(NotARecipient), "{wrong}");
        }
    }

    #[test]
    fn a_point_whose_secret_everybody_knows_is_refused() {
        let mut fill = |bytes: &mut [u8]| {
            bytes.fill(7);
            Ok(())
        };
        let openers = Openers::Recipients(&[Recipient([0; 32])]);
        assert!(Sealing::begin(Vec::new(), &openers, &mut fill).is_err());
    }
}
