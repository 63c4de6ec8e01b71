//! `countersign serve`: putting the server together, saying where it listens, and stopping it in order.

use std::io::IsTerminal as _;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{Fatal, account, close, open, session};
use crate::{
    config::{Config, Oauth, ServeConfig},
    store::Writes,
    transport::{
        cli::{self, Ending, Failure, Session},
        http::{self, Listening, OAuthSettings},
        mcp::{self, McpServer},
    },
};

/// The server of remote agents.
pub(super) async fn for_remote(config: &Config, serve: &ServeConfig) -> Result<Ending, Fatal> {
    let (service, status) = open(config, Writes::Thread, serve.durability)?;
    let account = account(config, &service).await?;
    // A server lives long: what was deleted more than seven days ago is erased when it starts, so that the promise does
    // not hang on somebody running the doctor.
    service.erase_expired().await.map_err(Failure::from)?;
    let mut settings = serve.http.clone();
    settings.oauth =
        serve.oauth.clone().map(|Oauth { issuer, audience }| OAuthSettings { issuer, audience, account: account.id });
    let mut session = session(config, &service, &account, &status);
    let server = McpServer::for_requests(service.clone(), mcp::Reveal::Once);
    let stop = CancellationToken::new();
    let told = tokio::spawn(stop_when_told(stop.clone()));
    let (accepts, accepted) = oneshot::channel();
    let announce = |listening| {
        let _ = accepts.send(listening);
    };
    let serving = http::serve(service.clone(), server, settings, stop, announce);
    let (ended, ()) = tokio::join!(serving, greet(&mut session, serve, accepted));
    told.abort();
    close(&service).await?;
    ended?;
    Ok(Ending::Done)
}

/// Says where the server listens. A vault without keys serves nobody: a person at the terminal gets one, and a log says
/// how to make one.
async fn greet(session: &mut Session, serve: &ServeConfig, accepted: oneshot::Receiver<Listening>) {
    // The server that never listened says why itself.
    let Ok(listening) = accepted.await else { return };
    session.console.note(&listening.to_string());
    if serve.http.has_no_public_name() {
        tracing::warn!(
            "requests are let in under the name of localhost alone; give --public-url with the address that clients use"
        );
    }
    let here = format!("{}://{}", listening.scheme(), listening.address);
    let url = serve.http.public_url.as_ref().map_or(here, ToString::to_string);
    let keys = session.service.list_keys(&session.caller).await;
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let greeted = match keys {
        Ok(keys) if !keys.is_empty() => return,
        Ok(_) if terminal => cli::first_key(session, &url).await,
        Ok(_) => {
            session.console.note("This vault has no API key yet; make one with `countersign key create --name NAME`.");
            return;
        }
        Err(refusal) => Err(Failure::Refused(refusal)),
    };
    if let Err(cause) = greeted {
        tracing::warn!(%cause, "the first key could not be offered");
    }
}

/// Asks the server to finish at the first SIGTERM or interruption.
async fn stop_when_told(stop: CancellationToken) {
    #[cfg(unix)]
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(cause) => {
                tracing::warn!(%cause, "SIGTERM will end this process at once");
                std::future::pending::<()>().await;
            }
        }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<()>();
    tokio::select! {
        () = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    stop.cancel();
}
