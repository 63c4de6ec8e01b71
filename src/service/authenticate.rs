//! Who calls: from what a caller offers to a [`Principal`], read from the store for every request, so that a revocation
//! holds from the next one on in every process.

use std::{net::IpAddr, time::Duration};

use subtle::ConstantTimeEq as _;
use tokio::time::{Instant, sleep_until};

use super::{Refusal, Service};
use crate::{
    domain::{
        api_key::{ApiKey, KeyId, PlainKey},
        audit::{Action, Actor, AuditEntry},
        ids::{AccountId, SeatId},
        principal::Principal,
        scope::ScopeSet,
        seat::SeatName,
        text::AuthSubject,
        time::Timestamp,
    },
    store::StoreError,
};

/// How old the note of a key's last use may get before it is written again.
const USE_NOTED_EVERY: Duration = Duration::from_mins(1);

/// How long after it was offered a key is refused: looking up one that exists takes longer than finding none, and that
/// difference must not show.
const KEY_REFUSED_AFTER: Duration = Duration::from_millis(5);

/// How old rights may get between the moment they were read and the one in which work with them begins. A carrier may keep
/// a message for longer before its turn comes.
pub(super) const RIGHTS_FRESH: Duration = Duration::from_secs(1);

/// What a caller offers.
pub enum Offered {
    /// Nothing at all.
    Nothing,
    /// Something that is no credential of ours.
    Junk,
    /// A key that has the right form.
    Key(PlainKey),
    /// An access token that its issuer's signature, its audience and its times vouch for.
    Login {
        /// The account that logins act in.
        account: AccountId,
        /// The token's subject.
        subject: String,
        /// What the token's scopes allow.
        scopes: ScopeSet,
        /// When the token ends.
        expires_at: Timestamp,
    },
}

impl Service {
    /// Makes a principal of what a caller offers.
    ///
    /// # Errors
    /// `unauthenticated`, `permission_denied` for a login without a seat, `unavailable`; each on the trail.
    pub async fn authenticate(&self, offered: Offered) -> Result<Principal, Refusal> {
        self.authenticate_from(offered, None).await
    }

    /// Makes a principal of what a caller at this address offers. Refusals of strangers are counted by it.
    ///
    /// # Errors
    /// As [`Self::authenticate`].
    pub async fn authenticate_from(&self, offered: Offered, from: Option<IpAddr>) -> Result<Principal, Refusal> {
        let (begun, now) = (Instant::now(), self.now());
        let mut entry = AuditEntry::by(Actor::Unknown, Action::Authenticate, now);
        let refusal = match offered {
            Offered::Nothing | Offered::Junk => Refusal::Unauthenticated,
            Offered::Key(plain) => {
                entry.key = Some(plain.id());
                match self.key_of(&plain, now).await {
                    Ok(Some(key)) => {
                        self.note_use(&key, now).await;
                        return Ok(Principal::of_key(&key).read_at(now));
                    }
                    Ok(None) => {
                        sleep_until(begun + KEY_REFUSED_AFTER).await;
                        Refusal::Unauthenticated
                    }
                    Err(cause) => return Err(self.refuse_failed(cause, entry).await),
                }
            }
            Offered::Login { account, subject, scopes, expires_at } => {
                entry.account = Some(account);
                entry.actor = Actor::Login;
                let seat = match AuthSubject::parse(&subject) {
                    // Nearly a seat's subject is somebody else's.
                    Ok(exact) if exact.as_str() != subject => Ok(None),
                    Err(_) => Ok(None),
                    Ok(subject) => self.store().seat(account, SeatName::Subject(subject)).await,
                };
                match seat {
                    Ok(Some(seat)) => {
                        return Ok(Principal::of_login(account, scopes, seat.id, expires_at).read_at(now));
                    }
                    Ok(None) => Refusal::NoSeat,
                    Err(cause) => return Err(self.refuse_failed(cause, entry).await),
                }
            }
        };
        Err(self.refuse_stranger(refusal, entry, from).await)
    }

    /// Whether a key still lets its holder in: what keeps something open for one asks now and then.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn is_key_good(&self, id: KeyId) -> Result<bool, Refusal> {
        let kept = self.store().key(id).await.map_err(|cause| self.failed(&cause))?;
        Ok(kept.is_some_and(|(key, _)| is_valid(&key, self.now())))
    }

    /// Whether the seat that a login is for is still there: what keeps something open for one asks now and then.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn is_seat_there(&self, account: AccountId, seat: SeatId) -> Result<bool, Refusal> {
        self.has_seat(account, seat).await
    }

    /// Whether a caller that had to wait may still call.
    pub(super) async fn still_valid(&self, caller: &Principal) -> Result<(), Refusal> {
        if caller.expires_at().is_some_and(|end| end <= self.now()) {
            return Err(Refusal::Unauthenticated);
        }
        match (caller.key(), caller.seat()) {
            (None, None) => Ok(()),
            (None, Some(seat)) if self.has_seat(caller.account(), seat).await? => Ok(()),
            (None, Some(_)) => Err(Refusal::SeatRemoved),
            (Some(id), _) if self.is_key_good(id).await? => Ok(()),
            (Some(_), _) => Err(Refusal::Unauthenticated),
        }
    }

    async fn key_of(&self, plain: &PlainKey, now: Timestamp) -> Result<Option<ApiKey>, StoreError> {
        let kept = self.store().key(plain.id()).await?;
        let hash = self.keyring().hash_key(plain);
        Ok(kept
            .filter(|(_, kept_hash)| kept_hash.0.ct_eq(&hash.0).into())
            .map(|(key, _)| key)
            .filter(|key| is_valid(key, now)))
    }

    async fn note_use(&self, key: &ApiKey, now: Timestamp) {
        if key.last_used_at.is_none_or(|at| at.plus(USE_NOTED_EVERY) < now)
            && let Err(cause) = self.store().touch_key(key.id, now).await
        {
            tracing::warn!(%cause, "a key's last use could not be noted");
        }
    }
}

fn is_valid(key: &ApiKey, now: Timestamp) -> bool {
    key.revoked_at.is_none() && key.rights.expires_at.is_none_or(|at| now < at)
}
