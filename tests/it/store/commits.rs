//! A commit: it happens completely or not at all, and only if the records that were read have not changed.

use countersign::store::{Change, Commit, Committed, Durable, Expect, Kind, Life, RecordKey, Removal, StoreError};

use super::{account, after, check, commit, done, logging, now, put, putting, read, record, row, tail};

#[test]
fn a_record_comes_back_as_it_was_put() {
    check(async |store, _| {
        let mut wanted = record(Kind::Secret, b"a");
        for (account_, sort, life, body) in [
            (None, i64::MIN, Life::Deleted, Vec::new()),
            (Some(account(2)), i64::MAX, Life::Live, vec![0; 5000]),
            (Some(account(1)), -1, Life::Live, b"\0x".to_vec()),
        ] {
            (wanted.account, wanted.sort, wanted.life, wanted.body) = (account_, sort, life, body);
            wanted.mac = [wanted.version.to_be_bytes()[7]; 32];
            done(store, putting([put(wanted.clone())])).await;
            assert_eq!(read(store, Kind::Secret, b"a").await, Some(wanted.clone()));
            wanted.version += 1;
        }
    });
}

#[test]
fn records_are_read_in_the_order_they_are_asked_for() {
    check(async |store, _| {
        let (a, b) = (record(Kind::Secret, b"a"), record(Kind::Use, b"a"));
        done(store, putting([put(a.clone()), put(b.clone())])).await;
        let keys = [b.key.clone(), RecordKey::new(Kind::Seed, *b"a"), a.key.clone(), b.key.clone()];
        assert_eq!(store.read(&keys).await.unwrap(), [Some(b.clone()), None, Some(a), Some(b)]);
        assert_eq!(store.read(&[]).await.unwrap(), []);
    });
}

#[test]
fn a_put_that_is_not_the_next_version_is_stale() {
    check(async |store, _| {
        let first = record(Kind::Use, b"a");
        done(store, putting([put(first.clone())])).await;
        let second = after(&first, b"second");
        done(store, putting([put(second.clone())])).await;
        let far = after(&after(&second, b""), b"far");
        let absent = after(&record(Kind::Use, b"b"), b"");
        for stale in [first, second.clone(), far, absent] {
            let ended = commit(store, now(vec![putting([put(stale)])])).await;
            assert_eq!(ended, Ok(Committed::Stale { changes: vec![0] }));
        }
        assert_eq!(read(store, Kind::Use, b"a").await, Some(second));
        assert_eq!(read(store, Kind::Use, b"b").await, None);
    });
}

#[test]
fn what_a_change_expects_must_hold() {
    check(async |store, _| {
        let there = RecordKey::new(Kind::Account, *b"there");
        let absent = RecordKey::new(Kind::Account, *b"absent");
        let mut deleted = record(Kind::Secret, b"s");
        deleted.life = Life::Deleted;
        done(store, putting([put(record(Kind::Account, b"there")), put(deleted)])).await;
        let cases = [
            (Expect::Version(there.clone(), 1), true),
            (Expect::Version(there.clone(), 2), false),
            (Expect::Version(absent.clone(), 1), false),
            (Expect::Version(absent.clone(), 0), false),
            (Expect::Exists(there.clone()), true),
            (Expect::Exists(absent.clone()), false),
            (Expect::Absent(there), false),
            (Expect::Absent(absent), true),
            (Expect::NoneIn(Kind::Secret, account(1)), false),
            (Expect::NoneIn(Kind::Secret, account(2)), true),
            (Expect::NoneIn(Kind::Seat, account(1)), true),
        ];
        let (mut kept, mut rows) = (record(Kind::Use, b"u"), 0);
        done(store, putting([put(kept.clone())])).await;
        for (number, (expect, holds)) in cases.into_iter().enumerate() {
            // Like the commit of a code: it is logged, and replaces a record.
            let next = after(&kept, &[u8::try_from(number).unwrap()]);
            let mut change = logging(tail(3, rows), vec![row(3, rows + 1)]);
            change.changes.push(Change { expect: vec![expect.clone()], ..putting([put(next.clone())]) });
            let wanted = if holds { Committed::Done } else { Committed::Stale { changes: vec![1] } };
            assert_eq!(commit(store, change).await, Ok(wanted), "{expect:?}");
            if holds {
                (kept, rows) = (next, rows + 1);
            }
            assert_eq!(read(store, Kind::Use, b"u").await.as_ref(), Some(&kept), "{expect:?}");

            let id = [u8::try_from(number).unwrap()];
            let change = Change { expect: vec![expect.clone()], ..putting([put(record(Kind::Token, &id))]) };
            let wanted = if holds { Committed::Done } else { Committed::Stale { changes: vec![0] } };
            assert_eq!(commit(store, now(vec![change])).await, Ok(wanted), "{expect:?}");
            assert_eq!(read(store, Kind::Token, &id).await.is_some(), holds, "{expect:?}");
        }
    });
}

#[test]
fn a_commit_with_one_stale_change_does_nothing_and_names_it() {
    check(async |store, _| {
        done(store, putting([put(record(Kind::Use, b"a"))])).await;
        let new = |id: &[u8]| putting([put(record(Kind::Use, id))]);
        let mut rows = logging(tail(0, 0), vec![row(0, 1)]);
        rows.changes.splice(0..0, [new(b"b"), new(b"a"), new(b"c"), new(b"a")]);

        assert_eq!(commit(store, rows.clone()).await, Ok(Committed::Stale { changes: vec![1, 3] }));

        assert_eq!(read(store, Kind::Use, b"b").await, None);
        assert_eq!(store.tail(0).await.unwrap(), None);
        rows.changes.retain(|change| change.put.iter().all(|put| put.record.key.id != b"a"));
        assert_eq!(commit(store, rows).await, Ok(Committed::Done));
        assert_eq!(store.tail(0).await.unwrap(), Some(tail(0, 1)));
    });
}

#[test]
fn a_later_change_sees_what_an_earlier_one_did() {
    check(async |store, _| {
        let first = record(Kind::Use, b"a");
        let second = after(&first, b"second");
        let gone = Change { remove: vec![Removal::One(first.key.clone())], ..Change::default() };
        let anew = record(Kind::Use, b"a");
        let changes = vec![putting([put(first)]), putting([put(second)]), gone, putting([put(anew.clone())])];
        assert_eq!(commit(store, now(changes)).await, Ok(Committed::Done));
        assert_eq!(read(store, Kind::Use, b"a").await, Some(anew));
    });
}

#[test]
fn removals_take_one_record_or_all_with_a_prefix() {
    check(async |store, _| {
        let ids: [&[u8]; 7] = [b"a", b"ab", b"ab\xFF", b"ab\xFF\xFF\x01", b"ac", b"b", b"\xFF\xFF"];
        let all = || ids.iter().flat_map(|id| [record(Kind::Count, id), record(Kind::Use, id)]).map(put);
        let left = async |kind| {
            let keys: Vec<_> = ids.iter().map(|id| RecordKey::new(kind, *id)).collect();
            let found = store.read(&keys).await.unwrap();
            ids.iter().zip(found).filter(|(_, found)| found.is_some()).map(|(id, _)| *id).collect::<Vec<_>>()
        };
        let removing = |removal| Change { remove: vec![removal], ..Change::default() };
        done(store, putting(all())).await;

        done(store, removing(Removal::One(RecordKey::new(Kind::Count, *b"a")))).await;
        assert_eq!(left(Kind::Count).await, ids[1..]);
        done(store, removing(Removal::Prefix(Kind::Count, b"ab".to_vec()))).await;
        assert_eq!(left(Kind::Count).await, ids[4..]);
        done(store, removing(Removal::Prefix(Kind::Count, b"\xFF".to_vec()))).await;
        assert_eq!(left(Kind::Count).await, ids[4..6]);
        done(store, removing(Removal::Prefix(Kind::Count, Vec::new()))).await;
        assert!(left(Kind::Count).await.is_empty());
        done(store, removing(Removal::One(RecordKey::new(Kind::Count, *b"a")))).await;
        assert_eq!(left(Kind::Use).await, ids, "another kind is left alone");
    });
}

#[test]
fn an_id_has_a_longest_length() {
    check(async |store, _| {
        done(store, putting([put(record(Kind::Count, &[0xFF; 64]))])).await;
        let long = putting([put(record(Kind::Count, &[0xFF; 65]))]);
        assert!(matches!(commit(store, now(vec![long])).await, Err(StoreError::Unavailable(_))));
        let prefix = Removal::Prefix(Kind::Count, vec![0xFF; 63]);
        done(store, Change { remove: vec![prefix], ..Change::default() }).await;
        assert_eq!(read(store, Kind::Count, &[0xFF; 64]).await, None);
    });
}

#[test]
fn nothing_is_committed_at_once() {
    check(async |store, _| {
        for durable in [Durable::Now, Durable::Soon] {
            let nothing = Commit { changes: vec![Change::default()], tail: None, durable };
            assert_eq!(commit(store, nothing).await, Ok(Committed::Done));
        }
    });
}

#[test]
fn a_closed_store_says_so_and_does_nothing() {
    check(async |store, _| {
        done(store, putting([put(record(Kind::Use, b"a"))])).await;
        store.close().await.unwrap();
        store.close().await.unwrap();
        let told = |error: StoreError| {
            assert_eq!(error.to_string(), "the vault can't be reached or written: the vault is closed");
        };
        told(store.read(&[]).await.unwrap_err());
        told(commit(store, now(vec![putting([put(record(Kind::Use, b"b"))])])).await.unwrap_err());
        told(store.tail(0).await.unwrap_err());
        told(store.probe().await.unwrap_err());
        told(store.examine().await.unwrap_err());
    });
}

#[test]
fn everything_is_there_after_the_store_was_only_let_go_of() {
    check(async |store, world| {
        let other = world.store().await;
        for (number, durable) in [(1, Durable::Soon), (2, Durable::Now), (3, Durable::Soon)] {
            let change = putting([put(record(Kind::Use, &[number]))]);
            let whole = Commit { changes: vec![change], tail: None, durable };
            assert_eq!(commit(&other, whole).await, Ok(Committed::Done));
        }
        other.probe().await.unwrap();
        other.sync().await.unwrap();
        drop(other);
        for number in 1..=3 {
            assert!(read(store, Kind::Use, &[number]).await.is_some());
        }
    });
}
