//! The one place where examples print.

#![allow(dead_code, clippy::allow_attributes, reason = "each example uses a part of it")]

use std::fmt::Display;

/// Prints a line on standard output.
#[expect(clippy::print_stdout, reason = "examples are there to be looked at")]
pub(crate) fn say(line: impl Display) {
    println!("{line}");
}

/// Prints a line on standard error: progress, and everything else that is not a result.
#[expect(clippy::print_stderr, reason = "examples are there to be looked at")]
pub(crate) fn aside(line: impl Display) {
    eprintln!("{line}");
}
