//! The table of routes: name, access, time limit, documentation and handler of each. The router, the documentation and
//! the counters are made from it.

use std::time::Duration;

use axum::{body::Body, response::Response};
use futures::future::BoxFuture;
use http::Method;
use serde_json::{Map, Value};

use super::{
    answer::Problem,
    body::Arriving,
    door::{Call, Visit},
    enrol::{self, CALLBACK},
    health, hooks, mcp, oauth, openapi, rest, sse,
};
use crate::{
    domain::{audit::Action, scope::Scope},
    operations::{Entry, ErrorCode, Refusal},
};

/// One route.
pub(super) struct Route {
    pub(super) method: Method,
    /// The path in the notation of axum and `OpenAPI`: `/api/v2/seats/{seat_id}`.
    pub(super) path: &'static str,
    /// Its action in the audit log.
    pub(super) action: Action,
    pub(super) takes: Takes,
    pub(super) run: Run,
    /// Its documentation; `None` if it is documented elsewhere (MCP, pages).
    pub(super) doc: Option<Doc>,
}

impl Route {
    /// The refusal of a request that was given up at its limit of time. The vault may still be at work on a change.
    pub(super) fn given_up(&self, limit: Duration) -> Refusal {
        tracing::warn!(path = self.path, seconds = limit.as_secs(), "a request took longer than its limit");
        match self.run {
            Run::Open(_) => Refusal::Unavailable { obstacle: None },
            Run::Operation(entry) if entry.only_reads() => Refusal::Unavailable { obstacle: None },
            Run::Page(_) | Run::Carrier(_) | Run::Operation(_) => Refusal::OutcomeUnknown,
        }
    }
}

/// How long a request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// As long as ordinary work takes.
    Moment,
    /// The same, plus the longest wait for a code.
    Wait,
}

/// The handler.
pub(super) enum Run {
    /// For every client, with or without a credential.
    Open(for<'a> fn(Visit<'a>) -> BoxFuture<'a, Result<Response, Problem>>),
    /// For people with a browser, and for webhooks: the handler authenticates them.
    Page(for<'a> fn(Visit<'a>, Body) -> BoxFuture<'a, Result<Response, Problem>>),
    /// For callers with a credential, carrying MCP: calls are counted when a tool is called.
    Carrier(for<'a> fn(Call<'a>, Arriving) -> BoxFuture<'a, Result<Response, Problem>>),
    /// For callers with a credential: an operation.
    Operation(&'static Entry),
}

/// The documentation of a route.
pub(super) struct Doc {
    /// Its name in generated clients.
    pub(super) id: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) description: &'static str,
    /// The scope it needs.
    pub(super) scope: Option<Scope>,
    pub(super) answer: Answer,
    /// Refusals of this route, besides those of every route.
    pub(super) refusals: &'static [ErrorCode],
}

/// The answer of a route.
pub(super) struct Answer {
    pub(super) about: &'static str,
    pub(super) media_type: &'static str,
    pub(super) schema: fn() -> Map<String, Value>,
}

impl Answer {
    /// JSON with a schema.
    pub(super) const fn json(about: &'static str, schema: fn() -> Map<String, Value>) -> Self {
        Self { about, media_type: "application/json", schema }
    }

    /// Plain text.
    pub(super) const fn text(about: &'static str) -> Self {
        Self { about, media_type: "text/plain", schema: || Map::from_iter([("type".to_owned(), "string".into())]) }
    }
}

/// The routes that are not operations, by group.
static GROUPS: &[&[Route]] =
    &[&mcp::ROUTES, &sse::ROUTES, &oauth::ROUTES, &enrol::ROUTES, &health::ROUTES, &hooks::ROUTES, &openapi::ROUTES];

/// Every route of a server, without the SSE transport's if that is off.
pub(super) fn all(with_sse: bool) -> impl Iterator<Item = &'static Route> {
    let is_sse = |group: &&&[Route]| std::ptr::eq::<[Route]>(**group, &sse::ROUTES);
    let others = GROUPS.iter().filter(move |group| with_sse || !is_sse(group));
    rest::ROUTES.iter().chain(others.flat_map(|group| group.iter()))
}

/// The route for a method, among these.
pub(super) fn route_for(routes: &[&'static Route], method: &Method) -> Option<&'static Route> {
    let exact = routes.iter().find(|route| route.method == method);
    let head = || routes.iter().find(|route| method == Method::HEAD && has_head(route));
    exact.or_else(head).copied()
}

/// Whether a route answers HEAD requests, as GET routes do. A stream has no head apart from itself, a code would be
/// marked as given although the caller never saw it, and a provider's answer would be used up.
fn has_head(route: &Route) -> bool {
    let uses_up = route.action == Action::CodeGet || route.path == CALLBACK;
    route.method == Method::GET && !matches!(route.run, Run::Carrier(_)) && !uses_up
}

/// The methods of these routes, as a refusal names them.
pub(super) fn methods(routes: &[&'static Route]) -> String {
    let names = |route: &&'static Route| [Some(route.method.as_str()), has_head(route).then_some("HEAD")];
    routes.iter().flat_map(names).flatten().collect::<Vec<_>>().join(", ")
}
