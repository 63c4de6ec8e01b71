//! Opens a page in the person's browser.

use std::{
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};

/// The program that opens a URL in the person's default program for it, and its arguments before the URL.
#[cfg(target_os = "macos")]
const OPENER: (&str, &[&str]) = ("open", &[]);
#[cfg(windows)]
const OPENER: (&str, &[&str]) = ("rundll32", &["url.dll,FileProtocolHandler"]);
#[cfg(not(any(target_os = "macos", windows)))]
const OPENER: (&str, &[&str]) = ("xdg-open", &[]);

/// How long an opener may take to fail. One that runs for longer has started a browser.
const FAILS_WITHIN: Duration = Duration::from_secs(2);

/// Opens a URL. Returns whether a program accepted it. The URL is an argument of its own, never text for a shell. The
/// browser gets no terminal, which it and this process would otherwise both use.
pub(super) async fn open(url: &str) -> bool {
    let (program, before) = OPENER;
    let nothing = Stdio::null;
    let mut command = Command::new(program);
    command.args(before).arg(url).stdin(nothing()).stdout(nothing()).stderr(nothing());
    let Ok(mut opener) = command.spawn() else { return false };
    let (tell, ended) = oneshot::channel();
    // A thread of the runtime would delay the runtime's end until the opener ends.
    thread::spawn(move || tell.send(opener.wait().is_ok_and(|status| status.success())));
    !matches!(timeout(FAILS_WITHIN, ended).await, Ok(Ok(false)))
}
