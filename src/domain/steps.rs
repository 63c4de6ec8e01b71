//! Decides which time step a caller gets: the rules of fresh and single-use codes, as pure functions of the stored
//! marks.
//!
//! Three guarantees, whatever the clock does and however many processes share the vault: a step that was shown to a
//! single-use caller is never shown to another; a step that a plain call has seen is never reserved later; and without
//! single-use calls a plain call always gets the current step at once, as in the mirrored API. Only the highest steps
//! are stored: every step below a mark counts as used. Never here: a clock, a store.

use std::time::Duration;

use uuid::Uuid;

use super::{
    ids::ReservationId,
    time::Timestamp,
    totp::{Step, TotpParameters},
};

/// The marks of one secret's steps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StepMarks {
    /// The highest step that a plain call has been given.
    pub given: Option<Step>,
    /// The highest step that a single-use call has been shown, or may have been because its holder disappeared.
    pub taken: Option<Step>,
    /// Reserved steps whose code has not been shown, in rising order: at most as many as fit into the longest wait.
    pub waiting: Vec<Reservation>,
}

/// The holder of a step that was given back while callers waited for later ones.
const NOBODY: ReservationId = ReservationId::new(Uuid::nil());

/// A caller's reservation of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    /// The step.
    pub step: Step,
    /// The reservation's id.
    pub id: ReservationId,
}

/// A caller's requirements for a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CodeWish {
    /// Seconds for which the code must still be valid; at most the period.
    pub min_validity: u32,
    /// Whether the code must go to no other caller.
    pub single_use: bool,
    /// How long the caller will wait.
    pub max_wait: Duration,
}

/// The result for a caller: a step now, a step later, or none in time.
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
    /// No unused step within the time the caller would wait. No mark changed.
    Busy {
        /// When a step is free.
        free_at: Timestamp,
    },
}

impl StepMarks {
    /// The highest step that is reserved, shown or not.
    fn reserved(&self) -> Option<Step> {
        self.taken.max(self.waiting.last().map(|reservation| reservation.step))
    }

    /// A plain call: finds the first step that is fresh enough and that no single-use call holds. Marks it given only
    /// if it is the current one; for a later one the call comes back when it begins.
    pub fn plain(&mut self, totp: &TotpParameters, now: Timestamp, wish: CodeWish) -> Turn {
        let fresh = fresh_step(*totp, now, wish.min_validity);
        // A step that plain calls have seen may be shown to them again, even if later steps are reserved by now.
        let step = if self.given == Some(fresh) { fresh } else { fresh.max(after(self.reserved())) };
        let turn = turn(*totp, now, step, wish.max_wait);
        if turn == Turn::Now(step) {
            self.given = self.given.max(Some(step));
        }
        turn
    }

    /// A single-use call: reserves the next step that no caller has seen.
    pub fn single_use(&mut self, totp: &TotpParameters, now: Timestamp, wish: CodeWish, id: ReservationId) -> Turn {
        let step = fresh_step(*totp, now, wish.min_validity).max(after(self.given.max(self.reserved())));
        let turn = turn(*totp, now, step, wish.max_wait);
        match turn {
            Turn::Now(step) => self.taken = self.taken.max(Some(step)),
            Turn::Later { step, .. } => self.waiting.push(Reservation { step, id }),
            Turn::Busy { .. } => {}
        }
        turn
    }

    /// A call whose code is typed into a page: reserves the next step that no caller has seen, also the current one, so
    /// that it can be given back if nothing is typed.
    pub fn reserve(&mut self, totp: &TotpParameters, now: Timestamp, wish: CodeWish, id: ReservationId) -> Turn {
        let step = fresh_step(*totp, now, wish.min_validity).max(after(self.given.max(self.reserved())));
        let turn = turn(*totp, now, step, wish.max_wait);
        if !matches!(turn, Turn::Busy { .. }) {
            self.waiting.push(Reservation { step, id });
        }
        match turn {
            Turn::Now(step) => Turn::Later { step, from: totp.start_of(step) },
            Turn::Later { .. } | Turn::Busy { .. } => turn,
        }
    }

    /// Marks a reserved step as taken, once it has begun; from then on it can't be given back. `false` if the
    /// reservation is gone.
    pub fn show(&mut self, reservation: Reservation) -> bool {
        let Some(at) = self.waiting.iter().position(|held| *held == reservation) else { return false };
        self.waiting.remove(at);
        self.taken = self.taken.max(Some(reservation.step));
        true
    }

    /// Gives a waiter's step back. It is free again once no caller has taken or waits for a later one. Only the
    /// reservation's holder can do this, and only before the code was shown. `false` if there was nothing to give back.
    pub fn give_back(&mut self, reservation: Reservation) -> bool {
        if self.taken >= Some(reservation.step) {
            return false;
        }
        let Some(held) = self.waiting.iter_mut().find(|held| **held == reservation) else { return false };
        held.id = NOBODY;
        while self.waiting.pop_if(|last| last.id == NOBODY && self.taken < Some(last.step)).is_some() {}
        true
    }

    /// Drops reservations whose step has passed without being shown: their holders are gone. The steps stay taken.
    pub fn drop_lapsed(&mut self, current: Step) {
        while let Some(first) = self.waiting.first().copied().filter(|held| held.step < current) {
            self.waiting.remove(0);
            self.taken = self.taken.max(Some(first.step));
        }
    }

    /// Resets the marks after a person found that the clock had run ahead: steps after the current one are free again,
    /// and waiting calls must start over. Marks up to the current step stay.
    pub fn reset(&mut self, current: Step) {
        let taken = self.reserved().map(|step| step.min(current));
        // A future mark says nothing about the current step. If a single-use caller may have seen it, plain calls must
        // not.
        let given = self
            .given
            .filter(|step| *step <= current)
            .or(self.given.map(|_| current).filter(|_| taken < Some(current)));
        *self = Self { given, taken, waiting: Vec::new() };
    }
}

/// The first step after all that were seen.
fn after(seen: Option<Step>) -> Step {
    seen.map_or(Step(0), |step| Step(step.0.saturating_add(1)))
}

/// The first step from `now` on with enough time left.
fn fresh_step(totp: TotpParameters, now: Timestamp, min_validity: u32) -> Step {
    let current = totp.step_at(now);
    let next = Step(current.0.saturating_add(1));
    let left = now.until(totp.start_of(next));
    if left >= Duration::from_secs(u64::from(min_validity)) { current } else { next }
}

fn turn(totp: TotpParameters, now: Timestamp, step: Step, max_wait: Duration) -> Turn {
    let from = totp.start_of(step);
    if step <= totp.step_at(now) {
        Turn::Now(step)
    } else if now.until(from) <= max_wait {
        Turn::Later { step, from }
    } else {
        Turn::Busy { free_at: from }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    /// The step that the examples begin in; the period is 30 seconds.
    const NOW: u64 = 100;
    const WAIT: CodeWish = CodeWish { min_validity: 0, single_use: false, max_wait: Duration::from_secs(45) };
    const NO_WAIT: CodeWish = CodeWish { max_wait: Duration::ZERO, ..WAIT };

    fn totp() -> TotpParameters {
        TotpParameters::default()
    }

    /// The time `seconds` after the beginning of a step.
    fn at(step: u64, seconds: i64) -> Timestamp {
        Timestamp::from_seconds(totp().start_of(Step(step)).seconds() + seconds)
    }

    fn id(number: u128) -> ReservationId {
        ReservationId::new(Uuid::from_u128(number))
    }

    fn held(step: u64, number: u128) -> Reservation {
        Reservation { step: Step(step), id: id(number) }
    }

    fn now(step: u64) -> Turn {
        Turn::Now(Step(step))
    }

    fn later(step: u64) -> Turn {
        Turn::Later { step: Step(step), from: at(step, 0) }
    }

    fn busy_until(step: u64) -> Turn {
        Turn::Busy { free_at: at(step, 0) }
    }

    #[track_caller]
    fn plain(marks: &mut StepMarks, when: Timestamp, wish: CodeWish, expected: &Turn) {
        assert_eq!(marks.plain(&totp(), when, wish), *expected, "{marks:?}");
    }

    #[track_caller]
    fn single(marks: &mut StepMarks, when: Timestamp, wish: CodeWish, number: u128, expected: &Turn) {
        assert_eq!(marks.single_use(&totp(), when, wish, id(number)), *expected, "{marks:?}");
    }

    #[test]
    fn plain_calls_share_the_current_code() {
        let mut marks = StepMarks::default();
        for second in [0, 1, 29] {
            plain(&mut marks, at(NOW, second), NO_WAIT, &now(NOW));
        }
        plain(&mut marks, at(NOW + 1, 0), NO_WAIT, &now(NOW + 1));
        assert_eq!(marks, StepMarks { given: Some(Step(NOW + 1)), ..StepMarks::default() });
    }

    #[test]
    fn a_code_with_too_little_time_left_is_waited_for_and_marks_nothing() {
        let mut marks = StepMarks::default();
        let fresh = |min_validity| CodeWish { min_validity, ..WAIT };
        plain(&mut marks, at(NOW, 21), fresh(10), &later(NOW + 1));
        assert_eq!(marks, StepMarks::default());

        plain(&mut marks, at(NOW, 21), CodeWish { min_validity: 10, ..NO_WAIT }, &busy_until(NOW + 1));
        plain(&mut marks, at(NOW, 20), fresh(10), &now(NOW));
        plain(&mut marks, at(NOW + 1, 0), fresh(30), &now(NOW + 1));
    }

    #[test]
    fn a_wait_is_taken_at_its_limit_and_not_one_second_past_it() {
        let wish = |seconds| CodeWish { max_wait: Duration::from_secs(seconds), ..WAIT };
        let taken = StepMarks { taken: Some(Step(NOW)), ..StepMarks::default() };
        plain(&mut taken.clone(), at(NOW, 5), wish(25), &later(NOW + 1));
        plain(&mut taken.clone(), at(NOW, 5), wish(24), &busy_until(NOW + 1));
        single(&mut taken.clone(), at(NOW, 5), wish(25), 1, &later(NOW + 1));
        single(&mut taken.clone(), at(NOW, 5), wish(24), 1, &busy_until(NOW + 1));
    }

    #[test]
    fn single_use_callers_queue_for_a_step_each() {
        let mut marks = StepMarks::default();
        single(&mut marks, at(NOW, 3), WAIT, 1, &now(NOW));
        single(&mut marks, at(NOW, 3), WAIT, 2, &later(NOW + 1));
        let before = marks.clone();
        single(&mut marks, at(NOW, 3), WAIT, 3, &busy_until(NOW + 2));
        assert_eq!(marks, before, "a refusal marks nothing");
        assert_eq!(marks.waiting, [held(NOW + 1, 2)]);

        assert!(marks.show(held(NOW + 1, 2)));
        assert!(!marks.show(held(NOW + 1, 2)), "a reservation is shown once");
        assert_eq!(marks, StepMarks { taken: Some(Step(NOW + 1)), ..StepMarks::default() });
    }

    #[test]
    fn a_single_use_call_gets_no_step_that_a_plain_one_has_seen() {
        let mut marks = StepMarks::default();
        plain(&mut marks, at(NOW, 0), WAIT, &now(NOW));
        single(&mut marks, at(NOW, 1), WAIT, 1, &later(NOW + 1));
    }

    #[test]
    fn a_plain_call_waits_for_the_first_step_that_nobody_holds() {
        let mut marks = StepMarks::default();
        single(&mut marks, at(NOW, 0), WAIT, 1, &now(NOW));
        plain(&mut marks, at(NOW, 1), WAIT, &later(NOW + 1));
        single(&mut marks, at(NOW, 2), WAIT, 2, &later(NOW + 1));
        plain(&mut marks, at(NOW, 3), WAIT, &busy_until(NOW + 2));
        assert_eq!(marks.given, None);
    }

    #[test]
    fn a_plain_call_repeats_a_step_although_later_ones_are_reserved() {
        let mut marks = StepMarks::default();
        plain(&mut marks, at(NOW, 0), WAIT, &now(NOW));
        single(&mut marks, at(NOW, 1), WAIT, 1, &later(NOW + 1));
        plain(&mut marks, at(NOW, 2), NO_WAIT, &now(NOW));
    }

    #[test]
    fn a_reservation_is_given_back_by_its_holder_alone() {
        let mut marks = StepMarks { waiting: vec![held(NOW + 1, 1), held(NOW + 2, 2)], ..StepMarks::default() };
        assert!(!marks.give_back(held(NOW + 2, 9)), "not its holder");
        assert!(marks.give_back(held(NOW + 2, 2)));
        assert!(!marks.give_back(held(NOW + 2, 2)), "it was given back");
        assert_eq!(marks.waiting, [held(NOW + 1, 1)]);

        assert!(marks.show(held(NOW + 1, 1)));
        assert!(!marks.give_back(held(NOW + 1, 1)), "it was shown");
        single(&mut marks, at(NOW, 9), CodeWish { max_wait: Duration::from_mins(2), ..WAIT }, 3, &later(NOW + 2));
    }

    #[test]
    fn waiters_who_give_up_together_leave_no_mark_in_whatever_order() {
        let waiting = [held(NOW + 1, 1), held(NOW + 2, 2), held(NOW + 3, 3)];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut marks = StepMarks { taken: Some(Step(NOW)), waiting: waiting.to_vec(), ..StepMarks::default() };
            for nth in order {
                assert!(marks.give_back(waiting[nth]), "{order:?}");
            }
            assert_eq!(marks, StepMarks { taken: Some(Step(NOW)), ..StepMarks::default() }, "{order:?}");
        }
    }

    #[test]
    fn a_step_that_was_given_back_stays_unused_once_a_later_one_is_shown() {
        let mut marks = StepMarks { waiting: vec![held(NOW + 1, 1), held(NOW + 2, 2)], ..StepMarks::default() };
        assert!(marks.give_back(held(NOW + 1, 1)));
        assert!(!marks.show(held(NOW + 1, 1)), "nobody holds it");
        single(&mut marks, at(NOW, 9), WAIT, 3, &busy_until(NOW + 3));

        marks.drop_lapsed(Step(NOW + 2));
        assert!(marks.show(held(NOW + 2, 2)));
        assert_eq!(marks, StepMarks { taken: Some(Step(NOW + 2)), ..StepMarks::default() });
    }

    #[test]
    fn a_reservation_whose_step_has_passed_stays_taken() {
        let mut marks = StepMarks { waiting: vec![held(NOW, 1), held(NOW + 1, 2)], ..StepMarks::default() };
        marks.drop_lapsed(Step(NOW));
        assert_eq!(marks.waiting.len(), 2);

        marks.drop_lapsed(Step(NOW + 1));
        assert_eq!(marks, StepMarks { given: None, taken: Some(Step(NOW)), waiting: vec![held(NOW + 1, 2)] });
        assert!(!marks.show(held(NOW, 1)));
    }

    #[test]
    fn a_clock_that_ran_ahead_is_forgiven_by_a_reset_alone() {
        let mut marks = StepMarks::default();
        single(&mut marks, at(NOW + 1000, 0), WAIT, 1, &now(NOW + 1000));
        single(&mut marks, at(NOW, 0), WAIT, 2, &busy_until(NOW + 1001));
        plain(&mut marks, at(NOW, 0), WAIT, &busy_until(NOW + 1001));

        marks.reset(Step(NOW));

        plain(&mut marks, at(NOW, 0), NO_WAIT, &busy_until(NOW + 1));
        single(&mut marks, at(NOW, 1), WAIT, 3, &later(NOW + 1));
    }

    #[test]
    fn a_reset_takes_nothing_from_plain_callers() {
        for given in [NOW - 1, NOW, NOW + 1000] {
            let mut marks = StepMarks { given: Some(Step(given)), ..StepMarks::default() };
            marks.reset(Step(NOW));
            plain(&mut marks, at(NOW, 0), NO_WAIT, &now(NOW));
            single(&mut marks, at(NOW, 0), WAIT, 1, &later(NOW + 1));
        }
        let mut untouched = StepMarks::default();
        untouched.reset(Step(NOW));
        assert_eq!(untouched, StepMarks::default());
    }

    #[test]
    fn a_reset_does_not_show_plain_callers_what_a_single_use_one_may_have_seen() {
        // Plain calls ran ahead, and the current step is a single-use caller's.
        let mut marks = StepMarks { given: Some(Step(NOW + 9)), taken: Some(Step(NOW)), waiting: Vec::new() };
        marks.reset(Step(NOW));
        plain(&mut marks, at(NOW, 0), NO_WAIT, &busy_until(NOW + 1));
    }

    #[test]
    fn the_ends_of_time_do_not_panic() {
        for micros in [i64::MIN, -1, 0, i64::MAX] {
            let mut marks = StepMarks::default();
            let when = Timestamp::from_micros(micros);
            let wish = CodeWish { min_validity: 30, ..WAIT };
            let _ = (marks.plain(&totp(), when, wish), marks.single_use(&totp(), when, wish, id(1)));
            marks.drop_lapsed(totp().step_at(when));
            marks.reset(totp().step_at(when));
        }
    }

    /// An event in the life of one secret's marks.
    #[derive(Debug, Clone, Copy)]
    enum Event {
        /// The clock moves, in either direction.
        Clock(i64),
        Plain(CodeWish),
        Single(CodeWish),
        /// The nth reservation ever made is shown, whatever its state.
        Show(usize),
        GiveBack(usize),
        Settle,
        Reset,
    }

    fn wish() -> impl Strategy<Value = CodeWish> {
        (0..=30_u32, 0..=120_u64).prop_map(|(min_validity, seconds)| CodeWish {
            min_validity,
            single_use: false,
            max_wait: Duration::from_secs(seconds),
        })
    }

    fn clock() -> impl Strategy<Value = Event> {
        prop_oneof![6 => 0..20_i64, 3 => 20..70_i64, 2 => -70..0_i64, 1 => -5000..5000_i64].prop_map(Event::Clock)
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => clock(),
            4 => wish().prop_map(Event::Plain),
            4 => wish().prop_map(Event::Single),
            4 => any::<usize>().prop_map(Event::Show),
            2 => any::<usize>().prop_map(Event::GiveBack),
            2 => Just(Event::Settle),
            1 => Just(Event::Reset),
        ]
    }

    /// A record, independent of the marks, of the steps that callers were shown: the guarantees are checked against it.
    struct Witness {
        marks: StepMarks,
        now: Timestamp,
        /// Every step that was shown, and whether a single-use caller was shown it.
        shown: BTreeMap<Step, bool>,
        reservations: Vec<Reservation>,
    }

    impl Default for Witness {
        fn default() -> Self {
            Self { marks: StepMarks::default(), now: at(NOW, 0), shown: BTreeMap::new(), reservations: Vec::new() }
        }
    }

    impl Witness {
        fn current(&self) -> Step {
            totp().step_at(self.now)
        }

        fn shown_to_plain(&mut self, step: Step) {
            let before = self.shown.insert(step, false);
            assert_ne!(before, Some(true), "a single-use step was shown to a plain caller");
        }

        fn shown_to_single(&mut self, step: Step) {
            let before = self.shown.insert(step, true);
            assert_eq!(before, None, "a step that somebody had seen was shown to a single-use caller");
        }

        fn happens(&mut self, event: Event) {
            let nth = |wanted: usize, count: usize| wanted.checked_rem(count);
            match event {
                Event::Clock(seconds) => self.now = Timestamp::from_seconds(self.now.seconds() + seconds),
                Event::Plain(wish) => {
                    if let Turn::Now(step) = self.marks.plain(&totp(), self.now, wish) {
                        assert_eq!(step, self.current());
                        self.shown_to_plain(step);
                    }
                }
                Event::Single(wish) => {
                    let id = id(self.reservations.len() as u128 + 1);
                    match self.marks.single_use(&totp(), self.now, wish, id) {
                        Turn::Now(step) => {
                            assert_eq!(step, self.current());
                            self.shown_to_single(step);
                        }
                        Turn::Later { step, .. } => {
                            assert!(!self.shown.contains_key(&step), "a step that somebody had seen was reserved");
                            self.reservations.push(Reservation { step, id });
                        }
                        Turn::Busy { free_at } => assert!(self.now.until(free_at) > wish.max_wait),
                    }
                }
                Event::Show(wanted) => {
                    let held = nth(wanted, self.reservations.len()).map(|nth| self.reservations[nth]);
                    if let Some(held) = held.filter(|held| held.step <= self.current())
                        && self.marks.show(held)
                    {
                        self.shown_to_single(held.step);
                    }
                }
                Event::GiveBack(wanted) => {
                    if let Some(nth) = nth(wanted, self.reservations.len()) {
                        self.marks.give_back(self.reservations[nth]);
                    }
                }
                Event::Settle => self.marks.drop_lapsed(self.current()),
                Event::Reset => {
                    let current = self.current();
                    self.marks.reset(current);
                    self.shown.retain(|step, _| *step <= current);
                    for held in &self.reservations {
                        assert!(!self.marks.clone().show(*held), "a reservation outlived a reset");
                    }
                }
            }
            assert!(self.marks.waiting.is_sorted_by(|one, next| one.step < next.step), "{:?}", self.marks);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn no_step_is_shown_to_a_single_use_caller_and_to_another(events in proptest::collection::vec(event(), 1..80)) {
            let mut witness = Witness::default();
            for event in events {
                witness.happens(event);
            }
        }

        #[test]
        fn without_single_use_calls_a_plain_call_gets_the_current_step_at_once(
            events in proptest::collection::vec(prop_oneof![clock(), Just(Event::Settle), Just(Event::Reset)], 1..80),
        ) {
            let mut witness = Witness::default();
            for event in events {
                witness.happens(event);
                let turn = witness.marks.plain(&totp(), witness.now, NO_WAIT);
                prop_assert_eq!(turn, Turn::Now(witness.current()));
            }
        }

        #[test]
        fn a_reservation_that_is_given_back_leaves_no_mark(seconds in 0..30_i64, max_wait in 30..=120_u64, taken in 0..2_u64) {
            let mut marks = StepMarks { taken: Some(Step(NOW - taken)), ..StepMarks::default() };
            let before = marks.clone();
            let wish = CodeWish { min_validity: 30, max_wait: Duration::from_secs(max_wait), ..WAIT };

            if let Turn::Later { step, .. } = marks.single_use(&totp(), at(NOW, seconds), wish, id(1)) {
                let freed = marks.give_back(Reservation { step, id: id(1) });
                prop_assert!(freed);
                prop_assert_eq!(marks, before);
            }
        }
    }
}
