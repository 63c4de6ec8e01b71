//! Accounts: a person keeps them.

use super::{Refusal, Service, sound};
use crate::{
    domain::{
        account::{Account, DEFAULT_ACCOUNT},
        audit::{Action, AuditEntry},
        ids::AccountId,
        principal::Principal,
        text::Name,
    },
    store::StoreError,
};

/// Why an account stays. What could still be restored must not be lost in passing.
const HAS_SECRETS: &str = "the account has secrets, or deleted ones that can still be restored; `secret list` and \
                           `secret list --deleted` with `--account` show them, and `secret rm ID --now` erases one for good";

impl Service {
    /// The account of a name. Only start-up asks: a caller's account comes from its credential.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn find_account(&self, name: &str) -> Result<Account, Refusal> {
        let name = Name::parse(name).map_err(|_| Refusal::NotFound("account"))?;
        let found = self.store().account(name).await.map_err(|cause| self.failed(&cause))?;
        found.ok_or(Refusal::NotFound("account"))
    }

    /// The name of an account, as seats show it.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn account_name(&self, id: AccountId) -> Result<Name, Refusal> {
        let accounts = self.store().accounts().await.map_err(|cause| self.failed(&cause))?;
        match (accounts.sound.into_iter().find(|account| account.id == id), accounts.damaged.first()) {
            (Some(account), _) => Ok(account.name),
            // It may be this one.
            (None, Some(cause)) => Err(self.failed(cause)),
            (None, None) => Err(Refusal::NotFound("account")),
        }
    }

    /// Every account, oldest first. A damaged one is left out, with a line in the log.
    ///
    /// # Errors
    /// `permission_denied`, `unavailable`.
    pub async fn list_accounts(&self, caller: &Principal) -> Result<Vec<Account>, Refusal> {
        self.require_person(caller, Action::Call).await?;
        self.store().accounts().await.map(sound).map_err(|cause| self.failed(&cause))
    }

    /// Adds an account.
    ///
    /// # Errors
    /// `permission_denied`, `invalid_argument`, `unavailable`.
    pub async fn add_account(&self, caller: &Principal, name: &str) -> Result<Account, Refusal> {
        self.require_person(caller, Action::AccountAdd).await?;
        let created_at = self.now().whole_millis();
        let name = Name::parse(name).map_err(|problem| Refusal::invalid("name", problem.to_string()))?;
        let id = self.parts.random.random_id().map_err(|cause| self.no_randomness(cause))?;
        let account = Account { id: AccountId::new(id), name, created_at };
        let entry = AuditEntry { account: Some(account.id), ..AuditEntry::of(caller, Action::AccountAdd, created_at) };
        self.store().add_account(account.clone(), entry).await.map_err(|cause| self.failed(&cause))?;
        Ok(account)
    }

    /// Removes an account without secrets, with its seats and keys.
    ///
    /// # Errors
    /// `permission_denied`, `not_found`, `invalid_argument` while it has secrets or deleted ones that can be restored,
    /// `unavailable`.
    pub async fn remove_account(&self, caller: &Principal, name: &str) -> Result<(), Refusal> {
        self.require_person(caller, Action::AccountRemove).await?;
        if name == DEFAULT_ACCOUNT {
            return Err(Refusal::InUse("the account `default` can't be removed"));
        }
        let account = self.find_account(name).await?;
        let entry =
            AuditEntry { account: Some(account.id), ..AuditEntry::of(caller, Action::AccountRemove, self.now()) };
        // What is past its seven days stands in nobody's way.
        self.erase_expired().await?;
        match self.store().remove_account(account.id, entry).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::NotFound("account")),
            Err(StoreError::InUse(_)) => Err(Refusal::InUse(HAS_SECRETS)),
            Err(cause) => Err(self.failed(&cause)),
        }
    }
}
