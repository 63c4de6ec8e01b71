//! Questions to a person, and input from standard input or a file. Everything read may be a seed, so it is wiped on
//! drop.

use std::{
    fs::File,
    io::{self, BufRead as _, Read as _},
    path::Path,
};

use zeroize::Zeroizing;

use super::{
    failure::Failure,
    file_names::shown_path,
    hidden,
    output::{Console, Input},
    table::Table,
};

/// The most bytes of an answer.
const LINE_BYTES_MAX: u64 = 256;
/// The prompt for a hidden value a second time.
pub(super) const THE_SAME_AGAIN: &str = "The same again (hidden): ";
/// The file name that means standard input.
const STDIN: &str = "-";

/// The source of answers to questions.
pub(super) struct Questions {
    input: Input,
    terminal: bool,
    hidden: hidden::Ask,
}

/// Whether a person has already agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consent {
    /// `--yes`.
    Given,
    /// The person has to be asked.
    NotYet,
}

impl Questions {
    pub(super) fn of_process(input: Input, terminal: bool) -> Self {
        Self { input, terminal, hidden: hidden::on_terminal }
    }

    #[cfg(test)]
    pub(super) fn scripted(typed: &'static str, terminal: bool) -> Self {
        Self { input: Box::new(typed.as_bytes()), terminal, hidden: |_| Err(io::ErrorKind::Unsupported.into()) }
    }
}

impl Console {
    /// Asks for a value that must not be shown on the screen.
    pub(super) async fn ask_hidden(&mut self, prompt: &str, remedy: &str) -> Result<Zeroizing<String>, Failure> {
        if !self.questions.terminal {
            return Err(Failure::Usage(format!("standard input is not a terminal to ask on; {remedy}")));
        }
        hidden::ask(prompt, self.questions.hidden).await.map_err(|cause| {
            if cause.kind() == io::ErrorKind::Interrupted {
                // End the prompt's line.
                self.note("");
                return Failure::Interrupted;
            }
            Failure::invalid(format!("the terminal could not be read: {cause}; {remedy}"))
        })
    }

    /// Whether a person can be asked.
    pub(super) fn can_ask(&self) -> bool {
        self.questions.terminal && self.looks().notes.terminal && !self.is_json()
    }

    /// Asks for one of several rows, by its number in the list. Returns its index, from 0.
    pub(super) fn choose(&mut self, question: &str, of: &Table) -> Result<usize, Failure> {
        let digits = of.rows().to_string().len();
        let within = self.notes_width().map(|wide| wide.saturating_sub(digits + 2));
        self.note(question);
        for (nth, line) in of.lines(within).iter().enumerate() {
            let number = if nth == 0 { String::new() } else { nth.to_string() };
            self.note(&format!("{number:>digits$}  {line}"));
        }
        self.note_part(&format!("Which one? [1-{}] ", of.rows()));
        let typed = self.typed_line()?;
        let chosen = typed.parse::<usize>().ok().filter(|number| (1..=of.rows()).contains(number));
        chosen.and_then(|number| number.checked_sub(1)).ok_or(Failure::Declined("nothing was chosen"))
    }

    fn typed_line(&mut self) -> Result<String, Failure> {
        let mut typed = String::new();
        let read = (&mut self.questions.input).take(LINE_BYTES_MAX).read_line(&mut typed);
        read.map_err(|cause| Failure::invalid(cause.to_string()))?;
        Ok(typed.trim().to_owned())
    }

    /// Asks for a line of text.
    pub(super) fn ask(&mut self, prompt: &str, remedy: &str) -> Result<String, Failure> {
        if !self.questions.terminal {
            return Err(Failure::Usage(format!("standard input is not a terminal to ask on; {remedy}")));
        }
        self.note_part(prompt);
        self.typed_line()
    }

    /// Asks for confirmation before something is lost.
    pub(super) fn confirm(&mut self, question: &str, consent: Consent) -> Result<(), Failure> {
        if consent == Consent::Given {
            return Ok(());
        }
        if !self.questions.terminal {
            return Err(Failure::Usage("this asks first, and standard input is not a terminal; add --yes".to_owned()));
        }
        self.note_part(&format!("{question} [y/N] "));
        let typed = self.typed_line()?;
        let yes = matches!(typed.to_ascii_lowercase().as_str(), "y" | "yes");
        if yes { Ok(()) } else { Err(Failure::Declined("nothing was changed")) }
    }

    /// Reads the file of a flag, or standard input for `-`, up to a limit.
    pub(super) fn read(&mut self, flag: &str, path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
        // Read one byte beyond the limit to detect a larger file. Allocate first, since a buffer that grows leaves
        // copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(limit.min(64 * 1024) + 1));
        let most = limit as u64 + 1;
        let read = if path == Path::new(STDIN) {
            (&mut self.questions.input).take(most).read_to_end(&mut bytes)
        } else {
            File::open(path).and_then(|file| {
                let length = file.metadata().map_or(0, |metadata| metadata.len()).min(most);
                bytes.reserve_exact(usize::try_from(length).unwrap_or_default() + 1);
                file.take(most).read_to_end(&mut bytes)
            })
        };
        read.map_err(|cause| Failure::unread(flag, path, &cause))?;
        if bytes.len() > limit {
            let refusal = crate::operations::ErrorCode::TooLarge;
            let message = format!("{} is larger than {limit} bytes", shown_path(path));
            return Err(Failure::Failed { code: refusal, message });
        }
        Ok(bytes)
    }

    /// Reads text from the file of a flag, or standard input for `-`, up to a limit.
    pub(super) fn read_text(&mut self, flag: &str, path: &Path, limit: usize) -> Result<Zeroizing<String>, Failure> {
        let bytes = self.read(flag, path, limit)?;
        let text = std::str::from_utf8(&bytes).map_err(|cause| {
            let line = bytes.iter().take(cause.valid_up_to()).filter(|byte| **byte == b'\n').count() + 1;
            Failure::invalid(format!("{}: line {line} is not UTF-8 text", shown_path(path)))
        })?;
        Ok(Zeroizing::new(text.trim_start_matches('\u{FEFF}').to_owned()))
    }

    /// Reads a passphrase or another secret from the file of a flag: the text without the end of its line.
    pub(crate) fn read_secret(&mut self, flag: &str, path: &Path, limit: usize) -> Result<Zeroizing<String>, Failure> {
        let text = self.read_text(flag, path, limit)?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        Ok(Zeroizing::new(line.strip_suffix('\r').unwrap_or(line).to_owned()))
    }

    /// Reads text from standard input, without the white space around it.
    pub(super) fn read_stdin(&mut self, limit: usize) -> Result<Zeroizing<String>, Failure> {
        let text = self.read_text("standard input", Path::new(STDIN), limit)?;
        Ok(Zeroizing::new(text.trim().to_owned()))
    }
}

impl From<bool> for Consent {
    fn from(yes: bool) -> Self {
        if yes { Self::Given } else { Self::NotYet }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::cli::output::{Answers, Looks, Stream};

    fn console(typed: &'static str, terminal: bool) -> Console {
        let stream = Stream { terminal, colour: false };
        let looks = Looks { out: stream, notes: stream };
        let streams = (Box::new(io::sink()) as Box<dyn io::Write>, Box::new(io::sink()) as Box<dyn io::Write>);
        Console::new(Answers::Text, looks, streams, Questions::scripted(typed, terminal))
    }

    #[test]
    fn a_question_is_answered_by_yes_alone() {
        for (typed, agreed) in [("y\n", true), ("YES\n", true), ("\n", false), ("n\n", false), ("", false)] {
            assert_eq!(console(typed, true).confirm("Delete?", Consent::NotYet).is_ok(), agreed, "{typed:?}");
        }
    }

    #[tokio::test]
    async fn without_a_terminal_nothing_is_asked_and_the_remedy_is_named() {
        let refused = console("y\n", false).confirm("Delete?", Consent::NotYet).unwrap_err();
        assert!(refused.to_string().contains("--yes"));
        assert!(console("", false).confirm("Delete?", Consent::Given).is_ok());

        let refused = console("JBSWY3DP\n", false).ask_hidden("Seed: ", "use --stdin").await.unwrap_err();
        assert!(refused.to_string().contains("use --stdin"));
    }

    #[test]
    fn input_beyond_the_limit_is_refused() {
        assert_eq!(console("12345", false).read("FILE", Path::new("-"), 5).unwrap().len(), 5);
        assert!(console("123456", false).read("FILE", Path::new("-"), 5).is_err());
    }
}
