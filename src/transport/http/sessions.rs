//! Sessions of handshake clients over Streamable HTTP: rmcp's own, each bound to its owner, limited in number, and
//! closed when idle.
//!
//! rmcp lets any caller use a session whose id it knows. Here a session id is not a credential: for everybody but its
//! owner, a session does not exist.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt as _};
use rmcp::{
    model::{ClientJsonRpcMessage, ServerJsonRpcMessage},
    transport::streamable_http_server::session::{
        ServerSseMessage, SessionId, SessionManager,
        local::{LocalSessionManager, LocalSessionManagerError},
    },
};
use tokio::runtime::Handle;

use super::{
    places::{Place, Places},
    settings::Limits,
};
use crate::{
    operations::Refusal,
    transport::{mcp::SessionEnd, owner::Owner},
};

/// How long a session must be idle before its owner's next one may replace it.
const SPARE_AFTER: Duration = Duration::from_secs(10);

tokio::task_local! {
    /// The caller of the current request. rmcp passes only an id to its session manager.
    static VISITOR: Visitor;
}

/// The caller of a request, and the session that the request opens, if any.
struct Visitor {
    owner: Owner,
    opening: RefCell<Option<Arc<Opening>>>,
}

/// A session that is being opened. It takes its place before it is created. If this is dropped before the client was
/// told the session's id, because the client is gone, the session is closed.
pub(super) struct Opening {
    sessions: Arc<Sessions>,
    stage: Mutex<Stage>,
}

enum Stage {
    /// It has a place.
    Placed(Place),
    /// It exists, and the client does not know its id yet.
    Made(SessionId),
    /// The client knows its id, or there is no session.
    Over,
}

/// The sessions.
pub(super) struct Sessions {
    inner: Arc<LocalSessionManager>,
    limits: Limits,
    places: Arc<Places>,
    book: Mutex<HashMap<SessionId, Kept>>,
}

/// What is stored for a session besides rmcp's state.
struct Kept {
    place: Place,
    used: Instant,
    /// The number of its open streams.
    streams: Arc<AtomicUsize>,
    end: SessionEnd,
}

/// An open stream of a session, until it is dropped.
struct Open(Arc<AtomicUsize>);

impl Sessions {
    pub(super) fn new(limits: Limits) -> Self {
        let mut inner = LocalSessionManager::default();
        // Idle sessions are closed here, because rmcp does not know whether they have open streams.
        inner.session_config.keep_alive = None;
        let places = Places::new(limits.sessions, limits.sessions_per_key);
        Self { inner: Arc::new(inner), limits, places, book: Mutex::default() }
    }

    /// Serves a request of `owner`, which opens a session if `opening` has a place.
    pub(super) async fn visited_by<F: Future>(
        &self,
        owner: Owner,
        opening: Option<Arc<Opening>>,
        serve: F,
    ) -> F::Output {
        VISITOR.scope(Visitor { owner, opening: RefCell::new(opening) }, serve).await
    }

    /// The number of sessions, including those that are being opened or closed.
    pub(super) fn count(&self) -> usize {
        self.places.count()
    }

    /// The end signal of a session, if the session belongs to this owner.
    pub(super) fn end_of(&self, id: &str, owner: Owner) -> Option<SessionEnd> {
        self.book().get(id).filter(|kept| kept.owner() == owner).map(|kept| kept.end.clone())
    }

    /// Takes a place for one more session of this owner. If none is free, the owner's longest idle session is closed:
    /// many clients never end theirs.
    ///
    /// # Errors
    /// `rate_limited` if none is idle.
    pub(super) async fn open(self: &Arc<Self>, owner: Owner) -> Result<Arc<Opening>, Refusal> {
        let mut place = self.places.take(owner);
        if place.is_none()
            && let Some(spare) = self.spare(owner)
        {
            self.end(spare).await;
            place = self.places.take(owner);
        }
        let place = place.ok_or(Refusal::RateLimited { what: "too many MCP sessions are open", after: SPARE_AFTER })?;
        Ok(Arc::new(Opening { sessions: Arc::clone(self), stage: Mutex::new(Stage::Placed(place)) }))
    }

    /// Takes this owner's longest idle session out of the book: from here on no request finds it, so none is cut off.
    fn spare(&self, owner: Owner) -> Option<(SessionId, Kept)> {
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
    }

    /// Ends a session that is not in the book any more.
    async fn end(&self, (id, kept): (SessionId, Kept)) {
        // rmcp would let waiting calls go on for seconds, with their reserved steps.
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
        self.book().values().map(Kept::owner).collect()
    }

    /// Closes every session of this owner.
    pub(super) async fn close_all_of(&self, owner: Owner) {
        let mine: Vec<_> = {
            let book = self.book();
            book.iter().filter(|(_, kept)| kept.owner() == owner).map(|(id, _)| id.clone()).collect()
        };
        for id in mine {
            let _ = self.close_session(&id).await;
        }
    }

    fn book(&self) -> MutexGuard<'_, HashMap<SessionId, Kept>> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self, id: &SessionId) -> Option<Open> {
        let streams = Arc::clone(&self.book().get(id)?.streams);
        streams.fetch_add(1, Ordering::Relaxed);
        Some(Open(streams))
    }
}

impl Opening {
    /// Records that the client was told the session's id.
    pub(super) fn is_known(&self) {
        *self.stage() = Stage::Over;
    }

    /// Takes the place, once.
    fn place(&self) -> Option<Place> {
        match std::mem::replace(&mut *self.stage(), Stage::Over) {
            Stage::Placed(place) => Some(place),
            Stage::Made(_) | Stage::Over => None,
        }
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let (Stage::Made(id), Ok(runtime)) = (&*self.stage(), Handle::try_current()) {
            let (sessions, id) = (Arc::clone(&self.sessions), id.clone());
            runtime.spawn(async move { sessions.close_session(&id).await });
        }
    }
}

impl Kept {
    const fn owner(&self) -> Owner {
        self.place.owner()
    }

    fn is_idle(&self, long: Duration) -> bool {
        self.streams.load(Ordering::Relaxed) == 0 && self.used.elapsed() >= long
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Marks a session as in use for as long as its stream lives.
fn held<S: Stream<Item = ServerSseMessage>>(stream: S, open: Option<Open>) -> impl Stream<Item = ServerSseMessage> {
    stream.map(move |message| {
        let _held = &open;
        message
    })
}

type Outcome<T> = Result<T, LocalSessionManagerError>;

impl SessionManager for Sessions {
    type Error = LocalSessionManagerError;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Outcome<(SessionId, Self::Transport)> {
        let opening = VISITOR.try_with(|visitor| visitor.opening.take()).ok().flatten();
        // Without a place no session is created, whatever rmcp accepts as an opening message.
        let placed = opening.and_then(|opening| Some((opening.place()?, opening)));
        let (place, opening) = placed.ok_or_else(|| LocalSessionManagerError::SessionNotFound("".into()))?;
        let (id, transport) = self.inner.create_session().await?;
        let kept = Kept { place, used: Instant::now(), streams: Arc::default(), end: SessionEnd::default() };
        self.book().insert(id.clone(), kept);
        *opening.stage() = Stage::Made(id.clone());
        Ok((id, transport))
    }

    async fn initialize_session(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Outcome<ServerJsonRpcMessage> {
        self.inner.initialize_session(id, message).await
    }

    async fn has_session(&self, id: &SessionId) -> Outcome<bool> {
        let mine = {
            let mut book = self.book();
            let kept =
                book.get_mut(id).filter(|kept| VISITOR.try_with(|visitor| visitor.owner == kept.owner()) == Ok(true));
            kept.map(|kept| kept.used = Instant::now()).is_some()
        };
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
        self.inner.accept_message(id, message).await
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Outcome<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static> {
        let open = self.opened(id);
        self.inner.create_standalone_stream(id).await.map(|stream| held(stream, open))
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
