//! Sessions of handshake clients on a vault that several nodes serve: each is a record, so that any node can continue
//! it.
//!
//! A request costs one read and no commit. The time of a session's last use is written by the node that serves it, for
//! all of its sessions at once and at most once per [`SessionLimits::noted_every`].

use std::time::Duration;

use zeroize::Zeroizing;

use super::{Failed, Limit, Refusal, Service};
use crate::{
    domain::{
        session::{Carried, NodeId, Session, SessionOwner},
        time::Timestamp,
    },
    vault::{Outcome, StoreError, Versioned},
};

/// How long a session must be idle before its owner's next one may replace it.
const SPARE_AFTER: Duration = Duration::from_secs(10);
/// The longest time that a letter is kept: by then, its stream has ended with its node.
const LETTER_KEPT: Duration = Duration::from_mins(1);

/// How many sessions there may be over all nodes, and how long each may be idle.
#[derive(Debug, Clone, Copy)]
pub struct SessionLimits {
    /// Sessions in all.
    pub all: usize,
    /// Sessions of one owner.
    pub each: usize,
    /// How long one may be idle.
    pub idle: Duration,
    /// How far its recorded time of use may be behind.
    pub noted_every: Duration,
}

impl SessionLimits {
    /// A session whose recorded use is before this has ended.
    fn ended_before(&self, now: Timestamp) -> Timestamp {
        now.minus(self.idle + self.noted_every)
    }
}

impl Service {
    /// Whether other nodes may serve the same vault.
    pub fn has_other_nodes(&self) -> bool {
        self.vault().is_shared()
    }

    /// The data that a node needs to continue a session over Streamable HTTP. `None`: this owner has no such session.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn session(
        &self,
        id: &str,
        owner: &SessionOwner,
        limits: &SessionLimits,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Refusal> {
        let found = self.session_of(id, owner, limits).await.map_err(|cause| self.refusal_of(cause.into()))?;
        Ok(found.and_then(|kept| match &kept.carried {
            Carried::Anywhere(sealed) => self.vault().open_for_session(id, sealed),
            Carried::To(_) => None,
        }))
    }

    /// A session of this owner that has not ended.
    pub(super) async fn session_of(
        &self,
        id: &str,
        owner: &SessionOwner,
        limits: &SessionLimits,
    ) -> Result<Option<Versioned<Session>>, StoreError> {
        let found = self.vault().sessions(&[self.vault().session_tag(id)]).await?;
        let since = limits.ended_before(self.now());
        Ok(found.into_iter().flatten().find(|kept| kept.owner == *owner && kept.used_at >= since))
    }

    /// Makes room for one more session over Streamable HTTP: if the owner has too many, its longest idle one ends, since many
    /// clients never end theirs.
    ///
    /// # Errors
    /// `rate_limited` if none is idle.
    pub async fn make_room(&self, owner: &SessionOwner, limits: &SessionLimits) -> Result<(), Refusal> {
        self.try_make_room(owner, limits).await.map_err(|failed| self.refusal_of(failed))
    }

    async fn try_make_room(&self, owner: &SessionOwner, limits: &SessionLimits) -> Result<(), Failed> {
        let mine = self.vault().sessions_of(owner).await?;
        let all = self.vault().count_sessions(None).await?;
        if mine.len() < limits.each && all < limits.all as u64 {
            return Ok(());
        }
        let before = self.now().minus(limits.noted_every + SPARE_AFTER);
        let spare = mine.first().filter(|kept| kept.used_at < before).ok_or_else(too_many)?;
        // Stale: it is in use, or another request has replaced it.
        match self.vault().removal([spare]).commit().await? {
            Outcome::Done => Ok(()),
            Outcome::Stale | Outcome::Taken => Err(too_many().into()),
        }
    }

    /// Adds a session over Streamable HTTP.
    ///
    /// # Errors
    /// `rate_limited`, `unavailable`: there is no session then.
    pub async fn keep_session(
        &self,
        id: &str,
        owner: &SessionOwner,
        greeting: &[u8],
        limits: &SessionLimits,
    ) -> Result<(), Refusal> {
        let kept = async {
            let sealed = self.vault().seal_for_session(id, greeting)?;
            self.add_session(id, owner, Carried::Anywhere(sealed)).await?;
            // Counted after this one was added: of two that are added at once, each counts the other.
            let (mine, all) =
                (self.vault().count_sessions(Some(owner)).await?, self.vault().count_sessions(None).await?);
            if mine > limits.each as u64 || all > limits.all as u64 {
                return Err(Failed::from(too_many()));
            }
            Ok(())
        };
        let Err(failed) = kept.await else { return Ok(()) };
        let refusal = self.refusal_of(failed);
        // If the session can't be ended, it expires by itself.
        let _ = self.end_session(id).await;
        Err(refusal)
    }

    /// Adds a session whose stream is in a node.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn keep_stream(&self, id: &str, owner: &SessionOwner, node: NodeId) -> Result<(), Refusal> {
        self.add_session(id, owner, Carried::To(node)).await.map_err(|cause| self.refusal_of(cause.into()))
    }

    async fn add_session(&self, id: &str, owner: &SessionOwner, carried: Carried) -> Result<(), StoreError> {
        let session = Session { tag: self.vault().session_tag(id), owner: *owner, carried, used_at: self.now() };
        self.vault().silent_draft().add(&session).commit().await.map(|_| ())
    }

    /// Ends a session on every node, for any owner.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn end_session(&self, id: &str) -> Result<(), Refusal> {
        let tag = self.vault().session_tag(id);
        let ended = async {
            // A node may be recording its use at this moment.
            while let Some(kept) = self.vault().sessions(&[tag]).await?.into_iter().flatten().next() {
                if self.vault().removal([&kept]).commit().await? == Outcome::Done {
                    break;
                }
            }
            Ok(())
        };
        ended.await.map_err(|cause: StoreError| self.refusal_of(cause.into()))
    }

    /// Ends a session after the current request, whose client may be gone.
    pub fn end_session_later(&self, id: String) {
        let service = self.clone();
        self.shared.waiters.leave_behind(async move {
            // If it can't be removed, it ends when it has been idle for long enough.
            let _ = service.end_session(&id).await;
        });
    }

    /// Ends every session of an owner over Streamable HTTP, on every node.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn end_sessions_of(&self, owner: &SessionOwner) -> Result<(), Refusal> {
        let ended = async {
            let mine = self.vault().sessions_of(owner).await?;
            self.vault().removal(&mine).commit().await
        };
        // Stale: one of them was used meanwhile; the next round ends it.
        ended.await.map(|_| ()).map_err(|cause| self.refusal_of(cause.into()))
    }

    /// Records when sessions of this node were last used, and returns those that have ended elsewhere.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn note_sessions(
        &self,
        used: Vec<(String, Timestamp)>,
        limits: &SessionLimits,
    ) -> Result<Vec<String>, Refusal> {
        let noted = async {
            let tags: Vec<_> = used.iter().map(|(id, _)| self.vault().session_tag(id)).collect();
            let found = if tags.is_empty() { Vec::new() } else { self.vault().sessions(&tags).await? };
            let (mut ended, mut draft, mut is_new) = (Vec::new(), self.vault().silent_draft(), false);
            for ((id, used_at), kept) in used.into_iter().zip(found) {
                match kept {
                    None => ended.push(id),
                    Some(kept) if kept.used_at.until(used_at) >= limits.noted_every => {
                        draft = draft.replace(&kept, &Session { used_at, ..kept.value.clone() });
                        is_new = true;
                    }
                    Some(_) => {}
                }
            }
            if is_new {
                // Stale: another node has noted or ended one of them; the next round notes the others.
                draft.commit().await?;
            }
            Ok(ended)
        };
        noted.await.map_err(|cause: StoreError| self.refusal_of(cause.into()))
    }

    /// Ends sessions that were idle for too long, and removes letters that are too old to be read. Every node does
    /// this, and the first one removes them.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn end_idle_sessions(&self, limits: &SessionLimits) -> Result<(), Refusal> {
        let now = self.now();
        let ended = self.vault().end_idle_sessions(limits.ended_before(now), now.minus(LETTER_KEPT)).await;
        ended.map_err(|cause| self.refusal_of(cause.into()))
    }
}

const fn too_many() -> Refusal {
    Refusal::RateLimited { limit: Limit::Sessions, after: SPARE_AFTER }
}
