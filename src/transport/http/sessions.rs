//! Sessions of handshake clients over Streamable HTTP: rmcp's own, each bound to whoever opened it, bounded in number,
//! and closed when they idle.
//!
//! rmcp lets any caller use any session whose id it knows. Here a session id is no credential: to anybody but its owner
//! a session looks exactly like one that does not exist.

use std::{
    collections::HashMap,
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

use super::settings::Limits;
use crate::{
    operations::Refusal,
    transport::{mcp::SessionEnd, owner::Owner},
};

/// How long a session must have been idle before its owner's next one may take its place.
const SPARE_AFTER: Duration = Duration::from_secs(10);

tokio::task_local! {
    /// Who sends the request that is being served. rmcp hands its session manager an id and nothing else.
    static VISITOR: Owner;
}

/// The sessions.
pub(super) struct Sessions {
    inner: LocalSessionManager,
    limits: Limits,
    book: Mutex<HashMap<SessionId, Kept>>,
}

/// What is known of a session beside what rmcp knows.
struct Kept {
    owner: Owner,
    used: Instant,
    /// Streams that are open for it.
    streams: Arc<AtomicUsize>,
    end: SessionEnd,
}

/// A stream that is open for a session, until it is dropped.
struct Open(Arc<AtomicUsize>);

impl Sessions {
    pub(super) fn new(limits: Limits) -> Self {
        let mut inner = LocalSessionManager::default();
        // Idle sessions are closed here, where it is known whether a stream is open for them.
        inner.session_config.keep_alive = None;
        Self { inner, limits, book: Mutex::default() }
    }

    /// Runs what serves a request of `owner`.
    pub(super) async fn visited_by<F: Future>(&self, owner: Owner, serve: F) -> F::Output {
        VISITOR.scope(owner, serve).await
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.book().len()
    }

    /// The end of a session, if it is this owner's.
    pub(super) fn end_of(&self, id: &str, owner: Owner) -> Option<SessionEnd> {
        self.book().get(id).filter(|kept| kept.owner == owner).map(|kept| kept.end.clone())
    }

    /// Makes room for one more session of this owner: many clients never end theirs, so the one that idled longest goes.
    ///
    /// # Errors
    /// `rate_limited` if there is none to spare.
    pub(super) async fn make_room(&self, owner: Owner) -> Result<(), Refusal> {
        let spare = {
            let book = self.book();
            let mine = book.values().filter(|kept| kept.owner == owner).count();
            if mine < self.limits.sessions_per_key && book.len() < self.limits.sessions {
                return Ok(());
            }
            let idle = book.iter().filter(|(_, kept)| kept.owner == owner && kept.is_idle(SPARE_AFTER));
            idle.min_by_key(|(_, kept)| kept.used).map(|(id, _)| id.clone())
        };
        let Some(id) = spare else {
            return Err(Refusal::RateLimited { what: "too many MCP sessions are open", after: SPARE_AFTER });
        };
        // What fails here is a session that has ended meanwhile.
        let _ = self.close_session(&id).await;
        Ok(())
    }

    /// Closes the sessions that idled for too long.
    pub(super) async fn sweep(&self) {
        let idle: Vec<_> = {
            let book = self.book();
            let idle = book.iter().filter(|(_, kept)| kept.is_idle(self.limits.session_idle));
            idle.map(|(id, _)| id.clone()).collect()
        };
        for id in idle {
            let _ = self.close_session(&id).await;
        }
    }

    /// Whose sessions have streams open.
    pub(super) fn listeners(&self) -> Vec<Owner> {
        let book = self.book();
        book.values().filter(|kept| kept.streams.load(Ordering::Relaxed) > 0).map(|kept| kept.owner).collect()
    }

    /// Closes every session of this owner.
    pub(super) async fn close_all_of(&self, owner: Owner) {
        let mine: Vec<_> = {
            let book = self.book();
            book.iter().filter(|(_, kept)| kept.owner == owner).map(|(id, _)| id.clone()).collect()
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

impl Kept {
    fn is_idle(&self, long: Duration) -> bool {
        self.streams.load(Ordering::Relaxed) == 0 && self.used.elapsed() >= long
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Keeps a session marked as in use for as long as its stream lives.
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
        let (id, transport) = self.inner.create_session().await?;
        if let Ok(owner) = VISITOR.try_with(|owner| *owner) {
            let kept = Kept { owner, used: Instant::now(), streams: Arc::default(), end: SessionEnd::default() };
            self.book().insert(id.clone(), kept);
        }
        Ok((id, transport))
    }

    async fn initialize_session(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Outcome<ServerJsonRpcMessage> {
        self.inner.initialize_session(id, message).await
    }

    async fn has_session(&self, id: &SessionId) -> Outcome<bool> {
        let mine = {
            let mut book = self.book();
            let kept = book.get_mut(id).filter(|kept| VISITOR.try_with(|owner| *owner == kept.owner) == Ok(true));
            kept.map(|kept| kept.used = Instant::now()).is_some()
        };
        if mine { self.inner.has_session(id).await } else { Ok(false) }
    }

    async fn close_session(&self, id: &SessionId) -> Outcome<()> {
        // rmcp would let calls that wait go on for seconds, and hold what they have reserved.
        let kept = self.book().remove(id);
        if let Some(kept) = kept {
            kept.end.tell();
        }
        self.inner.close_session(id).await
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
