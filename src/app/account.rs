//! The account that a command, a host or a shell works in.

use super::{Fatal, opening::no_account};
use crate::{
    config::Config,
    domain::{account::Account, text::Name},
    store,
    vault::{OpenError, StoreError, Vault},
};

/// The account to work in. If the vault can't be read or is damaged, the error must report that rather than a missing
/// account.
pub(super) async fn account(config: &Config, vault: &Vault) -> Result<Account, Fatal> {
    match find_account(&config.account, vault).await {
        Ok(Some(account)) => Ok(account),
        Ok(None) => Err(no_account()),
        Err(cause) => Err(unreadable(cause, vault).into()),
    }
}

pub(super) async fn find_account(name: &Name, vault: &Vault) -> Result<Option<Account>, StoreError> {
    if let Some(found) = vault.account_named(name).await? {
        return Ok(Some(found.value));
    }
    // An account's index entry is not covered by its MAC, and the account may be the damaged one.
    let all = vault.accounts().await?;
    if let Some((_, cause)) = all.damaged.into_iter().next() {
        return Err(cause);
    }
    let is_there = all.sound.iter().any(|kept| kept.name == *name);
    let lost = is_there || all.sound.iter().all(|kept| kept.id != vault.status().default_account);
    let what = "an account is not where it should be";
    if lost { Err(StoreError::Damaged { what: what.to_owned() }) } else { Ok(None) }
}

/// The error for a vault that was opened but could not be read further.
fn unreadable(cause: StoreError, vault: &Vault) -> OpenError {
    let path = vault.status().store.location.clone();
    OpenError::Store(match cause {
        StoreError::Damaged { what } => store::OpenError::Damaged { path, what },
        StoreError::Unavailable(what) => store::OpenError::unusable(path, what),
        StoreError::Unknown(_) => cause.into(),
    })
}
