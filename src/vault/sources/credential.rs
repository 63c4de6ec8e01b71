//! A credential of systemd: a file in the folder that it makes for a service (`LoadCredential=`,
//! `LoadCredentialEncrypted=`), where the service's user alone can read it.

use std::path::Path;

use super::{KEY_BYTES_MAX, KeyError, file, key_of};
use crate::vault::key::Kek;

/// Reads the credential's key.
pub(super) fn key(folder: Option<&Path>, name: &str) -> Result<Kek, KeyError> {
    let none = "is not there: CREDENTIALS_DIRECTORY is not set; a unit has `LoadCredential=NAME:FILE` for it";
    let path = folder.ok_or(KeyError::Credential(none))?.join(name);
    match file::read_private(&path, KEY_BYTES_MAX) {
        Err(file::KeyFileError::Missing(_)) => {
            Err(KeyError::Credential("is not there; see that the unit has `LoadCredential=NAME:FILE` with this name"))
        }
        read => {
            let form = KeyError::Credential("does not hold a key: 32 bytes as they are, or in base64 or hexadecimal");
            key_of(&read?).ok_or(form)
        }
    }
}
