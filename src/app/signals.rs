//! The signals by which the system or a person ends the process.

use std::io;

use crate::transport::cli;

/// Returns a future that completes at the first SIGTERM or interruption from now on.
#[cfg(unix)]
pub(super) fn stop_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(cli::ends_in_order(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }))
}

/// Returns a future that completes when a person interrupts the process or closes its window, or the system shuts down.
#[cfg(not(unix))]
pub(super) fn stop_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown};

    let (mut interrupt, mut broken, mut closed, mut shut) = (ctrl_c()?, ctrl_break()?, ctrl_close()?, ctrl_shutdown()?);
    Ok(cli::ends_in_order(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = broken.recv() => {}
            _ = closed.recv() => {}
            _ = shut.recv() => {}
        }
    }))
}

/// Returns a future that completes when the terminal of the process is closed. Not used by a server, which `nohup`
/// keeps running.
#[cfg(unix)]
pub(super) fn hung_up() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        let _ = hangup.recv().await;
    })
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
pub(super) fn hung_up() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    Ok(std::future::pending())
}

#[cfg(all(test, unix))]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn a_signal_is_heard_before_anybody_waits_for_it() {
        let stop = stop_signal().unwrap();
        kill_process(getpid(), Signal::TERM).unwrap();
        stop.await;
    }
}
