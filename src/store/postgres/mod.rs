//! The backend for a PostgreSQL server, or a compatible one: many processes on many machines share one vault.
//!
//! ```text
//! address, connect    the URL; the primary among its hosts, with TLS
//! link                a connection; statements sent together
//! plan, flight        a commit: worked out, then sent as one transaction without waiting in between
//! reads, audit        queries
//! read_queue          reads of many callers in one statement
//! store, writing      the contract; broken connections, and commits whose answer was lost
//! filling, ending     a vault that comes from elsewhere, and one that is moved elsewhere
//! pace                limits over all nodes
//! pulse               the state of the primary
//! schema              the tables
//! surroundings        facts about the server for an operator
//! reasons             why the server can't be used, as texts
//! ```

mod address;
mod audit;
mod connect;
mod ending;
pub(super) mod filling;
mod flight;
mod link;
mod pace;
mod plan;
mod pulse;
mod read_queue;
mod reads;
mod reasons;
mod schema;
mod store;
mod surroundings;
mod writing;

use std::{fmt, path::PathBuf, sync::Arc};

use self::{
    address::Address,
    connect::Connector,
    link::{Failure, Link},
    plan::Plan,
    schema::Holds,
    store::Postgres,
};
use super::{Absent, Commit, Facts, OpenError, OpenRequest, Opened, SharedStore, StoreError};

/// A database without a vault.
pub(super) struct Place {
    connector: Connector,
    location: PathBuf,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.location.display())
    }
}

/// Opens the vault at an address.
pub(super) async fn open(request: &OpenRequest) -> Result<Opened, OpenError> {
    let connector = Connector::new(Address::read(&request.url)?);
    let place = connector.address().place().to_owned();
    let unusable = |what: String| OpenError::Server { place: place.clone(), what };
    let link = connector.connect().await.map_err(unusable)?;
    match schema::holds(&link).await.map_err(|cause| unusable(reasons::of_failure(&cause)))? {
        Holds::Vault(schema::FORMAT) => {}
        Holds::Vault(found) => {
            return Err(OpenError::Newer { path: PathBuf::from(place), found, known: schema::FORMAT });
        }
        Holds::Moved(to) => return Err(OpenError::Moved { from: PathBuf::from(place), to }),
        Holds::Unfinished(_) => return Err(OpenError::Unfinished(PathBuf::from(place))),
        Holds::Other => {
            return Err(unusable(
                "the database has a table `vault` of another program; use a database of its own".to_owned(),
            ));
        }
        Holds::Nothing if !request.make => return Err(OpenError::NoServerVault(place)),
        Holds::Nothing => {
            let place = super::open::Spot::Server(Place { connector, location: PathBuf::from(place) });
            return Ok(Opened::Absent(Absent { place }));
        }
    }
    let (facts, lacked) = futures::join!(facts(&connector, &link), surroundings::lacked(&link));
    let lacked = lacked.map_err(|cause| unusable(reasons::of_failure(&cause)))?;
    if !lacked.is_empty() {
        return Err(unusable(format!(
            "its role lacks {}; grant it what docs/operate.md lists, or let it own the tables",
            lacked.join(", ")
        )));
    }
    Ok(Opened::Store(Arc::new(Postgres::new(connector, link)), facts))
}

/// Opens the vault at an address read-only, as of this moment.
pub(super) async fn still(request: &OpenRequest) -> Result<(SharedStore, Facts), OpenError> {
    let connector = Connector::new(Address::read(&request.url)?);
    let place = connector.address().place().to_owned();
    let unusable = |what: String| OpenError::Server { place: place.clone(), what };
    let link = connector.connect().await.map_err(unusable)?;
    // The first query fixes the moment.
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL idle_in_transaction_session_timeout = 0";
    link.batch(begin).await.map_err(|cause| unusable(reasons::of_failure(&cause)))?;
    let facts = facts(&connector, &link).await;
    Ok((Arc::new(Postgres::still(connector, link)), facts))
}

async fn facts(connector: &Connector, link: &Link) -> Facts {
    let version = link.query(&link::Step::new("SHOW server_version", Vec::new())).await;
    let version = version.ok().and_then(|rows| Some(reads::column::<String>(rows.first()?, 0))).unwrap_or_default();
    let backend = format!("PostgreSQL {version}");
    Facts { format: schema::FORMAT, backend, location: PathBuf::from(connector.address().place()) }
}

impl Place {
    /// Where the vault will be.
    pub(super) fn location(&self) -> &std::path::Path {
        &self.location
    }

    /// Makes the tables, with a first commit, in one transaction. If another process has just made a vault here,
    /// nothing happens.
    pub(super) async fn create(self, first: &Commit) -> Result<(), OpenError> {
        let unusable = |what: String| OpenError::Server { place: self.location.display().to_string(), what };
        let link = self.connector.connect().await.map_err(unusable)?;
        match fill(&link, first).await {
            Ok(()) => Ok(()),
            Err(Failure::Refused(code)) if matches!(code.code(), "23505" | "42P07" | "42710") => Ok(()),
            Err(Failure::Refused(code)) => Err(unusable(reasons::of_statement(&code))),
            Err(Failure::Lost(why)) => Err(StoreError::Unknown(why).into()),
        }
    }
}

/// The statements go one by one: those of the commit need the tables.
async fn fill(link: &Link, first: &Commit) -> Result<(), Failure> {
    link.batch(flight::BEGIN).await?;
    link.batch(schema::CREATE).await?;
    link.query(&schema::stamp(schema::APPLICATION)).await?;
    let plan = Plan::of(first, None);
    let steps = flight::steps(&plan, first.tail.as_ref()).map_err(|cause| Failure::Lost(cause.to_string()))?;
    for step in &steps {
        link.query(step).await?;
    }
    link.batch("COMMIT").await
}
