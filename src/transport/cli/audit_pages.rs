//! Reads the audit rows that a person requests, page by page.

use clap::Args;

use super::{Failure, Session, names, seat, times};
use crate::{
    domain::audit::{Action, AuditCursor, AuditFilter, AuditRow},
    operations::{AuditAsk, AuditRows, ErrorCode, ReadAudit, ReadWholeAudit, Refusal},
};

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

/// Rows that match a filter, page by page.
pub(super) struct Pages {
    filter: AuditFilter,
    /// Whether rows of every account are read.
    everybody: bool,
    newest: bool,
    from: Option<AuditCursor>,
    ended: bool,
}

impl Pages {
    pub(super) async fn of(args: FilterArgs, session: &mut Session) -> Result<Self, Failure> {
        let everybody = args.all_accounts;
        let filter = filter(args, session).await?;
        Ok(Self { filter, everybody, newest: false, from: None, ended: false })
    }

    /// Reverses the order: newest first.
    pub(super) fn newest(self) -> Self {
        Self { newest: true, ..self }
    }

    /// The next page, with at most `limit` rows; `None` after the last one.
    pub(super) async fn next(&mut self, limit: u32, session: &Session) -> Result<Option<Vec<AuditRow>>, Refusal> {
        if self.ended {
            return Ok(None);
        }
        let page = AuditAsk { from: self.from.take(), limit, newest: self.newest };
        let filter = self.filter.clone();
        let AuditRows { rows, next } = if self.everybody {
            session.perform(ReadWholeAudit { filter, page }).await?
        } else {
            session.perform(ReadAudit { filter, page }).await?
        };
        self.ended = next.is_none();
        self.from = next;
        Ok(Some(rows))
    }
}

async fn filter(args: FilterArgs, session: &mut Session) -> Result<AuditFilter, Failure> {
    let now = session.service.now();
    let action = |word: &str| {
        let known = || Action::ALL.iter().map(|action| action.as_str()).collect::<Vec<_>>().join(", ");
        Action::from_word(word).ok_or_else(|| Failure::Usage(format!("--action must be one of {}", known())))
    };
    // Rows outlive their subjects: a whole id is searched for even if no seat or secret has it any more.
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
        // Rows may refer to a key that no longer exists.
        Some(name) => Some(match (names::key(session, name).await, name.trim().parse()) {
            (Err(Failure::Failed { code: ErrorCode::NotFound, .. }), Ok(id)) => id,
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

/// The error for a removed seat: its e-mail address and subject are gone, and rows contain only its id.
fn gone(failure: Failure) -> Failure {
    if !matches!(&failure, Failure::Failed { code: ErrorCode::NotFound, .. }) {
        return failure;
    }
    let message = "no seat has this id, auth_subject, e-mail address or name; rows know a seat that was removed by its whole id \
                   alone";
    Failure::Failed { code: ErrorCode::NotFound, message: message.to_owned() }
}
