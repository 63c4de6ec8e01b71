//! Hidden text, asked for on the terminal, which is left as it was found, also by a process that is told to stop.

use std::io;

use zeroize::Zeroizing;

/// How hidden text is asked for: whoever does so changes the terminal meanwhile.
pub(super) type Ask = fn(&str) -> io::Result<String>;

/// Asks on a thread of its own, so that a signal is heard meanwhile. [`io::ErrorKind::Interrupted`] if one came.
pub(super) async fn ask(prompt: &str, ask: Ask) -> io::Result<Zeroizing<String>> {
    let before = Terminal::now();
    // From here on a signal no longer ends the process, which could not tidy up then.
    let told = told_to_stop()?;
    let prompt = prompt.to_owned();
    let typed = tokio::task::spawn_blocking(move || ask(&prompt).map(Zeroizing::new));
    tokio::select! {
        biased;
        () = told => {
            before.restore();
            Err(io::ErrorKind::Interrupted.into())
        }
        typed = typed => typed.unwrap_or_else(|_| Err(io::Error::other("the question was given up"))),
    }
}

/// Ends when the process is told to: by an interruption at the terminal, by its closing, or by somebody else.
#[cfg(unix)]
fn told_to_stop() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
fn told_to_stop() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}

/// The process's terminal and its modes at some time, if it has one.
#[cfg(unix)]
struct Terminal(Option<(std::fs::File, rustix::termios::Termios)>);

#[cfg(unix)]
impl Terminal {
    fn now() -> Self {
        let terminal = std::fs::File::open("/dev/tty").ok();
        Self(terminal.and_then(|file| rustix::termios::tcgetattr(&file).ok().map(|modes| (file, modes))))
    }

    fn restore(self) {
        if let Some((file, modes)) = self.0 {
            // A terminal that is gone needs no tidying.
            let _ = rustix::termios::tcsetattr(file, rustix::termios::OptionalActions::Now, &modes);
        }
    }
}

/// A console whose modes end with the read that set them.
#[cfg(not(unix))]
struct Terminal;

#[cfg(not(unix))]
impl Terminal {
    const fn now() -> Self {
        Self
    }

    fn restore(self) {}
}
