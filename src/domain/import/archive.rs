//! ZIP archives, of which one known file is unpacked: `export.data` of 1Password, `data.json` of Proton Pass and Bitwarden.
//! Only stored and deflated files; the sizes in the archive are not believed.

use std::io::Read as _;

use flate2::read::DeflateDecoder;
use zeroize::Zeroizing;

use super::ImportError;
use crate::domain::limits::{IMPORT_ARCHIVE_FILES_MAX, IMPORT_UNPACKED_BYTES_MAX};

/// What an archive begins with.
const MAGIC: &[u8] = b"PK\x03\x04";
/// The names of known files, or the ends of their paths.
const KNOWN: [&str; 5] =
    ["export.data", "Proton Pass/data.json", "data.json", "raivo-otp-export.json", "bitwarden.json"];
/// A file that only `OpenPGP` opens, in an archive of Proton Pass.
const PGP: &str = "data.pgp";
/// The mark of the list of files, and the bytes of its fixed part.
const ENTRY: (&[u8], usize) = (b"PK\x01\x02", 46);
/// The mark of the end of that list, its bytes, and the longest comment behind it.
const END: (&[u8], usize, usize) = (b"PK\x05\x06", 22, 65_535);
/// The fixed part before a file's contents.
const LOCAL_BYTES: usize = 30;

/// Whether a file is an archive.
pub(super) fn is_archive(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Unpacks the known file of an archive.
pub(super) fn unpacked(bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, ImportError> {
    let files = files(bytes).ok_or(ImportError::Archive)?;
    let known = KNOWN.iter().find_map(|known| files.iter().find(|file| file.name.ends_with(known.as_bytes())));
    let Some(file) = known else {
        let is_pgp = files.iter().any(|file| file.name.ends_with(PGP.as_bytes()));
        return Err(ImportError::Refused(if is_pgp {
            "an export of Proton Pass that is encrypted with OpenPGP; export it unencrypted"
        } else {
            "a ZIP archive without a known file (export.data of 1Password, data.json of Proton Pass or Bitwarden)"
        }));
    };
    if file.flags & 1 != 0 {
        return Err(ImportError::Refused("an encrypted ZIP archive; unpack it, and import the file in it"));
    }
    let packed = file.contents(bytes).ok_or(ImportError::Archive)?;
    let mut plain = Zeroizing::new(Vec::with_capacity(packed.len().min(IMPORT_UNPACKED_BYTES_MAX)));
    let most = IMPORT_UNPACKED_BYTES_MAX as u64 + 1;
    match file.method {
        0 => plain.extend_from_slice(packed),
        8 => drop(DeflateDecoder::new(packed).take(most).read_to_end(&mut plain).map_err(|_| ImportError::Archive)?),
        _ => return Err(ImportError::Archive),
    }
    if plain.len() > IMPORT_UNPACKED_BYTES_MAX { Err(ImportError::Bounds("the archive's size")) } else { Ok(plain) }
}

/// A file of an archive.
struct File<'a> {
    name: &'a [u8],
    flags: u16,
    method: u16,
    packed: usize,
    at: usize,
}

impl<'a> File<'a> {
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
        let lengths = [short(rest, 28)?, short(rest, 30)?, short(rest, 32)?].map(usize::from);
        let name = rest.get(fixed..)?.get(..lengths.first().copied()?)?;
        files.push(File {
            name,
            flags: short(rest, 8)?,
            method: short(rest, 10)?,
            packed: long(rest, 20)?,
            at: long(rest, 42)?,
        });
        rest = rest.get(fixed + lengths.iter().sum::<usize>()..)?;
    }
    Some(files)
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_le_bytes)
}

fn long(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?)).ok()
}
