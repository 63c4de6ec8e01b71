//! Runs a sidecar for the host that started it, or reports to the host why it can't run.

use std::{io::IsTerminal as _, sync::Arc};

use tokio_util::sync::CancellationToken;

use super::{
    Fatal,
    account::account,
    close, console_of,
    keys::Asks,
    opening::open,
    service_of, signals,
    traces::{exported, finish},
};
use crate::{
    config::{Config, Reveal, StdioConfig},
    domain::{principal::Principal, scope::ScopeSet},
    operations::{Refusal, Service},
    transport::{
        cli::{self, Ending},
        http::LocalPage,
        mcp::{self, McpServer},
    },
    vault::Writes,
};

/// Reports to the host, in the protocol, why its sidecar can't serve, and returns the error. For errors before the
/// runtime exists.
pub(super) fn answer_host(fatal: Fatal) -> Fatal {
    if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
        runtime.block_on(refuse_host(&fatal));
        // A thread that still reads standard input must not keep the process alive.
        runtime.shutdown_background();
    }
    fatal
}

async fn refuse_host(fatal: &Fatal) {
    // On a terminal, standard error is enough.
    if !std::io::stdin().is_terminal() {
        mcp::stdio::refuse(&fatal.body().message).await;
    }
}

/// Runs the sidecar of a host.
pub(super) async fn for_host(config: &Config, stdio: StdioConfig) -> Result<Ending, Fatal> {
    let otlp = stdio.otlp.clone();
    let (service, server) = match sidecar(config, stdio).await {
        Ok(ready) => ready,
        Err(fatal) => {
            refuse_host(&fatal).await;
            return Err(fatal);
        }
    };
    let (signal, hung_up) = (signals::stop_signal().map_err(Fatal::Setup)?, signals::hung_up().map_err(Fatal::Setup)?);
    if std::io::stdin().is_terminal() {
        // Hosts start this; a person who typed it would wait for an answer that never comes.
        console_of(config)
            .note("Waiting for an MCP host on standard input; Ctrl-C ends it. Hosts start this by themselves.");
    }
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = signal => {}
            () = hung_up => {}
        }
        stopping.cancel();
    });
    let export = exported(&service, otlp.as_deref())?;
    let ended = mcp::stdio::serve(server, stop).await;
    finish(export).await;
    close(&service).await?;
    ended?;
    Ok(Ending::Done)
}

/// The service and server of a sidecar.
async fn sidecar(config: &Config, stdio: StdioConfig) -> Result<(Service, McpServer), Fatal> {
    // A new vault has no seat.
    let no_seat = || stdio.seat.as_ref().map_or(Ok(()), |_| Err(Refusal::NotFound("seat").into()));
    let vault = open(config, Asks::Nobody, Writes::Inline, no_seat).await?;
    let account = account(config, &vault).await?;
    let service = service_of(config, vault);
    service.offer_enrolments(Arc::new(LocalPage::default()));
    let seat = match &stdio.seat {
        None => None,
        Some(name) => Some(cli::find_seat(&service, &Principal::person(account.id), name).await?.id),
    };
    let caller = Principal::stdio(account.id, stdio.scopes.unwrap_or(ScopeSet::ALL), seat);
    let reveal = match stdio.reveal {
        Reveal::Once => mcp::Reveal::Once,
        Reveal::Never => mcp::Reveal::Never,
    };
    let server = McpServer::for_caller(service.clone(), caller, reveal);
    Ok((service, server))
}
