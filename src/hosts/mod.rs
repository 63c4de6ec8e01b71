//! Hosts of MCP servers: the file of a person that each reads, and our entry in it. A file's other contents stay as
//! they are, to the last comment. Never here: a disk, or an error that quotes a file, since such files hold other
//! servers' keys.

mod json;
mod toml;
mod yaml;

use std::path::{Path, PathBuf};

use clap::ValueEnum;

/// The name of our entry.
const NAME: &str = "countersign";

/// A host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Host {
    /// Claude Desktop
    ClaudeDesktop,
    /// Claude Code
    ClaudeCode,
    /// Cursor
    Cursor,
    /// VS Code
    #[value(name = "vscode", alias = "vs-code")]
    VsCode,
    /// Windsurf
    Windsurf,
    /// Zed
    Zed,
    /// Cline
    Cline,
    /// Codex
    Codex,
    /// Gemini CLI
    #[value(alias = "gemini")]
    GeminiCli,
    /// Goose
    Goose,
    /// opencode
    #[value(name = "opencode", alias = "open-code")]
    OpenCode,
}

/// The folders of a person that hosts use.
#[derive(Debug, Clone)]
pub struct Folders {
    /// The person's home.
    pub home: PathBuf,
    /// Where the platform keeps settings: `~/.config`, `~/Library/Application Support` or `%APPDATA%`.
    pub settings: PathBuf,
    /// The folder for settings of programs that use the same one on every platform as on Linux.
    pub xdg: PathBuf,
    /// The folder of Codex's settings, if it was changed.
    pub codex: Option<PathBuf>,
    /// The folder of Claude Code's settings, if it was changed.
    pub claude: Option<PathBuf>,
}

/// A place where a host may keep its servers.
#[derive(Debug, Clone)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The folder whose presence shows that the host is installed for this person.
    pub folder: PathBuf,
}

/// The command by which a host starts this program.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The whole path of the program.
    pub program: String,
    /// The arguments of the program.
    pub arguments: Vec<String>,
}

/// Why a file can't be changed. The error does not quote the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The file can't be parsed.
    #[error("line {line} can't be read as {format}")]
    Broken {
        /// The line, from 1.
        line: usize,
        /// The format that was expected.
        format: &'static str,
    },
    /// The field for the servers or the entry holds something else, or is there twice.
    #[error("`{0}` in it is not what this expects there")]
    Shape(&'static str),
    /// The file has an entry that can't be changed without losing something.
    #[error("it has an entry `{NAME}` that differs")]
    Differs,
}

impl Host {
    /// The name by which people know the host.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClaudeDesktop => "Claude Desktop",
            Self::ClaudeCode => "Claude Code",
            Self::Cursor => "Cursor",
            Self::VsCode => "VS Code",
            Self::Windsurf => "Windsurf",
            Self::Zed => "Zed",
            Self::Cline => "Cline",
            Self::Codex => "Codex",
            Self::GeminiCli => "Gemini CLI",
            Self::Goose => "Goose",
            Self::OpenCode => "opencode",
        }
    }

    /// The places where the host may keep its servers. Of several places, the last one is that of its newest version.
    pub fn places(self, folders: &Folders) -> Vec<Place> {
        const CLINE: &str = "settings/cline_mcp_settings.json";
        let Folders { home, settings, xdg, codex, claude } = folders;
        let code = settings.join("Code/User");
        let own = |folder: &Path, file: &str| Place { file: folder.join(file), folder: folder.to_owned() };
        match self {
            Self::ClaudeDesktop => vec![own(&settings.join("Claude"), "claude_desktop_config.json")],
            Self::ClaudeCode => {
                let folder = claude.clone().unwrap_or_else(|| home.join(".claude"));
                vec![Place { file: claude.as_ref().unwrap_or(home).join(".claude.json"), folder }]
            }
            Self::Cursor => vec![own(&home.join(".cursor"), "mcp.json")],
            Self::VsCode => vec![own(&code, "mcp.json")],
            Self::Windsurf => vec![own(&home.join(".codeium/windsurf"), "mcp_config.json")],
            Self::Zed if cfg!(windows) => vec![own(&settings.join("Zed"), "settings.json")],
            Self::Zed => vec![own(&xdg.join("zed"), "settings.json")],
            // The extension of VS Code, and the standalone program.
            Self::Cline => {
                let extension = code.join("globalStorage/saoudrizwan.claude-dev");
                let program = home.join(".cline");
                vec![own(&extension, CLINE), Place { file: program.join("data").join(CLINE), folder: program }]
            }
            Self::Codex => vec![own(&codex.clone().unwrap_or_else(|| home.join(".codex")), "config.toml")],
            Self::GeminiCli => vec![own(&home.join(".gemini"), "settings.json")],
            Self::Goose if cfg!(windows) => vec![own(&settings.join("Block/goose/config"), "config.yaml")],
            Self::Goose => vec![own(&xdg.join("goose"), "config.yaml")],
            Self::OpenCode => {
                let folder = xdg.join("opencode");
                vec![own(&folder, "opencode.jsonc"), own(&folder, "opencode.json")]
            }
        }
    }

    /// The step that is left before the host starts this program, for a person.
    pub const fn next(self) -> &'static str {
        match self {
            Self::ClaudeDesktop => "Quit Claude Desktop and start it again.",
            Self::ClaudeCode => "Start a new session of Claude Code; /mcp shows it.",
            Self::Cursor => "Cursor shows it under Settings, MCP.",
            Self::VsCode => "VS Code asks before it starts it; `MCP: List Servers` shows it.",
            Self::Windsurf => "Press the refresh button of Windsurf's MCP servers.",
            Self::Zed => "Zed starts it at once; the agent panel's settings show it.",
            Self::Cline => "Cline starts it at once; its MCP servers show it.",
            Self::Codex => "Start a new session of Codex; /mcp shows it.",
            Self::GeminiCli => "Start a new session of Gemini CLI; /mcp shows it.",
            Self::Goose => "Start a new session of Goose.",
            Self::OpenCode => "Start opencode again; `opencode mcp list` shows it.",
        }
    }

    /// The text of the host's file with our entry, otherwise as it was.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn with_entry(self, text: &str, launch: &Launch) -> Result<String, Unusable> {
        // Editors on Windows write a byte order mark.
        let (mark, text) = text.strip_prefix('\u{FEFF}').map_or(("", text), |rest| ("\u{FEFF}", rest));
        let Launch { program, arguments } = launch;
        let standard = || vec![("command", json::text(program)), ("args", json::list(arguments))];
        let typed = || [vec![("type", json::text("stdio"))], standard()].concat();
        let edited = match self {
            Self::ClaudeDesktop | Self::Cursor | Self::Windsurf | Self::Cline | Self::GeminiCli => {
                json::with_entry(text, "mcpServers", &standard())
            }
            Self::ClaudeCode => json::with_entry(text, "mcpServers", &typed()),
            Self::VsCode => json::with_entry(text, "servers", &typed()),
            Self::Zed => json::with_entry(text, "context_servers", &standard()),
            Self::OpenCode => {
                let whole: Vec<String> = std::iter::once(program).chain(arguments).cloned().collect();
                let entry =
                    [("type", json::text("local")), ("command", json::list(&whole)), ("enabled", json::flag(true))];
                json::with_entry(text, "mcp", &entry)
            }
            Self::Codex => toml::with_entry(text, launch),
            Self::Goose => yaml::with_entry(text, launch),
        };
        Ok(format!("{mark}{}", edited?))
    }

    /// The smallest file with our entry, to be copied from.
    ///
    /// # Errors
    /// [`Unusable`]: never, since an empty file holds nothing.
    pub fn example(self, launch: &Launch) -> Result<String, Unusable> {
        self.with_entry("", launch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn launch() -> Launch {
        let arguments = ["stdio", "--seat", "ada \"x\" \\ é"].map(str::to_owned).to_vec();
        Launch { program: "/opt/a b/countersign".to_owned(), arguments }
    }

    #[test]
    fn every_entry_is_there_once_and_a_second_time_changes_nothing() {
        for host in Host::value_variants() {
            let first = host.example(&launch()).unwrap();
            assert!(first.contains("countersign") && first.ends_with('\n'), "{first}");
            assert_eq!(host.with_entry(&first, &launch()).unwrap(), first, "{}", host.name());
            let marked = host.with_entry(&format!("\u{FEFF}{first}"), &launch()).unwrap();
            assert_eq!(marked, format!("\u{FEFF}{first}"));
        }
    }

    #[test]
    fn no_error_quotes_a_file() {
        for host in Host::value_variants() {
            for broken in
                ["{\"mcpServers\": {\"x\": {\"env\": {\"KEY\": \"hunter2\"", "hunter2 = [", "extensions: hunter2"]
            {
                if let Err(problem) = host.with_entry(broken, &launch()) {
                    assert!(!problem.to_string().contains("hunter2"), "{problem}");
                }
            }
        }
    }
}
