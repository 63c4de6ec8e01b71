//! `countersign secret export`: writes seeds out of the vault, unencrypted.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use clap::Args;
use zeroize::Zeroizing;

use super::view;
use crate::{
    operations::{Export, ExportSecrets},
    transport::cli::{Ending, Failure, Session, numbers::counted_len},
};

/// What an export takes.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Say that the seeds leave the vault unencrypted
    #[arg(long, required = true)]
    plaintext: bool,
    /// Write them to a new file that only you can read, instead of printing them
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print seeds on a terminal, too
    #[arg(long, short = 'y')]
    yes: bool,
}

pub(super) async fn export(args: &ExportArgs, session: &mut Session) -> Result<Ending, Failure> {
    if args.output.is_none() {
        if session.console.looks().out.terminal && !args.yes {
            let remedy = "seeds would stay on this screen; send them to a file (--output) or a program, or add --yes";
            return Err(Failure::Usage(remedy.to_owned()));
        }
        close_redirected().map_err(|cause| {
            Failure::invalid(format!(
                "standard output is a file that others may read ({cause}); name the file with --output instead"
            ))
        })?;
    }
    // Create the file before exporting: if it exists already, the audit log must not get a row for each secret.
    let file = args.output.as_deref().map(new_file).transpose()?;
    let export = session.perform(ExportSecrets).await?;
    match (file, &args.output) {
        (Some(mut file), Some(path)) => {
            let text = as_text(&export, session.console.is_json())?;
            let written = file.write_all(&text).and_then(|()| file.sync_all());
            written.map_err(|cause| {
                // Don't leave an incomplete export.
                let _ = std::fs::remove_file(path);
                Failure::unwritten("--output", &cause)
            })?;
        }
        _ => print(&export, session)?,
    }
    Ok(tell(&export, session))
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

/// The text for a file, the same as would be printed. Allocate first: a buffer that grows leaves copies behind.
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

fn tell(export: &Export, session: &mut Session) -> Ending {
    session.console.note(&format!("{} exported unencrypted.", counted_len(export.uris.len(), "secret")));
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
fn new_file(path: &Path) -> Result<std::fs::File, Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|cause| Failure::unwritten("--output", &cause))
}

/// A file that a shell created for our output has the shell's umask: make it private before a seed is written to it.
#[cfg(unix)]
fn close_redirected() -> io::Result<()> {
    use std::os::fd::AsFd as _;

    let out = io::stdout();
    let file = std::fs::File::from(out.as_fd().try_clone_to_owned()?);
    let facts = file.metadata()?;
    if facts.is_file() && std::os::unix::fs::PermissionsExt::mode(&facts.permissions()) & 0o077 != 0 {
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    }
    Ok(())
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
const fn close_redirected() -> io::Result<()> {
    Ok(())
}
