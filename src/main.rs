//! Countersign: the authenticator app for AI agents. Harden the process, run, exit.

use std::{alloc::System, process::ExitCode};

use zeroizing_alloc::ZeroAlloc;

/// All memory is wiped when it is freed. Seeds and codes pass through buffers of libraries that don't wipe them.
#[global_allocator]
static MEMORY: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    harden();
    allow_files();
    countersign::app::run()
}

/// Hardens the process before it reads anything: new files are for their owner alone, and core dumps and `ptrace` by
/// the same user are switched off. Errors are ignored: a sandbox may forbid these calls, and then has to protect the
/// process.
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
    // A user's profile has an access list for that user alone, and the system writes no core files.
}

/// Raises the soft limit of open files to the hard limit: many shells default to fewer files than a server takes
/// connections.
#[cfg(unix)]
fn allow_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    // macOS has no limit as its hard limit, and refuses a soft one above this.
    const DARWIN_MAX: u64 = 10_240;

    let files = getrlimit(Resource::Nofile);
    let most = if cfg!(target_vendor = "apple") {
        Some(files.maximum.map_or(DARWIN_MAX, |most| most.min(DARWIN_MAX)))
    } else {
        files.maximum
    };
    let _ = setrlimit(Resource::Nofile, Rlimit { current: most, ..files });
}

#[cfg(not(unix))]
fn allow_files() {
    // There is no such limit.
}
