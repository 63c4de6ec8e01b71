//! The state file: where a vault's audit chains ended when this machine last saw them, kept apart from the vault. A
//! vault that ends before that is an older copy, and would hand out steps a second time.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use tokio::time::Instant;

use super::{
    OpenError,
    keyring::Keyring,
    ledger::{end_of, is_kept},
};
use crate::{
    domain::{audit::ChainHead, time::Timestamp},
    store::{Store, StoreError, create_private_dir, sync_folder},
};

/// The shortest interval of updates that only codes cause.
const PACE: Duration = Duration::from_secs(1);
/// How long to wait for other processes that write the file, and the pause between two tries.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(2);
/// The most bytes read from the file.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The state file of one vault; inactive without a path.
pub(super) struct StateFile {
    path: Option<PathBuf>,
    keyring: Arc<Keyring>,
    /// When the file was last written. The lock is held while it is written.
    written: Mutex<Option<Instant>>,
    /// Whether a failed write was already logged.
    warned: AtomicBool,
}

/// The vault is older than its state file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Older {
    /// The last row of the chain that the vault has.
    pub(super) ends_with: u64,
    /// The last row of the chain that this machine saw. Equal to or below `ends_with` if the vault went on otherwise.
    pub(super) seen: u64,
    /// When this machine last recorded a row, if the file's time is known.
    pub(super) seen_at: Option<Timestamp>,
}

impl Older {
    /// The error about the vault at a place.
    pub(super) const fn at(self, path: PathBuf) -> OpenError {
        let Self { ends_with, seen, seen_at } = self;
        OpenError::Older { path, ends_with, seen, seen_at }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    /// Chain, row, and the row's MAC.
    heads: Vec<(u32, u64, String)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    body: String,
    mac: String,
}

impl StateFile {
    pub(super) fn new(folder: Option<&Path>, keyring: Arc<Keyring>) -> Self {
        let path = folder.map(|folder| folder.join(format!("{}.state", keyring.vault())));
        Self { path, keyring, written: Mutex::default(), warned: AtomicBool::new(false) }
    }

    /// Compares a vault with the state file.
    pub(super) async fn check(&self, store: &dyn Store) -> Result<Option<Older>, StoreError> {
        let known = self.read().unwrap_or_else(|what| {
            tracing::warn!("the state file {what}, so it is not known whether the vault is an older copy of itself");
            Vec::new()
        });
        for known in known {
            if !is_kept(store, &self.keyring, &known).await? {
                let end = end_of(store, &self.keyring, known.chain).await?;
                return Ok(Some(Older { ends_with: end.tail.seq, seen: known.seq, seen_at: self.written_at() }));
            }
        }
        Ok(None)
    }

    /// Where a chain ended when this machine last saw it, if that is known.
    pub(super) fn end_of(&self, chain: u32) -> Option<ChainHead> {
        // An unreadable file was already reported when the vault was opened.
        self.read().unwrap_or_default().into_iter().find(|known| known.chain == chain)
    }

    /// When the file was last written, by any process.
    fn written_at(&self) -> Option<Timestamp> {
        let modified = fs::metadata(self.path.as_ref()?).and_then(|file| file.modified()).ok()?;
        let since = modified.duration_since(UNIX_EPOCH).ok()?;
        Some(Timestamp::from_seconds(i64::try_from(since.as_secs()).ok()?))
    }

    /// Whether the file should be written now.
    pub(super) fn is_due(&self, urgent: bool) -> bool {
        let written = match self.written.try_lock() {
            Ok(written) => *written,
            Err(TryLockError::Poisoned(poisoned)) => *poisoned.into_inner(),
            // Another task is writing it. Don't wait for the disk here.
            Err(TryLockError::WouldBlock) => return urgent,
        };
        self.path.is_some() && (urgent || written.is_none_or(|at| at.elapsed() >= PACE))
    }

    /// Records that a chain ended at least here. A lower end than the file's is ignored: another process recorded more.
    pub(super) async fn record_end(self: &Arc<Self>, head: ChainHead, urgent: bool) {
        let state = Arc::clone(self);
        let noted = tokio::task::spawn_blocking(move || {
            let mut written = state.written.lock().unwrap_or_else(PoisonError::into_inner);
            if !urgent && written.is_some_and(|at| at.elapsed() < PACE) {
                return Ok(());
            }
            *written = Some(Instant::now());
            state.advance(head)
        });
        let Ok(noted) = noted.await else { return };
        // Log it once rather than with every code, until it can be written again.
        let was_warned = self.warned.swap(noted.is_err(), Ordering::Relaxed);
        if let Err(cause) = noted
            && !was_warned
        {
            tracing::warn!(%cause, "the state file can't be written, so an older copy of the vault would not be noticed");
        }
    }

    /// Replaces the known ends, after a person accepted an older copy.
    pub(super) fn replace(&self, heads: &[ChainHead]) -> io::Result<()> {
        let _writing = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((path, folder)) = self.place() else { return Ok(()) };
        let _alone = alone(folder)?;
        self.write(path, folder, heads)
    }

    /// Adds an end to the file, unless the file has a later one.
    fn advance(&self, head: ChainHead) -> io::Result<()> {
        let Some((path, folder)) = self.place() else { return Ok(()) };
        let _alone = alone(folder)?;
        // An unreadable file was already reported when the vault was opened.
        let mut heads = self.read().unwrap_or_default();
        match heads.iter_mut().find(|known| known.chain == head.chain) {
            Some(known) if known.seq >= head.seq => return Ok(()),
            Some(known) => *known = head,
            None => heads.push(head),
        }
        self.write(path, folder, &heads)
    }

    /// The file and its folder.
    fn place(&self) -> Option<(&Path, &Path)> {
        let path = self.path.as_deref()?;
        path.parent().map(|folder| (path, folder))
    }

    /// The contents of the file; empty if it does not exist; an error if it can't be read or verified.
    fn read(&self) -> Result<Vec<ChainHead>, &'static str> {
        let Some(path) = &self.path else { return Ok(Vec::new()) };
        let file = match File::open(path) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened.map_err(|_| "can't be read")?,
        };
        let text = io::read_to_string(io::Read::take(file, FILE_BYTES_MAX)).map_err(|_| "can't be read")?;
        if text.is_empty() {
            return Err("is empty");
        }
        self.heads_of(&text).ok_or("is damaged, or was not written with this vault's key")
    }

    fn heads_of(&self, text: &str) -> Option<Vec<ChainHead>> {
        let Written { body, mac } = serde_json::from_str(text).ok()?;
        let right: bool = BASE64.decode(mac.as_bytes()).ok()?.ct_eq(&self.keyring.state_mac(body.as_bytes())).into();
        let Body { heads } = serde_json::from_str(&body).ok().filter(|_| right)?;
        let head = |(chain, seq, mac): (u32, u64, String)| {
            Some(ChainHead { chain, seq, mac: BASE64.decode(mac.as_bytes()).ok()?.try_into().ok()? })
        };
        heads.into_iter().map(head).collect()
    }

    /// Writes the file under another name and renames it, so that there is always a complete one.
    fn write(&self, path: &Path, folder: &Path, heads: &[ChainHead]) -> io::Result<()> {
        let heads = heads.iter().map(|head| (head.chain, head.seq, BASE64.encode(&head.mac))).collect();
        let body = serde_json::to_string(&Body { heads })?;
        let mac = BASE64.encode(&self.keyring.state_mac(body.as_bytes()));
        let text = serde_json::to_string(&Written { body, mac })?;
        // One process at a time writes it, so this overwrites a draft that a killed process left.
        let draft = path.with_extension("state.new");
        write_durably(&draft, text.as_bytes())?;
        fs::rename(&draft, path)?;
        sync_folder(folder)
    }
}

/// The file that processes lock to change something in a folder: the folder itself, or a file of this name in it where
/// a folder can't be opened. Makes the folder if it does not exist.
pub(super) fn lock_of(folder: &Path, name: &str) -> io::Result<File> {
    create_private_dir(folder)?;
    if cfg!(unix) {
        return File::open(folder);
    }
    File::options().write(true).create(true).truncate(false).open(folder.join(name))
}

/// Keeps other processes from writing in a folder until the result is dropped: a file that is read before it is written
/// does not change in between. Makes the folder if it does not exist.
fn alone(folder: &Path) -> io::Result<File> {
    let lock = lock_of(folder, "state.lock")?;
    let begun = std::time::Instant::now();
    loop {
        match lock.try_lock() {
            // Other processes write a few bytes. A process that was stopped meanwhile must not stop this one.
            Err(fs::TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
            Err(cause) => return Err(cause.into()),
            Ok(()) => return Ok(lock),
        }
    }
}

/// Writes a durable file before it is renamed: a power cut must not leave an empty file in its place.
fn write_durably(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(contents)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::keyring::tests::vault;

    #[test]
    fn a_state_file_that_says_nothing_is_told_from_one_that_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFile::new(Some(folder.path()), Arc::new(vault(1).0));
        assert_eq!(state.read(), Ok(Vec::new()), "there is none yet");
        let head = ChainHead { chain: 0, seq: 7, mac: [1; 32] };
        state.replace(&[head]).unwrap();
        assert_eq!(state.read(), Ok(vec![head]));
        let path = state.path.clone().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        for (contents, what) in
            [("", "is empty"), ("{}", "damaged"), (&text.replace(",7,", ",6,"), "damaged"), (&text[1..], "damaged")]
        {
            fs::write(&path, contents).unwrap();
            assert!(state.read().unwrap_err().contains(what), "{contents}");
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(state.read().unwrap_err().contains("can't be read"));
    }

    #[test]
    fn an_end_that_is_lower_than_the_known_one_is_not_noted() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFile::new(Some(folder.path()), Arc::new(vault(1).0));
        let head = |seq| ChainHead { chain: 0, seq, mac: [1; 32] };
        for seq in [7, 6, 7] {
            state.advance(head(seq)).unwrap();
            assert_eq!(state.read(), Ok(vec![head(7)]));
        }
    }

    /// Each state file has a lock of its own within the process, as separate processes have.
    #[test]
    fn what_several_processes_note_at_once_is_all_known_afterwards_and_leaves_no_draft() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        // A killed process left this draft.
        let draft = StateFile::new(Some(path), Arc::new(vault(1).0)).path.unwrap().with_extension("state.new");
        fs::write(draft, "half").unwrap();
        std::thread::scope(|threads| {
            for chain in 0..4 {
                threads.spawn(move || {
                    let state = StateFile::new(Some(path), Arc::new(vault(1).0));
                    (1..=50).for_each(|seq| state.advance(ChainHead { chain, seq, mac: [1; 32] }).unwrap());
                });
            }
        });
        let mut known = StateFile::new(Some(path), Arc::new(vault(1).0)).read().unwrap();
        known.sort_by_key(|head| head.chain);
        assert_eq!(
            known.iter().map(|head| (head.chain, head.seq)).collect::<Vec<_>>(),
            [(0, 50), (1, 50), (2, 50), (3, 50)]
        );
        assert_eq!(fs::read_dir(path).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_process_that_was_stopped_while_it_wrote_stops_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let stopped = alone(folder.path()).unwrap();
        let state = StateFile::new(Some(folder.path()), Arc::new(vault(1).0));
        let head = ChainHead { chain: 0, seq: 7, mac: [1; 32] };
        assert!(state.advance(head).is_err());
        drop(stopped);
        state.advance(head).unwrap();
        assert_eq!(state.read(), Ok(vec![head]));
    }
}
