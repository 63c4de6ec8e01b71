//! `countersign audit`: reading, checking, keeping and pruning the audit log.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    Ending, Failure, Session, anchors, names,
    numbers::{code_digits, counted, counted_len, whole},
    seat, times,
    trail_table::{self, Names},
};
use crate::{
    domain::{
        audit::{Action, AuditFilter, AuditRow},
        limits::{PAGE_ROWS_MAX, TRAIL_DAYS_MIN},
    },
    service::{AuditReport, Code},
    transport::wire::{self, AuditListResponse, OK},
};

/// Rows that are shown unless a person says otherwise.
const ROWS_DEFAULT: u32 = 50;
/// Rows of an export that are held in memory at a time.
const EXPORT_ROWS: u32 = 1000;
/// Bytes of a code that is read: more than any code has, with spaces and a line's end.
const CODE_BYTES_MAX: usize = 64;

/// What can be done with the trail.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the newest rows, oldest of them first
    #[command(
        after_help = "Examples:\n  countersign audit list --seat ada@corp.com --since 2h\n  countersign audit list --action code.get --limit 10",
        alias = "ls"
    )]
    List(ListArgs),
    /// Check every row, the numbering, the end, and anchors. Exit status 1 at the first bad row
    #[command(after_help = "Examples:\n  countersign audit verify\n  countersign audit verify --anchors anchors.jsonl")]
    Verify(anchors::VerifyArgs),
    /// Print all rows, one JSON document a line
    #[command(after_help = "Examples:\n  countersign audit export --since 7d")]
    Export(ExportArgs),
    /// Print where the trail ends: an anchor to keep outside, which finds out a cut
    #[command(
        after_help = "Examples:\n  countersign audit head --append anchors.jsonl\n  countersign audit head --append anchors.jsonl --every 60s"
    )]
    Head(anchors::HeadArgs),
    /// Remove rows that are older than a year at least; a row says so
    #[command(after_help = "Examples:\n  countersign audit prune --before 400d")]
    Prune {
        /// Remove rows before this: a span such as 400d, or a time
        #[arg(long, value_name = "WHEN")]
        before: String,
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

/// Which rows.
#[derive(Debug, Args)]
pub(super) struct FilterArgs {
    /// For this seat: its id, `auth_subject`, e-mail address or name
    #[arg(long, value_name = "SEAT")]
    seat: Option<String>,
    /// On this secret: its id, its short id, or words of its issuer and label
    #[arg(long, value_name = "NAME")]
    secret: Option<String>,
    /// By or on this key: its id or its name
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// Of this action, such as code.get
    #[arg(long)]
    action: Option<String>,
    /// From then on: a span such as 2h or 7d, or a time
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Before then: a span such as 2h or 7d, or a time
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// Rows of every account, and of callers that could not say who they are
    #[arg(long)]
    all_accounts: bool,
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

/// What a check found, for programs.
#[derive(Serialize)]
struct VerifyAnswer {
    valid: bool,
    /// What is wrong, at the first place where it is.
    finding: Option<String>,
    rows: u64,
    first: Option<u64>,
    last: Option<u64>,
    /// How many it was checked against.
    anchors: usize,
    head: anchors::Anchor,
    status: &'static str,
}

/// How many rows were removed.
#[derive(Serialize)]
struct PruneAnswer {
    pruned: u64,
    status: &'static str,
}

/// Whether a code came from us.
#[derive(Serialize)]
struct TraceAnswer {
    from_us: bool,
    rows: Vec<wire::AuditRow>,
    status: &'static str,
}

pub(super) async fn run(command: Command, session: &mut Session) -> Result<Ending, Failure> {
    match command {
        Command::List(args) => list(args, session).await,
        Command::Verify(args) => verify(&args, session).await,
        Command::Export(args) => export(args, session).await,
        Command::Head(args) => anchors::head(&args, session).await,
        Command::Prune { before, yes } => prune(&before, yes, session).await,
        Command::Trace { secret, stdin } => trace(secret.as_deref(), stdin, session).await,
    }
}

async fn list(args: ListArgs, session: &mut Session) -> Result<Ending, Failure> {
    let everybody = args.filter.all_accounts;
    if args.limit > PAGE_ROWS_MAX {
        let problem = format!("--limit must be 0 to {PAGE_ROWS_MAX}; `countersign audit export` has every row");
        return Err(Failure::Usage(problem));
    }
    let filter = AuditFilter { limit: Some(args.limit), newest: true, ..filter(args.filter, session).await? };
    let rows = read(filter, everybody, session).await?;
    let now = session.service.now();
    let answer = AuditListResponse { rows: rows.iter().map(wire::AuditRow::from).collect(), status: OK };
    let names = Names::known(session).await;
    session.console.answer(&answer, |console| trail_table::write(&rows, &names, now, console))?;
    if rows.is_empty() {
        session.console.note("No rows match.");
    }
    Ok(Ending::Done)
}

async fn export(args: ExportArgs, session: &mut Session) -> Result<Ending, Failure> {
    let everybody = args.filter.all_accounts;
    let filter = filter(args.filter, session).await?;
    let mut after = 0;
    let mut all = Vec::new();
    loop {
        let page = AuditFilter { after, limit: Some(EXPORT_ROWS), ..filter.clone() };
        let rows = read(page, everybody, session).await?;
        let Some(last) = rows.last() else { break };
        after = last.seq;
        let rows = rows.iter().map(wire::AuditRow::from);
        if session.console.is_json() {
            all.extend(rows);
        } else {
            for row in rows {
                session.console.json_line(&row)?;
            }
        }
    }
    if session.console.is_json() {
        session.console.document(&AuditListResponse { rows: all, status: OK })?;
    }
    Ok(Ending::Done)
}

async fn verify(args: &anchors::VerifyArgs, session: &mut Session) -> Result<Ending, Failure> {
    let anchors = anchors::read(args, &mut session.console)?;
    let AuditReport { rows, span, head, finding } = session.service.verify_trail(&session.caller, &anchors).await?;
    let answer = VerifyAnswer {
        valid: finding.is_none(),
        finding: finding.map(|finding| finding.to_string()),
        rows,
        first: span.map(|(first, _)| first),
        last: span.map(|(_, last)| last),
        anchors: anchors.len(),
        head: anchors::Anchor::of(head, session.service.now()),
        status: OK,
    };
    session.console.answer(&answer, |console| {
        let rows = match span {
            Some((first, last)) => format!("{}, {first} to {last}", counted(rows, "row")),
            None => "no rows".to_owned(),
        };
        match &answer.finding {
            None => console.line(&format!("sound: {rows}, {}", counted_len(anchors.len(), "anchor"))),
            Some(finding) => console.line(&format!("not sound: {finding} (sound before it: {rows})")),
        }
    })?;
    Ok(if answer.valid { Ending::Done } else { Ending::No })
}

async fn prune(before: &str, yes: bool, session: &mut Session) -> Result<Ending, Failure> {
    let before = times::past("--before", before, session.service.now())?;
    session.console.confirm(&format!("Remove all rows before {before} for good?"), yes.into())?;
    let pruned = session.service.prune_trail(&session.caller, before).await?;
    let answer = PruneAnswer { pruned, status: OK };
    session.console.answer(&answer, |console| console.line(&format!("{} removed", counted(pruned, "row"))))?;
    if pruned == 0 {
        session.console.note(&format!("Rows are kept for {TRAIL_DAYS_MIN} days at least."));
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
    let rows = session.service.trace_code(&session.caller, secret, &digits).await?;
    let now = session.service.now();
    let answer =
        TraceAnswer { from_us: !rows.is_empty(), rows: rows.iter().map(wire::AuditRow::from).collect(), status: OK };
    let names = Names::known(session).await;
    session.console.answer(&answer, |console| trail_table::write(&rows, &names, now, console))?;
    if rows.is_empty() {
        session.console.note("This code was not given out here.");
    }
    Ok(if answer.from_us { Ending::Done } else { Ending::No })
}

async fn read(filter: AuditFilter, everybody: bool, session: &Session) -> Result<Vec<AuditRow>, Failure> {
    Ok(if everybody {
        session.service.read_whole_trail(&session.caller, filter).await?
    } else {
        session.service.read_trail(&session.caller, filter).await?
    })
}

async fn filter(args: FilterArgs, session: &mut Session) -> Result<AuditFilter, Failure> {
    let now = session.service.now();
    let action = |word: &str| {
        let known = || Action::ALL.iter().map(|action| action.as_str()).collect::<Vec<_>>().join(", ");
        Action::from_word(word).ok_or_else(|| Failure::Usage(format!("--action must be one of {}", known())))
    };
    // Rows outlive what they are about: a whole id is looked for although nothing bears it any more.
    let seat = match args.seat.as_deref() {
        None => None,
        Some(name) => match name.trim().parse() {
            Ok(id) => Some(id),
            Err(_) => Some(seat::find(session, name).await.map_err(gone)?.id),
        },
    };
    let secret = match args.secret.as_deref() {
        None => None,
        Some(name) => Some(names::secret_id(session, name).await?),
    };
    let key = match args.key.as_deref() {
        None => None,
        // Rows remember a key that is gone.
        Some(name) => Some(match (names::key(session, name).await, name.trim().parse()) {
            (Err(Failure::Failed { code: Code::NotFound, .. }), Ok(id)) => id,
            (found, _) => found?.id,
        }),
    };
    Ok(AuditFilter {
        seat,
        secret,
        key,
        action: args.action.as_deref().map(action).transpose()?,
        since: args.since.as_deref().map(|text| times::past("--since", text, now)).transpose()?,
        until: args.until.as_deref().map(|text| times::past("--until", text, now)).transpose()?,
        ..AuditFilter::default()
    })
}

/// E-mail addresses and subjects go with their seat; rows keep its id alone.
fn gone(failure: Failure) -> Failure {
    if !matches!(&failure, Failure::Failed { code: Code::NotFound, .. }) {
        return failure;
    }
    let message = "no seat has this id, auth_subject, e-mail address or name; rows know a seat that was removed by its whole id \
                   alone";
    Failure::Failed { code: Code::NotFound, message: message.to_owned() }
}
