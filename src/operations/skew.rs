//! Compares the clock of this machine with that of the server that the vault is on. Codes are made by the machine's own
//! clock: if it is far off, they are wrong, and a code that a person typed is judged wrongly.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use super::{Refusal, Service};
use crate::vault::{Circumstance, ServerClock};

/// Microseconds by which the two clocks may differ.
const APART_MAX: i64 = 1_000_000;
/// The difference in microseconds from which codes are neither made nor checked.
const REFUSED: i64 = 5_000_000;

/// Whether the two clocks are compared, and the result that was last logged.
#[derive(Default)]
pub(super) struct Skew {
    is_watched: AtomicBool,
    /// The difference that was last logged: 0 is within [`APART_MAX`], 1 is above [`APART_MAX`], 2 is [`REFUSED`] or more.
    last_level: AtomicU8,
}

impl Service {
    /// Compares this machine's clock with that of the vault's server from now on, if it is on one. Call it once, before
    /// serving any caller.
    pub fn watch_clock(&self) {
        self.shared.skew.is_watched.store(true, Ordering::Relaxed);
    }

    /// Microseconds by which this machine's clock is ahead of the server's, negative if it is behind; `None` if there is no
    /// server, or if it has not been read yet.
    pub(super) fn clock_ahead(&self) -> Option<i64> {
        self.vault().clock().map(|clock| clock.ahead(self.now()))
    }

    /// Refuses to make or check codes by a clock that is far from the server's.
    ///
    /// # Errors
    /// [`Refusal::ClockApart`].
    pub(super) fn check_skew(&self) -> Result<(), Refusal> {
        if !self.shared.skew.is_watched.load(Ordering::Relaxed) {
            return Ok(());
        }
        let ahead = self.clock_ahead().unwrap_or_default();
        let apart = ahead.saturating_abs();
        let level = u8::from(apart > APART_MAX) + u8::from(apart >= REFUSED);
        if self.shared.skew.last_level.swap(level, Ordering::Relaxed) != level {
            let side = if ahead < 0 { "behind" } else { "ahead of" };
            match level {
                0 => tracing::info!("the clock of this machine agrees with the server's again"),
                1 => tracing::warn!("the clock of this machine is {} ms {side} the server's", apart / 1000),
                _ => tracing::error!(
                    "the clock of this machine is {} s {side} the server's: codes are neither made nor checked",
                    apart / 1_000_000
                ),
            }
        }
        if apart < REFUSED {
            return Ok(());
        }
        Err(Refusal::ClockApart { seconds: apart.unsigned_abs() / 1_000_000, ahead: ahead > 0 })
    }

    /// The doctor's report on the clock.
    pub(super) fn clock_circumstance(&self, clock: &ServerClock) -> Circumstance {
        let ahead = clock.ahead(self.now());
        let apart = ahead.saturating_abs();
        let side = if ahead > 0 { "behind" } else { "ahead of" };
        let found = if apart < 1000 {
            "agrees with this machine's".to_owned()
        } else {
            format!("is {} ms {side} this machine's", apart / 1000)
        };
        let concern = (apart > APART_MAX).then_some(
            "codes are made by each machine's own clock, so one of the two is wrong; have both follow a time server (NTP)",
        );
        Circumstance { name: "clock", found, concern }
    }
}
