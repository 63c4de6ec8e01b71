//! `countersign secret show --qr`: shows a secret's seed as a QR code, for a person who takes it to a phone.

use crate::{
    domain::ids::SecretId,
    operations::{Export, ExportSecrets, Refusal},
    transport::cli::{
        Failure, Session,
        qr_code::{qr_code, size},
    },
};

pub(super) async fn show(id: SecretId, yes: bool, session: &mut Session) -> Result<(), Failure> {
    if session.console.is_json() || !session.console.looks().out.terminal {
        let remedy = "--qr shows the seed to a person at a terminal; `secret export` writes a file";
        return Err(Failure::Usage(remedy.to_owned()));
    }
    let question = "Show the seed on this screen? Anybody who sees it can make your codes.";
    session.console.confirm(question, yes.into())?;
    let Export { uris, .. } = session.perform(ExportSecrets { only: Some(vec![id]) }).await?;
    let uri = uris.first().ok_or(Failure::Refused(Refusal::Damaged(format!("secret {id}"))))?;
    let code = qr_code(uri).ok_or_else(|| Failure::invalid("its URI is too long for a QR code"))?;
    let console = &mut session.console;
    if let (Some(wide), Some(high)) = (console.out_width(), console.out_height()) {
        let (columns, lines) = size(&code);
        // Below the code come a note and the line of the shell.
        let lines = lines + 2;
        if wide < columns || high < lines {
            return Err(Failure::invalid(format!(
                "this terminal has {wide} columns and {high} lines, and the QR code needs {columns} and {lines}: make the window \
                 larger or its letters smaller, and try again"
            )));
        }
    }
    session.console.text(&code)?;
    session.console.note("Clear the screen when the phone has it.");
    Ok(())
}
