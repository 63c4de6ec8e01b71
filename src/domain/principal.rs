//! The caller: its account, its rights there, and the seat it acts for. Every operation needs one.

use std::time::Duration;

use super::{
    api_key::{ApiKey, KeyId},
    audit::Actor,
    ids::{AccountId, SeatId, SecretId, TokenId},
    scope::{Scope, ScopeSet},
    text::Claim,
    time::Timestamp,
    token::AccessToken,
    trace::TraceParent,
};

/// The proof that a caller was authenticated. Only authentication, the stdio sidecar and the command line make one.
#[derive(Debug, Clone)]
pub struct Principal {
    account: AccountId,
    actor: Actor,
    scopes: ScopeSet,
    seat: Option<SeatId>,
    secrets: Option<Vec<SecretId>>,
    codes_per_hour: Option<u32>,
    expires_at: Option<Timestamp>,
    /// When its rights were read, if they can end.
    read_at: Option<Timestamp>,
    token: Option<TokenId>,
    client: Client,
}

/// What an MCP client claims about itself. No decision is based on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Client {
    /// Its name.
    pub name: Claim,
    /// Its version.
    pub version: Claim,
    /// The call's place in the client's trace.
    pub trace: Option<TraceParent>,
}

impl Principal {
    /// The person at the command line: all scopes in the account, and the vault's upkeep.
    pub fn person(account: AccountId) -> Self {
        Self::new(account, Actor::Person, ScopeSet::ALL, None)
    }

    /// The host that started a stdio sidecar, limited as the person who configured it chose.
    pub fn stdio(account: AccountId, scopes: ScopeSet, seat: Option<SeatId>) -> Self {
        Self::new(account, Actor::Stdio, scopes, seat)
    }

    /// The holder of an API key that was just checked.
    pub fn of_key(key: &ApiKey) -> Self {
        Self {
            secrets: key.rights.secrets.clone(),
            codes_per_hour: key.rights.codes_per_hour,
            expires_at: key.rights.expires_at,
            ..Self::new(key.rights.account, Actor::Key(key.id), key.rights.scopes, key.rights.seat)
        }
    }

    /// A person whom an identity provider authenticated until `expires_at`, matched to a seat.
    pub fn of_login(account: AccountId, scopes: ScopeSet, seat: SeatId, expires_at: Timestamp) -> Self {
        Self { expires_at: Some(expires_at), ..Self::new(account, Actor::Login, scopes, Some(seat)) }
    }

    /// A program that signed its request for a code, and may do nothing else.
    pub fn of_hook(account: AccountId) -> Self {
        Self::new(account, Actor::Hook, ScopeSet::default().with(Scope::CodesRead), None)
    }

    /// The holder of a token. The token and its key were just checked; the rights are those that both have.
    pub fn of_token(key: &ApiKey, token: &AccessToken) -> Self {
        let whole = Self::of_key(key);
        let granted = match (whole.secrets, &token.secrets) {
            (Some(of_key), Some(of_token)) => Some(of_key.into_iter().filter(|id| of_token.contains(id)).collect()),
            (of_key, of_token) => of_key.or_else(|| of_token.clone()),
        };
        Self {
            actor: Actor::Token(key.id),
            scopes: whole.scopes.and(token.scopes),
            secrets: granted,
            expires_at: Some(whole.expires_at.map_or(token.expires_at, |at| at.min(token.expires_at))),
            token: Some(token.id),
            ..whole
        }
    }

    fn new(account: AccountId, actor: Actor, scopes: ScopeSet, seat: Option<SeatId>) -> Self {
        let (secrets, codes_per_hour, expires_at, read_at, token) = (None, None, None, None, None);
        let client = Client::default();
        Self { account, actor, scopes, seat, secrets, codes_per_hour, expires_at, read_at, token, client }
    }

    /// The same caller, with its client's claim.
    #[must_use]
    pub fn through(mut self, client: Client) -> Self {
        self.client = client;
        self
    }

    /// The same caller, with the call's place in a trace.
    #[must_use]
    pub const fn in_trace(mut self, trace: Option<TraceParent>) -> Self {
        self.client.trace = trace;
        self
    }

    /// The same caller, with the time at which its rights were read: they may have ended since.
    #[must_use]
    pub const fn read_at(mut self, moment: Timestamp) -> Self {
        self.read_at = Some(moment);
        self
    }

    /// When its credential ends, if that is known.
    pub const fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// Whether its rights were read longer ago than this.
    pub fn is_stale(&self, now: Timestamp, after: Duration) -> bool {
        self.read_at.is_some_and(|read_at| read_at.until(now) > after)
    }

    /// The account it acts in.
    pub const fn account(&self) -> AccountId {
        self.account
    }

    /// The actor of its audit rows.
    pub const fn actor(&self) -> Actor {
        self.actor
    }

    /// What its client claims about itself.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Its short-lived token, if it called with one.
    pub const fn token(&self) -> Option<TokenId> {
        self.token
    }

    /// The id of its API key, or of the key of its token, if it has one.
    pub const fn key(&self) -> Option<KeyId> {
        self.actor.key()
    }

    /// Whether it is the person at the command line.
    pub const fn is_person(&self) -> bool {
        matches!(self.actor, Actor::Person)
    }

    /// Its scopes.
    pub const fn scopes(&self) -> ScopeSet {
        self.scopes
    }

    /// Whether it has a scope.
    pub const fn may(&self, scope: Scope) -> bool {
        self.scopes.holds(scope)
    }

    /// The seat it is bound to.
    pub const fn seat(&self) -> Option<SeatId> {
        self.seat
    }

    /// The seat it is bound to, if its existence must be checked: a sidecar may outlive its seat, and a key that was
    /// made while its seat was removed is revoked only afterwards. A login is matched to a seat for each request.
    pub const fn seat_to_look_up(&self) -> Option<SeatId> {
        match self.actor {
            Actor::Stdio | Actor::Key(_) | Actor::Token(_) => self.seat,
            Actor::Person | Actor::Login | Actor::Hook | Actor::Page | Actor::System | Actor::Unknown => None,
        }
    }

    /// Whether a secret of its account is visible to it.
    pub fn sees(&self, secret: SecretId) -> bool {
        self.secrets.as_ref().is_none_or(|granted| granted.contains(&secret))
    }

    /// Whether it is limited to given secrets.
    pub const fn is_limited(&self) -> bool {
        self.secrets.is_some()
    }

    /// The secrets it is limited to.
    pub fn granted(&self) -> Option<&[SecretId]> {
        self.secrets.as_deref()
    }

    /// The most codes it may get in an hour, per secret.
    pub const fn codes_per_hour(&self) -> Option<u32> {
        self.codes_per_hour
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{
        api_key::KeyRights,
        audit::{Action, AuditEntry},
        text::Name,
        time::Timestamp,
    };

    fn account() -> AccountId {
        AccountId::new(Uuid::from_u128(1))
    }

    fn secret(number: u128) -> SecretId {
        SecretId::new(Uuid::from_u128(number))
    }

    fn holder(secrets: Option<Vec<SecretId>>) -> Principal {
        let rights = KeyRights {
            account: account(),
            scopes: ScopeSet::of_a_new_key(),
            seat: Some(SeatId::new(Uuid::from_u128(2))),
            secrets,
            codes_per_hour: Some(6),
            expires_at: Some(Timestamp::from_seconds(60)),
        };
        Principal::of_key(&ApiKey {
            id: "0123456789AB".parse().unwrap(),
            name: Name::parse("ci").unwrap(),
            rights,
            created_at: Timestamp::from_seconds(0),
            last_used_at: None,
            revoked_at: None,
            off_since: None,
        })
    }

    #[test]
    fn a_row_about_a_call_bears_what_the_callers_client_says() {
        let client = Client { name: Claim::of("agent"), ..Client::default() };
        let row = AuditEntry::of(&holder(None).through(client.clone()), Action::Call, Timestamp::from_seconds(0));
        assert_eq!(row.client, client);
    }

    #[test]
    fn a_keys_holder_has_the_keys_rights_and_no_others() {
        let caller = holder(None);
        assert_eq!((caller.account(), caller.seat().is_some(), caller.codes_per_hour()), (account(), true, Some(6)));
        assert!(caller.may(Scope::CodesRead) && !caller.may(Scope::SecretsWrite) && !caller.is_person());
        assert_eq!(caller.key().map(|id| id.to_string()).as_deref(), Some("0123456789AB"));
        assert_eq!(caller.expires_at(), Some(Timestamp::from_seconds(60)));
        assert!(!caller.is_limited() && holder(Some(vec![secret(1)])).is_limited());
    }

    #[test]
    fn a_tokens_holder_has_what_both_it_and_its_key_have() {
        let key = |secrets: Option<Vec<SecretId>>, expires: Option<i64>| ApiKey {
            id: "0123456789AB".parse().unwrap(),
            name: Name::parse("ci").unwrap(),
            rights: KeyRights {
                account: account(),
                scopes: ScopeSet::of_a_new_key(),
                seat: None,
                secrets,
                codes_per_hour: Some(6),
                expires_at: expires.map(Timestamp::from_seconds),
            },
            created_at: Timestamp::from_seconds(0),
            last_used_at: None,
            revoked_at: None,
            off_since: None,
        };
        let token = |scopes: ScopeSet, secrets: Option<Vec<SecretId>>| AccessToken {
            id: TokenId::new(Uuid::from_u128(9)),
            account: account(),
            key: "0123456789AB".parse().unwrap(),
            scopes,
            secrets,
            hash: [0; 32],
            created_at: Timestamp::from_seconds(0),
            expires_at: Timestamp::from_seconds(900),
        };
        let wide = Principal::of_token(&key(None, None), &token(ScopeSet::ALL, None));
        assert_eq!(
            (wide.scopes(), wide.codes_per_hour(), wide.is_limited()),
            (ScopeSet::of_a_new_key(), Some(6), false)
        );
        assert_eq!(wide.actor(), Actor::Token("0123456789AB".parse().unwrap()));
        assert_eq!((wide.token().is_some(), wide.expires_at()), (true, Some(Timestamp::from_seconds(900))));
        let narrow = token([Scope::CodesRead].into_iter().collect(), Some(vec![secret(1), secret(2)]));
        let few = Principal::of_token(&key(Some(vec![secret(2), secret(3)]), Some(60)), &narrow);
        assert_eq!([1, 2, 3].map(|number| few.sees(secret(number))), [false, true, false]);
        assert!(few.may(Scope::CodesRead) && !few.may(Scope::SecretsRead));
        assert_eq!(few.expires_at(), Some(Timestamp::from_seconds(60)));
        let of_all = Principal::of_token(&key(None, None), &narrow);
        assert_eq!([1, 3].map(|number| of_all.sees(secret(number))), [true, false]);
    }

    #[test]
    fn the_seat_of_a_key_and_of_a_sidecar_is_looked_up_and_that_of_a_login_was_found_just_now() {
        let seat = SeatId::new(Uuid::from_u128(2));
        let login = Principal::of_login(account(), ScopeSet::ALL, seat, Timestamp::from_seconds(60));
        let sidecar = Principal::stdio(account(), ScopeSet::ALL, Some(seat));
        let looked_up = [holder(None), sidecar, login].map(|caller| caller.seat_to_look_up());
        assert_eq!(looked_up, [Some(seat), Some(seat), None]);
    }

    #[test]
    fn a_limited_key_sees_its_secrets_alone_and_none_if_there_are_none() {
        assert_eq!([1, 2].map(|number| holder(None).sees(secret(number))), [true, true]);
        assert_eq!([1, 2].map(|number| holder(Some(vec![secret(1)])).sees(secret(number))), [true, false]);
        assert_eq!([1, 2].map(|number| holder(Some(vec![])).sees(secret(number))), [false, false]);
    }

    #[test]
    fn rights_grow_old_only_where_they_can_end() {
        let (read, second) = (Timestamp::from_seconds(100), Duration::from_secs(1));
        let (caller, person) = (holder(None).read_at(read), Principal::person(account()));
        let stale = |caller: &Principal, seconds| caller.is_stale(Timestamp::from_seconds(seconds), second);
        assert_eq!([99, 100, 101, 102].map(|at| stale(&caller, at)), [false, false, false, true]);
        assert!(!stale(&person, i64::MAX));
    }

    #[test]
    fn only_the_person_at_the_command_line_is_a_person() {
        let seat = SeatId::new(Uuid::from_u128(2));
        let login = Principal::of_login(account(), ScopeSet::ALL, seat, Timestamp::from_seconds(60));
        let callers = [Principal::stdio(account(), ScopeSet::ALL, None), login];
        assert!(Principal::person(account()).is_person());
        assert!(callers.iter().all(|caller| !caller.is_person() && caller.key().is_none() && !caller.is_limited()));
    }
}
