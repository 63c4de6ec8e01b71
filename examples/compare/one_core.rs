//! Binding this process, and what it starts, to one core. A client and a server that take turns are several times faster
//! on one than on two, and which it is the system decides anew for each: only with like can like be compared.

/// While it lives, this process and all that it starts run on one core, if the system can be told so.
pub(crate) struct OneCore {
    #[cfg(target_os = "linux")]
    before: Option<rustix::thread::CpuSet>,
}

#[cfg(target_os = "linux")]
impl OneCore {
    pub(crate) fn bind() -> Self {
        use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

        let mut here = CpuSet::new();
        here.set(sched_getcpu());
        Self { before: sched_getaffinity(None).ok().filter(|_| sched_setaffinity(None, &here).is_ok()) }
    }
}

#[cfg(target_os = "linux")]
impl Drop for OneCore {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = rustix::thread::sched_setaffinity(None, before);
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl OneCore {
    pub(crate) const fn bind() -> Self {
        Self {}
    }
}
