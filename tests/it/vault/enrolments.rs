//! What an enrolment's page needs from the vault's key: derived values, and the hashes of PINs.

use std::collections::BTreeSet;

use countersign::{
    domain::{
        ids::{EnrolmentId, SeatId},
        seat_pin::{PinCost, SeatPin},
        verification::VerifyMarks,
    },
    vault::{Derived, PinMemory},
};
use uuid::Uuid;

use super::kit::{NOW, World};

#[tokio::test]
async fn what_is_derived_from_an_enrolment_differs_by_its_use_and_by_the_vault() {
    let (world, other) = (World::new().await, World::new().await);
    let ids = [1, 2].map(|nth| EnrolmentId::new(Uuid::from_u128(nth)));
    let uses = [
        Derived::Token,
        Derived::Words,
        Derived::Phrase,
        Derived::Ticket,
        Derived::SignInState,
        Derived::SignInNonce,
        Derived::RequestState,
        Derived::SignInVerifier,
    ];
    let mut all = BTreeSet::new();
    for vault in [&world.vault, &other.vault] {
        for (what, id) in uses.into_iter().flat_map(|what| ids.map(|id| (what, id))) {
            assert!(all.insert(vault.derived(what, id)));
            assert!([[1; 16], [2; 16]].iter().all(|of| all.insert(vault.derived_for(what, id, of))));
        }
    }
}

#[tokio::test]
async fn a_pin_is_the_seats_and_no_other_is() {
    let world = World::new().await;
    let mut memory = PinMemory::default();
    let (seat, cost, salt) = (SeatId::new(world.uuid()), PinCost::new(64, 1).unwrap(), [7; 16]);
    let hash = world.vault.pin_hash(&mut memory, seat, "492039", (&salt, cost)).unwrap();
    let tries = VerifyMarks::default();
    let kept = SeatPin { seat, account: world.account(), cost, salt, hash, tries, set_at: NOW };
    let another = SeatPin { seat: SeatId::new(world.uuid()), ..kept.clone() };
    assert_eq!(world.vault.is_pin(&mut memory, &kept, "492039"), Some(true));
    assert_eq!(world.vault.is_pin(&mut memory, &kept, "492038"), Some(false));
    assert_eq!(world.vault.is_pin(&mut memory, &another, "492039"), Some(false));
}
