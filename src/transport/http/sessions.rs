//! Sessions of handshake clients over Streamable HTTP: rmcp's own, each bound to its owner, limited in number, and
//! closed when idle.
//!
//! rmcp lets any caller use a session whose id it knows. Here a session id is not a credential: for any caller but its
//! owner, a session does not exist.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    enrolment_requests::EnrolmentRequests,
    opening::Opening,
    places::{Place, Places},
    settings::Limits,
    shared_sessions::Shared,
};
use crate::{
    domain::ids::EnrolmentId,
    operations::{Limit, Refusal, Service},
    transport::{mcp::SessionEnd, owner::Owner},
};
use futures::{Stream, StreamExt as _};
use rmcp::{
    model::{ClientJsonRpcMessage, ServerJsonRpcMessage},
    transport::streamable_http_server::session::{
        RestoreOutcome, ServerSseMessage, SessionId, SessionManager, SessionState,
        local::{LocalSessionManager, LocalSessionManagerError},
    },
};

/// How long a session must be idle before its owner's next one may replace it.
const SPARE_AFTER: Duration = Duration::from_secs(10);

tokio::task_local! {
    /// The caller of the current request. rmcp passes only an id to its session manager.
    pub(super) static VISITOR: Visitor;
}

/// The caller of a request, the session that the request opens, if any, and the shared state of the session that it
/// names.
pub(super) struct Visitor {
    pub(super) owner: Owner,
    pub(super) opening: Option<Arc<Opening>>,
    pub(super) known: Option<SessionState>,
    /// The end signal of a copy that the request makes.
    pub(super) end: SessionEnd,
}

/// The sessions.
pub(super) struct Sessions {
    inner: Arc<LocalSessionManager>,
    limits: Limits,
    places: Arc<Places>,
    book: Mutex<HashMap<SessionId, SessionEntry>>,
    /// The sessions of all nodes, if there may be other nodes: then the book holds working copies.
    pub(super) shared: Option<Arc<Shared>>,
    /// Held while a copy is made, so that no other request uses it before it is finished.
    copying: tokio::sync::Mutex<()>,
}

/// The state of a session besides rmcp's.
struct SessionEntry {
    place: Place,
    used: Instant,
    /// The number of its open streams.
    streams: Arc<AtomicUsize>,
    enrolment_requests: Arc<EnrolmentRequests>,
    end: SessionEnd,
    /// Whether the client knows the session's id, or the greeting of this copy was answered.
    is_ready: bool,
}

/// An open stream of a session, until it is dropped.
struct Open {
    streams: Arc<AtomicUsize>,
    enrolment_requests: Arc<EnrolmentRequests>,
}

impl Sessions {
    pub(super) fn new(limits: Limits, service: &Service) -> Self {
        let mut inner = LocalSessionManager::default();
        // Idle sessions are closed here, because rmcp does not know whether they have open streams.
        inner.session_config.keep_alive = None;
        let shared = Shared::of(service, limits).map(Arc::new);
        // The sessions of all nodes are counted together in the store; here only the copies are, of which some may be
        // left over.
        let most = |limit| if shared.is_some() { usize::MAX } else { limit };
        let places = Places::new(most(limits.sessions), most(limits.sessions_per_key));
        let (book, copying) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { inner: Arc::new(inner), limits, places, book, shared, copying }
    }

    /// Serves a request of `owner`, which opens a session if `opening` has a place.
    pub(super) async fn visited_by<F: Future>(
        &self,
        owner: Owner,
        opening: Option<Arc<Opening>>,
        serve: F,
    ) -> F::Output {
        VISITOR.scope(Visitor { owner, opening, known: None, end: SessionEnd::default() }, serve).await
    }

    /// Serves a request of `owner` for a session of which this node has no copy; rmcp makes one.
    pub(super) async fn visited_for_copy<F: Future>(
        &self,
        (id, owner): (&str, Owner),
        known: SessionState,
        serve: impl FnOnce(SessionEnd) -> F,
    ) -> F::Output {
        let _one_at_a_time = self.copying.lock().await;
        // Another request may have made the copy meanwhile.
        let end = self.end_of(id, owner).unwrap_or_default();
        let visitor = Visitor { owner, opening: None, known: Some(known), end: end.clone() };
        VISITOR.scope(visitor, serve(end)).await
    }

    /// The shared state of a session of this owner. If the session has ended, closes this node's copy.
    ///
    /// # Errors
    /// `unavailable`.
    pub(super) async fn known(&self, id: Option<&str>, owner: Owner) -> Result<Option<SessionState>, Refusal> {
        let (Some(shared), Some(id)) = (&self.shared, id) else { return Ok(None) };
        let known = shared.state(id, owner).await?;
        if known.is_none() && self.end_of(id, owner).is_some() {
            self.drop_copy(id).await;
        }
        Ok(known)
    }

    /// How long ago each session was last used; zero if it has an open stream.
    pub(super) fn uses(&self) -> Vec<(SessionId, Duration)> {
        let used =
            |kept: &SessionEntry| if kept.is_idle(Duration::ZERO) { kept.used.elapsed() } else { Duration::ZERO };
        self.book().iter().filter(|(_, kept)| kept.is_ready).map(|(id, kept)| (id.clone(), used(kept))).collect()
    }

    /// Closes this node's copy of a session.
    pub(super) async fn drop_copy(&self, id: &str) {
        let copy = self.book().remove_entry(id);
        if let Some(copy) = copy {
            self.end(copy).await;
        }
    }

    /// The number of sessions, including those that are being opened or closed.
    pub(super) fn count(&self) -> usize {
        self.places.count()
    }

    /// The end signal of a session, if the session belongs to this owner. Records the session as used now.
    pub(super) fn end_of(&self, id: &str, owner: Owner) -> Option<SessionEnd> {
        let mut book = self.book();
        let kept = book.get_mut(id).filter(|kept| kept.owner() == owner && kept.is_ready)?;
        kept.used = Instant::now();
        Some(kept.end.clone())
    }

    /// Whether a call in this node's copy of a session waits for the client's answer about this enrolment.
    pub(super) fn awaits(&self, id: &str, owner: Owner, enrolment: EnrolmentId) -> bool {
        self.book().get(id).is_some_and(|kept| kept.owner() == owner && kept.enrolment_requests.has(enrolment))
    }

    /// Takes a place for one more session of this owner. If none is free, the owner's longest idle session is closed:
    /// many clients never end theirs.
    ///
    /// # Errors
    /// `rate_limited` if none is idle.
    pub(super) async fn open(self: &Arc<Self>, owner: Owner) -> Result<Arc<Opening>, Refusal> {
        if let Some(shared) = &self.shared {
            shared.service.make_room(&owner.of_session(), &shared.limits).await?;
        }
        let mut place = self.places.take(owner);
        if place.is_none()
            && let Some(spare) = self.spare(owner)
        {
            self.end(spare).await;
            place = self.places.take(owner);
        }
        let place = place.ok_or(Refusal::RateLimited { limit: Limit::Sessions, after: SPARE_AFTER })?;
        Ok(Arc::new(Opening::of(Arc::clone(self), place)))
    }

    /// Takes this owner's longest idle session out of the book: from here on no request finds it, so none is cut off.
    fn spare(&self, owner: Owner) -> Option<(SessionId, SessionEntry)> {
        let mut book = self.book();
        let idle = book.iter().filter(|(_, kept)| kept.owner() == owner && kept.is_idle(SPARE_AFTER));
        let id = idle.min_by_key(|(_, kept)| kept.used).map(|(id, _)| id.clone())?;
        book.remove_entry(&id)
    }

    /// Closes the sessions that were idle for too long.
    pub(super) async fn sweep(&self) {
        let long = self.limits.session_idle;
        let idle: Vec<_> = self.book().extract_if(|_, kept| kept.is_idle(long)).collect();
        for session in idle {
            self.end(session).await;
        }
        if let Some(shared) = &self.shared {
            // If the store can't be written, the next round removes them.
            let _ = shared.service.end_idle_sessions(&shared.limits).await;
        }
    }

    /// Ends a session that is not in the book any more.
    async fn end(&self, (id, kept): (SessionId, SessionEntry)) {
        // rmcp would let waiting calls continue for seconds, with their reserved steps.
        kept.end.tell();
        // In a separate task: the caller may be gone before the session has ended, and the session keeps its place
        // until then.
        let inner = Arc::clone(&self.inner);
        let closing = tokio::spawn(async move {
            // An error means that the session has ended meanwhile.
            let _ = inner.close_session(&id).await;
            drop(kept);
        });
        let _ = closing.await;
    }

    /// The owners of sessions.
    pub(super) fn owners(&self) -> HashSet<Owner> {
        self.book().values().map(SessionEntry::owner).collect()
    }

    /// Closes every session of this owner.
    pub(super) async fn close_all_of(&self, owner: Owner) {
        if let Some(shared) = &self.shared {
            // The owner may not call any more; a session that is not removed now ends later, as an idle one.
            let _ = shared.service.end_sessions_of(&owner.of_session()).await;
        }
        let mine: Vec<_> = {
            let book = self.book();
            book.iter().filter(|(_, kept)| kept.owner() == owner).map(|(id, _)| id.clone()).collect()
        };
        for id in mine {
            let _ = self.close_session(&id).await;
        }
    }

    fn book(&self) -> MutexGuard<'_, HashMap<SessionId, SessionEntry>> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that requests may use a session.
    pub(super) fn is_ready(&self, id: &SessionId) {
        if let Some(kept) = self.book().get_mut(id) {
            kept.is_ready = true;
        }
    }

    fn opened(&self, id: &SessionId) -> Option<Open> {
        let (streams, enrolment_requests) =
            self.book().get(id).map(|kept| (Arc::clone(&kept.streams), Arc::clone(&kept.enrolment_requests)))?;
        streams.fetch_add(1, Ordering::Relaxed);
        Some(Open { streams, enrolment_requests })
    }
}

impl SessionEntry {
    fn new(place: Place, end: SessionEnd) -> Self {
        Self {
            place,
            used: Instant::now(),
            streams: Arc::default(),
            enrolment_requests: Arc::default(),
            end,
            is_ready: false,
        }
    }

    const fn owner(&self) -> Owner {
        self.place.owner()
    }

    fn is_idle(&self, long: Duration) -> bool {
        self.streams.load(Ordering::Relaxed) == 0 && self.used.elapsed() >= long
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Marks a session as in use for as long as its stream lives.
fn held<S: Stream<Item = ServerSseMessage>>(stream: S, open: Option<Open>) -> impl Stream<Item = ServerSseMessage> {
    stream.map(move |event| match &open {
        Some(open) => open.enrolment_requests.named(event),
        None => event,
    })
}

type Outcome<T> = Result<T, LocalSessionManagerError>;

impl SessionManager for Sessions {
    type Error = LocalSessionManagerError;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Outcome<(SessionId, Self::Transport)> {
        let opening = VISITOR.try_with(|visitor| visitor.opening.clone()).ok().flatten();
        // Without a place no session is created, whatever rmcp accepts as an opening message.
        let placed = opening.and_then(|opening| Some((opening.place()?, opening)));
        let (place, opening) = placed.ok_or_else(|| LocalSessionManagerError::SessionNotFound("".into()))?;
        let (id, transport) = self.inner.create_session().await?;
        self.book().insert(id.clone(), SessionEntry::new(place, SessionEnd::default()));
        opening.is_made(id.clone());
        Ok((id, transport))
    }

    async fn initialize_session(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Outcome<ServerJsonRpcMessage> {
        self.inner.initialize_session(id, message).await
    }

    async fn has_session(&self, id: &SessionId) -> Outcome<bool> {
        let mine = VISITOR.try_with(|visitor| self.end_of(id, visitor.owner).is_some()) == Ok(true);
        if mine { self.inner.has_session(id).await } else { Ok(false) }
    }

    async fn close_session(&self, id: &SessionId) -> Outcome<()> {
        let kept = self.book().remove_entry(id);
        match kept {
            Some(session) => self.end(session).await,
            None => self.inner.close_session(id).await?,
        }
        Ok(())
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Outcome<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static> {
        let open = self.opened(id);
        self.inner.create_stream(id, message).await.map(|stream| held(stream, open))
    }

    async fn accept_message(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Outcome<()> {
        let requests = self.book().get(id).map(|kept| Arc::clone(&kept.enrolment_requests));
        let message = if let Some(requests) = requests { requests.answered(message) } else { message };
        self.inner.accept_message(id, message).await?;
        // The first message that a copy accepts ends its greeting.
        self.is_ready(id);
        Ok(())
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Outcome<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static> {
        let open = self.opened(id);
        self.inner.create_standalone_stream(id).await.map(|stream| held(stream, open))
    }

    async fn restore_session(&self, id: SessionId) -> Outcome<RestoreOutcome<Self::Transport>> {
        let visitor = VISITOR.try_with(|visitor| (visitor.owner, visitor.end.clone())).ok();
        let placed = visitor.and_then(|(owner, end)| Some((self.places.take(owner)?, end)));
        let (place, end) = placed.ok_or_else(|| LocalSessionManagerError::SessionNotFound("".into()))?;
        // Closes a copy that failed halfway.
        self.drop_copy(&id).await;
        let restored = self.inner.restore_session(id.clone()).await?;
        if matches!(restored, RestoreOutcome::Restored(_)) {
            self.book().insert(id, SessionEntry::new(place, end));
        }
        Ok(restored)
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Outcome<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static> {
        let open = self.opened(id);
        self.inner.resume(id, last_event_id).await.map(|stream| held(stream, open))
    }
}
