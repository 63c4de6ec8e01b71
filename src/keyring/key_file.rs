//! The key file: 32 random bytes in base64, mode 0600, in a directory of its own that is not the data directory.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use data_encoding::BASE64;
use zeroize::Zeroizing;

use super::key::{Kek, Key};

/// Longest key file that is read: 44 characters and some white space.
const FILE_BYTES_MAX: u64 = 128;

/// Why a key file can't be used. It never quotes the file.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// There is none.
    #[error(
        "there is no key file {0}; without it the vault can't be opened. Restore it, or name it with --key-file or COUNTERSIGN_KEY_FILE"
    )]
    Missing(PathBuf),
    /// Others may read or write it.
    #[error("the key file {path} is accessible to other users (mode {mode:o}); run: chmod 600 {path}")]
    LooseMode {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Not a plain file, or somebody else's.
    #[error("the key file {path} {what}")]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// It holds no key.
    #[error("the key file {0} does not hold a key (32 bytes in base64)")]
    Malformed(PathBuf),
    /// The system refused.
    #[error("the key file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Reads a key file.
///
/// # Errors
/// [`KeyFileError`], which never quotes the file.
pub fn read_key_file(path: &Path) -> Result<Kek, KeyFileError> {
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => KeyFileError::Missing(path.to_owned()),
        _ => KeyFileError::Io { path: path.to_owned(), source },
    };
    let mut options = OpenOptions::new();
    options.read(true);
    not_following(&mut options);
    let file = options.open(path).map_err(failed)?;
    refuse_others(path, &file)?;
    let mut text = Zeroizing::new(Vec::with_capacity(128));
    file.take(FILE_BYTES_MAX).read_to_end(&mut text).map_err(failed)?;
    let malformed = || KeyFileError::Malformed(path.to_owned());
    let trimmed = text.trim_ascii();
    let mut bytes = Zeroizing::new([0_u8; 33]);
    if trimmed.len() != 44 {
        return Err(malformed());
    }
    let written = BASE64.decode_mut(trimmed, bytes.as_mut_slice()).map_err(|_| malformed())?;
    bytes.get(..written).and_then(Key::from_slice).map(Kek).ok_or_else(malformed)
}

/// Writes a new key file, durably, for its owner alone. Never overwrites one.
///
/// # Errors
/// [`KeyFileError::Io`].
pub fn create_key_file(path: &Path, kek: &Kek) -> Result<(), KeyFileError> {
    let failed = |source| KeyFileError::Io { path: path.to_owned(), source };
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    create_private_dir(folder).map_err(failed)?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    private(&mut options);
    let mut file = options.open(path).map_err(failed)?;
    let mut line = Zeroizing::new(BASE64.encode(kek.0.expose()));
    line.push('\n');
    file.write_all(line.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    // Without this a power cut can lose the file's name although its contents are safe.
    #[cfg(unix)]
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(())
}

fn create_private_dir(folder: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
}

#[cfg(not(unix))]
fn private(_options: &mut OpenOptions) {
    // The file inherits the folder's access list, which in a user's profile is that user's.
}

#[cfg(unix)]
fn not_following(options: &mut OpenOptions) {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, flags.bits().cast_signed());
}

#[cfg(not(unix))]
fn not_following(_options: &mut OpenOptions) {}

#[cfg(unix)]
fn refuse_others(path: &Path, file: &File) -> Result<(), KeyFileError> {
    use std::os::unix::fs::MetadataExt as _;

    let facts = file.metadata().map_err(|source| KeyFileError::Io { path: path.to_owned(), source })?;
    let not_ours = |what| Err(KeyFileError::NotOurs { path: path.to_owned(), what });
    if !facts.is_file() {
        return not_ours("is not a plain file");
    }
    if facts.uid() != rustix::process::geteuid().as_raw() {
        return not_ours("belongs to another user");
    }
    match facts.mode() & 0o7777 {
        mode if mode & 0o077 != 0 => Err(KeyFileError::LooseMode { path: path.to_owned(), mode }),
        _ => Ok(()),
    }
}

#[cfg(not(unix))]
fn refuse_others(path: &Path, file: &File) -> Result<(), KeyFileError> {
    let facts = file.metadata().map_err(|source| KeyFileError::Io { path: path.to_owned(), source })?;
    if facts.is_file() {
        Ok(())
    } else {
        Err(KeyFileError::NotOurs { path: path.to_owned(), what: "is not a plain file" })
    }
}
