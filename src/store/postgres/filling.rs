//! Fills a vault's tables with data from elsewhere. The table `vault` identifies them as a vault only at the very end;
//! until then it holds a mark, so that no process opens them.

use std::path::{Path, PathBuf};

use super::{
    address::Address,
    connect::Connector,
    ending, facts, flight,
    link::{Failure, Link, Step, Value},
    plan::Plan,
    reasons,
    schema::{self, Holds},
    store::Postgres,
};
use crate::store::{AuditPut, Facts, Finders, OpenError, OpenRequest, Record, SharedStore, StoreError};

/// As [`flight::BEGIN`], without the idle timeout: the transaction waits for the vault that is copied.
const BEGIN: &str = "BEGIN; SET LOCAL lock_timeout = '3999ms'; SET LOCAL idle_in_transaction_session_timeout = 0";
/// How often the last step is tried if its answer is lost.
const TRIES: u32 = 5;

/// The statements that empty the tables of a vault that is replaced, and release the chain that was reserved to keep
/// new writers away.
const EMPTY: [&str; 6] = [
    "DELETE FROM record_word",
    "DELETE FROM record_name",
    "DELETE FROM record_count",
    "DELETE FROM record",
    "DELETE FROM audit",
    "DELETE FROM writer WHERE epoch = 0",
];

/// The tables, which are invisible to others until they are complete.
pub(in crate::store) struct Filling {
    connector: Connector,
    link: Link,
    place: PathBuf,
    mark: String,
    /// Whether another process left tables under the same mark.
    leftover: bool,
    /// Whether a transaction is under way.
    begun: bool,
    /// Whether it takes the place of a vault, in a transaction that keeps other writers away.
    replaces: bool,
}

impl Filling {
    /// Finds a place for a vault.
    pub(in crate::store) async fn vacant(request: &OpenRequest, mark: String) -> Result<Self, OpenError> {
        let (connector, link, holds) = looked_at(request).await?;
        let place = PathBuf::from(connector.address().place());
        let leftover = match holds {
            Holds::Nothing => false,
            Holds::Unfinished(left) if left == mark => true,
            Holds::Unfinished(_) => return Err(OpenError::Unfinished(place)),
            Holds::Vault(_) | Holds::Moved(_) | Holds::Other => return Err(OpenError::Occupied(place)),
        };
        Ok(Self { connector, link, place, mark, leftover, begun: false, replaces: false })
    }

    /// Takes the place of a vault, once no other process is writing.
    pub(in crate::store) async fn replacing(request: &OpenRequest) -> Result<Self, OpenError> {
        let (connector, link, holds) = looked_at(request).await?;
        let place = PathBuf::from(connector.address().place());
        if !matches!(holds, Holds::Vault(schema::FORMAT)) {
            return Err(OpenError::NoVault(place));
        }
        let one = Self { connector, link, place, mark: String::new(), leftover: false, begun: true, replaces: true };
        ending::keep_away(&one.link).await.map_err(|why| one.server(why))?;
        Ok(one)
    }

    /// Finds tables that were filled and are not published yet.
    pub(in crate::store) async fn unfinished(request: &OpenRequest, marks: &str) -> Result<Option<Self>, OpenError> {
        let (connector, link, holds) = looked_at(request).await?;
        let place = PathBuf::from(connector.address().place());
        let Holds::Unfinished(mark) = holds else { return Ok(None) };
        Ok(mark.starts_with(marks).then_some(Self {
            connector,
            link,
            place,
            mark,
            leftover: true,
            begun: false,
            replaces: false,
        }))
    }

    pub(in crate::store) fn location(&self) -> &Path {
        &self.place
    }

    pub(in crate::store) async fn begin(&mut self) -> Result<(), OpenError> {
        if self.replaces {
            for sql in EMPTY {
                let emptied = self.link.examine(&Step::new(sql, Vec::new())).await;
                emptied.map_err(|cause| self.unusable(&cause))?;
            }
            return Ok(());
        }
        let begun = async {
            self.link.batch(BEGIN).await?;
            if self.leftover {
                self.link.batch(schema::DROP).await?;
            }
            self.link.batch(schema::CREATE).await?;
            self.link.query(&schema::stamp(&schema::unfinished(&self.mark))).await
        };
        begun.await.map_err(|cause| self.unusable(&cause))?;
        self.begun = true;
        Ok(())
    }

    pub(in crate::store) async fn add(
        &self,
        records: &[(Record, Finders)],
        rows: &[AuditPut],
    ) -> Result<(), OpenError> {
        let indexed = records.iter().filter(|(_, finders)| *finders != Finders::default());
        let plan = Plan {
            inserted: records.iter().map(|(record, _)| record).collect(),
            indexed: indexed.map(|(record, finders)| (record, finders)).collect(),
            rows: rows.iter().collect(),
            ..Plan::default()
        };
        let steps = flight::steps(&plan, None)?;
        for step in &steps {
            self.link.query(step).await.map_err(|cause| self.unusable(&cause))?;
        }
        Ok(())
    }

    pub(in crate::store) async fn store(&mut self) -> Result<(SharedStore, Facts), OpenError> {
        if std::mem::take(&mut self.begun) {
            // The transaction may be as large as the vault.
            let committed = self.link.examine(&Step::new("COMMIT", Vec::new())).await;
            committed.map_err(|cause| self.unusable(&cause))?;
        }
        let connector = Connector::new(self.connector.address().clone());
        let link = connector.connect().await.map_err(|what| self.server(what))?;
        let facts = facts(&connector, &link).await;
        Ok((std::sync::Arc::new(Postgres::new(connector, link)), facts))
    }

    /// Publishes the tables. If the answer is lost, the outcome is looked up.
    pub(in crate::store) async fn publish(self) -> Result<(), OpenError> {
        if self.replaces {
            return self.replaced().await;
        }
        let sql = "UPDATE vault SET application = $1 WHERE one = 1 AND application = $2";
        let values = [schema::APPLICATION.to_vec(), schema::unfinished(&self.mark)].map(Value::Bytes);
        let step = Step::new(sql, values.into());
        let mut problem = String::new();
        for _ in 0..TRIES {
            let link = match self.connector.connect().await {
                Ok(link) => link,
                Err(why) => {
                    problem = why;
                    continue;
                }
            };
            let done = async {
                link.query(&step).await?;
                schema::holds(&link).await
            };
            match done.await {
                Ok(Holds::Vault(schema::FORMAT)) if !link.is_warned() => return Ok(()),
                Ok(_) => "its tables are not what they were".clone_into(&mut problem),
                Err(cause @ Failure::Refused(_)) => return Err(self.unusable(&cause)),
                Err(cause @ Failure::Lost(_)) => {
                    self.connector.turn_away(&link);
                    problem = reasons::of_failure(&cause);
                }
            }
        }
        Err(self.server(problem))
    }

    /// Gives the new content its place, for all processes at once.
    async fn replaced(self) -> Result<(), OpenError> {
        let unknown = |why: &str| StoreError::Unknown(format!("the server {} ({why})", self.place.display()));
        match self.link.examine(&Step::new("COMMIT", Vec::new())).await {
            Ok(_) if !self.link.is_warned() => Ok(()),
            Ok(_) => Err(unknown("it warned that a standby may lack the change").into()),
            Err(cause @ Failure::Refused(_)) => Err(self.unusable(&cause)),
            Err(Failure::Lost(why)) => Err(unknown(&why).into()),
        }
    }

    /// Removes the tables. If that fails, the next attempt does it.
    pub(in crate::store) async fn abandon(self) {
        let Self { connector, link, mark, begun, .. } = self;
        drop(link);
        if begun {
            // The tables were never visible to other transactions.
            return;
        }
        let Ok(link) = connector.connect().await else { return };
        if matches!(schema::holds(&link).await, Ok(Holds::Unfinished(left)) if left == mark) {
            let _ = link.batch(schema::DROP).await;
        }
    }

    fn unusable(&self, cause: &Failure) -> OpenError {
        self.server(reasons::of_failure(cause))
    }

    fn server(&self, what: String) -> OpenError {
        OpenError::Server { place: self.place.display().to_string(), what }
    }
}

/// Connects to a server, and finds out what its database holds.
async fn looked_at(request: &OpenRequest) -> Result<(Connector, Link, Holds), OpenError> {
    let connector = Connector::new(Address::read(&request.url)?);
    let place = connector.address().place().to_owned();
    let unusable = |what: String| OpenError::Server { place: place.clone(), what };
    let link = connector.connect().await.map_err(unusable)?;
    let holds = schema::holds(&link).await.map_err(|cause| unusable(reasons::of_failure(&cause)))?;
    Ok((connector, link, holds))
}
