//! A record's index entries besides its id.

use countersign::store::{Change, Committed, Finders, Index, Kind, List, Put, RecordKey, Removal};

use super::{account, after, check, commit, done, named, now, put, putting, record};

#[test]
fn a_record_is_found_by_each_of_its_names_in_its_kind_and_account() {
    check(async |store, _| {
        let seat = record(Kind::Seat, b"a");
        let mut nobodys = record(Kind::Account, b"n");
        nobodys.account = None;
        done(store, putting([named(seat.clone(), &[1, 2], &[]), named(nobodys.clone(), &[1], &[])])).await;

        let find = |kind, account, name: u8| store.find(kind, account, [name; 32]);
        assert_eq!(find(Kind::Seat, Some(account(1)), 1).await.unwrap(), Some(seat.clone()));
        assert_eq!(find(Kind::Seat, Some(account(1)), 2).await.unwrap(), Some(seat));
        assert_eq!(find(Kind::Account, None, 1).await.unwrap(), Some(nobodys));
        for (kind, account, name) in [
            (Kind::Seat, Some(account(1)), 3),
            (Kind::Seat, Some(account(2)), 1),
            (Kind::Seat, None, 1),
            (Kind::Secret, Some(account(1)), 1),
            (Kind::Account, Some(account(1)), 1),
        ] {
            assert_eq!(find(kind, account, name).await.unwrap(), None, "{kind:?} {account:?} {name}");
        }
    });
}

#[test]
fn a_name_is_taken_once_in_a_kind_and_account() {
    check(async |store, _| {
        done(store, putting([named(record(Kind::Seat, b"a"), &[1, 2], &[])])).await;
        let new = |id: &[u8], names: &[u8]| putting([named(record(Kind::Seat, id), names, &[])]);

        let taken = vec![new(b"b", &[3]), new(b"c", &[4, 2]), new(b"d", &[5])];
        assert_eq!(commit(store, now(taken)).await, Ok(Committed::Taken { changes: vec![1] }));
        let twice = vec![new(b"b", &[3]), new(b"c", &[3])];
        assert_eq!(commit(store, now(twice)).await, Ok(Committed::Taken { changes: vec![1] }));

        assert_eq!(store.count(&List::of(Kind::Seat, None, 1)).await.unwrap(), 1, "nothing was done");
        let mut elsewhere = record(Kind::Seat, b"b");
        elsewhere.account = Some(account(2));
        done(store, putting([named(elsewhere, &[1], &[]), named(record(Kind::Secret, b"a"), &[1], &[])])).await;
    });
}

#[test]
fn of_many_changes_with_taken_names_each_is_told_and_none_that_would_fit_without_them() {
    check(async |store, _| {
        done(store, putting([named(record(Kind::Seat, b"a"), &[1, 2], &[])])).await;
        let new = |id: &[u8], names: &[u8]| putting([named(record(Kind::Seat, id), names, &[])]);
        // The second change has put its first name before its second one is found to be taken; the third needs that
        // first name.
        let changes = vec![new(b"b", &[3]), new(b"c", &[4, 2]), new(b"d", &[4]), new(b"e", &[1]), new(b"f", &[2])];
        let rest = vec![changes[0].clone(), changes[2].clone()];
        assert_eq!(commit(store, now(changes)).await, Ok(Committed::Taken { changes: vec![1, 3, 4] }));
        assert_eq!(commit(store, now(rest)).await, Ok(Committed::Done));
    });
}

#[test]
fn names_are_kept_replaced_and_removed_with_their_record() {
    check(async |store, _| {
        let first = record(Kind::Seat, b"a");
        let find = |name: u8| store.find(Kind::Seat, Some(account(1)), [name; 32]);
        done(store, putting([named(first.clone(), &[1, 2], &[9])])).await;

        let second = after(&first, b"second");
        done(store, putting([put(second.clone())])).await;
        assert_eq!(find(1).await.unwrap(), Some(second.clone()), "kept");

        let third = after(&second, b"third");
        done(store, putting([named(third.clone(), &[2, 3], &[])])).await;
        assert_eq!(find(1).await.unwrap(), None, "given up");
        assert_eq!(find(3).await.unwrap(), Some(third.clone()), "new");
        done(store, putting([named(record(Kind::Seat, b"b"), &[1], &[])])).await;

        let none = Index::Replace(Finders::default());
        done(store, putting([Put { record: after(&third, b"fourth"), index: none }])).await;
        assert_eq!(find(2).await.unwrap(), None);

        let removal = Removal::One(RecordKey::new(Kind::Seat, *b"b"));
        done(store, Change { remove: vec![removal], ..Change::default() }).await;
        assert_eq!(find(1).await.unwrap(), None);
        done(store, putting([named(record(Kind::Seat, b"c"), &[1], &[])])).await;
    });
}

#[test]
fn a_name_moves_from_a_removed_record_to_a_new_one_in_one_change() {
    check(async |store, _| {
        done(store, putting([named(record(Kind::Seat, b"a"), &[1], &[])])).await;
        let remove = vec![Removal::Prefix(Kind::Seat, b"a".to_vec())];
        done(store, Change { remove, ..putting([named(record(Kind::Seat, b"b"), &[1], &[])]) }).await;
        let found = store.find(Kind::Seat, Some(account(1)), [1; 32]).await.unwrap().unwrap();
        assert_eq!(found.key.id, b"b");
    });
}

#[test]
fn what_finds_records_is_told_in_order_and_of_themselves_alone() {
    check(async |store, _| {
        let (first, second) = (record(Kind::Seat, b"a"), record(Kind::Seat, b"b"));
        done(store, putting([named(first.clone(), &[2, 1], &[9, 8])])).await;
        done(store, putting([named(second.clone(), &[3], &[])])).await;

        let mut keys = [second.key, first.key.clone(), RecordKey::new(Kind::Secret, *b"a")];
        let of = |names: &[u8], words: &[u8]| named(record(Kind::Seat, b"a"), names, words).index;
        let told = store.finders(&keys).await.unwrap().into_iter().map(Index::Replace).collect::<Vec<_>>();
        assert_eq!(told, [of(&[3], &[]), of(&[1, 2], &[8, 9]), of(&[], &[])]);

        done(store, putting([named(after(&first, b"second"), &[4], &[])])).await;
        keys.rotate_left(1);
        let told = store.finders(&keys[..1]).await.unwrap().into_iter().map(Index::Replace).collect::<Vec<_>>();
        assert_eq!(told, [of(&[4], &[])]);
    });
}
