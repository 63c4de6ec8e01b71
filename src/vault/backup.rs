//! A backup of a vault that is in use: a copy as of one moment, opened and examined before it gets its name.

use std::{fs::File, io, path::Path, sync::Arc};

use super::{
    AuditReport, Examined, Vault,
    open::open_own_copy,
    open_error::{OpenError, at},
};
use crate::{
    domain::{
        age::{Openers, Recipient, Sealing},
        audit::ChainHead,
    },
    random::Random,
    store::{self, StoreError},
};

/// A finished backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackedUp {
    /// Its size in bytes.
    pub bytes: u64,
    /// Secrets in it, deleted ones that can be restored among them.
    pub secrets: u64,
    /// Rows of the audit log in it.
    pub audit_rows: u64,
    /// What is wrong with the vault and so with its copy, in words without contents.
    pub problems: Vec<String>,
}

impl Vault {
    /// Writes a backup to a new file, encrypted once more to these recipients if there are any. It has everything that was acknowledged before the call. The vault's key is not in it.
    ///
    /// # Errors
    /// [`OpenError`]: the vault can't be copied, its key does not open the copy, or the file can't be written. There is no new
    /// file then.
    pub async fn back_up(&self, to: &Path, recipients: Vec<Recipient>) -> Result<BackedUp, OpenError> {
        let place = &self.status().store.location;
        let anchors = self.anchor().await.map_err(at(place))?;
        let snapshot = store::snapshot(&self.core.place).await?;
        let copy = open_own_copy(self, self.core.place.at_file(snapshot.path())?).await?;
        let checked = check(&copy, &anchors).await.map_err(at(snapshot.path()));
        let closed = copy.close().await.map_err(at(snapshot.path()));
        let (examined, report) = checked?;
        closed?;
        let (to, random) = (to.to_owned(), Arc::clone(&self.core.random));
        let written = tokio::task::spawn_blocking(move || {
            snapshot.write_to(&to, |from, to| written(from, to, &recipients, random.as_ref()))
        });
        let written = written.await;
        let given_up = || StoreError::Unavailable("writing it was given up".to_owned());
        let bytes = written.map_err(|_| at(place)(given_up()))??;
        let Examined { mut problems, secrets } = examined;
        problems.extend(report.finding.map(|(_, finding)| format!("audit log: {finding}")));
        Ok(BackedUp { bytes, secrets, audit_rows: report.rows, problems })
    }
}

/// Writes a copy to a file, durably, and returns its size in bytes.
fn written(mut from: File, mut to: File, recipients: &[Recipient], random: &dyn Random) -> io::Result<u64> {
    if recipients.is_empty() {
        let bytes = io::copy(&mut from, &mut to)?;
        to.sync_all()?;
        return Ok(bytes);
    }
    let mut fill = |bytes: &mut [u8]| random.fill(bytes).map_err(io::Error::other);
    let mut sealing = Sealing::begin(to, &Openers::Recipients(recipients), &mut fill)?;
    io::copy(&mut from, &mut sealing)?;
    let to = sealing.finish()?;
    to.sync_all()?;
    Ok(to.metadata()?.len())
}

/// Examines a copy: every record, every seal, and the audit log up to where the vault's own ended.
async fn check(copy: &Vault, anchors: &[ChainHead]) -> Result<(Examined, AuditReport), StoreError> {
    Ok((copy.examine().await?, copy.verify(anchors).await?))
}
