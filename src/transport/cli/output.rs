//! Output: tables, facts and JSON on standard output, notes and errors on standard error.

use std::io::{self, BufRead, BufWriter, IsTerminal as _, Write};

use serde::Serialize;

use super::{
    failure::Failure,
    prompt::Questions,
    table::{EMPTY, GAP, Table, padded, width},
    times,
};
use crate::{
    domain::time::Timestamp,
    operations::{ErrorCode, answers::OK},
    transport::ErrorBody,
};

/// How answers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// For people.
    Text,
    /// One JSON document, for programs.
    Json,
}

/// The abilities of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    /// Whether it is a terminal, which can redraw a line.
    pub terminal: bool,
    /// Whether it may have colour.
    pub colour: bool,
}

/// The abilities of standard output and standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Looks {
    /// Standard output.
    pub out: Stream,
    /// Standard error.
    pub notes: Stream,
}

/// The streams for answers and questions.
pub struct Console {
    answers: Answers,
    looks: Looks,
    /// Whether standard output is anything but the null device.
    heard: bool,
    /// Whether notes and errors are log lines, because all of standard error is the log.
    notes_in_log: bool,
    out: Box<dyn Write>,
    notes: Box<dyn Write>,
    pub(super) questions: Questions,
}

/// A document whose list is written item by item.
pub(super) struct Items {
    indented: bool,
    begun: bool,
}

impl Console {
    /// The process's own streams.
    pub fn of_process(answers: Answers, looks: Looks) -> Self {
        let input = Questions::of_process(Box::new(io::BufReader::new(io::stdin())), io::stdin().is_terminal());
        let console = Self::new(answers, looks, (Box::new(io::stdout()), Box::new(io::stderr())), input);
        Self { heard: leads_somewhere(), ..console }
    }

    pub(super) fn new(
        answers: Answers,
        looks: Looks,
        (out, notes): (Box<dyn Write>, Box<dyn Write>),
        questions: Questions,
    ) -> Self {
        Self { answers, looks, heard: true, notes_in_log: false, out: Box::new(BufWriter::new(out)), notes, questions }
    }

    pub(super) const fn looks(&self) -> Looks {
        self.looks
    }

    pub(super) fn is_json(&self) -> bool {
        self.answers == Answers::Json
    }

    /// Refuses to create a value that is shown only once if the output would be lost, or other users might read it.
    pub(super) fn must_be_heard(&self) -> Result<(), Failure> {
        if self.heard {
            return close_redirected();
        }
        let message = "nothing was made: standard output is closed or leads nowhere, and this is shown once";
        Err(Failure::Failed { code: ErrorCode::Unavailable, message: message.to_owned() })
    }

    /// Writes the answer: the document for programs, or what `text` writes for people.
    pub(super) fn answer<T: Serialize>(
        &mut self,
        document: &T,
        text: impl FnOnce(&mut Self) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        match self.answers {
            Answers::Json => self.document(document),
            Answers::Text => text(self),
        }
    }

    /// Writes one document, indented on a terminal and on one line otherwise, without copying it.
    pub(super) fn document<T: Serialize>(&mut self, document: &T) -> Result<(), Failure> {
        let written = if self.looks.out.terminal {
            serde_json::to_writer_pretty(&mut self.out, document)
        } else {
            serde_json::to_writer(&mut self.out, document)
        };
        written.map_err(io::Error::from)?;
        self.line("")
    }

    /// Writes one document on one line.
    pub(super) fn json_line<T: Serialize>(&mut self, document: &T) -> Result<(), Failure> {
        self.json(document)?;
        self.line("")
    }

    /// Begins a document with a list under this name.
    pub(super) fn items(&mut self, name: &str) -> Result<Items, Failure> {
        let indented = self.looks.out.terminal;
        self.text(&if indented {
            format!("{{\n  \"status\": \"{OK}\",\n  \"{name}\": [")
        } else {
            format!("{{\"status\":\"{OK}\",\"{name}\":[")
        })?;
        Ok(Items { indented, begun: false })
    }

    /// Writes an item of a document's list.
    pub(super) fn item<T: Serialize>(&mut self, items: &mut Items, item: &T) -> Result<(), Failure> {
        if std::mem::replace(&mut items.begun, true) {
            self.text(",")?;
        }
        if !items.indented {
            return self.json(item);
        }
        for line in serde_json::to_string_pretty(item).map_err(io::Error::from)?.lines() {
            self.text(&format!("\n    {line}"))?;
        }
        Ok(())
    }

    /// Ends a document with a list.
    pub(super) fn end_items(&mut self, items: &Items) -> Result<(), Failure> {
        match items {
            Items { indented: true, begun: true } => self.line("\n  ]\n}"),
            Items { indented: true, begun: false } => self.line("]\n}"),
            Items { indented: false, .. } => self.line("]}"),
        }
    }

    /// Writes a part of a document that is too large to hold in memory.
    pub(super) fn json<T: Serialize>(&mut self, part: &T) -> Result<(), Failure> {
        Ok(serde_json::to_writer(&mut self.out, part).map_err(io::Error::from)?)
    }

    /// Writes the text between the parts of a document.
    pub(super) fn text(&mut self, text: &str) -> Result<(), Failure> {
        Ok(self.out.write_all(text.as_bytes())?)
    }

    /// Writes bytes of the answer that are not text.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.out.write_all(bytes)?)
    }

    /// Writes a line of the answer.
    pub(super) fn line(&mut self, text: &str) -> Result<(), Failure> {
        Ok(writeln!(self.out, "{text}")?)
    }

    /// Writes a part of a line and flushes it.
    pub(super) fn part(&mut self, text: &str) -> Result<(), Failure> {
        write!(self.out, "{text}")?;
        self.flush()
    }

    /// Flushes everything written.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.out.flush()?)
    }

    /// Returns the console with notes and errors as log lines.
    #[must_use]
    pub fn noting_in_log(self) -> Self {
        Self { notes_in_log: true, ..self }
    }

    /// Writes a note to standard error, below the answer written so far. Errors are ignored; an answer that can't be
    /// written is reported by its next write.
    pub fn note(&mut self, text: &str) {
        let _ = self.out.flush();
        if self.notes_in_log {
            tracing::info!("{text}");
        } else {
            let _ = writeln!(self.notes, "{text}");
        }
    }

    /// Writes a part of a note's line.
    pub(super) fn note_part(&mut self, text: &str) {
        let _ = write!(self.notes, "{text}").and_then(|()| self.notes.flush());
    }

    /// Reports an error: a line for a person, or the error's document for a program.
    pub fn complain(&mut self, error: &ErrorBody) {
        let _ = self.out.flush();
        match self.answers {
            _ if self.notes_in_log => tracing::error!(code = error.error, "{}", error.message),
            Answers::Json => {
                let _ = serde_json::to_writer(&mut self.notes, error);
                self.note("");
            }
            Answers::Text => {
                let head = if self.looks.notes.colour { "\u{1b}[1;31merror:\u{1b}[0m" } else { "error:" };
                self.note(&format!("{head} {}", error.message));
            }
        }
    }

    /// Writes a table: aligned, without tabs, the head bold on a terminal, and no wider than the terminal.
    pub(super) fn table(&mut self, table: &Table) -> Result<(), Failure> {
        for (nth, line) in table.lines(self.out_width()).into_iter().enumerate() {
            if nth == 0 { self.head(&line) } else { self.line(&line) }?;
        }
        Ok(())
    }

    /// Writes the head of a table.
    pub(super) fn head(&mut self, line: &str) -> Result<(), Failure> {
        if self.looks.out.colour { self.line(&format!("\u{1b}[1m{line}\u{1b}[0m")) } else { self.line(line) }
    }

    /// The width of an answer's lines: that of the terminal now; unlimited for a file or a pipe.
    pub(super) fn out_width(&self) -> Option<usize> {
        if self.looks.out.terminal { terminal_size::terminal_size().map(|(wide, _)| usize::from(wide.0)) } else { None }
    }

    /// The width of the lines of notes: that of the terminal now; unlimited for a file or a pipe.
    pub(super) fn notes_width(&self) -> Option<usize> {
        let size = if self.looks.notes.terminal { terminal_size::terminal_size_of(io::stderr()) } else { None };
        size.map(|(wide, _)| usize::from(wide.0))
    }

    /// The height of the terminal in lines.
    pub(super) fn out_height(&self) -> Option<usize> {
        if self.looks.out.terminal { terminal_size::terminal_size().map(|(_, high)| usize::from(high.0)) } else { None }
    }

    /// Writes names and values, one pair on each line.
    pub(super) fn facts(&mut self, facts: &[(&str, &str)]) -> Result<(), Failure> {
        let wide = facts.iter().map(|(name, _)| width(name)).max().unwrap_or_default();
        for (name, value) in facts {
            let shown = if value.is_empty() { EMPTY } else { value };
            let name = padded(name, wide);
            let (on, off) = if self.looks.out.colour { ("\u{1b}[2m", "\u{1b}[0m") } else { ("", "") };
            self.line(&format!("{on}{name}{off}{GAP}{shown}"))?;
        }
        Ok(())
    }

    /// A time: relative for a person at a terminal, the full timestamp for a pipe.
    pub(super) fn date(&self, at: Timestamp, now: Timestamp) -> String {
        if self.looks.out.terminal { times::in_words(at, now) } else { at.to_string() }
    }

    /// An optional time; an empty cell for `None`.
    pub(super) fn date_or_none(&self, at: Option<Timestamp>, now: Timestamp) -> String {
        at.map(|at| self.date(at, now)).unwrap_or_default()
    }
}

/// Whether standard output is anything but the null device, which also replaces a closed standard output: output to it
/// is lost without an error.
#[cfg(unix)]
fn leads_somewhere() -> bool {
    use std::os::{
        fd::AsFd as _,
        unix::fs::{FileTypeExt as _, MetadataExt as _},
    };

    let out = io::stdout().as_fd().try_clone_to_owned().and_then(|out| std::fs::File::from(out).metadata());
    match (out, std::fs::metadata("/dev/null")) {
        (Ok(out), Ok(null)) => !out.file_type().is_char_device() || out.rdev() != null.rdev(),
        _ => true,
    }
}

#[cfg(not(unix))]
const fn leads_somewhere() -> bool {
    true
}

/// An input stream, which may be read on a thread of its own.
pub(super) type Input = Box<dyn BufRead + Send>;

/// Makes a file that standard output is redirected to private before a secret is written to it: the shell created it
/// with its own umask.
pub(super) fn close_redirected() -> Result<(), Failure> {
    close_output().map_err(|cause| {
        Failure::invalid(format!(
            "standard output is a file that others may read, and can't be made private ({cause}); create it with mode 0600"
        ))
    })
}

#[cfg(unix)]
fn close_output() -> io::Result<()> {
    use std::os::{fd::AsFd as _, unix::fs::PermissionsExt as _};

    let file = std::fs::File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let facts = file.metadata()?;
    if facts.is_file() && facts.permissions().mode() & 0o077 != 0 {
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
const fn close_output() -> io::Result<()> {
    Ok(())
}
