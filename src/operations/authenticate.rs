//! Authentication: makes a [`Principal`] from a caller's credential. The vault is read for every request, so a
//! revocation holds from the next request on, in every process.

use std::{net::IpAddr, time::Duration};

use subtle::ConstantTimeEq as _;
use tokio::time::{Instant, sleep_until};

use super::{Failed, Refusal, Service, letters::Sender};
use crate::{
    domain::{
        api_key::{ApiKey, KeyId, PlainKey},
        audit::{Action, Actor, AuditEntry},
        ids::{AccountId, SeatId, TokenId},
        principal::Principal,
        scope::ScopeSet,
        seat::{Seat, SeatName},
        text::{AuthSubject, Email},
        time::Timestamp,
        token::{AccessToken, PlainToken},
    },
    vault::{Mac, StoreError},
};

/// A wrong key is refused this long after it was offered, or after a multiple of that: looking up an existing key takes
/// longer than finding none, and the difference must not show.
const KEY_REFUSED_AFTER: Duration = Duration::from_millis(5);

/// The credential that a caller offers.
pub enum Offered {
    /// None.
    Nothing,
    /// Not one of our credentials.
    Junk,
    /// A key of the right form.
    Key(PlainKey),
    /// A token of a key, of the right form.
    Token(PlainToken),
    /// A program of this account that signed its request with the key that both know.
    Hook(AccountId),
    /// An access token whose signature, audience and times are valid.
    Login {
        /// The account that logins act in.
        account: AccountId,
        /// The token's subject.
        subject: String,
        /// The scopes that the token allows.
        scopes: ScopeSet,
        /// When the token expires.
        expires_at: Timestamp,
    },
}

impl Service {
    /// Authenticates a caller.
    ///
    /// # Errors
    /// `unauthenticated`, `permission_denied` for a login without a seat, `unavailable`; each in the audit log.
    pub async fn authenticate(&self, offered: Offered) -> Result<Principal, Refusal> {
        self.authenticate_from(offered, None).await
    }

    /// Authenticates a caller at this address. Refusals of strangers are counted by address.
    ///
    /// # Errors
    /// As [`Self::authenticate`].
    pub async fn authenticate_from(&self, offered: Offered, from: Option<IpAddr>) -> Result<Principal, Refusal> {
        let begun = Instant::now();
        let mut entry = AuditEntry::by(Actor::Unknown, Action::Authenticate, self.now());
        let failed = match self.principal_of(offered, &mut entry).await {
            Ok(principal) => return Ok(principal.read_at(entry.at)),
            Err(failed) => failed,
        };
        let offered_key = entry.key.is_some();
        // Write the row before the pause, so that a caller that hangs up during the pause is in the audit log too.
        let refusal = self.refuse_from(self.refusal_of(failed), entry, from).await;
        if offered_key {
            // End the pause at a multiple, since writing the row may take longer than one period.
            let pauses = begun.elapsed().as_micros() / KEY_REFUSED_AFTER.as_micros() + 1;
            sleep_until(begun + KEY_REFUSED_AFTER.saturating_mul(pauses.try_into().unwrap_or(u32::MAX))).await;
        }
        Err(refusal)
    }

    /// A keyed hash of a credential, by which its calls are counted before it is known whether it is right: a caller
    /// who guesses has another hash than the one with the right credential.
    ///
    /// The tokens of a key share one hash. A guessed token could name the same key, so only valid tokens get the hash.
    pub(crate) async fn mark_of(&self, offered: &Offered) -> Option<Mac> {
        match offered {
            Offered::Nothing | Offered::Junk | Offered::Hook(_) => None,
            Offered::Key(plain) => Some(self.vault().hash_key(plain).0),
            Offered::Token(plain) => {
                self.key_token(plain, self.now()).await.ok()??;
                Some(self.vault().fingerprint("calls-of-tokens", &[plain.key().as_str().as_bytes()]))
            }
            Offered::Login { account, subject, .. } => {
                Some(self.vault().fingerprint("login", &[account.as_bytes(), subject.as_bytes()]))
            }
        }
    }

    async fn principal_of(&self, offered: Offered, entry: &mut AuditEntry) -> Result<Principal, Failed> {
        let now = entry.at;
        match offered {
            Offered::Nothing | Offered::Junk => Err(Refusal::Unauthenticated.into()),
            Offered::Key(plain) => {
                entry.key = Some(plain.id());
                let key = self.key_of(&plain, now).await?.ok_or(Refusal::Unauthenticated)?;
                self.note_use(&key, now);
                Ok(Principal::of_key(&key))
            }
            Offered::Token(plain) => {
                entry.key = Some(plain.key());
                let (key, token) = self.key_token(&plain, now).await?.ok_or(Refusal::Unauthenticated)?;
                self.note_use(&key, now);
                Ok(Principal::of_token(&key, &token))
            }
            Offered::Hook(account) => Ok(Principal::of_hook(account)),
            Offered::Login { account, subject, scopes, expires_at } => {
                (entry.account, entry.actor) = (Some(account), Actor::Login);
                // A subject that only resembles a seat's belongs to another person.
                let exact = AuthSubject::parse(&subject).ok().filter(|exact| exact.as_str() == subject);
                let seat = match exact {
                    Some(subject) => self.vault().seat(account, &SeatName::Subject(subject)).await?,
                    None => None,
                };
                let seat = seat.ok_or(Refusal::NoSeat)?;
                Ok(Principal::of_login(account, scopes, seat.id, expires_at))
            }
        }
    }

    async fn key_of(&self, plain: &PlainKey, now: Timestamp) -> Result<Option<ApiKey>, StoreError> {
        let kept = self.vault().key(plain.id()).await?;
        let hash = self.vault().hash_key(plain);
        Ok(kept
            .filter(|kept| kept.hash.0.ct_eq(&hash.0).into())
            .map(|kept| kept.value.key)
            .filter(|key| is_valid(key, now)))
    }

    /// A valid token, and its key.
    async fn key_token(&self, plain: &PlainToken, now: Timestamp) -> Result<Option<(ApiKey, AccessToken)>, StoreError> {
        let (id, hash) = self.vault().hash_token(plain);
        let found = self.live_token(id, now).await?;
        Ok(found.filter(|(key, token)| key.id == plain.key() && token.hash.ct_eq(&hash).into()))
    }

    /// A token that has not expired, and its key, which is valid too.
    async fn live_token(&self, id: TokenId, now: Timestamp) -> Result<Option<(ApiKey, AccessToken)>, StoreError> {
        let Some(token) = self.vault().token(id).await?.filter(|token| now < token.expires_at) else { return Ok(None) };
        let key = self.vault().key(token.key).await?.filter(|kept| is_valid(&kept.key, now));
        let key = key.filter(|kept| kept.key.rights.account == token.account);
        Ok(key.map(|kept| (kept.value.key, token.value)))
    }

    /// The caller that another node has just authenticated, with its present rights. `None`: they have ended.
    pub(super) async fn authenticated_elsewhere(&self, sender: &Sender) -> Result<Option<Principal>, StoreError> {
        let now = self.now();
        let caller = match *sender {
            Sender::Key(id) => {
                let kept = self.vault().key(id).await?.filter(|kept| is_valid(&kept.key, now));
                kept.map(|kept| Principal::of_key(&kept.key))
            }
            Sender::Token(id) => {
                let live = self.live_token(id, now).await?;
                live.map(|(key, token)| Principal::of_token(&key, &token))
            }
            Sender::Login { account, scopes, seat, expires_at } => {
                let is_valid = now < expires_at && self.has_seat(account, seat).await?;
                is_valid.then(|| Principal::of_login(account, scopes, seat, expires_at))
            }
        };
        Ok(caller.map(|caller| caller.read_at(now)))
    }

    /// Whether a key is still valid. Connections and streams check this from time to time.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn is_key_good(&self, id: KeyId) -> Result<bool, Refusal> {
        self.key_holds(id).await.map_err(|cause| self.refusal_of(cause.into()))
    }

    /// Whether a token is still valid. Streams check this from time to time.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn is_token_good(&self, id: TokenId) -> Result<bool, Refusal> {
        let live = self.live_token(id, self.now()).await;
        live.map(|live| live.is_some()).map_err(|cause| self.refusal_of(cause.into()))
    }

    /// Whether the seat of a login still exists. Connections and streams check this from time to time.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn is_seat_there(&self, account: AccountId, seat: SeatId) -> Result<bool, Refusal> {
        self.has_seat(account, seat).await.map_err(|cause| self.refusal_of(cause.into()))
    }

    async fn key_holds(&self, id: KeyId) -> Result<bool, StoreError> {
        Ok(self.vault().key(id).await?.is_some_and(|kept| is_valid(&kept.key, self.now())))
    }

    pub(super) async fn has_seat(&self, account: AccountId, seat: SeatId) -> Result<bool, StoreError> {
        Ok(self.vault().seat(account, &SeatName::Id(seat)).await?.is_some())
    }

    /// Checks that a key that got something earlier, and the seat for which it did, are still there.
    pub(super) async fn still_holds(
        &self,
        account: AccountId,
        key: Option<KeyId>,
        seat: Option<SeatId>,
    ) -> Result<(), Failed> {
        match (key, seat) {
            (Some(id), _) if !self.key_holds(id).await? => Err(Refusal::Unauthenticated.into()),
            (_, Some(seat)) if !self.has_seat(account, seat).await? => Err(Refusal::SeatRemoved.into()),
            _ => Ok(()),
        }
    }

    /// Checks that a caller whose rights were read a while ago may still call.
    pub(super) async fn still_valid(&self, caller: &Principal) -> Result<(), Failed> {
        if caller.expires_at().is_some_and(|end| end <= self.now()) {
            return Err(Refusal::Unauthenticated.into());
        }
        if let Some(id) = caller.token()
            && self.live_token(id, self.now()).await?.is_none()
        {
            return Err(Refusal::Unauthenticated.into());
        }
        self.still_holds(caller.account(), caller.key(), caller.seat()).await
    }

    /// Refuses a caller whose own seat was removed.
    pub(super) async fn require_own_seat(&self, caller: &Principal) -> Result<(), Failed> {
        match caller.seat_to_look_up() {
            Some(seat) if !self.has_seat(caller.account(), seat).await? => Err(Refusal::SeatRemoved.into()),
            _ => Ok(()),
        }
    }

    /// The seat of a call: the one to which the caller is bound, or the one that it names.
    pub(super) async fn seat_for(&self, caller: &Principal, named: Option<&str>) -> Result<Option<Seat>, Failed> {
        match (named, caller.seat()) {
            (None, None) => Ok(None),
            (None, Some(bound)) => {
                let seat = self.vault().seat(caller.account(), &SeatName::Id(bound)).await?;
                Ok(Some(seat.ok_or(Refusal::SeatRemoved)?.value))
            }
            (Some(named), bound) => match (self.find_seat(caller.account(), named).await?, bound) {
                (Some(seat), bound) if bound.is_none_or(|bound| bound == seat.id) => Ok(Some(seat)),
                // A caller that is bound to a seat must not learn which others exist.
                (_, Some(_)) => Err(Refusal::OtherSeat.into()),
                (_, None) => Err(Refusal::NotFound("seat").into()),
            },
        }
    }

    /// The seat that a text names: by its id, else by its `auth_subject` (at some providers a UUID too), else by its
    /// e-mail address.
    pub(super) async fn find_seat(&self, account: AccountId, text: &str) -> Result<Option<Seat>, StoreError> {
        let by_id = text.parse().ok().map(SeatName::Id);
        let by_subject = AuthSubject::parse(text).ok().map(SeatName::Subject);
        for name in by_id.into_iter().chain(by_subject) {
            if let Some(seat) = self.vault().seat(account, &name).await? {
                return Ok(Some(seat.value));
            }
        }
        match Email::parse(text) {
            Ok(email) => Ok(self.vault().seat_by_email(account, &email).await?.map(|seat| seat.value)),
            Err(_) => Ok(None),
        }
    }
}

/// Whether a key authenticates its holder.
pub(super) fn is_valid(key: &ApiKey, now: Timestamp) -> bool {
    key.revoked_at.is_none() && key.off_since.is_none() && key.rights.expires_at.is_none_or(|at| now < at)
}
