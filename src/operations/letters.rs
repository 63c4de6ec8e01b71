//! Letters: messages of HTTP+SSE clients that reached another node than the one with the stream. The node with the
//! stream fetches them.
//!
//! A letter holds no credential. It names its sender, whose rights the other node reads anew.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Failed, Limit, Refusal, Service, SessionLimits};
use crate::{
    domain::{
        api_key::KeyId,
        ids::{AccountId, SeatId, TokenId},
        principal::Principal,
        scope::ScopeSet,
        session::{Carried, Letter, NodeId, SessionOwner, SessionTag},
        time::Timestamp,
    },
    vault::{Outcome, Versioned},
};

/// The most letters on the way to one session, as many as may wait there.
const LETTERS_EACH: u64 = 32;
/// The most letters on the way in all.
const LETTERS_MAX: u64 = 1024;
/// The most letters that are read at once.
const AT_ONCE: u32 = 64;

/// The sender that a letter names.
pub(super) enum Sender {
    /// The holder of a key.
    Key(KeyId),
    /// The holder of a token of a key.
    Token(TokenId),
    /// A person with a token of an identity provider.
    Login { account: AccountId, scopes: ScopeSet, seat: SeatId, expires_at: Timestamp },
}

/// The first line of a letter.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    login: Option<HeadLogin>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadLogin {
    account: String,
    scopes: String,
    seat: String,
    expires_at: i64,
}

impl Head {
    fn of(caller: &Principal) -> Option<Self> {
        if let Some(token) = caller.token() {
            return Some(Self { token: Some(token.to_string()), ..Self::default() });
        }
        if let Some(key) = caller.key() {
            return Some(Self { key: Some(key.to_string()), ..Self::default() });
        }
        let (seat, expires_at) = (caller.seat()?, caller.expires_at()?);
        let login = HeadLogin {
            account: caller.account().to_string(),
            scopes: caller.scopes().to_string(),
            seat: seat.to_string(),
            expires_at: expires_at.micros(),
        };
        Some(Self { login: Some(login), ..Self::default() })
    }

    fn sender(self) -> Option<Sender> {
        match (self.key, self.token, self.login) {
            (Some(key), None, None) => Some(Sender::Key(key.parse().ok()?)),
            (None, Some(token), None) => Some(Sender::Token(token.parse().ok()?)),
            (None, None, Some(HeadLogin { account, scopes, seat, expires_at })) => Some(Sender::Login {
                account: account.parse().ok()?,
                scopes: if scopes.is_empty() { ScopeSet::default() } else { scopes.parse().ok()? },
                seat: seat.parse().ok()?,
                expires_at: Timestamp::from_micros(expires_at),
            }),
            _ => None,
        }
    }
}

impl Service {
    /// The tag by which letters name a session.
    pub fn session_tag(&self, id: &str) -> SessionTag {
        self.vault().session_tag(id)
    }

    /// Sends a message to the node with the stream of a session. `false`: this owner has no such session, or its stream is
    /// not in another node.
    ///
    /// # Errors
    /// `rate_limited`, `unavailable`.
    pub async fn send_letter(
        &self,
        (id, from): (&str, NodeId),
        caller: &Principal,
        message: &[u8],
        limits: &SessionLimits,
    ) -> Result<bool, Refusal> {
        let owner = SessionOwner { account: caller.account(), actor: caller.actor(), seat: caller.seat() };
        let sent = async {
            let Some(head) = Head::of(caller) else { return Ok(false) };
            let Some(session) = self.session_of(id, &owner, limits).await? else { return Ok(false) };
            let to = match &session.carried {
                Carried::To(node) if *node != from => *node,
                Carried::To(_) | Carried::Anywhere(_) => return Ok(false),
            };
            let (mine, all) =
                (self.vault().count_letters(Some(&session.tag)).await?, self.vault().count_letters(None).await?);
            if mine >= LETTERS_EACH || all >= LETTERS_MAX {
                return Err(Failed::from(Refusal::RateLimited {
                    limit: Limit::SessionMessages,
                    after: Duration::from_secs(1),
                }));
            }
            let mut text = Zeroizing::new(serde_json::to_vec(&head).unwrap_or_default());
            // Reserved first, so that no copy is left behind.
            text.reserve_exact(message.len() + 1);
            text.push(b'\n');
            text.extend_from_slice(message);
            let sealed = self.vault().seal_for_session(id, &text)?;
            let sent_at = self.now();
            let nth = *self.ordered_id(sent_at)?.as_bytes();
            let letter = Letter { session: session.tag, nth, to, sealed, sent_at };
            self.vault().silent_draft().add(&letter).commit().await?;
            Ok(true)
        };
        sent.await.map_err(|failed| self.refusal_of(failed))
    }

    /// The first letters to a node.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn letters(&self, node: NodeId) -> Result<Vec<Versioned<Letter>>, Refusal> {
        self.vault().letters_to(node, AT_ONCE).await.map_err(|cause| self.refusal_of(cause.into()))
    }

    /// Removes letters, before they are delivered: so that none is delivered twice. `false`: nothing was removed.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn take_letters(&self, letters: &[Versioned<Letter>]) -> Result<bool, Refusal> {
        let taken = self.vault().removal(letters).commit().await;
        taken.map(|outcome| outcome == Outcome::Done).map_err(|cause| self.refusal_of(cause.into()))
    }

    /// The sender of a letter to a session with this id, and the message. `None`: their rights have ended, or it is not a letter
    /// to this session.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn open_letter(
        &self,
        id: &str,
        letter: &Letter,
    ) -> Result<Option<(Principal, Zeroizing<Vec<u8>>)>, Refusal> {
        let opened = self.vault().open_for_session(id, &letter.sealed);
        let Some((sender, message)) = opened.as_ref().and_then(|text| {
            let end = text.iter().position(|byte| *byte == b'\n')?;
            let (head, message) = (text.get(..end)?, text.get(end + 1..)?);
            let sender = serde_json::from_slice::<Head>(head).ok()?.sender()?;
            Some((sender, Zeroizing::new(message.to_vec())))
        }) else {
            return Ok(None);
        };
        let caller = self.authenticated_elsewhere(&sender).await.map_err(|cause| self.refusal_of(cause.into()))?;
        Ok(caller.map(|caller| (caller, message)))
    }
}
