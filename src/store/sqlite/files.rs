//! The vault's files and their folder: owner, access and location.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, Metadata, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use super::ownership::{refuse_network, refuse_shared, refuse_shared_folder};
use crate::store::{OpenError, StoreError};

/// The database's name in the data directory.
const FILE: &str = "vault.db";
const LOCK: &str = "init.lock";

/// The place of a vault: its folder, with all links resolved, and its file.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    folder: PathBuf,
    file: PathBuf,
}

impl Spot {
    /// Finds the place of an address, and creates the folder if it does not exist.
    pub(super) fn prepare(data_dir: &Path, address: &str) -> Result<Self, OpenError> {
        let (folder, name) = named(data_dir, address)?;
        if look(&folder)?.is_none() {
            create_private_dir(&folder).map_err(io_at(&folder))?;
        }
        Self::checked(&folder, &name)
    }

    /// Finds the place of an address.
    pub(super) fn find(data_dir: &Path, address: &str) -> Result<Self, OpenError> {
        let (folder, name) = named(data_dir, address)?;
        if look(&folder)?.is_none() {
            return Err(OpenError::NoVault(folder));
        }
        Self::checked(&folder, &name)
    }

    fn checked(folder: &Path, name: &OsStr) -> Result<Self, OpenError> {
        let folder = resolve(folder).map_err(io_at(folder))?;
        refuse_shared_folder(&folder)?;
        refuse_network(&folder)?;
        let file = folder.join(name);
        Ok(Self { folder, file })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// The place of another file in the same folder.
    pub(super) fn named(&self, file: &Path) -> Self {
        Self { folder: self.folder.clone(), file: file.to_owned() }
    }

    /// Whether the database exists. An error if it is not a regular file that only its owner, the current user, can
    /// read.
    pub(super) fn has_vault(&self) -> Result<bool, OpenError> {
        let Some(facts) = look(&self.file)? else { return Ok(false) };
        refuse_shared(&self.file, &facts)?;
        for beside in [self.log(), beside(&self.file, "-shm")] {
            if let Some(facts) = look(&beside)? {
                refuse_shared(&beside, &facts)?;
            }
        }
        if facts.len() == 0 {
            let what = "it is empty; if nothing was ever kept in it, remove it".to_owned();
            return Err(OpenError::Damaged { path: self.file.clone(), what });
        }
        Ok(true)
    }

    /// Refuses a log without its database: the place is not empty.
    pub(super) fn refuse_stray_log(&self) -> Result<(), OpenError> {
        if self.has_log()? {
            let what = "it is missing, but its log (-wal) is there: put it back beside the log".to_owned();
            return Err(OpenError::Damaged { path: self.file.clone(), what });
        }
        Ok(())
    }

    /// Whether the write-ahead log has contents.
    pub(super) fn has_log(&self) -> Result<bool, OpenError> {
        Ok(look(&self.log())?.is_some_and(|facts| facts.len() > 0))
    }

    /// Takes the lock for creating a vault; dropping the file releases it.
    pub(super) fn lock(&self) -> Result<File, OpenError> {
        let path = self.folder.join(LOCK);
        let file = open_private(&path, OpenOptions::new().read(true).write(true).create(true).truncate(false))
            .map_err(io_at(&path))?;
        file.lock().map_err(io_at(&path))?;
        Ok(file)
    }

    /// The path at which a vault is built before it gets its name.
    pub(super) fn draft(&self) -> PathBuf {
        beside(&self.file, ".new")
    }

    /// Durably gives a finished draft its name, and never replaces a file. The caller holds the lock.
    pub(super) fn publish(&self) -> Result<(), OpenError> {
        let draft = self.draft();
        sync_contents(&draft)?;
        rename_new(&draft, &self.file).map_err(|cause| {
            if cause.kind() == io::ErrorKind::AlreadyExists {
                not_ours(&self.file, "appeared while the vault was made")
            } else {
                io_at(&self.file)(cause)
            }
        })?;
        sync_folder(&self.folder).map_err(io_at(&self.folder))
    }

    pub(super) fn log(&self) -> PathBuf {
        beside(&self.file, "-wal")
    }

    /// Opens the log in order to sync it; it exists as long as a connection does. SQLite takes no locks on the log, so
    /// closing the file releases none.
    pub(super) fn open_log(&self) -> Result<File, OpenError> {
        File::options().read(true).write(true).open(self.log()).map_err(io_at(&self.log()))
    }

    /// Refuses a rollback journal. A vault never has one, so an attacker planted it, and SQLite would apply it to the
    /// database.
    pub(super) fn refuse_journal(&self) -> Result<(), OpenError> {
        let journal = beside(&self.file, "-journal");
        if look(&journal)?.is_some() {
            return Err(not_ours(
                &journal,
                "is a rollback journal, which a vault never has; find out who made it, then remove it",
            ));
        }
        Ok(())
    }

    /// Refuses a database that its owner can't write: SQLite would open it read-only and would create a read-only log
    /// and index for every later process. If only those two are read-only, they are made writable again.
    pub(super) fn refuse_unwritable(&self) -> Result<(), OpenError> {
        let facts = look(&self.file)?;
        if facts.is_some_and(|facts| facts.permissions().readonly()) {
            return Err(StoreError::Unavailable("its mode forbids to write it".to_owned()).at(&self.file));
        }
        for path in [self.log(), beside(&self.file, "-shm")] {
            match look(&path)? {
                Some(facts) if facts.is_file() && facts.permissions().readonly() => make_writable(&path, &facts)?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// The folder and file name of an address.
fn named(data_dir: &Path, address: &str) -> Result<(PathBuf, OsString), OpenError> {
    // Other programs write `sqlite:/var/x` as `sqlite:///var/x`.
    let named = address.strip_prefix("//").unwrap_or(address);
    let path = if named.is_empty() { data_dir.join(FILE) } else { PathBuf::from(named) };
    let name = path.file_name().ok_or_else(|| not_ours(&path, "names no file"))?.to_owned();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    Ok((folder.to_owned(), name))
}

pub(super) fn create_private(path: &Path) -> Result<(), OpenError> {
    open_private(path, OpenOptions::new().write(true).create_new(true)).map(drop).map_err(io_at(path))
}

/// The file of the same name with an ending.
pub(super) fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(ending);
    PathBuf::from(name)
}

/// Syncs a file and its folder entry.
pub(super) fn sync_file(path: &Path) -> Result<(), OpenError> {
    sync_contents(path)?;
    let folder = path.parent().unwrap_or(path);
    sync_folder(folder).map_err(io_at(folder))
}

/// Syncs a file's contents. Windows does that only for a file that is open for writing.
fn sync_contents(path: &Path) -> Result<(), OpenError> {
    File::options().write(true).open(path).and_then(|file| file.sync_all()).map_err(io_at(path))
}

/// Syncs a folder. Otherwise a power cut can lose a file's name although its contents are safe.
///
/// # Errors
/// The system's error.
#[cfg(unix)]
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// On other systems, a folder can't be opened.
#[cfg(not(unix))]
pub fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// Renames a file, unless the new name exists: another process may just have made a file there.
///
/// # Errors
/// The system's error.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::{
        fs::{CWD, RenameFlags, renameat_with},
        io::Errno,
    };

    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system supports this.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => link_and_remove(from, to),
        renamed => Ok(renamed?),
    }
}

/// Renames a file, unless the new name exists: another process may just have made a file there.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    link_and_remove(from, to)
}

/// A hard link never replaces a file either.
fn link_and_remove(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)?;
    match fs::remove_file(from) {
        // Another process removed it as the leftover of a killed one.
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Removes a database that is a draft or a copy, with the files that SQLite puts beside it. A file that can't be
/// removed is sealed like the vault, and the next process that makes a vault reports it.
pub(super) fn remove_database(path: &Path) {
    for ending in ["", "-wal", "-shm", "-journal"] {
        let _ = fs::remove_file(beside(path, ending));
    }
}

/// Describes the holder of the database's write lock, for a caller that waits for it.
pub(super) fn obstacle(file: &Path) -> String {
    let holder = lock_holder(file).map_or_else(|| "another process".to_owned(), |holder| format!("process {holder}"));
    format!("{holder} holds the vault's write lock and does not let go of it; see whether it is stopped or hangs")
}

/// The process that holds SQLite's write lock (byte 120 of the log's index), from the kernel's list.
#[cfg(target_os = "linux")]
fn lock_holder(file: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;

    let index = fs::symlink_metadata(beside(file, "-shm")).ok()?.ino().to_string();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        // `1: POSIX  ADVISORY  WRITE 4711 fd:01:262155 120 120`
        let fields: Vec<&str> = line.split_whitespace().collect();
        let ["WRITE", holder, place, first, last] = fields.get(3..)? else { return None };
        let within = first.parse::<u64>().ok()? <= 120 && last.parse::<u64>().ok()? >= 120;
        let holder = holder.parse().ok().filter(|holder| *holder > 0)?;
        (within && place.rsplit(':').next() == Some(index.as_str())).then_some(holder)
    })
}

#[cfg(not(target_os = "linux"))]
fn lock_holder(_file: &Path) -> Option<u32> {
    None
}

/// Makes a file writable for its owner again.
fn make_writable(path: &Path, facts: &Metadata) -> Result<(), OpenError> {
    let mut permissions = facts.permissions();
    #[cfg(unix)]
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
    #[cfg(not(unix))]
    permissions.set_readonly(false);
    fs::set_permissions(path, permissions).map_err(io_at(path))
}

/// Creates a folder and its missing parents durably, for their owner alone.
///
/// # Errors
/// When one of them can't be created, or its parent can't be synced.
pub fn create_private_dir(folder: &Path) -> io::Result<()> {
    let missing: Vec<_> = folder.ancestors().take_while(|above| !above.exists()).collect();
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    for made in missing.into_iter().filter(|made| !made.as_os_str().is_empty()) {
        let around = made.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        match sync_folder(around) {
            // A user who may create a folder in a parent may lack permission to read that parent.
            Err(cause) if cause.kind() != io::ErrorKind::PermissionDenied => return Err(cause),
            _ => {}
        }
    }
    Ok(())
}

/// The folder of the vault at an address, whether it exists or not.
pub(in crate::store) fn folder_of(data_dir: &Path, address: &str) -> Option<PathBuf> {
    named(data_dir, address).ok().map(|(folder, _)| folder)
}

/// Whether a folder is `other` or inside it, with all links resolved. Neither needs to exist.
pub fn is_within(folder: &Path, other: &Path) -> bool {
    real(folder).starts_with(real(other))
}

/// Where a folder is or will be created, with all links resolved.
fn real(folder: &Path) -> PathBuf {
    let found = folder.ancestors().find_map(|above| {
        let rest = folder.strip_prefix(above).ok()?;
        Some(resolve(above).ok()?.join(rest))
    });
    found.unwrap_or_else(|| folder.to_owned())
}

/// A path's metadata, without following links.
pub(super) fn look(path: &Path) -> Result<Option<Metadata>, OpenError> {
    match fs::symlink_metadata(path) {
        Ok(facts) => Ok(Some(facts)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_at(path)(error)),
    }
}

/// SQLite refuses a path with links, which protects the file itself; the folders above it may be links, as on macOS.
fn resolve(folder: &Path) -> io::Result<PathBuf> {
    if cfg!(windows) { std::path::absolute(folder) } else { folder.canonicalize() }
}

#[cfg(unix)]
pub(super) fn open_private(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;

    options.mode(0o600).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()).open(path)
}

#[cfg(not(unix))]
pub(super) fn open_private(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    // The file inherits the folder's access list, which in a user's profile is for that user alone.
    options.open(path)
}

/// The error for a path that SQLite, or an address, can't name.
pub(in crate::store) fn not_in_utf8(path: &Path) -> OpenError {
    not_ours(path, "is not named in UTF-8; name another folder with --data-dir")
}

pub(super) fn not_ours(path: &Path, what: &'static str) -> OpenError {
    OpenError::NotOurs { path: path.to_owned(), what }
}

pub(super) fn io_at(path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_names_cant_be_exchanged_no_file_is_overwritten_either() {
        let folder = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
        for rename in [rename_new, link_and_remove] {
            for expected in [true, false] {
                fs::write(&from, [u8::from(expected)]).unwrap();
                assert_eq!(rename(&from, &to).is_ok(), expected);
                assert_eq!((fs::read(&to).unwrap(), from.exists()), (vec![1], !expected));
            }
            fs::remove_file(&to).unwrap();
        }
    }
}
