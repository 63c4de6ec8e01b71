//! Signals that end a command. A command listens for them while it has something to clean up; at any other time a
//! signal ends the process at once.
//!
//! Once a process has listened, the system no longer ends it by itself: Ctrl-C would be swallowed at every later
//! question, which blocks the only thread, and in every later wait. So a separate thread ends the process while there
//! is no listener.

use std::{
    io::{self, Write as _},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Exit status: interrupted by the person, as shells define it.
pub const EXIT_INTERRUPTED: u8 = 130;

/// The number of listeners: those that wait for a signal, and those that have received one and end the process in
/// order.
static LISTENERS: AtomicUsize = AtomicUsize::new(0);
/// Whether the thread that ends the process runs.
static IS_WATCHED: Mutex<bool> = Mutex::new(false);

/// Counts as a listener until it is dropped.
struct Listener;

impl Listener {
    fn new() -> Self {
        LISTENERS.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        LISTENERS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Returns a future that completes when the process is to stop: by an interruption at the terminal, by its closing, or
/// by a signal. Until the future is dropped, its owner has to end the process.
///
/// # Errors
/// The system's error, if it does not let the process listen.
pub(super) fn stop_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut signals = Signals::new()?;
    let stopped = ends_in_order(async move { signals.next().await });
    end_while_nobody_listens()?;
    Ok(stopped)
}

/// Makes a listener of a future that completes when the process is to stop for another reason.
pub fn ends_in_order(stopped: impl Future<Output = ()> + Send + 'static) -> impl Future<Output = ()> + Send + 'static {
    let listener = Listener::new();
    async move {
        stopped.await;
        // From here on the process ends in order, which the other thread must not cut short.
        std::mem::forget(listener);
    }
}

/// Starts the thread that ends the process on a signal while there is no listener.
fn end_while_nobody_listens() -> io::Result<()> {
    let mut is_watched = IS_WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    if *is_watched {
        return Ok(());
    }
    // The thread has its own runtime: a question may block the runtime of the process.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = {
        let _inside = runtime.enter();
        Signals::new()?
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            loop {
                signals.next().await;
                if LISTENERS.load(Ordering::SeqCst) == 0 {
                    end();
                }
            }
        });
    })?;
    *is_watched = true;
    Ok(())
}

#[expect(clippy::exit, reason = "the main thread may be blocked, as it is when the system ends a process")]
fn end() {
    // End the question's line. If that fails, it can't be reported.
    let _ = io::stderr().write_all(b"\ninterrupted\n");
    std::process::exit(EXIT_INTERRUPTED.into());
}

/// The signals that stop a process, received from when this was created.
#[cfg(unix)]
struct Signals([tokio::signal::unix::Signal; 3]);

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        Ok(Self([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals(tokio::signal::windows::CtrlC);

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    async fn next(&mut self) {
        let _ = self.0.recv().await;
    }
}
