//! The vault's upkeep: whether it works, and what is wrong with it.

use super::{Refusal, Service};
use crate::{
    domain::{
        audit::Action,
        ids::{AccountId, SecretId},
        principal::Principal,
    },
    store::{StoreError, UncheckedId},
};

/// Whether the vault can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It can.
    Ready,
    /// It can't.
    NotReady,
}

/// What an examination found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diagnosis {
    /// What is wrong, in words without contents; empty: sound.
    pub problems: Vec<String>,
    /// Secrets whose seals were opened.
    pub secrets: u64,
    /// Rows of the trail that were checked.
    pub trail_rows: u64,
    /// Why it could not be examined to the end, or can't be written: no damage, and nothing that a backup mends.
    pub obstacle: Option<String>,
}

impl Service {
    /// Whether the vault can be written right now.
    pub async fn health(&self) -> Health {
        match self.store().check_writable().await {
            Ok(()) => Health::Ready,
            Err(cause) => {
                tracing::warn!(%cause, "the vault can't be written");
                Health::NotReady
            }
        }
    }

    /// Examines everything: pages, keyed hashes, every seal of every account, the trail.
    ///
    /// # Errors
    /// `permission_denied`, `unavailable`.
    pub async fn diagnose(&self, caller: &Principal) -> Result<Diagnosis, Refusal> {
        self.require_person(caller, Action::Call).await?;
        let problems = match self.store().examine().await {
            Err(cause @ StoreError::Unavailable(_)) => {
                return Ok(Diagnosis { obstacle: Some(cause.to_string()), ..Diagnosis::default() });
            }
            examined => examined.map_err(|cause| self.failed(&cause))?,
        };
        let mut diagnosis = Diagnosis { problems, ..Diagnosis::default() };
        for UncheckedId { account, id } in self.store().secret_ids().await.map_err(|cause| self.failed(&cause))? {
            // What is no id can't be asked for: the store has said so above.
            let (Some(account), Some(id)) = (account, id) else { continue };
            diagnosis.secrets += 1;
            self.examine_secret(account, id, &mut diagnosis.problems).await?;
        }
        match self.verify_trail(caller, &[]).await {
            Ok(report) => {
                diagnosis.trail_rows = report.rows;
                diagnosis.problems.extend(report.finding.map(|finding| format!("trail: {finding}")));
            }
            // A row that can't be read at all: the store has said so above.
            Err(Refusal::Internal { .. }) if !diagnosis.problems.is_empty() => {}
            Err(refusal) => return Err(refusal),
        }
        match self.store().check_writable().await {
            Ok(()) => {}
            Err(cause @ StoreError::Unavailable(_)) => diagnosis.obstacle = Some(cause.to_string()),
            Err(cause) => diagnosis.problems.push(cause.to_string()),
        }
        Ok(diagnosis)
    }

    async fn examine_secret(
        &self,
        account: AccountId,
        id: SecretId,
        problems: &mut Vec<String>,
    ) -> Result<(), Refusal> {
        let whole = match self.store().secret(account, id).await {
            Ok(Some(whole)) => whole,
            // Erased meanwhile, or told of already.
            Ok(None) | Err(StoreError::Damaged { .. }) => return Ok(()),
            Err(cause) => return Err(self.failed(&cause)),
        };
        let place = super::place_of(&whole);
        if let Err(cause) = self.keyring().open_metadata(&whole.metadata, &place) {
            problems.push(format!("secret {id}: metadata: {cause}"));
        }
        if let Err(cause) = self.keyring().open_seed(&whole.seed, &place) {
            problems.push(format!("secret {id}: seed: {cause}"));
        }
        Ok(())
    }
}
