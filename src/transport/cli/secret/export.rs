//! `countersign secret export`: writes seeds out of the vault, encrypted unless a person chooses otherwise.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use clap::Args;
use zeroize::Zeroizing;

use super::view;
use crate::{
    domain::{
        age::{Openers, Recipient, Sealing},
        ids::SecretId,
        limits::{PASSPHRASE_BYTES_MAX, PASSPHRASE_CHARS_MIN},
    },
    operations::{Export, ExportSecrets, Service},
    transport::cli::{
        Ending, Failure, Session,
        names::{self, Among},
        numbers::counted_len,
        output::close_redirected,
        prompt::THE_SAME_AGAIN,
        working::{Stage, watched},
    },
};

/// What an export takes.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The secrets, each by its id, short id, or words of its issuer and label in quotes [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Write them to a new file that only you can read, instead of printing them
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    /// Encrypt them to this public key of `age` instead of a passphrase; several may open the file
    #[arg(long = "to", value_name = "RECIPIENT")]
    recipients: Vec<Recipient>,
    /// Read the passphrase from a file; it is asked for otherwise
    #[arg(long, value_name = "FILE", conflicts_with = "recipients")]
    passphrase_file: Option<PathBuf>,
    /// Leave them unencrypted, as otpauth:// URIs
    #[arg(long, visible_alias = "plaintext", conflicts_with_all = ["recipients", "passphrase_file"])]
    plain: bool,
    /// Don't ask, and print seeds on a terminal, too
    #[arg(long, short = 'y')]
    yes: bool,
}

pub(super) async fn export(args: &ExportArgs, session: &mut Session) -> Result<Ending, Failure> {
    let terminal = session.console.looks().out.terminal;
    if args.plain {
        allow_plain(args, terminal, session)?;
    } else if args.output.is_none() && (terminal || session.console.is_json()) {
        let remedy = "an encrypted export is no text; name a file with --output (--plain leaves it unencrypted)";
        return Err(Failure::Usage(remedy.to_owned()));
    }
    let only = if args.names.is_empty() { None } else { Some(named(&args.names, session).await?) };
    let passphrase =
        if args.plain || !args.recipients.is_empty() { None } else { Some(passphrase(args, session).await?) };
    // Create the file before exporting: if it exists already, the audit log must not get a row for each secret.
    let file = args.output.as_deref().map(|path| new_file("--output", path)).transpose()?;
    let export = if let (Some(file), Some(path)) = (file, &args.output) {
        let exported = to_file(file, only, passphrase, args, session).await;
        if exported.is_err() {
            // Don't leave an incomplete export.
            let _ = std::fs::remove_file(path);
        }
        exported?
    } else {
        // Derive the key before the audit log records that seeds were read.
        let sealing = if args.plain {
            None
        } else {
            Some(begun(Vec::new(), passphrase.as_ref(), &args.recipients, &session.service)?)
        };
        let export = session.perform(ExportSecrets { only }).await?;
        match sealing {
            Some(sealing) => session.console.bytes(&sealed(sealing, &as_text(&export, false)?)?)?,
            None => print(&export, session)?,
        }
        // Report the export only once it is written.
        session.console.flush()?;
        export
    };
    let ending = print_outcome(&export, args, session);
    if !args.plain && session.console.is_json() {
        session.console.document(&view::SealedExport::of(&export))?;
    }
    Ok(ending)
}

/// Exports into a file. A person can interrupt it while its key is derived, which takes a second; once the audit log
/// records that the seeds were read, the file is written to its end.
async fn to_file(
    file: File,
    only: Option<Vec<SecretId>>,
    passphrase: Option<Zeroizing<String>>,
    args: &ExportArgs,
    session: &mut Session,
) -> Result<Export, Failure> {
    let (service, caller) = (session.service.clone(), session.caller.clone());
    let (is_plain, json, recipients) = (args.plain, args.plain && session.console.is_json(), args.recipients.clone());
    let is_read = AtomicBool::new(false);
    let is_read = &is_read;
    let work = Box::pin(async move {
        let randomness = service.clone();
        let begin = move || {
            if is_plain {
                return Ok(To::Plain(file));
            }
            begun(file, passphrase.as_ref(), &recipients, &randomness).map(To::Sealed)
        };
        let to = written(begin).await?;
        is_read.store(true, Ordering::Relaxed);
        let export = service.perform(&caller, ExportSecrets { only }).await?;
        let text = as_text(&export, json)?;
        written(move || to.whole(&text)?.sync_all()).await?;
        Ok(export)
    });
    let stage = || if is_read.load(Ordering::Relaxed) { Stage::Last } else { Stage::Somewhere };
    watched(&mut session.console, "exporting", stage, work).await?
}

/// The destination of an export into a file.
enum To {
    Plain(File),
    Sealed(Sealing<File>),
}

impl To {
    fn whole(self, text: &[u8]) -> io::Result<File> {
        match self {
            Self::Plain(mut file) => file.write_all(text).map(|()| file),
            Self::Sealed(sealing) => sealed(sealing, text),
        }
    }
}

/// Runs a part of the work on the file, on a thread of its own.
async fn written<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await.unwrap_or_else(|cause| Err(io::Error::other(cause)));
    done.map_err(|cause| Failure::unwritten("--output", &cause))
}

/// Begins an encrypted export. Deriving the key of a passphrase takes a second.
fn begun<W: io::Write>(
    to: W,
    passphrase: Option<&Zeroizing<String>>,
    recipients: &[Recipient],
    service: &Service,
) -> io::Result<Sealing<W>> {
    let openers = passphrase.map_or(Openers::Recipients(recipients), |passphrase| Openers::Passphrase(passphrase));
    Sealing::begin(to, &openers, &mut |bytes: &mut [u8]| service.fill(bytes))
}

fn sealed<W: io::Write>(mut sealing: Sealing<W>, text: &[u8]) -> io::Result<W> {
    sealing.write_all(text)?;
    sealing.finish()
}

/// Allows an unencrypted export only after confirmation, and onto a screen only with `--yes`.
fn allow_plain(args: &ExportArgs, terminal: bool, session: &mut Session) -> Result<(), Failure> {
    if args.output.is_none() {
        if terminal && !args.yes {
            let remedy = "seeds would stay on this screen; send them to a file (--output) or a program, or add --yes";
            return Err(Failure::Usage(remedy.to_owned()));
        }
        close_redirected()?;
    }
    let question = "Write the seeds unencrypted? Anybody who reads the file can make your codes.";
    session.console.confirm(question, args.yes.into())
}

async fn named(names: &[String], session: &mut Session) -> Result<Vec<SecretId>, Failure> {
    let mut ids = Vec::with_capacity(names.len());
    for name in names {
        let id = names::secret(session, name, Among::Live).await?.id;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// The passphrase: a file without the end of its line, as an import reads it, or what is typed twice.
async fn passphrase(args: &ExportArgs, session: &mut Session) -> Result<Zeroizing<String>, Failure> {
    const REMEDY: &str = "use --passphrase-file, --to or --plain";
    let console = &mut session.console;
    if let Some(path) = &args.passphrase_file {
        let passphrase = console.read_secret("--passphrase-file", path, PASSPHRASE_BYTES_MAX)?;
        return long_enough(passphrase);
    }
    let passphrase = long_enough(console.ask_hidden("Passphrase for the export (hidden): ", REMEDY).await?)?;
    if *passphrase != *console.ask_hidden(THE_SAME_AGAIN, REMEDY).await? {
        return Err(Failure::invalid("the two passphrases differ; nothing was exported"));
    }
    Ok(passphrase)
}

/// Returns the passphrase, unless it is so short that trying all of its length could find it.
fn long_enough(passphrase: Zeroizing<String>) -> Result<Zeroizing<String>, Failure> {
    if passphrase.chars().count() < PASSPHRASE_CHARS_MIN {
        let problem = "the passphrase must have at least 12 characters; five random words are a good one";
        return Err(Failure::invalid(format!("{problem}; nothing was exported")));
    }
    Ok(passphrase)
}

fn print(export: &Export, session: &mut Session) -> Result<(), Failure> {
    let answer = view::ExportAnswer::of(export);
    session.console.answer(&answer, |console| {
        for uri in &export.uris {
            console.line(uri)?;
        }
        Ok(())
    })
}

/// The text for a file, the same as is printed. Allocate first: a buffer that grows leaves copies behind.
fn as_text(export: &Export, json: bool) -> Result<Zeroizing<Vec<u8>>, Failure> {
    const AROUND_EACH: usize = 8;
    const AROUND_ALL: usize = 256;
    let room: usize = export.uris.iter().map(|uri| uri.len() + AROUND_EACH).sum();
    let mut text = Zeroizing::new(Vec::with_capacity(room + export.damaged.len() * 48 + AROUND_ALL));
    if json {
        serde_json::to_writer(&mut *text, &view::ExportAnswer::of(export)).map_err(io::Error::from)?;
        text.push(b'\n');
        return Ok(text);
    }
    for uri in &export.uris {
        text.extend_from_slice(uri.as_bytes());
        text.push(b'\n');
    }
    Ok(text)
}

fn print_outcome(export: &Export, args: &ExportArgs, session: &mut Session) -> Ending {
    let how = match (args.plain, args.recipients.is_empty()) {
        (true, _) => "unencrypted",
        (false, true) => "encrypted; `secret import` reads the file, and so does `age -d`",
        (false, false) => {
            "encrypted; `age -d -i KEY-FILE` opens the file, and `secret import -` reads what that prints"
        }
    };
    session.console.note(&format!("{} exported {how}.", counted_len(export.uris.len(), "secret")));
    if export.damaged.is_empty() {
        return Ending::Done;
    }
    for id in &export.damaged {
        let name = id.map_or_else(|| "a secret with an unreadable id".to_owned(), |id| format!("the secret {id}"));
        session.console.note(&format!("{name} is damaged and was left out"));
    }
    let remedy = "`countersign vault doctor` says what is wrong; restore what is damaged from a backup.";
    session.console.note(remedy);
    Ending::No
}

/// Creates a new file for its owner alone, whatever the process's umask is.
pub(crate) fn new_file(flag: &str, path: &Path) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|cause| Failure::unwritten(flag, &cause))
}
