//! The audit log: rows in chains; each row's MAC covers the row before it.
//!
//! Editing, deleting, inserting or reordering rows without the key breaks the chain; cutting off its tail leaves a head
//! that names a missing row. The head moves only in durable commits, so the row that it names survives a power cut.

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
    /// The rows, in the requested order.
    pub rows: Vec<AuditRow>,
    /// Where the next page starts, if there is more. A page may be short or even empty although there is more.
    pub next: Option<AuditCursor>,
}

/// Which page of the audit log to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditAsk {
    /// The `next` of the page before it.
    pub from: Option<AuditCursor>,
    /// The most rows to return.
    pub limit: u32,
    /// Whether to return the rows in reverse order, newest first.
    pub newest: bool,
}

/// The end of a chain, and the time of its last row, which the next row's time must not precede.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) tail: Tail,
    pub(super) at: Timestamp,
}

/// Stands for the time of an unknown row.
pub(super) const BEFORE_ALL: Timestamp = Timestamp::from_micros(i64::MIN);

impl End {
    /// The end of a chain without rows above its base, or above a row whose time is not known.
    pub(super) const fn of_base(base: &ChainHead) -> Self {
        Self { tail: Tail { chain: base.chain, seq: base.seq, mac: base.mac }, at: BEFORE_ALL }
    }

    pub(super) const fn head(&self) -> ChainHead {
        ChainHead { chain: self.tail.chain, seq: self.tail.seq, mac: self.tail.mac }
    }
}

/// The start of a chain without rows and without a base.
pub(super) const fn genesis(chain: u32) -> ChainHead {
    ChainHead { chain, seq: 0, mac: [0; 32] }
}

impl Keyring {
    /// Appends a row to a chain, and moves the end to it.
    pub(super) fn append(&self, end: &mut End, entry: &AuditEntry) -> Result<AuditPut, StoreError> {
        let chain = end.tail.chain;
        let used_up = || StoreError::Damaged { what: "an audit chain's numbers are used up".to_owned() };
        let seq = end.tail.seq.checked_add(1).ok_or_else(used_up)?;
        let at = entry.at.max(end.at);
        let mac = self.audit_mac(&end.tail.mac, &audit_row::canonical(entry, chain, seq), at);
        *end = End { tail: Tail { chain, seq, mac }, at };
        let record = AuditRecord { chain, seq, at, body: audit_row::encode(audit_row::format_of(entry), entry), mac };
        Ok(AuditPut { record, terms: terms_of(entry) })
    }

    /// A fence: a row in the place of the damaged rows from `from` on, up to the one that ends with this head.
    pub(super) fn fence(&self, end: &End, upto: &ChainHead, at: Timestamp, entry: &AuditEntry) -> AuditPut {
        let (chain, seq, mac) = (upto.chain, upto.seq, upto.mac);
        let from = end.tail.seq.saturating_add(1);
        let entry = AuditEntry { count: Some(seq.saturating_sub(end.tail.seq)), ..entry.clone() };
        let content = audit_row::encode(audit_row::Format::Two, &entry);
        let record = AuditRecord { chain, seq, at, body: Vec::new(), mac };
        let seal = self.fence_mac(&end.tail.mac, &record, from, &content);
        let body = audit_row::encode_fence(from, &seal, &content);
        AuditPut { record: AuditRecord { body, ..record }, terms: terms_of(&entry) }
    }

    fn follows_fence(&self, end: &mut End, record: &AuditRecord, fence: &audit_row::Fence<'_>) -> bool {
        let head = ChainHead { chain: record.chain, seq: record.seq, mac: record.mac };
        let seal = self.fence_mac(&end.tail.mac, record, fence.from, fence.entry);
        let right: bool = seal.ct_eq(&fence.seal).into();
        let follows = right && audit_row::decode(&record.body).is_some() && record.at >= end.at;
        if follows {
            // The time of the last row that it stands for is not known, and the row after it may have taken that over.
            *end = End::of_base(&head);
        }
        follows
    }

    /// Whether a row is the authentic next row of a chain, or a fence that begins with the next row's number; if so, moves
    /// the end to it.
    pub(super) fn follows(&self, end: &mut End, record: &AuditRecord) -> bool {
        let next = end.tail.seq.checked_add(1);
        if record.chain != end.tail.chain || next != Some(first_of(record)) {
            return false;
        }
        if let Some(fence) = audit_row::fence_of(&record.body) {
            return self.follows_fence(end, record, &fence);
        }
        let Some((format, entry)) = audit_row::decode(&record.body) else { return false };
        let Tail { chain, mac: before, .. } = end.tail;
        let (mac, at) = match format {
            // Its MAC covers only the time in its entry. The stored time follows from that and from the row before.
            audit_row::Format::One => {
                (self.audit_mac_v1(&before, &audit_row::canonical_v1(&entry, record.seq)), entry.at.max(end.at))
            }
            audit_row::Format::Two | audit_row::Format::Knot | audit_row::Format::Traced => {
                (self.audit_mac(&before, &audit_row::canonical(&entry, record.chain, record.seq), record.at), record.at)
            }
            audit_row::Format::Fence => return false,
        };
        // A base does not record its row's time, and the row after it may have taken that time over.
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

/// The number of the first row for which a row stands: its own, unless it is a fence.
pub(super) fn first_of(record: &AuditRecord) -> u64 {
    audit_row::fence_of(&record.body).map_or(record.seq, |fence| fence.from)
}

/// Whether a row has the form of a fence, which is not authenticated yet.
pub(super) fn is_fence(record: &AuditRecord) -> bool {
    audit_row::fence_of(&record.body).is_some()
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

/// The current end of a chain: its last row, or its base.
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

/// The row with a number, or the first one after it.
pub(super) async fn row_from(store: &dyn Store, chain: u32, seq: u64) -> Result<Option<AuditRecord>, StoreError> {
    let after = Cursor(vec![(chain, seq.saturating_sub(1))]);
    first(store, AuditQuery { chain: Some(chain), after, limit: 1, ..AuditQuery::default() }).await
}

/// The base from which a chain starts.
pub(super) async fn base_of(store: &dyn Store, keyring: &Keyring, chain: u32) -> Result<ChainHead, StoreError> {
    let key = RecordKey::new(Kind::AuditBase, chain.to_be_bytes());
    let kept = store.read_one(&key).await?;
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
    let kept = store.read_one(&key).await?;
    Ok(kept.and_then(|record| Some((keyring.open_record(&record).ok()?, record.version))))
}

/// Whether the row that a head names exists unchanged, was pruned, or stands behind a fence.
pub(super) async fn is_kept(store: &dyn Store, keyring: &Keyring, head: &ChainHead) -> Result<bool, StoreError> {
    if let Some(record) = row_from(store, head.chain, head.seq).await? {
        if is_fence(&record) && first_of(&record) <= head.seq {
            return is_authentic(store, keyring, &record).await;
        }
        if record.seq == head.seq {
            return Ok(record.mac.ct_eq(&head.mac).into());
        }
    }
    let base = base_of(store, keyring, head.chain).await?;
    Ok(base.seq > head.seq || base == *head)
}

/// Whether a fence was made with the vault's key.
async fn is_authentic(store: &dyn Store, keyring: &Keyring, record: &AuditRecord) -> Result<bool, StoreError> {
    let before = first_of(record).saturating_sub(1);
    let mut end = match row_from(store, record.chain, before).await? {
        Some(row) if row.seq == before => {
            End { tail: Tail { chain: row.chain, seq: row.seq, mac: row.mac }, at: BEFORE_ALL }
        }
        _ => End::of_base(&base_of(store, keyring, record.chain).await?),
    };
    Ok(keyring.follows(&mut end, record))
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
        // Rows at or below a base were pruned; rows that are stored there were not written by this vault, so they are
        // not read.
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

    /// The durable end of each chain, to be stored outside as an anchor.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn anchor(&self) -> Result<Vec<ChainHead>, StoreError> {
        let mut heads = Vec::new();
        for chain in self.chains().await? {
            heads.push(end_of(self.store(), self.keyring(), chain).await?.head());
        }
        // The rows existed before the sync, so they are durable after it.
        self.sync().await?;
        Ok(heads)
    }

    /// Every chain with any records, in order.
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

/// The cursor `place`, moved up to the base of every chain in which it is lower.
fn above(mut place: Cursor, bases: &[ChainHead]) -> Cursor {
    for base in bases {
        match place.0.iter_mut().find(|(chain, _)| *chain == base.chain) {
            Some((_, seq)) => *seq = base.seq.max(*seq),
            None => place.0.push((base.chain, base.seq)),
        }
    }
    place
}

pub(super) fn read(record: AuditRecord) -> Result<AuditRow, StoreError> {
    let AuditRecord { chain, seq, body, mac, .. } = record;
    let unread = || StoreError::Damaged { what: format!("row {seq} of the audit log can't be read") };
    let (_, entry) = audit_row::decode(&body).ok_or_else(unread)?;
    Ok(AuditRow { chain, seq, entry, mac })
}

/// Whether a row matches a filter. Its index entries are not under its MAC, so the row itself is checked.
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

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use super::*;
    use crate::{
        domain::audit::{Action, Actor},
        random::SystemRandom,
        store::{Change, Commit, Committed, Durable, OpenRequest, Writes},
        vault::{
            self,
            keyring::tests::{another_vault, vault},
        },
    };

    fn entry(at: i64) -> AuditEntry {
        AuditEntry::by(Actor::Unknown, Action::Call, Timestamp::from_micros(at))
    }

    /// A chain of rows at these times.
    fn chain(keyring: &Keyring, times: &[i64]) -> Vec<AuditRecord> {
        let mut end = End::of_base(&genesis(0));
        times.iter().map(|at| keyring.append(&mut end, &entry(*at)).unwrap().record).collect()
    }

    fn end_after(record: &AuditRecord) -> End {
        End { tail: Tail { chain: record.chain, seq: record.seq, mac: record.mac }, at: record.at }
    }

    #[test]
    fn only_the_next_row_of_the_same_chain_follows_and_moves_the_end() {
        let keyring = vault(1).0;
        let rows = chain(&keyring, &[10, 20, 30]);
        let mut end = End::of_base(&genesis(0));
        assert!(!keyring.follows(&mut end, &rows[1]), "a row is missing before it");
        for row in &rows {
            assert!(keyring.follows(&mut end, row));
            assert_eq!((end.head(), end.at), (end_after(row).head(), row.at));
        }
        let mut end = end_after(&rows[0]);
        for changed in [
            AuditRecord { chain: 1, ..rows[1].clone() },
            AuditRecord { seq: 3, ..rows[1].clone() },
            AuditRecord { mac: rows[2].mac, ..rows[1].clone() },
            AuditRecord { at: Timestamp::from_micros(21), ..rows[1].clone() },
            AuditRecord { body: rows[2].body.clone(), ..rows[1].clone() },
        ] {
            assert!(!keyring.follows(&mut end, &changed), "{changed:?}");
            assert_eq!(end.head(), end_after(&rows[0]).head());
        }
        let mut elsewhere = End { tail: Tail { chain: 1, ..end.tail }, at: end.at };
        assert!(!keyring.follows(&mut elsewhere, &rows[1]));
        assert!(!another_vault().follows(&mut end, &rows[1]), "another vault's key");
    }

    #[test]
    fn a_time_never_falls_and_may_be_later_than_its_entrys_only_above_a_base() {
        let keyring = vault(1).0;
        // The clock was set back: the second row takes over the time of the first.
        let rows = chain(&keyring, &[20, 10]);
        assert_eq!(rows[1].at, rows[0].at);
        assert!(keyring.follows(&mut end_after(&rows[0]), &rows[1]));
        let base = ChainHead { chain: 0, seq: 1, mac: rows[0].mac };
        assert!(keyring.follows(&mut End::of_base(&base), &rows[1]), "a base does not say its time");
        let mut later = End { at: Timestamp::from_micros(21), ..end_after(&rows[0]) };
        assert!(!keyring.follows(&mut later, &rows[1]));
    }

    /// The time of such a row is not under its MAC.
    #[test]
    fn a_row_of_format_1_has_the_time_of_its_entry_or_of_the_row_before_it() {
        let keyring = vault(1).0;
        let first = chain(&keyring, &[20]).remove(0);
        let row = |before: &End, entry: AuditEntry, at: i64| {
            let seq = before.tail.seq + 1;
            let mac = keyring.audit_mac_v1(&before.tail.mac, &audit_row::canonical_v1(&entry, seq));
            let (at, body) = (Timestamp::from_micros(at), audit_row::encode(audit_row::Format::One, &entry));
            AuditRecord { chain: 0, seq, at, body, mac }
        };
        let follows = |before: End, entered: i64, at: i64| {
            let record = row(&before, entry(entered), at);
            keyring.follows(&mut { before }, &record)
        };
        let base = End::of_base(&end_after(&first).head());
        let beginning = End::of_base(&genesis(0));
        for (before, entered, times) in [
            (end_after(&first), 30, [(29, false), (30, true), (31, false)]),
            (end_after(&first), 10, [(10, false), (20, true), (21, false)]),
            // A base does not record its row's time.
            (base, 30, [(29, false), (30, true), (31, true)]),
            (beginning, 30, [(29, false), (30, true), (31, false)]),
        ] {
            for (at, expected) in times {
                assert_eq!(follows(before, entered, at), expected, "entered at {entered}, stored at {at}");
            }
        }
    }

    async fn made_in(folder: &Path) -> Vault {
        let store = OpenRequest {
            url: "sqlite:".to_owned(),
            data_dir: folder.join("data"),
            writes: Writes::Inline,
            make: true,
        };
        let source = Arc::new(vault::Source::file(None, folder.join("keys")));
        let request = vault::VaultRequest { store, source, state_dir: None, now: Timestamp::from_micros(1) };
        vault::open(&request, Arc::new(SystemRandom)).await.unwrap()
    }

    #[tokio::test]
    async fn a_head_is_kept_by_its_row_a_base_or_a_fence_of_the_vaults_own() {
        let root = tempfile::tempdir().unwrap();
        let opened = made_in(root.path()).await;
        opened.record(vec![entry(2), entry(3)]).await.unwrap();
        let (store, keyring) = (opened.store(), opened.keyring());
        let kept = async |seq, mac| is_kept(store, keyring, &ChainHead { chain: 0, seq, mac }).await.unwrap();

        let third = end_of(store, keyring, 0).await.unwrap().head();
        assert!(kept(3, third.mac).await && !kept(3, [0; 32]).await && !kept(4, third.mac).await);

        let pruned = opened.prune(Timestamp::from_micros(100), &entry(4), None).await.unwrap();
        assert_eq!(pruned, 3);
        assert!(kept(3, third.mac).await && !kept(3, [0; 32]).await && kept(2, [0; 32]).await);

        let mut end = end_of(store, keyring, 0).await.unwrap();
        for (by, expected) in [(&another_vault(), false), (keyring, true)] {
            let (from, upto) = (end.tail.seq, ChainHead { chain: 0, seq: end.tail.seq + 1, mac: [7; 32] });
            let fence = by.fence(&end, &upto, end.at, &entry(100));
            let change = Change { audit: vec![fence], ..Change::default() };
            let commit = Commit { changes: vec![change], tail: Some(end.tail), durable: Durable::Now };
            assert!(matches!(store.commit(Arc::new(commit)).await, Ok(Committed::Done)));
            assert_eq!((kept(from + 1, [0; 32]).await, kept(from + 2, [0; 32]).await), (expected, false));
            end = End { tail: Tail { chain: 0, seq: upto.seq, mac: upto.mac }, at: end.at };
        }
    }

    /// The row before such a fence is pruned, so its MAC is that of the base.
    #[tokio::test]
    async fn a_head_is_kept_by_a_fence_right_above_a_base() {
        let root = tempfile::tempdir().unwrap();
        let opened = made_in(root.path()).await;
        opened.record(vec![entry(2), entry(3)]).await.unwrap();
        let (store, keyring) = (opened.store(), opened.keyring());
        let end = end_of(store, keyring, 0).await.unwrap();
        let upto = ChainHead { chain: 0, seq: 4, mac: [7; 32] };
        let fence = keyring.fence(&end, &upto, Timestamp::from_micros(50), &entry(50));
        let change = Change { audit: vec![fence], ..Change::default() };
        let commit = Commit { changes: vec![change], tail: Some(end.tail), durable: Durable::Now };
        assert!(matches!(store.commit(Arc::new(commit)).await, Ok(Committed::Done)));

        let pruned = opened.prune(Timestamp::from_micros(10), &entry(60), None).await.unwrap();

        assert_eq!((pruned, base_of(store, keyring, 0).await.unwrap()), (3, end.head()));
        assert!(is_kept(store, keyring, &ChainHead { mac: [0; 32], ..upto }).await.unwrap());
    }

    #[test]
    fn a_fence_stands_only_where_the_vaults_key_put_it() {
        let keyring = vault(1).0;
        let rows = chain(&keyring, &[10, 20, 30, 40]);
        let upto = end_after(&rows[2]).head();
        let mut end = end_after(&rows[0]);
        let fence = keyring.fence(&end, &upto, Timestamp::from_micros(50), &entry(50)).record;
        assert_eq!((first_of(&fence), is_fence(&fence), is_fence(&rows[1])), (2, true, false));

        let forged = another_vault().fence(&end, &upto, Timestamp::from_micros(50), &entry(50)).record;
        let earlier = keyring.fence(&end, &upto, Timestamp::from_micros(9), &entry(9)).record;
        let behind_another = keyring.fence(&end_after(&rows[1]), &upto, Timestamp::from_micros(50), &entry(50)).record;
        for wrong in [
            forged,
            earlier,
            behind_another,
            AuditRecord { mac: rows[1].mac, ..fence.clone() },
            AuditRecord { at: Timestamp::from_micros(51), ..fence.clone() },
            AuditRecord { seq: 4, ..fence.clone() },
        ] {
            assert!(!keyring.follows(&mut end, &wrong), "{wrong:?}");
            assert_eq!(end.head(), end_after(&rows[0]).head());
        }

        assert!(keyring.follows(&mut end, &fence));
        assert_eq!(end.head(), upto);
        assert!(keyring.follows(&mut end, &rows[3]), "the chain goes on behind it");
    }

    #[test]
    fn a_filter_holds_for_the_row_itself() {
        let (key, other): (KeyId, KeyId) = ("0123456789AB".parse().unwrap(), "0123456789AC".parse().unwrap());
        let (secret, another) = (SecretId::new(uuid::Uuid::from_u128(1)), SecretId::new(uuid::Uuid::from_u128(2)));
        let row = AuditEntry { actor: Actor::Key(key), secret: Some(secret), ..entry(1) };
        let any = AuditFilter::default;
        for (filter, holds) in [
            (any(), true),
            (AuditFilter { key: Some(key), ..any() }, true),
            (AuditFilter { key: Some(other), ..any() }, false),
            (AuditFilter { secret: Some(secret), ..any() }, true),
            (AuditFilter { secret: Some(another), ..any() }, false),
            (AuditFilter { secrets: Some(vec![another, secret]), ..any() }, true),
            (AuditFilter { secrets: Some(vec![another]), ..any() }, false),
            (AuditFilter { secrets: Some(Vec::new()), ..any() }, false),
            (AuditFilter { action: Some(Action::Call), ..any() }, true),
            (AuditFilter { action: Some(Action::CodeGet), ..any() }, false),
            (
                AuditFilter { account: Some(crate::domain::ids::AccountId::new(uuid::Uuid::from_u128(3))), ..any() },
                false,
            ),
            (AuditFilter { seat: Some(crate::domain::ids::SeatId::new(uuid::Uuid::from_u128(4))), ..any() }, false),
        ] {
            assert_eq!(matches(&filter, &row), holds, "{filter:?}");
        }
    }
}
