//! A vault that an earlier version left behind, with one of everything in it. It is never written again: only new formats
//! get new ones.

use countersign::{
    domain::{
        audit::Action,
        ids::SecretId,
        seat::SeatName,
        seed::Seed,
        text::{AuthSubject, Name},
    },
    keyring::Place,
    store::{Life, Opened},
};
use uuid::Uuid;
use zeroize::Zeroizing;

/// Rows of its trail.
pub(crate) const ROWS: u64 = 10;
const SEED: &[u8] = b"12345678901234567890";

/// Whether all that was put into the fixture reads as it was.
pub(crate) async fn check_whole(opened: &Opened) {
    let (store, account) = (&opened.store, opened.status.default_account);

    let live = store.secrets(account, Life::Live).await.unwrap();
    assert_eq!(live.len(), 1);
    let secret = store.secret(account, live[0].id).await.unwrap().unwrap();
    let place = Place { account, secret: secret.id, version: secret.version, created_at: secret.created_at };
    assert_eq!(opened.keyring.open_seed(&secret.seed, &place).unwrap().expose(), SEED);
    assert_eq!(store.secrets(account, Life::Deleted).await.unwrap().len(), 1);

    let subject = SeatName::Subject(AuthSubject::parse("google|1").unwrap());
    let seat = store.seat(account, subject).await.unwrap().unwrap();
    let keys = store.keys(account).await.unwrap().sound;
    assert_eq!(keys[0].rights.seat, Some(seat.id));
    assert_eq!(keys[0].revoked_at, None);
    assert!(keys[1].revoked_at.is_some());
    assert!(store.account(Name::parse("acme").unwrap()).await.unwrap().is_some());
}

/// Makes the fixture: `cargo test -- --ignored write_the_fixture`, once for each new format.
#[test]
#[ignore = "it writes the files that another test reads"]
fn write_the_fixture() {
    use crate::store_kit::{Folder, NOW, World, runtime};
    use countersign::{random::SystemRandom, store::Writes};

    let world = World::of(Folder::new(Writes::Inline));
    runtime(Writes::Inline).block_on(async {
        let id = SecretId::new(Uuid::from_u128(1 << 64));
        let place = Place { account: world.account(), secret: id, version: 1, created_at: NOW };
        let seed = Seed::from_bytes(Zeroizing::new(SEED.to_vec())).unwrap();
        let seed = world.opened.keyring.seal_seed(&seed, &place, &SystemRandom).unwrap();
        let secret = countersign::store::SealedSecret { id, seed, ..world.secret() };
        world.store().add_secret(secret, None, world.entry_on(Action::SecretRegister, id)).await.unwrap();
        world.give(id, 42).await;
        let deleted = world.added_secret().await.id;
        let entry = world.entry_on(Action::SecretDelete, deleted);
        world.store().delete_secret(world.account(), deleted, entry).await.unwrap();
        let seat = world.seat("ada@example.com", Some("google|1"));
        world.store().add_seat(seat.clone(), world.entry(Action::SeatAdd)).await.unwrap();
        world.added_key(Some(seat.id)).await;
        let revoked = world.added_key(None).await;
        let entry = world.entry(Action::KeyRevoke);
        world.store().revoke_key(world.account(), revoked.id, entry).await.unwrap();
        world.store().add_account(world.account_named("acme"), world.entry(Action::AccountAdd)).await.unwrap();
        world.store().close().await.unwrap();
    });

    let to = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    std::fs::create_dir_all(&to).unwrap();
    std::fs::copy(world.folder.vault(), to.join("vault-v1.db")).unwrap();
    std::fs::copy(&world.opened.status.key_file, to.join("vault-v1.key")).unwrap();
}
