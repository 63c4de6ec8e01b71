//! API keys: a person makes and revokes them; the plain key exists once, in the answer to its creation.

use zeroize::Zeroizing;

use super::{Refusal, Service};
use crate::{
    domain::{
        api_key::{ApiKey, KeyId, KeyRights, PlainKey},
        audit::{Action, AuditEntry},
        ids::SecretId,
        limits::{CODES_PER_HOUR_MAX, GRANTS_MAX},
        principal::Principal,
        scope::ScopeSet,
        text::Name,
        time::Timestamp,
    },
    store::Keys,
};

/// What a person wants a key to be.
#[derive(Debug, Clone)]
pub struct KeyRequest {
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub scopes: ScopeSet,
    /// The seat it is bound to, by id or `auth_subject`.
    pub seat: Option<String>,
    /// The only secrets that exist for it; `None`: all of the account.
    pub secrets: Option<Vec<SecretId>>,
    /// Codes an hour, per secret.
    pub codes_per_hour: Option<u32>,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
}

/// A new key, in clear this once.
pub struct MintedKey {
    /// Its record.
    pub key: ApiKey,
    /// The key itself.
    pub plain: PlainKey,
}

impl Service {
    /// Makes a key.
    ///
    /// # Errors
    /// `permission_denied`, `invalid_argument`, `not_found` for a seat or secret, `unavailable`.
    pub async fn create_key(&self, caller: &Principal, from: KeyRequest) -> Result<MintedKey, Refusal> {
        self.require_person(caller, Action::KeyCreate).await?;
        let now = self.now().whole_millis();
        let name = Name::parse(&from.name).map_err(|problem| Refusal::invalid("name", problem.to_string()))?;
        if from.scopes.is_empty() {
            return Err(Refusal::invalid("scopes", "must name one scope at least"));
        }
        if from.expires_at.is_some_and(|at| at <= self.now()) {
            return Err(Refusal::invalid("expires", "must lie ahead"));
        }
        if from.codes_per_hour.is_some_and(|most| most == 0 || most > CODES_PER_HOUR_MAX) {
            return Err(Refusal::invalid("codes_per_hour", format!("must be 1 to {CODES_PER_HOUR_MAX}")));
        }
        let seat = match &from.seat {
            None => None,
            Some(name) => Some(self.get_seat(caller, name).await?.id),
        };
        let granted = from.secrets.as_deref().unwrap_or_default();
        if granted.len() > GRANTS_MAX {
            return Err(Refusal::invalid("secret", format!("must be at most {GRANTS_MAX} secrets")));
        }
        for secret in granted {
            self.get_secret(caller, *secret).await?;
        }
        let plain = self.draw_key()?;
        let rights = KeyRights {
            account: caller.account(),
            scopes: from.scopes,
            seat,
            secrets: from.secrets,
            codes_per_hour: from.codes_per_hour,
            expires_at: from.expires_at,
        };
        let key = ApiKey { id: plain.id(), name, rights, created_at: now, last_used_at: None, revoked_at: None };
        let entry = AuditEntry { key: Some(key.id), ..AuditEntry::of(caller, Action::KeyCreate, now) };
        let added = self.store().add_key(key.clone(), self.keyring().hash_key(&plain), entry);
        added.await.map_err(|cause| self.failed(&cause))?;
        Ok(MintedKey { key, plain })
    }

    /// The keys of the caller's account, damaged ones apart.
    ///
    /// # Errors
    /// `permission_denied`, `unavailable`.
    pub async fn list_keys(&self, caller: &Principal) -> Result<Keys, Refusal> {
        self.require_person(caller, Action::Call).await?;
        self.store().keys(caller.account()).await.map_err(|cause| self.failed(&cause))
    }

    /// Revokes a key, from the next request on.
    ///
    /// # Errors
    /// `permission_denied`, `not_found`, `unavailable`.
    pub async fn revoke_key(&self, caller: &Principal, id: KeyId) -> Result<(), Refusal> {
        self.require_person(caller, Action::KeyRevoke).await?;
        let entry = AuditEntry { key: Some(id), ..AuditEntry::of(caller, Action::KeyRevoke, self.now()) };
        let revoked = self.store().revoke_key(caller.account(), id, entry);
        if revoked.await.map_err(|cause| self.failed(&cause))? { Ok(()) } else { Err(Refusal::NotFound("key")) }
    }

    /// Removes every damaged key of the caller's account. They let nobody in, but the id that would name one may itself be
    /// damaged. Returns how many.
    ///
    /// # Errors
    /// `permission_denied`, `unavailable`.
    pub async fn remove_damaged_keys(&self, caller: &Principal) -> Result<u64, Refusal> {
        self.require_person(caller, Action::KeyRevoke).await?;
        let entry = AuditEntry::of(caller, Action::KeyRevoke, self.now());
        self.store().remove_damaged_keys(caller.account(), entry).await.map_err(|cause| self.failed(&cause))
    }

    fn draw_key(&self) -> Result<PlainKey, Refusal> {
        let (mut id, mut secret) = ([0; 12], Zeroizing::new([0; 32]));
        let random = &self.parts.random;
        random
            .fill(&mut id)
            .and_then(|()| random.fill(secret.as_mut_slice()))
            .map_err(|cause| self.no_randomness(cause))?;
        Ok(PlainKey::from_random(&id, &secret))
    }
}
