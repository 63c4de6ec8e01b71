//! Programs, and what the system reports about them while they run.

use std::{
    ffi::OsString,
    fs, io,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// A program and how it is started.
#[derive(Clone)]
pub(crate) struct Program {
    file: PathBuf,
    arguments: Vec<&'static str>,
    environment: Vec<(&'static str, OsString)>,
}

impl Program {
    pub(crate) fn new(file: PathBuf, arguments: &[&'static str]) -> Self {
        Self { file, arguments: arguments.to_vec(), environment: Vec::new() }
    }

    /// The same program with other arguments.
    pub(crate) fn with(&self, arguments: &[&'static str]) -> Self {
        Self { arguments: arguments.to_vec(), ..self.clone() }
    }

    pub(crate) fn with_environment(
        mut self,
        variables: impl IntoIterator<Item = (&'static str, impl Into<OsString>)>,
    ) -> Self {
        self.environment = variables.into_iter().map(|(name, value)| (name, value.into())).collect();
        self
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.file);
        command.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs the program to its end with one more argument, and returns its standard output.
    pub(crate) fn run(&self, last: &str) -> io::Result<String> {
        let ran = self.command().arg(last).stdin(Stdio::null()).output()?;
        if !ran.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&ran.stderr)));
        }
        String::from_utf8(ran.stdout).map_err(io::Error::other)
    }
}

/// A running program, which is killed on drop.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// Resident memory in KiB.
    pub(crate) fn memory(&self) -> io::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
            .ok_or_else(|| io::Error::other("the system does not say how much memory a process has"))
    }

    /// Private memory in KiB that the process has written to: its cost to the machine, without shared pages.
    pub(crate) fn private_memory(&self) -> io::Result<f64> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.0.id()))?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Private_Dirty:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
            .ok_or_else(|| io::Error::other("the system does not say how much memory a process has to itself"))
    }

    /// Resident memory in KiB once it has settled, or after five seconds.
    pub(crate) fn settled_memory(&self) -> io::Result<f64> {
        let mut before = self.memory()?;
        for _ in 0..20 {
            thread::sleep(Duration::from_millis(250));
            let now = self.memory()?;
            if (now - before).abs() < 16.0 {
                return Ok(now);
            }
            before = now;
        }
        Ok(before)
    }

    /// Seconds of processor time that the process has used, to a hundredth.
    pub(crate) fn busy(&self) -> io::Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        // The program's name may contain any character; the last bracket ends it. The times in user and in system mode
        // are further on, in hundredths of a second.
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let times = after_name.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
        Ok(times.sum::<Result<f64, _>>().map_err(io::Error::other)? / 100.0)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Raises the limit of open files to the system's maximum: a thousand connections need a thousand files, here and in
/// the server.
pub(crate) fn open_many_files() -> io::Result<()> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let most = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most })?;
    }
    Ok(())
}
