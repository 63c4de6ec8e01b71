//! A data key that another process has rotated: every operation that reads or makes a seal goes on without an error.

use std::sync::Arc;

use countersign::{
    domain::{
        audit::{Action, AuditFilter},
        secret::{SecretMetadata, SecretUse},
        seed::Seed,
        text::ShownText,
        totp::TotpParameters,
    },
    operations::{
        DeleteSecret, Enrolment, ExportSecrets, FindSecrets, ImportSecrets, ListSecrets, Registration, RestoreSecret,
        RotateDataKey, SecretChanges, UpdateSecret,
    },
    vault::Life,
};

use super::{code, plain};
use crate::kit::{Vault, registration_of, typed};

async fn rotate(vault: &Vault) {
    assert!(vault.service.perform(&vault.person, RotateDataKey).await.unwrap());
    assert!(vault.service.finish_rotation(Some(&vault.person), &mut |_| {}).await.unwrap().finished);
}

fn enrolment(label: &str, seed: &str) -> Enrolment {
    let metadata = SecretMetadata {
        label: ShownText::parse(label).unwrap(),
        issuer: None,
        totp: TotpParameters::default(),
        usage: SecretUse::Plain,
        origins: Vec::new(),
    };
    Enrolment { metadata, seed: Seed::from_base32(seed).unwrap() }
}

#[tokio::test]
async fn of_imports_at_once_each_secret_is_stored_by_one() {
    let vault = Vault::new();
    let other = vault.another_service();
    for seeds in [["JBSWY3DPEHPK3PXP", "KRSXG5CTMVRXEZLU"], ["GEZDGNBVGY3TQOJQ", "MFRGGZDFMZTWQ2LK"]] {
        let import = || {
            let entries: Arc<[Enrolment]> = seeds.map(|seed| enrolment("ada", seed)).into();
            ImportSecrets { entries, dry_run: false, progress: Arc::default() }
        };
        let (person, one) = (&vault.person, &vault.service);
        let done = futures::join!(
            one.perform(person, import()),
            other.perform(person, import()),
            one.perform(person, import()),
            other.perform(person, import()),
        );
        let mut stored = [done.0, done.1, done.2, done.3].map(|done| done.unwrap().secrets.len());
        stored.sort_unstable();
        assert_eq!(stored, [0, 0, 0, 2]);
    }
    assert_eq!(vault.service.perform(&vault.person, ListSecrets::default()).await.unwrap().stored, 4);
}

#[tokio::test]
async fn every_operation_of_a_process_goes_on_after_a_rotation_elsewhere() {
    let vault = Vault::new();
    let id = vault.register("ada").await.secret.id;
    let (other, person) = (vault.another_service(), &vault.person);
    let right = code(&vault.service, person, id, plain()).await.unwrap();

    rotate(&vault).await;
    assert_eq!(code(&other, person, id, plain()).await.unwrap(), right);
    rotate(&vault).await;
    assert_eq!(other.perform(person, ListSecrets::default()).await.unwrap().stored, 1);
    rotate(&vault).await;
    assert!(other.perform(person, typed(id, &right)).await.unwrap().valid);
    rotate(&vault).await;
    other
        .perform(person, registration_of(Registration { label: Some("grace".to_owned()), ..Registration::default() }))
        .await
        .unwrap();
    rotate(&vault).await;
    let changes = SecretChanges { label: Some("ada lovelace".to_owned()), ..SecretChanges::default() };
    other.perform(person, UpdateSecret { id, changes }).await.unwrap();
    rotate(&vault).await;
    let entries: Arc<[Enrolment]> =
        [enrolment("alan", "JBSWY3DPEHPK3PXP"), enrolment("kurt", "KRSXG5CTMVRXEZLU")].into();
    let imported =
        other.perform(person, ImportSecrets { entries, dry_run: false, progress: Arc::default() }).await.unwrap();
    assert_eq!((imported.secrets.len(), imported.present.len()), (2, 0), "it is not told that its account is gone");
    rotate(&vault).await;
    let export = other.perform(person, ExportSecrets { only: None }).await.unwrap();
    assert_eq!((export.uris.len(), export.damaged.len()), (4, 0));
    rotate(&vault).await;
    other.perform(person, DeleteSecret { secret_id: id }).await.unwrap();
    rotate(&vault).await;
    other.perform(person, RestoreSecret { id }).await.unwrap();
    rotate(&vault).await;
    let found = other.perform(person, FindSecrets { query: "ada lovelace".to_owned(), life: Life::Live }).await;
    assert_eq!(found.unwrap().len(), 1);

    let rows = vault.rows(AuditFilter { action: Some(Action::VaultRotated), ..AuditFilter::default() }).await;
    let counts: Vec<_> = rows.iter().filter_map(|row| row.entry.count).collect();
    assert_eq!(counts, [2, 2, 2, 2, 4, 4, 8, 8, 8, 8]);
}
