//! `countersign serve`: sets the server up, announces its address, and stops it in order.

use std::{
    io::{self, IsTerminal as _},
    path::Path,
    sync::Arc,
};

use tokio::sync::{Notify, oneshot};
use zeroize::Zeroizing;

use super::{
    Fatal, account, close, console_of,
    keys::Asks,
    opening::open,
    service_of, session,
    signals::stop_signal,
    traces::{exported, finish},
    upkeep,
};
use crate::{
    config::{Client, Config, Durability, Oauth, ServeConfig},
    domain::sensitive::without_seeds,
    operations::{Circumstance, ListKeys},
    transport::{
        cli::{self, Ending, Failure, Session},
        http::{self, ClientSecret, HookSettings, Listening, OAuthClient, OAuthSettings, Orders, Place},
    },
    vault::{self, Writes},
};

const SECRET_FILE: &str = "--oauth-client-secret-file";
const HOOK_KEY_FILE: &str = "--hook-key-file";
const CLIENT_SECRET_BYTES_MAX: usize = 4096;

/// Runs the server for remote agents.
pub(super) async fn for_remote(config: &Config, serve: &ServeConfig) -> Result<Ending, Fatal> {
    // Check what can be wrong before a vault is created.
    let client = serve.oauth.as_ref().and_then(|oauth| oauth.client.as_ref());
    let client = client.map(|client| client_of(client, config)).transpose()?;
    let hook_key = serve.hook_key.as_ref().map(|file| secret_in(HOOK_KEY_FILE, file, config)).transpose()?;
    if let Some(plan) = &serve.backups {
        upkeep::prepare(plan).map_err(vault::OpenError::from)?;
    }
    let place = Place::take(&serve.http)?;
    let vault = open(config, Asks::Person, Writes::Thread, || Ok(())).await?;
    if serve.durability == Durability::Strict {
        vault.sync_every_commit();
    }
    let account = account(config, &vault).await?;
    let status = vault.status().clone();
    let service = service_of(config, vault);
    // Erase secrets past their seven days when a server starts, so that this does not depend on a person running the
    // doctor.
    service.erase_expired().await.map_err(Failure::from)?;
    for Circumstance { name, found, concern } in service.server().await {
        if let Some(concern) = concern {
            tracing::warn!("the store's server: {name}: {found}: {concern}");
        }
    }
    let mut settings = serve.http.clone();
    let mut session = session(config, &service, account, &status);
    settings.oauth = serve.oauth.clone().map(|Oauth { issuer, audience, .. }| OAuthSettings {
        issuer,
        audience,
        account: session.caller.account(),
        client: client.clone(),
    });
    let secret = client.and_then(|client| client.secret);
    let account = session.caller.account();
    settings.hook = hook_key.map(|key| HookSettings { account, key: Arc::new(ClientSecret::new(key)) });
    let orders = Orders::default();
    // Listen for signals before the server is announced, so that none is missed.
    let (stop, hangups) = (stop_signal().map_err(Fatal::Setup)?, Hangups::listen().map_err(Fatal::Setup)?);
    let stopping = orders.stop.clone();
    let stop = tokio::spawn(async move {
        stop.await;
        stopping.cancel();
    });
    let export = exported(&service, serve.otlp.as_deref())?;
    let tasks = [
        tokio::spawn(reload(hangups, (config.clone(), serve.clone()), secret, Arc::clone(&orders.reload))),
        tokio::spawn(upkeep::clean_daily(service.clone(), serve.audit_keep)),
        tokio::spawn(upkeep::tie_chains(service.clone())),
        tokio::spawn(upkeep::finish_rotations(service.clone())),
    ];
    let backing_up = serve.backups.clone().map(|plan| tokio::spawn(upkeep::back_up(service.clone(), plan)));
    let (accepts, accepted) = oneshot::channel();
    let announce = |listening| {
        let _ = accepts.send(listening);
    };
    let serving = http::serve(service.clone(), settings, place, orders, announce);
    let (ended, ()) = tokio::join!(serving, greet(&mut session, serve, accepted));
    stop.abort();
    tasks.into_iter().chain(backing_up).for_each(|task| task.abort());
    finish(export).await;
    close(&service).await?;
    ended?;
    Ok(Ending::Done)
}

/// This server as a client of the identity provider, with the secret that the two share.
fn client_of(client: &Client, config: &Config) -> Result<OAuthClient, Failure> {
    let secret = client.secret_file.as_ref().map(|file| secret_in(SECRET_FILE, file, config)).transpose()?;
    Ok(OAuthClient { id: client.id.clone(), secret: secret.map(ClientSecret::new).map(Arc::new) })
}

fn secret_in(flag: &str, file: &Path, config: &Config) -> Result<Zeroizing<String>, Failure> {
    refuse_pipe(flag, file)?;
    let secret = console_of(config).read_secret(flag, file, CLIENT_SECRET_BYTES_MAX)?;
    if secret.is_empty() {
        return Err(Failure::Usage(format!("{flag} is empty; leave it out if there is no secret")));
    }
    Ok(secret)
}

/// At each SIGHUP, reads again what the flags name: the certificate, the client's secret, and the provider's keys. A
/// failure is logged, and the old one stays in use.
async fn reload(
    mut hangups: Hangups,
    (config, serve): (Config, ServeConfig),
    secret: Option<Arc<ClientSecret>>,
    server: Arc<Notify>,
) {
    let file = serve.oauth.and_then(|oauth| oauth.client?.secret_file);
    while hangups.next().await {
        tracing::info!("reading the certificate, the client's secret and the identity provider's keys again");
        if let Some((file, secret)) = file.as_ref().zip(secret.as_ref()) {
            match secret_in(SECRET_FILE, file, &config) {
                Ok(text) => secret.replace(text),
                Err(cause) => tracing::error!(%cause, "the old secret stays"),
            }
        }
        server.notify_one();
    }
}

/// Refuses a named pipe, at which the server would wait for a writer, and every other file that is not regular. A pipe that a
/// shell hands over has a writer, so it is accepted.
fn refuse_pipe(flag: &str, file: &Path) -> Result<(), Failure> {
    let is_handed = ["/dev/stdin", "/dev/fd", "/proc/self/fd"].iter().any(|over| file.starts_with(over));
    if !is_handed && std::fs::metadata(file).is_ok_and(|facts| !facts.is_file()) {
        let shown = without_seeds(file);
        return Err(Failure::Usage(format!("{flag} must name a regular file, and {shown} is not one")));
    }
    Ok(())
}

/// Announces where the server listens. A vault without keys accepts no caller: a person at the terminal gets a key;
/// otherwise a note explains how to create one.
async fn greet(session: &mut Session, serve: &ServeConfig, accepted: oneshot::Receiver<Listening>) {
    // If the server never listened, its own error explains why.
    let Ok(listening) = accepted.await else { return };
    session.console.note(&listening.to_string());
    if serve.http.has_no_public_name() {
        tracing::warn!(
            "requests are let in under the name of localhost alone; give --public-url with the address that clients use"
        );
    }
    let here = format!("{}://{}", listening.scheme(), listening.address);
    let url = serve.http.public_urls.first().map_or_else(|| here.clone(), ToString::to_string);
    let keys = session.service.perform(&session.caller, ListKeys).await;
    let terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    let greeted = match keys {
        Ok(keys) if !keys.sound.is_empty() || !keys.damaged.is_empty() => cli::listening(session, &here),
        Ok(_) if terminal => cli::first_key(session, &here, &url).await,
        Ok(_) => {
            session.console.note("This vault has no API key yet; make one with `countersign key create --name NAME`.");
            cli::listening(session, &here)
        }
        Err(refusal) => Err(Failure::Refused(refusal)),
    };
    if let Err(cause) = greeted {
        tracing::warn!(%cause, "the output for the terminal or program could not be written");
    }
}

/// The hang-up signals of the process: each requests a reload.
#[cfg(unix)]
struct Hangups(tokio::signal::unix::Signal);

#[cfg(unix)]
impl Hangups {
    fn listen() -> io::Result<Self> {
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).map(Self)
    }

    async fn next(&mut self) -> bool {
        self.0.recv().await.is_some()
    }
}

/// Other systems have no hang-up signals.
#[cfg(not(unix))]
struct Hangups;

#[cfg(not(unix))]
impl Hangups {
    #[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
    fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> bool {
        false
    }
}
