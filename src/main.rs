//! Countersign: the authenticator app for AI agents.

use std::process::ExitCode;

fn main() -> ExitCode {
    countersign::app::run()
}
