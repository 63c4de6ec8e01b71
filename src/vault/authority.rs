//! The certificate authority of an account's guard. Only the guard reads its bytes.
//!
//! Like the sealed data of a session, it depends on no data key, so a rotation need not touch it.

use zeroize::Zeroizing;

use super::{
    Draft, Vault, Versioned,
    key::Key,
    keyring::Keyring,
    records::SealedAuthority,
    seal::{self, Bound, Column, OpenSealError},
};
use crate::{
    domain::{ids::AccountId, time::Timestamp},
    store::StoreError,
};

/// An authority that was read, to be replaced.
pub type KeptAuthority = Versioned<SealedAuthority>;

impl Keyring {
    /// Opens an authority.
    pub(super) fn open_authority(&self, authority: &SealedAuthority) -> Result<Zeroizing<Vec<u8>>, OpenSealError> {
        seal::open(&self.authority_key(authority.account), &self.authority_bound(), &authority.sealed)
    }

    fn authority_key(&self, account: AccountId) -> Key {
        Key::of(&Zeroizing::new(self.fingerprint("authority-key", &[account.as_bytes()])))
    }

    fn authority_bound(&self) -> Bound {
        Bound::to_number(self.vault(), Column::Authority, 0)
    }
}

impl Vault {
    /// The authority of an account, opened, and its record.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn authority(
        &self,
        account: AccountId,
    ) -> Result<Option<(Zeroizing<Vec<u8>>, KeptAuthority)>, StoreError> {
        let Some(kept) = self.one::<SealedAuthority>(account.as_bytes().as_slice()).await? else { return Ok(None) };
        let plain = self
            .keyring()
            .open_authority(&kept)
            .map_err(|cause| StoreError::Damaged { what: format!("certificate authority of the guard: {cause}") })?;
        Ok(Some((plain, kept)))
    }

    /// Adds an authority to a change, in the place of an earlier one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: there is no randomness.
    pub fn with_authority<'v>(
        &self,
        draft: Draft<'v>,
        (account, made_at): (AccountId, Timestamp),
        plain: &[u8],
        before: Option<&KeptAuthority>,
    ) -> Result<Draft<'v>, StoreError> {
        let (keyring, random) = (self.keyring(), self.core.random.as_ref());
        let sealed = seal::seal(&keyring.authority_key(account), 0, &keyring.authority_bound(), plain, random)?;
        let new = SealedAuthority { account, made_at, sealed };
        Ok(match before {
            Some(before) => draft.replace(before, &new).scrub(),
            None => draft.add(&new),
        })
    }
}
