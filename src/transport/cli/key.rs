//! `countersign key`: the API keys of remote agents. A key is shown once, in the answer to its creation.

use clap::{Args, Subcommand};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{
    Ending, Failure, Session,
    names::{self, Among},
    numbers::{counted, whole},
    seat,
    table::Table,
    times,
};
use crate::{
    domain::{
        api_key::{ApiKey, KeyId},
        limits::GRANTS_MAX,
        scope::{Scope, ScopeSet},
        time::Timestamp,
    },
    operations::{
        CreateKey, EnableKey, ErrorCode, ListKeys, MintedKey, Refusal, RemoveDamagedKeys, RevokeKey,
        SecretDeleteResponse, answers::OK,
    },
};

/// The columns of a list.
const COLUMNS: [&str; 10] =
    ["ID", "NAME", "STATE", "SCOPES", "SECRETS", "SEAT", "CODES/HOUR", "CREATED", "LAST USED", "EXPIRES"];

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a key and print it, once
    #[command(after_help = "Examples:\n  countersign key create --name agent\n  countersign key create --name ci --scope codes:read --secret github --expires 90d", aliases = ["add", "new"])]
    Create(CreateArgs),
    /// List the keys, without their secret halves
    #[command(after_help = "Examples:\n  countersign key list", alias = "ls")]
    List,
    /// Let a key in again that is off since an older copy of the vault was accepted
    #[command(after_help = "Examples:\n  countersign key enable agent")]
    Enable {
        /// The key: its id or its name
        #[arg(value_name = "NAME")]
        key: String,
    },
    /// Revoke a key, from the next request on
    #[command(after_help = "Examples:\n  countersign key revoke agent\n  countersign key revoke --damaged", aliases = ["rm", "delete", "remove"])]
    Revoke {
        /// The key: its id or its name
        #[arg(value_name = "NAME", required_unless_present = "damaged")]
        key: Option<String>,
        /// Don't ask
        #[arg(long, short = 'y')]
        yes: bool,
        /// Remove every damaged key, also one whose id can't be read
        #[arg(long, conflicts_with = "key")]
        damaged: bool,
    },
}

/// What a new key is to be.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// What to call it
    #[arg(long)]
    name: String,
    /// What it may do, separated by commas [default: codes:read,secrets:read,seats:read]
    #[arg(long, value_name = "SCOPE,…", value_delimiter = ',')]
    scope: Vec<String>,
    /// Have it type codes into pages alone: short for codes:fill in the place of codes:read
    #[arg(long, conflicts_with = "scope")]
    fill_only: bool,
    /// Give it decoys alone, which `countersign guard` replaces: short for codes:decoy in the place of codes:read
    #[arg(long, conflicts_with = "scope")]
    decoy: bool,
    /// Bind it to a seat: its id, `auth_subject`, e-mail address or name
    #[arg(long, value_name = "SEAT")]
    seat: Option<String>,
    /// Limit it to these secrets, separated by commas: the others do not exist for it
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    secret: Vec<String>,
    /// Codes an hour it may get, per secret
    #[arg(long, value_name = "N", value_parser = whole::<u32>)]
    codes_per_hour: Option<u32>,
    /// When it stops working: a span such as 90d, or a time [default: never]
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
}

/// A key's record, as JSON.
#[derive(Serialize)]
struct KeyView {
    key_id: String,
    name: String,
    scopes: Vec<&'static str>,
    seat_id: Option<String>,
    /// The only secrets that exist for it; null: all secrets of the account.
    secrets: Option<Vec<String>>,
    codes_per_hour: Option<u32>,
    created_at: String,
    expires_at: Option<String>,
    last_used_at: Option<String>,
    revoked_at: Option<String>,
    /// The time since which the key is off, until a person enables it.
    off_since: Option<String>,
}

/// A new key. Its halves are borrowed, so that they are wiped with the key.
#[derive(Serialize)]
struct CreatedKey<'a> {
    #[serde(flatten)]
    key: KeyView,
    key_secret: &'a str,
    token: &'a str,
    status: &'static str,
}

/// Where a server listens, as JSON; with the first key of its vault, if one was created.
#[derive(Serialize)]
struct ListeningAnswer<'a> {
    listening: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<CreatedKey<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_configuration: Option<serde_json::Value>,
    status: &'static str,
}

/// The answer to a list.
#[derive(Serialize)]
struct KeysAnswer {
    keys: Vec<KeyView>,
    /// Ids of keys that were changed without the vault's key and authenticate no caller; absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    damaged: Vec<Option<String>>,
    status: &'static str,
}

/// The answer to the removal of damaged keys.
#[derive(Serialize)]
struct RevokedAnswer {
    revoked: u64,
    status: &'static str,
}

pub(super) async fn run(command: Command, session: &mut Session) -> Result<Ending, Failure> {
    match command {
        Command::Create(args) => create(args, session).await,
        Command::List => list(session).await,
        Command::Enable { key } => enable(&key, session).await,
        Command::Revoke { key: None, .. } => {
            let revoked = session.perform(RemoveDamagedKeys).await?;
            let answer = RevokedAnswer { revoked, status: OK };
            session.console.answer(&answer, |console| console.line(&format!("{} revoked", counted(revoked, "key"))))?;
            Ok(Ending::Done)
        }
        Command::Revoke { key: Some(key), yes, .. } => revoke(&key, yes, session).await,
    }
}

async fn enable(name: &str, session: &mut Session) -> Result<Ending, Failure> {
    let id = names::key(session, name).await?.id;
    session.perform(EnableKey { id }).await?;
    session.console.answer(&SecretDeleteResponse { status: OK }, |console| console.line("enabled"))?;
    Ok(Ending::Done)
}

/// Revokes a key, after confirmation.
async fn revoke(name: &str, yes: bool, session: &mut Session) -> Result<Ending, Failure> {
    let (id, described) = match (names::key_to_lose(session, name).await, name.trim().parse::<KeyId>()) {
        (Ok(key), _) if key.revoked_at.is_some() => (None, key.name.to_string()),
        (Ok(key), _) => (Some(key.id), format!("the key \"{}\" ({})", key.name, key.id)),
        // A damaged key has no name to be found by, but can be named by its whole id.
        (Err(Failure::Failed { code: ErrorCode::NotFound, .. }), Ok(id)) => (Some(id), format!("the key {id}")),
        (Err(failure), _) => return Err(failure),
    };
    let answer = SecretDeleteResponse { status: OK };
    let Some(id) = id else {
        session.console.answer(&answer, |console| console.line("already revoked"))?;
        return Ok(Ending::Done);
    };
    session.console.confirm(&format!("Revoke {described}? Its callers are refused from now on."), yes.into())?;
    session.perform(RevokeKey { id }).await?;
    session.console.answer(&answer, |console| console.line("revoked"))?;
    Ok(Ending::Done)
}

/// Creates the first key of a vault, with every scope, and prints it with a configuration to paste into a host.
///
/// # Errors
/// [`Failure`].
pub async fn first_key(session: &mut Session, address: &str, url: &str) -> Result<(), Failure> {
    let request = CreateKey {
        name: "first key".to_owned(),
        scopes: ScopeSet::ALL,
        seat: None,
        secrets: None,
        codes_per_hour: None,
        expires_at: None,
    };
    session.console.must_be_heard()?;
    let minted = session.perform(request).await?;
    let shown = show_first(session, &minted, (address, url));
    shown.and_then(|()| session.console.flush()).map_err(|failure| unseen(failure, &minted))
}

fn show_first(session: &mut Session, minted: &MintedKey, (address, url): (&str, &str)) -> Result<(), Failure> {
    let token = minted.plain.expose_token();
    let host = serde_json::json!({"mcpServers": {"countersign": {
        "type": "http", "url": format!("{url}/mcp"), "headers": {"Authorization": format!("Bearer {}", *token)},
    }}});
    session.console.note("This vault had no key. Here is one with every scope; it is shown this once.");
    if session.console.is_json() {
        let secret = minted.plain.expose_secret();
        let key = CreatedKey { key: KeyView::from(&minted.key), key_secret: secret, token: &token, status: OK };
        let answer = ListeningAnswer { listening: address, key: Some(key), host_configuration: Some(host), status: OK };
        return session.console.document(&answer);
    }
    show(session, minted, &token)?;
    session.console.note("\nFor a host's configuration:");
    session.console.document(&host)
}

/// The error for a key that was created and could not be shown.
fn unseen(failure: Failure, minted: &MintedKey) -> Failure {
    let id = minted.key.id;
    failure.unseen(&format!("the key {id} was made, but it"), &format!("revoke it with `countersign key revoke {id}`"))
}

/// Prints where a server listens, as JSON.
///
/// # Errors
/// [`Failure::Output`].
pub fn listening(session: &mut Session, address: &str) -> Result<(), Failure> {
    if session.console.is_json() {
        let answer = ListeningAnswer { listening: address, key: None, host_configuration: None, status: OK };
        session.console.document(&answer)?;
    }
    session.console.flush()
}

impl CreateArgs {
    /// Checks the arguments that need no vault: the expiry, the scopes and the number of secrets.
    fn checked(&self, now: Timestamp) -> Result<(Option<Timestamp>, ScopeSet), Failure> {
        let expires_at = self.expires.as_deref().map(|text| times::future("--expires", text, now)).transpose()?;
        let scopes = if self.fill_only || self.decoy {
            ScopeSet::of_a_new_key_without_codes(self.fill_only, self.decoy)
        } else if self.scope.is_empty() {
            ScopeSet::of_a_new_key()
        } else {
            scopes(&self.scope)?
        };
        if self.secret.len() > GRANTS_MAX {
            return Err(Failure::Usage(format!("--secret takes at most {GRANTS_MAX} secrets")));
        }
        Ok((expires_at, scopes))
    }

    /// Checks the arguments where no vault exists yet: a new vault has no secret and no seat to name.
    pub(super) fn first(&self, now: Timestamp) -> Result<(), Failure> {
        let (expires_at, scopes) = self.checked(now)?;
        let (name, codes_per_hour) = (self.name.clone(), self.codes_per_hour);
        CreateKey { name, scopes, seat: None, secrets: None, codes_per_hour, expires_at }.check(now)?;
        match (self.secret.is_empty(), &self.seat) {
            (false, _) => Err(Refusal::NotFound("secret").into()),
            (true, Some(_)) => Err(Refusal::NotFound("seat").into()),
            (true, None) => Ok(()),
        }
    }
}

async fn create(args: CreateArgs, session: &mut Session) -> Result<Ending, Failure> {
    let (expires_at, scopes) = args.checked(session.service.now())?;
    let mut secrets = Vec::with_capacity(args.secret.len());
    for name in &args.secret {
        secrets.push(names::secret(session, name, Among::Live).await?.id);
    }
    let request = CreateKey {
        name: args.name,
        scopes,
        seat: seat::id_for_use(session, args.seat).await?,
        secrets: Some(secrets).filter(|secrets| !secrets.is_empty()),
        codes_per_hour: args.codes_per_hour,
        expires_at,
    };
    session.console.must_be_heard()?;
    let minted = session.perform(request).await?;
    let token = minted.plain.expose_token();
    let shown = show(session, &minted, &token);
    shown.and_then(|()| session.console.flush()).map_err(|failure| unseen(failure, &minted))?;
    session.console.note("The key is shown this once; only a hash of it is kept.");
    Ok(Ending::Done)
}

fn show(session: &mut Session, minted: &MintedKey, token: &Zeroizing<String>) -> Result<(), Failure> {
    let (now, secret) = (session.service.now(), minted.plain.expose_secret());
    let created = CreatedKey { key: KeyView::from(&minted.key), key_secret: secret, token, status: OK };
    session.console.answer(&created, |console| {
        let rights = &minted.key.rights;
        console.facts(&[
            ("key_id", &created.key.key_id),
            ("key_secret", secret),
            ("token", token),
            ("name", &created.key.name),
            ("scopes", &rights.scopes.to_string()),
            ("seat", created.key.seat_id.as_deref().unwrap_or_default()),
            ("secrets", &created.key.secrets.as_deref().map_or_else(|| "all".to_owned(), |ids| ids.join(","))),
            ("codes an hour", &rights.codes_per_hour.map_or_else(|| "any".to_owned(), |count| count.to_string())),
            ("expires", &rights.expires_at.map_or_else(|| "never".to_owned(), |at| console.date(at, now))),
        ])
    })
}

async fn list(session: &mut Session) -> Result<Ending, Failure> {
    let keys = session.perform(ListKeys).await?;
    let now = session.service.now();
    let damaged = keys.damaged.iter().map(|id| id.as_ref().map(ToString::to_string)).collect();
    let answer = KeysAnswer { keys: keys.sound.iter().map(KeyView::from).collect(), damaged, status: OK };
    session.console.answer(&answer, |console| {
        let mut table = Table::new(&COLUMNS);
        for key in &keys.sound {
            let rights = &key.rights;
            table.row(vec![
                key.id.to_string(),
                key.name.to_string(),
                state(key, now).to_owned(),
                rights.scopes.to_string(),
                rights.secrets.as_ref().map_or_else(|| "all".to_owned(), |ids| ids.len().to_string()),
                rights.seat.map(|seat| seat.to_string()).unwrap_or_default(),
                rights.codes_per_hour.map(|count| count.to_string()).unwrap_or_default(),
                console.date(key.created_at, now),
                console.date_or_none(key.last_used_at, now),
                console.date_or_none(rights.expires_at, now),
            ]);
        }
        for id in &answer.damaged {
            let mut cells = vec![String::new(); COLUMNS.len()];
            cells.splice(0..3, [id.clone().unwrap_or_default(), String::new(), "damaged".to_owned()]);
            table.row(cells);
        }
        if table.rows() == 0 { Ok(()) } else { console.table(&table) }
    })?;
    match answer.damaged.len() {
        0 if keys.sound.is_empty() => {
            session.console.note("No keys yet; `countersign key create --name NAME` makes one.");
        }
        0 => {}
        1 => {
            session.console.note("1 damaged key, which lets nobody in; `countersign key revoke --damaged` removes it.");
        }
        many => session.console.note(&format!(
            "{many} damaged keys, which let nobody in; `countersign key revoke --damaged` removes them."
        )),
    }
    Ok(Ending::Done)
}

fn state(key: &ApiKey, now: Timestamp) -> &'static str {
    if key.revoked_at.is_some() {
        "revoked"
    } else if key.off_since.is_some() {
        "off"
    } else if key.rights.expires_at.is_some_and(|at| at <= now) {
        "expired"
    } else {
        "active"
    }
}

fn scopes(texts: &[String]) -> Result<ScopeSet, Failure> {
    texts.join(",").parse().map_err(|_| {
        Failure::Usage(format!("--scope takes one or more of {}", Scope::ALL.map(Scope::as_str).join(", ")))
    })
}

impl From<&ApiKey> for KeyView {
    fn from(key: &ApiKey) -> Self {
        let at = |at: Option<Timestamp>| at.map(|at| at.to_string());
        Self {
            key_id: key.id.to_string(),
            name: key.name.to_string(),
            scopes: key.rights.scopes.iter().map(Scope::as_str).collect(),
            seat_id: key.rights.seat.map(|seat| seat.to_string()),
            secrets: key.rights.secrets.as_ref().map(|ids| ids.iter().map(ToString::to_string).collect()),
            codes_per_hour: key.rights.codes_per_hour,
            created_at: key.created_at.to_string(),
            expires_at: at(key.rights.expires_at),
            last_used_at: at(key.last_used_at),
            revoked_at: at(key.revoked_at),
            off_since: at(key.off_since),
        }
    }
}
