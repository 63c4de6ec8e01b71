//! Opens a page in the person's browser.

use std::{
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};

/// The program that opens a URL with whatever the person uses for it, and what stands before the URL.
#[cfg(target_os = "macos")]
const OPENER: (&str, &[&str]) = ("open", &[]);
#[cfg(windows)]
const OPENER: (&str, &[&str]) = ("rundll32", &["url.dll,FileProtocolHandler"]);
#[cfg(not(any(target_os = "macos", windows)))]
const OPENER: (&str, &[&str]) = ("xdg-open", &[]);

/// How long an opener may take to fail. One that goes on for longer has a browser.
const FAILS_WITHIN: Duration = Duration::from_secs(2);

/// Whether a program took the URL. It is an argument of its own, never a shell's text. A browser that has the terminal
/// would fight over it with this process, so it gets none.
pub(super) async fn open(url: &str) -> bool {
    let (program, before) = OPENER;
    let nothing = Stdio::null;
    let mut command = Command::new(program);
    command.args(before).arg(url).stdin(nothing()).stdout(nothing()).stderr(nothing());
    let Ok(mut opener) = command.spawn() else { return false };
    let (tell, ended) = oneshot::channel();
    // Not a thread of the runtime, which would wait for it at the end.
    thread::spawn(move || tell.send(opener.wait().is_ok_and(|status| status.success())));
    !matches!(timeout(FAILS_WITHIN, ended).await, Ok(Ok(false)))
}
