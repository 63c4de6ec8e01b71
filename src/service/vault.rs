//! The vault's upkeep: whether it works, and what is wrong with it.

use super::{Refusal, Service};
use crate::{
    domain::{audit::Action, principal::Principal},
    store::Life,
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
        let problems = self.store().examine().await.map_err(|cause| self.failed(&cause))?;
        let mut diagnosis = Diagnosis { problems, ..Diagnosis::default() };
        for account in self.store().accounts().await.map_err(|cause| self.failed(&cause))? {
            for life in [Life::Live, Life::Deleted] {
                for kept in self.store().secrets(account.id, life).await.map_err(|cause| self.failed(&cause))? {
                    diagnosis.secrets += 1;
                    self.examine_secret(kept.account, kept.id, &mut diagnosis.problems).await?;
                }
            }
        }
        let report = self.verify_trail(caller, &[]).await?;
        diagnosis.trail_rows = report.rows;
        diagnosis.problems.extend(report.finding.map(|finding| format!("trail: {finding}")));
        if let Err(cause) = self.store().check_writable().await {
            diagnosis.problems.push(cause.to_string());
        }
        Ok(diagnosis)
    }

    async fn examine_secret(
        &self,
        account: crate::domain::ids::AccountId,
        id: crate::domain::ids::SecretId,
        problems: &mut Vec<String>,
    ) -> Result<(), Refusal> {
        let whole = self.store().secret(account, id).await.map_err(|cause| self.failed(&cause))?;
        let Some(whole) = whole else { return Ok(()) };
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
