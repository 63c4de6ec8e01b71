//! A backup of a vault that is in use: a copy as of one moment, opened and examined before it gets its name.

use std::{fs::File, io, path::Path, sync::Arc};

use super::{
    AuditReport, Examined, Vault,
    copy::{Travel, copy},
    open::{open_own_copy, over_own_copy},
    open_error::{OpenError, at},
};
use crate::{
    domain::{
        age::{Openers, Recipient, Sealing},
        audit::ChainHead,
    },
    random::Random,
    store::{self, Snapshot, StoreError},
};

/// A finished backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackedUp {
    /// Its size in bytes.
    pub bytes: u64,
    /// The number of secrets in it, including deleted ones that can be restored.
    pub secrets: u64,
    /// The number of rows of the audit log in it.
    pub audit_rows: u64,
    /// The problems of the vault, and so of its copy, in words without contents.
    pub problems: Vec<String>,
}

impl Vault {
    /// Writes a backup to a new file, encrypted once more to these recipients if there are any. It contains everything
    /// that was acknowledged before the call, but not the vault's key.
    ///
    /// # Errors
    /// [`OpenError`]: the vault can't be copied, its key does not open the copy, or the file can't be written. There is no new
    /// file then.
    pub async fn back_up(&self, to: &Path, recipients: Vec<Recipient>) -> Result<BackedUp, OpenError> {
        let place = &self.status().store.location;
        let anchors = self.anchor().await.map_err(at(place))?;
        let snapshot = self.snapshot().await?;
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

impl Vault {
    /// A copy of the vault as of one moment, in a file of this machine.
    async fn snapshot(&self) -> Result<Snapshot, OpenError> {
        let place = &self.core.place;
        if store::folder_of(place).is_some() {
            return Ok(store::snapshot(place).await?);
        }
        // Other processes may go on writing: the server shows this connection the vault as it was at the first query.
        let still = over_own_copy(self, place.clone(), store::still(place).await?).await?;
        let mut into = store::scratch(place).await?;
        let copied = copy(&still, &mut into, &Travel::default()).await;
        still.close().await.map_err(at(&self.status().store.location))?;
        copied?;
        let (file, facts) = into.store().await?;
        file.close().await.map_err(at(&facts.location))?;
        Ok(into.into_snapshot()?)
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
