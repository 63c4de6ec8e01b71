//! The audit log: rows in chains, each row's MAC over the row before it.
//!
//! Whoever edits, deletes, inserts or reorders rows without the key breaks the chain; whoever cuts its tail leaves a head
//! that names a row which is gone. A head is moved only in durable commits, so it names only what a power cut leaves.

use subtle::ConstantTimeEq as _;

use super::{
    Vault, audit_row,
    keyring::Keyring,
    records::{AuditBase, AuditHead},
};
use crate::{
    domain::{
        api_key::KeyId,
        audit::{AuditCursor, AuditEntry, AuditFilter, AuditRow, ChainHead},
        ids::SecretId,
        time::Timestamp,
    },
    store::{
        AuditPage, AuditPut, AuditQuery, AuditRecord, AuditTerms, Cursor, Kind, RecordKey, Store, StoreError, Tail,
    },
};

/// A page of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRows {
    /// The rows, in the order that was asked for.
    pub rows: Vec<AuditRow>,
    /// Where the next page goes on, if there is more. A page may be short, also empty, although there is.
    pub next: Option<AuditCursor>,
}

/// Which page of the audit log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditAsk {
    /// What the page before it gave.
    pub from: Option<AuditCursor>,
    /// Rows at most.
    pub limit: u32,
    /// From the newest row back instead of from the oldest on.
    pub newest: bool,
}

/// Where a chain ends, and the time of its last row, which the next one's may not fall behind.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) tail: Tail,
    pub(super) at: Timestamp,
}

/// The time of a row that is not known.
const BEFORE_ALL: Timestamp = Timestamp::from_micros(i64::MIN);

impl End {
    /// The end of a chain of which only the base is left.
    pub(super) const fn of_base(base: &ChainHead) -> Self {
        Self { tail: Tail { chain: base.chain, seq: base.seq, mac: base.mac }, at: BEFORE_ALL }
    }

    pub(super) const fn head(&self) -> ChainHead {
        ChainHead { chain: self.tail.chain, seq: self.tail.seq, mac: self.tail.mac }
    }
}

/// What a chain without rows and without a base starts from.
pub(super) const fn genesis(chain: u32) -> ChainHead {
    ChainHead { chain, seq: 0, mac: [0; 32] }
}

impl Keyring {
    /// The row after the end of a chain, which becomes the end.
    pub(super) fn append(&self, end: &mut End, entry: &AuditEntry) -> Result<AuditPut, StoreError> {
        let chain = end.tail.chain;
        let used_up = || StoreError::Damaged { what: "an audit chain's numbers are used up".to_owned() };
        let seq = end.tail.seq.checked_add(1).ok_or_else(used_up)?;
        let at = entry.at.max(end.at);
        let mac = self.audit_mac(&end.tail.mac, &entry.canonical(chain, seq), at);
        *end = End { tail: Tail { chain, seq, mac }, at };
        let record = AuditRecord { chain, seq, at, body: audit_row::encode(audit_row::Format::Two, entry), mac };
        Ok(AuditPut { record, terms: terms_of(entry) })
    }

    /// Whether a row is the one that was written after the end of a chain, which it becomes then.
    pub(super) fn follows(&self, end: &mut End, record: &AuditRecord) -> bool {
        let Some((format, entry)) = audit_row::decode(&record.body) else { return false };
        let Tail { chain, mac: before, .. } = end.tail;
        let (mac, at) = match format {
            // Its MAC is over its own time alone. The one that it is found by follows from that, and from the row before it.
            audit_row::Format::One => {
                (self.audit_mac_v1(&before, &entry.canonical_v1(record.seq)), entry.at.max(end.at))
            }
            audit_row::Format::Two => {
                (self.audit_mac(&before, &entry.canonical(record.chain, record.seq), record.at), record.at)
            }
        };
        // A base does not say when its row was written; what comes after it may be as late as that.
        let may_be_later = end.at == BEFORE_ALL && end.tail.seq > 0;
        let in_time = record.at == at || may_be_later && record.at > at;
        let right: bool = mac.ct_eq(&record.mac).into();
        let follows = right && in_time && record.at >= end.at;
        if follows {
            *end = End { tail: Tail { chain, seq: record.seq, mac: record.mac }, at: record.at };
        }
        follows
    }
}

pub(super) fn terms_of(entry: &AuditEntry) -> AuditTerms {
    AuditTerms {
        account: entry.account,
        actor_key: entry.actor.key(),
        key: entry.key,
        seat: entry.seat,
        secret: entry.secret,
        action: entry.action.as_str().into(),
    }
}

/// Where a chain ends now: its last row, or its base.
pub(super) async fn end_of(store: &dyn Store, keyring: &Keyring, chain: u32) -> Result<End, StoreError> {
    let last = AuditQuery { chain: Some(chain), newest: true, limit: 1, ..AuditQuery::default() };
    if let Some(last) = first(store, last).await? {
        return Ok(End { tail: Tail { chain, seq: last.seq, mac: last.mac }, at: last.at });
    }
    Ok(End::of_base(&base_of(store, keyring, chain).await?))
}

/// The first record of a query. A page may be empty although there is more.
pub(super) async fn first(store: &dyn Store, mut query: AuditQuery) -> Result<Option<AuditRecord>, StoreError> {
    loop {
        let AuditPage { records, next } = store.audit(&query).await?;
        if let Some(record) = records.into_iter().next() {
            return Ok(Some(record));
        }
        let Some(next) = next else { return Ok(None) };
        if query.newest {
            query.before = next;
        } else {
            query.after = next;
        }
    }
}

/// One row, if it is there.
pub(super) async fn row(store: &dyn Store, chain: u32, seq: u64) -> Result<Option<AuditRecord>, StoreError> {
    let after = Cursor(vec![(chain, seq.saturating_sub(1))]);
    let query = AuditQuery { chain: Some(chain), after, limit: 1, ..AuditQuery::default() };
    Ok(first(store, query).await?.filter(|record| record.seq == seq))
}

/// What a chain starts from.
pub(super) async fn base_of(store: &dyn Store, keyring: &Keyring, chain: u32) -> Result<ChainHead, StoreError> {
    let key = RecordKey::new(Kind::AuditBase, chain.to_be_bytes());
    let kept = store.read(&[key]).await?.into_iter().flatten().next();
    let Some(record) = kept else { return Ok(genesis(chain)) };
    Ok(keyring.open_record::<AuditBase>(&record)?.0)
}

/// The record of a chain's head, if its MAC is right.
pub(super) async fn head_of(
    store: &dyn Store,
    keyring: &Keyring,
    chain: u32,
) -> Result<Option<(AuditHead, u64)>, StoreError> {
    let key = RecordKey::new(Kind::AuditHead, chain.to_be_bytes());
    let kept = store.read(&[key]).await?.into_iter().flatten().next();
    Ok(kept.and_then(|record| Some((keyring.open_record(&record).ok()?, record.version))))
}

/// Whether the row that a head names is there as it was, or was pruned.
pub(super) async fn is_kept(store: &dyn Store, keyring: &Keyring, head: &ChainHead) -> Result<bool, StoreError> {
    if let Some(record) = row(store, head.chain, head.seq).await? {
        return Ok(record.mac.ct_eq(&head.mac).into());
    }
    let base = base_of(store, keyring, head.chain).await?;
    Ok(base.seq > head.seq || base == *head)
}

impl Vault {
    /// Rows that match a filter.
    ///
    /// # Errors
    /// [`StoreError`]; `Damaged` names a row that can't be read.
    pub async fn audit_page(&self, filter: &AuditFilter, ask: &AuditAsk) -> Result<AuditRows, StoreError> {
        let secrets = match (filter.secret, &filter.secrets) {
            (None, granted) => granted.clone(),
            (Some(secret), None) => Some(vec![secret]),
            (Some(secret), Some(granted)) => Some(granted.iter().copied().filter(|id| *id == secret).collect()),
        };
        // Nothing at or below a base is read: it was pruned, so what stands there was written by somebody else.
        let bases = self.bases().await?;
        let from = ask.from.as_ref().map(|cursor| Cursor(cursor.0.clone()));
        let (after, before) = if ask.newest { (None, from) } else { (from, None) };
        let query = AuditQuery {
            chain: None,
            account: filter.account,
            seat: filter.seat,
            secrets,
            key: filter.key,
            action: filter.action.map(|action| action.as_str().into()),
            since: filter.since,
            until: filter.until,
            after: above(after.unwrap_or_default(), &bases),
            before: before.unwrap_or_default(),
            newest: ask.newest,
            limit: ask.limit,
        };
        let page = self.store().audit(&query).await?;
        let mut rows = page.records.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
        rows.retain(|row| matches(filter, &row.entry));
        Ok(AuditRows { rows, next: page.next.map(|cursor| AuditCursor(cursor.0)) })
    }

    /// Where each chain ends, of which nothing is lost by a power cut: what an anchor outside keeps.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn anchor(&self) -> Result<Vec<ChainHead>, StoreError> {
        let mut heads = Vec::new();
        for chain in self.chains().await? {
            heads.push(end_of(self.store(), self.keyring(), chain).await?.head());
        }
        // The rows were there before the sync, so after it they are durable.
        self.sync().await?;
        Ok(heads)
    }

    /// Every chain of which anything is kept, in order.
    pub(super) async fn chains(&self) -> Result<Vec<u32>, StoreError> {
        let mut chains = self.store().chains().await?;
        for kind in [Kind::AuditBase, Kind::AuditHead] {
            let ends = self.records(kind).await?;
            chains.extend(ends.iter().filter_map(|end| end.key.id.as_slice().try_into().ok().map(u32::from_be_bytes)));
        }
        chains.sort_unstable();
        chains.dedup();
        Ok(chains)
    }

    async fn bases(&self) -> Result<Vec<ChainHead>, StoreError> {
        let kept = self.records(Kind::AuditBase).await?;
        kept.iter().map(|record| Ok(self.keyring().open_record::<AuditBase>(record)?.0)).collect()
    }
}

/// A place that lies in no chain below its base.
fn above(mut place: Cursor, bases: &[ChainHead]) -> Cursor {
    for base in bases {
        match place.0.iter_mut().find(|(chain, _)| *chain == base.chain) {
            Some((_, seq)) => *seq = base.seq.max(*seq),
            None => place.0.push((base.chain, base.seq)),
        }
    }
    place
}

fn read(record: AuditRecord) -> Result<AuditRow, StoreError> {
    let AuditRecord { chain, seq, body, mac, .. } = record;
    let unread = || StoreError::Damaged { what: format!("row {seq} of the audit log can't be read") };
    let (_, entry) = audit_row::decode(&body).ok_or_else(unread)?;
    Ok(AuditRow { chain, seq, entry, mac })
}

/// What finds a row is not under its MAC, so the row itself is looked at too.
fn matches(filter: &AuditFilter, entry: &AuditEntry) -> bool {
    let granted = |granted: &Vec<SecretId>| entry.secret.is_some_and(|secret| granted.contains(&secret));
    let key = |key: KeyId| entry.key == Some(key) || entry.actor.key() == Some(key);
    filter.account.is_none_or(|account| entry.account == Some(account))
        && filter.seat.is_none_or(|seat| entry.seat == Some(seat))
        && filter.secret.is_none_or(|secret| entry.secret == Some(secret))
        && filter.secrets.as_ref().is_none_or(granted)
        && filter.key.is_none_or(key)
        && filter.action.is_none_or(|action| entry.action == action)
}
