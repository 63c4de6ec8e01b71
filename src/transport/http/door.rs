//! The door: every request passes the guard, the route, authentication, the time limit and the work itself; every
//! answer gets its error format, the protective headers and the counters.

use std::{
    net::IpAddr,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{RawPathParams, Request, State, rejection::RawPathParamsRejection},
    response::Response,
    routing::any,
};
use futures::FutureExt as _;
use http::{HeaderName, Method, StatusCode, request::Parts};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{
    answer::{Problem, protect},
    auth::{Auth, Authenticated, CHALLENGE, Counts, Tried},
    body::Arriving,
    enrol::{Pictures, ServerPage},
    guard::{self, Guard, HostRule, Turned},
    health::{self, LastHealth},
    listener::Visitor,
    mcp::{Mcp, TOOL_CALL},
    metrics::Metrics,
    peers::{Peer, Peers},
    places::Place,
    rest,
    routes::{Route, Run, Takes, methods, route_for},
    settings::{BaseUrl, HookSettings, HttpSettings, Limits},
    sse::Sse,
    streams::Streams,
};
use crate::{
    domain::{
        api_key::KeyId,
        audit::{Action, Actor, AuditEntry},
        limits::WAIT_SECONDS_MAX,
        principal::Principal,
    },
    operations::{ErrorCode, Refusal, Service},
    transport::{mcp::McpServer, owner::Owner},
};

/// Everything needed to serve requests.
pub(super) struct App {
    pub(super) service: Service,
    pub(super) auth: Auth,
    pub(super) guard: Guard,
    pub(super) metrics: Metrics,
    pub(super) peers: Arc<Peers>,
    pub(super) limits: Limits,
    pub(super) hsts: bool,
    pub(super) behind_proxy: bool,
    /// The header in which a proxy names the user whom it has signed in.
    pub(super) user_header: Option<HeaderName>,
    /// The reader of the pictures that people send to the page.
    pub(super) pictures: Pictures,
    pub(super) page: Arc<ServerPage>,
    pub(super) mcp: Mcp,
    pub(super) sse: Sse,
    pub(super) streams: Arc<Streams>,
    pub(super) last_health: LastHealth,
    pub(super) hook: Option<HookSettings>,
}

/// A request before authentication.
pub(super) struct Visit<'a> {
    pub(super) app: &'a App,
    pub(super) parts: Parts,
}

/// An authenticated request.
pub(super) struct Call<'a> {
    pub(super) app: &'a App,
    pub(super) route: &'static Route,
    pub(super) caller: Principal,
    pub(super) parts: Parts,
    /// The decoded argument in the path.
    pub(super) named: String,
}

/// A request that passed the guard.
struct Sent {
    /// The decoded argument in the path.
    named: String,
    parts: Parts,
    body: Body,
}

/// The result of a request, for the counters and the challenge.
struct Outcome {
    route: Option<&'static Route>,
    /// The caller, if one was authenticated.
    caller: Option<Owner>,
    answer: Result<Response, Problem>,
}

impl Outcome {
    const fn nowhere(problem: Problem, caller: Option<Owner>) -> Self {
        Self { route: None, caller, answer: Err(problem) }
    }
}

/// Makes the router of a table of routes.
pub(super) fn router(app: Arc<App>, table: impl Iterator<Item = &'static Route>) -> Router {
    let mut paths: Vec<(&'static str, Vec<&'static Route>)> = Vec::new();
    for route in table {
        match paths.iter_mut().find(|(path, _)| *path == route.path) {
            Some((_, routes)) => routes.push(route),
            None => paths.push((route.path, vec![route])),
        }
    }
    let mut router = Router::new().fallback(|State(app): State<Arc<App>>, request: Request| async move {
        app.enter(&[], String::new(), request).await
    });
    for (path, routes) in paths {
        let here: Arc<[&'static Route]> = routes.into();
        let serve = |State(app): State<Arc<App>>,
                     params: Result<RawPathParams, RawPathParamsRejection>,
                     request: Request| async move {
            let named = params.iter().flatten().next().map(|(_, value)| value.to_owned());
            app.enter(&here, named.unwrap_or_default(), request).await
        };
        router = router.route(path, any(serve));
    }
    router.with_state(app)
}

impl App {
    pub(super) fn new(service: Service, server: &McpServer, settings: &HttpSettings, page: Arc<ServerPage>) -> Self {
        let limits = settings.limits;
        let guard = Guard::new(settings);
        Self {
            auth: Auth::new(settings),
            metrics: Metrics::new(settings.sse),
            peers: Arc::new(Peers::new(limits)),
            limits,
            hsts: settings.tls.is_some() || settings.public_urls.iter().any(BaseUrl::is_https),
            behind_proxy: settings.behind_proxy,
            user_header: settings.user_header.clone().filter(|_| settings.behind_proxy),
            pictures: Pictures::read_by(settings.children.clone()),
            page,
            mcp: Mcp::new(server.clone(), settings, guard.hosts(), &service),
            sse: Sse::new(server, settings, &service),
            streams: Streams::new(limits),
            guard,
            last_health: LastHealth::default(),
            hook: settings.hook.clone(),
            service,
        }
    }

    /// Serves one request.
    async fn enter(&self, routes: &[&'static Route], named: String, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let method = parts.method.clone();
        let visitor = parts.extensions.get::<Visitor>().cloned();
        let wanted =
            if routes.first().is_some_and(|first| health::is_one(first)) { HostRule::Any } else { HostRule::Ours };
        let is_page = routes.first().is_some_and(|first| matches!(first.run, Run::Page(_)));
        let entry = match self.guard.admit(&method, &parts.uri, &parts.headers, wanted) {
            // Pages of allowed origins call operations for their users; they don't read or send forms that are for
            // people.
            Ok(entry) if is_page && entry.origin.is_some() => Err(Turned::ForeignOrigin),
            other => other,
        };
        let entry = match entry {
            Ok(entry) => entry,
            Err(turned) => {
                let route = routes.first().copied().filter(|_| is_page);
                let caller = if is_page { None } else { self.turned_away(&parts).await };
                let outcome = Outcome { route, ..Outcome::nowhere(Problem::Turned(turned), caller) };
                return self.leave(None, self.answer(outcome, Tried::Nothing, self.from(&parts)).await, None);
            }
        };
        if entry.origin.is_some() && guard::is_preflight(&method, &parts.headers) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            guard::permit(response.headers_mut());
            return self.leave(None, response, entry.origin);
        }
        let (tried, from) = (Auth::is_tried(&parts.headers), self.from(&parts));
        let begun = tracing::enabled!(tracing::Level::DEBUG).then(Instant::now);
        let outcome = self.serve(routes, Sent { named, parts, body }).await;
        let (route, caller) = (outcome.route, outcome.caller);
        let response = self.answer(outcome, tried, from).await;
        if let Some(begun) = begun {
            log_request(&method, route, caller.and_then(Owner::key), response.status(), begun.elapsed());
        }
        let was_refused = response.status() == StatusCode::UNAUTHORIZED;
        if let Some(visitor) = visitor.filter(|_| was_refused || caller.is_none()) {
            visitor.place.forget();
        }
        self.leave(route, response, entry.origin)
    }

    async fn serve(&self, routes: &[&'static Route], sent: Sent) -> Outcome {
        let Some(first) = routes.first() else {
            return Outcome::nowhere(Problem::NoRoute, self.turned_away(&sent.parts).await);
        };
        let Some(route) = route_for(routes, &sent.parts.method) else {
            return Outcome::nowhere(Problem::Method(methods(routes)), self.turned_away(&sent.parts).await);
        };
        debug_assert_eq!(first.path, route.path, "routes are grouped by path");
        let limit = match route.takes {
            Takes::Moment => self.limits.request,
            Takes::Wait => self.limits.request + Duration::from_secs(u64::from(WAIT_SECONDS_MAX)),
        };
        let mut caller = None;
        let work = AssertUnwindSafe(self.run(route, sent, &mut caller)).catch_unwind();
        let answer = match tokio::time::timeout(limit, work).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_panic)) => Err(Problem::Own(self.service.panicked(route.path))),
            Err(_elapsed) => Err(Problem::Own(route.given_up(limit))),
        };
        Outcome { route: Some(route), caller, answer }
    }

    /// Runs a route, and sets `calls` to the caller.
    async fn run(
        &self,
        route: &'static Route,
        Sent { named, mut parts, body }: Sent,
        calls: &mut Option<Owner>,
    ) -> Result<Response, Problem> {
        // Count this without an audit row: a row with a wrong time would mislead readers that rely on the newest row.
        self.service.check_clock().map_err(Problem::Own)?;
        match route.run {
            Run::Open(run) => return run(Visit { app: self, parts }).await,
            Run::Page(run) => return run(Visit { app: self, parts }, body).await,
            Run::Carrier(_) | Run::Operation(_) => {}
        }
        let is_post = parts.method == Method::POST;
        // Wait for the body first, so that rights are read after it has arrived. Clients without a valid credential get
        // their answer without a long wait for their body.
        let body =
            if is_post { Arriving::of(&parts.headers, body, self.limits.body_wait).await } else { Arriving::nothing() };
        let counts = match route.run {
            Run::Carrier(_) => Counts::Message { calls: body.says(TOOL_CALL) },
            Run::Open(_) | Run::Page(_) | Run::Operation(_) => Counts::Call,
        };
        let (Authenticated { caller, counted, pace }, _share) = self.admit(route, &parts, counts).await?;
        *calls = Some(Owner::of(&caller));
        parts.extensions.insert(pace);
        if let Err(refusal) = counted {
            return Err(self.service.record_refusal(&caller, route.action, refusal).await.into());
        }
        if is_post && !body.is_json(&parts.headers, route) {
            return Err(Problem::MediaType);
        }
        match route.run {
            Run::Open(_) | Run::Page(_) => Err(Problem::NoRoute),
            Run::Carrier(run) => run(Call { app: self, route, caller, parts, named }, body).await,
            Run::Operation(entry) => rest::serve(Call { app: self, route, caller, parts, named }, entry, body).await,
        }
    }

    /// Authenticates the caller, and takes a place for the request in the caller's share of connections.
    async fn admit(
        &self,
        route: &Route,
        parts: &Parts,
        counts: Counts,
    ) -> Result<(Authenticated, Option<Place>), Problem> {
        // Boxed, so that a waiting call does not reserve room for it.
        let known = Box::pin(self.auth.counted_caller(&self.service, &parts.headers, peer(parts), counts)).await?;
        let Some(visitor) = parts.extensions.get::<Visitor>() else { return Ok((known, None)) };
        let owner = Owner::of(&known.caller);
        let share = if self.behind_proxy {
            visitor.place.recognise_proxy();
            self.peers.share(owner).map(Some)
        } else {
            visitor.place.recognise(owner).map(|()| None)
        };
        match share {
            Ok(share) => Ok((known, share)),
            Err(refusal) => Err(self.service.record_refusal(&known.caller, route.action, refusal).await.into()),
        }
    }

    /// Turns the result into a response, with a challenge if the credential was refused.
    async fn answer(&self, outcome: Outcome, tried: Tried, from: Option<IpAddr>) -> Response {
        let Outcome { route, caller, answer } = outcome;
        let problem = match answer {
            Ok(response) => return response,
            Err(problem) => problem,
        };
        if let Some(limit) = problem.limit() {
            self.service.count_limit(limit);
        }
        if let Some(code) = problem.uncounted() {
            // The row is boxed because few requests end in one.
            Box::pin(self.count_refusal((route, caller, from), code)).await;
        }
        let challenge =
            if let Problem::Refused(refusal) = &problem { self.auth.challenge(refusal, tried) } else { None };
        let mut response = problem.into_response();
        if let Some(challenge) = challenge {
            response.headers_mut().insert(CHALLENGE, challenge);
        }
        response
    }

    /// Counts a refusal by this transport. Refusals of authenticated callers, those of pages for people, and internal
    /// errors get an audit row.
    async fn count_refusal(
        &self,
        (route, caller, from): (Option<&'static Route>, Option<Owner>, Option<IpAddr>),
        code: ErrorCode,
    ) {
        let entry = match (route, caller) {
            (route, Some(caller)) => caller.entry(route.map_or(Action::Call, |route| route.action), self.service.now()),
            (Some(route), None) if code == ErrorCode::Internal || matches!(route.run, Run::Page(_)) => {
                AuditEntry::by(Actor::Unknown, route.action, self.service.now())
            }
            _ => return self.service.count_refusal(code),
        };
        self.service.record_own(code, entry, from).await;
    }

    /// The caller of a request that reaches no route, for its audit row.
    async fn turned_away(&self, parts: &Parts) -> Option<Owner> {
        self.auth.caller_of_refused(&self.service, &parts.headers, peer(parts)).await
    }

    /// The address for which the refusals of a client without a valid credential are counted.
    pub(super) fn from(&self, parts: &Parts) -> Option<IpAddr> {
        self.auth.source(&parts.headers, peer(parts))
    }

    /// Completes every response.
    fn leave(
        &self,
        route: Option<&'static Route>,
        mut response: Response,
        origin: Option<http::HeaderValue>,
    ) -> Response {
        let headers = response.headers_mut();
        protect(headers, self.hsts);
        if let Some(origin) = origin {
            guard::share(headers, origin);
        }
        self.metrics.answered(route, response.status());
        response
    }

    /// Ends the streams and sessions of callers whose keys were revoked, whose seats were removed or whose tokens have expired:
    /// each request is authenticated, but an open stream is not checked otherwise, and a session keeps its place.
    pub(super) async fn end_revoked(&self, stop: CancellationToken) {
        let mut rounds = tokio::time::interval(self.limits.keep_alive / 5);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(rounds.tick()).await.is_some() {
            self.streams.end_expired(self.service.now());
            self.streams.end_revoked(&self.service).await;
            let mut owners = self.mcp.sessions().owners();
            owners.extend(self.streams.owners());
            for owner in owners {
                // If the store can't be read, keep them.
                if self.may_still_call(owner).await == Ok(false) {
                    self.streams.end_all_of(owner);
                    self.mcp.sessions().close_all_of(owner).await;
                }
            }
        }
    }

    async fn may_still_call(&self, owner: Owner) -> Result<bool, Refusal> {
        match (owner.key(), owner.seat()) {
            (Some(key), _) => self.service.is_key_good(key).await,
            (None, Some(seat)) => self.service.is_seat_there(owner.account(), seat).await,
            (None, None) => Ok(true),
        }
    }
}

/// Logs a request. Never logs its path or query, which may hold anything.
fn log_request(method: &Method, route: Option<&'static Route>, key: Option<KeyId>, status: StatusCode, took: Duration) {
    let method = if *method == Method::HEAD { "HEAD" } else { route.map_or("other", |route| route.method.as_str()) };
    let (route, status, millis) = (route.map_or("other", |route| route.path), status.as_u16(), took.as_millis());
    let key = key.map(tracing::field::display);
    tracing::debug!(method, route, status, millis, key, "answered");
}

/// The address of the connection's other end.
pub(super) fn peer(parts: &Parts) -> Option<Peer> {
    parts.extensions.get().map(|visitor: &Visitor| visitor.peer)
}
