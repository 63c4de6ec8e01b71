//! Which time step a caller gets. The rules of fresh and single-use codes, as pure functions of what is marked.
//!
//! Three promises, whatever the clock does and however many processes share the vault: a step that was reserved for one
//! caller is never handed to another; a step that a plain call has seen is never reserved later; and without single-use
//! calls nothing here ever refuses, as in the mirrored API. Never: a clock, a store.

use std::time::Duration;

use super::{
    ids::ReservationId,
    time::Timestamp,
    totp::{Step, TotpParameters},
};

/// What is marked of one secret's steps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StepMarks {
    /// The highest step that a plain call has been given.
    pub given: Option<Step>,
    /// The highest step that a single-use call has been shown.
    pub taken: Option<Step>,
    /// Steps that callers wait for and have not been shown, in rising order.
    pub waiting: Vec<Reservation>,
}

/// A caller's hold on a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    /// The step.
    pub step: Step,
    /// Who holds it.
    pub id: ReservationId,
}

/// What a caller asks of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CodeWish {
    /// Seconds that must be left of it; at most the period.
    pub min_validity: u32,
    /// It must go to no other caller.
    pub single_use: bool,
    /// How long the caller will wait.
    pub max_wait: Duration,
}

/// What a caller gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// This step's code, now.
    Now(Step),
    /// This step's code, once it begins.
    Later {
        /// The step.
        step: Step,
        /// When it begins.
        from: Timestamp,
    },
    /// No unused step within the time the caller would wait. Nothing was marked.
    Busy {
        /// When one is free.
        free_at: Timestamp,
    },
}

impl StepMarks {
    /// The highest step that is reserved, shown or not.
    fn reserved(&self) -> Option<Step> {
        self.taken.max(self.waiting.last().map(|reservation| reservation.step))
    }

    /// A plain call: the first step that is fresh enough and that no single-use call holds. Marks it given only if it is
    /// the current one, since a later one has still to be asked for when it begins.
    pub fn plain(&mut self, totp: &TotpParameters, now: Timestamp, wish: CodeWish) -> Turn {
        let step = fresh_step(totp, now, wish.min_validity);
        let repeat = self.given == Some(step);
        match self.reserved() {
            Some(reserved) if step <= reserved && !repeat => {
                Turn::Busy { free_at: totp.start_of(Step(reserved.0.saturating_add(1))) }
            }
            _ => {
                let turn = turn(totp, now, step, wish.max_wait);
                if turn == Turn::Now(step) {
                    self.given = self.given.max(Some(step));
                }
                turn
            }
        }
    }

    /// A single-use call: reserves the next step that nobody has seen, and says when it begins.
    pub fn single_use(&mut self, totp: &TotpParameters, now: Timestamp, wish: CodeWish, id: ReservationId) -> Turn {
        let unseen = self.given.max(self.reserved()).map_or(0, |seen| seen.0.saturating_add(1));
        let step = fresh_step(totp, now, wish.min_validity).max(Step(unseen));
        let turn = turn(totp, now, step, wish.max_wait);
        match turn {
            Turn::Now(step) => self.taken = self.taken.max(Some(step)),
            Turn::Later { step, .. } => self.waiting.push(Reservation { step, id }),
            Turn::Busy { .. } => {}
        }
        turn
    }

    /// The step's time has come: from here on it can't be given back. `false` if the reservation is no longer there.
    pub fn show(&mut self, reservation: Reservation) -> bool {
        let Some(at) = self.waiting.iter().position(|held| *held == reservation) else { return false };
        self.waiting.remove(at);
        self.taken = self.taken.max(Some(reservation.step));
        true
    }

    /// A waiter gave up: its step is free again if nobody has taken a later one, else it stays unused for ever. Only the
    /// reservation's holder can do it, and not once the code was shown. `true` if the step is free again.
    pub fn give_back(&mut self, reservation: Reservation) -> bool {
        let last = self.waiting.last() == Some(&reservation) && self.taken < Some(reservation.step);
        if last {
            self.waiting.pop();
        }
        last
    }

    /// Forgets reservations whose step has passed unshown: their holders are gone. They stay taken.
    pub fn settle(&mut self, current: Step) {
        while let Some(first) = self.waiting.first().copied().filter(|held| held.step < current) {
            self.waiting.remove(0);
            self.taken = self.taken.max(Some(first.step));
        }
    }

    /// A person says that the clock had run ahead: steps from the next one on are free again.
    pub fn reset(&mut self, current: Step) {
        let given = self.given.max(self.reserved()).map(|_| current);
        *self = Self { given: None, taken: given, waiting: Vec::new() };
    }
}

/// The first step with enough time left, from `now` on.
fn fresh_step(totp: &TotpParameters, now: Timestamp, min_validity: u32) -> Step {
    let current = totp.step_at(now);
    let next = Step(current.0.saturating_add(1));
    let left = now.until(totp.start_of(next));
    if left >= Duration::from_secs(u64::from(min_validity)) { current } else { next }
}

fn turn(totp: &TotpParameters, now: Timestamp, step: Step, max_wait: Duration) -> Turn {
    let from = totp.start_of(step);
    if step <= totp.step_at(now) {
        Turn::Now(step)
    } else if now.until(from) <= max_wait {
        Turn::Later { step, from }
    } else {
        Turn::Busy { free_at: from }
    }
}
