//! An agent's side of the protocol: starts the real program as a host does, and calls its tools.

#![allow(dead_code, clippy::allow_attributes, reason = "each example uses a part of it")]

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rmcp::{
    RoleClient, ServiceExt as _,
    model::{CallToolRequestParams, ClientConfig, Implementation},
    service::RunningService,
    transport::TokioChildProcess,
};
use serde_json::Value;

/// The real program, with a home of its own.
pub(crate) struct Program {
    file: PathBuf,
    home: PathBuf,
}

/// A connected MCP client, with the sidecar as its child process.
pub(crate) struct Agent {
    session: RunningService<RoleClient, ClientConfig>,
}

impl Program {
    pub(crate) fn new(folder: &Path, home: &Path) -> Self {
        Self { file: folder.join("countersign"), home: home.to_owned() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.file);
        command.args(arguments).env("HOME", &self.home).env("COUNTERSIGN_DATA_DIR", self.home.join("data"));
        // Otherwise the program would look for the platform's folders there.
        command.env_remove("XDG_CONFIG_HOME").env_remove("XDG_DATA_HOME").env_remove("XDG_STATE_HOME");
        command
    }

    /// Runs a command as a person would, and returns its standard output.
    pub(crate) fn run(&self, arguments: &[&str]) -> io::Result<String> {
        let ran = self.command(arguments).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
        if !ran.status.success() {
            return Err(io::Error::other(format!("`countersign {}` failed", arguments.join(" "))));
        }
        String::from_utf8(ran.stdout).map_err(io::Error::other)
    }

    /// Starts the sidecar as a host would, and completes the handshake.
    pub(crate) async fn agent(&self, name: &str, arguments: &[&str]) -> Result<Agent, Box<dyn Error>> {
        let command = self.command(&[&["stdio"], arguments].concat());
        let carrier = TokioChildProcess::new(tokio::process::Command::from(command))?;
        let mut about = ClientConfig::default();
        about.client_info = Implementation::new(name.to_owned(), env!("CARGO_PKG_VERSION"));
        Ok(Agent { session: about.serve(carrier).await? })
    }
}

impl Agent {
    /// The names of the tools.
    pub(crate) async fn tools(&self) -> Result<Vec<String>, Box<dyn Error>> {
        Ok(self.session.list_all_tools().await?.into_iter().map(|tool| tool.name.into_owned()).collect())
    }

    /// Calls a tool, and returns its answer, or the refusal that a model would read.
    pub(crate) async fn call(&self, tool: &str, arguments: &Value) -> Result<Result<Value, Value>, Box<dyn Error>> {
        let arguments = arguments.as_object().cloned().unwrap_or_default();
        let request = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let result = self.session.call_tool(request).await?;
        let text = result.content.first().and_then(|content| content.as_text()).map(|text| text.text.as_str());
        match result.structured_content {
            Some(answer) if result.is_error != Some(true) => Ok(Ok(answer)),
            _ => Ok(Err(serde_json::from_str(text.unwrap_or_default())?)),
        }
    }

    /// Ends the session, and with it the sidecar.
    pub(crate) async fn leave(self) -> Result<(), Box<dyn Error>> {
        self.session.cancel().await.map(drop).map_err(Into::into)
    }
}
