//! A file of an import. A child process reads it, and decrypts it with its passphrase, which the person is asked for.

use zeroize::Zeroizing;

use super::{import::ImportArgs, qr};
use crate::{
    child::{ChildError, Children, Job},
    domain::{
        import::{self, Answer, Contents, Format, Keys},
        limits::{IMPORT_MEMORY_ASKED, PASSPHRASE_BYTES_MAX},
    },
    transport::cli::{
        Failure,
        output::Console,
        working::{Stage, watched},
    },
};

/// How many passphrases a person may try at a prompt.
const TRIES: u32 = 3;

/// A file, and the means to read it.
pub(super) struct File<'a> {
    /// The file's name, as it can be shown.
    pub(super) name: String,
    pub(super) bytes: Zeroizing<Vec<u8>>,
    pub(super) args: &'a ImportArgs,
    /// The contents of its key file.
    pub(super) key: Option<&'a [u8]>,
    pub(super) children: &'a Children,
}

impl File<'_> {
    /// Replaces a picture by the texts of its QR codes, one a line, like a list of links.
    pub(super) async fn of_picture(&mut self) -> Result<(), Failure> {
        if import::is_picture(&self.bytes) {
            let texts = qr::read(&self.bytes, Some(&self.name), self.children).await?;
            if !texts.iter().any(|text| import::holds_link(text)) {
                return Err(qr::without_link(&texts, Some(&self.name)));
            }
            // Every code holds a whole text, and so does every line.
            let lines: Vec<&[u8]> = texts.iter().flat_map(|text| [text.as_bytes(), b"\n"]).collect();
            self.bytes = Zeroizing::new(lines.concat());
        }
        Ok(())
    }

    /// Reads the contents of the file.
    pub(super) async fn contents(&self, console: &mut Console) -> Result<Contents, Failure> {
        match self.read(Keys::default(), console).await? {
            Answer::Read(contents) => Ok(contents),
            Answer::Locked { format, memory } => self.unlocked(format, memory, console).await,
            Answer::Unread { problem, .. } => Err(self.refused(&problem)),
        }
    }

    /// Decrypts the file. At a prompt, a person may mistype twice.
    async fn unlocked(&self, format: Format, memory: u64, console: &mut Console) -> Result<Contents, Failure> {
        if memory > IMPORT_MEMORY_ASKED {
            let question = format!("Opening {} takes {} MiB of memory. Go on?", self.name, memory >> 20);
            console.confirm(&question, self.args.yes.into())?;
        }
        let mut tries_left = if self.args.passphrase_file.is_some() { 1 } else { TRIES };
        loop {
            tries_left -= 1;
            let passphrase = passphrase(&self.name, format, self.args, console).await?;
            let keys = Keys { passphrase: Some(&passphrase), key_file: self.key };
            match self.read(keys, console).await? {
                Answer::Read(contents) => return Ok(contents),
                Answer::Unread { wrong_passphrase: true, .. } if tries_left > 0 => {
                    console.note("That did not open it.");
                }
                Answer::Unread { problem, .. } => return Err(self.refused(&problem)),
                // The child had its passphrase.
                Answer::Locked { .. } => return Err(self.refused(&ChildError::Answer)),
            }
        }
    }

    /// Has a child process read the file.
    async fn read(&self, keys: Keys<'_>, console: &mut Console) -> Result<Answer, Failure> {
        let head = keys.head();
        let input = [head.as_slice(), &self.bytes];
        let verb = if keys.passphrase.is_some() { "opening" } else { "reading" };
        let work = self.children.run(Job::Import, &input);
        let answer = watched(console, &format!("{verb} {}", self.name), || Stage::Somewhere, work).await?;
        answer.map_err(|cause| self.refused(&cause))
    }

    fn refused(&self, problem: &impl ToString) -> Failure {
        Failure::invalid(format!("{}: {}", self.name, problem.to_string()))
    }
}

/// The passphrase: the contents of a file without the end of the line, or what is typed.
async fn passphrase(
    file: &str,
    format: Format,
    args: &ImportArgs,
    console: &mut Console,
) -> Result<Zeroizing<String>, Failure> {
    let Some(path) = &args.passphrase_file else {
        let app = format.name();
        let prompt = if args.kdbx_key_file.is_some() && format == Format::KeePass {
            format!("Passphrase of {file}, which the key file opens too; empty if it opens it alone (hidden): ")
        } else if format.is_guess() {
            format!("{file} is in no known format. If it is an encrypted export of {app}, its passphrase (hidden): ")
        } else {
            format!("Passphrase of {file}, an encrypted export of {app} (hidden): ")
        };
        let what = if format.is_guess() {
            format!("{file} is in no known format, unless it is an encrypted export of {app}; ")
        } else {
            format!("{file} is an encrypted export of {app}; ")
        };
        let asked = console.ask_hidden(&prompt, "use --passphrase-file").await;
        return asked.map_err(|failure| failure.about(&what));
    };
    console.read_secret("--passphrase-file", path, PASSPHRASE_BYTES_MAX)
}

#[cfg(all(test, unix))]
mod tests {
    use std::{io, path::Path};

    use super::*;
    use crate::transport::cli::{
        output::{Answers, Looks, Stream},
        prompt::Questions,
    };

    /// The command's message about a file that this script reads in the place of the child.
    async fn told_by(script: &str) -> String {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/children");
        let stream = Stream { terminal: false, colour: false };
        let streams = (Box::new(io::sink()) as Box<dyn io::Write>, Box::new(io::sink()) as Box<dyn io::Write>);
        let looks = Looks { out: stream, notes: stream };
        let mut console = Console::new(Answers::Text, looks, streams, Questions::scripted("", false));
        let args = ImportArgs {
            files: Vec::new(),
            dry_run: false,
            yes: true,
            passphrase_file: Some("/dev/null".into()),
            kdbx_key_file: None,
        };
        let (name, bytes) = ("aegis.json".to_owned(), Zeroizing::new(b"{}".to_vec()));
        let children = Children::of(folder.join(script));
        let file = File { name, bytes, args: &args, key: None, children: &children };
        let outcome = file.contents(&mut console).await;
        outcome.map_or_else(|failure| failure.to_string(), |contents| format!("{} entries", contents.entries.len()))
    }

    #[tokio::test]
    async fn a_wrong_answer_of_the_child_is_an_error_that_names_the_file() {
        let senseless = "aegis.json: the process that read it gave an answer that makes no sense";
        for script in ["senseless", "import-hostile-name", "import-locked-again"] {
            assert_eq!(told_by(script).await, senseless, "{script}");
        }
        assert!(told_by("killed").await.starts_with("aegis.json: it can't be read within its limits"));
        assert!(told_by("missing").await.starts_with("aegis.json: no process could be started to read it"));
    }
}
