//! Key files of `KeePass` databases: the two kinds that programs write (XML, versions 1 and 2), and any other file, which
//! counts as a whole.

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{
    ImportError,
    sealed::Key,
    xml::{Piece, Xml},
};

const DAMAGED: ImportError = ImportError::Refused("the key file is damaged: its key and its checksum differ");

/// The key in a file.
pub(super) fn key_of(file: &[u8]) -> Result<Key, ImportError> {
    if let Some(key) = std::str::from_utf8(file).ok().and_then(|text| of_xml(text).transpose()) {
        return key;
    }
    if let Ok(key) = file.try_into() {
        return Ok(Zeroizing::new(key));
    }
    let hex = (file.len() == 64).then(|| HEXLOWER_PERMISSIVE.decode(file).ok()).flatten().map(Zeroizing::new);
    if let Some(key) = hex.and_then(|hex| hex.as_slice().try_into().ok()) {
        return Ok(Zeroizing::new(key));
    }
    Ok(Zeroizing::new(Sha256::digest(file).into()))
}

/// The key in a document, or `None` if it is no key file.
fn of_xml(text: &str) -> Result<Option<Key>, ImportError> {
    let text = text.trim_start_matches('\u{FEFF}');
    if !text.trim_start().starts_with('<') || !text.contains("<KeyFile") {
        return Ok(None);
    }
    let (mut xml, mut value) = (Xml::new(text), Zeroizing::default());
    let (mut checksum, mut data, mut is_hex) = (None, None, false);
    while let Some(piece) = xml.next()? {
        match piece {
            Piece::Open { name: "Data", attributes } => {
                checksum = attributes.split_once("Hash=\"").and_then(|(_, hash)| hash.split('"').next());
            }
            Piece::Text(text) => value = text,
            Piece::Close { name: "Version" } => is_hex = value.trim().starts_with('2'),
            Piece::Close { name: "Data" } => data = Some(std::mem::take(&mut value)),
            Piece::Open { .. } | Piece::Close { .. } => {}
        }
    }
    let Some(data) = data else { return Ok(None) };
    let symbols: Zeroizing<Vec<u8>> = Zeroizing::new(data.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect());
    let bytes = if is_hex { HEXLOWER_PERMISSIVE.decode(&symbols) } else { BASE64.decode(&symbols) };
    let bytes = bytes.map(Zeroizing::new).map_err(|_| DAMAGED)?;
    let key = Zeroizing::new(<[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| DAMAGED)?);
    let sum = Sha256::digest(key.as_slice());
    let expected = checksum.map(|text| HEXLOWER_PERMISSIVE.decode(text.as_bytes()).unwrap_or_default());
    if expected.is_some_and(|expected| expected.is_empty() || !sum.as_slice().starts_with(&expected)) {
        return Err(DAMAGED);
    }
    Ok(Some(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes 0 to 31.
    const KEY: [u8; 32] = {
        let (mut key, mut at) = ([0; 32], 0);
        while at < 32 {
            key[at as usize] = at;
            at += 1;
        }
        key
    };

    #[test]
    fn every_kind_of_key_file_has_its_key() {
        let hex = "00010203 04050607 08090A0B 0C0D0E0F\n  10111213 14151617 18191A1B 1C1D1E1F";
        let version = |version: &str, hash: &str, data: &str| {
            format!(
                "<?xml version=\"1.0\"?>\n<KeyFile><Meta><Version>{version}</Version></Meta>\n<Key><Data{hash}>\n  {data}\n</Data></Key></KeyFile>"
            )
        };
        let base64 = BASE64.encode(&KEY);
        for file in [
            KEY.to_vec(),
            hex.replace(char::is_whitespace, "").into_bytes(),
            hex.replace(char::is_whitespace, "").to_lowercase().into_bytes(),
            version("1.00", "", &base64).into_bytes(),
            version("2.0", " Hash=\"630DCD29\"", hex).into_bytes(),
            format!("\u{FEFF}{}", version("2.0", "", hex)).into_bytes(),
        ] {
            assert_eq!(key_of(&file).map(|key| *key), Ok(KEY), "{}", String::from_utf8_lossy(&file));
        }
        for damaged in [
            version("2.0", " Hash=\"630DCD28\"", hex),
            version("2.0", " Hash=\"\"", hex),
            version("2.0", "", &hex[1..]),
            version("1.00", "", &base64[4..]),
        ] {
            assert_eq!(key_of(damaged.as_bytes()).map(|key| *key), Err(DAMAGED), "{damaged}");
        }
        let any = b"<svg>a picture</svg>";
        assert_eq!(key_of(any).map(|key| *key), Ok(Sha256::digest(any).into()));
    }
}
