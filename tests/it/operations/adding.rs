//! Secrets that people add while others add the same ones.

use std::sync::Arc;

use countersign::operations::{ImportSecrets, Progress, RegisterSecret, Registration};
use futures::future::join_all;

use crate::kit::{RFC_SEED, Vault};

fn link() -> Registration {
    let uri = format!("otpauth://totp/Acme:ada?secret={RFC_SEED}&issuer=Acme").into();
    Registration { uri: Some(uri), ..Registration::default() }
}

/// The call of a person who saw no secret of this name.
fn add() -> RegisterSecret {
    RegisterSecret { registration: link(), idempotency_key: None, beside: Some(Vec::new()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_several_who_add_the_same_secret_at_once_one_does() {
    for _ in 0..8 {
        let vault = Vault::new();
        let services: Vec<_> = (0..3).map(|_| vault.another_service()).collect();
        let adds = services.iter().map(|service| {
            let (service, person) = (service.clone(), vault.person.clone());
            tokio::spawn(async move { service.perform(&person, add()).await })
        });
        let added: Vec<_> = join_all(adds).await.into_iter().map(Result::unwrap).collect();

        assert_eq!(added.iter().filter(|added| added.is_ok()).count(), 1);
        for refusal in added.into_iter().filter_map(Result::err) {
            assert!(refusal.to_string().contains("are those of another secret"), "{refusal}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_an_import_and_an_add_of_the_same_secret_at_once_one_stores_it() {
    for _ in 0..8 {
        let vault = Vault::new();
        let (one, other, person) = (vault.another_service(), vault.another_service(), vault.person.clone());
        let entry = one.check_registration(&link()).unwrap();
        let import =
            ImportSecrets { entries: Arc::new([entry]), dry_run: false, progress: Arc::new(Progress::default()) };
        let importing = {
            let person = person.clone();
            tokio::spawn(async move { one.perform(&person, import).await })
        };
        let added = tokio::spawn(async move { other.perform(&person, add()).await }).await.unwrap();
        let imported = importing.await.unwrap().unwrap();

        assert_eq!(usize::from(added.is_ok()) + imported.secrets.len(), 1);
    }
}

#[tokio::test]
async fn a_person_adds_another_of_a_name_that_they_know() {
    let vault = Vault::new();
    let first = vault.register_as(link()).await.secret.id;
    vault.service.perform(&vault.person, add()).await.err().expect("they do not know it");
    let known = RegisterSecret { beside: Some(vec![first]), ..add() };
    vault.service.perform(&vault.person, known).await.unwrap();
}

#[tokio::test]
async fn a_name_that_holds_a_seed_is_refused_and_not_quoted() {
    let vault = Vault::new();
    let grouped: Vec<String> =
        RFC_SEED.to_lowercase().as_bytes().chunks(4).map(|part| String::from_utf8_lossy(part).into()).collect();
    let grouped = grouped.join(" ");
    let typed = |label: &str, issuer: Option<&str>| Registration {
        label: Some(label.to_owned()),
        issuer: issuer.map(str::to_owned),
        secret: Some(RFC_SEED.to_owned().into()),
        ..Registration::default()
    };
    let link = format!("otpauth://totp/Acme:{RFC_SEED}?secret={RFC_SEED}");
    let uri = Registration { uri: Some(link.clone().into()), ..Registration::default() };
    for (field, registration) in [
        ("label", typed(RFC_SEED, None)),
        ("label", typed(&format!("ada, {grouped}"), None)),
        ("issuer", typed("ada", Some(&grouped))),
        ("label", typed(&link, None)),
        ("issuer", typed("ada", Some(&link))),
        ("label", uri),
    ] {
        let asked = RegisterSecret { registration, idempotency_key: None, beside: None };
        let refused = vault.service.perform(&vault.person, asked).await.map(|_| ()).unwrap_err().to_string();
        assert!(
            refused.starts_with(&format!("`{field}` ")) && refused.contains("names are shown in lists"),
            "{refused}"
        );
        assert!(!refused.contains(RFC_SEED) && !refused.contains(&grouped), "{refused}");
    }
}
