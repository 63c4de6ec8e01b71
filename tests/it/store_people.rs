//! The store's contract for seats, accounts and keys, promise by promise.

use countersign::{
    domain::{
        account::Account,
        api_key::{ApiKey, KeyRights},
        audit::Action,
        hourly::HourlyCount,
        ids::{AccountId, SeatId},
        seat::{Seat, SeatName, SeatProfile},
        text::{AuthSubject, Email, Name, PhoneNumber, ShownText},
    },
    store::{Changed, Holder, Life, Page, StoreError, Verdict},
};

use crate::store_kit::{NOW, World, check, later};

#[test]
fn a_seat_is_found_by_its_id_and_by_its_subject() {
    check(async |world| {
        let mut seat = world.seat("Ada@Example.com", Some("google|42"));
        seat.profile.first_name = Some(ShownText::parse("Ada").unwrap());
        seat.profile.last_name = Some(ShownText::parse("Lovelace").unwrap());
        seat.profile.forwarding_number = Some(PhoneNumber::parse("+14155550123").unwrap());
        seat.profile.codes_per_hour = Some(12);
        world.store().add_seat(seat.clone(), world.entry(Action::SeatAdd)).await.unwrap();
        let subject = SeatName::Subject(AuthSubject::parse("google|42").unwrap());

        assert_eq!(find(world, SeatName::Id(seat.id)).await, Some(seat.clone()));
        assert_eq!(find(world, subject).await, Some(seat.clone()));

        let other = AccountId::new(world.id());
        assert_eq!(world.store().seat(other, SeatName::Id(seat.id)).await.unwrap(), None);
        assert_eq!(world.actions().await, ["vault.create", "seat.add"]);
    });
}

#[test]
fn an_email_or_subject_is_taken_once_in_an_account() {
    check(async |world| {
        let other = added_account(world, "other").await;
        let store = world.store();
        let add = async |seat: Seat| store.add_seat(seat, world.entry(Action::SeatAdd)).await;
        add(world.seat("ada@example.com", Some("1"))).await.unwrap();
        add(world.seat("bob@example.com", None)).await.unwrap();
        add(world.seat("eve@example.com", None)).await.unwrap();

        assert!(matches!(add(world.seat("ADA@example.com", None)).await, Err(StoreError::Exists(_))));
        assert!(matches!(add(world.seat("ann@example.com", Some("1"))).await, Err(StoreError::Exists(_))));
        let elsewhere = Seat { account: other.id, ..world.seat("ada@example.com", Some("1")) };
        add(elsewhere).await.unwrap();

        assert_eq!(store.count_seats(world.account(), None).await.unwrap(), 3);
    });
}

#[test]
fn seats_are_listed_oldest_first_page_by_page() {
    check(async |world| {
        let store = world.store();
        for (email, age) in [("c@x.org", 3), ("a@x.org", 1), ("b@x.org", 2)] {
            let seat = Seat { created_at: later(age), ..world.seat(email, None) };
            store.add_seat(seat, world.entry(Action::SeatAdd)).await.unwrap();
        }
        let list = async |email: Option<&str>, page| {
            let email = email.map(|email| Email::parse(email).unwrap());
            let seats = store.seats(world.account(), email, page).await.unwrap().sound;
            seats.iter().map(|seat| seat.profile.email.as_str().to_owned()).collect::<Vec<_>>()
        };

        assert_eq!(list(None, Page::ALL).await, ["a@x.org", "b@x.org", "c@x.org"]);
        assert_eq!(list(None, Page { offset: 1, limit: Some(1) }).await, ["b@x.org"]);
        assert!(list(None, Page { offset: 0, limit: Some(0) }).await.is_empty());
        assert!(list(None, Page { offset: u64::MAX, limit: None }).await.is_empty());
        assert_eq!(list(Some("b@x.org"), Page::ALL).await, ["b@x.org"]);
        assert!(list(Some("B@x.org"), Page::ALL).await.is_empty(), "an e-mail matches exactly");
        let count = store.count_seats(world.account(), Some(Email::parse("b@x.org").unwrap())).await.unwrap();
        assert_eq!(count, 1);
    });
}

#[test]
fn a_changed_seat_is_the_new_one_and_nothing_of_the_old() {
    check(async |world| {
        let (ada, bob) = (world.added_seat("ada@x.org").await, world.added_seat("bob@x.org").await);
        let change = async |seat: &Seat| world.store().change_seat(seat.clone(), world.entry(Action::SeatUpdate)).await;
        let renamed = |email: &str| SeatProfile { email: Email::parse(email).unwrap(), ..ada.profile.clone() };

        let new = Seat { profile: renamed("ada@y.org"), ..ada.clone() };
        assert_eq!(change(&new).await.unwrap(), Changed::Yes);
        let taken = Seat { profile: renamed("Bob@x.org"), ..ada.clone() };
        assert!(matches!(change(&taken).await, Err(StoreError::Exists(_))));
        let absent = Seat { id: SeatId::new(world.id()), ..bob.clone() };
        assert_eq!(change(&absent).await.unwrap(), Changed::NotThere);

        assert_eq!(find(world, SeatName::Id(ada.id)).await, Some(new));
        world.added_seat("ada@x.org").await;
        assert_eq!(world.actions().await, ["vault.create", "seat.add", "seat.add", "seat.update", "seat.add"]);
    });
}

#[test]
fn a_removed_seat_takes_its_keys_power_and_its_counts_along() {
    check(async |world| {
        let (seat, other) = (world.added_seat("ada@x.org").await, world.added_seat("bob@x.org").await);
        let (bound, free) = (world.added_key(Some(seat.id)).await, world.added_key(Some(other.id)).await);
        let secret = world.added_secret().await;
        let entry = world.entry_on(Action::CodeGet, secret.id);
        let count = move |_| Verdict { state: None, entry: Some(entry.clone()), counted: true, repeats_until: None };
        world.use_for(secret.id, vec![Holder::Seat(seat.id)], NOW, count).await;

        let remove =
            async || world.store().remove_seat(world.account(), seat.id, world.entry(Action::SeatRemove)).await;
        assert!(remove().await.unwrap());
        assert!(!remove().await.unwrap());

        assert_eq!(find(world, SeatName::Id(seat.id)).await, None);
        assert_eq!(revoked(world, &bound).await, Some(NOW));
        assert_eq!(revoked(world, &free).await, None);
        let (send, receive) = std::sync::mpsc::channel();
        let look = move |seen: crate::store_kit::Seen| {
            send.send(seen.counts.iter().map(HourlyCount::total).collect::<Vec<_>>()).unwrap();
            Verdict { state: None, entry: None, counted: false, repeats_until: None }
        };
        world.use_for(secret.id, vec![Holder::Seat(seat.id)], NOW, look).await;
        assert_eq!(receive.try_iter().last().unwrap(), [0]);
    });
}

#[test]
fn a_revoked_key_s_counts_are_forgotten() {
    check(async |world| {
        let seat = world.added_seat("ada@x.org").await;
        let keys = [world.added_key(None).await, world.added_key(Some(seat.id)).await, world.added_key(None).await];
        let holders = || keys.iter().map(|key| Holder::Key(key.id)).collect::<Vec<_>>();
        let secret = world.added_secret().await;
        let count = |_| Verdict { state: None, entry: None, counted: true, repeats_until: None };
        world.use_for(secret.id, holders(), NOW, count).await;

        world.store().revoke_key(world.account(), keys[0].id, world.entry(Action::KeyRevoke)).await.unwrap();
        world.store().remove_seat(world.account(), seat.id, world.entry(Action::SeatRemove)).await.unwrap();

        let (send, receive) = std::sync::mpsc::channel();
        let look = move |seen: crate::store_kit::Seen| {
            send.send(seen.counts.iter().map(HourlyCount::total).collect::<Vec<_>>()).unwrap();
            Verdict { state: None, entry: None, counted: false, repeats_until: None }
        };
        world.use_for(secret.id, holders(), NOW, look).await;
        assert_eq!(receive.try_iter().last().unwrap(), [0, 0, 1]);
    });
}

#[test]
fn an_account_is_found_by_its_name_which_is_taken_once() {
    check(async |world| {
        let account = added_account(world, "acme").await;
        let store = world.store();

        let twin = world.account_named("acme");
        let added = store.add_account(twin, world.entry(Action::AccountAdd)).await;

        assert!(matches!(added, Err(StoreError::Exists(_))));
        assert_eq!(store.account(Name::parse("acme").unwrap()).await.unwrap(), Some(account.clone()));
        assert_eq!(store.account(Name::parse("ACME").unwrap()).await.unwrap(), None);
        assert_eq!(store.accounts().await.unwrap().sound.last(), Some(&account));
        assert_eq!(world.actions().await, ["vault.create", "account.add"]);
    });
}

#[test]
fn only_an_account_without_secrets_is_removed_and_then_whole() {
    check(async |world| {
        let account = added_account(world, "acme").await;
        let store = world.store();
        let seat = Seat { account: account.id, ..world.seat("ada@x.org", None) };
        store.add_seat(seat.clone(), world.entry(Action::SeatAdd)).await.unwrap();
        let (mut key, hash) = world.key(Some(seat.id));
        key.rights.account = account.id;
        store.add_key(key.clone(), hash, world.entry(Action::KeyCreate)).await.unwrap();
        let secret = countersign::store::SealedSecret { account: account.id, ..world.secret() };
        store.add_secret(secret.clone(), None, world.entry(Action::SecretRegister)).await.unwrap();
        let remove = async |id| store.remove_account(id, world.entry(Action::AccountRemove)).await;

        assert!(matches!(remove(account.id).await, Err(StoreError::InUse(_))));
        store.delete_secret(account.id, secret.id, world.entry(Action::SecretDelete)).await.unwrap();
        assert!(matches!(remove(account.id).await, Err(StoreError::InUse(_))), "it could still be restored");
        store.erase_secret(account.id, secret.id, world.entry(Action::SecretErase)).await.unwrap();
        assert!(remove(account.id).await.unwrap());
        assert!(!remove(account.id).await.unwrap());

        assert_eq!(store.accounts().await.unwrap().sound.len(), 1);
        assert_eq!(store.seats(account.id, None, Page::ALL).await.unwrap().sound, []);
        assert_eq!(store.key(key.id).await.unwrap().map(|(key, _)| key), None);
        assert_eq!(store.secrets(account.id, Life::Deleted).await.unwrap(), []);
        assert_eq!(store.secret(account.id, secret.id).await.unwrap(), None);
    });
}

#[test]
fn nothing_is_added_to_an_account_that_is_not_there() {
    check(async |world| {
        let (store, gone) = (world.store(), AccountId::new(world.id()));
        let seat = Seat { account: gone, ..world.seat("ada@x.org", None) };
        let secret = countersign::store::SealedSecret { account: gone, ..world.secret() };
        let (mut key, hash) = world.key(None);
        key.rights.account = gone;

        let refusals = [
            store.add_seat(seat, world.entry(Action::SeatAdd)).await,
            store.add_secret(secret, None, world.entry(Action::SecretRegister)).await.map(drop),
            store.add_key(key, hash, world.entry(Action::KeyCreate)).await,
        ];

        assert!(refusals.iter().all(|refused| matches!(refused, Err(StoreError::NoAccount))), "{refusals:?}");
        assert_eq!(world.actions().await, ["vault.create"]);
    });
}

#[test]
fn the_account_that_a_vault_always_has_stays() {
    check(async |world| {
        let removed = world.store().remove_account(world.account(), world.entry(Action::AccountRemove)).await;

        assert!(matches!(removed, Err(StoreError::InUse(_))));
        assert_eq!(world.store().accounts().await.unwrap().sound.len(), 1);
        assert_eq!(world.actions().await, ["vault.create"]);
    });
}

#[test]
fn a_key_comes_back_as_it_was_added() {
    check(async |world| {
        let (key, hash) = world.key(Some(SeatId::new(world.id())));
        let (plain, plain_hash) = world.key(None);
        let rights = KeyRights { secrets: None, codes_per_hour: None, expires_at: None, ..plain.rights };
        let plain = ApiKey { rights, ..plain };
        let none = ApiKey { rights: KeyRights { secrets: Some(vec![]), ..plain.rights.clone() }, ..world.key(None).0 };
        let store = world.store();

        for (key, hash) in [(&key, &hash), (&plain, &plain_hash), (&none, &plain_hash)] {
            store.add_key(key.clone(), hash.clone(), world.entry(Action::KeyCreate)).await.unwrap();
            assert_eq!(store.key(key.id).await.unwrap(), Some((key.clone(), hash.clone())));
        }

        let again = store.add_key(key.clone(), hash, world.entry(Action::KeyCreate)).await;
        assert!(matches!(again, Err(StoreError::Exists(_))));
        assert_eq!(store.keys(world.account()).await.unwrap().sound, [key, plain, none]);
        assert_eq!(store.keys(AccountId::new(world.id())).await.unwrap().sound, []);
        assert_eq!(world.actions().await.len(), 4);
    });
}

#[test]
fn a_key_is_revoked_once_and_only_in_its_account() {
    check(async |world| {
        let key = world.added_key(None).await;
        let revoke = async |account| world.store().revoke_key(account, key.id, world.entry(Action::KeyRevoke)).await;

        assert!(!revoke(AccountId::new(world.id())).await.unwrap());
        assert_eq!(revoked(world, &key).await, None);
        assert!(revoke(world.account()).await.unwrap());
        assert!(!revoke(world.account()).await.unwrap());

        assert_eq!(revoked(world, &key).await, Some(NOW));
        assert_eq!(world.actions().await, ["vault.create", "key.create", "key.revoke"]);
    });
}

#[test]
fn a_key_s_last_use_only_moves_on_and_leaves_no_row() {
    check(async |world| {
        let key = world.added_key(None).await;
        for at in [later(2), later(5), later(3)] {
            world.store().touch_key(key.id, at).await.unwrap();
        }

        let (kept, _) = world.store().key(key.id).await.unwrap().unwrap();

        assert_eq!(kept.last_used_at, Some(later(5)));
        assert_eq!(world.actions().await, ["vault.create", "key.create"]);
    });
}

async fn find(world: &World, name: SeatName) -> Option<Seat> {
    world.store().seat(world.account(), name).await.unwrap()
}

async fn added_account(world: &World, name: &str) -> Account {
    let account = world.account_named(name);
    world.store().add_account(account.clone(), world.entry(Action::AccountAdd)).await.unwrap();
    account
}

async fn revoked(world: &World, key: &ApiKey) -> Option<countersign::domain::time::Timestamp> {
    world.store().key(key.id).await.unwrap().unwrap().0.revoked_at
}
