//! Hidden text, asked for on the terminal, which is left as it was found, also by a process that is told to stop. The order
//! sees to that: signals are listened for, then the text is hidden, then it is read by a thread that never touches the
//! modes, and then they are restored, after which nobody is left who could hide anything.

use std::io;

use zeroize::Zeroizing;

/// Hides what is typed, prints the prompt, and gives what reads.
pub(super) type Ask = fn(&str) -> io::Result<Prompt>;

/// A question that was asked.
pub(super) struct Prompt {
    /// What was hidden is shown again when this is dropped.
    hidden: Option<Hidden>,
    /// Waits for the answer.
    read: Box<dyn FnOnce() -> io::Result<Zeroizing<String>> + Send>,
}

/// Asks, and reads on a thread of its own, so that a signal is heard meanwhile. [`io::ErrorKind::Interrupted`] if one came.
pub(super) async fn ask(prompt: &str, ask: Ask) -> io::Result<Zeroizing<String>> {
    // From here on a signal no longer ends the process, which could not tidy up then.
    let told = told_to_stop()?;
    let Prompt { hidden, read } = ask(prompt)?;
    let typed = tokio::task::spawn_blocking(read);
    let answer = tokio::select! {
        biased;
        () = told => Err(io::ErrorKind::Interrupted.into()),
        typed = typed => typed.unwrap_or_else(|_| Err(io::Error::other("the question was given up"))),
    };
    drop(hidden);
    answer
}

/// Asks on the terminal of the process.
#[cfg(unix)]
pub(super) fn on_terminal(prompt: &str) -> io::Result<Prompt> {
    use std::io::Write as _;

    let mut terminal = std::fs::File::options().read(true).write(true).open("/dev/tty")?;
    let hidden = Hidden::at(terminal.try_clone()?)?;
    terminal.write_all(prompt.as_bytes())?;
    let read = move || {
        // Told that this is a terminal, it would set the modes itself: at any time, also after they were restored.
        let config = rpassword::ConfigBuilder::new().input_reader(terminal.try_clone()?).output_discard().build();
        let typed = Zeroizing::new(rpassword::read_password_with_config(config)?);
        // The end of the line was hidden too. If it can't be shown, that is no reason to lose the answer.
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

/// Ends when the process is told to: by an interruption at the terminal, by its closing, or by somebody else.
#[cfg(unix)]
pub(super) fn told_to_stop() -> io::Result<impl Future<Output = ()>> {
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
pub(super) fn told_to_stop() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        let _ = interrupt.recv().await;
    })
}

/// A terminal that doesn't show what is typed, until this is dropped.
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
        // Each key comes at once and as it is, also those that would interrupt or stop the process: stopped, it would leave
        // everything hidden. The reader knows what they mean.
        modes.local_modes -= LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG;
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&terminal, OptionalActions::Now, &modes)?;
        Ok(Self { terminal, before })
    }
}

#[cfg(unix)]
impl Drop for Hidden {
    fn drop(&mut self) {
        // A terminal that is gone needs no tidying.
        let _ = rustix::termios::tcsetattr(&self.terminal, rustix::termios::OptionalActions::Now, &self.before);
    }
}

/// A console's modes end with the read that set them.
#[cfg(not(unix))]
struct Hidden;

#[cfg(all(test, unix))]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    /// Is told to stop before it reads, and then waits for ever.
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
        // Nobody waits for the reader.
        runtime.shutdown_background();
        assert_eq!(answer.unwrap_err().kind(), io::ErrorKind::Interrupted);
    }
}
