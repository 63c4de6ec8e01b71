//! Files that `age` encrypted to a passphrase, our own exports among them.

use chacha20poly1305::aead::Aead as _;
use data_encoding::{BASE64, BASE64_NOPAD};
use hmac::Mac as _;
use zeroize::Zeroizing;

use super::{
    Format, Import, ImportError, Opened,
    entry::Number,
    open,
    sealed::{How, Kdf, Locked},
};
use crate::domain::age::{CHUNK, FileKey, SCRYPT_LABEL, VERSION, cipher, header_mac, nonce_of, payload_cipher};

const ARMOR: &str = "-----BEGIN AGE ENCRYPTED FILE-----";
const ARMOR_END: &str = "-----END AGE ENCRYPTED FILE-----";
const TAG: usize = 16;
const FOR_A_KEY: &str =
    "encrypted to a key of age; decrypt it first: age -d -i KEY-FILE FILE | countersign secret import -";
const FOR_ANY_KEY: &str = "damaged where it says what opens it, or encrypted to an unusual key of age; decrypt it first: age -d -i KEY-FILE FILE \
     | countersign secret import -";
const TWICE: &str = "encrypted twice; decrypt it first: age -d FILE | countersign secret import -";

/// A file that a passphrase opens.
pub(super) struct Sealed {
    pub(super) kdf: Kdf,
    salt: Vec<u8>,
    wrapped: Vec<u8>,
    /// The header up to and with its three dashes, and its MAC.
    header: Vec<u8>,
    mac: Vec<u8>,
    nonce: [u8; 16],
    payload: Vec<u8>,
}

/// Reads the file, if `age` wrote it.
pub(super) fn locked(bytes: &[u8]) -> Option<Result<Locked, ImportError>> {
    let sealed = if bytes.starts_with(VERSION.as_bytes()) {
        read(bytes)
    } else if bytes.trim_ascii_start().starts_with(ARMOR.as_bytes()) {
        without_armor(bytes).and_then(|bytes| read(&bytes))
    } else {
        return None;
    };
    Some(sealed.map(|sealed| Locked::new(Format::Age, How::Age(sealed))))
}

fn without_armor(bytes: &[u8]) -> Result<Vec<u8>, ImportError> {
    let text = std::str::from_utf8(bytes).map_err(|_| ImportError::Damaged)?.trim();
    let inside = text.strip_prefix(ARMOR).and_then(|text| text.strip_suffix(ARMOR_END)).ok_or(ImportError::Damaged)?;
    let inside: String = inside.split_ascii_whitespace().collect();
    BASE64.decode(inside.as_bytes()).map_err(|_| ImportError::Damaged)
}

/// The error for a file that is not encrypted to a passphrase. The kind of a key may be any word, so a damaged word may
/// look like one.
fn not_scrypt(arguments: &[&str]) -> ImportError {
    const KEYS: [&str; 5] = ["X25519", "ssh-", "piv-", "mlkem", "p256"];
    match arguments.first() {
        Some(kind) if KEYS.iter().any(|known| kind.starts_with(known)) => ImportError::Refused(FOR_A_KEY),
        Some(&"scrypt") | None => ImportError::Damaged,
        Some(_) => ImportError::Refused(FOR_ANY_KEY),
    }
}

fn read(bytes: &[u8]) -> Result<Sealed, ImportError> {
    const DASHES: &[u8] = b"\n---";
    let damaged = || ImportError::Damaged;
    let dashes = bytes.windows(DASHES.len()).position(|window| window == DASHES).ok_or_else(damaged)?;
    let (header, rest) = bytes.split_at_checked(dashes + DASHES.len()).ok_or_else(damaged)?;
    let end = rest.iter().position(|byte| *byte == b'\n').ok_or_else(damaged)?;
    let (mac, rest) = rest.split_at_checked(end).ok_or_else(damaged)?;
    let mac = BASE64_NOPAD.decode(mac.strip_prefix(b" ").ok_or_else(damaged)?).map_err(|_| damaged())?;
    let (nonce, payload) = rest.get(1..).and_then(<[u8]>::split_first_chunk).ok_or_else(damaged)?;
    let text = std::str::from_utf8(header).map_err(|_| damaged())?;
    // The version is not checked yet if the file was armoured.
    if !text.starts_with(VERSION) {
        return Err(damaged());
    }
    let mut stanzas = text.split("\n-> ").skip(1);
    let (Some(stanza), others) = (stanzas.next(), stanzas.count()) else { return Err(damaged()) };
    let (arguments, body) = stanza.split_once('\n').ok_or_else(damaged)?;
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let ["scrypt", salt, log] = arguments.as_slice() else { return Err(not_scrypt(&arguments)) };
    if others > 0 {
        return Err(damaged());
    }
    // A number with a sign or a leading zero is no work factor.
    let log = log.parse::<u32>().ok().filter(|number| number.to_string() == *log);
    let cost = log.and_then(|log| 1_u64.checked_shl(log)).map_or(Number::Wrong, Number::Is);
    let body = body.trim_end_matches("\n---");
    Ok(Sealed {
        kdf: Kdf::scrypt(cost, Number::Is(8), Number::Is(1))?,
        salt: BASE64_NOPAD.decode(salt.as_bytes()).map_err(|_| damaged())?,
        wrapped: BASE64_NOPAD.decode(body.as_bytes()).map_err(|_| damaged())?,
        header: header.to_vec(),
        mac,
        nonce: *nonce,
        payload: payload.to_vec(),
    })
}

impl Sealed {
    pub(super) fn open(&self, passphrase: &str) -> Result<Import, ImportError> {
        let damaged = |_| ImportError::Damaged;
        let key = self.kdf.derive(passphrase.as_bytes(), &[SCRYPT_LABEL.as_bytes(), &self.salt].concat())?;
        let unwrapped = cipher(&key).decrypt(&[0; 12].into(), self.wrapped.as_slice()).map(Zeroizing::new);
        let unwrapped = unwrapped.map_err(|_| ImportError::WrongPassphrase)?;
        let file_key = FileKey::new(unwrapped.as_slice().try_into().map_err(|_| ImportError::Damaged)?);
        let mac = header_mac(&file_key, &self.header).map_err(damaged)?;
        mac.verify_slice(&self.mac).map_err(|_| ImportError::Damaged)?;
        match open(&self.plain(&file_key)?)? {
            Opened::Read(import) => Ok(import),
            Opened::Locked(_) => Err(ImportError::Refused(TWICE)),
        }
    }

    fn plain(&self, file_key: &FileKey) -> Result<Zeroizing<Vec<u8>>, ImportError> {
        let cipher = payload_cipher(file_key, &self.nonce).map_err(|_| ImportError::Damaged)?;
        let mut plain = Zeroizing::new(Vec::with_capacity(self.payload.len()));
        let mut chunks = self.payload.chunks(CHUNK + TAG).zip(0_u64..).peekable();
        let mut is_whole = false;
        while let Some((chunk, count)) = chunks.next() {
            is_whole = chunks.peek().is_none();
            let opened = cipher.decrypt(&nonce_of(count, is_whole).into(), chunk).map(Zeroizing::new);
            plain.extend_from_slice(&opened.map_err(|_| ImportError::Damaged)?);
        }
        if is_whole { Ok(plain) } else { Err(ImportError::Damaged) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::domain::{
        age::{Openers, Sealing},
        import::Keys,
    };

    const LINK: &str = "otpauth://totp/GitHub:ada?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=GitHub\n";

    fn sealed(text: &str) -> Vec<u8> {
        let mut drawn = 0_u8;
        let mut fill = |bytes: &mut [u8]| {
            drawn += 1;
            bytes.fill(drawn);
            Ok(())
        };
        let mut sealing = Sealing::begin(Vec::new(), &Openers::Passphrase("correct horse"), &mut fill).unwrap();
        sealing.write_all(text.as_bytes()).unwrap();
        sealing.finish().unwrap()
    }

    fn opened(bytes: &[u8], passphrase: &str) -> Result<usize, ImportError> {
        match open(bytes)? {
            Opened::Locked(locked) => {
                locked.open(Keys { passphrase: Some(passphrase), key_file: None }).map(|import| import.entries.len())
            }
            Opened::Read(_) => panic!("it is encrypted"),
        }
    }

    #[test]
    fn what_was_sealed_opens_with_the_passphrase_alone() {
        // A chunk and a part of another.
        let links = LINK.repeat(CHUNK / LINK.len() + 2);
        let file = sealed(&links);
        assert_eq!(opened(&file, "correct horse"), Ok(links.lines().count()));
        assert_eq!(opened(&file, "wrong horse"), Err(ImportError::WrongPassphrase));
        assert_eq!(opened(&file[..file.len() - 1], "correct horse"), Err(ImportError::Damaged));
        // Without its last chunk, the one before it is not the last.
        assert_eq!(
            opened(&file[..file.len() - (links.len() - CHUNK) - TAG], "correct horse"),
            Err(ImportError::Damaged)
        );
    }

    #[test]
    fn a_changed_file_is_damaged_and_costs_no_more_than_the_limit() {
        let file = sealed(LINK);
        let text = String::from_utf8_lossy(&file).into_owned();
        let with = |from: &str, to: &str| {
            assert!(text.contains(from));
            let at = file.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
            [&file[..at], to.as_bytes(), &file[at + from.len()..]].concat()
        };
        for (changed, why) in [
            (with(" 18\n", " 21\n"), ImportError::Bounds("scrypt's cost")),
            (with(" 18\n", " 64\n"), ImportError::Bounds("scrypt's cost")),
            (with(" 18\n", " +1\n"), ImportError::Bounds("scrypt's cost")),
            (with("-> scrypt", "-> X25519"), ImportError::Refused(FOR_A_KEY)),
            (with("\n---", "\n-> scrypt A 1\nAAAA\n---"), ImportError::Damaged),
            (with("--- ", "---"), ImportError::Damaged),
            (VERSION.into(), ImportError::Damaged),
        ] {
            assert_eq!(opened(&changed, "correct horse"), Err(why));
        }
        let armored = format!("{ARMOR}\n{}\n{ARMOR_END}\n", BASE64.encode(&file));
        assert_eq!(opened(armored.as_bytes(), "correct horse"), Ok(1));
    }
}
