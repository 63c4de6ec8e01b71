//! `countersign audit`: lists, verifies, exports, anchors and prunes the audit log.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    Ending, Failure, Session, anchors,
    audit_pages::{FilterArgs, Pages},
    audit_table::{self, Names},
    audit_verify, names,
    numbers::{code_digits, counted, whole},
    times,
};
use crate::{
    domain::{
        audit::AuditRow,
        limits::{AUDIT_DAYS_MIN, PAGE_ROWS_MAX},
    },
    operations::{self, PruneAudit, TraceCode, Traced, answers::OK},
};

/// The number of rows shown by default.
const ROWS_DEFAULT: u32 = 50;
/// The number of rows of an export that are held in memory at a time.
const EXPORT_ROWS: u32 = 1000;
/// The most bytes of a code that are read: more than any code has, with spaces and a line break.
const CODE_BYTES_MAX: usize = 64;

/// What can be done with the audit log.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the newest rows, oldest of them first
    #[command(
        after_help = "Examples:\n  countersign audit list --seat ada@corp.com --since 2h\n  countersign audit list --action code.get --limit 10",
        alias = "ls"
    )]
    List(ListArgs),
    /// Check every row, the numbering, the ends of each chain, the chains' knots, and anchors. Exit status 1 at the first bad row
    #[command(after_help = "Examples:\n  countersign audit verify\n  countersign audit verify --anchors anchors.jsonl")]
    Verify(anchors::VerifyArgs),
    /// Print all rows, one JSON document a line
    #[command(after_help = "Examples:\n  countersign audit export --since 7d")]
    Export(ExportArgs),
    /// Print where each chain of the audit log ends: anchors to keep outside, which find out a cut
    #[command(
        after_help = "Examples:\n  countersign audit head --append anchors.jsonl\n  countersign audit head --append anchors.jsonl --every 60s"
    )]
    Head(anchors::HeadArgs),
    /// Remove rows that are older than a year at least; a row says so
    #[command(
        after_help = "Examples:\n  countersign audit prune --keep 400d\n  countersign audit prune --keep 400d --archive audit-archive.jsonl"
    )]
    Prune {
        /// Remove rows before this: a span such as 400d, or a time
        #[arg(long, visible_alias = "keep", value_name = "WHEN")]
        before: String,
        /// Append them to this file first; `audit verify --archive` verifies it
        #[arg(long, value_name = "FILE")]
        archive: Option<PathBuf>,
        /// Don't ask
        #[arg(long, short = 'y')]
        yes: bool,
    },
    /// Did this code come from us? Prints the rows that gave it out. Exit status 1 if there is none
    #[command(
        after_help = "Examples:\n  countersign audit trace\n  echo 492039 | countersign audit trace --stdin --secret github"
    )]
    Trace {
        /// Only as a code of this secret
        #[arg(long, value_name = "NAME")]
        secret: Option<String>,
        /// Read the code from standard input instead of asking for it
        #[arg(long)]
        stdin: bool,
    },
}

/// Which rows to list.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Rows at most
    #[arg(long, value_name = "N", default_value_t = ROWS_DEFAULT, value_parser = whole::<u32>)]
    limit: u32,
}

/// Which rows to export.
#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    filter: FilterArgs,
}

/// Rows, as JSON.
#[derive(Serialize)]
struct RowsAnswer {
    rows: Vec<operations::AuditRow>,
    status: &'static str,
}

/// The number of removed rows, as JSON.
#[derive(Serialize)]
struct PruneAnswer {
    pruned: u64,
    status: &'static str,
}

/// Whether this vault gave out a code, as JSON.
#[derive(Serialize)]
struct TraceAnswer {
    from_us: bool,
    rows: Vec<operations::AuditRow>,
    total: u64,
    status: &'static str,
}

pub(super) async fn run(command: Command, session: &mut Session) -> Result<Ending, Failure> {
    match command {
        Command::List(args) => list(args, session).await,
        Command::Verify(args) => audit_verify::verify(&args, session).await,
        Command::Export(args) => export(args, session).await,
        Command::Head(args) => anchors::head(&args, session).await,
        Command::Prune { before, archive, yes } => prune(&before, archive, yes, session).await,
        Command::Trace { secret, stdin } => trace(secret.as_deref(), stdin, session).await,
    }
}

async fn list(args: ListArgs, session: &mut Session) -> Result<Ending, Failure> {
    if args.limit > PAGE_ROWS_MAX {
        let problem = format!("--limit must be 0 to {PAGE_ROWS_MAX}; `countersign audit export` has every row");
        return Err(Failure::Usage(problem));
    }
    let mut pages = Pages::of(args.filter, session).await?.newest();
    let mut rows = Vec::new();
    // A page may be short or even empty although there is more.
    while rows.len() < args.limit as usize
        && let Some(page) = pages.next(args.limit.saturating_sub(counted_rows(&rows)), session).await?
    {
        rows.extend(page);
    }
    rows.reverse();
    let now = session.service.now();
    let answer = RowsAnswer { rows: rows.iter().map(operations::AuditRow::from).collect(), status: OK };
    let names = Names::known(session).await;
    session.console.answer(&answer, |console| audit_table::write(&rows, &names, now, console))?;
    if rows.is_empty() {
        session.console.note("No rows match.");
    }
    Ok(Ending::Done)
}

fn counted_rows(rows: &[AuditRow]) -> u32 {
    u32::try_from(rows.len()).unwrap_or(u32::MAX)
}

/// Prints rows as they are read; only one page is held in memory.
async fn export(args: ExportArgs, session: &mut Session) -> Result<Ending, Failure> {
    let mut pages = Pages::of(args.filter, session).await?;
    let json = session.console.is_json();
    let mut first = true;
    if json {
        session.console.text("{\"rows\":[")?;
    }
    while let Some(rows) = pages.next(EXPORT_ROWS, session).await? {
        for row in rows.iter().map(operations::AuditRow::from) {
            if !json {
                session.console.json_line(&row)?;
                continue;
            }
            if !std::mem::take(&mut first) {
                session.console.text(",")?;
            }
            session.console.json(&row)?;
        }
    }
    if json {
        session.console.line(&format!("],\"status\":\"{OK}\"}}"))?;
    }
    Ok(Ending::Done)
}

async fn prune(before: &str, archive: Option<PathBuf>, yes: bool, session: &mut Session) -> Result<Ending, Failure> {
    let before = times::past("--before", before, session.service.now())?;
    let how = if archive.is_some() { "from the vault, once they are in the archive" } else { "for good" };
    session.console.confirm(&format!("Remove all rows before {before} {how}?"), yes.into())?;
    let pruned = session.perform(PruneAudit { before, archive }).await?;
    let answer = PruneAnswer { pruned, status: OK };
    session.console.answer(&answer, |console| console.line(&format!("{} removed", counted(pruned, "row"))))?;
    if pruned == 0 {
        session.console.note(&format!("Rows are kept for {AUDIT_DAYS_MIN} days at least."));
    }
    Ok(Ending::Done)
}

async fn trace(secret: Option<&str>, stdin: bool, session: &mut Session) -> Result<Ending, Failure> {
    let secret = match secret {
        Some(name) => Some(names::secret_id(session, name).await?),
        None => None,
    };
    let typed = if stdin {
        session.console.read_stdin(CODE_BYTES_MAX)?
    } else {
        session.console.ask_hidden("Code (hidden): ", "use --stdin").await?
    };
    let digits = code_digits(&typed).ok_or_else(|| Failure::Usage("the code must be 6 or 8 digits".to_owned()))?;
    let Traced { rows, total } = session.perform(TraceCode { digits, secret }).await?;
    let now = session.service.now();
    let answer = TraceAnswer {
        from_us: !rows.is_empty(),
        rows: rows.iter().map(operations::AuditRow::from).collect(),
        total,
        status: OK,
    };
    let names = Names::known(session).await;
    session.console.answer(&answer, |console| audit_table::write(&rows, &names, now, console))?;
    if rows.is_empty() {
        session.console.note("This code was not given out here.");
    } else if let Some(more) = total.checked_sub(rows.len() as u64).filter(|more| *more > 0) {
        session.console.note(&format!("These are the first {} rows; {more} more follow.", rows.len()));
    }
    Ok(if answer.from_us { Ending::Done } else { Ending::No })
}
