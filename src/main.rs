//! Countersign: the authenticator app for AI agents. Harden the process, run, exit.

use std::process::ExitCode;

fn main() -> ExitCode {
    harden();
    allow_files();
    countersign::app::run()
}

/// Before anything is read: files for their owner alone, no core dumps, and no looking into this process by others of the
/// same user. A sandbox may forbid some of it; what it protects against is then the sandbox's to prevent.
#[cfg(unix)]
fn harden() {
    use rustix::process::{Resource, Rlimit, setrlimit, umask};

    umask(rustix::fs::Mode::from_raw_mode(0o077));
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

#[cfg(not(unix))]
fn harden() {
    // A user's profile is that user's by its access list, and there are no core files.
}

/// As many open files as the system grants at most: many shells grant no more at first than a server takes connections.
#[cfg(unix)]
fn allow_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let files = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files });
}

#[cfg(not(unix))]
fn allow_files() {
    // There is no such limit.
}
