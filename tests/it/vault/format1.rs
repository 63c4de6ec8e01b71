//! Vaults of format 1 are moved: after a copy, and completely or not at all.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use countersign::{
    domain::{
        audit::{Action, Actor, AuditEntry, AuditFilter},
        code_use::Holder,
        ids::SecretId,
        seat::SeatName,
        secret::SecretUse,
        text::{AuthSubject, Name},
        time::Timestamp,
        totp::{Algorithm, Step},
    },
    random::SystemRandom,
    vault::{self, AuditAsk, Finding, Life, OpenError, Page, Vault, VaultRequest},
};

use super::kit::{Folder, NOW, World};

/// Puts a vault of format 1 and its key into their places, and returns a request that opens it.
fn old_vault(folder: &Folder, name: &str) -> VaultRequest {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for (from, to) in [("db", folder.file()), ("key", folder.root.join("keys/vault.key"))] {
        let parent = to.parent().unwrap();
        std::fs::create_dir_all(parent).unwrap();
        std::fs::copy(fixtures.join(format!("{name}.{from}")), &to).unwrap();
        #[cfg(unix)]
        for (path, mode) in [(parent, 0o700), (to.as_path(), 0o600)] {
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        }
    }
    folder.with_key("keys/vault.key", folder.existing())
}

async fn open(request: &VaultRequest) -> Result<Vault, OpenError> {
    vault::open(request, Arc::new(SystemRandom)).await
}

fn id(text: &str) -> SecretId {
    text.parse().unwrap()
}

/// The files beside the vault, by name.
fn files(folder: &Folder) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        std::fs::read_dir(folder.root.join("data")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_vault_of_format_1_is_moved_and_everything_in_it_is_found() {
    let folder = Folder::new();
    let request = old_vault(&folder, "vault-v1-full");
    let counted =
        "INSERT INTO code_count SELECT id, CAST('kI9UFF8bN5jYq' AS BLOB), 29930048, 3 FROM secret WHERE n = 1";
    assert_eq!(folder.edit(counted), 1);
    let before = std::fs::read(folder.file()).unwrap();
    let vault = open(&request).await.unwrap();
    let account = vault.status().default_account;
    assert_eq!(vault.status().store.format, 2);

    let live = vault.secrets(account, Life::Live, Page::ALL).await.unwrap().sound;
    let labels: Vec<_> = live.iter().map(|secret| secret.metadata.label.to_string()).collect();
    assert_eq!(labels, ["ada@example.com", "grace", "repeated"]);
    let globex = &live[1];
    assert_eq!((globex.metadata.usage, globex.metadata.totp.algorithm), (SecretUse::SingleUse, Algorithm::Sha256));
    assert_eq!(vault.find_secrets(account, Life::Live, "globex").await.unwrap().len(), 1);
    assert_eq!(vault.secrets(account, Life::Deleted, Page::ALL).await.unwrap().sound.len(), 1);

    let now = Timestamp::from_seconds(29_930_048 * 60);
    let subject = SeatName::Subject(AuthSubject::parse("google|1").unwrap());
    let seat = vault.seat(account, &subject).await.unwrap().unwrap();
    assert_eq!((seat.profile.email.as_str(), seat.profile.codes_per_hour), ("Ada@Example.com", Some(9)));
    let acme = id("01a21e31-4c41-7e65-92a0-bc0a149f8ebb");
    let in_use = vault.in_use(account, acme, &[Holder::Seat(seat.id)], now).await.unwrap().unwrap();
    assert_eq!((in_use.state.steps.given, in_use.state.verify.wrong), (Some(Step(59_860_096)), 2));
    assert_eq!(in_use.counts[0].total(), 1);
    let seed = vault.open_seed(&in_use).unwrap();
    assert_eq!(seed.expose(), b"12345678901234567890");
    assert_eq!(vault.same_seed(account, &seed, &in_use.secret.metadata).await.unwrap().len(), 1);

    let keys = vault.keys(account).await.unwrap().sound;
    assert_eq!(keys.iter().map(|key| key.key.name.as_str()).collect::<Vec<_>>(), ["robot", "old", "writer"]);
    assert_eq!((keys[0].key.rights.seat, keys[0].key.rights.secrets.as_deref()), (Some(seat.id), Some(&[acme][..])));
    assert!(keys[0].key.last_used_at.is_some() && keys[1].key.revoked_at.is_some());
    let other = vault.account_named(&Name::parse("acme").unwrap()).await.unwrap().unwrap();
    assert_eq!(vault.find_secrets(other.id, Life::Live, "strasse öffnung").await.unwrap().len(), 1);

    let report = vault.verify(&[]).await.unwrap();
    assert_eq!((report.finding, report.rows), (None, 20));
    let moved = AuditFilter { action: Some(Action::VaultMigrate), ..AuditFilter::default() };
    let page = vault.audit_page(&moved, &AuditAsk { limit: 9, ..AuditAsk::default() }).await.unwrap();
    // A row without an account would be in no account's list.
    assert_eq!(page.rows.iter().map(|row| row.entry.account).collect::<Vec<_>>(), [Some(account)]);
    assert_eq!(vault.examine().await.unwrap().problems, Vec::<String>::new());

    let snapshot = vault.status().moved.clone().unwrap();
    let name = snapshot.file_name().unwrap().to_string_lossy().into_owned();
    assert_eq!(name, "vault.db.format-1-2026-11-22T08-30-00-000Z");
    vault.close().await.unwrap();
    // The copy is a vault of format 1 with the same rows.
    let rows = |path: &Path| {
        let conn = rusqlite::Connection::open(path).unwrap();
        let count = "SELECT (SELECT count(*) FROM secret) * 1000 + (SELECT count(*) FROM trail)";
        conn.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(rows(&snapshot), 5019);
    assert_eq!(before.get(60..64), std::fs::read(&snapshot).unwrap().get(60..64), "user_version");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&snapshot).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let again = World::of(Folder::shared(&folder.root));
    drop(again);
    let again = open(&request).await.unwrap();
    assert!(again.status().moved.is_none());
}

/// The time by which rows are found is under no MAC of format 1: it follows from the row's own and the row before it.
#[tokio::test]
async fn the_time_of_a_moved_row_can_t_be_changed_without_the_key() {
    let before = |time: Timestamp| time.plus(Duration::from_hours(24 * 365));
    for (change, found) in [
        ("UPDATE audit SET at = at - 1 WHERE place = 5", 5),
        ("UPDATE audit SET at = at + 1 WHERE place = 5", 5),
        ("UPDATE audit SET at = at + 1 WHERE place = 1", 1),
        ("UPDATE audit SET at = at - 1 WHERE place BETWEEN 8 AND 19", 8),
    ] {
        let folder = Folder::new();
        let vault = open(&old_vault(&folder, "vault-v1-full")).await.unwrap();
        assert_eq!(vault.verify(&[]).await.unwrap().finding, None);
        assert!(folder.edit(change) > 0);
        assert_eq!(vault.verify(&[]).await.unwrap().finding, Some((0, Finding::Changed(found))), "{change}");
        let entry = AuditEntry::by(Actor::Person, Action::AuditPrune, NOW);
        assert!(vault.prune(before(NOW), &entry, None).await.is_err(), "{change}");
    }
}

#[tokio::test]
async fn rows_after_those_that_were_pruned_are_checked_too() {
    let folder = Folder::new();
    let vault = open(&old_vault(&folder, "vault-v1-full")).await.unwrap();
    let page = vault.audit_page(&AuditFilter::default(), &AuditAsk { limit: 99, ..AuditAsk::default() }).await.unwrap();
    let tenth = page.rows[10].entry.at;
    let entry = AuditEntry::by(Actor::Person, Action::AuditPrune, NOW);
    let pruned = vault.prune(tenth, &entry, None).await.unwrap();
    assert!((1..19).contains(&pruned), "{pruned}");
    assert_eq!(vault.verify(&[]).await.unwrap().finding, None);
    let first = pruned + 1;
    assert_eq!(folder.edit(&format!("UPDATE audit SET at = at - 1 WHERE place = {first}")), 1);
    assert_eq!(vault.verify(&[]).await.unwrap().finding, Some((0, Finding::Changed(first))));
}

/// The first vault that was kept as a fixture. Its metadata was never sealed, because its makers had no use for it.
#[tokio::test]
async fn the_first_fixture_is_moved_byte_for_byte() {
    let folder = Folder::new();
    let vault = open(&old_vault(&folder, "vault-v1")).await.unwrap();
    let account = vault.status().default_account;
    assert_eq!(vault.count_secrets(account, Life::Live).await.unwrap(), 1);
    assert_eq!(vault.count_secrets(account, Life::Deleted).await.unwrap(), 1);
    assert_eq!(vault.keys(account).await.unwrap().sound.len(), 2);
    let subject = SeatName::Subject(AuthSubject::parse("google|1").unwrap());
    assert!(vault.seat(account, &subject).await.unwrap().is_some());
    assert!(vault.account_named(&Name::parse("acme").unwrap()).await.unwrap().is_some());
    let report = vault.verify(&[]).await.unwrap();
    assert_eq!((report.finding, report.rows), (None, 11));
    let problems = vault.examine().await.unwrap().problems;
    let unsealed = "metadata or seed that never was sealed";
    assert!(problems.iter().all(|problem| problem.contains("secret 0000000")), "{unsealed}: {problems:?}");
    vault.close().await.unwrap();
}

#[tokio::test]
async fn a_damaged_row_stops_the_move_and_nothing_is_changed() {
    for (change, named) in [
        ("UPDATE secret SET version = 2 WHERE n = 1", "01a21e31-4c41-7e65-92a0-bc0a149f8ebb"),
        ("UPDATE account SET name = 'evil' WHERE name = 'acme'", "account"),
        ("UPDATE seat SET auth_subject = 'evil'", "seat"),
        ("UPDATE api_key SET scopes = 'audit:read' WHERE name = 'robot'", "I9UFF8bN5jYq"),
        ("UPDATE idempotency SET created_at = 0", "idempotency"),
        ("UPDATE trail SET outcome = 'busy' WHERE seq = 8", "row 8"),
        ("DELETE FROM trail WHERE seq = 8", "row 8"),
        ("DELETE FROM trail WHERE seq = 19", "head"),
        ("UPDATE trail_end SET seq = 18 WHERE which = 'head'", "trail_end"),
        ("UPDATE vault SET created_at = 0", "vault"),
    ] {
        let folder = Folder::new();
        let request = old_vault(&folder, "vault-v1-full");
        assert_eq!(folder.edit(change), 1, "{change}");
        let (before, beside) = (std::fs::read(folder.file()).unwrap(), files(&folder));
        let refused = open(&request).await.map(|_| ()).unwrap_err();
        assert!(matches!(refused, OpenError::Store(_)), "{refused}");
        assert!(refused.to_string().contains(named), "{change}: {refused}");
        assert!(refused.to_string().contains("nothing was changed"), "{refused}");
        assert_eq!(std::fs::read(folder.file()).unwrap(), before, "{change}");
        let left: Vec<_> = files(&folder).into_iter().filter(|file| !beside.contains(file)).collect();
        assert!(left.iter().all(|file| !file.to_string_lossy().contains("format-1")), "{left:?}");
    }
}

/// Format 1 had another page size.
#[tokio::test]
async fn a_moved_vault_is_repaired_too() {
    let folder = Folder::new();
    let request = old_vault(&folder, "vault-v1");
    open(&request).await.unwrap().close().await.unwrap();
    folder.edit("DELETE FROM record_word");

    let done = vault::repair(&request, None, vault::Act::Carry, Arc::new(SystemRandom), || NOW).await.unwrap();

    // The fixture has seals that no version could open.
    assert_eq!(done.mended.len(), 1, "{done:?}");
    open(&request).await.unwrap().close().await.unwrap();
}

#[tokio::test]
async fn a_wrong_key_moves_nothing() {
    let folder = Folder::new();
    let request = old_vault(&folder, "vault-v1-full");
    let other = World::new().await;
    std::fs::copy(other.vault.status().key_file.as_ref().unwrap(), folder.root.join("keys/vault.key")).unwrap();
    let before = std::fs::read(folder.file()).unwrap();
    let refused = open(&request).await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, OpenError::WrongKey { .. }), "{refused}");
    assert_eq!(std::fs::read(folder.file()).unwrap(), before);
}

/// The `main` of the process that is killed in the test below. It does nothing without its variable.
#[tokio::test]
async fn another_process_moves_a_vault() {
    let Some(root) = std::env::var_os("COUNTERSIGN_TEST_MOVE_IN") else { return };
    let folder = Folder::shared(Path::new(&root));
    let request = folder.with_key("keys/vault.key", folder.existing());
    open(&request).await.unwrap().close().await.unwrap();
}

/// Counts have no MAC, so a test can add enough of them to keep the move busy until it is killed.
const COUNTS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000) \
                      INSERT INTO code_count SELECT secret.id, CAST('k' || printf('%012d', i) AS BLOB), 1, 1 FROM n, secret \
                      WHERE secret.n = 1";

/// The longest that a test waits for the move to begin.
const PATIENCE: Duration = Duration::from_mins(1);

#[test]
fn killed_in_the_middle_of_the_move_it_is_still_of_format_1_and_whole() {
    let folder = Folder::new();
    let request = old_vault(&folder, "vault-v1-full");
    assert_eq!(folder.edit(COUNTS), 50_000);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "vault::format1::another_process_moves_a_vault"])
        .env("COUNTERSIGN_TEST_MOVE_IN", &folder.root)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // A change that does not fit into memory is written to the log before it is committed.
    let begun = Instant::now();
    let log = || std::fs::metadata(folder.root.join("data/vault.db-wal")).map_or(0, |log| log.len());
    while log() < 256 * 1024 {
        assert!(begun.elapsed() < PATIENCE && child.try_wait().unwrap().is_none(), "it does not begin");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let conn = rusqlite::Connection::open(folder.file()).unwrap();
    let number = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(number("SELECT user_version FROM pragma_user_version"), 1);
    assert_eq!((number("SELECT count(*) FROM secret"), number("SELECT count(*) FROM trail")), (5, 19));
    drop(conn);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let vault = open(&request).await.unwrap();
        let account = vault.status().default_account;
        assert_eq!(vault.secrets(account, Life::Live, Page::ALL).await.unwrap().sound.len(), 3);
        assert_eq!(vault.verify(&[]).await.unwrap().finding, None);
        vault.close().await.unwrap();
    });
    let copies = files(&folder).iter().filter(|file| file.to_string_lossy().contains(".format-1-")).count();
    assert_eq!(copies, 2, "one of each try");
}

/// The replaced vault is kept as it is, too.
#[tokio::test]
async fn a_backup_of_format_1_is_restored_and_stays_what_it_was() {
    let folder = Folder::new();
    let request = old_vault(&folder, "vault-v1-full");
    let backup = folder.root.join("backup.db");
    std::fs::copy(folder.file(), &backup).unwrap();
    let before = std::fs::read(&backup).unwrap();

    let restored = vault::restore(&request, &backup, Arc::new(SystemRandom), || NOW).await;

    let (vault, restored) = restored.unwrap();
    assert_eq!(vault.status().store.format, 2);
    vault.close().await.unwrap();
    assert!(std::fs::read(&backup).unwrap() == before);
    assert!(std::fs::read(restored.aside.unwrap()).unwrap() == before);
    let names: Vec<_> = files(&folder).iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    let is_left = |name: &std::ffi::OsString| {
        let name = name.to_string_lossy();
        name.contains(".restore-") || name.contains("format-1")
    };
    assert!(!names.iter().any(is_left), "{names:?}");
}

#[tokio::test]
async fn a_restore_that_is_refused_and_a_plan_leave_a_vault_of_format_1_as_it_is() {
    let folder = Folder::new();
    let request = old_vault(&folder, "vault-v1-full");
    let before = std::fs::read(folder.file()).unwrap();
    // Another vault, whose key is not there.
    let other = World::new().await;
    let backup = folder.root.join("backup.db");
    other.vault.back_up(&backup, Vec::new()).await.unwrap();
    assert!(vault::restore(&request, &backup, Arc::new(SystemRandom), || NOW).await.is_err());
    let plan = vault::repair(&request, None, vault::Act::Plan, Arc::new(SystemRandom), || NOW).await;
    assert!(plan.unwrap_err().to_string().contains("any other command moves it"));
    assert!(std::fs::read(folder.file()).unwrap() == before);
}

#[tokio::test]
async fn the_copy_of_a_moved_vault_replaces_no_earlier_one() {
    let folder = Folder::new();
    let request = old_vault(&folder, "vault-v1");
    let name = "vault.db.format-1-2026-11-22T08-30-00-000Z";
    for taken in [name.to_owned(), format!("{name}-2")] {
        std::fs::write(folder.root.join("data").join(taken), "an earlier one").unwrap();
    }
    let vault = open(&request).await.unwrap();
    let copy = vault.status().moved.clone().unwrap();
    assert_eq!(copy.file_name().unwrap().to_string_lossy(), format!("{name}-3"));
    assert_eq!(std::fs::read(folder.root.join("data").join(name)).unwrap(), b"an earlier one");
    vault.close().await.unwrap();
}

#[tokio::test]
async fn a_keys_count_is_moved_and_a_log_that_was_not_pruned_gets_no_base() {
    let folder = Folder::new();
    let request = old_vault(&folder, "vault-v1-full");
    let counted =
        "INSERT INTO code_count SELECT id, CAST('kI9UFF8bN5jYq' AS BLOB), 29930048, 3 FROM secret WHERE n = 1";
    assert_eq!(folder.edit(counted), 1);
    let vault = open(&request).await.unwrap();
    let (account, now) = (vault.status().default_account, Timestamp::from_seconds(29_930_048 * 60));
    let holder = Holder::Key("I9UFF8bN5jYq".parse().unwrap());
    let acme = id("01a21e31-4c41-7e65-92a0-bc0a149f8ebb");
    let in_use = vault.in_use(account, acme, &[holder], now).await.unwrap().unwrap();
    assert_eq!(in_use.counts[0].total(), 3);
    vault.close().await.unwrap();
    let conn = rusqlite::Connection::open(folder.file()).unwrap();
    let bases = conn.query_row("SELECT count(*) FROM record WHERE kind = 12", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(bases, 0);
}
