//! The server's description of itself.

use data_encoding::BASE64;
use rmcp::model::{Icon, Implementation, ServerCapabilities, ServerConfig};

const ICON: &str = include_str!("icon.svg");

/// The server's name, version and icon, and its capabilities.
pub(super) fn server() -> ServerConfig {
    // The address holds the icon itself, so that no host has to fetch it.
    let icon = Icon::new(format!("data:image/svg+xml;base64,{}", BASE64.encode(ICON.as_bytes())))
        .with_mime_type("image/svg+xml")
        .with_sizes(vec!["any".to_owned()]);
    let implementation = Implementation::new("countersign", env!("CARGO_PKG_VERSION"))
        .with_title("Countersign")
        .with_description("The authenticator app for AI agents: seeds stay sealed, agents get codes.")
        .with_icons(vec![icon]);
    let serves = ServerCapabilities::builder().enable_tools().enable_prompts().enable_resources().enable_skills();
    ServerConfig::new(serves.build()).with_server_info(implementation)
}
