//! Files that were damaged or edited: they never lead to a wrong code or right, and the damage is found.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use countersign::{
    domain::{api_key::PlainKey, audit::Action, audit::AuditFilter, principal::Principal, scope::ScopeSet},
    operations::{AddSeat, CreateKey, GetCode, Offered, RevokeKey, SeatChanges, Service},
    random::SystemRandom,
    vault::{Act, AuditAsk, Life, Page, Repaired, Vault, repair},
};
use zeroize::Zeroizing;

use super::{Row, folder, runtime};
use crate::{
    cli::{Ran, finish},
    fleet::Dice,
    kit::{self, HandClock},
    sqlite::{files_in, private_dir, set_mode},
    vault::kit::{Folder, NOW, World},
};

const PAGE: usize = 2048;
/// The number of rows in the audit log that is edited.
const ROWS: u64 = 40;

/// A vault with secrets, seats, keys and rows, closed, and its answers while it is sound.
struct Sound {
    bytes: Vec<u8>,
    key_file: PathBuf,
    tokens: Vec<String>,
    answers: BTreeMap<String, String>,
    _own: tempfile::TempDir,
}

impl Sound {
    async fn new() -> Self {
        let vault = kit::Vault::at(tempfile::tempdir().unwrap(), HandClock::at_seconds(NOW.seconds()));
        let mut tokens = Vec::new();
        for nth in 0..6 {
            let id = vault.register(&format!("account {nth}")).await.secret.id;
            vault.service.perform(&vault.person, GetCode::of(id)).await.unwrap();
            let email = Some(format!("{nth}@example.com"));
            vault
                .service
                .perform(&vault.person, AddSeat { profile: SeatChanges { email, ..SeatChanges::default() } })
                .await
                .unwrap();
            let key = CreateKey {
                name: format!("key {nth}"),
                scopes: ScopeSet::of_a_new_key(),
                seat: None,
                secrets: (nth % 2 == 0).then(|| vec![id]),
                codes_per_hour: None,
                expires_at: None,
            };
            let minted = vault.service.perform(&vault.person, key).await.unwrap();
            tokens.push(minted.plain.expose_token().to_string());
            if nth % 3 == 0 {
                vault.service.perform(&vault.person, RevokeKey { id: minted.key.id }).await.unwrap();
            }
        }
        vault.service.close().await.unwrap();
        let bytes = fs::read(vault.dir.path().join("data/vault.db")).unwrap();
        let key_file = files_in(&vault.dir.path().join("config/keys")).remove(0);
        let mut sound = Self { bytes, key_file, tokens, answers: BTreeMap::new(), _own: vault.dir };
        let (_own, root) = folder();
        let placed = sound.place(&root, &sound.bytes);
        sound.answers = sound.answers_of(&placed.open().await.unwrap()).await;
        assert!(sound.answers.len() > 20 && sound.answers.values().all(|answer| !answer.is_empty()));
        sound
    }

    /// Replaces the vault's file, with the right key beside it.
    fn place(&self, root: &Path, bytes: &[u8]) -> Folder {
        for folder in ["data", "config/keys"] {
            let _ = fs::remove_dir_all(root.join(folder));
            private_dir(&root.join(folder));
        }
        set_mode(&root.join("config"), 0o700);
        let key = root.join("config/keys").join(self.key_file.file_name().unwrap());
        fs::copy(&self.key_file, key).unwrap();
        fs::write(root.join("data/vault.db"), bytes).unwrap();
        set_mode(&root.join("data/vault.db"), 0o600);
        Folder::shared(root)
    }

    /// All answers of a vault, by their questions; an empty answer is a refusal.
    async fn answers_of(&self, vault: &Vault) -> BTreeMap<String, String> {
        let mut answers = BTreeMap::new();
        let account = vault.status().default_account;
        let listed = vault.secrets(account, Life::Live, Page::ALL).await.unwrap_or_default();
        for secret in &listed.sound {
            answers.insert(format!("secret {}", secret.id), format!("{:?}", secret.metadata));
        }
        for seat in vault.seats(account, Page::ALL).await.unwrap_or_default().sound {
            answers.insert(format!("seat {}", seat.id), format!("{:?}", seat.value));
        }
        let rows = vault.audit_page(&AuditFilter::default(), &AuditAsk { limit: 1000, ..AuditAsk::default() }).await;
        for row in rows.map(|page| page.rows).unwrap_or_default() {
            answers.insert(format!("row {}", row.seq), format!("{row:?}"));
        }
        let clock = HandClock::at_seconds(NOW.seconds());
        let service = Service::new(vault.clone(), clock, Arc::new(SystemRandom));
        for (nth, token) in self.tokens.iter().enumerate() {
            let key = PlainKey::from_token(token).unwrap();
            let rights = service.authenticate(Offered::Key(key)).await;
            // For a key that is off, the answer is the refusal's code.
            let rights = rights.map_or_else(|refusal| format!("{:?}", refusal.code()), |caller| format!("{caller:?}"));
            answers.insert(format!("rights {nth}"), rights);
        }
        for secret in &listed.sound {
            let code = service.perform(&Principal::person(account), GetCode::of(secret.id)).await;
            let digits = code.map(|issued| Zeroizing::new(issued.code.digits().to_owned()));
            answers.insert(format!("code {}", secret.id), digits.map(|digits| digits.to_string()).unwrap_or_default());
        }
        answers
    }
}

/// Runs a command on the vault in a folder.
fn command(root: &Path, key_file: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    let key = root.join("config/keys").join(key_file.file_name().unwrap());
    command.env_clear().env("HOME", root).current_dir(root).arg("--data-dir").arg(root.join("data"));
    command.arg("--key-file").arg(key).arg("--state-dir").arg(root.join("state")).args(arguments);
    finish(&mut command, b"")
}

const COMMANDS: [&[&str]; 11] = [
    &["vault", "doctor"],
    &["vault", "status"],
    &["vault", "backup", "backup.db"],
    &["secret", "list"],
    &["code", "account 1"],
    &["key", "list"],
    &["seat", "list"],
    &["account", "list"],
    &["audit", "list"],
    &["audit", "verify"],
    &["secret", "add", "--label", "new", "--generate"],
];

/// Makes one damage, and describes it.
fn damage(bytes: &mut [u8], dice: &mut Dice) -> String {
    let pages = bytes.len() / PAGE;
    let (page, other) = (dice.below(pages), dice.below(pages));
    match dice.below(3) {
        0 => {
            let (at, bit) = (dice.below(bytes.len()), dice.below(8));
            bytes[at] ^= 1 << bit;
            format!("bit {bit} of byte {at} flipped")
        }
        1 => {
            bytes[page * PAGE..][..PAGE].fill(0);
            format!("page {page} zeroed")
        }
        _ => {
            let kept = bytes[page * PAGE..][..PAGE].to_vec();
            bytes.copy_within(other * PAGE..(other + 1) * PAGE, page * PAGE);
            bytes[other * PAGE..][..PAGE].copy_from_slice(&kept);
            format!("pages {page} and {other} swapped")
        }
    }
}

#[test]
fn bit_flips_zeroed_and_swapped_pages() {
    let mut row = Row::new("bit flips, zeroed and swapped pages", 11);
    let sound = runtime().block_on(Sound::new());
    let (_own, root) = folder();
    let (mut done, mut of_no_use) = (0, 0);
    while done < row.times {
        let mut bytes = sound.bytes.clone();
        let what = damage(&mut bytes, &mut row.dice);
        if bytes == sound.bytes {
            continue;
        }
        done += 1;
        let placed = sound.place(&root, &bytes);
        let (found, answers) = runtime().block_on(examined(&sound, &placed));
        for (asked, answer) in &answers {
            let right = sound.answers.get(asked);
            let is_refusal =
                answer.is_empty() || matches!(answer.as_str(), "Unauthenticated" | "Internal" | "Unavailable");
            // A list of the audit log shows rows whose chain only `audit verify` and the doctor check.
            let is_right = right == Some(answer) || is_refusal || asked.starts_with("row ");
            if !is_right {
                row.lose(format!("{what}: {asked} answered {answer:?}, found: {found}"));
            }
        }
        if !found && answers != sound.answers {
            row.lose(format!("{what}: the doctor calls it sound, and something is missing"));
        }
        of_no_use += usize::from(!found);
        sound.place(&root, &bytes);
        let arguments = COMMANDS[row.dice.below(COMMANDS.len())];
        let ran = command(&root, &sound.key_file, arguments);
        let is_doctor_blind = arguments == COMMANDS[0] && found && ran.status == 0;
        if !matches!(ran.status, 0 | 1 | 78) || ran.err.contains("panicked") || is_doctor_blind {
            row.lose(format!("{what}: {arguments:?} ended with {ran:?}"));
        }
        let _ = fs::remove_file(root.join("backup.db"));
    }
    println!("torture: {}: {of_no_use} of them in bytes that hold nothing, with every answer as before", row.name);
    row.end();
}

/// Whether the doctor finds a damage, and the vault's answers.
async fn examined(sound: &Sound, placed: &Folder) -> (bool, BTreeMap<String, String>) {
    let _ = fs::remove_dir_all(placed.root.join("state"));
    let Ok(vault) = placed.open().await else { return (true, BTreeMap::new()) };
    let problems = vault.examine().await.map_or(1, |examined| examined.problems.len());
    let finding = vault.verify(&[]).await.map_or(true, |report| report.finding.is_some());
    let answers = sound.answers_of(&vault).await;
    // A vault with this damage may not close in order.
    let _ = vault.close().await;
    (problems > 0 || finding, answers)
}

#[test]
fn repairs_of_bit_flips_zeroed_and_swapped_pages() {
    let mut row = Row::new("repairs of bit flips, zeroed and swapped pages", 11);
    let sound = runtime().block_on(Sound::new());
    let (_own, root) = folder();
    let backup = root.join("backup.db");
    let (mut done, mut refused, mut of_no_use) = (0, 0, 0);
    while done < row.times {
        let mut bytes = sound.bytes.clone();
        let what = damage(&mut bytes, &mut row.dice);
        if bytes == sound.bytes {
            continue;
        }
        done += 1;
        let placed = sound.place(&root, &bytes);
        let _ = fs::remove_dir_all(root.join("state"));
        fs::write(&backup, &sound.bytes).unwrap();
        match runtime().block_on(mended(&sound, &placed, &backup)) {
            Ok(Some(problems)) => problems.into_iter().for_each(|problem| row.lose(format!("{what}: {problem}"))),
            Ok(None) => of_no_use += 1,
            // The schema or all records are damaged: such a vault is restored from the whole backup.
            Err(told) if told.contains("is damaged or no vault") || told.contains("newer than this version") => {
                refused += 1;
                let kept = fs::read(placed.file()).unwrap();
                if kept != bytes {
                    row.lose(format!("{what}: {told}, and the file was changed"));
                }
            }
            Err(told) => row.lose(format!("{what}: {told}")),
        }
    }
    println!("torture: {}: {of_no_use} of them in bytes that hold nothing, {refused} refused", row.name);
    row.end();
}

/// Repairs a vault, and returns what is wrong afterwards, or `None` if there was nothing to repair.
async fn mended(sound: &Sound, placed: &Folder, backup: &Path) -> Result<Option<Vec<String>>, String> {
    let request = placed.existing();
    let attempt = async |from, act| {
        let now = || NOW.plus(Duration::from_secs(1));
        let repaired = repair(&request, from, act, Arc::new(SystemRandom), now).await;
        repaired.map_err(|error| error.to_string())
    };
    // A plan without the backup reports everything that the doctor finds.
    let alone = attempt(None, Act::Plan).await?;
    if alone == Repaired::default() {
        return Ok(None);
    }
    let done = attempt(Some(backup), Act::Carry).await?;
    let mut problems: Vec<String> = done.left.iter().map(|left| format!("left {left}")).collect();
    let vault = placed.open().await.map_err(|error| format!("repaired, and then {error}"))?;
    let examined = vault.examine().await.map_err(|error| error.to_string())?;
    let report = vault.verify(&[]).await.map_err(|error| error.to_string())?;
    problems.extend(examined.problems.into_iter().map(|problem| format!("doctor: {problem}")));
    problems.extend(report.finding.map(|(_, finding)| format!("audit log: {finding}")));
    let answers = sound.answers_of(&vault).await;
    for (asked, right) in &sound.answers {
        let answer = answers.get(asked).cloned().unwrap_or_default();
        let is_off = asked.starts_with("rights ") && answer == "Unauthenticated";
        // Steps of two minutes count as used.
        let is_late = asked.starts_with("code ") && answer.is_empty();
        let is_fenced = asked.starts_with("row ")
            && report.fenced.iter().any(|(_, first, last)| {
                let row: u64 = asked["row ".len()..].parse().unwrap();
                (*first..=*last).contains(&row)
            });
        if answer != *right && !is_off && !is_late && !is_fenced {
            problems.push(format!("{asked} answered {answer:?} in place of {right:?}"));
        }
    }
    vault.close().await.map_err(|error| error.to_string())?;
    if attempt(Some(backup), Act::Plan).await? != Repaired::default() {
        problems.push("it is not done with once".to_owned());
    }
    Ok(Some(problems))
}

/// One edit of an audit log with these rows, as a person without the key would make it.
fn edit(first: u64, last: u64, dice: &mut Dice) -> String {
    let among = |dice: &mut Dice, from: u64, to: u64| from + dice.below(usize::try_from(to - from + 1).unwrap()) as u64;
    let (row, other) = (among(dice, first, last), among(dice, first, last));
    let columns = "at, mac, account, actor_key, key, seat, secret, action, body";
    match dice.below(12) {
        0 => format!("UPDATE audit SET at = at + {} WHERE place = {row}", 1 + dice.below(1000)),
        1 => format!("UPDATE audit SET mac = randomblob(32) WHERE place = {row}"),
        2 | 3 => {
            let at = 1 + dice.below(40);
            // The new byte always differs from the old one.
            let other = format!("CASE substr(body, {at}, 1) WHEN X'7E' THEN '!' ELSE '~' END");
            format!(
                "UPDATE audit SET body = CAST(substr(body, 1, {at} - 1) || {other} || substr(body, {at} + 1) AS BLOB) \
                 WHERE place = {row}"
            )
        }
        // The terms by which a row is found. (Finding it by additional terms changes no answer, because its contents
        // are checked.)
        4 => format!("UPDATE audit SET account = randomblob(16) WHERE place = {row} AND account IS NOT NULL"),
        5 => format!("UPDATE audit SET action = 'forged' WHERE place = {row}"),
        6 => format!("DELETE FROM audit WHERE place >= {row}"),
        7 => format!("DELETE FROM audit WHERE place BETWEEN {0} AND {1}", row.min(other), row.max(other)),
        8 => {
            let other = if row == other { first + (row + 1 - first) % (last - first + 1) } else { other };
            format!(
                "CREATE TEMP TABLE two AS SELECT * FROM audit WHERE place IN ({row}, {other}); \
                 UPDATE audit SET ({columns}) = (SELECT {columns} FROM two WHERE place = {other}) WHERE place = {row}; \
                 UPDATE audit SET ({columns}) = (SELECT {columns} FROM two WHERE place = {row}) WHERE place = {other}"
            )
        }
        9 => {
            let place = last + among(dice, 1, 3);
            format!("INSERT INTO audit SELECT {place}, {columns} FROM audit WHERE place = {row}")
        }
        10 if first > 1 => {
            let place = among(dice, 1, first - 1);
            format!("INSERT INTO audit SELECT {place}, {columns} FROM audit WHERE place = {row}")
        }
        _ => {
            let kind = if first > 1 { 11 + dice.below(2) } else { 11 };
            let change = ["mac = randomblob(32)", "body = CAST(body || ' ' AS BLOB)", "version = version + 1"];
            format!("UPDATE record SET {} WHERE kind = {kind}", change[dice.below(3)])
        }
    }
}

#[test]
fn audit_edits_cuts_swaps_and_insertions_below_and_above_a_pruned_base() {
    let mut row = Row::new("audit edits, cuts, swaps, insertions, below and above a pruned base", 20);
    let logs = [runtime().block_on(log(None)), runtime().block_on(log(Some(15)))];
    for nth in 0..row.times {
        let (world, bytes, first, last) = &logs[nth % 2];
        for ending in ["-wal", "-shm"] {
            let _ = fs::remove_file(world.root.join(format!("data/vault.db{ending}")));
        }
        // An attacker who can write the vault on another machine: the state file, which would reveal the edit too, is
        // missing.
        let _ = fs::remove_dir_all(world.root.join("state"));
        fs::write(world.file(), bytes).unwrap();
        let mut sql = edit(*first, *last, &mut row.dice);
        let conn = rusqlite::Connection::open(world.file()).unwrap();
        conn.execute_batch(&sql).unwrap();
        drop(conn);
        let found = runtime().block_on(async {
            let Ok(vault) = world.open().await else { return true };
            let finding = vault.verify(&[]).await.map_or(true, |report| report.finding.is_some());
            let found = finding || vault.examine().await.map_or(true, |examined| !examined.problems.is_empty());
            let _ = vault.close().await;
            found
        });
        if !found {
            write!(sql, " with rows {first} to {last}").unwrap();
            row.lose(sql);
        }
    }
    row.end();
}

/// A closed vault with [`ROWS`] rows in its log, pruned up to one of them.
async fn log(pruned: Option<u64>) -> (Folder, Vec<u8>, u64, u64) {
    let world = World::new().await;
    for step in 2..=ROWS {
        world.row_at(step, NOW.plus(Duration::from_secs(step))).await;
    }
    if let Some(rows) = pruned {
        let before = NOW.plus(Duration::from_secs(rows + 1));
        assert_eq!(world.vault.prune(before, &world.entry(Action::AuditPrune), None).await.unwrap(), rows);
    }
    world.check_sound().await;
    let spans = world.vault.verify(&[]).await.unwrap().spans;
    world.vault.close().await.unwrap();
    let bytes = fs::read(world.folder.file()).unwrap();
    (world.folder, bytes, spans[0].1, spans[0].2)
}
