//! For operators: whether the server runs, whether it works, and its counters.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::response::Response;
use http::{HeaderValue, Method, StatusCode, header::CONTENT_TYPE};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::watch::{Receiver, channel};

use super::{
    answer::{Problem, with_json},
    auth::{Authenticated, Counts},
    door::{App, Visit, peer},
    guard::is_made_here,
    metrics::Gauges,
    peers::Peer,
    routes::{Answer, Doc, Route, Run, Takes},
};
use crate::{
    domain::{audit::Action, scope::Scope},
    operations::{ErrorCode, Health, Refusal, answers::OK, output_schema},
};

/// How long a result about the vault is cached: a check costs a write, and any client may request one.
const FRESH: Duration = Duration::from_secs(1);
/// How long a request waits for a check. A write may wait much longer for its turn, but by then the client has given
/// up.
const ASKED_WAIT: Duration = Duration::from_millis(750);

/// The result of a check of the process or of the vault.
#[derive(Serialize, JsonSchema)]
struct StatusResponse {
    /// `OK`.
    status: &'static str,
}

/// The version of the server.
#[derive(Serialize, JsonSchema)]
struct VersionResponse {
    /// `OK`.
    status: &'static str,
    /// The program's version.
    version: &'static str,
    /// The format of the vault that it has open.
    vault_format: u32,
}

/// The last result about the vault, and the check in progress.
#[derive(Default)]
pub(super) struct LastHealth(Arc<Mutex<Checks>>);

#[derive(Default)]
struct Checks {
    last: Option<(Instant, Health)>,
    /// The sender lives as long as the check.
    running: Option<Receiver<Option<Health>>>,
}

pub(super) static ROUTES: [Route; 4] = [
    Route {
        method: Method::GET,
        path: "/healthz",
        action: Action::Call,
        takes: Takes::Moment,
        run: Run::Open(|_| Box::pin(async { Ok(ok()) })),
        doc: Some(Doc {
            id: "healthz",
            tag: "Operation",
            summary: "Whether the server lives",
            description: "Always answers. Needs no key.",
            scope: None,
            answer: Answer::json("It lives.", output_schema::<StatusResponse>),
            refusals: &[],
        }),
    },
    Route {
        method: Method::GET,
        path: "/readyz",
        action: Action::Call,
        takes: Takes::Moment,
        run: Run::Open(|visit| Box::pin(ready(visit))),
        doc: Some(Doc {
            id: "readyz",
            tag: "Operation",
            summary: "Whether the vault can be written",
            description: "Needs no key.",
            scope: None,
            answer: Answer::json("It can.", output_schema::<StatusResponse>),
            refusals: &[ErrorCode::Unavailable],
        }),
    },
    Route {
        method: Method::GET,
        path: "/version",
        action: Action::Call,
        takes: Takes::Moment,
        run: Run::Open(|visit| Box::pin(version(visit))),
        doc: Some(Doc {
            id: "version",
            tag: "Operation",
            summary: "Which version runs",
            description: "On this machine, asked by a name of it, without a key; from elsewhere, or through a proxy, with any \
                          key: strangers need not know.",
            scope: None,
            answer: Answer::json("The version.", output_schema::<VersionResponse>),
            refusals: &[ErrorCode::Unauthenticated],
        }),
    },
    Route {
        method: Method::GET,
        path: "/metrics",
        action: Action::Call,
        takes: Takes::Moment,
        run: Run::Open(|visit| Box::pin(metrics(visit))),
        doc: Some(Doc {
            id: "metrics",
            tag: "Operation",
            summary: "Counters in Prometheus' text form",
            description: "On this machine, asked by a name of it, without a key; from elsewhere, or through a proxy, with a \
                          key that holds `audit:read`.",
            scope: Some(Scope::AuditRead),
            answer: Answer::text("The counters."),
            refusals: &[],
        }),
    },
];

/// Whether a route is one of these: they answer any `Host`.
pub(super) fn is_one(route: &'static Route) -> bool {
    ROUTES.iter().any(|known| std::ptr::eq(known, route))
}

fn ok() -> Response {
    with_json(StatusCode::OK, &br#"{"status":"OK"}"#[..])
}

async fn ready(visit: Visit<'_>) -> Result<Response, Problem> {
    match visit.app.health().await {
        Health::Ready => Ok(ok()),
        Health::NotReady => Err(Refusal::Unavailable { obstacle: None }.into()),
    }
}

/// Admits requests from this machine, and authenticated callers that have `scope`, if one is needed.
async fn admit(visit: &Visit<'_>, scope: Option<Scope>) -> Result<(), Problem> {
    let app = visit.app;
    let here = !app.behind_proxy
        && peer(&visit.parts).is_some_and(Peer::is_loopback)
        && is_made_here(&visit.parts.uri, &visit.parts.headers);
    if here {
        return Ok(());
    }
    let (headers, from) = (&visit.parts.headers, peer(&visit.parts));
    let known = app.auth.counted_caller(&app.service, headers, from, Counts::Call).await?;
    let Authenticated { caller, counted, .. } = known;
    let missing = scope.filter(|scope| !caller.may(*scope));
    let may = || missing.map_or(Ok(()), |scope| Err(Refusal::MissingScope(scope)));
    match counted.and_then(|()| may()) {
        Ok(()) => Ok(()),
        Err(refusal) => Err(app.service.record_refusal(&caller, Action::Call, refusal).await.into()),
    }
}

async fn version(visit: Visit<'_>) -> Result<Response, Problem> {
    admit(&visit, None).await?;
    let vault_format = visit.app.service.vault_format();
    let answer = VersionResponse { status: OK, version: env!("CARGO_PKG_VERSION"), vault_format };
    Ok(with_json(StatusCode::OK, serde_json::to_vec(&answer).unwrap_or_default()))
}

async fn metrics(visit: Visit<'_>) -> Result<Response, Problem> {
    admit(&visit, Some(Scope::AuditRead)).await?;
    let app = visit.app;
    let gauges = Gauges {
        connections: app.peers.count(),
        sessions: app.mcp.sessions().count(),
        sse_streams: app.sse.streams(),
        streams: app.streams.count(),
    };
    let mut response = Response::new(app.metrics.text(&gauges, &app.service.tally()).into());
    let version = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, version);
    Ok(response)
}

impl App {
    /// Whether the vault can be written; `NotReady` if a check takes longer than `ASKED_WAIT`. Only one check runs at a
    /// time, however many requests ask.
    async fn health(&self) -> Health {
        let mut running = {
            let mut checks = self.last_health.lock();
            let now = Instant::now();
            if let Some((_, health)) = checks.last.filter(|(at, _)| now.saturating_duration_since(*at) < FRESH) {
                return health;
            }
            let running = checks.running.take().filter(|check| check.has_changed().is_ok());
            checks.running.insert(running.unwrap_or_else(|| self.check_health())).clone()
        };
        let found = tokio::time::timeout(ASKED_WAIT, running.wait_for(Option::is_some)).await;
        found.ok().and_then(|found| *found.ok()?).unwrap_or(Health::NotReady)
    }

    /// Starts a check, for the current requests and those within `FRESH` after it.
    fn check_health(&self) -> Receiver<Option<Health>> {
        let (report, reported) = channel(None);
        let (service, kept) = (self.service.clone(), LastHealth(Arc::clone(&self.last_health.0)));
        tokio::spawn(async move {
            let health = service.health().await;
            kept.lock().last = Some((Instant::now(), health));
            let _ = report.send(Some(health));
        });
        reported
    }
}

impl LastHealth {
    fn lock(&self) -> MutexGuard<'_, Checks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
