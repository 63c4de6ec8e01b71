//! Checks whether the vault works, and reports its problems.

use super::{Call, Effect, Failed, Operation, Service, Spec};
use crate::{
    domain::audit::Action,
    vault::{Circumstance, Examined, StoreError, Surroundings},
};

/// Whether the vault can be written, and the clock allows codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// The vault and the clock are ready.
    Ready,
    /// The vault can't be written, or the clock is wrong.
    NotReady,
}

/// The result of an examination.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diagnosis {
    /// The problems, in words without contents; empty if the vault is sound.
    pub problems: Vec<String>,
    /// Secrets whose seals were opened.
    pub secrets: u64,
    /// Rows of the audit log that were checked.
    pub audit_rows: u64,
    /// Bytes in the write-ahead log before the examination: up to this much data may be in the log alone.
    pub log_bytes: u64,
    /// The obstacle to a complete examination, or to writing: this is no damage, and a backup would not help.
    pub obstacle: Option<String>,
    /// Facts for an operator about the store's server, if it is on one.
    pub server: Vec<Circumstance>,
}

impl Service {
    /// The format of the open vault.
    pub fn vault_format(&self) -> u32 {
        self.vault().status().store.format
    }

    /// Whether the vault can be written right now, and the clock allows codes.
    pub async fn health(&self) -> Health {
        if self.check_clock().is_err() {
            return Health::NotReady;
        }
        match self.vault().probe().await {
            Ok(()) if self.check_skew().is_err() => Health::NotReady,
            Ok(()) => Health::Ready,
            Err(cause) => {
                tracing::warn!(%cause, "the vault can't be written");
                Health::NotReady
            }
        }
    }
}

/// Examines everything: structure, MACs, every seal of every account, the audit log.
#[derive(Debug, Clone, Copy)]
pub struct Diagnose;

impl Operation for Diagnose {
    const SPEC: Spec = Spec::person("diagnose", Action::Call, Effect::Read);
    type Output = Diagnosis;

    async fn run(self, call: &mut Call<'_>) -> Result<Diagnosis, Failed> {
        let vault = call.service.vault();
        let log_bytes = vault.log_bytes();
        let Examined { problems, secrets } = match vault.examine().await {
            Err(cause @ StoreError::Unavailable(_)) => {
                return Ok(Diagnosis { obstacle: Some(cause.to_string()), log_bytes, ..Diagnosis::default() });
            }
            examined => examined?,
        };
        let mut diagnosis = Diagnosis { problems, secrets, log_bytes, ..Diagnosis::default() };
        match vault.verify(&[]).await {
            Ok(report) => {
                diagnosis.audit_rows = report.rows;
                diagnosis.problems.extend(report.finding.map(|(_, finding)| format!("audit log: {finding}")));
            }
            Err(cause) => diagnosis.problems.push(cause.to_string()),
        }
        if let Err(cause) = vault.probe().await {
            diagnosis.obstacle = Some(cause.to_string());
        }
        diagnosis.server = call.service.server().await;
        Ok(diagnosis)
    }
}

impl Service {
    /// The doctor's report on the store's server. A server that does not answer is not damage.
    pub async fn server(&self) -> Vec<Circumstance> {
        let Surroundings { clock, mut found } = match self.vault().surroundings().await {
            Ok(surroundings) => surroundings,
            Err(cause) => {
                tracing::warn!(%cause, "the server does not say how it is set up");
                return Vec::new();
            }
        };
        found.extend(clock.map(|clock| self.clock_circumstance(&clock)));
        found
    }
}
