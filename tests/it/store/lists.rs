//! Lists: in order, page by page, and with no more work than a page needs.

use countersign::store::{Kind, Life, List, Record, SharedStore};

use super::{account, after, check, done, named, put, putting, record};

fn numbered(number: u8, sort: i64) -> Record {
    Record { sort, ..record(Kind::Secret, &[number]) }
}

async fn ids(store: &SharedStore, list: &List) -> Vec<u8> {
    store.list(list).await.unwrap().into_iter().map(|record| record.key.id[0]).collect()
}

fn secrets() -> List {
    List::of(Kind::Secret, Some(account(1)), 100)
}

#[test]
fn a_list_goes_by_sort_and_then_by_id() {
    check(async |store, _| {
        let records = [(3, 0), (1, 5), (2, -1), (5, 0), (4, i64::MAX), (6, i64::MIN)];
        done(store, putting(records.map(|(number, sort)| put(numbered(number, sort))))).await;
        let whole = [6, 2, 3, 5, 1, 4];
        assert_eq!(ids(store, &secrets()).await, whole);
        assert_eq!(store.count(&secrets()).await.unwrap(), 6);
        for (offset, limit) in [(0, 2), (2, 2), (4, 9), (6, 1), (0, 0)] {
            let page = List { offset, limit, ..secrets() };
            let wanted: Vec<u8> =
                whole.into_iter().skip(usize::try_from(offset).unwrap()).take(limit as usize).collect();
            assert_eq!(ids(store, &page).await, wanted, "{offset} {limit}");
            assert_eq!(store.count(&page).await.unwrap(), 6);
        }
    });
}

#[test]
fn a_page_goes_on_after_the_last_record_of_the_one_before() {
    check(async |store, _| {
        done(store, putting((0..25).map(|number| put(numbered(number, i64::from(number % 3)))))).await;
        for life in [Some(Life::Live), None] {
            for account_ in [Some(account(1)), None] {
                let list = List { limit: 4, life, account: account_, ..secrets() };
                let (mut seen, mut after) = (Vec::new(), None);
                loop {
                    let page = store.list(&List { after, ..list.clone() }).await.unwrap();
                    let Some(end) = page.last() else { break };
                    after = Some((end.sort, end.key.id.clone()));
                    seen.extend(page.iter().map(|record| (record.sort, record.key.id[0])));
                }
                assert!(seen.is_sorted() && seen.len() == 25, "{seen:?}");
            }
        }
    });
}

#[test]
fn a_list_shows_one_kind_account_and_life() {
    check(async |store, _| {
        let mut elsewhere = numbered(1, 0);
        elsewhere.account = Some(account(2));
        let deleted = Record { life: Life::Deleted, ..numbered(2, 1) };
        let seat = record(Kind::Seat, &[3]);
        done(store, putting([elsewhere, deleted.clone(), seat, numbered(4, 2)].map(put))).await;

        let deleted_ones = List { life: Some(Life::Deleted), ..secrets() };
        assert_eq!(ids(store, &secrets()).await, [4]);
        assert_eq!(ids(store, &deleted_ones).await, [2]);
        assert_eq!(ids(store, &List { life: None, ..secrets() }).await, [2, 4]);
        assert_eq!(ids(store, &List { account: None, ..secrets() }).await, [1, 4]);
        assert_eq!(ids(store, &List { account: None, life: None, ..secrets() }).await, [1, 2, 4]);
        assert_eq!(store.count(&List { life: None, ..secrets() }).await.unwrap(), 2);

        done(store, putting([put(Record { life: Life::Live, ..after(&deleted, b"back") })])).await;
        assert_eq!(ids(store, &secrets()).await, [2, 4]);
        assert!(ids(store, &deleted_ones).await.is_empty());
    });
}

#[test]
fn a_record_moves_in_its_lists_when_it_is_replaced() {
    check(async |store, _| {
        done(store, putting([put(numbered(1, 1)), put(numbered(2, 2))])).await;
        done(store, putting([put(Record { sort: 3, ..after(&numbered(1, 1), b"later") })])).await;
        assert_eq!(ids(store, &secrets()).await, [2, 1]);
        let moved = Record { version: 3, account: Some(account(2)), ..numbered(1, 3) };
        done(store, putting([put(moved)])).await;
        assert_eq!(ids(store, &secrets()).await, [2]);
        assert_eq!(ids(store, &List { account: Some(account(2)), ..secrets() }).await, [1]);
    });
}

#[test]
fn a_list_ends_before_a_number_to_sort_by() {
    check(async |store, _| {
        done(store, putting((0..5).map(|number| put(numbered(number, i64::from(number)))))).await;
        let old = List { before_sort: Some(3), account: None, ..secrets() };
        assert_eq!(ids(store, &old).await, [0, 1, 2]);
        assert_eq!(store.count(&old).await.unwrap(), 3);
    });
}

#[test]
fn words_narrow_a_list_to_the_records_that_have_them_all() {
    check(async |store, _| {
        let mut elsewhere = numbered(6, 0);
        elsewhere.account = Some(account(2));
        let words: [(Record, &[u8]); 5] = [
            (numbered(1, 9), &[1, 2, 3]),
            (numbered(2, 8), &[1, 2, 2]),
            (numbered(3, 7), &[2]),
            (numbered(4, 6), &[]),
            (elsewhere, &[1, 2, 3]),
        ];
        done(store, putting(words.map(|(record, words)| named(record, &[], words)))).await;
        let with = |words: &[u8]| List { words: words.iter().map(|word| [*word; 8]).collect(), ..secrets() };
        for (words, wanted) in
            [(&[2][..], &[3, 2, 1][..]), (&[1, 2], &[2, 1]), (&[3, 1, 2], &[1]), (&[4], &[]), (&[1, 4], &[])]
        {
            assert_eq!(ids(store, &with(words)).await, wanted, "{words:?}");
            assert_eq!(store.count(&with(words)).await.unwrap(), wanted.len() as u64);
        }
        assert_eq!(ids(store, &List { offset: 1, limit: 1, ..with(&[2]) }).await, [2]);
        assert_eq!(ids(store, &List { account: None, ..with(&[3]) }).await, [6, 1]);

        done(store, putting([named(after(&numbered(1, 9), b""), &[], &[4])])).await;
        assert_eq!(ids(store, &with(&[4])).await, [1]);
        assert_eq!(ids(store, &with(&[1, 2])).await, [2]);
    });
}
