//! What this machine last knew of a vault, kept apart from it: where its audit chains ended. A vault that ends before that
//! is an older copy, and would hand out steps a second time.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use tokio::time::Instant;

use super::{
    keyring::Keyring,
    ledger::{end_of, is_kept},
};
use crate::{
    domain::audit::ChainHead,
    store::{Store, StoreError, create_private_dir},
};

/// How often codes alone move what is kept.
const PACE: Duration = Duration::from_secs(1);
/// Bytes that are read of the file.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The file of one vault; none if there is no place for it.
pub(super) struct StateFile {
    path: Option<PathBuf>,
    keyring: Arc<Keyring>,
    /// When it was written last. Held while it is written.
    written: Mutex<Option<Instant>>,
    /// That it can't be written was said.
    told: AtomicBool,
}

/// A vault that is older than what was last known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Older {
    /// Rows of the audit log that are missing, as far as numbers tell.
    pub(super) rows: u64,
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
        Self { path, keyring, written: Mutex::default(), told: AtomicBool::new(false) }
    }

    /// Compares a vault with what was last known of it.
    pub(super) async fn check(&self, store: &dyn Store) -> Result<Option<Older>, StoreError> {
        for known in self.read() {
            if !is_kept(store, &self.keyring, &known).await? {
                let end = end_of(store, &self.keyring, known.chain).await?;
                return Ok(Some(Older { rows: known.seq.saturating_sub(end.tail.seq) }));
            }
        }
        Ok(None)
    }

    /// Whether it is time to write it.
    pub(super) fn is_due(&self, urgent: bool) -> bool {
        let written = *self.written.lock().unwrap_or_else(PoisonError::into_inner);
        self.path.is_some() && (urgent || written.is_none_or(|at| at.elapsed() >= PACE))
    }

    /// Writes that a chain ended there at least. What is lower than what the file says is left out: another process knew
    /// more.
    pub(super) async fn note(self: &Arc<Self>, head: ChainHead, urgent: bool) {
        let state = Arc::clone(self);
        let noted = tokio::task::spawn_blocking(move || {
            let mut written = state.written.lock().unwrap_or_else(PoisonError::into_inner);
            if !urgent && written.is_some_and(|at| at.elapsed() < PACE) {
                return Ok(());
            }
            *written = Some(Instant::now());
            let mut heads = state.read();
            match heads.iter_mut().find(|known| known.chain == head.chain) {
                Some(known) if known.seq >= head.seq => return Ok(()),
                Some(known) => *known = head,
                None => heads.push(head),
            }
            state.write(&heads)
        });
        let Ok(noted) = noted.await else { return };
        // Once, and not with every code, until it can be written again.
        let was_told = self.told.swap(noted.is_err(), Ordering::Relaxed);
        if let Err(cause) = noted
            && !was_told
        {
            tracing::warn!(%cause, "the state file can't be written, so an older copy of the vault would not be noticed");
        }
    }

    /// Forgets what was known and writes this instead: a person went on with an older copy.
    pub(super) fn replace(&self, heads: &[ChainHead]) -> std::io::Result<()> {
        let _writing = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(heads)
    }

    /// What the file says; nothing if there is none, or none of this vault's key.
    fn read(&self) -> Vec<ChainHead> {
        let read = || {
            let file = fs::File::open(self.path.as_ref()?).ok()?;
            let text = std::io::read_to_string(std::io::Read::take(file, FILE_BYTES_MAX)).ok()?;
            let Written { body, mac } = serde_json::from_str(&text).ok()?;
            let right: bool =
                BASE64.decode(mac.as_bytes()).ok()?.ct_eq(&self.keyring.state_mac(body.as_bytes())).into();
            let Body { heads } = serde_json::from_str(&body).ok().filter(|_| right)?;
            let head = |(chain, seq, mac): (u32, u64, String)| {
                Some(ChainHead { chain, seq, mac: BASE64.decode(mac.as_bytes()).ok()?.try_into().ok()? })
            };
            heads.into_iter().map(head).collect::<Option<Vec<_>>>()
        };
        read().unwrap_or_default()
    }

    /// Writes the file beside its place and gives it its name, so that there is always a whole one.
    fn write(&self, heads: &[ChainHead]) -> std::io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let heads = heads.iter().map(|head| (head.chain, head.seq, BASE64.encode(&head.mac))).collect();
        let body = serde_json::to_string(&Body { heads })?;
        let mac = BASE64.encode(&self.keyring.state_mac(body.as_bytes()));
        let text = serde_json::to_string(&Written { body, mac })?;
        path.parent().map_or(Ok(()), create_private_dir)?;
        let draft = path.with_extension(format!("{}.new", std::process::id()));
        let _ = fs::remove_file(&draft);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&draft)?.write_all(text.as_bytes())?;
        fs::rename(&draft, path)
    }
}
