//! `countersign vault move`: the question, the progress and the result. The vault itself is moved before a vault is
//! opened for a command.

use std::{ffi::OsString, path::Path};

use clap::Args;
use serde::Serialize;

use super::{
    Ending, Failure,
    numbers::counted,
    output::Console,
    working::{self, watched},
};
use crate::operations::{Relocated, Stage, Travel, answers::OK};

/// What a move takes.
#[derive(Debug, Args)]
pub struct MoveArgs {
    /// The new place, as for --store: `postgres://USER@HOST/DATABASE`, `sqlite:FILE`, or `sqlite:` for the file vault.db in the data
    /// directory. Nothing may be there
    #[arg(long, value_name = "URL")]
    pub to: OsString,
    /// Don't ask
    #[arg(long, short = 'y')]
    pub yes: bool,
}

/// A finished move, as JSON.
#[derive(Serialize)]
struct MoveAnswer<'a> {
    from: &'a str,
    to: &'a str,
    records: u64,
    secrets: u64,
    audit_rows: u64,
    status: &'static str,
}

/// Asks whether to move the vault. `size` is the number of its records and audit rows; `None` if an earlier move has
/// copied them and only has to be finished.
///
/// # Errors
/// [`Failure`]: no person can be asked, or the answer is no.
pub fn ask_to_move(
    console: &mut Console,
    (from, to): (&Path, &Path),
    size: Option<(u64, u64)>,
    agreed: bool,
) -> Result<(), Failure> {
    let (from, to) = (from.display(), to.display());
    let question = match size {
        Some((records, rows)) => format!(
            "Move the vault from {from} to {to}? It has {} and {} of the audit log. Nobody can write to it meanwhile, and \
             {from} opens nothing after that.",
            counted(records, "record"),
            counted(rows, "row")
        ),
        None => format!("Finish the move to {to}? {from} is over already."),
    };
    console.confirm(&question, agreed.into())
}

/// Waits for a move, and shows its progress.
///
/// # Errors
/// [`Failure::Interrupted`]: the vault stays where it was.
pub async fn moving<T>(console: &mut Console, travel: &Travel, work: impl Future<Output = T>) -> Result<T, Failure> {
    let stage = || match travel.stage() {
        // Report at most all but one as done: the copy is examined next, and can still be interrupted.
        Stage::Copying(done, of) => working::Stage::Done(done.min(of.saturating_sub(1)), of.max(1)),
        Stage::Checking => working::Stage::Somewhere,
        Stage::Ending => working::Stage::Last,
    };
    watched(console, "moving", stage, work).await
}

/// Shows a finished move.
///
/// # Errors
/// [`Failure`].
pub fn moved(console: &mut Console, done: &Relocated) -> Result<Ending, Failure> {
    let (from, to) = (done.from.display().to_string(), done.to.display().to_string());
    let answer = MoveAnswer {
        from: &from,
        to: &to,
        records: done.records,
        secrets: done.secrets,
        audit_rows: done.audit_rows,
        status: OK,
    };
    console.answer(&answer, |console| {
        console.line(&format!("moved: {to}"))?;
        console.line(&format!(
            "{} and {} of the audit log arrived and were examined, {} among them",
            counted(done.records, "record"),
            counted(done.audit_rows, "row"),
            counted(done.secrets, "secret")
        ))
    })?;
    console.note(&format!(
        "Name the new place from now on, with --store or COUNTERSIGN_STORE, and restart servers and sidecars with it; its key is what \
         it was. {from} opens nothing any more: make a backup of the moved vault, then remove it."
    ));
    Ok(Ending::Done)
}
