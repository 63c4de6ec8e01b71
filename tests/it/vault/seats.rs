//! A key does not outlive its seat.

use countersign::{
    domain::{
        audit::Action,
        scope::ScopeSet,
        seat::{Seat, SeatName},
    },
    operations::{AddSeat, CreateKey, ErrorCode, ListSecrets, Offered, SeatChanges},
    vault::Outcome,
};

use super::kit::{NOW, World};
use crate::kit::Vault;

async fn with_seat(world: &World, email: &str) -> Seat {
    let seat = world.new_seat(email, None);
    let draft = world.vault.draft(world.entry(Action::SeatAdd)).add(&seat);
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    seat
}

async fn remove(world: &World, seat: &Seat) -> Outcome {
    let kept = world.vault.seat(world.account(), &SeatName::Id(seat.id)).await.unwrap().unwrap();
    world.vault.remove_seat(&kept, world.entry(Action::SeatRemove)).await.unwrap()
}

#[tokio::test]
async fn a_key_that_is_made_while_its_seat_is_removed_is_revoked_or_not_made() {
    let world = World::new().await;
    for round in 0..10 {
        let seat = with_seat(&world, &format!("ada{round}@example.com")).await;
        let create = async {
            let mut made = Vec::new();
            for nth in 0..2000 {
                let key = world.new_key(&format!("{round:04}{nth:08}"), Some(seat.id));
                if world.vault.draft(world.entry(Action::KeyCreate)).add_key(&key).commit().await.unwrap()
                    != Outcome::Done
                {
                    break;
                }
                made.push(key.key.id);
            }
            made
        };
        let (removed, made) = tokio::join!(remove(&world, &seat), create);
        assert_eq!(removed, Outcome::Done);
        for id in made {
            assert!(world.vault.key(id).await.unwrap().unwrap().key.revoked_at.is_some(), "round {round}: {id}");
        }
    }
    world.check_sound().await;
}

#[tokio::test]
async fn removing_a_seat_revokes_its_keys_whatever_is_written_beside_them() {
    let world = World::new().await;
    let seat = with_seat(&world, "ada@example.com").await;
    let key = world.new_key("0123456789AB", Some(seat.id));
    let draft = world.vault.draft(world.entry(Action::KeyCreate)).add_key(&key);
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    world.folder.edit("DELETE FROM record_word WHERE kind = 8");
    assert_eq!(remove(&world, &seat).await, Outcome::Done);
    assert!(world.vault.key(key.key.id).await.unwrap().unwrap().key.revoked_at.is_some());
}

#[tokio::test]
async fn a_key_that_lives_without_its_seat_is_told_by_the_doctor() {
    let world = World::new().await;
    let seat = with_seat(&world, "ada@example.com").await;
    let key = world.new_key("0123456789AB", Some(seat.id));
    let draft = world.vault.draft(world.entry(Action::KeyCreate)).add_key(&key);
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    world.check_sound().await;
    world.folder.edit("DELETE FROM record_name WHERE kind = 7");
    world.folder.edit("DELETE FROM record_count WHERE kind = 7");
    assert_eq!(world.folder.edit("DELETE FROM record WHERE kind = 7"), 1);
    let problems = world.vault.examine().await.unwrap().problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("0123456789AB") && problems[0].contains("a seat that is not there"), "{problems:?}");
    let kept = world.vault.key(key.key.id).await.unwrap().unwrap();
    let draft = world.vault.draft(world.entry(Action::KeyRevoke)).revoke_key(&kept, NOW);
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    world.check_sound().await;
}

#[tokio::test]
async fn a_key_whose_seat_is_not_there_calls_nothing() {
    let vault = Vault::new();
    let profile = SeatChanges { email: Some("ada@example.com".to_owned()), ..SeatChanges::default() };
    let seat = vault.service.perform(&vault.person, AddSeat { profile }).await.unwrap();
    let key = CreateKey {
        name: "agent".to_owned(),
        scopes: ScopeSet::of_a_new_key(),
        seat: Some(seat.id.to_string()),
        secrets: None,
        codes_per_hour: None,
        expires_at: None,
    };
    let minted = vault.service.perform(&vault.person, key).await.unwrap();
    let caller = vault.service.authenticate(Offered::Key(minted.plain)).await.unwrap();
    vault.service.perform(&caller, ListSecrets::default()).await.unwrap();
    // The state after a removal that was killed between its two commits.
    let conn = rusqlite::Connection::open(vault.dir.path().join("data/vault.db")).unwrap();
    assert_eq!(conn.execute("DELETE FROM record WHERE kind = 7", []).unwrap(), 1);
    let refusal = vault.service.perform(&caller, ListSecrets::default()).await.unwrap_err();
    assert_eq!(refusal.code(), ErrorCode::PermissionDenied);
    // The rights of a call that waits, or of a connection that stays open, are read again.
    vault.clock.set_seconds(1_795_305_660);
    assert!(vault.service.perform(&caller, ListSecrets::default()).await.is_err());
}
