//! Codes as operations give them: read, decide, commit, and repeat if another caller was faster. No step goes to two
//! callers.

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use countersign::{
    domain::{
        audit::{Action, AuditEntry, AuditFilter},
        code_use::{CodeAnswer, CodeAsk, Holder, Stage},
        ids::{ReservationId, SecretId},
        steps::CodeWish,
        time::Timestamp,
        totp::Step,
    },
    vault::{AuditAsk, Outcome, StoreError, Vault},
};
use uuid::Uuid;

use super::kit::{Folder, NOW, World};

/// The longest that a test waits for others.
const PATIENCE: Duration = Duration::from_mins(1);

/// Gives a single-use step at a time, and returns `None` if the caller would have to wait.
async fn give(vault: &Vault, secret: SecretId, now: Timestamp) -> Option<Step> {
    let wish = CodeWish { min_validity: 0, single_use: true, max_wait: Duration::ZERO };
    loop {
        let account = vault.status().default_account;
        let in_use = vault.in_use(account, secret, &[], now).await.unwrap().unwrap();
        let reservation = ReservationId::new(Uuid::nil());
        let ask = CodeAsk {
            wish,
            patient: true,
            typed: false,
            hidden: false,
            stage: Stage::Asks,
            reservation,
            limits: &[],
            now,
        };
        let CodeAnswer::Give { step, state } = in_use.state.decide(&in_use.terms(), &ask) else { return None };
        let code = in_use.terms().totp.code_at(&vault.open_seed(&in_use).unwrap(), step);
        let entry = AuditEntry {
            account: Some(account),
            secret: Some(secret),
            step: Some(step),
            code_tag: Some(vault.code_tag(secret, step, code.digits())),
            ..AuditEntry::by(countersign::domain::audit::Actor::Stdio, Action::CodeGet, now)
        };
        match vault.draft(entry).used(&in_use, state.as_ref()).commit().await {
            Ok(Outcome::Done) => return Some(step),
            Ok(Outcome::Stale | Outcome::Taken) | Err(StoreError::Unavailable(_)) => {}
            refused => assert_eq!(refused, Ok(Outcome::Done)),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_two_callers_get_no_step_twice() {
    let world = Arc::new(World::new().await);
    let secret = world.secret("Acme", "ada").await;
    let given = Arc::new(Mutex::new(Vec::new()));
    let callers: Vec<_> = (0..32)
        .map(|_| {
            let (world, given) = (Arc::clone(&world), Arc::clone(&given));
            tokio::spawn(async move {
                for period in 0..10 {
                    let now = NOW.plus(Duration::from_secs(30 * period));
                    if let Some(step) = give(&world.vault, secret, now).await {
                        given.lock().unwrap().push(step);
                    }
                }
            })
        })
        .collect();
    tokio::time::timeout(PATIENCE, async {
        for caller in callers {
            caller.await.unwrap();
        }
    })
    .await
    .unwrap();
    let given = Arc::try_unwrap(given).unwrap().into_inner().unwrap();
    assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), given.len(), "{given:?}");
    assert!(given.contains(&Step(59_844_549)), "the last step went to somebody");
    world.check_sound().await;
}

const PROCESSES: usize = 3;

/// The `main` of the other processes of the test below. It does nothing without their variable.
#[tokio::test]
async fn another_process_takes_steps() {
    let Some(root) = std::env::var_os("COUNTERSIGN_TEST_STEPS_IN") else { return };
    let vault = Folder::shared(Path::new(&root)).open().await.unwrap();
    let secrets =
        vault.secrets(vault.status().default_account, countersign::vault::Life::Live, countersign::vault::Page::ALL);
    let secret = secrets.await.unwrap().sound[0].id;
    let mut given = Vec::new();
    for period in 0..40 {
        given.extend(give(&vault, secret, NOW.plus(Duration::from_secs(30 * period))).await);
    }
    vault.close().await.unwrap();
    let steps: Vec<_> = given.iter().map(|step| step.0.to_string()).collect();
    let name = format!("steps-{}", std::process::id());
    std::fs::write(Path::new(&root).join(name), steps.join("\n")).unwrap();
}

#[tokio::test]
async fn several_processes_get_no_step_twice() {
    let world = World::new().await;
    let secret = world.secret("Acme", "ada").await;
    let children: Vec<_> = (0..PROCESSES)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "vault::codes::another_process_takes_steps"])
                .env("COUNTERSIGN_TEST_STEPS_IN", &world.folder.root)
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut given = Vec::new();
    for period in 0..40 {
        given.extend(give(&world.vault, secret, NOW.plus(Duration::from_secs(30 * period))).await);
    }
    for mut child in children {
        assert!(tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap().success());
    }
    let mut others = 0;
    for file in std::fs::read_dir(&world.folder.root).unwrap().map(|file| file.unwrap().path()) {
        if file.file_name().unwrap().to_string_lossy().starts_with("steps-") {
            others += 1;
            let text = std::fs::read_to_string(file).unwrap();
            given.extend(text.lines().map(|line| Step(line.parse().unwrap())));
        }
    }
    assert_eq!(others, PROCESSES);
    assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), given.len(), "{given:?}");
    assert_eq!(given.len(), 40, "each step went to somebody");
    world.check_sound().await;
}

#[tokio::test]
async fn codes_are_counted_for_their_holders_and_old_counts_are_swept() {
    let world = World::new().await;
    let secret = world.secret("Acme", "ada").await;
    let holder = Holder::Key("0123456789AB".parse().unwrap());
    for _ in 0..3 {
        let in_use = world.vault.in_use(world.account(), secret, &[holder], NOW).await.unwrap().unwrap();
        let draft = world.vault.draft(world.entry(Action::CodeGet)).used(&in_use, None).counted(&in_use, NOW);
        assert_eq!(draft.soon().commit().await.unwrap(), Outcome::Done);
    }
    let counts = async |now| world.vault.in_use(world.account(), secret, &[holder], now).await.unwrap().unwrap().counts;
    assert_eq!(counts(NOW).await[0].total(), 3);
    let later = NOW.plus(Duration::from_hours(3));
    assert_eq!(counts(later).await[0].total(), 0);
    world.row_at(1, later.minus(Duration::from_hours(2))).await;
    let entry = AuditEntry { at: later, ..world.entry(Action::SecretErase) };
    assert!(!world.vault.erase_deleted(NOW, &entry).await.unwrap().clock_unsettled);
    assert_eq!(counts(NOW).await[0].total(), 0, "it was swept");
    world.check_sound().await;
}

#[tokio::test]
async fn a_code_of_a_secret_that_was_deleted_meanwhile_is_not_given() {
    let world = World::new().await;
    let secret = world.secret("Acme", "ada").await;
    let in_use = world.vault.in_use(world.account(), secret, &[], NOW).await.unwrap().unwrap();
    let kept = world.vault.secret(world.account(), secret).await.unwrap().unwrap();
    let delete = world.vault.draft(world.entry(Action::SecretDelete)).set_deleted(&kept, Some(NOW));
    assert_eq!(delete.commit().await.unwrap(), Outcome::Done);

    let again = world.vault.draft(world.entry(Action::CodeGet)).used(&in_use, None).soon();
    assert_eq!(again.commit().await.unwrap(), Outcome::Stale);
    let filter = AuditFilter { action: Some(Action::CodeGet), ..AuditFilter::default() };
    let page = world.vault.audit_page(&filter, &AuditAsk { limit: 9, ..AuditAsk::default() }).await.unwrap();
    assert_eq!(page.rows, []);
}
