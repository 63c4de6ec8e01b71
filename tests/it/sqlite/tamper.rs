//! A file changed by an attacker who can write it but has no key.

use std::borrow::Cow;

use countersign::store::{AuditQuery, Committed, Durable, Kind, List, StoreError, Writes};

use super::{World, done, put, putting, record, runtime};
use crate::store::{after, commit, logged, logging, now, read, row, tail};

/// A closed store with three secrets and enough audit records for a full block of the index.
fn filled() -> World {
    let world = World::new(Writes::Inline);
    runtime(Writes::Inline).block_on(async {
        let store = world.store().await;
        done(&store, putting((1..=3_u8).map(|number| put(record(Kind::Secret, &[number]))))).await;
        logged(&store, 0, 1200).await;
        store.close().await.unwrap();
    });
    world
}

fn run(world: &World, sql: &str) {
    rusqlite::Connection::open(world.vault()).unwrap().execute_batch(sql).unwrap();
}

fn examined(world: &World) -> String {
    runtime(Writes::Inline).block_on(async { world.store().await.examine().await.unwrap().join("\n") })
}

#[test]
fn a_record_that_does_not_read_hides_no_other() {
    for change in [
        "UPDATE record SET mac = x'00' WHERE id = x'02'",
        "UPDATE record SET account = x'0102' WHERE id = x'02'",
        "UPDATE record SET life = 7, version = -1 WHERE id = x'01'",
        "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, 'STRICT', '') WHERE name = 'record'",
    ] {
        let world = filled();
        run(&world, change);
        if change.starts_with("PRAGMA") {
            run(&world, "UPDATE record SET mac = 'text', sort = 'text', body = 5 WHERE id = x'02'");
        }
        runtime(Writes::Inline).block_on(async {
            let store = world.store().await;
            for number in 1..=3 {
                assert!(read(&store, Kind::Secret, &[number]).await.is_some(), "{change}");
            }
            let list = store.list(&List { life: None, ..List::of(Kind::Secret, None, 9) }).await.unwrap();
            assert!(list.iter().any(|record| record.key.id == [3]), "{change}");
        });
    }
}

#[test]
fn a_mac_of_another_length_is_read_as_a_wrong_one() {
    let world = filled();
    run(&world, "UPDATE record SET mac = x'00' WHERE id = x'02'; UPDATE audit SET mac = x'00' WHERE place = 1200");
    runtime(Writes::Inline).block_on(async {
        let store = world.store().await;
        assert_eq!(read(&store, Kind::Secret, &[2]).await.unwrap().mac, [0; 32]);
        let last = store.tail(0).await.unwrap().unwrap();
        assert_eq!((last.seq, last.mac), (1200, [0; 32]));
        // A reader with the right key notices the change before anything is added.
        let moved = commit(&store, logging(tail(0, 1200), vec![row(0, 1201)])).await;
        assert_eq!(moved, Ok(Committed::Moved { tail: last }));
    });
}

#[test]
fn what_somebody_planted_in_the_schema_is_not_carried_out_and_is_named() {
    let world = filled();
    run(
        &world,
        "CREATE TRIGGER undo AFTER UPDATE ON record BEGIN UPDATE record SET body = x'' WHERE n = new.n; END; \
         CREATE INDEX extra ON record (body);",
    );
    runtime(Writes::Inline).block_on(async {
        let store = world.store().await;
        let changed = after(&record(Kind::Secret, &[1]), b"changed");
        done(&store, putting([put(changed.clone())])).await;
        assert_eq!(read(&store, Kind::Secret, &[1]).await, Some(changed));
        store.close().await.unwrap();
    });
    let found = examined(&world);
    assert!(found.contains("what no vault has: trigger \"undo\""), "{found}");
    assert!(found.contains("what no vault has: index \"extra\""), "{found}");
}

#[test]
fn a_view_in_a_table_s_place_is_not_read() {
    let world = filled();
    run(&world, "ALTER TABLE record RENAME TO hidden; CREATE VIEW record AS SELECT * FROM hidden;");
    runtime(Writes::Inline).block_on(async {
        let store = world.store().await;
        assert!(store.list(&List::of(Kind::Secret, None, 9)).await.is_err());
        assert!(store.read(&[record(Kind::Secret, &[1]).key]).await.is_err());
    });
}

#[test]
fn a_write_that_a_changed_table_swallows_is_no_success() {
    let world = filled();
    run(
        &world,
        "PRAGMA writable_schema = ON; \
         UPDATE sqlite_schema SET sql = replace(sql, 'UNIQUE (kind, id)', 'UNIQUE (kind, id) ON CONFLICT IGNORE, CHECK (1)') \
         WHERE name = 'record'; \
         UPDATE sqlite_schema SET sql = replace(sql, 'INTEGER PRIMARY KEY', 'INTEGER PRIMARY KEY ON CONFLICT IGNORE') \
         WHERE name = 'audit';",
    );
    // A record with the id of the record that the commit adds.
    run(
        &world,
        "INSERT INTO record (n, kind, id, version, account, sort, life, mac, body) \
                 VALUES (9999, 5, x'AA', 1, x'', 0, 0, x'', x'')",
    );
    runtime(Writes::Inline).block_on(async {
        let store = world.store().await;
        let ended = commit(&store, now(vec![putting([put(record(Kind::Use, &[0xAA]))])])).await;
        assert_eq!(ended, Ok(Committed::Stale { changes: vec![0] }));
    });
    assert!(examined(&world).contains("another table \"record\" than a vault"));
}

#[test]
fn an_index_that_hides_audit_records_is_found_out() {
    let world = filled();
    run(&world, "DELETE FROM audit_index WHERE term LIKE 'd%'");
    assert!(examined(&world).contains("the index of the audit log is wrong about segment 0"));
    runtime(Writes::Inline).block_on(async {
        let store = world.store().await;
        // A query without a filter reads no index.
        let query = AuditQuery { limit: 2000, ..AuditQuery::default() };
        assert_eq!(store.audit(&query).await.unwrap().records.len(), 1200);
        let query = AuditQuery { action: Some(Cow::Borrowed("done")), ..query };
        assert_eq!(store.audit(&query).await.unwrap().records.len(), 176);
    });
}

#[test]
fn names_that_lead_astray_are_found_out() {
    let world = filled();
    run(
        &world,
        "INSERT INTO record_name VALUES (3, x'', zeroblob(32), x'01'); \
         INSERT INTO record_word VALUES (3, x'00000000000000000000000000000001', zeroblob(8), x'77');",
    );
    let found = examined(&world);
    assert!(found.contains("1 rows of record_name lead to no record, or to one of another account"), "{found}");
    assert!(found.contains("1 rows of record_word"), "{found}");
}

#[test]
fn a_damaged_page_is_told_as_damage() {
    let world = filled();
    // Every root page except the schema's: with that one damaged, nothing can be opened.
    let roots: Vec<u32> = {
        let conn = rusqlite::Connection::open(world.vault()).unwrap();
        let mut statement = conn.prepare("SELECT rootpage FROM sqlite_schema WHERE rootpage > 1").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    let mut bytes = std::fs::read(world.vault()).unwrap();
    for root in roots {
        bytes[(root as usize - 1) * 2048..][..8].fill(0xEE);
    }
    std::fs::write(world.vault(), bytes).unwrap();
    runtime(Writes::Inline).block_on(async {
        let store = world.store().await;
        let keys = [record(Kind::Secret, &[1]).key];
        assert!(matches!(store.read(&keys).await, Err(StoreError::Damaged { .. })));
        let soon =
            countersign::store::Commit { durable: Durable::Soon, ..now(vec![putting([put(record(Kind::Use, b"u"))])]) };
        assert!(matches!(commit(&store, soon).await, Err(StoreError::Damaged { .. })));
        assert!(!store.examine().await.unwrap().is_empty());
    });
}
