//! Open streams of all transports: their number, their owners, and their ends.
//!
//! Each request is authenticated, so it is refused once its caller's rights have ended; an open stream must be ended
//! separately.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::body::Body;
use futures::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::settings::Limits;
use crate::{
    domain::{ids::TokenId, principal::Principal, time::Timestamp},
    operations::{Limit, Refusal, Service},
    transport::owner::Owner,
};

/// How long a caller with too many streams should wait before it tries again.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// The open streams.
pub(super) struct Streams {
    most: usize,
    most_each: usize,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    open: HashMap<u64, Entry>,
    next: u64,
}

struct Entry {
    owner: Owner,
    /// The token with which it was opened.
    token: Option<TokenId>,
    /// When the credential expires with which it was opened.
    until: Option<Timestamp>,
    stop: CancellationToken,
}

/// An open stream, as long as this value exists.
pub(super) struct OpenStream {
    streams: Arc<Streams>,
    number: u64,
    stop: CancellationToken,
}

impl Streams {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { most: limits.streams, most_each: limits.streams_per_key, book: Mutex::default() })
    }

    /// Opens a stream for a caller.
    ///
    /// # Errors
    /// `rate_limited` if there are too many.
    pub(super) fn open(self: &Arc<Self>, caller: &Principal) -> Result<OpenStream, Refusal> {
        let owner = Owner::of(caller);
        let mut book = self.book();
        let mine = book.open.values().filter(|entry| entry.owner == owner).count();
        if book.open.len() >= self.most || mine >= self.most_each {
            return Err(Refusal::RateLimited { limit: Limit::Streams, after: AGAIN_AFTER });
        }
        let (number, stop) = (book.next, CancellationToken::new());
        book.next += 1;
        book.open
            .insert(number, Entry { owner, token: caller.token(), until: caller.expires_at(), stop: stop.clone() });
        Ok(OpenStream { streams: Arc::clone(self), number, stop })
    }

    /// The number of open streams.
    pub(super) fn count(&self) -> usize {
        self.book().open.len()
    }

    /// The owners of the open streams.
    pub(super) fn owners(&self) -> Vec<Owner> {
        self.book().open.values().map(|entry| entry.owner).collect()
    }

    /// Ends every stream of this owner.
    pub(super) fn end_all_of(&self, owner: Owner) {
        self.book().open.values().filter(|entry| entry.owner == owner).for_each(|entry| entry.stop.cancel());
    }

    /// Ends every stream whose token was revoked.
    pub(super) async fn end_revoked(&self, service: &Service) {
        let tokens: HashSet<_> = self.book().open.values().filter_map(|entry| entry.token).collect();
        for token in tokens {
            // If the store can't be read, keep the streams.
            if service.is_token_good(token).await == Ok(false) {
                let book = self.book();
                book.open.values().filter(|entry| entry.token == Some(token)).for_each(|entry| entry.stop.cancel());
            }
        }
    }

    /// Ends every stream whose credential has expired.
    pub(super) fn end_expired(&self, now: Timestamp) {
        let book = self.book();
        let over = book.open.values().filter(|entry| entry.until.is_some_and(|until| until <= now));
        over.for_each(|entry| entry.stop.cancel());
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenStream {
    /// Cancelled when the stream must end.
    pub(super) fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// A body for the stream: it ends when the stream is closed, and the stream ends with it.
    pub(super) fn carrying(self, body: Body) -> Body {
        let stop = self.stop().cancelled_owned();
        Body::from_stream(body.into_data_stream().take_until(Box::pin(stop)).map(move |piece| {
            let _open = &self;
            piece
        }))
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.streams.book().open.remove(&self.number);
    }
}
