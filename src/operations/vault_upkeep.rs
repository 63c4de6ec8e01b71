//! Checks whether the vault works, and what is wrong with it.

use super::{Call, Effect, Failed, Operation, Service, Spec};
use crate::{
    domain::audit::Action,
    vault::{Examined, StoreError},
};

/// Whether the vault can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It can.
    Ready,
    /// It can't.
    NotReady,
}

/// The result of an examination.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diagnosis {
    /// What is wrong, in words without contents; empty: sound.
    pub problems: Vec<String>,
    /// Secrets whose seals were opened.
    pub secrets: u64,
    /// Rows of the audit log that were checked.
    pub audit_rows: u64,
    /// Bytes in the write-ahead log before the examination: so much data may be in the log alone.
    pub log_bytes: u64,
    /// Why it could not be examined completely, or can't be written: this is no damage, and a backup would not help.
    pub obstacle: Option<String>,
}

impl Service {
    /// Whether the vault can be written right now.
    pub async fn health(&self) -> Health {
        if self.check_clock().is_err() {
            return Health::NotReady;
        }
        match self.vault().probe().await {
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
        Ok(diagnosis)
    }
}
