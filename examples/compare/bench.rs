//! The fixtures of every part: the two programs, and vaults with secrets and keys.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    build::{Target, build},
    calls::{Call, Expect},
    oracle::Oracle,
    process::Program,
    say::aside,
    stdio::{Contender, Server},
};

/// The seed of every secret.
const SEED: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
/// The number of registrations in flight.
const WINDOW: usize = 32;

/// The programs, and a temporary folder for vaults.
pub(crate) struct Bench {
    folder: PathBuf,
    home: TempDir,
    pub(crate) rounds: usize,
}

/// A vault of its own, in a home of its own.
pub(crate) struct Vault {
    program: Program,
}

impl Bench {
    pub(crate) fn build(rounds: usize) -> io::Result<Self> {
        aside("building…");
        // Built separately, as a user would: built together, each program would be linked with features that only the
        // other needs.
        let folder = build(&[Target::Countersign])?;
        build(&[Target::Example("noop_server")])?;
        Ok(Self { folder, home: tempfile::tempdir()?, rounds })
    }

    /// The no-op server, over `stdio` or `http`.
    pub(crate) fn noop(&self, carrier: &'static str) -> Program {
        Program::new(self.folder.join("examples/noop_server"), &[carrier])
    }

    /// The path of a file on the disk that holds the vaults.
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn vault(&self, name: &str) -> io::Result<Vault> {
        let home = self.home.path().join(name);
        fs::create_dir(&home)?;
        Ok(Vault { program: countersign(&self.folder, &home) })
    }
}

/// The real program with a home of its own.
fn countersign(folder: &Path, home: &Path) -> Program {
    let environment = [("HOME", home.to_owned()), ("COUNTERSIGN_DATA_DIR", home.join("data"))];
    Program::new(folder.join("countersign"), &[]).with_environment(environment)
}

impl Vault {
    /// The sidecar.
    pub(crate) fn sidecar(&self) -> Program {
        self.program.with(&["stdio"])
    }

    /// The server. It has no rate limit, since no rate is given.
    pub(crate) fn server(&self) -> Program {
        self.program.with(&["serve", "--listen", "127.0.0.1:0", "--log", "warn"])
    }

    /// Registers `count` secrets, and returns their ids.
    pub(crate) fn register(&self, count: usize, period: u64) -> io::Result<Vec<String>> {
        const ID: &str = "/result/structuredContent/totp_secret/id";
        let registration = |nth: usize| {
            let label = format!("agent-{nth}@example.com");
            let arguments = json!({"label": label, "issuer": "Example", "secret": SEED, "period": period});
            Call::new("register_totp_secret", &arguments, Expect::Pointer(ID))
        };
        let mut server = Server::start(&self.sidecar())?;
        let mut registrations: Vec<Call> = (0..count).map(registration).collect();
        let answers = server.all(&mut registrations, WINDOW)?;
        server.stop()?;
        let id = |answer: &Value| answer.pointer(ID).and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(answers.iter().map(id).collect())
    }

    /// The sidecar with `count` secrets, and calls for codes of `asked` of them, spread evenly.
    pub(crate) fn contender(&self, count: usize, asked: usize) -> io::Result<Contender> {
        let ids = self.register(count, 30)?;
        let oracle = oracle(30)?;
        let code = |id: &String| Call::code(&json!({"secret_id": id}), &oracle);
        Ok(Contender { program: self.sidecar(), calls: ids.iter().step_by(count / asked).map(code).collect() })
    }

    /// Makes keys, and returns their tokens.
    pub(crate) fn keys(&self, count: usize) -> io::Result<Vec<String>> {
        let minted = |nth: usize| {
            let name = format!("agent-{nth}");
            let printed = self.program.with(&["key", "create", "--json", "--name"]).run(&name)?;
            let key: Value = serde_json::from_str(&printed)?;
            let token = key.get("token").and_then(Value::as_str);
            token.map(str::to_owned).ok_or_else(|| io::Error::other("a key without a token"))
        };
        (0..count).map(minted).collect()
    }
}

/// The oracle for the codes of every secret.
pub(crate) fn oracle(period: u64) -> io::Result<Oracle> {
    let seed = data_encoding::BASE32_NOPAD.decode(SEED.as_bytes()).map_err(io::Error::other)?;
    Ok(Oracle::new(&seed, period))
}
