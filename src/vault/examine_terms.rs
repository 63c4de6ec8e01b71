//! Checks that audit rows are indexed under their contents. The index entries are not under the rows' MACs: an attacker
//! who can write the store could hide a row from every filter without touching it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    CHUNK, Vault,
    ledger::{base_of, terms_of},
};
use crate::{
    domain::{
        api_key::KeyId,
        ids::{AccountId, SeatId, SecretId},
    },
    store::{AuditQuery, AuditRecord, AuditTerms, Cursor, StoreError},
    vault::audit_row,
};

/// An index term of audit rows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Term {
    Account(AccountId),
    Seat(SeatId),
    Secret(SecretId),
    Key(KeyId),
    Action(String),
}

impl Vault {
    /// The first row of each chain that is not indexed under its contents.
    pub(super) async fn examine_terms(&self) -> Result<Vec<String>, StoreError> {
        let mut problems = Vec::new();
        for chain in self.chains().await? {
            let Ok(base) = base_of(self.store(), self.keyring(), chain).await else { continue };
            let after = Cursor(vec![(chain, base.seq)]);
            let mut query = AuditQuery { chain: Some(chain), after, limit: CHUNK, ..AuditQuery::default() };
            loop {
                let page = self.store().audit(&query).await?;
                if let Some(seq) = self.hidden(&page.records).await? {
                    problems.push(format!("row {seq} of the audit log is not found by what is in it"));
                    break;
                }
                let Some(next) = page.next else { break };
                query.after = next;
            }
        }
        Ok(problems)
    }

    /// The first of consecutive rows of a chain that a filter for its terms misses, or that a filter for other terms
    /// finds.
    pub(super) async fn hidden(&self, rows: &[AuditRecord]) -> Result<Option<u64>, StoreError> {
        let (Some(first), Some(end)) = (rows.first(), rows.last()) else { return Ok(None) };
        let mut expected: BTreeMap<Term, BTreeSet<u64>> = BTreeMap::new();
        for row in rows {
            // The verification of the chain reports rows that can't be read.
            let Some((_, entry)) = audit_row::decode(&row.body) else { return Ok(None) };
            for term in terms(terms_of(&entry)) {
                expected.entry(term).or_default().insert(row.seq);
            }
        }
        let mut hidden = BTreeSet::new();
        for (term, seqs) in expected {
            let mut query = AuditQuery {
                chain: Some(first.chain),
                after: Cursor(vec![(first.chain, first.seq.saturating_sub(1))]),
                before: Cursor(vec![(first.chain, end.seq.saturating_add(1))]),
                limit: CHUNK,
                ..AuditQuery::default()
            };
            match term {
                Term::Account(account) => query.account = Some(account),
                Term::Seat(seat) => query.seat = Some(seat),
                Term::Secret(secret) => query.secrets = Some(vec![secret]),
                Term::Key(key) => query.key = Some(key),
                Term::Action(action) => query.action = Some(action.into()),
            }
            let mut found = BTreeSet::new();
            loop {
                let page = self.store().audit(&query).await?;
                found.extend(page.records.iter().map(|row| row.seq));
                let Some(next) = page.next else { break };
                query.after = next;
            }
            hidden.extend(found.symmetric_difference(&seqs));
        }
        if hidden.is_empty() {
            return Ok(None);
        }
        // No query finds rows that were pruned meanwhile.
        let base = base_of(self.store(), self.keyring(), first.chain).await?;
        Ok(hidden.into_iter().find(|seq| *seq > base.seq))
    }
}

fn terms(terms: AuditTerms) -> impl Iterator<Item = Term> {
    let AuditTerms { account, actor_key, key, seat, secret, action } = terms;
    let ids = [account.map(Term::Account), seat.map(Term::Seat), secret.map(Term::Secret)];
    let keys = [actor_key, key].into_iter().flatten().map(Term::Key);
    ids.into_iter().flatten().chain(keys).chain([Term::Action(action.into_owned())])
}
