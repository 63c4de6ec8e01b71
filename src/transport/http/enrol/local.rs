//! The page of a sidecar or of a person's command: a listener of its own on loopback, which lives only while one of its
//! enrolments is open.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use axum::{Router, extract::Request, response::Response};
use http::{Method, StatusCode};
use tokio::{net::TcpListener, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{Pictures, Sent, Site, VisitorFacts, file, pages, peer_user::is_same_user, response};
use crate::{
    child::Children,
    domain::{
        audit::{Action, Actor, AuditEntry},
        enrolment::ProofWanted,
        ids::{AccountId, EnrolmentId},
    },
    operations::{EnrolmentPage, Refusal, Service},
    transport::http::{
        answer::{Problem, protect},
        guard::{self, Guard, HostRule},
        listener::{Listener, Visitor},
        peers::Peers,
        settings::{HttpSettings, Limits},
    },
};

/// The interval at which the page checks whether its enrolments are still open.
const LOOKED_EVERY: Duration = Duration::from_secs(1);
/// An enrolment that is not in the store after this time was never stored.
const STORED_WITHIN: Duration = Duration::from_secs(10);
/// How long the page is served after an enrolment has ended: browsers load the style of its last answer, and people
/// reload it.
const LINGER: Duration = Duration::from_secs(30);

/// The page of one process.
#[derive(Clone)]
pub struct LocalPage {
    running: Arc<Mutex<Option<Running>>>,
    pictures: Pictures,
    stored_within: Duration,
    linger: Duration,
}

impl Default for LocalPage {
    fn default() -> Self {
        let pictures = Pictures::read_by(Children::new());
        Self { running: Arc::default(), pictures, stored_within: STORED_WITHIN, linger: LINGER }
    }
}

/// The running listener.
struct Running {
    base: String,
    stop: CancellationToken,
    listener: JoinHandle<()>,
    open: HashMap<EnrolmentId, Open>,
}

/// An enrolment for which the page is served.
struct Open {
    since: Instant,
    ended: Option<Instant>,
}

impl LocalPage {
    /// Returns a page that is served for `linger` after its last enrolment has ended.
    #[must_use]
    pub fn lingering(linger: Duration) -> Self {
        Self { stored_within: linger, linger, ..Self::default() }
    }

    /// Returns the page with `children` as the processes that read its pictures.
    #[must_use]
    pub fn read_by(self, children: Children) -> Self {
        Self { pictures: Pictures::read_by(children), ..self }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the listener if there is none. Returns the URL of the page.
    fn start(&self, service: &Service, enrolment: EnrolmentId) -> std::io::Result<String> {
        let mut running = self.lock();
        let open = Open { since: Instant::now(), ended: None };
        if let Some(running) = running.as_mut() {
            running.open.entry(enrolment).or_insert(open);
            return Ok(running.base.clone());
        }
        let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        let (socket, address) = (TcpListener::from_std(socket.try_clone()?)?, socket.local_addr()?);
        let (base, stop) = (format!("http://{address}"), CancellationToken::new());
        let listener = tokio::spawn(listen(service.clone(), self.pictures.clone(), (socket, address), stop.clone()));
        tokio::spawn(self.clone().look_after(service.clone()));
        *running = Some(Running { base: base.clone(), stop, listener, open: HashMap::from([(enrolment, open)]) });
        Ok(base)
    }

    /// Stops the listener, and waits until the answers that it has begun are written.
    pub async fn end(&self) {
        let running = self.lock().take();
        if let Some(Running { stop, listener, .. }) = running {
            stop.cancel();
            let _ = listener.await;
        }
    }

    /// Stops the listener once none of its enrolments is open.
    async fn look_after(self, service: Service) {
        loop {
            tokio::time::sleep(LOOKED_EVERY).await;
            let looked_at: Vec<EnrolmentId> = match self.lock().as_ref() {
                Some(running) => running.open.keys().copied().collect(),
                None => return,
            };
            let mut over = Vec::new();
            for id in looked_at {
                // If the vault can't be read, keep serving.
                if service.is_enrolment_open(id).await == Ok(false) {
                    over.push(id);
                }
            }
            let mut here = self.lock();
            let Some(running) = here.as_mut() else { return };
            for (_, open) in running.open.iter_mut().filter(|(id, _)| over.contains(id)) {
                if open.since.elapsed() >= self.stored_within {
                    open.ended.get_or_insert_with(Instant::now);
                }
            }
            running.open.retain(|_, open| open.ended.is_none_or(|ended| ended.elapsed() < self.linger));
            if running.open.is_empty() {
                running.stop.cancel();
                *here = None;
                return;
            }
        }
    }
}

#[async_trait]
impl EnrolmentPage for LocalPage {
    fn proof(&self) -> ProofWanted {
        ProofWanted::Machine
    }

    fn signs_in(&self) -> bool {
        false
    }

    fn provider(&self) -> Option<AccountId> {
        None
    }

    async fn serve(&self, service: &Service, enrolment: EnrolmentId) -> Result<String, Refusal> {
        self.start(service, enrolment).map_err(|cause| {
            tracing::warn!(%cause, "the page for an enrolment can't be served");
            Refusal::NoPage
        })
    }
}

async fn listen(
    service: Service,
    pictures: Pictures,
    (socket, address): (TcpListener, SocketAddr),
    stop: CancellationToken,
) {
    let limits = Limits { connections: 32, drain: Duration::from_secs(1), ..Limits::default() };
    let guard = Arc::new(Guard::new(&HttpSettings::listening_on(address)));
    let counted = service.clone();
    let serve = move |request: Request| {
        let (service, pictures, guard) = (service.clone(), pictures.clone(), Arc::clone(&guard));
        async move {
            let site = Site { service: &service, pictures: &pictures, wait: limits.body_wait };
            let served = serve(&site, &guard, request).await;
            if let Some(code) = served.as_ref().err().and_then(Problem::uncounted) {
                let row = AuditEntry::by(Actor::Unknown, Action::EnrolProve, service.now());
                service.record_own(code, row, None).await;
            }
            let mut response = served.unwrap_or_else(Problem::into_response);
            protect(response.headers_mut(), false);
            response
        }
    };
    let peers = Arc::new(Peers::new(limits));
    let router = Router::new().fallback(serve);
    let listener = Listener { service: counted, router, tls: None, peers, limits, behind_proxy: false, stop };
    listener.run(socket).await;
}

async fn serve(site: &Site<'_>, guard: &Guard, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    guard.admit(&parts.method, &parts.uri, &parts.headers, HostRule::Ours)?;
    if !matches!(parts.method, Method::GET | Method::HEAD | Method::POST) {
        return Err(Problem::Method("GET, HEAD, POST".to_owned()));
    }
    let path = parts.uri.path();
    if let Some(file) = file(path) {
        return Ok(file);
    }
    if !path.starts_with(super::PATH) {
        return Ok(response(StatusCode::NOT_FOUND, pages::unknown()));
    }
    let sent = Sent::of(&parts, body, site.wait).await?;
    // A proxy or a tunnel on this machine would make every client look like the proxy's own user.
    let ends = parts.extensions.get::<Visitor>().map(|visitor| visitor.ends);
    let made_here = guard::is_made_here(&parts.uri, &parts.headers);
    let same_user = match ends.filter(|_| made_here) {
        Some(ends) => tokio::task::spawn_blocking(move || is_same_user(ends)).await.ok().flatten(),
        None => None,
    };
    Ok(site.answer(&parts, sent, VisitorFacts { same_user, signed_in: None, ticket: None, from: None }).await)
}
