//! The owner, access rights and file system of files and folders.

#[cfg(unix)]
use std::fs;
use std::{fs::Metadata, path::Path};

#[cfg(unix)]
use super::files::io_at;
use super::files::{look, not_ours};
use crate::store::OpenError;

/// The error for another user's folder of keys.
#[cfg(unix)]
const ANOTHERS_KEYS: &str =
    "belongs to another user; run countersign as that user, or name a key file of your own with --key-file";
/// The error for another user's vault.
#[cfg(unix)]
const ANOTHERS: &str = "belongs to another user; run countersign as that user, or name a folder of your own with --data-dir, --store or --backup-dir";

/// Refuses a folder for keys that other users can read or change, or whose parent lets them replace it: they could then
/// read the keys. A folder that does not exist is accepted; it will be created private.
///
/// # Errors
/// [`OpenError`].
pub fn refuse_shared_keys(folder: &Path) -> Result<(), OpenError> {
    if let Some(above) = folder.parent()
        && look(above)?.is_some()
    {
        refuse_writable_folder(above)?;
    }
    match look(folder)? {
        Some(_) => refuse_shared_folder(folder),
        None => Ok(()),
    }
}

/// SQLite's log uses shared memory: on a network file system two machines would each have their own and corrupt the
/// file.
#[cfg(target_os = "linux")]
pub(super) fn refuse_network(folder: &Path) -> Result<(), OpenError> {
    // NFS, SMB, SMB 2 and CIFS, as statfs(2) numbers them.
    const NETWORK: [u64; 4] = [0x6969, 0x517B, 0xFE53_4D42, 0xFF53_4D42];
    let facts = rustix::fs::statfs(folder).map_err(|error| io_at(folder)(error.into()))?;
    match u64::try_from(facts.f_type) {
        Ok(kind) if NETWORK.contains(&kind) => {
            Err(not_ours(folder, "is on a network file system; name a folder on a local disk with --data-dir"))
        }
        _ => Ok(()),
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn refuse_network(_folder: &Path) -> Result<(), OpenError> {
    Ok(())
}

/// Refuses a folder that is not the current user's alone.
///
/// # Errors
/// [`OpenError`].
#[cfg(unix)]
pub fn refuse_shared_folder(path: &Path) -> Result<(), OpenError> {
    use std::os::unix::fs::MetadataExt as _;

    let facts = fs::metadata(path).map_err(io_at(path))?;
    if !facts.is_dir() {
        return Err(not_ours(path, "is not a directory"));
    }
    if facts.uid() != rustix::process::geteuid().as_raw() {
        return Err(not_ours(path, ANOTHERS));
    }
    refuse_mode(path, facts.mode(), 0o700)
}

/// Refuses a folder that other users can write. They may read it, and it may belong to the system.
#[cfg(unix)]
fn refuse_writable_folder(path: &Path) -> Result<(), OpenError> {
    use std::os::unix::fs::MetadataExt as _;

    let facts = fs::metadata(path).map_err(io_at(path))?;
    if ![0, rustix::process::geteuid().as_raw()].contains(&facts.uid()) {
        return Err(not_ours(path, ANOTHERS_KEYS));
    }
    match facts.mode() & 0o7777 {
        mode if mode & 0o022 != 0 => Err(OpenError::LooseMode { path: path.to_owned(), mode, wanted: 0o700 }),
        _ => Ok(()),
    }
}

#[cfg(unix)]
pub(super) fn refuse_shared(path: &Path, facts: &Metadata) -> Result<(), OpenError> {
    use std::os::unix::fs::MetadataExt as _;

    refuse_strange(path, facts)?;
    if facts.uid() != rustix::process::geteuid().as_raw() {
        return Err(not_ours(path, ANOTHERS));
    }
    // A file that SQLite removed after it was looked up has no name left.
    if facts.nlink() > 1 {
        return Err(not_ours(path, "has a second name (a hard link)"));
    }
    refuse_mode(path, facts.mode(), 0o600)
}

#[cfg(unix)]
fn refuse_mode(path: &Path, mode: u32, wanted: u32) -> Result<(), OpenError> {
    let mode = mode & 0o7777;
    match mode & 0o077 {
        0 => Ok(()),
        _ => Err(OpenError::LooseMode { path: path.to_owned(), mode, wanted }),
    }
}

/// On other systems, a folder inherits the access list of a user's profile.
#[cfg(not(unix))]
pub fn refuse_shared_folder(_path: &Path) -> Result<(), OpenError> {
    Ok(())
}

#[cfg(not(unix))]
fn refuse_writable_folder(_path: &Path) -> Result<(), OpenError> {
    Ok(())
}

#[cfg(not(unix))]
pub(super) fn refuse_shared(path: &Path, facts: &Metadata) -> Result<(), OpenError> {
    refuse_strange(path, facts)
}

fn refuse_strange(path: &Path, facts: &Metadata) -> Result<(), OpenError> {
    if facts.is_symlink() {
        return Err(not_ours(path, "is a symbolic link"));
    }
    if facts.is_file() { Ok(()) } else { Err(not_ours(path, "is not a plain file")) }
}
