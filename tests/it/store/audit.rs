//! The audit log: chains that continue at their ends, and pages of the rows that match.

use std::borrow::Cow;

use countersign::{
    domain::time::Timestamp,
    store::{AuditPut, AuditQuery, AuditRecord, Change, Committed, Cursor, Kind, Prune, SharedStore, StoreError},
};

use super::{
    account, check, commit, key_id, logged, logging, mac, put, putting, read, record, row, seat_id, secret_id, tail,
};

#[test]
fn a_chain_goes_on_from_its_last_record_and_from_nothing_else() {
    check(async |store, _| {
        assert_eq!(store.tail(0).await.unwrap(), None);
        assert_eq!(commit(store, logging(tail(0, 0), vec![row(0, 1), row(0, 2)])).await, Ok(Committed::Done));
        assert_eq!(store.tail(0).await.unwrap(), Some(tail(0, 2)));

        let mut other = tail(0, 2);
        other.mac = [0; 32];
        for (from, next) in [(tail(0, 0), 1), (tail(0, 1), 2), (tail(0, 3), 4), (other, 3)] {
            let mut moved = logging(from, vec![row(0, next)]);
            moved.changes.push(putting([put(record(Kind::Use, b"a"))]));
            assert_eq!(commit(store, moved).await, Ok(Committed::Moved { tail: tail(0, 2) }));
        }
        assert_eq!(read(store, Kind::Use, b"a").await, None);
        assert_eq!(store.tail(0).await.unwrap(), Some(tail(0, 2)));
    });
}

#[test]
fn records_that_do_not_follow_one_another_are_refused() {
    check(async |store, _| {
        logged(store, 0, 2).await;
        let mut without = logging(tail(0, 2), vec![row(0, 3)]);
        without.tail = None;
        let wrong = [
            logging(tail(0, 2), vec![row(0, 4)]),
            logging(tail(0, 2), vec![row(0, 2)]),
            logging(tail(0, 2), vec![row(0, 3), row(0, 5)]),
            logging(tail(0, 2), vec![row(0, 3), row(1, 4)]),
            logging(tail(1, 2), vec![row(0, 3)]),
            without,
        ];
        for commit in wrong {
            assert!(matches!(super::commit(store, commit).await, Err(StoreError::Unavailable(_))));
        }
        assert_eq!(store.tail(0).await.unwrap(), Some(tail(0, 2)));
    });
}

#[test]
fn chains_go_on_apart_and_begin_where_they_are_told() {
    check(async |store, _| {
        logged(store, 7, 3).await;
        logged(store, 0, 1).await;
        assert_eq!(commit(store, logging(tail(3, 41), vec![row(3, 42)])).await, Ok(Committed::Done));
        assert_eq!(store.chains().await.unwrap(), [0, 3, 7]);
        assert_eq!(store.tail(7).await.unwrap(), Some(tail(7, 3)));
        assert_eq!(store.tail(3).await.unwrap(), Some(tail(3, 42)));
        assert_eq!(store.tail(1).await.unwrap(), None);
    });
}

#[test]
fn changes_of_one_commit_share_the_chain_in_their_order() {
    check(async |store, _| {
        let change =
            |seqs: &[u64]| Change { audit: seqs.iter().map(|seq| row(0, *seq)).collect(), ..Change::default() };
        let mut together = logging(tail(0, 0), vec![]);
        together.changes = vec![change(&[1, 2]), change(&[]), change(&[3])];
        assert_eq!(commit(store, together).await, Ok(Committed::Done));
        let seqs: Vec<_> = everything(store, &all()).await.iter().map(|record| record.seq).collect();
        assert_eq!(seqs, [1, 2, 3]);
    });
}

/// Enough for several full blocks of the index and one that is not full, in two chains, with every combination of terms.
async fn filled(store: &SharedStore) -> Vec<AuditPut> {
    let mut all = Vec::new();
    for (chain, count) in [(0, 2500), (2, 1100)] {
        let rows: Vec<AuditPut> = (1..=count).map(|seq| mixed(chain, seq)).collect();
        for part in rows.chunks(300) {
            let from = part[0].record.seq - 1;
            assert_eq!(commit(store, logging(tail(chain, from), part.to_vec())).await, Ok(Committed::Done));
        }
        all.extend(rows);
    }
    all
}

fn mixed(chain: u32, seq: u64) -> AuditPut {
    let random = u128::from(seq.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32 ^ u64::from(chain));
    let some = |of: u128, from: u128| Some(random / of % from).filter(|some| *some != 0);
    let mut row = row(chain, seq);
    // Several records have the same time, also in both chains.
    row.record.at = Timestamp::from_seconds(i64::try_from(seq / 3).unwrap());
    row.terms.account = some(1, 3).map(account);
    row.terms.actor_key = some(3, 5).map(key_id);
    row.terms.key = some(15, 7).filter(|key| *key < 3).map(key_id);
    row.terms.seat = some(105, 4).map(seat_id);
    row.terms.secret = some(420, 50).map(secret_id);
    row.terms.action = Cow::Borrowed(match (random % 97, seq % 5) {
        (0, _) => "seldom",
        (_, 0) => "refused",
        _ => "code.get",
    });
    row
}

fn all() -> AuditQuery {
    AuditQuery { limit: 7, ..AuditQuery::default() }
}

/// Reads every record that a query matches, page by page.
async fn everything(store: &SharedStore, query: &AuditQuery) -> Vec<AuditRecord> {
    let mut query = query.clone();
    let mut found = Vec::new();
    loop {
        let page = store.audit(&query).await.unwrap();
        assert!(page.records.len() <= query.limit as usize);
        found.extend(page.records);
        let Some(next) = page.next else { return found };
        let place = if query.newest { &mut query.before } else { &mut query.after };
        assert_ne!(*place, next, "a page that goes on gets somewhere");
        *place = next;
    }
}

fn matches(query: &AuditQuery, AuditPut { record, terms }: &AuditPut) -> bool {
    let beyond = |cursor: &Cursor| cursor.0.iter().find(|(chain, _)| *chain == record.chain).map(|(_, seq)| *seq);
    query.chain.is_none_or(|chain| chain == record.chain)
        && query.account.is_none_or(|id| terms.account == Some(id))
        && query.seat.is_none_or(|id| terms.seat == Some(id))
        && query.secrets.as_ref().is_none_or(|ids| terms.secret.is_some_and(|id| ids.contains(&id)))
        && query.key.is_none_or(|id| terms.actor_key == Some(id) || terms.key == Some(id))
        && query.action.as_ref().is_none_or(|action| terms.action == *action)
        && query.since.is_none_or(|at| record.at >= at)
        && query.until.is_none_or(|at| record.at < at)
        && beyond(&query.after).is_none_or(|seq| record.seq > seq)
        && beyond(&query.before).is_none_or(|seq| record.seq < seq)
}

/// Queries with one condition each.
fn single() -> Vec<AuditQuery> {
    let at = |seconds| Some(Timestamp::from_seconds(seconds));
    vec![
        AuditQuery { account: Some(account(1)), ..all() },
        AuditQuery { seat: Some(seat_id(2)), ..all() },
        AuditQuery { secrets: Some(vec![secret_id(3)]), ..all() },
        AuditQuery { secrets: Some(vec![secret_id(5), secret_id(6), secret_id(99)]), ..all() },
        AuditQuery { secrets: Some((10..90).map(secret_id).collect()), ..all() },
        AuditQuery { secrets: Some(Vec::new()), ..all() },
        AuditQuery { key: Some(key_id(1)), ..all() },
        AuditQuery { action: Some(Cow::Borrowed("seldom")), ..all() },
        AuditQuery { action: Some(Cow::Borrowed("never")), ..all() },
        AuditQuery { since: at(455), ..all() },
        AuditQuery { until: at(577), ..all() },
        AuditQuery { since: at(0), until: at(9999), ..all() },
        AuditQuery { chain: Some(2), ..all() },
        AuditQuery { after: Cursor(vec![(0, 1333)]), ..all() },
        AuditQuery { before: Cursor(vec![(0, 1666), (2, 5)]), ..all() },
    ]
}

fn both(a: &AuditQuery, b: &AuditQuery) -> AuditQuery {
    let cursor = |a: &Cursor, b: &Cursor| if *a == Cursor::default() { b.clone() } else { a.clone() };
    AuditQuery {
        chain: a.chain.or(b.chain),
        account: a.account.or(b.account),
        seat: a.seat.or(b.seat),
        secrets: a.secrets.clone().or(b.secrets.clone()),
        key: a.key.or(b.key),
        action: a.action.clone().or(b.action.clone()),
        since: a.since.or(b.since),
        until: a.until.or(b.until),
        after: cursor(&a.after, &b.after),
        before: cursor(&a.before, &b.before),
        newest: a.newest,
        limit: a.limit,
    }
}

#[test]
fn pages_hold_what_matches_each_once_and_in_order_under_any_two_conditions() {
    check(async |store, _| {
        let rows = filled(store).await;
        let single = single();
        for (a, b) in single.iter().flat_map(|a| single.iter().map(move |b| (a, b))) {
            for (newest, limit) in [(false, 70), (true, 70), (false, 5000), (true, 7)] {
                if limit == 7 && a != b {
                    continue;
                }
                let query = AuditQuery { newest, limit, ..both(a, b) };
                let mut wanted: Vec<_> =
                    rows.iter().filter(|row| matches(&query, row)).map(|row| row.record.clone()).collect();
                wanted.sort_by_key(|record| (record.at, record.chain, record.seq));
                if newest {
                    wanted.reverse();
                }
                assert_eq!(everything(store, &query).await, wanted, "{query:?}");
            }
        }
    });
}

#[test]
fn a_page_goes_on_exactly_while_records_arrive() {
    check(async |store, _| {
        logged(store, 0, 10).await;
        logged(store, 1, 10).await;
        let first = store.audit(&all()).await.unwrap();
        let newest = store.audit(&AuditQuery { newest: true, ..all() }).await.unwrap();
        logged(store, 0, 20).await;
        logged(store, 1, 12).await;

        let rest = everything(store, &AuditQuery { after: first.next.unwrap(), ..all() }).await;
        let older = everything(store, &AuditQuery { newest: true, before: newest.next.unwrap(), ..all() }).await;

        let mut seen: Vec<_> = first.records.iter().chain(&rest).map(|record| (record.chain, record.seq)).collect();
        seen.sort_unstable();
        assert_eq!(seen, (1..=20).map(|seq| (0, seq)).chain((1..=12).map(|seq| (1, seq))).collect::<Vec<_>>());
        assert_eq!(newest.records.len() + older.len(), 20);
    });
}

#[test]
fn pruned_records_are_gone_and_the_chain_goes_on() {
    check(async |store, _| {
        let rows = filled(store).await;
        for upto in [5, 1024, 1500, 2500] {
            let last = store.tail(0).await.unwrap().unwrap();
            let mut pruning = logging(last, vec![row(0, last.seq + 1)]);
            pruning.changes[0].prune = Some(Prune { chain: 0, upto });
            assert_eq!(commit(store, pruning).await, Ok(Committed::Done));

            for query in single() {
                let found = everything(store, &AuditQuery { limit: 100, ..query.clone() }).await;
                let wanted = rows.iter().filter(|row| row.record.chain != 0 || row.record.seq > upto);
                let wanted = wanted.filter(|row| matches(&query, row)).count();
                let added = found.iter().filter(|record| record.chain == 0 && record.seq > 2500).count();
                assert_eq!(found.len() - added, wanted, "{upto} {query:?}");
            }
            assert_eq!(store.examine().await.unwrap(), Vec::<String>::new());
        }
        assert_eq!(store.tail(0).await.unwrap(), Some(tail(0, 2504)));
    });
}

#[test]
fn a_chain_of_which_all_was_pruned_takes_any_place_to_go_on_from() {
    check(async |store, _| {
        logged(store, 0, 3).await;
        let change = Change { prune: Some(Prune { chain: 0, upto: 3 }), ..Change::default() };
        super::done(store, change).await;
        assert_eq!(store.tail(0).await.unwrap(), None);
        assert_eq!(commit(store, logging(tail(0, 3), vec![row(0, 4)])).await, Ok(Committed::Done));
        assert_eq!(store.tail(0).await.unwrap().map(|tail| (tail.seq, tail.mac)), Some((4, mac(4))));
    });
}

/// The processor time of this thread, in nanoseconds.
#[cfg(target_os = "linux")]
fn cpu() -> u64 {
    let taken = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    taken.split(' ').next().unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn any_page_of_the_audit_log_under_any_two_filters_takes_less_than_20_ms_of_processor_time() {
    const MOST: u64 = 20_000_000;

    // `.ci/run` uses a million.
    let count = if std::env::var_os("COUNTERSIGN_LARGE").is_some() { 1_000_000 } else { 20_000 };
    let world = super::World::new(countersign::store::Writes::Inline);
    super::runtime(countersign::store::Writes::Inline).block_on(async {
        let store = world.store().await;
        for begin in (1..=count).step_by(5_000) {
            let rows = (begin..(begin + 5_000).min(count + 1)).map(|seq| mixed(0, seq)).collect();
            assert_eq!(commit(&store, logging(tail(0, begin - 1), rows)).await, Ok(Committed::Done));
        }
        let single = single();
        for (a, b) in single.iter().flat_map(|a| single.iter().map(move |b| (a, b))) {
            for newest in [false, true] {
                let query = AuditQuery { newest, limit: 50, ..both(a, b) };
                let mut least = u64::MAX;
                for _ in 0..5 {
                    let before = cpu();
                    store.audit(&query).await.unwrap();
                    least = least.min(cpu() - before);
                }
                assert!(least < MOST, "{least} ns: {query:?}");
            }
        }
    });
}
