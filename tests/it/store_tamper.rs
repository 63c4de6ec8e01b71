//! Somebody writes to the files without the vault's key: what is found out, and that nothing wrong is taken for right.

use std::fs;

use countersign::{
    domain::{
        audit::{Action, ChainHead},
        ids::{SeatId, SecretId},
        seat::SeatName,
        seed::Seed,
        text::{Email, ShownText},
        totp::Step,
    },
    keyring::Place,
    random::SystemRandom,
    store::{Holder, Idempotency, Life, Opened, Page, SealedSecret, StoreError, Verdict, Writes, open},
};
use rusqlite::Connection;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::store_kit::{Folder, NOW, World, runtime, verify};

#[test]
fn a_changed_record_is_damaged_whatever_was_changed() {
    let changes = [
        "UPDATE account SET name = 'root' WHERE name = 'default'",
        "UPDATE secret SET deleted_at = 1",
        "UPDATE secret SET account = zeroblob(16)",
        "UPDATE secret SET version = 2",
        "UPDATE secret SET given = NULL",
        "UPDATE secret SET taken = 1",
        "UPDATE secret SET waiting = zeroblob(24)",
        "UPDATE secret SET accepted = 1",
        "UPDATE secret SET wrong = 9",
        "UPDATE secret SET held_until = 1",
        "UPDATE seat SET email = 'eve@x.org', email_key = 'eve@x.org'",
        "UPDATE seat SET auth_subject = '2'",
        "UPDATE seat SET codes_per_hour = 3600",
        "UPDATE api_key SET scopes = 'codes:read,secrets:write'",
        "UPDATE api_key SET account = zeroblob(16)",
        "UPDATE api_key SET seat = NULL",
        "UPDATE api_key SET secrets = NULL",
        "UPDATE api_key SET codes_per_hour = NULL",
        "UPDATE api_key SET expires_at = NULL",
        "UPDATE api_key SET revoked_at = NULL",
        "UPDATE api_key SET hash = zeroblob(32)",
    ];
    for change in changes {
        let folder = filled();
        run(&folder, &format!("PRAGMA foreign_keys=OFF; {change}"));

        let opened = folder.open().unwrap();
        runtime(Writes::Inline).block_on(async {
            let found = opened.store.examine().await.unwrap();
            assert!(found.iter().any(|found| found.contains("without the vault's key")), "{change}: {found:?}");
            let (mut damaged, account) = (0, opened.status.default_account);
            let mut note = |failed: bool| damaged += u32::from(failed);
            let is_damaged = |error: Option<StoreError>| matches!(error, Some(StoreError::Damaged { .. }));
            note(is_damaged(opened.store.accounts().await.unwrap().damaged.pop()));
            note(is_damaged(opened.store.secret(account, SecretId::new(Uuid::from_u128(1))).await.err()));
            note(is_damaged(opened.store.seat(account, SeatName::Id(SeatId::new(Uuid::from_u128(2)))).await.err()));
            note(is_damaged(opened.store.key("000000000003".parse().unwrap()).await.err()));
            assert_eq!(damaged, 1, "{change}: exactly its own record is refused");
        });
    }
}

#[test]
fn what_stands_beside_the_records_is_examined_too_and_the_row_is_named() {
    let (secret, seat) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let changes = [
        ("UPDATE seat SET email_key = 'eve@x.org'", "seat", seat),
        ("UPDATE seat SET email_key = 'ADA@x.org'", "seat", seat),
        ("UPDATE seat SET codes_per_hour = -1", "seat", seat),
        ("UPDATE idempotency SET key = zeroblob(32)", "idempotency", secret),
        ("UPDATE idempotency SET request = zeroblob(32)", "idempotency", secret),
        ("UPDATE idempotency SET request = x''", "idempotency", secret),
        ("UPDATE idempotency SET secret = zeroblob(16)", "idempotency", Uuid::nil()),
        ("UPDATE idempotency SET created_at = created_at + 1", "idempotency", secret),
        ("UPDATE code_count SET secret = zeroblob(16)", "code_count", Uuid::nil()),
        ("UPDATE code_count SET holder = x'73'", "code_count", secret),
        ("UPDATE code_count SET holder = CAST('kABC' AS BLOB)", "code_count", secret),
        ("UPDATE code_count SET n = 0", "code_count", secret),
        ("UPDATE code_count SET n = -1", "code_count", secret),
    ];
    for (change, table, id) in changes {
        let folder = filled();
        run(&folder, change);

        let world = World::of(folder);
        let found = runtime(Writes::Inline).block_on(world.store().examine()).unwrap();

        assert_eq!(found.len(), 1, "{change}: {found:?}");
        let start = format!("a record of {table} is damaged: {id}: ");
        assert!(found[0].starts_with(&start), "{change}: {found:?}");
        assert!(!found[0].to_lowercase().contains("x.org"), "{change}: {found:?}");
    }
}

#[test]
fn a_deletion_that_was_written_without_the_key_erases_nothing() {
    let folder = filled();
    run(&folder, "UPDATE secret SET deleted_at = 1");

    let world = World::of(folder);
    runtime(Writes::Inline).block_on(async {
        let (account, id) = (world.account(), SecretId::new(Uuid::from_u128(1)));
        let far = NOW.plus(std::time::Duration::from_secs(1_000_000_000));
        let erased = world.store().erase_deleted_before(far, world.entry(Action::SecretErase)).await.unwrap();
        assert_eq!(erased, 0);
        assert!(matches!(world.store().secret(account, id).await, Err(StoreError::Damaged { .. })));

        // Whoever names it can still be rid of it.
        assert!(world.store().erase_secret(account, id, world.entry(Action::SecretErase)).await.unwrap());
        assert_eq!(world.store().examine().await.unwrap(), Vec::<String>::new());
    });
}

#[test]
fn a_damaged_key_stands_beside_the_others_and_can_be_revoked() {
    let folder = filled();
    run(&folder, "UPDATE api_key SET scopes = 'codes:read,secrets:write'");

    let world = World::of(folder);
    world.ids_from(100);
    runtime(Writes::Inline).block_on(async {
        let (account, damaged) = (world.account(), "000000000003".parse().unwrap());
        let sound = world.added_key(None).await;
        let keys = world.store().keys(account).await.unwrap();
        assert_eq!((keys.sound, keys.damaged), (vec![sound.clone()], vec![Some(damaged)]));
        let found = world.store().examine().await.unwrap();
        assert!(found.iter().any(|found| found.contains("of api_key is damaged: 000000000003: ")), "{found:?}");

        let revoke = || world.store().revoke_key(account, damaged, world.entry(Action::KeyRevoke));
        assert!(revoke().await.unwrap());
        assert!(!revoke().await.unwrap());
        let keys = world.store().keys(account).await.unwrap();
        assert_eq!((keys.sound, keys.damaged), (vec![sound], vec![]));
        assert_eq!(world.store().key(damaged).await.unwrap(), None);
        assert_eq!(world.store().examine().await.unwrap(), Vec::<String>::new());
    });
}

#[test]
fn a_damaged_seat_hides_no_other_on_any_page() {
    let world = World::of(Folder::new(Writes::Inline));
    let emails = ["a@x.org", "b@x.org", "c@x.org", "d@x.org", "e@x.org"];
    runtime(Writes::Inline).block_on(async {
        for email in emails {
            world.added_seat(email).await;
        }
        run(&world.folder, "UPDATE seat SET codes_per_hour = 3600 WHERE email IN ('b@x.org', 'c@x.org')");
        let store = world.store();
        let page = async |offset, limit| {
            let listed = store.seats(world.account(), None, Page { offset, limit }).await.unwrap();
            let sound = listed.sound.iter().map(|seat| seat.profile.email.as_str().to_owned()).collect::<Vec<_>>();
            (sound.join(" "), listed.damaged.len())
        };

        assert_eq!(page(0, None).await, ("a@x.org d@x.org e@x.org".to_owned(), 2));
        assert_eq!(page(0, Some(2)).await, ("a@x.org d@x.org".to_owned(), 2));
        assert_eq!(page(2, Some(2)).await, ("e@x.org".to_owned(), 2));
        assert_eq!(page(0, Some(1)).await, ("a@x.org".to_owned(), 0), "nobody looks further than asked");
        assert_eq!(page(0, Some(0)).await, (String::new(), 0));

        // The one that is asked for is refused, and its address stays taken.
        let asked = store.seats(world.account(), Some(Email::parse("b@x.org").unwrap()), Page::ALL).await;
        assert!(matches!(asked, Err(StoreError::Damaged { .. })), "{asked:?}");
        let twin = store.add_seat(world.seat("b@x.org", None), world.entry(Action::SeatAdd)).await;
        assert!(matches!(twin, Err(StoreError::Exists(_))), "{twin:?}");
    });
}

#[test]
fn a_seat_is_removed_although_a_key_of_it_is_damaged() {
    let folder = filled();
    run(&folder, "UPDATE api_key SET revoked_at = NULL");

    let world = World::of(folder);
    runtime(Writes::Inline).block_on(async {
        let seat = SeatId::new(Uuid::from_u128(2));
        assert!(world.store().remove_seat(world.account(), seat, world.entry(Action::SeatRemove)).await.unwrap());
        assert!(matches!(world.store().key("000000000003".parse().unwrap()).await, Err(StoreError::Damaged { .. })));
    });
}

#[test]
fn what_somebody_planted_in_the_schema_is_not_carried_out_and_is_named() {
    let world = World::of(Folder::new(Writes::Inline));
    runtime(Writes::Inline).block_on(async {
        let (secret, key, account) = (world.added_secret().await, world.added_key(None).await, world.account());
        let planted = "CREATE TRIGGER k BEFORE UPDATE OF revoked_at ON api_key BEGIN SELECT RAISE(IGNORE); END;
                       CREATE TRIGGER s BEFORE UPDATE ON secret BEGIN SELECT RAISE(IGNORE); END;
                       CREATE TRIGGER e BEFORE DELETE ON secret BEGIN SELECT RAISE(IGNORE); END;
                       CREATE TRIGGER t AFTER INSERT ON trail BEGIN DELETE FROM trail WHERE seq = new.seq; END;";
        run(&world.folder, planted);

        assert!(world.give(secret.id, 7).await);
        assert_eq!(world.state_of(secret.id).await.steps.given, Some(Step(7)));
        assert!(world.store().revoke_key(account, key.id, world.entry(Action::KeyRevoke)).await.unwrap());
        assert_eq!(world.store().key(key.id).await.unwrap().unwrap().0.revoked_at, Some(NOW));
        assert!(world.store().erase_secret(account, secret.id, world.entry(Action::SecretErase)).await.unwrap());
        assert_eq!(world.store().secret(account, secret.id).await.unwrap(), None);
        assert_eq!(world.verify().await, Ok(6));
        let told = ["k", "s", "e", "t"].map(|name| format!("the schema has what no vault has: trigger \"{name}\""));
        let mut found = world.store().examine().await.unwrap();
        found.sort_by_key(|found| told.iter().position(|told| told == found));
        assert_eq!(found, told);
    });
}

#[test]
fn a_schema_that_is_not_the_vault_s_is_found_out() {
    let changes = [
        ("CREATE VIEW v AS SELECT * FROM api_key", "has what no vault has: view \"v\""),
        ("CREATE TABLE t (x)", "has what no vault has: table \"t\""),
        ("CREATE INDEX \"i\x1b[2J\u{202e}\" ON seat (first_name)", "has what no vault has: index \"i[2J\""),
        ("DROP INDEX seat_by_account", "lacks index \"seat_by_account\""),
        ("ALTER TABLE secret ADD COLUMN g INTEGER", "has another table \"secret\" than a vault"),
    ];
    for (change, told) in changes {
        let folder = filled();
        run(&folder, change);

        let world = World::of(folder);
        let found = runtime(Writes::Inline).block_on(world.store().examine()).unwrap();

        assert_eq!(found, [format!("the schema {told}")], "{change}");
    }
}

#[test]
fn a_view_in_a_table_s_place_is_not_read() {
    let folder = filled();
    run(&folder, "ALTER TABLE api_key RENAME TO kept; CREATE VIEW api_key AS SELECT * FROM kept");

    let world = World::of(folder);
    runtime(Writes::Inline).block_on(async {
        let read = world.store().key("000000000003".parse().unwrap()).await;
        assert!(read.is_err(), "{read:?}");
        let found = world.store().examine().await.unwrap();
        assert!(found.iter().any(|found| found.contains("what no vault has: view \"api_key\"")), "{found:?}");
    });
}

#[test]
fn a_change_that_a_changed_table_swallows_is_no_success() {
    // A column that is made from the others and must not be NULL: a row for which it would be is not written, silently.
    let swallowed = |table: &str, unless: &str| {
        format!(
            "ALTER TABLE {table} ADD COLUMN g INTEGER GENERATED ALWAYS AS (iif({unless}, 1, NULL)) \
             NOT NULL ON CONFLICT IGNORE"
        )
    };
    let tables = [
        ("secret", "deleted_at IS NULL"),
        ("api_key", "revoked_at IS NULL"),
        ("seat", "first_name IS NULL"),
        ("trail", "action <> 'secret.delete' AND action <> 'key.revoke' AND action <> 'seat.update'"),
    ];
    for (table, unless) in tables {
        let world = World::of(Folder::new(Writes::Inline));
        runtime(Writes::Inline).block_on(async {
            let (secret, key, account) = (world.added_secret().await, world.added_key(None).await, world.account());
            let mut seat = world.added_seat("ada@x.org").await;
            run(&world.folder, &swallowed(table, unless));

            let store = world.store();
            let deleted = store.delete_secret(account, secret.id, world.entry(Action::SecretDelete)).await.map(drop);
            let revoked = store.revoke_key(account, key.id, world.entry(Action::KeyRevoke)).await.map(drop);
            seat.profile.first_name = Some(ShownText::parse("Ada").unwrap());
            let changed = store.change_seat(seat, world.entry(Action::SeatUpdate)).await.map(drop);

            for (of, ended) in [("secret", deleted), ("api_key", revoked), ("seat", changed)] {
                let refused = matches!(ended, Err(StoreError::Damaged { .. }));
                assert_eq!(refused, [of, "trail"].contains(&table), "{table}, {of}: {ended:?}");
            }
            world.verify().await.unwrap();
        });
    }
}

#[test]
fn a_changed_header_is_refused() {
    for change in [
        "UPDATE vault SET default_account = zeroblob(16)",
        "UPDATE vault SET created_at = 1",
        "UPDATE key_slot SET kind = 'none'",
        "INSERT INTO key_slot SELECT 1, kind, \"check\", wrapped FROM key_slot",
        "INSERT INTO data_key SELECT 2, \"check\", wrapped FROM data_key",
    ] {
        let folder = filled();
        run(&folder, change);

        let refused = folder.open().err().unwrap();

        assert!(matches!(refused, countersign::store::OpenError::Damaged { .. }), "{change}: {refused}");
    }
}

#[test]
fn a_changed_trail_is_found_out_also_after_later_writes() {
    let changes = [
        "UPDATE trail SET at = at + 1 WHERE seq = 3",
        "UPDATE trail SET outcome = 'wrong' WHERE seq = 3",
        "UPDATE trail SET seat = NULL WHERE seq = 3; UPDATE trail SET purpose = 'to log in' WHERE seq = 2",
        "DELETE FROM trail WHERE seq = 3",
        "DELETE FROM trail WHERE seq = 6",
        "DELETE FROM trail WHERE seq > 2",
        "DELETE FROM trail",
        "DELETE FROM trail WHERE seq <= 2",
        "DELETE FROM trail WHERE seq <= 2; \
         UPDATE trail_end SET seq = 2, mac = (SELECT mac FROM trail WHERE seq = 3) WHERE which = 'base'",
        "UPDATE trail SET seq = 100 WHERE seq = 3; UPDATE trail SET seq = 3 WHERE seq = 4; \
         UPDATE trail SET seq = 4 WHERE seq = 100",
        "INSERT INTO trail SELECT 7, at, account, actor, actor_key, seat, action, outcome, secret, key, step, code_tag, \
         purpose, count, client_name, client_version, mac FROM trail WHERE seq = 6",
        "DELETE FROM trail WHERE seq > 2; \
         UPDATE trail_end SET seq = 2, mac = (SELECT mac FROM trail WHERE seq = 2) WHERE which = 'head'",
        "DELETE FROM trail_end WHERE which = 'head'",
    ];
    for change in changes {
        let folder = filled();
        run(&folder, change);

        let opened = folder.open().unwrap();
        runtime(Writes::Inline).block_on(async {
            assert!(verify(&opened.store, &opened.keyring).await.is_err(), "{change}");
            assert!(!opened.store.examine().await.unwrap().is_empty(), "{change}");

            let world = World::around(folder, opened);
            for _ in 0..8 {
                world.store().record(vec![world.entry(Action::Call)]).await.unwrap();
            }

            assert!(world.verify().await.is_err(), "later writes cover up: {change}");
            let pruned = world.store().prune_trail(NOW.plus(std::time::Duration::MAX), world.entry(Action::TrailPrune));
            assert!(matches!(pruned.await, Err(StoreError::Damaged { .. })), "pruning covers up: {change}");
            assert!(world.verify().await.is_err(), "{change}");
        });
    }
}

#[test]
fn a_head_that_names_a_cut_row_stays_as_evidence() {
    let folder = filled();
    run(&folder, "DELETE FROM trail WHERE seq > 4");
    let opened = folder.open().unwrap();
    runtime(Writes::Inline).block_on(async {
        let (_, before) = opened.store.trail_ends().await.unwrap();
        let world = World::around(folder, opened);
        world.store().record(vec![world.entry(Action::Call); 10]).await.unwrap();

        let (base, after) = world.store().trail_ends().await.unwrap();

        assert_eq!(base, ChainHead { seq: 0, mac: [0; 32] });
        assert_eq!(after, before);
    });
}

#[test]
fn a_flipped_bit_never_makes_a_wrong_record() {
    let folder = filled();
    let expected = Expected::of(&folder);
    let whole = fs::read(folder.vault()).unwrap();
    let bits = whole.len() * 8;
    // A stride that shares no factor with the page size visits every place in a page sooner or later.
    let mut refused = 0;
    for flip in 0..400 {
        let bit = (flip * 8_191 * 37 + 11) % bits;
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(folder.vault(), bytes).unwrap();
        refused += u32::from(expected.check(&folder, bit));
    }
    assert!(refused > 0, "at least one flip must have hit something");
}

/// What a vault must give back, or nothing.
struct Expected {
    secret: SealedSecret,
    seats: Vec<countersign::domain::seat::Seat>,
    keys: Vec<countersign::domain::api_key::ApiKey>,
}

impl Expected {
    fn of(folder: &Folder) -> Self {
        let opened = folder.open().unwrap();
        runtime(Writes::Inline).block_on(async {
            let account = opened.status.default_account;
            let list = opened.store.secrets(account, Life::Live).await.unwrap();
            let secret = opened.store.secret(account, list[0].id).await.unwrap().unwrap();
            let seats = opened.store.seats(account, None, Page::ALL).await.unwrap().sound;
            let keys = opened.store.keys(account).await.unwrap().sound;
            opened.store.close().await.unwrap();
            Self { secret, seats, keys }
        })
    }

    /// Whether anything was refused; panics if something wrong was accepted.
    fn check(&self, folder: &Folder, bit: usize) -> bool {
        let Ok(opened) = open(&folder.request()) else { return true };
        let account = opened.status.default_account;
        let refused = runtime(Writes::Inline).block_on(async {
            let secret = opened.store.secret(account, self.secret.id).await;
            let opens = secret.is_ok_and(|found| found.is_some_and(|found| self.opens(&opened, &found, bit)));
            let seats = opened.store.seats(account, None, Page::ALL).await.map(|seats| seats.sound);
            assert!(
                seats.as_ref().map_or(true, |seats| seats.iter().all(|seat| self.seats.contains(seat))),
                "bit {bit}"
            );
            let keys = opened.store.keys(account).await.map(|keys| keys.sound);
            let same = |key: &countersign::domain::api_key::ApiKey| {
                // When it was last used authorises nothing and is kept as it is.
                let kept = countersign::domain::api_key::ApiKey { last_used_at: None, ..key.clone() };
                self.keys.contains(&kept)
            };
            assert!(keys.as_ref().map_or(true, |keys| keys.iter().all(same)), "bit {bit}");
            let verified = verify(&opened.store, &opened.keyring).await;
            !opens
                || seats.map_or(true, |seats| seats.len() != self.seats.len())
                || keys.map_or(true, |keys| keys.len() != self.keys.len())
                || verified.is_err()
        });
        drop(opened);
        for ending in ["-wal", "-shm"] {
            let _ = fs::remove_file(folder.data().join(format!("vault.db{ending}")));
        }
        refused
    }

    fn opens(&self, opened: &Opened, found: &SealedSecret, bit: usize) -> bool {
        let place = place_of(found);
        let Ok(seed) = opened.keyring.open_seed(&found.seed, &place) else { return false };
        assert_eq!(seed.expose(), SEED, "bit {bit}");
        let blobs = |secret: &SealedSecret| SealedSecret { metadata: Vec::new(), ..secret.clone() };
        assert_eq!(blobs(found), blobs(&self.secret), "bit {bit}");
        true
    }
}

const SEED: &[u8] = b"12345678901234567890";

const fn place_of(secret: &SealedSecret) -> Place {
    Place { account: secret.account, secret: secret.id, version: secret.version, created_at: secret.created_at }
}

/// A closed vault with one of each, the secret sealed for real and registered by a request that may be repeated, a code of
/// it counted for the seat, the key revoked, and six rows on the trail.
fn filled() -> Folder {
    let world = World::of(Folder::new(Writes::Inline));
    runtime(Writes::Inline).block_on(async {
        let mut secret = world.secret();
        let seed = Seed::from_bytes(Zeroizing::new(SEED.to_vec())).unwrap();
        secret.seed = world.opened.keyring.seal_seed(&seed, &place_of(&secret), &SystemRandom).unwrap();
        let entry = world.entry_on(Action::SecretRegister, secret.id);
        let repeat = Idempotency { key: [1; 32], request: [2; 32], since: NOW };
        world.store().add_secret(secret.clone(), Some(repeat), entry).await.unwrap();
        world.give(secret.id, 1).await;
        let seat = world.seat("ada@x.org", Some("1"));
        world.store().add_seat(seat.clone(), world.entry(Action::SeatAdd)).await.unwrap();
        let count = |_| Verdict { state: None, entry: None, counted: true, repeats_until: None };
        world.use_for(secret.id, vec![Holder::Seat(seat.id)], NOW, count).await;
        let key = world.added_key(Some(seat.id)).await;
        let entry = world.entry(Action::KeyRevoke);
        world.store().revoke_key(world.account(), key.id, entry).await.unwrap();
        world.store().close().await.unwrap();
    });
    world.folder
}

/// Changes the database as any program could.
fn run(folder: &Folder, sql: &str) {
    let conn = Connection::open(folder.vault()).unwrap();
    conn.execute_batch(sql).unwrap();
}
