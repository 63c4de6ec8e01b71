//! Finds the code that replaces a decoy, and the decoy that replaces a code. A decoy is spent once; as long as its code
//! is valid, the request may be repeated with the same code: pages send what was typed more than once, and browsers try
//! again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::BytesMut;
use futures::{FutureExt as _, future::BoxFuture};
use http::{HeaderMap, HeaderValue};
use tokio::{sync::OnceCell, time::Instant};
use zeroize::Zeroizing;

use super::{
    json::as_number,
    window::{Found, Ready},
};
use crate::{
    domain::{
        ids::SecretId,
        origin::Origin,
        principal::Principal,
        time::Timestamp,
        totp::{Code, Step},
    },
    operations::{Decoy, GuardedOrigins, ListDecoys, Operation, Refusal, Service, SpendDecoy},
};

/// How long the guard uses the origins that it read. Reading them opens the sealed metadata of every secret, which
/// would add a tenth of a second to each connection with 10,000 of them.
const ORIGINS_KEPT: Duration = Duration::from_secs(2);
/// The periods after the end of a code in which its decoy is still shown in its place.
const PERIODS_KEPT: u64 = 3;

/// The decoys that were spent by this process.
pub(super) struct Exchange {
    pub(super) service: Service,
    pub(super) caller: Principal,
    /// The origins that were read last, and when.
    bound: tokio::sync::Mutex<Option<(Instant, Bound)>>,
    /// Their number is limited: only decoys that work are spent, and a spent one is kept for [`PERIODS_KEPT`] after its
    /// code.
    spent: Mutex<HashMap<(SecretId, Step, usize), Spending>>,
}

/// Origins to which codes may go, each with the secret whose codes may go there.
type Bound = Arc<[(Origin, SecretId)]>;

/// A decoy that is spent, or is being spent by the first request that has it.
type Spending = Arc<OnceCell<Spent>>;

struct Spent {
    /// The origin that the code went to.
    origin: Origin,
    decoy: Zeroizing<String>,
    code: Code,
    /// When the code's step ends.
    until: Timestamp,
    /// Until when the entry is kept, and the decoy shown in the code's place.
    kept_until: Timestamp,
}

/// Replaces decoys or codes in one body or connection.
pub(super) struct Replacing {
    exchange: Arc<Exchange>,
    origin: Origin,
    way: Way,
}

enum Way {
    /// Replaces decoys by codes. The decoys that work are read when the first digits arrive that may be one.
    Out(Option<Vec<Decoy>>),
    /// Replaces codes by decoys.
    Back,
}

impl Exchange {
    pub(super) fn new(service: Service, caller: Principal) -> Self {
        Self { service, caller, bound: tokio::sync::Mutex::default(), spent: Mutex::default() }
    }

    /// Carries out an operation. Boxed: connections hold such futures many times over.
    pub(super) fn perform<'e, O: Operation + 'e>(&'e self, operation: O) -> BoxFuture<'e, Result<O::Output, Refusal>> {
        self.service.perform(&self.caller, operation).boxed()
    }

    /// Whether codes may go to an origin.
    pub(super) async fn is_bound(&self, origin: &Origin) -> Result<bool, Refusal> {
        Ok(self.bound().await?.iter().any(|(known, _)| known.covers(origin)))
    }

    async fn bound(&self) -> Result<Bound, Refusal> {
        let mut kept = self.bound.lock().await;
        if let Some((read_at, bound)) = &*kept
            && read_at.elapsed() < ORIGINS_KEPT
        {
            return Ok(Arc::clone(bound));
        }
        let bound = match (self.perform(GuardedOrigins).await, &*kept) {
            (Ok(read), _) => Bound::from(read),
            // Without the vault no code can be taken, but other hosts can be reached.
            (Err(refusal), Some((_, bound))) => {
                tracing::warn!(%refusal, "the origins can't be read; the guard goes on with those that it knows");
                Arc::clone(bound)
            }
            (Err(refusal), None) => return Err(refusal),
        };
        *kept = Some((Instant::now(), Arc::clone(&bound)));
        Ok(bound)
    }

    /// The decoys that work at an origin.
    async fn decoys(&self, origin: &Origin) -> Result<Vec<Decoy>, Refusal> {
        let bound = self.bound().await?;
        let there = bound.iter().filter(|(known, _)| known.covers(origin));
        let mut secrets: Vec<SecretId> = there.map(|(_, secret)| *secret).collect();
        secrets.sort();
        secrets.dedup();
        self.perform(ListDecoys { origin: origin.clone(), secrets }).await
    }

    /// The code that replaces a decoy. `None`: the digits are not a decoy, or its code is no longer valid.
    async fn code(
        &self,
        origin: &Origin,
        listed: &mut Option<Vec<Decoy>>,
        digits: &str,
    ) -> Result<Option<Zeroizing<String>>, Refusal> {
        let decoys = match listed {
            Some(decoys) => decoys,
            None => listed.insert(self.decoys(origin).await?),
        };
        let Some(decoy) = decoys.iter().find(|decoy| decoy.digits.digits() == digits) else { return Ok(None) };
        let cell = self.cell(decoy);
        let spent = match cell.get_or_try_init(|| self.spend(decoy, origin)).await {
            // It has expired since the decoys were read, or another guard has spent it.
            Err(Refusal::Invalid { field: "step", .. }) => return Ok(None),
            spent => spent?,
        };
        let works = spent.origin == *origin && self.service.now() < spent.until;
        Ok(works.then(|| Zeroizing::new(spent.code.digits().to_owned())))
    }

    async fn spend(&self, decoy: &Decoy, origin: &Origin) -> Result<Spent, Refusal> {
        let Decoy { secret: secret_id, step, nth, .. } = *decoy;
        let spend = SpendDecoy { secret_id, step, nth, origin: origin.clone() };
        let issued = self.perform(spend).await?;
        let end = |steps: u64| decoy.totp.start_of(Step(issued.step.0.saturating_add(1).saturating_add(steps)));
        let (until, kept_until) = (end(0), end(PERIODS_KEPT));
        let digits = Zeroizing::new(decoy.digits.digits().to_owned());
        Ok(Spent { origin: origin.clone(), decoy: digits, code: issued.code, until, kept_until })
    }

    fn cell(&self, decoy: &Decoy) -> Spending {
        let now = self.service.now();
        let mut all = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        // An empty cell is kept for the request that is spending its decoy.
        all.retain(|_, cell| cell.get().map_or(Arc::strong_count(cell) > 1, |spent| now < spent.kept_until));
        Arc::clone(all.entry((decoy.secret, decoy.step, decoy.nth)).or_default())
    }

    /// The decoy to show in the place of a code that was sent recently.
    fn decoy(&self, digits: &str) -> Option<Zeroizing<String>> {
        let now = self.service.now();
        let all = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut spent = all.values().filter_map(|cell| cell.get()).filter(|spent| now < spent.kept_until);
        let found = spent.find(|spent| spent.code.matches(digits))?;
        Some(found.decoy.clone())
    }

    fn has_spent(&self) -> bool {
        !self.spent.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl Replacing {
    /// Replaces decoys by codes, on the way to an origin.
    pub(super) fn out(exchange: Arc<Exchange>, origin: Origin) -> Self {
        Self { exchange, origin, way: Way::Out(None) }
    }

    /// Replaces codes by decoys, on the way back.
    pub(super) fn back(exchange: Arc<Exchange>, origin: Origin) -> Self {
        Self { exchange, origin, way: Way::Back }
    }

    /// Whether there is nothing to replace now, whatever arrives.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.way, Way::Back) && !self.exchange.has_spent()
    }

    /// Has the decoys that work read anew, before the next message of a lasting connection.
    pub(super) fn renew(&mut self) {
        if let Way::Out(listed) = &mut self.way {
            *listed = None;
        }
    }

    /// Replaces the digits that were found.
    ///
    /// # Errors
    /// There is no code for a decoy.
    pub(super) async fn replaced(&mut self, ready: Ready) -> Result<BytesMut, Refusal> {
        let Ready { mut bytes, found } = ready;
        for Found { place, is_number } in found {
            let Some(digits) = bytes.get_mut(place) else { continue };
            let Ok(text) = str::from_utf8(digits) else { continue };
            let other = match &mut self.way {
                Way::Out(listed) => self.exchange.code(&self.origin, listed, text).await?,
                Way::Back => self.exchange.decoy(text),
            };
            if let Some(other) = other.filter(|other| other.len() == digits.len()) {
                digits.copy_from_slice(other.as_bytes());
                if is_number {
                    as_number(digits);
                }
            }
        }
        Ok(bytes)
    }

    /// Replaces digits in the values of headers or trailers.
    pub(super) async fn in_fields(&mut self, fields: &mut HeaderMap) {
        if self.is_idle() {
            return;
        }
        for value in fields.values_mut() {
            let shown = self.in_text(value.as_bytes()).await;
            if let Some(shown) = shown.and_then(|shown| HeaderValue::from_bytes(&shown).ok()) {
                *value = shown;
            }
        }
    }

    /// Replaces digits in a complete text, such as a header.
    pub(super) async fn in_text(&mut self, text: &[u8]) -> Option<BytesMut> {
        let ready = super::window::Window::default().take(bytes::Bytes::copy_from_slice(text), true);
        if ready.found.is_empty() { None } else { self.replaced(ready).await.ok() }
    }
}
