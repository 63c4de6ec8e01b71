//! The end of a vault on a server: other writers are kept away while it is copied elsewhere, and then it ends for every
//! process that has it open.

use super::{
    link::{Failure, Link, Step, Value},
    reads::column,
    reasons,
    schema::{self, Holds},
    store::Shared,
};
use crate::store::StoreError;

/// How often the outcome is looked up if the answer is lost.
const TRIES: u32 = 5;

/// Begins a transaction that locks every writer's row, and the number that a new writer would take: each commit needs
/// one of them. The error is a text for people.
pub(super) async fn keep_away(link: &Link) -> Result<(), String> {
    let held = async {
        let tables = Value::MaybeTexts(schema::TABLES.iter().map(|table| Some((*table).to_owned())).collect());
        let foreign = "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = ANY ($1) \
                       AND NOT pg_has_role(tableowner, 'USAGE')";
        let foreign = link.query(&Step::new(foreign, vec![tables])).await?;
        if foreign.first().map_or(0, |row| column::<i64>(row, 0)) > 0 {
            return Ok(false);
        }
        link.batch("BEGIN; SET LOCAL lock_timeout = '3999ms'; SET LOCAL idle_in_transaction_session_timeout = 0")
            .await?;
        let next = "INSERT INTO writer (chain, epoch, flight, lease_until) \
                    SELECT coalesce(max(chain) + 1, 0), 0, 0, 0 FROM writer";
        link.query(&Step::new(next, Vec::new())).await?;
        link.query(&Step::new("SELECT chain FROM writer ORDER BY chain FOR UPDATE", Vec::new())).await?;
        Ok(true)
    };
    match held.await {
        Ok(true) => Ok(()),
        Ok(false) => Err("its tables belong to another role; use the role that made the vault".to_owned()),
        Err(Failure::Refused(code)) if ["55P03", "23505"].contains(&code.code()) => {
            Err("other processes are writing; stop them, then try again".to_owned())
        }
        Err(cause) => Err(reasons::of_failure(&cause)),
    }
}

impl Shared {
    /// Keeps all other writers away.
    pub(super) async fn hold(&self) -> Result<(), StoreError> {
        let link = self.connect(self.pulse.until()).await?;
        keep_away(&link).await.map_err(|why| self.unreachable(&why))?;
        *self.held.lock().await = Some(link);
        Ok(())
    }

    /// Ends the vault: no process finds a record any more.
    pub(super) async fn retire(&self, to: &str) -> Result<(), StoreError> {
        let Some(link) = self.held.lock().await.take() else { return Err(self.unreachable("it is not held")) };
        let end = Step::new("UPDATE vault SET application = $1 WHERE one = 1", vec![Value::Bytes(schema::moved(to))]);
        let ended = async {
            link.query(&end).await?;
            link.batch("ALTER TABLE record RENAME TO moved_record; ALTER TABLE writer RENAME TO moved_writer").await
        };
        match ended.await {
            Ok(()) => {}
            Err(Failure::Refused(code)) if code.code() == "55P03" => {
                return Err(
                    self.unreachable("somebody reads its tables for long, such as a dump; try again after that")
                );
            }
            Err(Failure::Refused(code)) => return Err(self.unreachable(&reasons::of_statement(&code))),
            Err(Failure::Lost(why)) => return Err(self.unreachable(&why)),
        }
        match link.batch("COMMIT").await {
            Ok(()) if !link.is_warned() => Ok(()),
            Err(Failure::Refused(code)) => Err(self.unreachable(&reasons::of_statement(&code))),
            Ok(()) | Err(Failure::Lost(_)) => {
                drop(link);
                self.is_over().await
            }
        }
    }

    /// Looks up whether the vault has ended, after the answer was lost.
    async fn is_over(&self) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            let Ok(link) = self.connect(self.pulse.until()).await else { continue };
            // Once the lock is granted, the lost transaction has ended, committed or not.
            let locked = link.query(&Step::new("SELECT one FROM vault FOR UPDATE", Vec::new())).await;
            match (locked, schema::holds(&link).await) {
                (Ok(_), Ok(Holds::Moved(_))) => return Ok(()),
                (Ok(_), Ok(_)) => return Err(self.unreachable("the connection broke")),
                _ => self.connector.turn_away(&link),
            }
        }
        Err(StoreError::Unknown(format!("the server {}", self.connector.address().place())))
    }

    /// Lets the others write again.
    pub(super) async fn let_go(&self) {
        let held: Option<Link> = self.held.lock().await.take();
        drop(held);
    }
}
