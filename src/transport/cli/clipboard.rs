//! A code on the clipboard: by the desktop's own program if there is one, else by the terminal, which many let do it also
//! from another machine (OSC 52).

use std::{
    io::{self, Write as _},
    process::{Command, Stdio},
};

use data_encoding::BASE64;

use super::{Failure, output::Console};
use crate::operations::ErrorCode;

/// Programs that put their standard input on the clipboard, with their arguments. Where there is no clipboard for one, it fails.
const TOOLS: [(&str, &[&str]); 5] = [
    ("pbcopy", &[]),
    ("clip.exe", &[]),
    ("wl-copy", &[]),
    ("xclip", &["-selection", "clipboard"]),
    ("xsel", &["--clipboard", "--input"]),
];

/// Copies a code. Returns what took it, in words.
pub(super) fn copy(code: &str, console: &mut Console) -> Result<&'static str, Failure> {
    if TOOLS.iter().any(|(program, arguments)| hand_over(program, arguments, code).is_ok()) {
        return Ok("the clipboard");
    }
    if console.looks().notes.terminal {
        // The terminal is told the text, and shows nothing.
        console.note_part(&format!("\u{1b}]52;c;{}\u{7}", BASE64.encode(code.as_bytes())));
        return Ok("the terminal, which puts it on the clipboard if it may");
    }
    let message = "there is no clipboard here: neither a terminal nor one of pbcopy, clip.exe, wl-copy, xclip and xsel; leave \
                   out --copy";
    Err(Failure::Failed { code: ErrorCode::Unavailable, message: message.to_owned() })
}

/// The code goes by a pipe: arguments can be seen by every process. What the program says is not for this answer.
fn hand_over(program: &str, arguments: &[&str], code: &str) -> io::Result<()> {
    let mut command = Command::new(program);
    let mut child =
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(code.as_bytes())?;
    }
    if child.wait()?.success() { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
}
