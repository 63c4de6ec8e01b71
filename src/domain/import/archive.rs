//! ZIP archives, of which one known file is unpacked: `export.data` of 1Password, `data.json` of Proton Pass and
//! Bitwarden, and Raivo's, which is encrypted with AES. Only stored and deflated files are read; the sizes in the
//! archive are not trusted.

use std::io::Read as _;

use aes::{
    Aes128, Aes192, Aes256,
    cipher::{Block, BlockCipherEncrypt, KeyInit},
};
use flate2::read::DeflateDecoder;
use hmac::{Hmac, Mac as _};
use sha1::Sha1;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{Format, Import, ImportError, Opened, open};
use crate::domain::limits::{IMPORT_ARCHIVE_FILES_MAX, IMPORT_UNPACKED_BYTES_MAX};

/// The mark at the start of a file in an archive, and so of an archive.
const MAGIC: &[u8] = b"PK\x03\x04";
/// The known file of Raivo, whose archives are encrypted.
const RAIVO: &str = "raivo-otp-export.json";
/// The names of known files, or the ends of their paths.
const KNOWN: [&str; 5] = ["export.data", "Proton Pass/data.json", "data.json", RAIVO, "bitwarden.json"];
/// A file that only `OpenPGP` opens, in an archive of Proton Pass.
const PGP: &str = "data.pgp";
/// The files with the cells in a document of Excel, and in one of `LibreOffice`.
const SPREADSHEETS: [&str; 2] = ["xl/workbook.xml", "content.xml"];
/// The mark of an entry in the list of files, and the bytes of its fixed part.
const ENTRY: (&[u8], usize) = (b"PK\x01\x02", 46);
/// The mark of the end of that list, its bytes, and the longest comment behind it.
const END: (&[u8], usize, usize) = (b"PK\x05\x06", 22, 65_535);
/// The fixed part before a file's contents.
const LOCAL_BYTES: usize = 30;
/// The method of a file that is encrypted with AES; its extra field holds the true method.
const SEALED: u16 = 99;
/// The number of that extra field, with its length.
const SEALED_EXTRA: &[u8] = &[0x01, 0x99, 7, 0];
/// Rounds of the key derivation, the same in every such file.
const ROUNDS: u32 = 1000;
/// Bytes that check the passphrase, and of the MAC behind the contents.
const CHECK: usize = 2;
const MAC: usize = 10;
const TWICE: &str = "encrypted twice; unpack the archive, and import the file in it";

/// The known file of an archive.
pub(super) enum ArchiveEntry {
    /// Its contents.
    Plain(Zeroizing<Vec<u8>>),
    /// It is encrypted.
    Sealed(Sealed),
}

/// A file that is encrypted with AES as `WinZip` specified it.
pub(super) struct Sealed {
    pub(super) format: Format,
    /// Bytes of the cipher's key: 16, 24 or 32.
    key_bytes: usize,
    salt: Vec<u8>,
    check: [u8; CHECK],
    content: Vec<u8>,
    mac: [u8; MAC],
    /// The method by which it was packed before it was encrypted.
    method: u16,
}

/// Whether a file is an archive.
pub(super) fn is_archive(bytes: &[u8]) -> bool {
    // An archive without files begins with the mark of its end.
    [MAGIC, END.0].iter().any(|magic| bytes.starts_with(magic))
}

/// Finds the known file of an archive.
pub(super) fn known(bytes: &[u8]) -> Result<ArchiveEntry, ImportError> {
    let files = files(bytes).ok_or(ImportError::Archive)?;
    let Some(file) = KNOWN.iter().find_map(|known| files.iter().find(|file| file.is_called(known))) else {
        let has = |name: &str| files.iter().any(|file| file.is_called(name));
        return Err(ImportError::Refused(if has(PGP) {
            "an export of Proton Pass that is encrypted with OpenPGP; export it unencrypted"
        } else if SPREADSHEETS.iter().any(|name| has(name)) {
            "a spreadsheet; save it as CSV, and import that"
        } else {
            "a ZIP archive without a known file (export.data of 1Password, data.json of Proton Pass or Bitwarden); \
             unpack it, and import the file that holds the secrets"
        }));
    };
    let packed = file.contents(bytes).ok_or(ImportError::Archive)?;
    if file.method == SEALED {
        return Sealed::read(file, packed).map(ArchiveEntry::Sealed).ok_or(ImportError::Archive);
    }
    if file.flags & 1 != 0 {
        return Err(ImportError::Refused("an encrypted ZIP archive; unpack it, and import the file in it"));
    }
    unpacked(file.method, packed).map(ArchiveEntry::Plain)
}

/// Reads a file that was in an archive. It must not be an archive: archives in archives could go on for ever.
pub(super) fn inside(plain: &[u8]) -> Result<Opened, ImportError> {
    if is_archive(plain) { Err(ImportError::Archive) } else { open(plain) }
}

fn unpacked(method: u16, packed: &[u8]) -> Result<Zeroizing<Vec<u8>>, ImportError> {
    let mut plain = Zeroizing::new(Vec::with_capacity(packed.len().min(IMPORT_UNPACKED_BYTES_MAX)));
    let most = IMPORT_UNPACKED_BYTES_MAX as u64 + 1;
    match method {
        0 => plain.extend_from_slice(packed),
        8 => drop(DeflateDecoder::new(packed).take(most).read_to_end(&mut plain).map_err(|_| ImportError::Archive)?),
        _ => return Err(ImportError::Archive),
    }
    if plain.len() > IMPORT_UNPACKED_BYTES_MAX { Err(ImportError::Bounds("the archive's size")) } else { Ok(plain) }
}

impl Sealed {
    fn read(file: &File<'_>, packed: &[u8]) -> Option<Self> {
        let extra = file.extra.windows(SEALED_EXTRA.len()).position(|window| window == SEALED_EXTRA)?;
        let extra = file.extra.get(extra + SEALED_EXTRA.len()..)?.first_chunk::<7>()?;
        // A version and the maker's mark, the key's length, and the method.
        let [_, _, _, _, strength, low, high] = *extra;
        let key_bytes = match strength {
            1 => 16,
            2 => 24,
            3 => 32,
            _ => return None,
        };
        let (salt, rest) = packed.split_at_checked(key_bytes / 2)?;
        let (check, rest) = rest.split_first_chunk()?;
        let (content, mac) = rest.split_last_chunk()?;
        Some(Self {
            format: if file.is_called(RAIVO) { Format::Raivo } else { Format::Archive },
            key_bytes,
            salt: salt.to_vec(),
            check: *check,
            content: content.to_vec(),
            mac: *mac,
            method: u16::from_le_bytes([low, high]),
        })
    }

    pub(super) fn open(&self, passphrase: &str) -> Result<Import, ImportError> {
        let mut keys = Zeroizing::new(vec![0; self.key_bytes * 2 + CHECK]);
        pbkdf2::pbkdf2_hmac::<Sha1>(passphrase.as_bytes(), &self.salt, ROUNDS, &mut keys);
        let parts = keys.split_at_checked(self.key_bytes);
        let parts = parts.and_then(|(cipher, rest)| Some((cipher, rest.split_at_checked(self.key_bytes)?)));
        let (cipher, (mac, check)) = parts.ok_or(ImportError::Damaged)?;
        if !bool::from(check.ct_eq(&self.check)) {
            return Err(ImportError::WrongPassphrase);
        }
        let mac = Hmac::<Sha1>::new_from_slice(mac).map_err(|_| ImportError::Damaged)?;
        // The two bytes accept one in 65,536 wrong passphrases.
        mac.chain_update(&self.content)
            .verify_truncated_left(&self.mac)
            .map_err(|_| ImportError::WrongPassphraseOrDamaged)?;
        let mut content = Zeroizing::new(self.content.clone());
        let done = match self.key_bytes {
            16 => decrypt::<Aes128>(cipher, &mut content),
            24 => decrypt::<Aes192>(cipher, &mut content),
            _ => decrypt::<Aes256>(cipher, &mut content),
        };
        done.ok_or(ImportError::Damaged)?;
        match inside(&unpacked(self.method, &content)?)? {
            Opened::Read(import) => Ok(import),
            Opened::Locked(_) => Err(ImportError::Refused(TWICE)),
        }
    }
}

/// Decrypts in place, with a counter from 1, its lowest byte first: no crate of ciphers counts like this.
fn decrypt<C: KeyInit + BlockCipherEncrypt>(key: &[u8], content: &mut [u8]) -> Option<()> {
    let cipher = C::new_from_slice(key).ok()?;
    for (block, count) in content.chunks_mut(16).zip(1_u128..) {
        let mut stream = Block::<C>::try_from(count.to_le_bytes().as_slice()).ok()?;
        cipher.encrypt_block(&mut stream);
        for (byte, with) in block.iter_mut().zip(stream.iter()) {
            *byte ^= with;
        }
    }
    Some(())
}

/// A file of an archive.
struct File<'a> {
    name: &'a [u8],
    extra: &'a [u8],
    flags: u16,
    method: u16,
    packed: usize,
    at: usize,
}

impl<'a> File<'a> {
    /// Whether it has this name, in any folder.
    fn is_called(&self, name: &str) -> bool {
        self.name.strip_suffix(name.as_bytes()).is_some_and(|folder| folder.is_empty() || folder.ends_with(b"/"))
    }

    /// Its bytes, still packed.
    fn contents(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let local = bytes.get(self.at..)?;
        let behind = LOCAL_BYTES + usize::from(short(local, 26)?) + usize::from(short(local, 28)?);
        local.strip_prefix(MAGIC)?;
        local.get(behind..)?.get(..self.packed)
    }
}

/// The list of files at the end of an archive.
fn files(bytes: &[u8]) -> Option<Vec<File<'_>>> {
    let (mark, length, comment) = END;
    let tail = bytes.get(bytes.len().saturating_sub(length + comment)..)?;
    let end = tail.windows(mark.len()).rposition(|window| window == mark)?;
    let end = tail.get(end..)?;
    let count = usize::from(short(end, 10)?);
    if count > IMPORT_ARCHIVE_FILES_MAX {
        return None;
    }
    let mut rest = bytes.get(long(end, 16)?..)?;
    let mut files = Vec::with_capacity(count);
    for _ in 0..count {
        let (mark, fixed) = ENTRY;
        rest.strip_prefix(mark)?;
        let [name, extra, comment] = [short(rest, 28)?, short(rest, 30)?, short(rest, 32)?].map(usize::from);
        files.push(File {
            name: rest.get(fixed..)?.get(..name)?,
            extra: rest.get(fixed + name..)?.get(..extra)?,
            flags: short(rest, 8)?,
            method: short(rest, 10)?,
            packed: long(rest, 20)?,
            at: long(rest, 42)?,
        });
        rest = rest.get(fixed + name + extra + comment..)?;
    }
    Some(files)
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_le_bytes)
}

fn long(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?)).ok()
}
