//! Programs, and what the system says of them while they run.

use std::{
    ffi::OsString,
    fs, io,
    path::PathBuf,
    process::{Child, Command},
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

    /// The same with other arguments.
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
}

/// A running program, ended on drop.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// Resident memory in KiB.
    pub(crate) fn memory(&self) -> io::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
            .ok_or_else(|| io::Error::other("the system does not say how much memory a process has"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // If it has ended by itself, there is nothing left to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
