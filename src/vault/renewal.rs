//! A header that another process has changed: it is read again, and its keys are taken over.
//!
//! A process reads the header when it opens the vault. Afterwards it reads the header again only where that matters: a
//! commit that holds a new seal expects the header's version, so nothing is ever sealed under a key that is gone; and
//! when a record can't be read, the process checks whether the keys have changed. Codes and lists pay nothing for this.
//!
//! A new data key opens with the root key, which the keyring holds. For a new root key, the key is requested from the
//! source once more, if the source can give it without a person and without keeping anything secret; otherwise the
//! process has to be restarted.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Vault, Versioned,
    keyring::Keyring,
    records::VaultHeader,
    root::UnlockError,
    sources::{Source, Spot},
};
use crate::store::StoreError;

/// How long a header whose keys could not be taken over is not tried again: the source may have to run a program.
const AGAIN: Duration = Duration::from_secs(5);

/// A header whose keys could not be taken over.
pub(super) struct Refused {
    version: u64,
    at: Instant,
    cause: StoreError,
}

impl Vault {
    /// The current header. The keyring has its keys afterwards.
    pub(super) async fn header(&self) -> Result<Versioned<VaultHeader>, StoreError> {
        let header = self.stored_header().await?;
        if header.record.version == self.keyring().version() {
            return Ok(header);
        }
        let mut refused = self.core.renewal.lock().await;
        // Another call may have taken a newer one over by now.
        let header = self.stored_header().await?;
        let version = header.record.version;
        if version == self.keyring().version() {
            return Ok(header);
        }
        if let Some(Refused { version: tried, at, cause }) = refused.as_ref()
            && *tried == version
            && at.elapsed() < AGAIN
        {
            return Err(cause.clone());
        }
        // Boxed: without it the future of every commit and read would be 9 KB larger, for a step that few of them take.
        let renewed = Box::pin(self.renew(&header, version)).await;
        *refused = renewed.as_ref().err().map(|cause| Refused { version, at: Instant::now(), cause: cause.clone() });
        renewed.map(|()| header)
    }

    /// Whether the header has another version than `known`. The keyring has its keys afterwards.
    pub(super) async fn meets_keys_after(&self, known: u64) -> Result<bool, StoreError> {
        match self.header().await {
            // The read that failed before returns its own error.
            Err(StoreError::Damaged { .. }) => Ok(false),
            header => Ok(header?.record.version != known),
        }
    }

    /// Reads, and reads once more if the result is damaged and the keys have changed: it may be sealed under a newer
    /// key.
    pub(super) async fn with_new_keys<T, F>(&self, read: impl Fn() -> F + Send + Sync) -> Result<T, StoreError>
    where
        T: Send,
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        // Another call may take newer keys over while this one reads.
        let known = self.keyring().version();
        let first = read().await;
        let is_damaged = matches!(first, Err(StoreError::Damaged { .. }));
        if is_damaged && self.meets_keys_after(known).await? { read().await } else { first }
    }

    /// Tries again to take over keys for which that failed before.
    pub(super) async fn retry_renewal(&self) -> Result<(), StoreError> {
        let failed = self.core.renewal.try_lock().is_ok_and(|refused| refused.is_some());
        if failed { self.header().await.map(|_| ()) } else { Ok(()) }
    }

    pub(super) fn spot(&self) -> Spot<'_> {
        let status = self.status();
        Spot { vault: status.vault, location: &status.store.location, data_dir: &self.core.place.data_dir }
    }

    async fn stored_header(&self) -> Result<Versioned<VaultHeader>, StoreError> {
        let what = "the vault's header: it is missing".to_owned();
        self.one(Vec::new()).await?.ok_or(StoreError::Damaged { what })
    }

    async fn renew(&self, header: &VaultHeader, version: u64) -> Result<(), StoreError> {
        let keyring = self.keyring();
        if version < keyring.version() || header.keys.root_epoch < keyring.root().epoch {
            let what = "the vault's header: it is older than one that was there before".to_owned();
            return Err(StoreError::Damaged { what });
        }
        match keyring.renew(&header.keys, version, None) {
            Err(UnlockError::WrongKey) => self.renew_by_source(keyring, header, version).await,
            renewed => renewed.map_err(|_| unopened()),
        }
    }

    async fn renew_by_source(&self, keyring: &Keyring, header: &VaultHeader, version: u64) -> Result<(), StoreError> {
        let refused = |why: &str| {
            let text = format!(
                "the root key was replaced while this process was running, and {why}; restart it, by a key that `countersign \
                 vault key list` shows"
            );
            StoreError::Unavailable(text)
        };
        // Use a new source: a source keeps the key that it has read, which may be the old one, and must not stay in
        // memory either.
        let source = self.core.source.as_ref().and_then(Source::again);
        let source = source.ok_or_else(|| refused("it does not keep the key that opened the vault"))?;
        let kek = source.key(self.spot(), &header.keys.slots).await.map_err(|cause| refused(&cause.to_string()))?;
        keyring.renew(&header.keys, version, Some(&kek)).map_err(|cause| match cause {
            UnlockError::WrongKey => refused("its source has no key of the vault any more"),
            UnlockError::Damaged => unopened(),
        })
    }
}

fn unopened() -> StoreError {
    StoreError::Damaged { what: format!("the vault's header: {}", UnlockError::Damaged) }
}
