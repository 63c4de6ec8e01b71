//! `countersign account`: the tenants of a vault.

use clap::Subcommand;
use serde::Serialize;

use super::{Ending, Failure, Session, table::Table};
use crate::{
    domain::{
        account::{Account, DEFAULT_ACCOUNT},
        text::Name,
    },
    operations::{AddAccount, ListAccounts, Refusal, RemoveAccount, SecretDeleteResponse, answers::OK},
};

/// What can be done with accounts.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add an account
    #[command(
        after_help = "Examples:\n  countersign account add acme\n  countersign --account acme secret list",
        alias = "create"
    )]
    Add {
        /// What it is called
        name: String,
    },
    /// List the accounts
    #[command(after_help = "Examples:\n  countersign account list", alias = "ls")]
    List,
    /// Remove an account that has no secrets, nor deleted ones that can be restored, with its seats and keys
    #[command(after_help = "Examples:\n  countersign account rm acme", aliases = ["delete", "remove"])]
    Rm {
        /// What it is called
        name: String,
        /// Don't ask
        #[arg(long, short = 'y')]
        yes: bool,
    },
}

/// An account, as JSON.
#[derive(Serialize)]
struct AccountView {
    name: String,
    created_at: String,
}

/// The answer to an addition.
#[derive(Serialize)]
struct AccountAnswer {
    account: AccountView,
    status: &'static str,
}

/// The answer to a list.
#[derive(Serialize)]
struct AccountsAnswer {
    accounts: Vec<AccountView>,
    status: &'static str,
}

pub(super) async fn run(command: Command, session: &mut Session) -> Result<Ending, Failure> {
    match command {
        Command::Add { name } => add(name, session).await,
        Command::List => list(session).await,
        Command::Rm { name, yes } => {
            session.console.confirm("Remove this account with its seats and keys?", yes.into())?;
            session.perform(RemoveAccount { name }).await?;
            session.console.answer(&SecretDeleteResponse { status: OK }, |console| console.line("removed"))?;
            Ok(Ending::Done)
        }
    }
}

/// Checks a new account's name.
fn check(name: &str) -> Result<(), Failure> {
    Name::parse(name).map(drop).map_err(|problem| Failure::Usage(format!("an account's name {problem}")))
}

/// Checks a new account's name where no vault exists yet. A new vault has one account, the default one.
pub(super) fn first(name: &str) -> Result<(), Failure> {
    check(name)?;
    let is_there = Name::parse(name).is_ok_and(|name| name.as_str() == DEFAULT_ACCOUNT);
    if is_there { Err(Refusal::Exists("an account of this name").into()) } else { Ok(()) }
}

async fn add(name: String, session: &mut Session) -> Result<Ending, Failure> {
    check(&name)?;
    let account = session.perform(AddAccount { name }).await?;
    let answer = AccountAnswer { account: AccountView::from(&account), status: OK };
    session.console.answer(&answer, |console| {
        console.facts(&[("name", &answer.account.name), ("created", &answer.account.created_at)])
    })?;
    Ok(Ending::Done)
}

async fn list(session: &mut Session) -> Result<Ending, Failure> {
    let accounts = session.perform(ListAccounts).await?;
    let now = session.service.now();
    let answer = AccountsAnswer { accounts: accounts.iter().map(AccountView::from).collect(), status: OK };
    session.console.answer(&answer, |console| {
        let mut table = Table::new(&["NAME", "CREATED"]);
        for account in &accounts {
            table.row(vec![account.name.to_string(), console.date(account.created_at, now)]);
        }
        console.table(&table)
    })?;
    Ok(Ending::Done)
}

impl From<&Account> for AccountView {
    fn from(account: &Account) -> Self {
        Self { name: account.name.to_string(), created_at: account.created_at.to_string() }
    }
}
