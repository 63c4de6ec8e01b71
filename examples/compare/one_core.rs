//! Binds this process and its children to one core. A client and a server that take turns are several times faster on
//! one core than on two, and the system chooses anew for each pair; without the binding, figures could not be compared.

/// While it exists, this process and its children run on one core, if the system supports that.
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
