//! `countersign code` without a name, on a terminal: the codes of all secrets, redrawn each second until interrupted.
//! Every new code is an audit row, so only codes that fit on the screen are requested.

use super::{
    Ending, Failure, Session,
    code::{rotates_at, seconds_left},
    interrupt::stop_signal,
    names::ShortIds,
    output::Console,
    table::Table,
};
use crate::{
    domain::{secret::TotpSecret, time::Timestamp},
    operations::{GetCode, ListSecrets, Seconds},
};

/// Lines of the screen beside those of the secrets: the head, the number of secrets left out, and the cursor's line.
const OTHER_LINES: usize = 3;
/// The number of lines assumed for a screen of unknown size.
const LINES_DEFAULT: usize = 24;

/// A secret on the screen.
struct Shown {
    secret: TotpSecret,
    code: Option<Current>,
}

/// The last requested code.
struct Current {
    /// The digits, or why there are none.
    text: zeroize::Zeroizing<String>,
    until: Timestamp,
}

/// Shows the codes until the process is interrupted.
pub(super) async fn show(session: &mut Session) -> Result<Ending, Failure> {
    let secrets = session.perform(ListSecrets::default()).await?.secrets;
    if secrets.is_empty() {
        session.console.note("No secrets yet; `countersign secret add --label LABEL` stores one.");
        return Ok(Ending::Done);
    }
    let short = ShortIds::of(&secrets.iter().map(|secret| secret.id.uuid()).collect::<Vec<_>>());
    let room = session.console.out_height().unwrap_or(LINES_DEFAULT).saturating_sub(OTHER_LINES).max(1);
    let left_out = secrets.len().saturating_sub(room);
    let mut all: Vec<Shown> = secrets.into_iter().take(room).map(|secret| Shown { secret, code: None }).collect();
    let mut drawn = 0;
    // Listen before drawing: a person who sees the screen may interrupt it.
    let stopped = stop_signal()?;
    tokio::pin!(stopped);
    loop {
        for shown in &mut all {
            shown.renew(session).await?;
        }
        let now = session.service.now();
        let lines = lines(&all, left_out, &short, now, &session.console);
        draw(&lines, drawn, &mut session.console)?;
        drawn = lines.len();
        let tick = Timestamp::from_seconds(now.seconds().saturating_add(1));
        tokio::select! {
            biased;
            () = &mut stopped => return Ok(Ending::Done),
            () = tokio::time::sleep(now.until(tick)) => {}
        }
    }
}

impl Shown {
    /// Requests the current code if it has changed.
    async fn renew(&mut self, session: &Session) -> Result<(), Failure> {
        let now = session.service.now();
        if self.code.as_ref().is_some_and(|current| now < current.until) {
            return Ok(());
        }
        let next = || rotates_at(&self.secret, self.secret.metadata.totp.step_at(now));
        // Showing a screen must not use up a code that goes to one caller only.
        if self.secret.metadata.single_use() {
            let text = "single-use".to_owned().into();
            self.code = Some(Current { text, until: next() });
            return Ok(());
        }
        let issued = session.perform(GetCode { max_wait: Seconds::new(0), ..GetCode::of(self.secret.id) }).await;
        self.code = Some(match issued {
            Ok(issued) => {
                Current { text: issued.code.digits().to_owned().into(), until: rotates_at(&self.secret, issued.step) }
            }
            Err(refusal) => Current { text: refusal.code().as_str().to_owned().into(), until: next() },
        });
        Ok(())
    }
}

fn lines(all: &[Shown], left_out: usize, short: &ShortIds, now: Timestamp, console: &Console) -> Vec<String> {
    let mut table = Table::new(&["CODE", "LEFT", "LABEL", "ISSUER", "ID"]);
    for Shown { secret, code } in all {
        let (text, left) = code.as_ref().map_or(("", 0), |current| (&current.text, seconds_left(now, current.until)));
        table.row(vec![
            text.to_owned(),
            format!("{left} s"),
            secret.metadata.label.to_string(),
            secret.metadata.issuer.as_ref().map(ToString::to_string).unwrap_or_default(),
            short.short(secret.id.uuid()),
        ]);
    }
    // Leave the last column free: some terminals wrap when it is written.
    let mut lines = table.lines(console.out_width().map(|wide| wide.saturating_sub(1)));
    if left_out > 0 {
        lines.push(format!("and {left_out} more; `countersign code NAME` shows one"));
    }
    lines
}

/// Draws over the previous screen.
fn draw(lines: &[String], before: usize, console: &mut Console) -> Result<(), Failure> {
    let up = if before > 0 { format!("\u{1b}[{before}A") } else { String::new() };
    console.part(&up)?;
    for line in lines {
        console.part(&format!("\r{line}\u{1b}[K"))?;
        console.line("")?;
    }
    console.part("\u{1b}[J")
}
