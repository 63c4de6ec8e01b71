//! A server of one test alone, which can be set up wrongly.

use std::{
    ffi::OsStr,
    fs,
    net::TcpListener,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// Gives a program's folder to its user: PostgreSQL and `PgBouncer` refuse to run as root.
pub(super) fn give_away(folder: &Path) {
    if am_root() {
        done(Command::new("chown").args(["-R", "postgres"]).arg(folder));
    }
}

fn am_root() -> bool {
    Path::new("/proc/self").metadata().unwrap().uid() == 0
}

/// A program that the owner of a folder runs, in the folder.
pub(super) fn owners(folder: &Path, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(if am_root() { OsStr::new("setpriv") } else { program.as_ref() });
    if am_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    }
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A port that is free now.
pub(super) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The folder of the programs of the newest server version.
pub(super) fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").unwrap().map(|entry| entry.unwrap().path());
    versions.max().unwrap().join("bin")
}

#[track_caller]
fn done(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

/// The server.
pub(super) struct Own {
    folder: TempDir,
    pub(super) port: u16,
}

impl Own {
    /// Starts a server that accepts the connections of these lines of `pg_hba.conf`, and all connections by its socket.
    pub(super) fn start(lets_in: &str) -> Self {
        let own = Self { folder: tempfile::tempdir().unwrap(), port: free_port() };
        give_away(own.folder.path());
        let data = own.data();
        let made = ["-U", "countersign", "-A", "trust", "--no-sync", "--locale=C.UTF-8", "-D"];
        done(owners(own.folder.path(), programs().join("initdb")).args(made).arg(&data));
        fs::write(data.join("pg_hba.conf"), format!("local all all trust\n{lets_in}\n")).unwrap();
        own.settle("");
        own.run("start");
        own
    }

    /// Restarts the server with these settings.
    pub(super) fn again(&self, settings: &str) {
        self.settle(settings);
        self.run("restart");
    }

    fn settle(&self, settings: &str) {
        let folder = self.folder.path().display();
        let always = format!(
            "fsync = off\nlisten_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{folder}'\n{settings}\n",
            self.port
        );
        fs::write(self.data().join("postgresql.conf"), always).unwrap();
        give_away(self.folder.path());
    }

    /// Makes the server a standby.
    pub(super) fn stand_by(&self) {
        fs::write(self.data().join("standby.signal"), "").unwrap();
        self.again("");
    }

    fn run(&self, how: &str) {
        let log = self.folder.path().join("log");
        let status = self.control().args(["-w", "-l"]).arg(&log).arg(how).status().unwrap();
        assert!(status.success(), "{}", fs::read_to_string(log).unwrap_or_default());
    }

    fn control(&self) -> Command {
        let mut control = owners(self.folder.path(), programs().join("pg_ctl"));
        control.arg("-D").arg(self.data());
        control
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The address of a database, over the socket.
    pub(super) fn inside(&self, database: &str) -> String {
        let folder = self.folder.path().to_str().unwrap().replace('/', "%2F");
        format!("postgres://countersign@/{database}?host={folder}&port={}", self.port)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.control().args(["-m", "immediate", "stop"]).status();
    }
}
