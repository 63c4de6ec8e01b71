//! `countersign vault doctor`: examines the vault; with `--repair`, shows what a repair would do, asks for
//! confirmation, and shows what it did.

use std::path::PathBuf;

use serde::Serialize;

use super::{
    Ending, Failure, Session,
    audit_table::harmless,
    numbers::{counted, counted_len, kib},
    output::Console,
    vault::{Confinement, ProcessFacts, note_held_back},
    vault_status,
};
use crate::operations::{Circumstance, Diagnose, Erased, Mended, Repaired, answers::OK};

/// The status of a vault with problems.
const NOT_SOUND: &str = "ERROR";

/// The result of an examination, as JSON.
#[derive(Serialize)]
struct DoctorAnswer<'a> {
    problems: Vec<String>,
    /// Why the examination could not finish, or the vault can't be written; absent if it could.
    #[serde(skip_serializing_if = "Option::is_none")]
    obstacle: Option<String>,
    secrets: u64,
    audit_rows: u64,
    /// Bytes in the write-ahead log: at most this much of the newest data is in the log alone.
    log_bytes: u64,
    /// The number of secrets erased because their seven days were over; 0 if there are problems.
    erased: u64,
    /// The number of records that still need an older data key, if a rotation is not finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation_left: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<ProcessView>,
    /// Facts about the database server for its operator, if the vault is on one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    server: Vec<ServerView<'a>>,
    status: &'static str,
}

/// A fact about the server, as JSON.
#[derive(Serialize)]
struct ServerView<'a> {
    name: &'static str,
    found: &'a str,
    /// What is wrong with it, and what to do; null if it is as it should be.
    concern: Option<&'static str>,
}

/// What protects a server or sidecar of this vault, as JSON.
#[derive(Serialize)]
struct ProcessView {
    /// Whether Landlock limits what it writes.
    landlock: bool,
    /// The folders in which it may write, besides those for backups; absent if it may write wherever its user may.
    #[serde(skip_serializing_if = "Option::is_none")]
    writes_only: Option<Vec<String>>,
    /// Whether the vault's keys are kept out of swap.
    keys_locked: bool,
}

/// A repair that a person requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// The backup from which damaged and lost secrets, seats and keys are taken.
    pub from: Option<PathBuf>,
    /// Whether the person has already agreed.
    pub agreed: bool,
}

/// A repair, as JSON.
#[derive(Serialize)]
struct RepairAnswer<'a> {
    /// The problems before the repair.
    problems: &'a [String],
    repaired: Vec<MendedView<'a>>,
    /// The problems that remain.
    left: &'a [String],
    /// The file with a copy of the vault before the repair; null if nothing was changed.
    copy: Option<String>,
    status: &'static str,
}

#[derive(Serialize)]
struct MendedView<'a> {
    what: &'a str,
    how: &'a str,
}

/// Examines the vault.
pub(super) async fn doctor(session: &mut Session) -> Result<Ending, Failure> {
    let found = session.perform(Diagnose).await?;
    let sound = found.problems.is_empty() && found.obstacle.is_none();
    // The doctor also erases secrets past their seven days, as promised. Commands that agents and scripts run often
    // don't spend time on it, and nothing is erased from a damaged vault.
    let erased = if sound { session.service.erase_expired().await? } else { Erased::default() };
    let unfinished = vault_status::unfinished(session).await;
    let answer = DoctorAnswer {
        problems: found.problems,
        obstacle: found.obstacle,
        secrets: found.secrets,
        audit_rows: found.audit_rows,
        log_bytes: found.log_bytes,
        erased: erased.secrets,
        rotation_left: unfinished.as_ref().filter(|rotation| !rotation.finished).map(|rotation| rotation.left),
        process: session.vault.process.as_ref().map(ProcessView::of),
        server: found.server.iter().map(ServerView::of).collect(),
        status: if sound { OK } else { NOT_SOUND },
    };
    let protection = session.vault.process.as_ref().map(protection).unwrap_or_default();
    session.console.answer(&answer, |console| {
        for problem in &answer.problems {
            console.line(&format!("problem: {}", harmless(problem)))?;
        }
        if let Some(obstacle) = &answer.obstacle {
            console.line(&format!("obstacle: {}", harmless(obstacle)))?;
        }
        let verdict = match (sound, answer.problems.is_empty()) {
            (true, _) => "sound",
            (false, true) => "no damage found",
            (false, false) => "not sound",
        };
        let (secrets, rows) = (counted(answer.secrets, "secret"), counted(answer.audit_rows, "row"));
        console.line(&format!("{verdict}: {secrets} and {rows} of the audit log examined"))?;
        for line in &protection {
            console.line(&harmless(line))?;
        }
        answer.server.iter().try_for_each(|one| console.line(&harmless(&one.line())))?;
        if answer.log_bytes == 0 {
            return Ok(());
        }
        console
            .line(&format!("up to {} of the newest changes stand in the write-ahead log alone", kib(answer.log_bytes)))
    })?;
    if let Some(rotation) = unfinished {
        session.console.note(&format!("A rotation is not finished: {}.", vault_status::words(&rotation)));
    }
    if sound {
        note_held_back(erased, &mut session.console);
        return Ok(Ending::Done);
    }
    session.console.note(if answer.problems.is_empty() {
        "See that the disk has room, that the files are yours to write, and that no other program holds them; then run it again."
    } else {
        "`countersign vault doctor --repair` repairs what can be, with --from BACKUP also what is lost, and keeps a copy of what \
         the vault was. If it can't: `countersign vault restore BACKUP`."
    });
    Ok(Ending::No)
}

impl<'a> ServerView<'a> {
    fn of(Circumstance { name, found, concern }: &'a Circumstance) -> Self {
        Self { name, found, concern: *concern }
    }

    fn line(&self) -> String {
        let Self { name, found, concern } = self;
        match concern {
            Some(concern) => format!("warning: server: {name}: {found}: {concern}"),
            None => format!("server: {name}: {found}"),
        }
    }
}

impl ProcessView {
    fn of(facts: &ProcessFacts) -> Self {
        let writes_only = match &facts.writes {
            Confinement::Only(folders) => Some(shown(folders).collect()),
            Confinement::Unavailable | Confinement::Command => None,
        };
        Self { landlock: writes_only.is_some(), writes_only, keys_locked: facts.keys_locked }
    }
}

fn shown(folders: &[PathBuf]) -> impl Iterator<Item = String> {
    folders.iter().map(|folder| folder.display().to_string())
}

/// Describes what protects a server or sidecar of this vault.
fn protection(facts: &ProcessFacts) -> [String; 2] {
    let writes = match &facts.writes {
        Confinement::Only(folders) => {
            let folders = shown(folders).collect::<Vec<_>>().join(", ");
            format!("servers and sidecars can write only in {folders}, and in --backup-dir (Landlock)")
        }
        Confinement::Unavailable => {
            "servers and sidecars can write wherever their user can: Landlock is not available here".to_owned()
        }
        Confinement::Command => {
            "servers and sidecars can write wherever their user can: Landlock is not applied, since a command \
                                 gives the key"
                .to_owned()
        }
    };
    let keys = if facts.keys_locked {
        "the vault's keys are locked in memory"
    } else {
        "the vault's keys are not locked in memory and can reach the swap: the system allows too little (`ulimit -l`)"
    };
    [writes, keys.to_owned()]
}

/// Shows what a repair would do, and asks whether to do it. Returns the command's ending if there is nothing to repair
/// or nothing can be repaired.
///
/// # Errors
/// [`Failure`]: no person can be asked, or the answer is no.
pub fn ask_to_repair(console: &mut Console, plan: &Repaired, agreed: bool) -> Result<Option<Ending>, Failure> {
    if plan.problems.is_empty() {
        let answer = RepairAnswer { problems: &[], repaired: Vec::new(), left: &[], copy: None, status: OK };
        console.answer(&answer, |console| console.line("sound: nothing to repair"))?;
        return Ok(Some(Ending::Done));
    }
    if !plan.helps() {
        let nothing = Repaired { mended: Vec::new(), ..plan.clone() };
        return repaired(console, &nothing).map(Some);
    }
    for problem in &plan.problems {
        console.note(&format!("problem: {}", harmless(problem)));
    }
    for Mended { what, how } in &plan.mended {
        console.note(&format!("would do: {}: {how}", harmless(what)));
    }
    for problem in &plan.left {
        console.note(&format!("can't be repaired: {}", harmless(problem)));
    }
    console.confirm("Repair this? What the vault is now is kept in a file.", agreed.into())?;
    Ok(None)
}

/// Shows what a repair did.
///
/// # Errors
/// [`Failure`].
pub fn repaired(console: &mut Console, done: &Repaired) -> Result<Ending, Failure> {
    let sound = done.left.is_empty();
    let answer = RepairAnswer {
        problems: &done.problems,
        repaired: done.mended.iter().map(|Mended { what, how }| MendedView { what, how }).collect(),
        left: &done.left,
        copy: done.copy.as_ref().map(|path| path.display().to_string()),
        status: if sound { OK } else { NOT_SOUND },
    };
    console.answer(&answer, |console| {
        for MendedView { what, how } in &answer.repaired {
            console.line(&format!("{}: {how}", harmless(what)))?;
        }
        for problem in answer.left {
            console.line(&format!("can't be repaired: {}", harmless(problem)))?;
        }
        if let Some(copy) = &answer.copy {
            console.line(&format!("copy of what it was: {copy}"))?;
        }
        let left = counted_len(answer.left.len(), "problem");
        console.line(&if sound { "sound now".to_owned() } else { format!("not sound: {left} left") })
    })?;
    if sound {
        console.note("Remove the copy once everything is as it should be: it is sealed like the vault.");
        return Ok(Ending::Done);
    }
    console.note(
        "A damaged or lost secret is restored by --from BACKUP, or removed by `countersign secret rm ID --now`; a damaged key is \
         removed by `countersign key revoke --damaged`. A backup takes the place of the whole vault by `countersign vault restore \
         BACKUP`.",
    );
    Ok(Ending::No)
}
