//! Accounts, which a person manages.

use super::{Call, Effect, Failed, Operation, Refusal, Spec, retries::Retries, sound};
use crate::{
    domain::{
        account::{Account, DEFAULT_ACCOUNT},
        audit::{Action, AuditEntry},
        ids::AccountId,
        text::Name,
    },
    vault::{Life, Outcome},
};

/// The refusal to remove an account with secrets: those that can still be restored must not be lost by accident.
const HAS_SECRETS: &str = "the account has secrets, or deleted ones that can still be restored; `secret list` and \
                           `secret list --deleted` with `--account` show them, and `secret rm ID --now` erases one for good";

/// The refusal to add an account whose name looks like another one's.
const LOOKALIKE: &str = "there is an account whose name differs in upper and lower case alone; work in that one, which \
                         `countersign account list` shows, or choose another name";

/// Every account, oldest first. A damaged one is left out, with a line in the log.
#[derive(Debug, Clone, Copy)]
pub struct ListAccounts;

impl Operation for ListAccounts {
    const SPEC: Spec = Spec::person("list_accounts", Action::Call, Effect::Read);
    type Output = Vec<Account>;

    async fn run(self, call: &mut Call<'_>) -> Result<Vec<Account>, Failed> {
        let listed = call.service.vault().accounts().await?;
        Ok(sound(listed).into_iter().map(|kept| kept.value).collect())
    }
}

/// Adds an account.
#[derive(Debug, Clone)]
pub struct AddAccount {
    /// Its name.
    pub name: String,
}

impl Operation for AddAccount {
    const SPEC: Spec = Spec::person("add_account", Action::AccountAdd, Effect::Add);
    type Output = Account;

    async fn run(self, call: &mut Call<'_>) -> Result<Account, Failed> {
        let created_at = call.entry.at.whole_millis();
        let name = Name::parse(&self.name).map_err(|problem| Refusal::invalid("name", problem.to_string()))?;
        call.refuse_lookalike(&name).await?;
        let id = AccountId::new(call.service.shared.random.random_id()?);
        let account = Account { id, name, created_at };
        let entry = AuditEntry { account: Some(id), at: created_at, ..call.entry.clone() };
        match call.service.vault().draft(entry).add(&account).commit().await? {
            Outcome::Done => Ok(account),
            Outcome::Taken | Outcome::Stale => Err(Refusal::Exists("an account of this name").into()),
        }
    }
}

impl Call<'_> {
    /// Refuses a name that differs from an account's in upper and lower case alone: people would mix them up.
    async fn refuse_lookalike(&self, name: &Name) -> Result<(), Failed> {
        let folded = |name: &Name| name.as_str().to_lowercase();
        let accounts = self.service.vault().accounts().await?.sound;
        if accounts.iter().any(|kept| kept.name != *name && folded(&kept.name) == folded(name)) {
            return Err(Refusal::InUse(LOOKALIKE).into());
        }
        Ok(())
    }
}

/// Removes an account without secrets, with its seats and keys.
#[derive(Debug, Clone)]
pub struct RemoveAccount {
    /// Its name.
    pub name: String,
}

impl Operation for RemoveAccount {
    const SPEC: Spec = Spec::person("remove_account", Action::AccountRemove, Effect::Erase);
    type Output = ();

    async fn run(self, call: &mut Call<'_>) -> Result<(), Failed> {
        if self.name == DEFAULT_ACCOUNT {
            return Err(Refusal::InUse("the account `default` can't be removed").into());
        }
        // Secrets past their seven days must not prevent the removal.
        call.service.erase_expired().await?;
        let name = Name::parse(&self.name).map_err(|_| Refusal::NotFound("account"))?;
        let mut retries = Retries::new(&call.service.shared.random);
        loop {
            let account = call.service.vault().account_named(&name).await?.ok_or(Refusal::NotFound("account"))?;
            let entry = AuditEntry { account: Some(account.id), ..call.entry.clone() };
            if call.service.vault().remove_account(&account, entry).await? == Outcome::Done {
                return Ok(());
            }
            // A key or a seat that was added meanwhile is removed with the account.
            let vault = call.service.vault();
            let live = vault.count_secrets(account.id, Life::Live).await?;
            if live + vault.count_secrets(account.id, Life::Deleted).await? > 0 {
                return Err(Refusal::InUse(HAS_SECRETS).into());
            }
            retries.again().await?;
        }
    }
}
