//! Knots: rows that bind the chains of an audit log. Each names the heads that the other chains had a while before.
//!
//! An attacker who can write the database but has no key can put back an older end of one chain, with the head that was
//! right then. The knots of the other chains still name the rows that are gone.

use std::collections::{BTreeMap, VecDeque};

use subtle::ConstantTimeEq as _;

use super::{
    CHUNK, Vault, audit_row,
    ledger::{end_of, is_kept},
};
use crate::{
    domain::audit::{Action, AuditEntry, ChainHead},
    store::{AuditQuery, AuditRecord, Cursor, Store, StoreError},
};

/// The most heads in a knot, so that its row stays short. No cluster has as many nodes.
const HEADS_MAX: usize = 128;
/// The number of rows that are read at once to find out whether a chain has news.
const LOOK: u32 = 16;

/// The heads of other chains that a process has seen, and those that its knots name.
#[derive(Debug, Default)]
pub struct Ties {
    /// The heads that the last call of [`Vault::tie`] saw.
    seen: Vec<ChainHead>,
    /// The last row of each chain that a knot of this process names.
    tied: BTreeMap<u32, u64>,
}

impl Vault {
    /// Writes a knot if other chains have news, and reads where they end now, for the next knot. A knot names heads
    /// that the call before saw, and only those that still exist: a server that lost the primary may briefly show rows
    /// that its successor does not have. Returns the heads that are gone.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn tie(&self, ties: &mut Ties, entry: &AuditEntry) -> Result<Vec<ChainHead>, StoreError> {
        let (store, keyring) = (self.store(), self.keyring());
        let own = store.own_chain().await?;
        let mut seen = Vec::new();
        for chain in self.chains().await?.into_iter().filter(|chain| *chain != own) {
            let head = end_of(store, keyring, chain).await?.head();
            if head.seq > 0 {
                seen.push(head);
            }
        }
        let (mut heads, mut gone) = (Vec::new(), Vec::new());
        for head in std::mem::replace(&mut ties.seen, seen).into_iter().filter(|head| head.chain != own) {
            let is_kept = is_kept(store, keyring, &head).await?;
            if is_kept { &mut heads } else { &mut gone }.push(head);
        }
        let mut news = Vec::new();
        for head in heads {
            if news.len() < HEADS_MAX && has_news(store, ties.tied.get(&head.chain), &head).await? {
                news.push(head);
            }
        }
        if !news.is_empty() {
            let count = u64::try_from(news.len()).ok();
            self.record(vec![AuditEntry { count, heads: news.clone(), ..entry.clone() }]).await?;
            ties.tied.extend(news.iter().map(|head| (head.chain, head.seq)));
        }
        Ok(gone)
    }
}

/// Whether a chain has a row other than knots after the row that was tied, up to its head. Knots alone are no news, or
/// nodes without calls would go on answering each other's knots.
async fn has_news(store: &dyn Store, tied: Option<&u64>, head: &ChainHead) -> Result<bool, StoreError> {
    let chain = head.chain;
    let mut query = AuditQuery { chain: Some(chain), limit: LOOK, ..AuditQuery::default() };
    query.after = Cursor(vec![(chain, tied.copied().unwrap_or_default())]);
    query.before = Cursor(vec![(chain, head.seq.saturating_add(1))]);
    loop {
        let page = store.audit(&query).await?;
        if page.records.iter().any(|record| heads_in(record).is_empty()) {
            return Ok(true);
        }
        let Some(next) = page.next else { return Ok(false) };
        query.after = next;
    }
}

/// The heads that a row names, if it is a knot.
fn heads_in(record: &AuditRecord) -> Vec<ChainHead> {
    audit_row::decode(&record.body).map(|(_, entry)| entry.heads).unwrap_or_default()
}

/// The heads of a chain that the knots of other chains name, read along with the chain's rows.
pub(super) struct Witnesses {
    chain: u32,
    others: Vec<Witness>,
}

/// The heads of a chain that the knots of one other chain name.
struct Witness {
    /// The next rows to read; `None`: all were read.
    query: Option<AuditQuery>,
    heads: VecDeque<ChainHead>,
}

impl Witnesses {
    pub(super) fn of(chain: u32, chains: &[u32]) -> Self {
        let query = |other| AuditQuery {
            chain: Some(other),
            action: Some(Action::AuditKnot.as_str().into()),
            limit: CHUNK,
            ..AuditQuery::default()
        };
        let others = chains.iter().filter(|other| **other != chain);
        let others = others.map(|other| Witness { query: Some(query(*other)), heads: VecDeque::new() });
        Self { chain, others: others.collect() }
    }

    /// Whether the knots that name this row name its MAC; true if none names it. Counts these knots.
    pub(super) async fn agree(
        &mut self,
        store: &dyn Store,
        at: &ChainHead,
        knots: &mut u64,
    ) -> Result<bool, StoreError> {
        for other in &mut self.others {
            while let Some(head) = other.next(store, self.chain).await?.filter(|head| head.seq <= at.seq) {
                other.heads.pop_front();
                // The row of a lower head was pruned, or stands behind a fence.
                if head.seq == at.seq {
                    *knots += 1;
                    let same: bool = head.mac.ct_eq(&at.mac).into();
                    if !same {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    /// The lowest number above the chain's end that a knot names: rows that are gone, unless they were added meanwhile.
    pub(super) async fn beyond(&mut self, vault: &Vault) -> Result<Option<u64>, StoreError> {
        let mut gone: Option<u64> = None;
        for other in &mut self.others {
            while let Some(head) = other.next(vault.store(), self.chain).await? {
                other.heads.pop_front();
                if !is_kept(vault.store(), vault.keyring(), &head).await? {
                    gone = Some(gone.map_or(head.seq, |known| known.min(head.seq)));
                    break;
                }
            }
        }
        Ok(gone)
    }
}

impl Witness {
    /// The next head of the chain that a knot names.
    async fn next(&mut self, store: &dyn Store, chain: u32) -> Result<Option<ChainHead>, StoreError> {
        while self.heads.is_empty() {
            let Some(query) = &mut self.query else { return Ok(None) };
            let page = store.audit(query).await?;
            self.heads.extend(page.records.iter().flat_map(heads_in).filter(|head| head.chain == chain));
            match page.next {
                Some(next) => query.after = next,
                None => self.query = None,
            }
        }
        Ok(self.heads.front().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{audit::Actor, time::Timestamp},
        store::{Change, Commit, Committed, Durable, Index, Put},
        vault::{
            Finding,
            examine::tests::opened,
            ledger::{End, genesis},
            records::AuditHead,
        },
    };

    const NOW: Timestamp = Timestamp::from_seconds(1_795_336_300);

    fn entry(action: Action) -> AuditEntry {
        AuditEntry::by(Actor::System, action, NOW)
    }

    /// A chain that another node writes.
    struct Other(End, u64);

    impl Other {
        fn new(chain: u32) -> Self {
            Self(End::of_base(&genesis(chain)), 0)
        }

        async fn write(&mut self, vault: &Vault, entry: &AuditEntry) {
            let tail = self.0.tail;
            let row = vault.keyring().append(&mut self.0, entry).unwrap();
            self.1 += 1;
            let head = vault.keyring().record(&AuditHead(self.0.head()), self.1);
            let put = vec![Put { record: head, index: Index::Keep }];
            let changes = vec![Change { audit: vec![row], put, ..Change::default() }];
            let commit = Commit { changes, tail: Some(tail), durable: Durable::Now };
            assert_eq!(vault.store().commit(commit.into()).await, Ok(Committed::Done));
        }
    }

    /// The heads that the knots of a chain name.
    async fn knots(vault: &Vault, chain: u32) -> Vec<ChainHead> {
        let query = AuditQuery { chain: Some(chain), limit: CHUNK, ..AuditQuery::default() };
        vault.store().audit(&query).await.unwrap().records.iter().flat_map(heads_in).collect()
    }

    #[tokio::test]
    async fn a_knot_names_what_was_there_at_the_look_before_and_is_written_for_news_alone() {
        let (_root, vault) = opened().await;
        let (mut ties, knot) = (Ties::default(), entry(Action::AuditKnot));
        vault.tie(&mut ties, &knot).await.unwrap();
        vault.tie(&mut ties, &knot).await.unwrap();
        assert_eq!(knots(&vault, 0).await, [], "there is one chain");

        let mut other = Other::new(1);
        other.write(&vault, &entry(Action::CodeGet)).await;
        let first = other.0.head();
        vault.tie(&mut ties, &knot).await.unwrap();
        assert_eq!(knots(&vault, 0).await, [], "it was not there at the look before");
        other.write(&vault, &entry(Action::CodeGet)).await;
        vault.tie(&mut ties, &knot).await.unwrap();
        assert_eq!(knots(&vault, 0).await, [first]);
        vault.tie(&mut ties, &knot).await.unwrap();
        let second = other.0.head();
        assert_eq!(knots(&vault, 0).await, [first, second]);

        // Many more rows than are read at once.
        for _ in 0..50 {
            other.write(&vault, &AuditEntry { heads: vec![genesis(0)], ..knot.clone() }).await;
        }
        for _ in 0..3 {
            vault.tie(&mut ties, &knot).await.unwrap();
        }
        assert_eq!(knots(&vault, 0).await, [first, second], "knots alone are no news");
        other.write(&vault, &entry(Action::CodeGet)).await;
        for _ in 0..3 {
            vault.tie(&mut ties, &knot).await.unwrap();
        }
        assert_eq!(knots(&vault, 0).await, [first, second, other.0.head()]);
        let report = vault.verify(&[]).await.unwrap();
        // The knots of the other chain name no row that exists.
        assert_eq!((report.finding, report.knots), (None, 3));
    }

    #[tokio::test]
    async fn a_head_that_is_gone_at_the_next_look_is_told_and_not_tied() {
        let (_root, vault) = opened().await;
        let mut other = Other::new(1);
        other.write(&vault, &entry(Action::CodeGet)).await;
        let gone = ChainHead { chain: 2, seq: 3, mac: [1; 32] };
        let mut ties = Ties { seen: vec![gone, other.0.head()], ..Ties::default() };
        assert_eq!(vault.tie(&mut ties, &entry(Action::AuditKnot)).await, Ok(vec![gone]));
        assert_eq!(knots(&vault, 0).await, [other.0.head()]);
    }

    #[tokio::test]
    async fn a_knot_that_names_no_more_heads_than_fit_leaves_the_others_to_the_next() {
        let (_root, vault) = opened().await;
        let mut others: Vec<_> = (1..=130).map(Other::new).collect();
        for other in &mut others {
            other.write(&vault, &entry(Action::CodeGet)).await;
        }
        let mut ties = Ties::default();
        for _ in 0..2 {
            vault.tie(&mut ties, &entry(Action::AuditKnot)).await.unwrap();
        }
        assert_eq!(knots(&vault, 0).await.len(), HEADS_MAX);
        vault.tie(&mut ties, &entry(Action::AuditKnot)).await.unwrap();
        assert_eq!(knots(&vault, 0).await, others.iter().map(|other| other.0.head()).collect::<Vec<_>>());
        assert_eq!(vault.verify(&[]).await.unwrap().knots, 130);
    }

    #[tokio::test]
    async fn what_a_knot_says_and_the_rows_do_not_is_found() {
        for (seq, mac, expected) in
            [(2, None, None), (2, Some([1; 32]), Some(Finding::Knot(2))), (4, Some([1; 32]), Some(Finding::Cut(4)))]
        {
            let (_root, vault) = opened().await;
            let mut other = Other::new(1);
            for _ in 0..2 {
                other.write(&vault, &entry(Action::CodeGet)).await;
            }
            let head = ChainHead { chain: 1, seq, mac: mac.unwrap_or(other.0.tail.mac) };
            // Neither of these knots hides the head that the later one names.
            let early = ChainHead { chain: 1, seq: 0, mac: [9; 32] };
            let own = ChainHead { chain: 0, seq: 99, mac: [9; 32] };
            for head in [early, own, head] {
                let row = AuditEntry { heads: vec![head], ..entry(Action::AuditKnot) };
                vault.record(vec![row]).await.unwrap();
            }
            let report = vault.verify(&[]).await.unwrap();
            assert_eq!(report.finding, expected.map(|finding| (1, finding)));
            assert_eq!(report.knots, u64::from(seq == 2));
        }
    }

    #[tokio::test]
    async fn rows_that_were_pruned_are_no_contradiction_to_a_knot() {
        let (_root, vault) = opened().await;
        let (mut other, mut ties) = (Other::new(1), Ties::default());
        other.write(&vault, &entry(Action::CodeGet)).await;
        for _ in 0..2 {
            vault
                .tie(
                    &mut ties,
                    &AuditEntry { at: NOW.plus(std::time::Duration::from_secs(9)), ..entry(Action::AuditKnot) },
                )
                .await
                .unwrap();
        }
        other
            .write(&vault, &AuditEntry { at: NOW.plus(std::time::Duration::from_secs(9)), ..entry(Action::CodeGet) })
            .await;
        let before = NOW.plus(std::time::Duration::from_secs(5));
        // Removes the rows of the vault's creation, and one of the other chain.
        assert!(vault.prune(before, &entry(Action::AuditPrune), None).await.unwrap() > 1);
        let report = vault.verify(&[]).await.unwrap();
        assert_eq!((report.finding, report.knots), (None, 0));
        assert_eq!(knots(&vault, 0).await.len(), 1);
    }
}
