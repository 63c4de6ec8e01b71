//! Copies a code to the clipboard: with the desktop's own program, or through the terminal, which often works from a
//! remote machine too (OSC 52).

use std::{
    io::{self, Write as _},
    process::{Command, Stdio},
};

use data_encoding::BASE64;

use super::{Failure, output::Console};
use crate::operations::ErrorCode;

/// Programs that copy their standard input to the clipboard, with their arguments. They fail if there is no clipboard.
const TOOLS: [(&str, &[&str]); 5] = [
    ("pbcopy", &[]),
    ("clip.exe", &[]),
    ("wl-copy", &[]),
    ("xclip", &["-selection", "clipboard"]),
    ("xsel", &["--clipboard", "--input"]),
];

/// Copies a code. Returns a description of its destination.
pub(super) fn copy(code: &str, console: &mut Console) -> Result<&'static str, Failure> {
    if TOOLS.iter().any(|(program, arguments)| hand_over(program, arguments, code).is_ok()) {
        return Ok("the clipboard");
    }
    if console.looks().notes.terminal {
        // The terminal interprets this sequence and does not show it.
        console.note_part(&format!("\u{1b}]52;c;{}\u{7}", BASE64.encode(code.as_bytes())));
        return Ok("the terminal, which puts it on the clipboard if it may");
    }
    let message = "there is no clipboard here: neither a terminal nor one of pbcopy, clip.exe, wl-copy, xclip and xsel; leave \
                   out --copy";
    Err(Failure::Failed { code: ErrorCode::Unavailable, message: message.to_owned() })
}

/// Pipes the code to a program: other processes can see arguments. The program's output is discarded.
fn hand_over(program: &str, arguments: &[&str], code: &str) -> io::Result<()> {
    let mut command = Command::new(program);
    let mut child =
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(code.as_bytes())?;
    }
    if child.wait()?.success() { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
}
