//! The time that a search has taken, by the clock of the child's limit (`child.rs`): on Linux processor time. By
//! wall-clock time, a busy machine would give up on a picture after little work.

use std::time::Duration;

/// When a search began.
#[cfg(target_os = "linux")]
pub(super) struct Begun(Duration);

#[cfg(target_os = "linux")]
impl Begun {
    pub(super) fn now() -> Self {
        Self(of_this_thread())
    }

    /// The processor time of this thread since then.
    pub(super) fn spent(&self) -> Duration {
        of_this_thread().saturating_sub(self.0)
    }
}

#[cfg(target_os = "linux")]
fn of_this_thread() -> Duration {
    use rustix::time::{ClockId, clock_gettime};

    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

/// When a search began.
#[cfg(not(target_os = "linux"))]
pub(super) struct Begun(std::time::Instant);

#[cfg(not(target_os = "linux"))]
impl Begun {
    pub(super) fn now() -> Self {
        Self(std::time::Instant::now())
    }

    pub(super) fn spent(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_search_on_a_busy_machine_is_not_charged_for_the_time_of_others() {
        const LONG: Duration = Duration::from_millis(50);
        let begun = Begun::now();
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                let started = Instant::now();
                while started.elapsed() < LONG {
                    std::hint::spin_loop();
                }
            });
            other.join().unwrap();
        });
        assert!(begun.spent() < LONG, "{:?}", begun.spent());
    }

    #[test]
    fn a_search_is_charged_for_its_own_work() {
        let (begun, started) = (Begun::now(), Instant::now());
        while begun.spent() < Duration::from_millis(5) {
            assert!(started.elapsed() < Duration::from_mins(1));
        }
    }
}
