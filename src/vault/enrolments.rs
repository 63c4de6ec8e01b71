//! Reads enrolments and the PINs of seats, and makes what is derived from them: the token of a link, words, a PIN's hash.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, Zeroizing};

use super::{CHUNK, Listed, Mac, Page, Vault, Versioned};
use crate::{
    domain::{
        enrolment::Enrolment,
        ids::{AccountId, EnrolmentId, SeatId},
        seat_pin::{PinCost, SeatPin},
    },
    store::{Kind, List, StoreError},
};

/// A value that is derived from an enrolment's id with the vault's key. The store holds none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Derived {
    /// The secret half of the link's token.
    Token,
    /// The two words that page and chat show.
    Words,
    /// The phrase that a terminal shows to its person.
    Phrase,
    /// The ticket that a page gives to a person who proved their identity, to be sent back with each form.
    Ticket,
    /// The value that an identity provider sends back with its answer, so that only the browser that made the request
    /// takes it.
    SignInState,
    /// The nonce that an identity provider writes into the token of a sign-in.
    SignInNonce,
    /// The secret half of the state that an MCP client sends back when it calls again.
    RequestState,
    /// The verifier that redeems the code of a sign-in, and that only this server has (PKCE).
    SignInVerifier,
}

impl Derived {
    const fn purpose(self) -> &'static str {
        match self {
            Self::Token => "enrolment-token",
            Self::Words => "enrolment-words",
            Self::Phrase => "enrolment-phrase",
            Self::Ticket => "enrolment-ticket",
            Self::SignInState => "enrolment-sign-in-state",
            Self::SignInNonce => "enrolment-sign-in-nonce",
            Self::RequestState => "enrolment-request-state",
            Self::SignInVerifier => "enrolment-sign-in-verifier",
        }
    }
}

/// The memory in which PINs are hashed, one after the other. It is kept, because an allocator keeps more of what is freed on
/// several threads; between two hashes it holds nothing.
#[derive(Default)]
pub struct PinMemory(Vec<Block>);

impl PinMemory {
    /// The slow hash of a PIN. `None`: the machine has no memory for it.
    fn hash(&mut self, pin: &str, salt: &[u8; 16], cost: PinCost) -> Option<Zeroizing<[u8; 32]>> {
        let mut slow = Zeroizing::new([0; 32]);
        let params = Params::new(cost.memory_kib(), cost.passes(), 1, Some(slow.len())).ok()?;
        let blocks = params.block_count();
        self.0.try_reserve_exact(blocks.saturating_sub(self.0.len())).ok()?;
        self.0.resize_with(blocks, Block::default);
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hashed = argon2.hash_password_into_with_memory(pin.as_bytes(), salt, slow.as_mut_slice(), &mut self.0);
        // From the memory, PINs could be tried without the cost of a hash.
        self.0.iter_mut().for_each(Block::zeroize);
        hashed.ok().map(|()| slow)
    }
}

impl Vault {
    /// One enrolment.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn enrolment(&self, id: EnrolmentId) -> Result<Option<Versioned<Enrolment>>, StoreError> {
        self.one(id.as_bytes().as_slice()).await
    }

    /// The enrolments of an account, by the end of their time.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn enrolments(&self, account: AccountId) -> Result<Listed<Versioned<Enrolment>>, StoreError> {
        self.listed(List::of(Kind::Enrolment, Some(account), CHUNK), Page::ALL).await
    }

    /// The PIN of a seat.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn seat_pin(&self, seat: SeatId) -> Result<Option<Versioned<SeatPin>>, StoreError> {
        self.one(seat.as_bytes().as_slice()).await
    }

    /// A value that is derived from an enrolment's id. Nothing can be known of it without the vault's key.
    pub fn derived(&self, what: Derived, id: EnrolmentId) -> Mac {
        self.fingerprint(what.purpose(), &[id.as_bytes()])
    }

    /// Like [`Self::derived`], for one of several sign-ins for an enrolment, or for one PIN, by its random bytes.
    pub fn derived_for(&self, what: Derived, id: EnrolmentId, of: &[u8; 16]) -> Mac {
        self.fingerprint(what.purpose(), &[id.as_bytes(), of])
    }

    /// The hash of a PIN. It takes tens of milliseconds, so don't call it on a thread that serves others. `None`: the
    /// machine has no memory for it.
    pub fn pin_hash(
        &self,
        memory: &mut PinMemory,
        seat: SeatId,
        pin: &str,
        (salt, cost): (&[u8; 16], PinCost),
    ) -> Option<Mac> {
        let slow = memory.hash(pin, salt, cost)?;
        // Few PINs exist: without a key, an attacker who has the store could try all of them.
        Some(self.fingerprint("seat-pin", &[seat.as_bytes(), slow.as_slice()]))
    }

    /// Whether a PIN is the seat's. As slow as [`Self::pin_hash`].
    pub fn is_pin(&self, memory: &mut PinMemory, kept: &SeatPin, pin: &str) -> Option<bool> {
        let hash = self.pin_hash(memory, kept.seat, pin, (&kept.salt, kept.cost))?;
        Some(hash.ct_eq(&kept.hash).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_was_used_before_changes_no_hash_and_is_wiped() {
        let mut memory = PinMemory::default();
        for (pin, (kib, passes)) in [("492039", (64, 2)), ("771204", (32, 1)), ("492039", (128, 1))] {
            let cost = PinCost::new(kib, passes).unwrap();
            let mut alone = [0; 32];
            let argon2 =
                Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(kib, passes, 1, Some(32)).unwrap());
            argon2.hash_password_into(pin.as_bytes(), &[7; 16], &mut alone).unwrap();
            assert_eq!(*memory.hash(pin, &[7; 16], cost).unwrap(), alone, "{pin} {kib}");
            assert_eq!(memory.0.len(), kib as usize);
            assert!(memory.0.iter().all(|block| block.as_ref().iter().all(|word| *word == 0)));
        }
    }
}
