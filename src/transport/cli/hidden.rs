//! Hidden input on the terminal. The terminal's modes are restored in any case, even if a signal stops the process.
//! The order ensures that: first the signal handlers are installed, then the input is hidden, then a thread that never
//! changes the modes reads it, and then the modes are restored.

use std::io;

use zeroize::Zeroizing;

use super::interrupt::stop_signal;

/// Hides input, prints the prompt, and returns the reader.
pub(super) type Ask = fn(&str) -> io::Result<Prompt>;

/// A question that was asked.
pub(super) struct Prompt {
    /// Restores the modes on drop.
    hidden: Option<Hidden>,
    /// Waits for the answer.
    read: Box<dyn FnOnce() -> io::Result<Zeroizing<String>> + Send>,
}

/// Asks, and reads the answer on a separate thread, so that signals are handled meanwhile. Returns
/// [`io::ErrorKind::Interrupted`] after a signal.
pub(super) async fn ask(prompt: &str, ask: Ask) -> io::Result<Zeroizing<String>> {
    // From here on a signal no longer ends the process at once, which would leave the terminal hidden.
    let stopped = stop_signal()?;
    let Prompt { hidden, read } = ask(prompt)?;
    let typed = tokio::task::spawn_blocking(read);
    let answer = tokio::select! {
        biased;
        () = stopped => Err(io::ErrorKind::Interrupted.into()),
        typed = typed => typed.unwrap_or_else(|_| Err(io::Error::other("the question was given up"))),
    };
    drop(hidden);
    answer
}

/// Asks on the process's terminal.
#[cfg(unix)]
pub(super) fn on_terminal(prompt: &str) -> io::Result<Prompt> {
    use std::io::Write as _;

    let mut terminal = std::fs::File::options().read(true).write(true).open("/dev/tty")?;
    let hidden = Hidden::at(terminal.try_clone()?)?;
    terminal.write_all(prompt.as_bytes())?;
    let read = move || {
        // If the crate knew that this is a terminal, it would set the modes itself at any time, even after they were
        // restored.
        let config = rpassword::ConfigBuilder::new().input_reader(terminal.try_clone()?).output_discard().build();
        let typed = Zeroizing::new(rpassword::read_password_with_config(config)?);
        // The line break was hidden too. If it can't be shown, keep the answer nevertheless.
        let _ = terminal.write_all(b"\n");
        Ok(typed)
    };
    Ok(Prompt { hidden: Some(hidden), read: Box::new(read) })
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
pub(super) fn on_terminal(prompt: &str) -> io::Result<Prompt> {
    let prompt = prompt.to_owned();
    Ok(Prompt { hidden: None, read: Box::new(move || rpassword::prompt_password(prompt).map(Zeroizing::new)) })
}

/// The code that disables a special key, which POSIX lets each system choose.
#[cfg(unix)]
const NO_KEY: u8 = if cfg!(any(target_os = "linux", target_os = "android")) { 0 } else { 0xff };

/// A terminal that does not show input, until this is dropped.
#[cfg(unix)]
struct Hidden {
    terminal: std::fs::File,
    before: rustix::termios::Termios,
}

#[cfg(unix)]
impl Hidden {
    fn at(terminal: std::fs::File) -> io::Result<Self> {
        use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};

        let before = tcgetattr(&terminal)?;
        let mut modes = before.clone();
        // Keys arrive at once and unchanged, and none of them may stop the process, which would leave the input hidden.
        // Only the interrupt key remains a signal: as a character right after Enter, it would stay unread.
        modes.local_modes -= LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::IEXTEN;
        for stops in [SpecialCodeIndex::VQUIT, SpecialCodeIndex::VSUSP] {
            modes.special_codes[stops] = NO_KEY;
        }
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&terminal, OptionalActions::Now, &modes)?;
        Ok(Self { terminal, before })
    }
}

#[cfg(unix)]
impl Drop for Hidden {
    fn drop(&mut self) {
        // The terminal may be gone; then nothing needs restoring.
        let _ = rustix::termios::tcsetattr(&self.terminal, rustix::termios::OptionalActions::Now, &self.before);
    }
}

/// On other systems, reading restores the console's modes.
#[cfg(not(unix))]
struct Hidden;

#[cfg(all(test, unix))]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    /// Receives a stop signal before it reads, and then waits for ever.
    fn told_meanwhile(_: &str) -> io::Result<Prompt> {
        kill_process(getpid(), Signal::HUP)?;
        let read = || loop {
            std::thread::park();
        };
        Ok(Prompt { hidden: None, read: Box::new(read) })
    }

    #[test]
    fn a_signal_that_comes_while_the_text_gets_hidden_interrupts_the_question() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answer = runtime.block_on(ask("Seed: ", told_meanwhile));
        // The reader never ends, so it is not waited for.
        runtime.shutdown_background();
        assert_eq!(answer.unwrap_err().kind(), io::ErrorKind::Interrupted);
    }
}
