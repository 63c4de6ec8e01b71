//! Decides on a call for a code: from a secret's stored use state to an answer and a new state. The decision is pure,
//! so the caller can repeat it if the state changed before the new one was committed.

use std::time::Duration;

use super::{
    api_key::KeyId,
    hourly::HourlyCount,
    ids::{ReservationId, SeatId},
    limits::WAIT_SECONDS_MAX,
    secret::{CodeTerms, SecretUse},
    steps::{CodeWish, Reservation, StepMarks, Turn},
    time::Timestamp,
    totp::{Step, TotpParameters},
    verification::VerifyMarks,
};

/// The stored use state of one secret: numbers of steps, never codes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UseState {
    /// Which steps were handed out and reserved.
    pub steps: StepMarks,
    /// Which steps were accepted, and the delay after wrong tries.
    pub verify: VerifyMarks,
    /// When a new code was last handed out.
    pub last_used_at: Option<Timestamp>,
    /// The decoys that were handed out and may still work, in the order of their steps.
    pub decoys: Vec<HandedDecoy>,
}

/// A decoy that was handed out. Those of one step differ by their order alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandedDecoy {
    /// The step in which it was made.
    pub step: Step,
    /// The key of the caller that got it.
    pub key: Option<KeyId>,
    /// The seat for which it was handed out.
    pub seat: Option<SeatId>,
    /// Whether a code was taken in its place.
    pub is_spent: bool,
}

/// The holder whose codes are counted per secret over the last hour: a key or a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A key.
    Key(KeyId),
    /// A seat.
    Seat(SeatId),
}

/// The stage of a call when the decision is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The first attempt.
    Asks,
    /// It waited for a fresh step, which begins now.
    Waited(Step),
    /// It waited for the step that it reserved, which begins now.
    Holds(Reservation),
}

/// A call's request for a code.
#[derive(Debug, Clone, Copy)]
pub struct CodeAsk<'a> {
    /// Freshness, single use, and how long the caller is willing to wait.
    pub wish: CodeWish,
    /// Whether the caller itself set how long to wait.
    pub patient: bool,
    /// Whether the code is typed into a page. Then it goes to no other caller, and until it is typed its step stays
    /// reserved and can be given back.
    pub typed: bool,
    /// Whether the caller sees no digit, because the code goes to an origin of the secret.
    pub hidden: bool,
    /// The stage of the call.
    pub stage: Stage,
    /// The id for the reservation, if one is made.
    pub reservation: ReservationId,
    /// The codes counted in the last hour for each holder, with its limit.
    pub limits: &'a [(HourlyCount, u32)],
    /// The current time.
    pub now: Timestamp,
}

/// The decision. A new state must be committed before the answer is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodeAnswer {
    /// This step's code, now.
    Give {
        /// The step.
        step: Step,
        /// The state to commit; `None`: the code was handed out before, and nothing changes.
        state: Option<UseState>,
    },
    /// A step is reserved for the caller, who gets its code once it begins.
    Reserved {
        /// The caller's hold on it.
        reservation: Reservation,
        /// When it begins.
        from: Timestamp,
        /// The state to commit; `None`: the step was reserved before.
        state: Option<UseState>,
    },
    /// A fresh code comes with this step; nothing is committed.
    Wait {
        /// The step.
        step: Step,
        /// When it begins.
        from: Timestamp,
    },
    /// The reserved step has passed, or its reservation is gone: decide again from the start.
    Missed,
    /// No code is free within the time that the caller waits.
    Busy {
        /// The reason.
        reason: &'static str,
        /// When a code is free.
        free_at: Timestamp,
    },
    /// A holder has reached its hourly limit.
    LimitReached {
        /// When the next one may be given.
        free_at: Timestamp,
    },
    /// The call requests more validity than a code of this secret ever has.
    TooFresh {
        /// The secret's period in seconds.
        period: u32,
    },
    /// The secret's codes may only be typed into pages.
    FillOnly,
}

impl UseState {
    /// Marks all steps up to a moment as used, because it is unknown which codes were handed out until then.
    pub fn close_until(&mut self, totp: &TotpParameters, moment: Timestamp) {
        let last = Some(totp.step_at(moment));
        self.steps.taken = self.steps.taken.max(last);
        // A step that plain calls were given is not shown again either.
        self.steps.given = self.steps.given.filter(|given| Some(*given) > last);
        self.verify.accepted = self.verify.accepted.max(last);
    }

    /// Decides on a call for a code.
    pub fn decide(&self, terms: &CodeTerms, ask: &CodeAsk<'_>) -> CodeAnswer {
        let CodeTerms { totp, usage } = terms;
        if *usage == SecretUse::FillOnly && !ask.typed && !ask.hidden {
            return CodeAnswer::FillOnly;
        }
        if ask.wish.min_validity > totp.period.seconds() {
            return CodeAnswer::TooFresh { period: totp.period.seconds() };
        }
        if let Some(free_at) = ask.limits.iter().filter_map(|(given, most)| given.full_until(*most)).max() {
            return CodeAnswer::LimitReached { free_at };
        }
        let wish = CodeWish { single_use: ask.typed || ask.wish.single_use || usage.single_use(), ..ask.wish };
        let current = totp.step_at(ask.now);
        let mut state = self.clone();
        state.steps.drop_lapsed(current);
        let Some(turn) = state.turn(*totp, ask, wish, current) else { return CodeAnswer::Missed };
        let marked = state.steps != self.steps;
        match turn {
            Turn::Now(step) => {
                if marked {
                    state.last_used_at = Some(ask.now);
                }
                CodeAnswer::Give { step, state: marked.then_some(state) }
            }
            Turn::Later { step, from } if wish.single_use => {
                let reservation = match ask.stage {
                    Stage::Holds(held) => held,
                    Stage::Asks | Stage::Waited(_) => Reservation { step, id: ask.reservation },
                };
                CodeAnswer::Reserved { reservation, from, state: marked.then_some(state) }
            }
            Turn::Later { step, from } => CodeAnswer::Wait { step, from },
            Turn::Busy { free_at } => CodeAnswer::Busy { reason: why_busy(*totp, wish, ask.now, free_at), free_at },
        }
    }

    /// The step that the call gets and when; `None` if the reserved step has passed.
    fn turn(&mut self, totp: TotpParameters, ask: &CodeAsk<'_>, wish: CodeWish, current: Step) -> Option<Turn> {
        match ask.stage {
            Stage::Holds(held) if held.step > current => {
                Some(Turn::Later { step: held.step, from: totp.start_of(held.step) })
            }
            Stage::Holds(held) => (held.step == current && self.steps.show(held)).then_some(Turn::Now(held.step)),
            Stage::Asks | Stage::Waited(_) if ask.typed => {
                Some(self.steps.reserve(&totp, ask.now, wish, ask.reservation))
            }
            Stage::Asks | Stage::Waited(_) if wish.single_use => {
                Some(self.steps.single_use(&totp, ask.now, wish, ask.reservation))
            }
            // A step that was waited for counts as fresh, although a few milliseconds of it have passed.
            Stage::Waited(step) if step == current => {
                Some(self.steps.plain(&totp, ask.now, CodeWish { min_validity: 0, ..wish }))
            }
            // A plain call that sets neither a wait nor a minimum validity never waits, as in the mirrored API.
            Stage::Asks if !ask.patient && wish.min_validity == 0 => {
                Some(self.steps.plain(&totp, ask.now, CodeWish { max_wait: Duration::ZERO, ..wish }))
            }
            Stage::Asks | Stage::Waited(_) => Some(self.steps.plain(&totp, ask.now, wish)),
        }
    }
}

/// The reason why no code is free. Waiting callers reserve steps no further ahead than the longest wait; a mark beyond
/// that means that a clock ran ahead.
fn why_busy(totp: TotpParameters, wish: CodeWish, now: Timestamp, free_at: Timestamp) -> &'static str {
    let left = now.until(totp.start_of(Step(totp.step_at(now).0.saturating_add(1))));
    let longest = Duration::from_secs(u64::from(WAIT_SECONDS_MAX) + u64::from(totp.period.seconds()));
    if now.until(free_at) > longest {
        "every step until then is marked as used, which happens when the clock ran ahead; a person can look at it and run \
         `countersign secret reset-steps ID`"
    } else if wish.single_use {
        "no unused code within `max_wait`"
    } else if left < Duration::from_secs(u64::from(wish.min_validity)) {
        "the current code has less than `min_validity` left, and no other comes within `max_wait`"
    } else {
        "the current code is reserved for another caller"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(3000);
    const TERMS: SecretUse = SecretUse::Plain;

    fn ask(single_use: bool) -> CodeAsk<'static> {
        CodeAsk {
            wish: CodeWish { min_validity: 0, single_use, max_wait: Duration::from_secs(45) },
            patient: true,
            typed: false,
            hidden: false,
            stage: Stage::Asks,
            reservation: ReservationId::new(uuid::Uuid::from_u128(1)),
            limits: &[],
            now: NOW,
        }
    }

    fn terms(usage: SecretUse) -> CodeTerms {
        CodeTerms { totp: TotpParameters::default(), usage }
    }

    #[test]
    fn a_code_is_given_with_its_mark_and_again_without_one() {
        let state = UseState::default();
        let CodeAnswer::Give { step, state: Some(kept) } = state.decide(&terms(TERMS), &ask(false)) else { panic!() };
        assert_eq!((step, kept.last_used_at), (Step(100), Some(NOW)));
        assert_eq!(kept.decide(&terms(TERMS), &ask(false)), CodeAnswer::Give { step, state: None });
    }

    #[test]
    fn a_decision_made_twice_is_the_same() {
        let state = UseState::default();
        for single_use in [false, true] {
            assert_eq!(state.decide(&terms(TERMS), &ask(single_use)), state.decide(&terms(TERMS), &ask(single_use)));
        }
    }

    #[test]
    fn a_secret_that_is_single_use_gives_no_step_twice() {
        let mut state = UseState::default();
        let usage = SecretUse::SingleUse;
        let CodeAnswer::Give { state: Some(kept), .. } = state.decide(&terms(usage), &ask(false)) else { panic!() };
        state = kept;
        let CodeAnswer::Reserved { reservation, from, state: Some(kept) } = state.decide(&terms(usage), &ask(false))
        else {
            panic!()
        };
        assert_eq!((reservation.step, from), (Step(101), Timestamp::from_seconds(3030)));
        let holding = CodeAsk { stage: Stage::Holds(reservation), now: from, ..ask(false) };
        let CodeAnswer::Give { step, state: Some(shown) } = kept.decide(&terms(usage), &holding) else { panic!() };
        assert_eq!(step, Step(101));
        assert_eq!(shown.decide(&terms(usage), &holding), CodeAnswer::Missed);
    }

    #[test]
    fn a_limit_too_much_freshness_and_a_secret_for_pages_alone_are_refused() {
        let limits = [(HourlyCount::of(vec![(50, 2)]), 2)];
        let limited = CodeAsk { limits: &limits, ..ask(false) };
        let state = UseState::default();
        let free_at = Timestamp::from_seconds(111 * 60);
        assert_eq!(state.decide(&terms(TERMS), &limited), CodeAnswer::LimitReached { free_at });
        let wish = CodeWish { min_validity: 31, ..ask(false).wish };
        assert_eq!(state.decide(&terms(TERMS), &CodeAsk { wish, ..ask(false) }), CodeAnswer::TooFresh { period: 30 });
        assert_eq!(state.decide(&terms(SecretUse::FillOnly), &ask(false)), CodeAnswer::FillOnly);
        let hidden = CodeAsk { hidden: true, ..ask(true) };
        assert!(matches!(state.decide(&terms(SecretUse::FillOnly), &hidden), CodeAnswer::Give { .. }));
    }

    #[test]
    fn a_step_whose_code_is_typed_stays_reserved_until_then_and_can_be_given_back() {
        let typed = CodeAsk { typed: true, ..ask(false) };
        for usage in [SecretUse::Plain, SecretUse::SingleUse, SecretUse::FillOnly] {
            let terms = terms(usage);
            let CodeAnswer::Reserved { reservation, from, state: Some(held) } =
                UseState::default().decide(&terms, &typed)
            else {
                panic!("{usage:?}")
            };
            assert_eq!((reservation.step, from), (Step(100), NOW), "the current step, at once");
            assert!(!matches!(held.decide(&terms, &ask(false)), CodeAnswer::Give { .. }), "nobody else gets it");
            let mut back = held.clone();
            assert!(back.steps.give_back(reservation));
            assert_eq!(back.steps, StepMarks::default());

            let holding = CodeAsk { stage: Stage::Holds(reservation), ..typed };
            let CodeAnswer::Give { step, state: Some(mut shown) } = held.decide(&terms, &holding) else { panic!() };
            assert_eq!((step, shown.steps.taken), (Step(100), Some(Step(100))));
            assert!(!shown.steps.give_back(reservation), "it was typed");
        }
    }

    #[test]
    fn steps_up_to_a_floor_are_given_and_accepted_no_more() {
        let mut state = UseState::default();
        state.close_until(&TotpParameters::default(), NOW);
        let CodeAnswer::Wait { step, .. } = state.decide(&terms(TERMS), &ask(false)) else { panic!() };
        assert_eq!(step, Step(101));
        assert!(!state.verify.is_unused(Step(100)) && state.verify.is_unused(Step(101)));

        let later = UseState { steps: StepMarks { taken: Some(Step(200)), ..StepMarks::default() }, ..state.clone() };
        let mut closed = later.clone();
        closed.close_until(&TotpParameters::default(), NOW);
        assert_eq!(closed, later, "a floor takes nothing back");
    }

    #[test]
    fn a_code_that_was_read_before_a_floor_is_not_read_again_after_it() {
        let mut state = UseState::default();
        let CodeAnswer::Give { step, state: Some(read) } = state.decide(&terms(TERMS), &ask(false)) else { panic!() };
        assert_eq!(read.steps.given, Some(step));
        state = read;
        assert!(matches!(state.decide(&terms(TERMS), &ask(false)), CodeAnswer::Give { .. }));
        state.close_until(&TotpParameters::default(), NOW);
        let CodeAnswer::Wait { step: next, .. } = state.decide(&terms(TERMS), &ask(false)) else { panic!() };
        assert_eq!(next, Step(step.0 + 1));
    }

    #[test]
    fn a_floor_holds_although_a_clock_that_ran_ahead_has_marked_later_steps() {
        let steps = StepMarks { given: Some(Step(200)), ..StepMarks::default() };
        let mut state = UseState { steps, ..UseState::default() };
        state.close_until(&TotpParameters::default(), NOW);
        assert_eq!(state.steps.taken, Some(Step(100)));
        let CodeAnswer::Wait { step, .. } = state.decide(&terms(TERMS), &ask(false)) else { panic!() };
        assert_eq!(step, Step(101));
    }
}
