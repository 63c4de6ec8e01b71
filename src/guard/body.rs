//! Bodies that go through the guard: of any length, never held in memory as a whole.

use std::{
    error::Error,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Body as _, Frame, Incoming};

use super::{exchange::Replacing, window::Window};

pub(super) type BoxError = Box<dyn Error + Send + Sync>;
pub(super) type Body = UnsyncBoxBody<Bytes, BoxError>;

/// The reason why a body could not be sent on, for the answer.
pub(super) type Trouble = Arc<OnceLock<String>>;

struct Replaced {
    body: Incoming,
    window: Window,
    replacing: Replacing,
    trouble: Trouble,
    /// The trailers, which follow the data.
    after: Option<Frame<Bytes>>,
    ended: bool,
}

/// An empty body.
pub(super) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body with a short text.
pub(super) fn text(text: impl Into<String>) -> Body {
    Full::from(text.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that is passed on unchanged.
pub(super) fn untouched(body: Incoming) -> Body {
    if body.is_end_stream() { empty() } else { body.map_err(Into::into).boxed_unsync() }
}

/// A body in which digits are replaced.
pub(super) fn replaced(body: Incoming, replacing: Replacing, trouble: Trouble) -> Body {
    // A stream has no known length, so an empty body would be sent in chunks.
    if body.is_end_stream() {
        return empty();
    }
    let begun = Replaced { body, window: Window::default(), replacing, trouble, after: None, ended: false };
    let frames = stream::unfold(begun, async |mut body| body.next().await.map(|frame| (frame, body)));
    StreamBody::new(frames).boxed_unsync()
}

impl Replaced {
    async fn next(&mut self) -> Option<Result<Frame<Bytes>, BoxError>> {
        loop {
            if let Some(frame) = self.after.take() {
                return Some(Ok(frame));
            }
            if self.ended {
                return None;
            }
            let (piece, last) = match self.body.frame().await {
                None => (Bytes::new(), true),
                Some(Err(cause)) => {
                    self.ended = true;
                    return Some(Err(cause.into()));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => (data, false),
                    Err(mut trailers) => {
                        if let Some(fields) = trailers.trailers_mut() {
                            self.replacing.in_fields(fields).await;
                        }
                        self.after = Some(trailers);
                        (Bytes::new(), true)
                    }
                },
            };
            self.ended = self.ended || last;
            if self.window.is_empty() && self.replacing.is_idle() && !piece.is_empty() {
                self.window.pass(&piece);
                return Some(Ok(Frame::data(piece)));
            }
            match self.replacing.replaced(self.window.take(piece, last)).await {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Some(Ok(Frame::data(bytes.freeze()))),
                Err(refusal) => {
                    self.ended = true;
                    let _ = self.trouble.set(refusal.to_string());
                    return Some(Err(refusal.into()));
                }
            }
        }
    }
}
