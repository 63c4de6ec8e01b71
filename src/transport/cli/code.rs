//! `countersign code` and `countersign verify`: the current code of a secret, and checking a typed code.

use std::{io::Write as _, time::Duration};

use async_trait::async_trait;
use clap::Args;

use super::{
    Ending, Failure, Session, clipboard,
    interrupt::stop_signal,
    live,
    names::{self, Among, SecretName},
    numbers::{code_digits, whole, within},
    seat,
    table::{cut, width},
};
use crate::{
    domain::{secret::TotpSecret, time::Timestamp, totp::Step},
    operations::{GetCode, IssuedCode, Patience, TotpGetCodeResponse, VerifyCode, VerifyResponse},
};

/// The width of the countdown bar beside a watched code, in cells.
const BAR_CELLS: usize = 20;
/// The least width of the bar, in cells. With less room, no bar is drawn.
const BAR_CELLS_MIN: usize = 3;
/// The most bytes of a code that are read: more than any code has, with spaces and a line break.
const CODE_BYTES_MAX: usize = 64;

/// What `countersign code` takes.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct CodeArgs {
    /// The secret: its id, its short id, or words of its issuer and label. Without it a terminal shows all, live
    #[arg(value_name = "NAME", num_args = 0..)]
    secret: Vec<String>,
    /// Keep showing the code, with a countdown, until interrupted; every new code is a row of the audit log
    #[arg(long, conflicts_with_all = ["single_use", "min_validity"])]
    watch: bool,
    /// Copy the code to the clipboard instead of printing it
    #[arg(long, conflicts_with = "watch")]
    copy: bool,
    /// Seconds that must be left of the code; with fewer left, wait for the next one
    #[arg(long, value_name = "SECONDS", value_parser = whole::<u32>)]
    min_validity: Option<u32>,
    /// Take a code that goes to no other caller
    #[arg(long)]
    single_use: bool,
    /// Show a decoy, which `countersign guard` replaces by a code on its way to an origin of the secret
    #[arg(long, conflicts_with_all = ["watch", "single_use", "min_validity", "max_wait"])]
    decoy: bool,
    /// Seconds to wait for a code at most, up to 120 [default: 45]
    #[arg(long, value_name = "SECONDS", value_parser = whole::<u32>)]
    max_wait: Option<u32>,
    /// The seat that the code is for: its id, `auth_subject`, e-mail address or name
    #[arg(long, value_name = "SEAT")]
    seat: Option<String>,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT")]
    purpose: Option<String>,
}

/// What `countersign verify` takes. The code is no argument: arguments can be seen by every process.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    secret: SecretName,
    /// Read the code from standard input instead of asking for it
    #[arg(long)]
    stdin: bool,
    /// The seat that the code is checked for: its id, `auth_subject`, e-mail address or name
    #[arg(long, value_name = "SEAT")]
    seat: Option<String>,
}

/// Shows a person at a terminal how long the wait for a code may still take.
struct Countdown;

/// Shows the current code.
pub(super) async fn show(args: CodeArgs, session: &mut Session) -> Result<Ending, Failure> {
    if args.watch && session.console.is_json() {
        return Err(Failure::Usage("--watch goes on and --json is one document; use one of them".to_owned()));
    }
    if args.secret.is_empty() {
        return show_all(&args, session).await;
    }
    let secret = names::secret(session, &args.secret.join(" "), Among::Live).await?;
    let request = GetCode {
        secret_id: secret.id,
        min_validity: within("min_validity", args.min_validity)?,
        single_use: args.single_use,
        decoy: args.decoy,
        max_wait: within("max_wait", args.max_wait)?,
        seat_id: seat::id_for_use(session, args.seat).await?,
        purpose: args.purpose,
    };
    if args.watch {
        return watch(&secret, &request, session).await;
    }
    let is_single = request.single_use || secret.metadata.usage.single_use();
    let issued = awaited(request, session).await?;
    let (left, answer) = (issued.expires_in, TotpGetCodeResponse::from(issued));
    if args.copy {
        match clipboard::copy(answer.code.as_str(), &mut session.console) {
            Ok(copied) => {
                session.console.note(&format!("Copied the code to {copied}; it lives for {left} s."));
                if !session.console.is_json() {
                    return Ok(Ending::Done);
                }
            }
            // A code that goes to no other caller is used up by now: print it instead.
            Err(failure) if is_single => session.console.note(&format!("{failure}. Here is the code:")),
            Err(failure) => return Err(failure),
        }
    }
    let time_left = if session.console.looks().out.terminal { format!("  {left} s left") } else { String::new() };
    session.console.answer(&answer, |console| {
        console.part(answer.code.as_str())?;
        console.line(&time_left)
    })?;
    Ok(Ending::Done)
}

/// Shows the codes of all secrets, only to a person at a terminal: a program must name a secret.
async fn show_all(args: &CodeArgs, session: &mut Session) -> Result<Ending, Failure> {
    let special = args.copy
        || args.single_use
        || args.decoy
        || args.min_validity.is_some()
        || args.max_wait.is_some()
        || args.seat.is_some()
        || args.purpose.is_some();
    if special || session.console.is_json() || !session.console.looks().out.terminal {
        let remedy = "name the secret, by its id or by words of its issuer and label; `countersign secret list` shows what exists";
        return Err(Failure::Usage(remedy.to_owned()));
    }
    live::show(session).await
}

/// Waits for a code. An interruption ends the wait in order, so a reserved step is given back.
async fn awaited(request: GetCode, session: &mut Session) -> Result<IssuedCode, Failure> {
    let terminal = session.console.looks().notes.terminal;
    let patience: &dyn Patience = if terminal { &Countdown } else { &() };
    let stopped = stop_signal()?;
    let issued = session.service.perform_for(&session.caller, request, patience);
    let issued = tokio::select! {
        // Listen for an interruption before anything is reserved.
        biased;
        () = stopped => Err(Failure::Interrupted),
        issued = issued => issued.map_err(Failure::from),
    };
    if terminal {
        session.console.note_part("\r\u{1b}[K");
    }
    issued
}

/// Shows each code when it begins, until the process is interrupted.
async fn watch(secret: &TotpSecret, request: &GetCode, session: &mut Session) -> Result<Ending, Failure> {
    if secret.metadata.usage.single_use() {
        let remedy = "--watch would use up every code of this single-use secret; leave it out to take one";
        return Err(Failure::Usage(remedy.to_owned()));
    }
    let looks = session.console.looks().out;
    loop {
        let issued = session.perform(request.clone()).await?;
        let rotates = rotates_at(secret, issued.step);
        if !looks.terminal {
            session.console.line(issued.code.digits())?;
            session.console.flush()?;
        }
        loop {
            let now = session.service.now();
            if now >= rotates {
                break;
            }
            if looks.terminal {
                let left = seconds_left(now, rotates);
                let (period, within) = (secret.period().seconds(), session.console.out_width());
                session.console.part(&frame(issued.code.digits(), left, period, looks.colour, within))?;
            }
            let tick = Timestamp::from_seconds(now.seconds().saturating_add(1));
            tokio::time::sleep(now.until(tick)).await;
        }
    }
}

/// The time at which the code of the next step begins.
pub(super) fn rotates_at(secret: &TotpSecret, step: Step) -> Timestamp {
    secret.metadata.totp.start_of(Step(step.0.saturating_add(1)))
}

pub(super) fn seconds_left(now: Timestamp, rotates: Timestamp) -> u32 {
    u32::try_from(rotates.seconds().saturating_sub(now.seconds())).unwrap_or(0)
}

/// The text that redraws a watched code on its line. It fits any width: a line that wraps could not be redrawn.
fn frame(code: &str, left: u32, period: u32, colour: bool, within: Option<usize>) -> String {
    let time_left = format!("{left} s");
    // Leave the last column free: some terminals wrap when it is written.
    let room = within.map_or(usize::MAX, |wide| wide.saturating_sub(1));
    let cells = BAR_CELLS.min(room.saturating_sub(width(code) + width(&time_left) + 4));
    if cells < BAR_CELLS_MIN {
        return format!("\r{}\u{1b}[K", cut(&format!("{code}  {time_left}"), room));
    }
    let full = (left.min(period) as usize).saturating_mul(cells).div_ceil(period.max(1) as usize);
    let bar = format!("{}{}", "█".repeat(full), "░".repeat(cells.saturating_sub(full)));
    // Red when a login with the code may come too late.
    let (on, off) = match (colour, left) {
        (false, _) => ("", ""),
        (true, 0..=5) => ("\u{1b}[31m", "\u{1b}[0m"),
        (true, _) => ("\u{1b}[32m", "\u{1b}[0m"),
    };
    format!("\r{code}  {on}{bar}{off}  {time_left}\u{1b}[K")
}

#[async_trait]
impl Patience for Countdown {
    async fn waiting(&self, waited: Duration, total: Duration) {
        let left = total.saturating_sub(waited).as_secs();
        let _ = write!(std::io::stderr(), "\rwaiting for a code: {left} s\u{1b}[K");
    }
}

/// Checks a code.
pub(super) async fn verify(args: &VerifyArgs, session: &mut Session) -> Result<Ending, Failure> {
    if args.secret.ends_with_a_code() {
        let remedy = "a code is never an argument: leave it out to be asked for it, or use --stdin";
        return Err(Failure::Usage(remedy.to_owned()));
    }
    let secret = names::secret(session, &args.secret.text(), Among::Live).await?;
    let typed = if args.stdin {
        session.console.read_stdin(CODE_BYTES_MAX)?
    } else {
        session.console.ask_hidden("Code (hidden): ", "use --stdin").await?
    };
    // Apps show codes as `123 456`. The operation refuses other text, so that the audit log records it.
    let code = code_digits(&typed).unwrap_or(typed);
    let seat_id = seat::id_for_use(session, args.seat.clone()).await?;
    let verified = session.perform(VerifyCode { secret_id: secret.id, code, seat_id }).await?;
    let answer = VerifyResponse::from(verified);
    session.console.answer(&answer, |console| console.line(if answer.valid { "valid" } else { "not valid" }))?;
    Ok(if answer.valid { Ending::Done } else { Ending::No })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watched_code_is_drawn_over_itself_with_a_bar_that_runs_out() {
        assert_eq!(frame("287082", 30, 30, false, None), format!("\r287082  {}  30 s\u{1b}[K", "█".repeat(20)));
        assert_eq!(
            frame("287082", 15, 30, false, None),
            format!("\r287082  {}{}  15 s\u{1b}[K", "█".repeat(10), "░".repeat(10))
        );
        assert!(frame("287082", 5, 30, true, None).contains("\u{1b}[31m"));
        assert!(frame("287082", 6, 30, true, None).contains("\u{1b}[32m"));
    }

    #[test]
    fn a_watched_code_stays_on_one_line_of_a_narrow_terminal() {
        let drawn = |within| frame("287082", 7, 30, false, Some(within));
        for within in 1..60 {
            let line = drawn(within);
            let shown = line.trim_start_matches('\r').trim_end_matches("\u{1b}[K");
            assert!(width(shown) < within.max(2), "{within}: {shown:?}");
        }
        assert_eq!(drawn(20), "\r287082  ██░░░░  7 s\u{1b}[K");
        assert_eq!(drawn(14), "\r287082  7 s\u{1b}[K");
    }

    #[test]
    fn seconds_are_counted_to_the_rotation() {
        let at = Timestamp::from_millis;
        assert_eq!(seconds_left(at(59_001), at(60_000)), 1);
        assert_eq!(seconds_left(at(30_000), at(60_000)), 30);
        assert_eq!(seconds_left(at(61_000), at(60_000)), 0);
    }
}
