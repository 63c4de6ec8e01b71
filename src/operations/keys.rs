//! API keys: a person creates and revokes them; the plain key exists once, in the answer to its creation.

use zeroize::Zeroizing;

use super::{Call, Effect, Failed, Operation, Refusal, Spec, retries::Retries, sound};
use crate::{
    domain::{
        api_key::{ApiKey, KeyId, KeyRights, PlainKey},
        audit::{Action, AuditEntry},
        ids::SecretId,
        limits::{CODES_PER_HOUR_MAX, GRANTS_MAX},
        scope::ScopeSet,
        text::Name,
        time::Timestamp,
    },
    vault::{KeptKey, Listed, Outcome, RecordKey},
};

/// Creates a key.
#[derive(Debug, Clone)]
pub struct CreateKey {
    /// Its name, for people.
    pub name: String,
    /// The scopes that it grants.
    pub scopes: ScopeSet,
    /// The seat it is bound to, by id, `auth_subject` or e-mail address.
    pub seat: Option<String>,
    /// The only secrets that exist for it; `None`: all secrets of the account.
    pub secrets: Option<Vec<SecretId>>,
    /// Codes in an hour, per secret.
    pub codes_per_hour: Option<u32>,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
}

/// A new key. This is the only time that it exists in clear.
pub struct MintedKey {
    /// Its record.
    pub key: ApiKey,
    /// The key itself.
    pub plain: PlainKey,
}

/// The keys of an account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Keys {
    /// The sound ones, oldest first, including revoked ones.
    pub sound: Vec<ApiKey>,
    /// The ones that were changed without the vault's key; they authenticate no caller. `None`: not even the id can be
    /// read.
    pub damaged: Vec<Option<KeyId>>,
}

impl Operation for CreateKey {
    const SPEC: Spec = Spec::person("create_key", Action::KeyCreate, Effect::Add);
    type Output = MintedKey;

    async fn run(self, call: &mut Call<'_>) -> Result<MintedKey, Failed> {
        let (vault, account) = (call.service.vault(), call.caller.account());
        let now = call.entry.at.whole_millis();
        let name = self.check(call.entry.at)?;
        let seat = match &self.seat {
            None => None,
            Some(name) => {
                let seat = call.service.seat_for(call.caller, Some(name)).await?.ok_or(Refusal::NotFound("seat"))?;
                Some(seat.id)
            }
        };
        if let Some(secrets) = &self.secrets {
            let found = sound(vault.secrets_by_id(account, secrets).await?);
            if secrets.iter().any(|id| found.iter().all(|kept| kept.id != *id)) {
                return Err(Refusal::NotFound("secret").into());
            }
        }
        let plain = call.draw_key()?;
        let Self { scopes, secrets, codes_per_hour, expires_at, .. } = self;
        let rights = KeyRights { account, scopes, seat, secrets, codes_per_hour, expires_at };
        let key = ApiKey {
            id: plain.id(),
            name,
            rights,
            created_at: now,
            last_used_at: None,
            revoked_at: None,
            off_since: None,
        };
        call.entry.key = Some(key.id);
        let kept = KeptKey { key, hash: vault.hash_key(&plain) };
        match vault.draft(AuditEntry { at: now, ..call.entry.clone() }).add_key(&kept).commit().await? {
            Outcome::Done => Ok(MintedKey { key: kept.key, plain }),
            // The account or the seat was removed meanwhile.
            Outcome::Stale | Outcome::Taken => Err(Refusal::NotFound("account or seat").into()),
        }
    }
}

impl CreateKey {
    /// Checks the fields that can be checked by themselves, and parses the name.
    ///
    /// # Errors
    /// [`Refusal::Invalid`].
    pub fn check(&self, now: Timestamp) -> Result<Name, Refusal> {
        let name = Name::parse(&self.name).map_err(|problem| Refusal::invalid("name", problem.to_string()))?;
        if self.scopes.is_empty() {
            return Err(Refusal::invalid("scopes", "must name one scope at least"));
        }
        if self.expires_at.is_some_and(|at| at <= now) {
            return Err(Refusal::invalid("expires", "must lie ahead"));
        }
        if self.codes_per_hour.is_some_and(|most| most == 0 || most > CODES_PER_HOUR_MAX) {
            return Err(Refusal::invalid("codes_per_hour", format!("must be 1 to {CODES_PER_HOUR_MAX}")));
        }
        if self.secrets.as_ref().is_some_and(|secrets| secrets.len() > GRANTS_MAX) {
            return Err(Refusal::invalid("secret", format!("must be at most {GRANTS_MAX} secrets")));
        }
        Ok(name)
    }
}

impl Call<'_> {
    fn draw_key(&self) -> Result<PlainKey, Failed> {
        let (mut id, mut secret) = ([0; 12], Zeroizing::new([0; 32]));
        let random = &self.service.shared.random;
        random.fill(&mut id)?;
        random.fill(secret.as_mut_slice())?;
        Ok(PlainKey::from_random(&id, &secret))
    }
}

/// Lists the keys of the caller's account, damaged ones separately.
#[derive(Debug, Clone, Copy)]
pub struct ListKeys;

impl Operation for ListKeys {
    const SPEC: Spec = Spec::person("list_keys", Action::Call, Effect::Read);
    type Output = Keys;

    async fn run(self, call: &mut Call<'_>) -> Result<Keys, Failed> {
        let Listed { sound, damaged } = call.service.vault().keys(call.caller.account()).await?;
        Ok(Keys {
            sound: sound.into_iter().map(|kept| kept.value.key).collect(),
            damaged: damaged.iter().map(|(key, _)| id_of(key)).collect(),
        })
    }
}

/// The id of a damaged key, if it is valid.
fn id_of(key: &RecordKey) -> Option<KeyId> {
    std::str::from_utf8(&key.id).ok()?.parse().ok()
}

/// Enables a key that is off since an older copy of the vault was accepted.
#[derive(Debug, Clone, Copy)]
pub struct EnableKey {
    /// The key.
    pub id: KeyId,
}

impl Operation for EnableKey {
    const SPEC: Spec = Spec::person("enable_key", Action::KeyEnable, Effect::Change);
    type Output = ();

    async fn run(self, call: &mut Call<'_>) -> Result<(), Failed> {
        call.entry.key = Some(self.id);
        let vault = call.service.vault();
        let mut retries = Retries::new(&call.service.shared.random);
        loop {
            let kept = vault.key(self.id).await?;
            let kept = kept.filter(|kept| kept.key.rights.account == call.caller.account());
            let kept = kept.ok_or(Refusal::NotFound("key"))?;
            if kept.key.revoked_at.is_some() {
                return Err(Refusal::InUse("this key was revoked; make another one").into());
            }
            if kept.key.off_since.is_none() {
                return Err(Refusal::InUse("this key is not off").into());
            }
            let mut on = kept.value.clone();
            on.key.off_since = None;
            if vault.draft(call.entry.clone()).replace(&kept, &on).commit().await? == Outcome::Done {
                return Ok(());
            }
            retries.again().await?;
        }
    }
}

/// Revokes a key, from the next request on.
#[derive(Debug, Clone, Copy)]
pub struct RevokeKey {
    /// The key.
    pub id: KeyId,
}

impl Operation for RevokeKey {
    const SPEC: Spec = Spec::person("revoke_key", Action::KeyRevoke, Effect::Erase);
    type Output = ();

    async fn run(self, call: &mut Call<'_>) -> Result<(), Failed> {
        call.entry.key = Some(self.id);
        let vault = call.service.vault();
        let mut retries = Retries::new(&call.service.shared.random);
        loop {
            let listed = match vault.key(self.id).await {
                Ok(Some(kept)) if kept.key.rights.account == call.caller.account() => {
                    if kept.key.revoked_at.is_some() {
                        return Err(Refusal::Exists("the revocation of this key").into());
                    }
                    vault.draft(call.entry.clone()).revoke_key(&kept, call.entry.at)
                }
                Ok(_) => return Err(Refusal::NotFound("key").into()),
                Err(crate::vault::StoreError::Damaged { .. }) => {
                    // A damaged key authenticates no caller, so it is removed, whatever account it names.
                    vault.draft(call.entry.clone()).remove_damaged(&KeptKey::key_of(self.id))
                }
                Err(cause) => return Err(cause.into()),
            };
            if listed.commit().await? == Outcome::Done {
                return Ok(());
            }
            retries.again().await?;
        }
    }
}

/// Removes every damaged key of the caller's account: they authenticate no caller, but the id by which a person would
/// revoke one may itself be damaged. Returns how many.
#[derive(Debug, Clone, Copy)]
pub struct RemoveDamagedKeys;

impl Operation for RemoveDamagedKeys {
    const SPEC: Spec = Spec::person("remove_damaged_keys", Action::KeyRevoke, Effect::Erase);
    type Output = u64;

    async fn run(self, call: &mut Call<'_>) -> Result<u64, Failed> {
        let vault = call.service.vault();
        let mut removed = 0;
        for (key, _) in vault.keys(call.caller.account()).await?.damaged {
            let draft = vault.draft(AuditEntry { key: id_of(&key), ..call.entry.clone() });
            removed += u64::from(draft.remove_damaged(&key).commit().await? == Outcome::Done);
        }
        Ok(removed)
    }
}
