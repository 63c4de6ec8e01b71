//! Reads format 1, and migrates it to the current format in one transaction.
//!
//! The structs are its tables, column by column. Nothing is checked here, because checking needs a key.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, Row};

use super::{
    apply, connection, error,
    files::{self, Spot},
    open_file::Conn,
    schema,
};
use crate::store::{Commit, Committed, Facts, OpenError, StoreError};

/// A store of format 1.
pub struct Format1 {
    pub(super) conn: Conn,
    pub(super) spot: Spot,
    pub(super) facts: Facts,
}

/// A migration to the current format. If it is dropped before it is finished, nothing has changed.
pub struct Upgrade {
    conn: Conn,
    spot: Spot,
    snapshot: Snapshot,
}

/// The copy of the old vault. It is removed again if the migration fails.
struct Snapshot {
    path: PathBuf,
    keep: bool,
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if !self.keep {
            // A copy that can't be removed does no harm: only its owner can read it, like the vault.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The identity of a vault of format 1, and its wrapped keys.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the columns'")]
pub struct Header {
    pub vault_id: Vec<u8>,
    pub created_at: i64,
    pub default_account: Vec<u8>,
    pub active_epoch: u32,
    pub bundle: Vec<u8>,
    pub mac: Vec<u8>,
    pub slots: Vec<Slot>,
    pub data_keys: Vec<DataKey>,
}

/// A table of format 1: a row's type, and the query for all rows in the order of their keys.
pub trait Table: Sized {
    #[doc(hidden)]
    const SQL: &'static str;
    #[doc(hidden)]
    fn from_row(row: &Row<'_>) -> Result<Self, rusqlite::Error>;
}

macro_rules! table {
    ($(#[$doc:meta])* $name:ident: $table:literal by $order:literal { $($field:ident: $type:ty = $column:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the names are the columns'")]
        pub struct $name { $(pub $field: $type),* }

        impl Table for $name {
            const SQL: &'static str = concat!("SELECT * FROM ", $table, " ORDER BY ", $order);

            fn from_row(row: &Row<'_>) -> Result<Self, rusqlite::Error> {
                Ok(Self { $($field: row.get($column)?),* })
            }
        }
    };
}

table!(
    /// A slot: a wrapping of the root key.
    Slot: "key_slot" by "number" { number: u8 = "number", kind: String = "kind", check: Vec<u8> = "check", wrapped: Vec<u8> = "wrapped" }
);
table!(
    /// A wrapped data key.
    DataKey: "data_key" by "epoch" { epoch: u32 = "epoch", check: Vec<u8> = "check", wrapped: Vec<u8> = "wrapped" }
);
table!(
    /// An account.
    Account: "account" by "id" { id: Vec<u8> = "id", name: String = "name", created_at: i64 = "created_at", mac: Vec<u8> = "mac" }
);
table!(
    /// A secret and the state of its use.
    Secret: "secret" by "n" {
        id: Vec<u8> = "id",
        account: Vec<u8> = "account",
        version: u32 = "version",
        created_at: i64 = "created_at",
        deleted_at: Option<i64> = "deleted_at",
        last_used_at: Option<i64> = "last_used_at",
        given: Option<i64> = "given",
        taken: Option<i64> = "taken",
        waiting: Vec<u8> = "waiting",
        accepted: Option<i64> = "accepted",
        wrong: u32 = "wrong",
        held_until: Option<i64> = "held_until",
        mac: Vec<u8> = "mac",
        metadata: Vec<u8> = "metadata",
        seed: Vec<u8> = "seed",
    }
);
table!(
    /// Codes given within one minute. Rows of one secret and holder are adjacent.
    CodeCount: "code_count" by "secret, holder, minute" {
        secret: Vec<u8> = "secret", holder: Vec<u8> = "holder", minute: i64 = "minute", n: u32 = "n",
    }
);
table!(
    /// A registration that may be repeated.
    Idempotency: "idempotency" by "key" {
        key: Vec<u8> = "key",
        request: Vec<u8> = "request",
        secret: Vec<u8> = "secret",
        created_at: i64 = "created_at",
        mac: Vec<u8> = "mac",
    }
);
table!(
    /// A seat.
    Seat: "seat" by "id" {
        id: Vec<u8> = "id",
        account: Vec<u8> = "account",
        created_at: i64 = "created_at",
        email: String = "email",
        email_key: String = "email_key",
        first_name: Option<String> = "first_name",
        last_name: Option<String> = "last_name",
        forwarding_number: Option<String> = "forwarding_number",
        auth_subject: Option<String> = "auth_subject",
        codes_per_hour: Option<u32> = "codes_per_hour",
        mac: Vec<u8> = "mac",
    }
);
table!(
    /// An API key.
    ApiKey: "api_key" by "id" {
        id: String = "id",
        account: Vec<u8> = "account",
        name: String = "name",
        scopes: String = "scopes",
        seat: Option<Vec<u8>> = "seat",
        secrets: Option<Vec<u8>> = "secrets",
        codes_per_hour: Option<u32> = "codes_per_hour",
        expires_at: Option<i64> = "expires_at",
        created_at: i64 = "created_at",
        last_used_at: Option<i64> = "last_used_at",
        revoked_at: Option<i64> = "revoked_at",
        hash: Vec<u8> = "hash",
        mac: Vec<u8> = "mac",
    }
);
table!(
    /// A row of the audit log.
    TrailRow: "trail" by "seq" {
        seq: i64 = "seq",
        at: i64 = "at",
        account: Option<Vec<u8>> = "account",
        actor: String = "actor",
        actor_key: Option<String> = "actor_key",
        seat: Option<Vec<u8>> = "seat",
        action: String = "action",
        outcome: String = "outcome",
        secret: Option<Vec<u8>> = "secret",
        key: Option<String> = "key",
        step: Option<i64> = "step",
        code_tag: Option<Vec<u8>> = "code_tag",
        purpose: Option<String> = "purpose",
        count: Option<i64> = "count",
        client_name: String = "client_name",
        client_version: String = "client_version",
        mac: Vec<u8> = "mac",
    }
);
table!(
    /// An end of the audit log's chain: `base` or `head`.
    TrailEnd: "trail_end" by "which" { which: String = "which", seq: i64 = "seq", mac: Vec<u8> = "mac", seal: Vec<u8> = "seal" }
);

impl Format1 {
    /// Facts, for people.
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The error for a caller that does not migrate the vault.
    pub fn refusal(&self) -> OpenError {
        older(&self.facts.location)
    }

    /// The header, by which the caller verifies the key.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn header(&self) -> Result<Header, StoreError> {
        let read = self.conn.unchecked_transaction()?;
        let header = header(&self.conn)?;
        read.finish()?;
        Ok(header)
    }

    /// Begins the migration: from here on no other process writes. First it makes a durable copy of everything beside
    /// the file, for its owner alone, with a name that ends in `suffix`.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was changed then, and there is no copy.
    pub fn begin(self, suffix: &str) -> Result<Upgrade, OpenError> {
        let Self { conn, spot, .. } = self;
        let failed = |error: StoreError| error.at(spot.file());
        connection::configure(&conn).map_err(|cause| failed(cause.into()))?;
        match connection::run(&conn, "BEGIN IMMEDIATE") {
            Err(cause) if error::is_busy(&cause) => {
                return Err(failed(StoreError::Unavailable(files::obstacle(spot.file()))));
            }
            begun => begun.map_err(|cause| failed(cause.into()))?,
        }
        if schema::format(&conn).map_err(|cause| failed(cause.into()))? != 1 {
            let what = "another process has moved it to the present format; start again".to_owned();
            return Err(failed(StoreError::Unavailable(what)));
        }
        let path = files::beside(spot.file(), suffix);
        connection::copy(&spot, &path)?;
        let snapshot = Snapshot { path, keep: false };
        conn.execute_batch(schema::CREATE).map_err(|cause| failed(cause.into()))?;
        Ok(Upgrade { conn, spot, snapshot })
    }
}

impl Upgrade {
    /// The path of the copy.
    pub fn snapshot(&self) -> &Path {
        &self.snapshot.path
    }

    /// The header.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn header(&self) -> Result<Header, StoreError> {
        header(&self.conn)
    }

    /// Calls `each` for every row of a table, in order. `each` may [put](Self::put) records.
    ///
    /// # Errors
    /// Those of the store, and the first one of `each`.
    pub fn rows<T: Table, E: From<StoreError>>(&self, mut each: impl FnMut(T) -> Result<(), E>) -> Result<(), E> {
        let mut statement = self.conn.prepare(T::SQL).map_err(StoreError::from)?;
        let mut rows = statement.query([]).map_err(StoreError::from)?;
        while let Some(row) = rows.next().map_err(StoreError::from)? {
            each(T::from_row(row).map_err(StoreError::from)?)?;
        }
        Ok(())
    }

    /// Makes changes in the current format, all or none. Their durability is ignored: [`finish`](Self::finish) commits
    /// everything.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put(&self, commit: &Commit) -> Result<Committed, StoreError> {
        connection::run(&self.conn, "SAVEPOINT part")?;
        let put = apply::all(&self.conn, commit);
        if !matches!(put, Ok(Committed::Done)) {
            connection::run(&self.conn, "ROLLBACK TO part")?;
        }
        connection::run(&self.conn, "RELEASE part")?;
        put
    }

    /// Removes the tables of format 1 and commits everything, durably.
    ///
    /// # Errors
    /// [`OpenError`]; the vault still has format 1 then, unless the disk failed at the end ([`StoreError::Unknown`]).
    pub fn finish(self) -> Result<(), OpenError> {
        let Self { conn, spot, mut snapshot } = self;
        let failed = |error: StoreError| error.at(spot.file());
        schema::drop_format1(&conn).map_err(|cause| failed(cause.into()))?;
        // From here on the migration may be stored.
        snapshot.keep = true;
        connection::run(&conn, "COMMIT").map_err(|cause| failed(error::of_commit(cause)))?;
        // Empty the log, so that the old rows don't stay there. If a connection reads it, or the disk fails, the last
        // connection to close empties it. The migration is committed in either case.
        let _ = connection::keep_log(&conn, false).and_then(|()| connection::empty_log(&conn));
        Ok(())
    }
}

/// The error for an older format that is not migrated.
pub(super) fn older(path: &Path) -> OpenError {
    let what = "it has an older format; any other command moves it to the present one first".to_owned();
    OpenError::Damaged { path: path.to_owned(), what }
}

fn header(conn: &Connection) -> Result<Header, StoreError> {
    let all = |sql: &str| conn.prepare(sql);
    let slots = all(Slot::SQL)?.query_map([], Slot::from_row)?.collect::<Result<_, _>>()?;
    let data_keys = all(DataKey::SQL)?.query_map([], DataKey::from_row)?.collect::<Result<_, _>>()?;
    let mut statement = all("SELECT * FROM vault")?;
    let mut rows = statement.query([])?;
    let Some(row) = rows.next()? else {
        return Err(StoreError::Damaged { what: "its header is not there".to_owned() });
    };
    Ok(Header {
        vault_id: row.get("vault_id")?,
        created_at: row.get("created_at")?,
        default_account: row.get("default_account")?,
        active_epoch: row.get("active_epoch")?,
        bundle: row.get("bundle")?,
        mac: row.get("mac")?,
        slots,
        data_keys,
    })
}
