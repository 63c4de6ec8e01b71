//! The seeds of an account, for a caller that looks up thousands.

use std::collections::HashSet;

use super::{CHUNK, Vault, records::SealedMetadata};
use crate::{
    domain::{ids::AccountId, seed::Seed},
    store::{Kind, List, StoreError},
};

/// The hashes of an account's seeds.
pub struct SeedHashes<'v> {
    vault: &'v Vault,
    account: AccountId,
    hashes: HashSet<[u8; 8]>,
}

impl SeedHashes<'_> {
    /// Whether a secret may have this seed; [`Vault::same_seed`] finds out.
    pub fn may_have(&self, seed: &Seed) -> bool {
        self.hashes.contains(&self.vault.keyring().seed_hash(self.account, seed))
    }
}

impl Vault {
    /// The hashes of the seeds of an account's live secrets, for a caller that looks up thousands: most are not there,
    /// and one pass over the secrets is faster than a search for each.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn seeds(&self, account: AccountId) -> Result<SeedHashes<'_>, StoreError> {
        let mut hashes = HashSet::new();
        let mut list = List::of(Kind::Secret, Some(account), CHUNK);
        while let Some(chunk) = self.next_chunk(&mut list).await? {
            let sealed = chunk.iter().filter_map(|record| self.keyring().open_record::<SealedMetadata>(record).ok());
            hashes.extend(sealed.filter_map(|sealed| sealed.seed_hash));
            tokio::task::yield_now().await;
        }
        Ok(SeedHashes { vault: self, account, hashes })
    }
}
