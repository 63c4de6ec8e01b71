//! Format 1: read without a change, and moved completely or not at all.

use std::{fs, path::Path};

use countersign::store::{
    Change, Commit, Committed, Durable, Kind, OpenError, Opened, StoreError, Writes,
    format1::{self, Format1, Upgrade},
    open,
};

use super::{World, contents, files_in, is_anywhere, mode_of, private_dir, put, putting, record, runtime, set_mode};
use crate::store::{commit, header, logging, now, read, row, tail};

const SUFFIX: &str = ".format-1-20261122T083000Z";

/// A vault that version 1 has written, with rows in most of its tables.
fn fixture() -> World {
    let world = World::new(Writes::Inline);
    private_dir(&world.data());
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vault-v1.db"), world.vault()).unwrap();
    set_mode(&world.vault(), 0o600);
    world
}

fn opened(world: &World) -> Format1 {
    let opened = runtime(Writes::Inline).block_on(open(&world.request())).unwrap();
    let Opened::Format1(old) = opened else { unreachable!("it is of format 1") };
    *old
}

fn rows<T: format1::Table>(upgrade: &Upgrade) -> Vec<T> {
    let mut rows = Vec::new();
    upgrade
        .rows(|row| {
            rows.push(row);
            Ok::<_, StoreError>(())
        })
        .unwrap();
    rows
}

/// The number of rows in each table.
fn counts(upgrade: &Upgrade) -> [usize; 7] {
    [
        rows::<format1::Account>(upgrade).len(),
        rows::<format1::Secret>(upgrade).len(),
        rows::<format1::CodeCount>(upgrade).len(),
        rows::<format1::Idempotency>(upgrade).len(),
        rows::<format1::Seat>(upgrade).len(),
        rows::<format1::ApiKey>(upgrade).len(),
        rows::<format1::TrailRow>(upgrade).len(),
    ]
}

#[test]
fn every_table_of_format_1_is_read_as_it_lies() {
    let world = fixture();
    let old = opened(&world);
    assert_eq!(old.facts().format, 1);
    let header = old.header().unwrap();
    assert_eq!((header.vault_id.len(), header.mac.len(), header.slots.len(), header.data_keys.len()), (16, 32, 1, 1));
    assert_eq!(header.slots[0].kind, "file");

    let upgrade = old.begin(SUFFIX).unwrap();

    assert_eq!(upgrade.header().unwrap(), header);
    assert_eq!(counts(&upgrade), [2, 2, 0, 0, 1, 2, 10]);
    assert_eq!(rows::<format1::TrailEnd>(&upgrade).len(), 2);
    let secrets = rows::<format1::Secret>(&upgrade);
    assert_eq!(secrets.iter().map(|secret| secret.given).collect::<Vec<_>>(), [Some(42), None]);
    assert!(secrets.iter().all(|secret| !secret.seed.is_empty() && secret.mac.len() == 32));
    assert_eq!(rows::<format1::Seat>(&upgrade)[0].email, "ada@example.com");
    let trail = rows::<format1::TrailRow>(&upgrade);
    assert!(trail.iter().map(|row| row.seq).eq(1..=10));
}

#[test]
fn a_move_that_is_dropped_has_changed_nothing() {
    let world = fixture();
    let before = fs::read(world.vault()).unwrap();
    let upgrade = opened(&world).begin(SUFFIX).unwrap();
    let change = Commit { changes: vec![putting([put(record(Kind::Header, b"header"))])], ..now(Vec::new()) };
    assert_eq!(upgrade.put(&change).unwrap(), Committed::Done);
    drop(upgrade);

    assert_eq!(fs::read(world.vault()).unwrap(), before);
    let names: Vec<_> = files_in(&world.data()).iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["vault.db"], "no copy is left, since nothing was moved");
    assert_eq!(opened(&world).facts().format, 1);
}

#[test]
fn a_finished_move_is_a_store_and_leaves_a_copy_of_what_was() {
    let world = fixture();
    let upgrade = opened(&world).begin(SUFFIX).unwrap();
    let seed = rows::<format1::Secret>(&upgrade)[0].seed.clone();
    let email = b"ada@example.com";
    assert_eq!(upgrade.put(&header()).unwrap(), Committed::Done);
    // A stale change is not made, and the move goes on.
    let stale = upgrade.put(&header()).unwrap();
    assert_eq!(stale, Committed::Stale { changes: vec![0] });
    upgrade
        .rows(|old: format1::TrailRow| {
            let seq = old.seq.cast_unsigned();
            let ended = upgrade.put(&logging(tail(0, seq - 1), vec![row(0, seq)]))?;
            assert_eq!(ended, Committed::Done);
            Ok::<_, StoreError>(())
        })
        .unwrap();
    let copy = upgrade.snapshot().to_owned();
    upgrade.finish().unwrap();

    assert_eq!(mode_of(&copy), 0o600);
    assert_eq!(copy.file_name().unwrap().to_str().unwrap(), format!("vault.db{SUFFIX}"));
    runtime(Writes::Inline).block_on(async {
        let store = world.store().await;
        assert_eq!(store.examine().await.unwrap(), Vec::<String>::new());
        assert!(read(&store, Kind::Header, b"header").await.is_some());
        assert_eq!(store.tail(0).await.unwrap(), Some(tail(0, 10)));
        assert_eq!(commit(&store, logging(tail(0, 10), vec![row(0, 11)])).await, Ok(Committed::Done));
        store.close().await.unwrap();
    });

    // The copy is a complete vault of format 1, which can be put back.
    let back = World::new(Writes::Inline);
    private_dir(&back.data());
    fs::rename(&copy, back.vault()).unwrap();
    assert!(!is_anywhere(&world.data(), &seed) && !is_anywhere(&world.data(), email), "it is in the copy alone");
    let upgrade = opened(&back).begin(SUFFIX).unwrap();
    assert_eq!(counts(&upgrade), [2, 2, 0, 0, 1, 2, 10]);
    assert_eq!(rows::<format1::Secret>(&upgrade)[0].seed, seed);
}

#[test]
fn nobody_else_writes_or_moves_it_meanwhile() {
    let world = fixture();
    let late = opened(&world);
    let upgrade = opened(&world).begin(SUFFIX).unwrap();
    let writer = rusqlite::Connection::open(world.vault()).unwrap();
    writer.busy_timeout(std::time::Duration::ZERO).unwrap();
    assert!(writer.execute("UPDATE trail_end SET synced = 9", []).is_err());
    drop(writer);
    upgrade.finish().unwrap();

    let refused = late.begin(".late").err().expect("there is nothing to move any more");

    assert!(matches!(refused, OpenError::Unusable { .. }), "{refused}");
    assert!(!contents(&world.data()).keys().any(|path| path.to_string_lossy().ends_with(".late")));
}

#[test]
fn a_copy_is_never_made_over_anything() {
    let world = fixture();
    let there = world.data().join(format!("vault.db{SUFFIX}"));
    fs::write(&there, b"an older copy").unwrap();
    assert!(opened(&world).begin(SUFFIX).is_err());
    assert_eq!(fs::read(&there).unwrap(), b"an older copy");
}

#[test]
fn a_large_move_is_one_transaction() {
    let world = fixture();
    let upgrade = opened(&world).begin(SUFFIX).unwrap();
    for part in 0..40_u64 {
        let rows = (part * 100 + 1..=part * 100 + 100).map(|seq| row(0, seq)).collect();
        let change = Change { audit: rows, ..Change::default() };
        let part = Commit { changes: vec![change], tail: Some(tail(0, part * 100)), durable: Durable::Now };
        assert_eq!(upgrade.put(&part).unwrap(), Committed::Done);
    }
    drop(upgrade);
    assert_eq!(counts(&opened(&world).begin(SUFFIX).unwrap()), [2, 2, 0, 0, 1, 2, 10]);
}
