//! Copies a vault as it is, record by record and row by row, to a place that nothing opens yet, and checks what arrived.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU8, AtomicUsize, Ordering},
};

use super::{
    CHUNK, Vault,
    examine::sound,
    ledger::{self, base_of, end_of},
    open::{VaultRequest, open_unnamed},
    open_error::{OpenError, at},
    verify::AuditReport,
};
use crate::{
    domain::audit::ChainHead,
    random::SharedRandom,
    store::{self, AuditPut, AuditQuery, AuditTerms, Filling, Kind, List, StoreError},
};

/// The progress of a copy.
#[derive(Debug, Default)]
pub struct Travel {
    stage: AtomicU8,
    done: AtomicUsize,
    of: AtomicUsize,
}

/// The stage of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The numbers of records and rows: those that are copied, and all of them.
    Copying(usize, usize),
    /// The copy is examined.
    Checking,
    /// The old place is given up: this can't be interrupted any more.
    Ending,
}

const CHECKING: u8 = 1;
const ENDING: u8 = 2;

impl Travel {
    /// The current stage.
    pub fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Relaxed) {
            CHECKING => Stage::Checking,
            ENDING => Stage::Ending,
            _ => Stage::Copying(self.done.load(Ordering::Relaxed), self.of.load(Ordering::Relaxed)),
        }
    }

    pub(super) fn checks(&self) {
        self.stage.store(CHECKING, Ordering::Relaxed);
    }

    pub(super) fn ends(&self) {
        self.stage.store(ENDING, Ordering::Relaxed);
    }
}

/// The numbers of what was copied, and where it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cargo {
    records: BTreeMap<Kind, u64>,
    /// Rows of the audit log.
    pub(super) rows: u64,
    /// The heads of the chains, read before the rows were copied.
    heads: Vec<ChainHead>,
}

impl Cargo {
    /// The numbers of a vault's records, and of the rows of its verified audit log.
    pub(super) async fn of(vault: &Vault, verified: &AuditReport) -> Result<Self, StoreError> {
        let mut records = BTreeMap::new();
        for kind in Kind::ALL {
            records.insert(kind, vault.store().count(&List { life: None, ..List::of(kind, None, 0) }).await?);
        }
        Ok(Self { records, rows: rows_in(verified), heads: Vec::new() })
    }

    pub(super) fn records(&self) -> u64 {
        self.records.values().sum()
    }

    pub(super) fn secrets(&self) -> u64 {
        self.records.get(&Kind::Secret).copied().unwrap_or_default()
    }
}

/// The number of rows in an audit log, with those that are fenced off.
fn rows_in(verified: &AuditReport) -> u64 {
    verified.rows.saturating_add(u64::try_from(verified.fenced.len()).unwrap_or_default())
}

/// The numbers of records and of rows to copy.
pub(super) async fn size_of(vault: &Vault) -> Result<(u64, u64), StoreError> {
    let mut records = 0;
    for kind in Kind::ALL {
        records += vault.store().count(&List { life: None, ..List::of(kind, None, 0) }).await?;
    }
    let mut rows = 0;
    for chain in vault.chains().await? {
        let (base, end) = (
            base_of(vault.store(), vault.keyring(), chain).await?,
            end_of(vault.store(), vault.keyring(), chain).await?,
        );
        rows += end.tail.seq.saturating_sub(base.seq);
    }
    Ok((records, rows))
}

/// Copies everything. No process may write to the vault meanwhile. Damaged records and rows are copied as they are, and
/// an examination of the copy finds them.
pub(super) async fn copy(from: &Vault, into: &mut Filling, travel: &Travel) -> Result<Cargo, store::OpenError> {
    let (records, rows) = size_of(from).await?;
    travel.of.store(usize::try_from(records.saturating_add(rows)).unwrap_or(usize::MAX), Ordering::Relaxed);
    let heads = from.anchor().await?;
    Ok(Cargo { heads, ..copy_as_it_is(from, into, travel).await? })
}

/// Like [`copy()`], without reading where the chains end, which a damaged vault may not know.
pub(super) async fn copy_as_it_is(
    from: &Vault,
    into: &mut Filling,
    travel: &Travel,
) -> Result<Cargo, store::OpenError> {
    into.begin().await?;
    let mut cargo = Cargo::default();
    for chain in from.store().chains().await? {
        copy_rows(from, into, chain, (&mut cargo, travel)).await?;
    }
    // The header comes last.
    for kind in Kind::ALL.into_iter().rev() {
        copy_records(from, into, kind, (&mut cargo, travel)).await?;
    }
    Ok(cargo)
}

async fn copy_records(
    from: &Vault,
    into: &mut Filling,
    kind: Kind,
    (cargo, travel): (&mut Cargo, &Travel),
) -> Result<(), store::OpenError> {
    let mut list = List { life: None, ..List::of(kind, None, CHUNK) };
    while let Some(records) = from.next_chunk(&mut list).await? {
        let count = records.len();
        let mut added = Vec::with_capacity(count);
        for record in records {
            let finders = if let Ok(finders) = sound(from.keyring(), &record) {
                finders
            } else {
                let kept = from.store().finders(std::slice::from_ref(&record.key)).await?;
                kept.into_iter().next().unwrap_or_default()
            };
            added.push((record, finders));
        }
        into.add(added, Vec::new()).await?;
        *cargo.records.entry(kind).or_default() += u64::try_from(count).unwrap_or_default();
        travel.done.fetch_add(count, Ordering::Relaxed);
    }
    Ok(())
}

async fn copy_rows(
    from: &Vault,
    into: &mut Filling,
    chain: u32,
    (cargo, travel): (&mut Cargo, &Travel),
) -> Result<(), store::OpenError> {
    let mut query = AuditQuery { chain: Some(chain), limit: CHUNK, ..AuditQuery::default() };
    loop {
        let page = from.store().audit(&query).await?;
        let count = page.records.len();
        let rows = page.records.into_iter().map(|record| {
            let unread =
                AuditTerms { account: None, actor_key: None, key: None, seat: None, secret: None, action: "".into() };
            let terms = ledger::read(record.clone()).map_or(unread, |row| ledger::terms_of(&row.entry));
            AuditPut { record, terms }
        });
        into.add(Vec::new(), rows.collect()).await?;
        cargo.rows += u64::try_from(count).unwrap_or_default();
        travel.done.fetch_add(count, Ordering::Relaxed);
        let Some(next) = page.next else { return Ok(()) };
        query.after = next;
    }
}

/// Copies everything to a place, and examines the copy, which the source of a request opens.
///
/// # Errors
/// [`OpenError`]: the place can't be written, or the vault is damaged.
pub(super) async fn transfer(
    from: &Vault,
    into: &mut Filling,
    request: &VaultRequest,
    (random, travel): (SharedRandom, &Travel),
) -> Result<Cargo, OpenError> {
    let place = &from.status().store.location;
    let cargo = copy(from, into, travel).await?;
    travel.checks();
    let copied = open_unnamed(request, into.store().await?, random).await?;
    let flaw = flaw_of(&copied, &cargo).await;
    let closed = copied.close().await.map_err(at(place));
    if let Some(what) = flaw.map_err(at(into.location()))? {
        // What arrived is what was sent, so the vault itself is damaged.
        return Err(store::OpenError::Damaged { path: place.clone(), what }.into());
    }
    closed?;
    Ok(cargo)
}

/// Checks a copy: every MAC, every seal, every index entry, the chains up to where they ended, and the numbers of
/// records and rows. Returns the first flaw.
async fn flaw_of(copy: &Vault, cargo: &Cargo) -> Result<Option<String>, StoreError> {
    if let Some(problem) = copy.examine().await?.problems.into_iter().next() {
        return Ok(Some(problem));
    }
    let report = copy.verify(&cargo.heads).await?;
    if let Some((_, finding)) = report.finding {
        return Ok(Some(format!("audit log: {finding}")));
    }
    let rows = rows_in(&report);
    if rows != cargo.rows {
        return Ok(Some(format!("{} rows of the audit log became {rows}", cargo.rows)));
    }
    for kind in Kind::ALL {
        let arrived = copy.store().count(&List { life: None, ..List::of(kind, None, 0) }).await?;
        let sent = cargo.records.get(&kind).copied().unwrap_or_default();
        if arrived != sent {
            return Ok(Some(format!("{sent} records of one kind became {arrived}")));
        }
    }
    Ok(None)
}
