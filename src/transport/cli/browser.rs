//! Opens a page in the person's browser.

use std::process::{Command, Stdio};

/// The program that opens a URL with whatever the person uses for it, and what stands before the URL.
#[cfg(target_os = "macos")]
const OPENER: (&str, &[&str]) = ("open", &[]);
#[cfg(windows)]
const OPENER: (&str, &[&str]) = ("rundll32", &["url.dll,FileProtocolHandler"]);
#[cfg(not(any(target_os = "macos", windows)))]
const OPENER: (&str, &[&str]) = ("xdg-open", &[]);

/// Whether a program took the URL. It is an argument of its own, never a shell's text. A browser that has the terminal
/// would fight over it with this process, so it gets none.
pub(super) fn open(url: &str) -> bool {
    let (program, before) = OPENER;
    let nothing = Stdio::null;
    let mut command = Command::new(program);
    command.args(before).arg(url).stdin(nothing()).stdout(nothing()).stderr(nothing()).spawn().is_ok()
}
