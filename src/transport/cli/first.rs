//! Commands where no vault exists yet: their input is read and checked before a vault is created, so that a mistake
//! leaves no empty vault behind.

use super::{Command, Console, Ending, Failure, account, key, seat, seat_file::Placed, secret};
use crate::{child::Children, domain::time::Timestamp, operations::Registration};

/// The input of a command, which can't be read twice.
pub struct Input(pub(super) Taken);

/// The input that was read.
pub(super) enum Taken {
    /// A secret to add.
    Secret(Registration),
    /// The secrets of files.
    Secrets(secret::Files),
    /// The seats of a file.
    Seats(Vec<Placed>),
}

/// The result of checking a command before there is a vault.
pub enum First {
    /// No error was found, as far as it can be known without a vault.
    Nothing,
    /// The command's input was read.
    Read(Input),
    /// The command has nothing to store, and has ended.
    Ended(Ending),
}

/// Reads and checks the input of a command.
///
/// # Errors
/// [`Failure`]: the input can't be read, is wrong, or names something that an empty vault does not hold.
pub async fn first(
    command: &Command,
    now: Timestamp,
    console: &mut Console,
    children: &Children,
) -> Result<First, Failure> {
    let first = match command {
        Command::Secret(command) => secret::first(command, console, children).await?,
        Command::Seat(command) => seat::first(command, console)?,
        Command::Key(key::Command::Create(args)) => {
            args.first(now)?;
            console.must_be_heard()?;
            First::Nothing
        }
        Command::Account(account::Command::Add { name }) => {
            account::first(name)?;
            First::Nothing
        }
        Command::Code(_)
        | Command::Fill(_)
        | Command::Guard(_)
        | Command::Plugin(_)
        | Command::Verify(_)
        | Command::Key(_)
        | Command::Account(_)
        | Command::Audit(_)
        | Command::Vault(_) => First::Nothing,
    };
    console.flush()?;
    Ok(first)
}
