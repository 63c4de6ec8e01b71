//! Facts about the server for an operator: its durability, its clock, its standbys, the role's rights, encryption.

use tokio::time::Instant;

use super::{
    address::Tls,
    connect::Connector,
    link::{Failure, Link, Step, Value},
    reads::column,
    schema,
};
use crate::{
    domain::time::Timestamp,
    store::{Circumstance, ServerClock, Surroundings},
};

/// The settings that are examined.
const SETTINGS: [&str; 4] = ["fsync", "full_page_writes", "synchronous_commit", "synchronous_standby_names"];
/// A standby that lacks more of the log than this is behind.
const BEHIND: i64 = 16 << 20;

/// The right to prune the audit log.
const PRUNES: &str = "DELETE on audit";
/// Rights that no call of a node needs.
const UNUSED: [&str; 4] = [PRUNES, "UPDATE on audit", "DELETE on writer", "DELETE on heartbeat"];

/// Examines the server.
pub(super) async fn look(link: &Link, connector: &Connector) -> Result<Surroundings, Failure> {
    let now = Step::new("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint", Vec::new());
    // The first query prepares the statement, which takes a round trip of its own.
    link.query(&now).await?;
    let asked = Instant::now();
    let rows = link.query(&now).await?;
    let clock =
        rows.first().map(|row| ServerClock::between(Timestamp::from_micros(column(row, 0)), asked, Instant::now()));
    let mut found = settings(link).await?;
    found.push(standbys(link).await?);
    found.extend(role(link).await?);
    found.push(encryption(connector));
    Ok(Surroundings { clock, found })
}

async fn settings(link: &Link) -> Result<Vec<Circumstance>, Failure> {
    let names = Value::MaybeTexts(SETTINGS.iter().map(|name| Some((*name).to_owned())).collect());
    let sql = "SELECT name, setting FROM pg_settings WHERE name = ANY ($1)";
    let rows = link.query(&Step::new(sql, vec![names])).await?;
    let of = |name: &str| {
        let row = rows.iter().find(|row| column::<String>(row, 0) == name);
        row.map_or_else(|| "unknown".to_owned(), |row| column(row, 1))
    };
    let off = |name: &'static str, concern: &'static str| {
        let found = of(name);
        let concern = (found == "off").then_some(concern);
        Circumstance { name, found, concern }
    };
    let waits = of("synchronous_commit");
    let concern = match waits.as_str() {
        "off" => Some(
            "a crash of the server loses changes that were acknowledged, such as used steps and revoked keys; set it to on for \
             this role or database",
        ),
        "local" => Some("the loss of the server's machine loses changes that were acknowledged; set it to on"),
        _ => None,
    };
    let alone = of("synchronous_standby_names").trim().is_empty();
    let (found, concern) = match concern {
        None if alone => (
            format!("{waits}, and no standby is in synchronous_standby_names"),
            Some(
                "the loss of the machine can lose the last changes that were acknowledged; use a synchronous standby, unless the \
                 storage itself is kept twice, as by many managed services",
            ),
        ),
        concern => (waits, concern),
    };
    Ok(vec![
        off("fsync", "a power cut can lose or damage the whole vault; set it to on"),
        off("full_page_writes", "a power cut can damage pages; set it to on"),
        Circumstance { name: "synchronous_commit", found, concern },
    ])
}

async fn standbys(link: &Link) -> Result<Circumstance, Failure> {
    let sql = "SELECT count(*), count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')), \
               coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), \
               coalesce(replay_lsn, flush_lsn, write_lsn, sent_lsn))), 0)::bigint, count(state) FROM pg_stat_replication";
    let name = "standbys";
    let unseen = |found: &str| Circumstance { name, found: found.to_owned(), concern: None };
    let rows = match link.query(&Step::new(sql, Vec::new())).await {
        Ok(rows) => rows,
        Err(Failure::Refused(_)) => return Ok(unseen("this server does not say")),
        Err(lost) => return Err(lost),
    };
    let Some(row) = rows.first() else { return Ok(unseen("this server does not say")) };
    let (all, synchronous, behind) = (column::<i64>(row, 0), column::<i64>(row, 1), column::<i64>(row, 2));
    if all == 0 {
        return Ok(unseen("none is connected"));
    }
    if column::<i64>(row, 3) == 0 {
        return Ok(unseen("connected; `GRANT pg_read_all_stats` lets this role see how far they are"));
    }
    let found = format!("{all} connected, {synchronous} of them synchronous, {} KiB behind at most", behind / 1024);
    let concern = (behind > BEHIND).then_some("a standby is far behind: a failover to it would lose what it lacks");
    Ok(Circumstance { name, found, concern })
}

/// The rights that the role lacks, and without which calls would be refused.
pub(super) async fn lacked(link: &Link) -> Result<Vec<String>, Failure> {
    let absent = absent(link).await?;
    Ok(absent.into_iter().filter(|right| !UNUSED.contains(&right.as_str())).collect())
}

/// All rights on the tables that the role lacks.
async fn absent(link: &Link) -> Result<Vec<String>, Failure> {
    let tables = Value::MaybeTexts(schema::TABLES.iter().map(|table| Some((*table).to_owned())).collect());
    let sql = "SELECT wanted.name || ' on ' || tablename FROM pg_tables, (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), \
               ('DELETE')) AS wanted (name) WHERE schemaname = current_schema() AND tablename = ANY ($1) AND tablename <> 'vault' \
               AND NOT has_table_privilege(quote_ident(schemaname) || '.' || quote_ident(tablename), wanted.name) ORDER BY 1";
    let rows = link.query(&Step::new(sql, vec![tables])).await?;
    Ok(rows.iter().map(|row| column(row, 0)).collect())
}

async fn role(link: &Link) -> Result<Vec<Circumstance>, Failure> {
    let all =
        "SELECT rolsuper OR rolcreaterole OR rolreplication OR rolbypassrls FROM pg_roles WHERE rolname = current_user";
    let rows = link.query(&Step::new(all, Vec::new())).await?;
    let may_all = rows.first().is_some_and(|row| column::<bool>(row, 0));
    let prunes = absent(link).await?.iter().all(|right| right != PRUNES);
    let without = if prunes { "" } else { "; pruning the audit log needs the role that made the vault" };
    let rights = Circumstance { name: "rights", found: format!("all that the vault needs{without}"), concern: None };
    let role = Circumstance {
        name: "role",
        found: if may_all { "may manage the whole server" } else { "has no rights beyond its databases" }.to_owned(),
        concern: may_all.then_some(
            "a stolen password gives the whole server away; make a role without SUPERUSER, CREATEROLE, REPLICATION and BYPASSRLS that \
             owns this database",
        ),
    };
    Ok(vec![rights, role])
}

/// The encryption that the address requires: a connection without it is not made.
fn encryption(connector: &Connector) -> Circumstance {
    let nodes = &connector.address().nodes;
    let clear = nodes.iter().filter(|node| node.tls == Tls::Off);
    let (found, concern) = match (clear.clone().count(), clear.clone().any(|node| !node.is_near)) {
        (0, _) => ("verified TLS", None),
        (_, false) => ("none: the server is on this machine", None),
        (_, true) => (
            "none",
            Some(
                "anybody on the network path can read the password and change answers; leave `sslmode=disable` out, and name the server's root \
                 with `sslrootcert` if need be",
            ),
        ),
    };
    Circumstance { name: "tls", found: found.to_owned(), concern }
}
