//! Drafts: they happen completely or not at all, only if their conditions still hold, and many in one commit.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use countersign::{
    domain::{
        account::Account,
        api_key::KeyId,
        audit::Action,
        ids::{AccountId, SecretId, TokenId},
        scope::ScopeSet,
        seat::SeatName,
        secret::SecretUse,
        seed::Seed,
        session::Letter,
        text::{AuthSubject, Email, Name},
        token::AccessToken,
    },
    vault::{Draft, Life, NewSecret, Outcome, Page},
};

use super::kit::{NOW, SEED, World, metadata};

#[tokio::test]
async fn a_secret_is_kept_changed_deleted_restored_and_erased() {
    let world = World::new().await;
    let (vault, account) = (&world.vault, world.account());
    let id = world.secret("Acme", "ada@example.com").await;

    let kept = vault.secret(account, id).await.unwrap().unwrap();
    let mut changed = kept.metadata.clone();
    changed.usage = SecretUse::FillOnly;
    changed.origins = vec!["https://*.acme.example".parse().unwrap()];
    let draft = vault.draft(world.entry(Action::SecretUpdate)).change_secret(&kept, &changed, None);
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    let again = vault.draft(world.entry(Action::SecretUpdate)).change_secret(&kept, &changed, None);
    assert_eq!(again.commit().await.unwrap(), Outcome::Stale, "it was read before the change");

    let kept = vault.secret(account, id).await.unwrap().unwrap();
    assert_eq!(kept.metadata, changed);
    let in_use = vault.in_use(account, id, &[], NOW).await.unwrap().unwrap();
    assert_eq!(*vault.open_seed(&in_use).unwrap().to_base32(), SEED);
    let other = Seed::from_base32("JBSWY3DPEHPK3PXP").unwrap();
    let draft = vault.draft(world.entry(Action::SecretUpdate)).change_secret(&kept, &changed, Some((&in_use, &other)));
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    let in_use = vault.in_use(account, id, &[], NOW).await.unwrap().unwrap();
    assert_eq!(*vault.open_seed(&in_use).unwrap().to_base32(), "JBSWY3DPEHPK3PXP");
    assert_eq!(vault.same_seed(account, &other, &changed).await.unwrap().len(), 1);

    let kept = vault.secret(account, id).await.unwrap().unwrap();
    let draft = vault.draft(world.entry(Action::SecretDelete)).set_deleted(&kept, Some(NOW));
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    assert!(vault.in_use(account, id, &[], NOW).await.unwrap().is_none());
    assert_eq!(vault.count_secrets(account, Life::Live).await.unwrap(), 0);
    assert_eq!(vault.count_secrets(account, Life::Deleted).await.unwrap(), 1);
    assert_eq!(vault.secrets(account, Life::Deleted, Page::ALL).await.unwrap().sound.len(), 1);
    let kept = vault.secret(account, id).await.unwrap().unwrap();
    let draft = vault.draft(world.entry(Action::SecretRestore)).set_deleted(&kept, None);
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    assert!(vault.in_use(account, id, &[], NOW).await.unwrap().is_some());

    let draft = vault.draft(world.entry(Action::SecretErase)).erase_secret(id);
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    assert!(vault.secret(account, id).await.unwrap().is_none());
    world.check_sound().await;
    vault.close().await.unwrap();
}

#[tokio::test]
async fn many_secrets_are_added_in_one_draft_or_none_of_them() {
    let world = World::new().await;
    let (account, seed, data) = (world.account(), Seed::from_base32(SEED).unwrap(), metadata("Acme", "ada"));
    let ids: Vec<_> = (0..1000).map(|_| SecretId::new(world.uuid())).collect();
    let draft = || {
        ids.iter().fold(world.vault.silent_draft(), |draft, id| {
            let new = NewSecret { id: *id, account, created_at: NOW, metadata: &data, seed: &seed };
            draft.add_secret(&new).entry(world.entry(Action::SecretRegister))
        })
    };
    let twice = NewSecret { id: ids[0], account, created_at: NOW, metadata: &data, seed: &seed };
    let refused = world.vault.draft(world.entry(Action::SecretRegister)).add_secret(&twice);
    assert_eq!(refused.commit().await.unwrap(), Outcome::Done);
    assert_eq!(draft().commit().await.unwrap(), Outcome::Stale, "one of them is there");
    assert_eq!(world.vault.count_secrets(account, Life::Live).await.unwrap(), 1);
    let erased = world.vault.draft(world.entry(Action::SecretErase)).erase_secret(ids[0]);
    assert_eq!(erased.commit().await.unwrap(), Outcome::Done);
    assert_eq!(draft().commit().await.unwrap(), Outcome::Done);
    assert_eq!(world.vault.secrets(account, Life::Live, Page::ALL).await.unwrap().sound.len(), 1000);
    assert_eq!(world.vault.same_seed(account, &seed, &data).await.unwrap().len(), 1000);
    assert_eq!(world.vault.verify(&[]).await.unwrap().rows, 1003);
}

#[tokio::test]
async fn another_accounts_secret_is_not_there() {
    let world = World::new().await;
    let id = world.secret("Acme", "ada").await;
    let other = AccountId::new(world.uuid());
    assert!(world.vault.secret(other, id).await.unwrap().is_none());
    assert!(world.vault.in_use(other, id, &[], NOW).await.unwrap().is_none());
    assert!(world.vault.secrets_by_id(other, &[id]).await.unwrap().sound.is_empty());
    assert_eq!(world.vault.secrets_by_id(world.account(), &[id]).await.unwrap().sound.len(), 1);
}

#[tokio::test]
async fn secrets_are_found_by_words_wherever_they_stand() {
    let world = World::new().await;
    let (vault, account) = (&world.vault, world.account());
    let github = world.secret("GitHub", "ada@example.com").await;
    let other = world.secret("Straße 7", "Öffnung").await;
    let gitlab = world.secret("GitLab", "grace").await;
    world.secret("Legit", "eve").await;
    let found = async |query: &str| -> Vec<SecretId> {
        let found = vault.find_secrets(account, Life::Live, query).await.unwrap();
        found.iter().map(|secret| secret.id).collect()
    };
    for query in ["github", "GITHUB ada", "ada example.com", "hub", "exam", "gith ex"] {
        assert_eq!(found(query).await, [github], "{query}");
    }
    for query in ["strasse", "o\u{308}ff", "7"] {
        assert_eq!(found(query).await, [other], "{query}");
    }
    assert_eq!(found("git").await, [github, gitlab], "what begins with it hides what has it in the middle");
    assert!(found("bob").await.is_empty() && found("").await.is_empty());
    let page = vault.search_secrets(account, "it", Page { offset: 1, limit: Some(1) }).await.unwrap();
    assert_eq!((page.secrets.iter().map(|secret| secret.id).collect::<Vec<_>>(), page.total), (vec![gitlab], 3));

    let kept = vault.secret(account, github).await.unwrap().unwrap();
    let draft = vault.draft(world.entry(Action::SecretDelete)).set_deleted(&kept, Some(NOW));
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    // By the index, and without it.
    for query in ["git", "it"] {
        let deleted = vault.find_secrets(account, Life::Deleted, query).await.unwrap();
        assert_eq!(deleted.iter().map(|secret| secret.id).collect::<Vec<_>>(), [github], "{query}");
    }
    assert_eq!(found("git").await, [gitlab]);
}

#[tokio::test]
async fn lists_go_page_by_page_in_order_of_age() {
    let world = World::new().await;
    for nth in 0..7 {
        world.secret("Acme", &format!("user {nth}")).await;
    }
    let page = |offset, limit| Page { offset, limit };
    let labels = async |page| -> Vec<String> {
        let listed = world.vault.secrets(world.account(), Life::Live, page).await.unwrap();
        listed.sound.iter().map(|secret| secret.metadata.label.to_string()).collect()
    };
    let all = labels(Page::ALL).await;
    assert_eq!(all.len(), 7);
    assert_eq!(labels(page(2, Some(3))).await, all[2..5]);
    assert_eq!(labels(page(5, None)).await, all[5..]);
    assert_eq!(labels(page(0, Some(0))).await, Vec::<String>::new());
}

#[tokio::test]
async fn seats_have_names_of_their_own_and_take_their_keys_with_them() {
    let world = World::new().await;
    let (vault, account) = (&world.vault, world.account());
    let seat = world.new_seat("Ada@example.com", Some("google|1"));
    assert_eq!(vault.draft(world.entry(Action::SeatAdd)).add(&seat).commit().await.unwrap(), Outcome::Done);
    for same in [world.new_seat("ada@EXAMPLE.com", None), world.new_seat("b@example.com", Some("google|1"))] {
        assert_eq!(vault.draft(world.entry(Action::SeatAdd)).add(&same).commit().await.unwrap(), Outcome::Taken);
    }
    let bound = world.new_key("0123456789AB", Some(seat.id));
    let free = world.new_key("0123456789AC", None);
    for key in [&bound, &free] {
        let draft = vault.draft(world.entry(Action::KeyCreate)).add_key(key);
        assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    }
    let later = NOW.plus(Duration::from_mins(2));
    for (used, expected) in [(NOW, NOW), (later.plus(Duration::from_secs(59)), later), (NOW, later)] {
        vault.touch_key(bound.key.id, account, used).await.unwrap();
        assert_eq!(vault.keys(account).await.unwrap().sound[0].key.last_used_at, Some(expected));
    }

    let subject = SeatName::Subject(AuthSubject::parse("google|1").unwrap());
    let kept = vault.seat(account, &subject).await.unwrap().unwrap();
    assert_eq!(kept.value, seat);
    let email = Email::parse("ADA@example.com").unwrap();
    assert_eq!(vault.seat_by_email(account, &email).await.unwrap().unwrap().id, seat.id);
    let mut moved = seat.clone();
    moved.profile.email = Email::parse("ada@acme.example").unwrap();
    let draft = vault.draft(world.entry(Action::SeatUpdate)).replace(&kept, &moved);
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    assert!(vault.seat_by_email(account, &email).await.unwrap().is_none());

    let kept = vault.seat(account, &SeatName::Id(seat.id)).await.unwrap().unwrap();
    assert_eq!(vault.remove_seat(&kept, world.entry(Action::SeatRemove)).await.unwrap(), Outcome::Done);
    assert_eq!(vault.key(bound.key.id).await.unwrap().unwrap().key.revoked_at, Some(NOW));
    assert_eq!(vault.key(free.key.id).await.unwrap().unwrap().key.revoked_at, None);
    let late = world.new_key("0123456789AD", Some(seat.id));
    let draft = vault.draft(world.entry(Action::KeyCreate)).add_key(&late);
    assert_eq!(draft.commit().await.unwrap(), Outcome::Stale, "its seat is gone");
    assert_eq!(vault.count_seats(account).await.unwrap(), 0);
    world.check_sound().await;
}

#[tokio::test]
async fn an_account_goes_with_its_seats_and_keys_but_not_with_secrets() {
    let world = World::new().await;
    let vault = &world.vault;
    let name = Name::parse("acme").unwrap();
    let account = Account { id: AccountId::new(world.uuid()), name: name.clone(), created_at: NOW };
    let add = || vault.draft(world.entry(Action::AccountAdd)).add(&account);
    assert_eq!(add().commit().await.unwrap(), Outcome::Done);
    let same = Account { id: AccountId::new(world.uuid()), ..account.clone() };
    assert_eq!(vault.draft(world.entry(Action::AccountAdd)).add(&same).commit().await.unwrap(), Outcome::Taken);
    let mut seat = world.new_seat("a@example.com", None);
    seat.account = account.id;
    assert_eq!(vault.draft(world.entry(Action::SeatAdd)).add(&seat).commit().await.unwrap(), Outcome::Done);

    let default = vault.account(world.account()).await.unwrap().unwrap();
    world.secret("Acme", "ada").await;
    let stays = world.new_seat("b@example.com", None);
    assert_eq!(vault.draft(world.entry(Action::SeatAdd)).add(&stays).commit().await.unwrap(), Outcome::Done);
    let refused = vault.remove_account(&default, world.entry(Action::AccountRemove)).await.unwrap();
    assert_eq!(refused, Outcome::Stale, "it has a secret");
    assert_eq!(vault.count_seats(default.id).await.unwrap(), 1);
    let kept = vault.account_named(&name).await.unwrap().unwrap();
    let removed = vault.remove_account(&kept, world.entry(Action::AccountRemove)).await.unwrap();
    assert_eq!(removed, Outcome::Done);
    assert!(vault.account_named(&name).await.unwrap().is_none());
    let late = vault.draft(world.entry(Action::SeatAdd)).add(&seat).commit().await.unwrap();
    assert_eq!(late, Outcome::Stale, "its account is gone");
    assert_eq!(vault.accounts().await.unwrap().sound.len(), 1);
    world.check_sound().await;
}

#[tokio::test]
async fn a_seat_whose_record_was_changed_goes_with_its_account_all_the_same() {
    let world = World::new().await;
    let vault = &world.vault;
    let name = Name::parse("acme").unwrap();
    let account = Account { id: AccountId::new(world.uuid()), name: name.clone(), created_at: NOW };
    let draft = vault.draft(world.entry(Action::AccountAdd)).add(&account);
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    let mut seat = world.new_seat("a@example.com", None);
    seat.account = account.id;
    assert_eq!(vault.draft(world.entry(Action::SeatAdd)).add(&seat).commit().await.unwrap(), Outcome::Done);
    for table in ["record", "record_count"] {
        assert_eq!(world.folder.edit(&format!("UPDATE {table} SET life = life + 1 WHERE kind = 7")), 1, "{table}");
    }
    let kept = vault.account_named(&name).await.unwrap().unwrap();
    let removed = vault.remove_account(&kept, world.entry(Action::AccountRemove)).await.unwrap();
    assert_eq!(removed, Outcome::Done);
    assert_eq!(world.folder.edit("DELETE FROM record WHERE kind = 7"), 0);
}

/// Index entries are not under a token's MAC.
#[tokio::test]
async fn the_tokens_of_a_key_are_its_own_whatever_finds_them() {
    let world = World::new().await;
    let (vault, account) = (&world.vault, world.account());
    let [one, other] = ["0123456789AB", "0123456789AC"].map(|id| id.parse::<KeyId>().unwrap());
    for (key, minutes) in [(one, 1), (other, 2), (one, 3)] {
        let token = AccessToken {
            id: TokenId::new(world.uuid()),
            account,
            key,
            scopes: ScopeSet::of_a_new_key(),
            secrets: None,
            hash: [1; 32],
            created_at: NOW,
            expires_at: NOW.plus(Duration::from_mins(minutes)),
        };
        assert_eq!(vault.draft(world.entry(Action::KeyCreate)).add(&token).commit().await.unwrap(), Outcome::Done);
    }
    let ends = async |key| -> Vec<i64> {
        let tokens = vault.tokens_of(key).await.unwrap();
        tokens.iter().map(|token| (token.expires_at.seconds() - NOW.seconds()) / 60).collect()
    };
    assert_eq!((ends(one).await, ends(other).await), (vec![1, 3], vec![2]));
    assert_eq!((vault.count_tokens(one).await.unwrap(), vault.count_tokens(other).await.unwrap()), (2, 1));

    let copied = "INSERT OR IGNORE INTO record_word (kind, account, word, id) \
                  SELECT a.kind, a.account, a.word, b.id FROM record_word a, record_word b WHERE a.kind = 14 AND b.kind = 14";
    assert_eq!(world.folder.edit(copied), 3, "each key's entry leads to all three");
    assert_eq!((ends(one).await, ends(other).await), (vec![1, 3], vec![2]));
}

#[tokio::test]
async fn a_nodes_letters_are_told_from_others_and_counted_by_session() {
    let world = World::new().await;
    let vault = &world.vault;
    let (here, there) = ([1; 8], [2; 8]);
    let letter =
        |session, nth, to| Letter { session: [session; 32], nth: [nth; 16], to, sealed: vec![7], sent_at: NOW };
    let letters = [letter(1, 1, here), letter(1, 2, there), letter(2, 3, here)];
    let draft = letters.iter().fold(vault.silent_draft(), Draft::add);
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    let to = async |node, limit| -> Vec<u8> {
        vault.letters_to(node, limit).await.unwrap().iter().map(|letter| letter.nth[0]).collect()
    };
    assert_eq!((to(here, 9).await, to(there, 9).await, to([3; 8], 9).await), (vec![1, 3], vec![2], vec![]));
    assert_eq!((to(here, 1).await, to(there, 1).await), (vec![1], vec![2]), "the others take up no place");
    let count = async |session: Option<u8>| {
        let tag = session.map(|session| [session; 32]);
        vault.count_letters(tag.as_ref()).await.unwrap()
    };
    assert_eq!((count(Some(1)).await, count(Some(2)).await, count(Some(3)).await, count(None).await), (2, 1, 0, 3));
    assert!(!vault.is_shared(), "it is in a file");
}

#[tokio::test]
async fn the_seeds_of_an_account_are_known_from_others() {
    let world = World::new().await;
    world.secret("Acme", "ada").await;
    let [own, other] = [SEED, "JBSWY3DPEHPK3PXP"].map(|seed| Seed::from_base32(seed).unwrap());
    let seeds = world.vault.seeds(world.account()).await.unwrap();
    assert!(seeds.may_have(&own) && !seeds.may_have(&other));
    let elsewhere = world.vault.seeds(AccountId::new(world.uuid())).await.unwrap();
    assert!(!elsewhere.may_have(&own));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_stale_change_does_not_hold_up_the_others_of_its_commit() {
    let world = Arc::new(World::new().await);
    let id = world.secret("Acme", "ada").await;
    let done = Arc::new(AtomicU64::new(0));
    let callers: Vec<_> = (0..16)
        .map(|nth| {
            let (world, done) = (Arc::clone(&world), Arc::clone(&done));
            tokio::spawn(async move {
                // Every caller must succeed in the end: the other changes can't make it stale each time.
                for _ in 0..64 {
                    let kept = world.vault.secret(world.account(), id).await.unwrap().unwrap();
                    let new = metadata("Acme", &format!("ada {nth}"));
                    let draft = world.vault.draft(world.entry(Action::SecretUpdate)).change_secret(&kept, &new, None);
                    if draft.commit().await.unwrap() == Outcome::Done {
                        done.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(done.load(Ordering::Relaxed), 16);
    world.check_sound().await;
}

#[tokio::test]
async fn two_processes_write_one_audit_log_in_turn() {
    let world = World::new().await;
    let other = world.elsewhere().await;
    for step in 0..20 {
        world.row(step).await;
        other.row(step).await;
    }
    assert_eq!(world.vault.verify(&[]).await.unwrap().rows, 41);
    world.check_sound().await;
}

#[tokio::test]
async fn a_caller_that_stops_waiting_stops_nothing() {
    let world = World::new().await;
    for step in 0..8 {
        // The future is polled once, and then dropped.
        let _ = tokio::time::timeout(Duration::ZERO, world.row(step)).await;
    }
    world.row(99).await;
    assert_eq!(world.vault.verify(&[]).await.unwrap().rows, 10);
}

#[tokio::test]
async fn after_closing_nothing_is_committed() {
    let world = World::new().await;
    world.vault.close().await.unwrap();
    assert!(world.vault.record(vec![world.entry(Action::Call)]).await.is_err());
}
