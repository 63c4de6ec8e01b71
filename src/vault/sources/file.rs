//! The key file: 32 random bytes in base64, mode 0600, in a directory of its own that is not the data directory. It may
//! be a link, like a mounted Kubernetes Secret; then the checks apply to the link's target.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use data_encoding::BASE64;
use zeroize::Zeroizing;

use super::{KEY_BYTES_MAX as FILE_BYTES_MAX, KeyError, Spot};
use crate::{
    domain::{ids::VaultId, sensitive::without_seeds},
    random::{Random, SystemRandom},
    store::{self, create_private_dir, rename_new, sync_folder},
    vault::key::{Kek, Key},
};

/// Why a key file can't be used. The error never quotes the file, nor parts of its path that look like a seed.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file does not exist.
    #[error(
        "there is no key file {}; without it the vault can't be opened. Restore it, or name it with --key-file or COUNTERSIGN_KEY_FILE",
        without_seeds(.0)
    )]
    Missing(PathBuf),
    /// Other users may read or write the file.
    #[error("the key file {0} is accessible to other users (mode {mode:o}); run: chmod 600 {0}", without_seeds(.path))]
    LooseMode {
        /// The file.
        path: PathBuf,
        /// The file's mode.
        mode: u32,
    },
    /// It is not a regular file, or belongs to another user.
    #[error("the key file {} {what}", without_seeds(.path))]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// The problem with it.
        what: &'static str,
    },
    /// The file is empty: a first start was killed before it wrote the key, or a person ran `touch`.
    #[error(
        "the key file {} is empty; if no vault was made with it, remove it and start again, else restore it from a backup",
        without_seeds(.0)
    )]
    Empty(PathBuf),
    /// The file holds no key.
    #[error("the key file {} does not hold a key (32 bytes in base64)", without_seeds(.0))]
    Malformed(PathBuf),
    /// The system returned an error.
    #[error("the key file {}: {source}", without_seeds(.path))]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}

/// The path of a vault's key file: a named one, or the one in a folder that has the vault's id as its name.
pub(super) fn place(named: Option<&Path>, folder: &Path, vault: VaultId) -> PathBuf {
    named.map_or_else(|| folder.join(format!("{vault}.key")), Path::to_owned)
}

/// Like [`place`], but refuses a path in the vault's folder, directly or through a link, and one in our folder for keys
/// if that folder is not private.
pub(super) fn checked_place(named: Option<&Path>, keys: &Path, spot: Spot<'_>) -> Result<PathBuf, KeyError> {
    let path = place(named, keys, spot.vault);
    let Some(folder) = path.parent() else { return Ok(path) };
    // A link may lead to a place where the key must not be.
    let end = path.canonicalize().ok();
    let folders = [Some(folder), end.as_deref().and_then(Path::parent)];
    let beside = [spot.location.parent(), Some(spot.data_dir)];
    let is_beside = |folder| beside.into_iter().flatten().any(|vault| store::is_within(folder, vault));
    if folders.into_iter().flatten().any(is_beside) {
        return Err(KeyError::BesideVault(path));
    }
    if folder == keys {
        store::refuse_shared_keys(folder).map_err(KeyError::Folder)?;
    }
    Ok(path)
}

/// Reads a key file, and makes it if it does not exist.
pub(super) fn find_or_make(path: &Path, random: &dyn Random) -> Result<Kek, KeyError> {
    forget_second_name(path)?;
    match read_key_file(path) {
        Err(KeyFileError::Missing(_)) => {
            create_key_file(path, &Kek::generate(random)?)?;
            // Read it back: a disk that lost the key must be noticed now, not when the vault can't be opened any more.
            Ok(read_key_file(path)?)
        }
        found => Ok(found?),
    }
}

/// The place beside a key file where its next key is made. A link is refused: its file belongs to another owner.
pub(super) fn next_to(path: &Path) -> Result<PathBuf, KeyFileError> {
    let facts = fs::symlink_metadata(path).map_err(|source| of_io(path, source))?;
    if facts.is_symlink() {
        let what = "is a link, so it is not replaced; put a new key into another file, and name that by --to file:PATH";
        return Err(KeyFileError::NotOurs { path: path.to_owned(), what });
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".next");
    Ok(name.into())
}

/// Puts the next key in the place of a key file, durably.
pub(super) fn take_next(path: &Path) -> Result<(), KeyFileError> {
    let failed = |source| KeyFileError::Io { path: path.to_owned(), source };
    let next = next_to(path)?;
    match fs::rename(&next, path) {
        // Another process that does the same was faster.
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {}
        renamed => renamed.map_err(failed)?,
    }
    sync_folder(folder_of(path)).map_err(failed)
}

/// Removes drafts of next keys that killed processes left beside a key file. No other process makes one meanwhile.
pub(super) fn forget_next(path: &Path) -> Result<(), KeyFileError> {
    let failed = |source| KeyFileError::Io { path: path.to_owned(), source };
    for draft in drafts_of(&next_to(path)?).map_err(failed)? {
        fs::remove_file(draft).map_err(failed)?;
    }
    Ok(())
}

/// Removes the draft of a key file that has its name already: where files can't be renamed without replacing others, a killed
/// process leaves both names, and a file with two is refused.
#[cfg(unix)]
fn forget_second_name(path: &Path) -> Result<(), KeyFileError> {
    use std::os::unix::fs::MetadataExt as _;

    let failed = |source| KeyFileError::Io { path: path.to_owned(), source };
    let Ok(file) = fs::symlink_metadata(path) else { return Ok(()) };
    if file.nlink() < 2 {
        return Ok(());
    }
    for draft in drafts_of(path).map_err(failed)? {
        let is_same = |facts: fs::Metadata| (facts.dev(), facts.ino()) == (file.dev(), file.ino());
        if fs::symlink_metadata(&draft).is_ok_and(is_same) {
            fs::remove_file(draft).map_err(failed)?;
        }
    }
    Ok(())
}

#[cfg(not(unix))]
fn forget_second_name(_path: &Path) -> Result<(), KeyFileError> {
    Ok(())
}

/// The drafts beside a file: see [`draft_of`].
fn drafts_of(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return Ok(Vec::new()) };
    let mut drafts = Vec::new();
    for entry in fs::read_dir(folder_of(path))? {
        let entry = entry?;
        let found = entry.file_name();
        let rest = found.to_str().and_then(|found| found.strip_prefix(name)?.strip_prefix('.')?.strip_suffix(".new"));
        // The draft of another file, such as the next key, has more dots.
        if rest.is_some_and(|mark| !mark.contains('.')) {
            drafts.push(entry.path());
        }
    }
    Ok(drafts)
}

/// Reads a key file.
///
/// # Errors
/// [`KeyFileError`], which never quotes the file.
pub(super) fn read_key_file(path: &Path) -> Result<Kek, KeyFileError> {
    let text = read_private(path, FILE_BYTES_MAX)?;
    let malformed = || KeyFileError::Malformed(path.to_owned());
    if text.is_empty() {
        return Err(KeyFileError::Empty(path.to_owned()));
    }
    let trimmed = text.trim_ascii();
    let mut bytes = Zeroizing::new([0_u8; 33]);
    if text.len() > FILE_BYTES_MAX || trimmed.len() != 44 {
        return Err(malformed());
    }
    let written = BASE64.decode_mut(trimmed, bytes.as_mut_slice()).map_err(|_| malformed())?;
    bytes.get(..written).and_then(Key::from_slice).map(Kek).ok_or_else(malformed)
}

/// Reads a file that no other user can read or change. Of a longer file, returns one byte more than `most`.
///
/// # Errors
/// [`KeyFileError`], which never quotes the file.
pub fn read_private(path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let failed = |source| of_io(path, source);
    let mut options = OpenOptions::new();
    options.read(true);
    not_waiting(&mut options);
    let file = options.open(path).map_err(failed)?;
    refuse_others(path, &file)?;
    // Room for one byte too many, and for the read that finds the end: a vector that grows leaves copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(most.saturating_mul(2)));
    file.take(most as u64 + 1).read_to_end(&mut text).map_err(failed)?;
    Ok(text)
}

/// Writes a new key file, durably, for its owner alone. Never overwrites a file. The key is first written to a draft
/// beside it, so a process that is killed leaves either no key file or a complete one.
///
/// # Errors
/// [`KeyFileError::Io`].
pub(super) fn create_key_file(path: &Path, kek: &Kek) -> Result<(), KeyFileError> {
    let failed = |source| KeyFileError::Io { path: path.to_owned(), source };
    let folder = folder_of(path);
    create_private_dir(folder).map_err(failed)?;
    let draft = draft_of(path).map_err(failed)?;
    let written = write_private(&draft, kek).and_then(|()| rename_new(&draft, path));
    if let Err(source) = written {
        // No other process knows the draft's name, so it is safe to remove.
        let _ = fs::remove_file(&draft);
        return Err(failed(source));
    }
    sync_folder(folder).map_err(failed)
}

/// An unused name beside a file.
fn draft_of(path: &Path) -> std::io::Result<PathBuf> {
    let mark = SystemRandom.random_id().map_err(std::io::Error::other)?;
    let mut name = path.file_name().ok_or(std::io::ErrorKind::InvalidFilename)?.to_owned();
    name.push(format!(".{}.new", mark.simple()));
    Ok(path.with_file_name(name))
}

fn write_private(path: &Path, kek: &Kek) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    private(&mut options);
    let mut file = options.open(path)?;
    // Allocate room for the line feed too: a string that grows leaves a copy behind.
    let mut line = Zeroizing::new(String::with_capacity(FILE_BYTES_MAX));
    BASE64.encode_append(kek.0.expose(), &mut line);
    line.push('\n');
    file.write_all(line.as_bytes())?;
    file.sync_all()
}

fn of_io(path: &Path, source: std::io::Error) -> KeyFileError {
    let path = path.to_owned();
    if source.kind() == std::io::ErrorKind::NotFound {
        KeyFileError::Missing(path)
    } else {
        KeyFileError::Io { path, source }
    }
}

/// The folder of a path. A bare name has an empty parent, which can't be opened.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
}

#[cfg(not(unix))]
fn private(_options: &mut OpenOptions) {
    // The file inherits the folder's access list, which in a user's profile is for that user alone.
}

/// Makes opening a pipe fail instead of waiting for a writer.
#[cfg(unix)]
fn not_waiting(options: &mut OpenOptions) {
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
}

#[cfg(not(unix))]
fn not_waiting(_options: &mut OpenOptions) {}

#[cfg(unix)]
fn refuse_others(path: &Path, file: &File) -> Result<(), KeyFileError> {
    use std::os::unix::fs::MetadataExt as _;

    let failed = |source| KeyFileError::Io { path: path.to_owned(), source };
    let facts = file.metadata().map_err(failed)?;
    let mounted = rustix::fs::fstatvfs(file).map_err(|error| failed(error.into()))?;
    let found = FileFacts {
        plain: facts.is_file(),
        owner: facts.uid(),
        mode: facts.mode() & 0o7777,
        names: facts.nlink(),
        writable_mount: !mounted.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY),
    };
    found.refused(path, rustix::process::geteuid().as_raw())
}

/// The metadata of an open key file.
#[cfg(unix)]
#[derive(Debug, Clone, Copy)]
struct FileFacts {
    plain: bool,
    owner: u32,
    mode: u32,
    names: u64,
    writable_mount: bool,
}

#[cfg(unix)]
impl FileFacts {
    /// Refuses a file that other users could read or change. On a read-only mount no user can change it, and the
    /// mount's owner chose its readers: Kubernetes mounts a Secret as root's file that one group may read.
    fn refused(self, path: &Path, me: u32) -> Result<(), KeyFileError> {
        let not_ours = |what| Err(KeyFileError::NotOurs { path: path.to_owned(), what });
        if !self.plain {
            return not_ours("is not a plain file");
        }
        let (owners, most): (&[u32], u32) = if self.writable_mount { (&[me], 0o700) } else { (&[me, 0], 0o440) };
        if !owners.contains(&self.owner) {
            return not_ours("belongs to another user; run countersign as that user, or name your own with --key-file");
        }
        let loose = self.mode & 0o077 != 0 && self.mode & !most != 0;
        if loose && !self.writable_mount {
            return not_ours(
                "is accessible to other users; mount it with mode 0440 at most (Kubernetes: `defaultMode: 0440`)",
            );
        }
        if loose {
            return Err(KeyFileError::LooseMode { path: path.to_owned(), mode: self.mode });
        }
        if self.names > 1 && self.writable_mount {
            return not_ours(
                "has a second name (a hard link), which a copy of the vault may carry along; remove one of them",
            );
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::random::SystemRandom;

    /// A key, and the line that holds it.
    const BYTES: [u8; 32] = [
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29,
        30, 31,
    ];
    const LINE: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    /// A folder of its own, and a path in it where there is nothing yet.
    fn place() -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vault.key");
        (folder, path)
    }

    /// Writes a file that only its owner may read.
    fn write(path: &Path, contents: &[u8]) {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        private(&mut options);
        options.open(path).unwrap().write_all(contents).unwrap();
    }

    #[track_caller]
    fn check(contents: &[u8], expected: Result<(), &str>) {
        let (_folder, path) = place();
        write(&path, contents);
        let read = read_key_file(&path).map(|kek| assert_eq!(*kek.0.expose(), BYTES));
        match (read, expected) {
            (Ok(()), Ok(())) => {}
            (Err(error), Err(expected)) => {
                assert!(error.to_string().contains(expected), "{error}");
                let said = format!("{error} {error:?}");
                for piece in contents.windows(8).filter_map(|piece| std::str::from_utf8(piece).ok()) {
                    assert!(piece.contains(' ') || !said.contains(piece), "{said} quotes the file");
                }
            }
            (read, expected) => panic!("{read:?} instead of {expected:?} for {contents:?}"),
        }
    }

    #[test]
    fn a_key_that_is_written_is_read_back() {
        let (_folder, path) = place();
        let kek = Kek::generate(&SystemRandom).unwrap();
        create_key_file(&path, &kek).unwrap();

        let read = read_key_file(&path).unwrap();

        assert_eq!(read.0.expose(), kek.0.expose());
        assert_eq!(fs::read_to_string(&path).unwrap().len(), 45);
    }

    #[test]
    fn a_key_file_is_one_line_of_base64_with_white_space_around_it() {
        check(LINE.as_bytes(), Ok(()));
        check(format!("{LINE}\n").as_bytes(), Ok(()));
        check(format!(" \r\n{LINE}\r\n").as_bytes(), Ok(()));
    }

    #[test]
    fn what_holds_no_key_is_refused_without_quoting_it() {
        let malformed = Err("does not hold a key");
        check(b"", Err("is empty; if no vault was made with it, remove it"));
        check(b"\n", malformed);
        for end in 1..LINE.len() {
            check(&LINE.as_bytes()[..end], malformed);
        }
        check(format!("{LINE}A").as_bytes(), malformed);
        check(format!("{LINE}\n{LINE}").as_bytes(), malformed);
        check(LINE.replace("AwQF", "Aw F").as_bytes(), malformed);
        check(LINE.replace("Hh8=", "Hh9=").as_bytes(), malformed);
        check(LINE.replace("Hh8=", "Hh88").as_bytes(), malformed);
        check(&[0xff; 44], malformed);
    }

    #[test]
    fn a_file_of_128_bytes_is_read_and_a_longer_one_refused() {
        let padded = |length: usize| format!("{LINE:<length$}");
        check(padded(FILE_BYTES_MAX).as_bytes(), Ok(()));
        check(padded(FILE_BYTES_MAX + 1).as_bytes(), Err("does not hold a key"));
        check(format!("{}junk", padded(FILE_BYTES_MAX)).as_bytes(), Err("does not hold a key"));
    }

    #[test]
    fn a_missing_file_says_what_to_do() {
        let (folder, path) = place();
        for path in [path, folder.path().join("none/vault.key")] {
            let error = read_key_file(&path).map(|_| ()).unwrap_err();
            assert!(matches!(error, KeyFileError::Missing(_)), "{error}");
            assert!(error.to_string().contains("--key-file"), "{error}");
        }
    }

    #[test]
    fn a_key_file_is_never_overwritten() {
        let (_folder, path) = place();
        for contents in ["", LINE] {
            write(&path, contents.as_bytes());
            let error = create_key_file(&path, &Kek::generate(&SystemRandom).unwrap()).unwrap_err();
            assert!(
                matches!(&error, KeyFileError::Io { source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists)
            );
            assert_eq!(fs::read_to_string(&path).unwrap(), contents);
        }
    }

    #[test]
    fn a_next_key_that_another_process_has_put_in_its_place_is_no_error_and_an_obstacle_is_one() {
        let (_folder, path) = place();
        write(&path, LINE.as_bytes());
        take_next(&path).unwrap();
        fs::create_dir(next_to(&path).unwrap()).unwrap();
        assert!(take_next(&path).is_err());
        assert_eq!(*read_key_file(&path).unwrap().0.expose(), BYTES);
    }

    #[test]
    fn a_folder_is_no_key_file() {
        let (folder, _path) = place();
        assert!(read_key_file(folder.path()).is_err());
        assert!(create_key_file(folder.path(), &Kek::generate(&SystemRandom).unwrap()).is_err());
    }

    #[cfg(unix)]
    mod on_unix {
        use std::os::unix::fs::{PermissionsExt as _, symlink};

        use super::*;

        fn mode_of(path: &Path) -> u32 {
            fs::metadata(path).unwrap().permissions().mode() & 0o7777
        }

        #[test]
        fn a_new_file_and_its_new_folders_are_their_owners_alone() {
            let (folder, _path) = place();
            let path = folder.path().join("config/keys/vault.key");

            create_key_file(&path, &Kek::generate(&SystemRandom).unwrap()).unwrap();

            assert_eq!(mode_of(&path), 0o600);
            assert_eq!(mode_of(&folder.path().join("config")), 0o700);
            assert_eq!(mode_of(&folder.path().join("config/keys")), 0o700);
        }

        #[test]
        fn our_own_folder_for_keys_must_be_private_and_a_named_file_may_be_elsewhere() {
            let (folder, _path) = place();
            let at = |name: &str| folder.path().join(name);
            let (keys, shared, data) = (at("keys"), at("shared"), at("data"));
            let location = data.join("vault.db");
            let vault = VaultId::new(uuid::Uuid::from_u128(1));
            let placed = |named: Option<&Path>| {
                checked_place(named, &keys, Spot { vault, location: &location, data_dir: &data }).is_ok()
            };
            for (folder, mode) in [(&keys, 0o700), (&shared, 0o755)] {
                fs::create_dir(folder).unwrap();
                fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
            }
            assert!(placed(None) && placed(Some(&keys.join("own.key"))) && placed(Some(&shared.join("own.key"))));
            fs::set_permissions(&keys, fs::Permissions::from_mode(0o755)).unwrap();
            assert!(!placed(None) && !placed(Some(&keys.join("own.key"))) && placed(Some(&shared.join("own.key"))));
        }

        #[test]
        fn a_file_that_others_may_touch_is_refused() {
            let (_folder, path) = place();
            write(&path, LINE.as_bytes());
            for mode in [0o640, 0o604, 0o660, 0o610, 0o601, 0o644, 0o777] {
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
                let error = read_key_file(&path).map(|_| ()).unwrap_err();
                assert!(matches!(error, KeyFileError::LooseMode { mode: found, .. } if found == mode), "{error}");
                assert!(error.to_string().contains(&format!("mode {mode:o}); run: chmod 600")), "{error}");
            }
            for mode in [0o600, 0o400] {
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
                assert!(read_key_file(&path).is_ok(), "{mode:o}");
            }
        }

        #[test]
        fn a_symbolic_link_is_read_if_its_end_passes_and_never_written_through() {
            let (folder, path) = place();
            let target = folder.path().join("target");
            symlink(&target, &path).unwrap();
            assert!(create_key_file(&path, &Kek::generate(&SystemRandom).unwrap()).is_err());
            assert!(!target.exists(), "a dangling link was written through");

            write(&target, LINE.as_bytes());
            assert_eq!(*read_key_file(&path).unwrap().0.expose(), BYTES);
            fs::set_permissions(&target, fs::Permissions::from_mode(0o644)).unwrap();
            let error = read_key_file(&path).map(|_| ()).unwrap_err();
            assert!(matches!(error, KeyFileError::LooseMode { mode: 0o644, .. }), "{error}");
        }

        #[test]
        fn a_key_file_is_whole_under_its_name_or_not_there() {
            let (folder, path) = place();
            create_key_file(&path, &Kek::generate(&SystemRandom).unwrap()).unwrap();
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the draft is gone");

            // The leftovers of a killed process do no harm.
            fs::remove_file(&path).unwrap();
            write_private(&draft_of(&path).unwrap(), &Kek::generate(&SystemRandom).unwrap()).unwrap();
            assert!(matches!(read_key_file(&path), Err(KeyFileError::Missing(_))));
            create_key_file(&path, &Kek::generate(&SystemRandom).unwrap()).unwrap();
            assert!(read_key_file(&path).is_ok());
        }

        /// A killed process leaves such a draft on a file system that can't rename without replacing.
        #[test]
        fn a_key_file_whose_draft_a_killed_process_left_under_its_second_name_is_read_again() {
            let (folder, path) = place();
            write(&path, LINE.as_bytes());
            let (draft, next) = (draft_of(&path).unwrap(), draft_of(&next_to(&path).unwrap()).unwrap());
            fs::hard_link(&path, &draft).unwrap();
            write(&next, b"of another file");
            assert!(read_key_file(&path).is_err(), "who only reads changes nothing");
            assert_eq!(*find_or_make(&path, &SystemRandom).unwrap().0.expose(), BYTES);
            assert!(!draft.exists() && next.exists());
            // The file is refused if it has a name that is not a draft's.
            fs::hard_link(&path, folder.path().join("vault.key.copy")).unwrap();
            assert!(find_or_make(&path, &SystemRandom).is_err());
        }

        #[test]
        fn a_hard_linked_key_file_is_refused() {
            let (folder, path) = place();
            write(&path, LINE.as_bytes());
            fs::hard_link(&path, folder.path().join("other")).unwrap();
            let error = read_key_file(&path).map(|_| ()).unwrap_err();
            assert!(error.to_string().contains("has a second name (a hard link)"), "{error}");
        }

        /// A test can't mount a file system, so it constructs the facts that the system would report.
        #[test]
        fn a_secret_that_is_mounted_read_only_may_be_the_superusers_and_readable_by_one_group() {
            let me = 65_532;
            let mounted = FileFacts { plain: true, owner: 0, mode: 0o440, names: 1, writable_mount: false };
            let fits = |found: FileFacts| found.refused(Path::new("/run/key"), me).is_ok();
            assert!(fits(mounted) && fits(FileFacts { owner: me, mode: 0o400, ..mounted }));
            assert!(fits(FileFacts { owner: me, mode: 0o600, ..mounted }));
            for mode in [0o444, 0o460, 0o442, 0o644, 0o640, 0o550, 0o777] {
                assert!(!fits(FileFacts { mode, ..mounted }), "{mode:o}");
            }
            assert!(!fits(FileFacts { owner: 1000, ..mounted }) && !fits(FileFacts { plain: false, ..mounted }));
            // On a writable mount the file must be private to its owner.
            assert!(!fits(FileFacts { writable_mount: true, ..mounted }));
            assert!(!fits(FileFacts { owner: me, writable_mount: true, ..mounted }));
            assert!(fits(FileFacts { owner: me, mode: 0o600, writable_mount: true, ..mounted }));
        }

        #[test]
        fn a_pipe_is_refused_without_waiting_for_its_writer() {
            let (_folder, path) = place();
            rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
            let error = read_key_file(&path).map(|_| ()).unwrap_err();
            assert!(error.to_string().contains("is not a plain file"), "{error}");
        }

        #[test]
        fn another_users_file_is_refused() {
            let (_folder, path) = place();
            write(&path, LINE.as_bytes());
            // Only the superuser can give a file away; for other users nothing is checked.
            if std::os::unix::fs::chown(&path, Some(4242), None).is_ok() {
                let error = read_key_file(&path).map(|_| ()).unwrap_err();
                assert!(error.to_string().contains("belongs to another user"), "{error}");
            }
        }
    }
}
