//! A wrong clock, as on a machine without a battery: codes are wrong then, but nothing panics. With a clock before 1970
//! or after 9998, only reads work.

use countersign::domain::audit::AuditFilter;
use countersign::operations::{
    DeleteSecret, ExportSecrets, GetCode, ListSecrets, Refusal, ResetSteps, RestoreSecret, Seconds, VerifyAudit,
};

use super::{code, plain, single_use};
use crate::kit::{HandClock, Vault};

/// Registers, uses and deletes a secret at this time.
async fn check(seconds: i64) {
    let vault = Vault::at(tempfile::tempdir().unwrap(), HandClock::at_seconds(seconds));
    let (service, person) = (&vault.service, &vault.person);
    let secret = vault.register("A").await.secret;

    let other = vault.register("B").await.secret;
    let fresh = GetCode { min_validity: Seconds::new(1), max_wait: Seconds::new(0), ..plain() };
    for (id, request) in [(secret.id, plain()), (secret.id, fresh), (other.id, single_use())] {
        assert_eq!(code(service, person, id, request).await.unwrap().len(), 6, "{seconds}");
    }
    let listed = service.perform(person, ListSecrets::default()).await.unwrap();
    assert_eq!(listed.secrets.len(), 2, "{seconds}");
    assert!(listed.secrets[0].created_at.to_string().ends_with('Z'));
    assert_eq!(service.perform(person, ExportSecrets::default()).await.unwrap().uris.len(), 2, "{seconds}");
    service.perform(person, DeleteSecret { secret_id: secret.id }).await.unwrap();
    service.perform(person, RestoreSecret { id: secret.id }).await.unwrap();
    service.perform(person, ResetSteps { id: secret.id }).await.unwrap();
    service.erase_expired().await.unwrap();
    let rows = vault.all_rows(AuditFilter::default()).await;
    assert!(rows.len() >= 6, "{seconds}: {}", rows.len());
    service.perform(person, VerifyAudit::default()).await.unwrap();

    // Once the clock is right, the vault works again.
    vault.clock.set_seconds(1_795_305_600);
    code(service, person, secret.id, plain()).await.unwrap();
}

/// Tries every operation that such a clock prevents.
async fn refused(seconds: i64) {
    let vault = Vault::at(tempfile::tempdir().unwrap(), HandClock::at_seconds(1_795_305_600));
    let (service, person) = (&vault.service, &vault.person);
    let id = vault.register("A").await.secret.id;
    vault.clock.set_seconds(seconds);
    for request in [plain(), single_use()] {
        assert_eq!(code(service, person, id, request).await, Err(Refusal::Clock), "{seconds}");
    }
    assert_eq!(service.perform(person, DeleteSecret { secret_id: id }).await.unwrap_err(), Refusal::Clock, "{seconds}");
    assert_eq!(service.perform(person, ResetSteps { id }).await.unwrap_err(), Refusal::Clock, "{seconds}");
    assert_eq!(service.perform(person, ListSecrets::default()).await.unwrap().secrets.len(), 1, "{seconds}");
    service.perform(person, VerifyAudit::default()).await.unwrap();
    service.erase_expired().await.unwrap();

    vault.clock.set_seconds(1_795_305_600);
    code(service, person, id, plain()).await.unwrap();
    let rows = vault.all_rows(AuditFilter::default()).await;
    assert!(rows.iter().all(|row| row.entry.at.seconds() == 1_795_305_600), "no row of another time");
}

#[tokio::test]
async fn a_wrong_clock_makes_nothing_panic() {
    for seconds in [0, 4_294_967_296] {
        check(seconds).await;
    }
    for seconds in [-1, -86_400, -62_135_596_801, -9_000_000_000_000, 253_402_300_800, 9_000_000_000_000] {
        refused(seconds).await;
    }
}
