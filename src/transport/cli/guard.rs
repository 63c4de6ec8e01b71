//! `countersign guard`: the proxy of an agent's browser, and the certificate that the browser has to trust.

use std::{io::Write as _, net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{Ending, Failure, Session, interrupt::stop_signal, secret::new_file};
use crate::{
    guard::{Guard, GuardError, certificate},
    operations::{ErrorCode, answers::OK},
};

/// What `countersign guard` takes.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct GuardArgs {
    #[command(subcommand)]
    command: Option<Command>,
    /// The address that the browser uses as its proxy
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8899")]
    listen: SocketAddr,
    /// Trust the certificates in this PEM file too when connecting to origins; may be given several times
    #[arg(long, value_name = "FILE")]
    ca: Vec<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the certificate that the browser has to trust; it is made the first time
    #[command(
        after_help = "Examples:\n  countersign guard ca --output guard.pem\n  countersign guard ca --new\nChromium trusts it by --ignore-certificate-errors-spki-list=HASH, with a --user-data-dir of its own."
    )]
    Ca {
        /// Write the certificate to a new file, and print the hash of its key alone
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Make another one, for the origins that secrets have now; the browser has to be told
        #[arg(long)]
        new: bool,
    },
}

/// The certificate, as JSON.
#[derive(Serialize)]
struct CaAnswer {
    status: &'static str,
    certificate: String,
    /// The hash of its public key, in the form that Chromium's flag takes.
    spki_sha256: String,
    hosts: Vec<String>,
}

impl GuardArgs {
    /// Shows the certificate, or serves as the proxy until a signal stops it.
    pub(super) async fn run(self, session: &mut Session) -> Result<Ending, Failure> {
        match self.command {
            Some(Command::Ca { output, new }) => show(output, new, session).await,
            None => serve(self.listen, &self.ca, session).await,
        }
    }
}

async fn show(output: Option<PathBuf>, new: bool, session: &mut Session) -> Result<Ending, Failure> {
    let file = output.as_deref().map(|path| new_file("--output", path)).transpose()?;
    let found = certificate(&session.service, &session.caller, new).await.inspect_err(|_| {
        // Nothing was written to the file.
        let _ = output.as_deref().map(std::fs::remove_file);
    })?;
    let to_file = file.is_some();
    if let Some(mut file) = file {
        let written = file.write_all(found.pem.as_bytes()).and_then(|()| file.sync_all());
        written.map_err(|cause| Failure::unwritten("--output", &cause))?;
    }
    session.console.note(&format!("It is for {} and what is below them.", found.hosts.join(", ")));
    let answer = CaAnswer { status: OK, certificate: found.pem, spki_sha256: found.key_hash, hosts: found.hosts };
    session.console.answer(&answer, |console| {
        console.line(&answer.spki_sha256)?;
        if to_file { Ok(()) } else { console.text(&answer.certificate) }
    })?;
    Ok(Ending::Done)
}

async fn serve(listen: SocketAddr, roots: &[PathBuf], session: &mut Session) -> Result<Ending, Failure> {
    let stopped = stop_signal()?;
    let guard = Guard::listen(session.service.clone(), session.caller.clone(), listen, roots).await?;
    session.console.note(&format!("guarding on http://{}", guard.address()));
    if !guard.has_certificate().await? {
        session.console.note("No browser trusts it yet, so decoys stay as they are: run `countersign guard ca` first.");
    }
    guard.serve(stopped).await;
    Ok(Ending::Done)
}

impl From<GuardError> for Failure {
    fn from(problem: GuardError) -> Self {
        let code = match problem {
            GuardError::Refused(refusal) => return refusal.into(),
            GuardError::NotLoopback => return Self::Usage(problem.to_string()),
            GuardError::NothingBound | GuardError::TooManyHosts(_) | GuardError::Roots(_) => ErrorCode::InvalidArgument,
            GuardError::Certificates(_) | GuardError::Listen(_) | GuardError::Absent => ErrorCode::Unavailable,
        };
        Self::Failed { code, message: problem.to_string() }
    }
}
