//! Makes a short-lived token from an API key, by its holder: for an agent that is to have less than the key, and not for long.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    Access, Api, ApiOperation, Call, Effect, ErrorCode, Failed, Limit, Method, Operation, Refusal, Seconds, Spec,
    answers::{OK, Revealed},
    retries::Retries,
    sound,
};
use crate::{
    domain::{
        api_key::KeyId,
        audit::Action,
        ids::SecretId,
        limits::{GRANTS_MAX, TOKEN_SECONDS_DEFAULT, TOKEN_SECONDS_MAX, TOKENS_MAX},
        principal::Principal,
        scope::ScopeSet,
        token::{AccessToken, PlainToken},
    },
    vault::{Draft, Outcome},
};

/// Expired tokens that are removed with a new one: few, so that the commit stays small.
const REMOVED_AT_ONCE: usize = 64;

/// Makes a token. Without arguments it may do what its key may.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct CreateToken {
    /// How long it works. It ends with its key, too.
    #[serde(default)]
    #[schemars(with = "Seconds<1, TOKEN_SECONDS_MAX>", extend("default" = TOKEN_SECONDS_DEFAULT))]
    pub expires_in_seconds: Option<Seconds<1, TOKEN_SECONDS_MAX>>,
    /// The scopes it has, all of them the key's. Without them it has every scope of the key.
    #[serde(default)]
    #[schemars(with = "ScopeSet")]
    pub scopes: Option<ScopeSet>,
    /// The only secrets that exist for it. Without them it sees the secrets that the key sees.
    #[serde(default)]
    #[schemars(with = "super::bounds::Grants")]
    pub secret_ids: Option<Vec<SecretId>>,
}

/// A token. This is the only time that it exists in clear.
pub struct MintedToken {
    /// Its record.
    pub token: AccessToken,
    /// The token itself.
    pub plain: PlainToken,
}

/// A new token.
#[derive(Serialize, JsonSchema)]
pub struct TokenCreateResponse {
    /// `OK`.
    pub status: &'static str,
    /// The token, shown this once: what `Authorization: Bearer` carries.
    pub token: Revealed,
    /// Its id, by which it is revoked.
    #[schemars(extend("format" = "uuid"))]
    pub token_id: String,
    /// `Bearer`.
    pub token_type: &'static str,
    /// When it stops working: RFC 3339, UTC.
    #[schemars(extend("format" = "date-time"))]
    pub expires_at: String,
    /// The scopes it has.
    pub scopes: Vec<&'static str>,
    /// The only secrets that exist for it; absent if it sees those of its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>")]
    pub secret_ids: Option<Vec<String>>,
    /// Empty. Clients of the mirrored API require it.
    pub phone_numbers: [&'static str; 0],
}

impl From<MintedToken> for TokenCreateResponse {
    fn from(MintedToken { token, plain }: MintedToken) -> Self {
        Self {
            status: OK,
            token: Revealed::from(&plain),
            token_id: token.id.to_string(),
            token_type: "Bearer",
            expires_at: token.expires_at.to_string(),
            scopes: token.scopes.iter().map(crate::domain::scope::Scope::as_str).collect(),
            secret_ids: token.secrets.map(|ids| ids.iter().map(SecretId::to_string).collect()),
            phone_numbers: [],
        }
    }
}

impl ApiOperation for CreateToken {
    const API: Api = Api {
        title: "Make a short-lived token",
        words: None,
        method: Method::Post,
        path: "/v3/auth/tokens",
        id: "createToken",
        tag: "Tokens",
        description: "A bearer token that may do what its key may, or less, until it expires, is revoked, or its key ends. \
                      Needs the key itself; a token makes no tokens. The answer shows the token this once.",
        answer: "The token.",
        waits: false,
        refusals: &[ErrorCode::NotFound],
    };
    type Answer = TokenCreateResponse;
    type RestAnswer = TokenCreateResponse;
}

impl Operation for CreateToken {
    const SPEC: Spec =
        Spec { name: "create_token", access: Access::Key, action: Action::TokenCreate, effect: Effect::Change };
    type Output = MintedToken;

    async fn run(self, call: &mut Call<'_>) -> Result<MintedToken, Failed> {
        let (vault, caller) = (call.service.vault(), call.caller);
        let key = caller.key().ok_or(Refusal::KeyOnly)?;
        let scopes = self.scopes_within(caller)?;
        if let Some(secrets) = &self.secret_ids {
            if secrets.is_empty() || secrets.len() > GRANTS_MAX {
                return Err(Refusal::invalid("secret_ids", format!("must be 1 to {GRANTS_MAX} secrets")).into());
            }
            let found = sound(vault.secrets_by_id(caller.account(), secrets).await?);
            if secrets.iter().any(|id| !caller.sees(*id) || found.iter().all(|kept| kept.id != *id)) {
                return Err(Refusal::NotFound("secret").into());
            }
        }
        let now = call.entry.at;
        let lifetime = self.expires_in_seconds.map_or(TOKEN_SECONDS_DEFAULT, Seconds::get);
        let asked = now.plus(Duration::from_secs(lifetime.into()));
        let expires_at = caller.expires_at().map_or(asked, |end| end.min(asked));
        let mut secret = Zeroizing::new([0; 32]);
        call.service.shared.random.fill(secret.as_mut_slice())?;
        let plain = PlainToken::from_random(key, &secret);
        let (id, hash) = vault.hash_token(&plain);
        let secrets = self.secret_ids.clone();
        let token =
            AccessToken { id, account: caller.account(), key, scopes, secrets, hash, created_at: now, expires_at };
        let mut retries = Retries::new(&call.service.shared.random);
        loop {
            let draft = vault.draft(call.entry.clone()).add(&token);
            match call.with_room(draft, key).await?.commit().await? {
                Outcome::Done => return Ok(MintedToken { token, plain }),
                Outcome::Stale => retries.again().await?,
                Outcome::Taken => return Err(Refusal::NotFound("account").into()),
            }
        }
    }
}

impl CreateToken {
    /// The scopes of the token: the requested ones, if the key has all of them.
    fn scopes_within(&self, caller: &Principal) -> Result<ScopeSet, Refusal> {
        let Some(asked) = self.scopes else { return Ok(caller.scopes()) };
        if asked.is_empty() {
            return Err(Refusal::invalid("scopes", "must name one scope at least"));
        }
        if asked.and(caller.scopes()) != asked {
            return Err(Refusal::invalid("scopes", format!("must be among those of the key: {}", caller.scopes())));
        }
        Ok(asked)
    }
}

impl Call<'_> {
    /// Has the draft remove expired tokens of the key if it has as many as it may.
    async fn with_room<'v>(&self, draft: Draft<'v>, key: KeyId) -> Result<Draft<'v>, Failed> {
        let vault = self.service.vault();
        if vault.count_tokens(key).await? < TOKENS_MAX {
            return Ok(draft);
        }
        let kept = vault.tokens_of(key).await?;
        let (ended, live): (Vec<_>, Vec<_>) = kept.iter().partition(|kept| kept.expires_at <= self.entry.at);
        match live.first() {
            Some(first) if live.len() as u64 >= TOKENS_MAX => {
                let after = self.entry.at.until(first.expires_at);
                Err(Refusal::RateLimited { limit: Limit::Tokens, after }.into())
            }
            _ => Ok(ended.into_iter().take(REMOVED_AT_ONCE).fold(draft, Draft::remove)),
        }
    }
}
