//! Sessions of handshake clients as records: the rules that hold over nodes, whatever the store.

use std::time::Duration;

use countersign::{
    domain::{
        api_key::PlainKey,
        ids::SeatId,
        principal::Principal,
        scope::{Scope, ScopeSet},
        session::SessionOwner,
        time::Timestamp,
    },
    operations::{AddSeat, CreateKey, ErrorCode, Offered, Refusal, RevokeKey, SeatChanges, Service, SessionLimits},
};
use uuid::Uuid;

use crate::kit::Vault;

const START: i64 = 1_795_305_600;
const LIMITS: SessionLimits =
    SessionLimits { all: 5, each: 3, idle: Duration::from_mins(5), noted_every: Duration::from_mins(1) };

fn owner(vault: &Vault, seat: u128) -> SessionOwner {
    let caller = Principal::stdio(vault.account, ScopeSet::ALL, Some(SeatId::new(Uuid::from_u128(seat))));
    SessionOwner { account: caller.account(), actor: caller.actor(), seat: caller.seat() }
}

async fn keep(service: &Service, id: &str, owner: &SessionOwner) -> Result<(), Refusal> {
    service.keep_session(id, owner, id.as_bytes(), &LIMITS).await
}

async fn is_there(service: &Service, id: &str, owner: &SessionOwner) -> bool {
    let greeting = service.session(id, owner, &LIMITS).await.unwrap();
    greeting.inspect(|greeting| assert_eq!(greeting.as_slice(), id.as_bytes())).is_some()
}

fn is_refused(result: Result<(), Refusal>) -> bool {
    result.is_err_and(|refusal| refusal.code() == ErrorCode::RateLimited)
}

#[tokio::test]
async fn a_session_exists_for_its_owner_alone_until_it_is_ended() {
    let vault = Vault::new();
    let (service, [ada, bob]) = (&vault.service, [1, 2].map(|seat| owner(&vault, seat)));
    keep(service, "a", &ada).await.unwrap();

    assert!(is_there(service, "a", &ada).await);
    assert!(!is_there(service, "a", &bob).await && !is_there(service, "b", &ada).await);

    service.end_session("a").await.unwrap();
    service.end_session("a").await.unwrap();
    assert!(!is_there(service, "a", &ada).await);
}

#[tokio::test]
async fn sessions_are_counted_for_each_owner_and_in_all() {
    let vault = Vault::new();
    let (service, [ada, bob]) = (&vault.service, [1, 2].map(|seat| owner(&vault, seat)));
    for id in ["a1", "a2", "a3"] {
        service.make_room(&ada, &LIMITS).await.unwrap();
        keep(service, id, &ada).await.unwrap();
    }
    assert!(is_refused(service.make_room(&ada, &LIMITS).await));
    assert!(is_refused(keep(service, "a4", &ada).await) && !is_there(service, "a4", &ada).await);
    for id in ["b1", "b2"] {
        keep(service, id, &bob).await.unwrap();
    }
    assert!(is_refused(service.make_room(&bob, &LIMITS).await) && is_refused(keep(service, "b3", &bob).await));

    // A stream is a connection of its node, and is counted there.
    service.keep_stream("s", &ada, [1; 8]).await.unwrap();
    service.end_session("a1").await.unwrap();
    keep(service, "a4", &ada).await.unwrap();

    service.end_sessions_of(&ada).await.unwrap();
    assert!(!is_there(service, "a4", &ada).await && is_there(service, "b1", &bob).await);
}

#[tokio::test]
async fn the_longest_idle_session_of_an_owner_makes_room_and_one_in_use_does_not() {
    let vault = Vault::new();
    let (service, ada) = (&vault.service, owner(&vault, 1));
    for (id, at) in [("a1", 0), ("a2", 1), ("a3", 2)] {
        vault.clock.set_seconds(START + at);
        keep(service, id, &ada).await.unwrap();
    }
    vault.clock.set_seconds(START + 65);
    assert!(is_refused(service.make_room(&ada, &LIMITS).await), "its use may be a minute ahead of its record");
    let used = vec![("a1".to_owned(), Timestamp::from_seconds(START + 65))];
    assert_eq!(service.note_sessions(used, &LIMITS).await.unwrap(), Vec::<String>::new());

    vault.clock.set_seconds(START + 72);
    service.make_room(&ada, &LIMITS).await.unwrap();

    let mut there = Vec::new();
    for id in ["a1", "a2", "a3"] {
        there.push(is_there(service, id, &ada).await);
    }
    assert_eq!(there, [true, false, true]);
}

#[tokio::test]
async fn an_idle_session_ends_and_a_node_learns_which_have_ended() {
    let vault = Vault::new();
    let (service, ada) = (&vault.service, owner(&vault, 1));
    vault.clock.set_seconds(START);
    keep(service, "a1", &ada).await.unwrap();
    keep(service, "a2", &ada).await.unwrap();
    let used = |at| ["a1"].map(|id| (id.to_owned(), Timestamp::from_seconds(START + at))).to_vec();
    service.note_sessions(used(59), &LIMITS).await.unwrap();
    service.note_sessions(used(60), &LIMITS).await.unwrap();

    // Five minutes, and one more, by which a record may be out of date.
    vault.clock.set_seconds(START + 360);
    assert!(is_there(service, "a1", &ada).await && is_there(service, "a2", &ada).await);
    vault.clock.set_seconds(START + 361);
    assert!(is_there(service, "a1", &ada).await && !is_there(service, "a2", &ada).await);
    service.end_idle_sessions(&LIMITS).await.unwrap();

    let all = ["a1", "a2"].map(|id| (id.to_owned(), Timestamp::from_seconds(START + 60))).to_vec();
    assert_eq!(service.note_sessions(all, &LIMITS).await.unwrap(), ["a2"]);
    vault.clock.set_seconds(START + 420);
    assert!(is_there(service, "a1", &ada).await, "its use at 60 s was noted, and that at 59 s was not");
}

/// The holder of a key, and a person who has logged in.
async fn callers(vault: &Vault) -> [Principal; 2] {
    let request = CreateKey {
        name: "agent".to_owned(),
        scopes: ScopeSet::ALL,
        seat: None,
        secrets: None,
        codes_per_hour: None,
        expires_at: None,
    };
    let minted = vault.service.perform(&vault.person, request).await.unwrap();
    let key = PlainKey::from_token(&minted.plain.expose_token()).unwrap();
    let (email, auth_subject) = (Some("ada@example.com".to_owned()), Some("idp|ada".to_owned()));
    let profile = SeatChanges { email, auth_subject, ..SeatChanges::default() };
    vault.service.perform(&vault.person, AddSeat { profile }).await.unwrap();
    let login = Offered::Login {
        account: vault.account,
        subject: "idp|ada".to_owned(),
        scopes: ScopeSet::default().with(Scope::CodesRead),
        expires_at: Timestamp::from_seconds(START + 60),
    };
    [vault.service.authenticate(Offered::Key(key)).await.unwrap(), vault.service.authenticate(login).await.unwrap()]
}

fn owner_of(caller: &Principal) -> SessionOwner {
    SessionOwner { account: caller.account(), actor: caller.actor(), seat: caller.seat() }
}

#[tokio::test]
async fn a_letter_names_its_sender_whose_rights_are_those_at_its_arrival() {
    let vault = Vault::new();
    let (service, callers) = (&vault.service, callers(&vault).await);
    let (here, there) = ([1; 8], [2; 8]);
    for (id, caller) in ["k", "l"].iter().zip(&callers) {
        service.keep_stream(id, &owner_of(caller), there).await.unwrap();
        assert!(service.send_letter((id, here), caller, b"{}\n{}", &LIMITS).await.unwrap());
    }
    let [key, login] = &callers;
    assert!(!service.send_letter(("k", here), login, b"{}", &LIMITS).await.unwrap(), "another owner's");
    assert!(!service.send_letter(("k", there), key, b"{}", &LIMITS).await.unwrap(), "its stream is here, and gone");
    assert!(!service.send_letter(("none", here), key, b"{}", &LIMITS).await.unwrap());

    assert!(service.letters(here).await.unwrap().is_empty());
    let found = service.letters(there).await.unwrap();
    assert_eq!(found.len(), 2);
    let of = |id| found.iter().find(|letter| letter.session == service.session_tag(id)).unwrap().clone();
    let letters = ["k", "l"].map(of);
    for ((id, caller), letter) in ["k", "l"].iter().zip(&callers).zip(&letters) {
        let (sender, message) = service.open_letter(id, letter).await.unwrap().unwrap();
        assert_eq!((owner_of(&sender), sender.scopes()), (owner_of(caller), caller.scopes()));
        assert_eq!((sender.expires_at(), message.as_slice()), (caller.expires_at(), &b"{}\n{}"[..]));
        let other = if *id == "k" { "l" } else { "k" };
        assert!(service.open_letter(other, letter).await.unwrap().is_none(), "it opens for its session alone");
    }

    let revoke = RevokeKey { id: key.key().unwrap() };
    service.perform(&vault.person, revoke).await.unwrap();
    vault.clock.set_seconds(START + 60);
    for (id, letter) in ["k", "l"].iter().zip(&letters) {
        assert!(service.open_letter(id, letter).await.unwrap().is_none(), "{id}");
    }

    assert!(service.take_letters(&letters).await.unwrap());
    assert!(!service.take_letters(&letters).await.unwrap(), "none is taken twice");
    assert!(service.letters(there).await.unwrap().is_empty());
}
