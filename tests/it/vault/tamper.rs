//! Records that an attacker without the key has changed, swapped or removed.

use countersign::{
    domain::{
        account::Account,
        audit::Action,
        ids::{AccountId, SecretId},
        seed::Seed,
        text::{Email, Name},
    },
    vault::{Life, NewSecret, Outcome, Page, StoreError},
};

use super::kit::{NOW, SEED, World, metadata};

/// A vault with a record of every kind that operations make.
async fn furnished() -> World {
    let world = World::new().await;
    let id = world.secret("Acme", "ada").await;
    world.secret("Acme", "grace").await;
    let seat = world.new_seat("ada@example.com", Some("google|1"));
    let (key, other) = (world.new_key("0123456789AB", Some(seat.id)), world.new_key("0123456789AC", None));
    let draft = world.vault.draft(world.entry(Action::SeatAdd)).add(&seat);
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    let draft = world.vault.draft(world.entry(Action::KeyCreate)).add_key(&key).add_key(&other);
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    world.vault.touch_key(key.key.id, world.account(), NOW).await.unwrap();
    let in_use = world.vault.in_use(world.account(), id, &[], NOW).await.unwrap().unwrap();
    let mut state = in_use.state.clone();
    state.last_used_at = Some(NOW);
    let draft = world.vault.draft(world.entry(Action::CodeGet)).used(&in_use, Some(&state));
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    world.check_sound().await;
    world
}

async fn problems(world: &World) -> usize {
    world.vault.examine().await.unwrap().problems.len()
}

#[tokio::test]
async fn every_changed_column_of_every_record_is_found() {
    let world = furnished().await;
    let kinds = {
        let conn = rusqlite::Connection::open(world.folder.file()).unwrap();
        let mut kinds = conn.prepare("SELECT min(n), kind FROM record WHERE kind <> 11 GROUP BY kind").unwrap();
        let rows = kinds.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))).unwrap();
        rows.collect::<Result<Vec<_>, _>>().unwrap()
    };
    assert!(kinds.len() >= 8, "{kinds:?}");
    for (n, kind) in kinds {
        for (column, value) in [
            ("version", "version + 1"),
            ("account", "X'99999999999999999999999999999999'"),
            ("account", "X''"),
            ("sort", "sort + 1"),
            ("life", "1 - life"),
            ("body", "CAST(body || ' ' AS BLOB)"),
            ("mac", "zeroblob(32)"),
            ("id", "CAST(id || 'x' AS BLOB)"),
        ] {
            world.folder.edit(&format!("CREATE TABLE kept AS SELECT * FROM record WHERE n = {n}"));
            let changed = world
                .folder
                .edit(&format!("UPDATE record SET {column} = {value} WHERE n = {n} AND {column} <> {value}"));
            if changed > 0 {
                assert!(problems(&world).await > 0, "kind {kind}: {column} = {value}");
            }
            world.folder.edit(&format!(
                "UPDATE record SET (id, version, account, sort, life, body, mac) = \
                 (SELECT id, version, account, sort, life, body, mac FROM kept) WHERE n = {n}"
            ));
            world.folder.edit("DROP TABLE kept");
        }
    }
    assert_eq!(problems(&world).await, 0, "it is as it was");
}

#[tokio::test]
async fn swapped_bodies_and_blobs_do_not_open() {
    for columns in ["body", "body, mac", "body, mac, version, sort, life"] {
        let world = furnished().await;
        for kind in [3, 4, 5] {
            let pair = format!("FROM record WHERE kind = {kind} ORDER BY n");
            world.folder.edit(&format!(
                "UPDATE record SET ({columns}) = (SELECT {columns} {pair} LIMIT 1 OFFSET 1) \
                 WHERE n = (SELECT n {pair} LIMIT 1)"
            ));
        }
        let listed = world.vault.secrets(world.account(), Life::Live, Page::ALL).await.unwrap();
        assert_eq!((listed.sound.len(), listed.damaged.len()), (1, 1), "{columns}");
        let id = SecretId::from_slice(&listed.damaged[0].0.id).unwrap();
        let refused = world.vault.in_use(world.account(), id, &[], NOW).await.map(|_| ()).unwrap_err();
        assert!(matches!(refused, StoreError::Damaged { .. }), "{refused}");
        let erase = world.vault.draft(world.entry(Action::SecretErase)).erase_secret(id);
        assert_eq!(erase.commit().await.unwrap(), Outcome::Done, "one can be rid of it");
        assert_eq!(problems(&world).await, 0);
    }
}

#[tokio::test]
async fn without_its_state_of_use_a_secret_gives_no_code() {
    for kind in [4, 5] {
        let world = furnished().await;
        let listed = world.vault.secrets(world.account(), Life::Live, Page::ALL).await.unwrap();
        world.folder.edit(&format!("DELETE FROM record WHERE n = (SELECT min(n) FROM record WHERE kind = {kind})"));
        let refused = world.vault.in_use(world.account(), listed.sound[0].id, &[], NOW).await.map(|_| ()).unwrap_err();
        assert!(refused.to_string().contains("it is missing"), "{refused}");
        let problems = world.vault.examine().await.unwrap().problems;
        assert!(problems.iter().any(|problem| problem.contains("it is missing")), "{problems:?}");
    }
}

#[tokio::test]
async fn damage_to_a_deleted_secret_is_found() {
    for kind in [3, 4, 5] {
        let world = furnished().await;
        let id = world.secret("Acme", "deleted").await;
        let kept = world.vault.secret(world.account(), id).await.unwrap().unwrap();
        let draft = world.vault.draft(world.entry(Action::SecretDelete)).set_deleted(&kept, Some(NOW));
        assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
        let examined = world.vault.examine().await.unwrap();
        assert_eq!((examined.problems.len(), examined.secrets), (0, 3));
        let id = id.uuid().simple();
        let change = format!("UPDATE record SET body = zeroblob(50) WHERE kind = {kind} AND id = X'{id}'");
        assert_eq!(world.folder.edit(&change), 1);
        assert_eq!(problems(&world).await, 1, "kind {kind}");
    }
}

#[tokio::test]
async fn what_finds_a_record_leads_to_no_other_and_its_loss_is_found() {
    let world = furnished().await;
    let email = Email::parse("ada@example.com").unwrap();
    let other = world.new_seat("b@example.com", None);
    let draft = world.vault.draft(world.entry(Action::SeatAdd)).add(&other);
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    assert_eq!(problems(&world).await, 0);
    // The first seat's name leads to the second one.
    let id = other.id.uuid().simple();
    let changed = world.folder.edit(&format!("UPDATE record_name SET id = X'{id}' WHERE kind = 7 AND id <> X'{id}'"));
    assert_eq!(changed, 2);
    let refused = world.vault.seat_by_email(world.account(), &email).await.map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("found by another's name"), "{refused}");
    assert!(problems(&world).await > 0);

    let world = furnished().await;
    assert!(world.folder.edit("DELETE FROM record_word WHERE kind = 3") > 0);
    assert_eq!(problems(&world).await, 2);
    let found = world.vault.find_secrets(world.account(), Life::Live, "ada").await.unwrap();
    assert_eq!(found.len(), 1, "it is found all the same");
}

#[tokio::test]
async fn damaged_keys_let_nobody_in_hide_no_others_and_can_be_removed() {
    let world = furnished().await;
    let (vault, account) = (&world.vault, world.account());
    world.folder.edit(
        "UPDATE record SET body = CAST(replace(CAST(body AS TEXT), 'codes:read', 'audit:read') AS BLOB) \
         WHERE kind = 8 AND id = CAST('0123456789AB' AS BLOB)",
    );
    let refused = vault.key("0123456789AB".parse().unwrap()).await.map(|_| ()).unwrap_err();
    assert_eq!(refused.to_string(), "the vault is damaged: key 0123456789AB: it was changed without the vault's key");
    let listed = vault.keys(account).await.unwrap();
    assert_eq!((listed.sound.len(), listed.damaged.len()), (1, 1));
    let draft = vault.draft(world.entry(Action::KeyRevoke)).remove_damaged(&listed.damaged[0].0);
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    assert!(vault.key("0123456789AB".parse().unwrap()).await.unwrap().is_none());
    assert_eq!(problems(&world).await, 0);
}

#[tokio::test]
async fn a_row_that_is_hidden_from_filters_is_found() {
    for change in [
        "UPDATE audit SET action = 'hidden' WHERE place = 2",
        "UPDATE audit SET account = NULL WHERE place = 2",
        "UPDATE audit SET secret = NULL WHERE place = 2",
        "UPDATE audit SET secret = (SELECT secret FROM audit WHERE place = 2) WHERE place = 3",
    ] {
        let world = furnished().await;
        assert_eq!(world.folder.edit(change), 1);
        assert_eq!(world.vault.verify(&[]).await.unwrap().finding, None);
        let problems = world.vault.examine().await.unwrap().problems;
        assert_eq!(problems.len(), 1, "{change}: {problems:?}");
    }
}

#[tokio::test]
async fn thousands_of_secrets_of_one_moment_are_sound() {
    let world = World::new().await;
    let (metadata, seed) = (metadata("Acme", "ada"), Seed::from_base32(SEED).unwrap());
    let mut draft = world.vault.draft(world.entry(Action::SecretRegister));
    for _ in 0..1_100 {
        let (id, account) = (SecretId::new(world.uuid()), world.account());
        draft = draft.add_secret(&NewSecret { id, account, created_at: NOW, metadata: &metadata, seed: &seed });
    }
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    world.check_sound().await;
}

#[tokio::test]
async fn a_secret_that_is_found_by_anothers_seed_does_not_make_the_same_codes() {
    let world = World::new().await;
    let (vault, account) = (&world.vault, world.account());
    let data = metadata("Acme", "ada");
    let id = world.secret_with(&data).await;
    let other = world.secret_with(&metadata("Globex", "grace")).await;
    let (seed, new) = (Seed::from_base32(SEED).unwrap(), Seed::from_base32("JBSWY3DPEHPK3PXP").unwrap());
    let kept = vault.secret(account, other).await.unwrap().unwrap();
    let in_use = vault.in_use(account, other, &[], NOW).await.unwrap().unwrap();
    let draft =
        vault.draft(world.entry(Action::SecretUpdate)).change_secret(&kept, &kept.metadata, Some((&in_use, &new)));
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    let uuid = |id: SecretId| id.uuid().simple().to_string();
    let copied = world.folder.edit(&format!(
        "INSERT OR IGNORE INTO record_word (kind, account, word, id) \
         SELECT kind, account, word, X'{}' FROM record_word WHERE id = X'{}'",
        uuid(other),
        uuid(id)
    ));
    assert!(copied > 0);
    let same: Vec<_> = vault.same_seed(account, &seed, &data).await.unwrap().iter().map(|secret| secret.id).collect();
    assert_eq!(same, [id]);
}

/// Adds another account with a seat of this address.
async fn with_another_account(world: &World, email: &str) -> (AccountId, uuid::Uuid) {
    let account = Account { id: AccountId::new(world.uuid()), name: Name::parse("other").unwrap(), created_at: NOW };
    let mut seat = world.new_seat(email, None);
    seat.account = account.id;
    let draft = world.vault.draft(world.entry(Action::AccountAdd)).add(&account);
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    let draft = world.vault.draft(world.entry(Action::SeatAdd)).add(&seat);
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    (account.id, seat.id.uuid())
}

#[tokio::test]
async fn what_belongs_to_a_secret_or_an_account_that_is_gone_is_found() {
    let world = furnished().await;
    let (account, _) = with_another_account(&world, "b@example.com").await;
    assert_eq!(problems(&world).await, 0);
    let count = async |what: &str| {
        let problems = world.vault.examine().await.unwrap().problems;
        problems.iter().filter(|problem| problem.contains(what)).count()
    };
    let lost = format!("DELETE FROM record WHERE kind = 2 AND id = X'{}'", account.uuid().simple());
    assert_eq!(world.folder.edit(&lost), 1);
    assert_eq!(count("it belongs to an account that is not there").await, 1, "the seat");
    assert_eq!(world.folder.edit("DELETE FROM record WHERE n = (SELECT min(n) FROM record WHERE kind = 3)"), 1);
    assert_eq!(count("it belongs to a secret that is not there").await, 2, "its seed and its use");
}

#[tokio::test]
async fn a_name_leads_to_no_seat_of_another_account() {
    let world = furnished().await;
    let (_, seat) = with_another_account(&world, "ada@example.com").await;
    let (id, own) = (seat.simple(), world.account().uuid().simple());
    let led = format!("UPDATE record_name SET id = X'{id}' WHERE kind = 7 AND account = X'{own}'");
    assert_eq!(world.folder.edit(&led), 2);
    let email = Email::parse("ada@example.com").unwrap();
    let refused = world.vault.seat_by_email(world.account(), &email).await.map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("found by another's name"), "{refused}");
}
