//! The no-op server that `compare` measures Countersign against: one tool that answers "ok", and one that takes a
//! minute for it, on the same SDK, runtime and web framework, with the settings that were fastest there.
//!
//! `noop_server stdio`, or `noop_server http`, which prints `listening on http://ADDR` like `countersign serve`.

use std::{error::Error, sync::Arc, time::Duration};

use axum::serve::ListenerExt as _;
use rmcp::{
    ServerHandler, ServiceExt as _,
    handler::server::router::tool::ToolRouter,
    model::{Implementation, ServerCapabilities, ServerConfig},
    tool, tool_handler, tool_router,
    transport::{
        stdio_pipes,
        streamable_http_server::{
            StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
        },
    },
};
use tokio::runtime::Builder;

#[path = "common/say.rs"]
mod say;

/// Tools that do nothing.
#[derive(Clone)]
struct Noop {
    tools: Arc<ToolRouter<Self>>,
}

#[tool_router]
impl Noop {
    /// Does nothing.
    #[tool(annotations(read_only_hint = true))]
    async fn noop(&self) -> String {
        "ok".to_owned()
    }

    /// Does nothing for a minute.
    #[tool(annotations(read_only_hint = true))]
    async fn nap(&self) -> String {
        tokio::time::sleep(Duration::from_mins(1)).await;
        "ok".to_owned()
    }
}

#[tool_handler(router = self.tools)]
impl ServerHandler for Noop {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("noop", env!("CARGO_PKG_VERSION")))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let server = Noop { tools: Arc::new(Noop::tool_router()) };
    if std::env::args().nth(1).as_deref() == Some("http") {
        return Builder::new_multi_thread().enable_all().build()?.block_on(http(server));
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        server.serve(stdio_pipes()).await?.waiting().await.map(drop).map_err(Box::<dyn Error>::from)
    })?;
    runtime.shutdown_background();
    Ok(())
}

async fn http(server: Noop) -> Result<(), Box<dyn Error>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    say::aside(format_args!("listening on http://{}", listener.local_addr()?));
    let config = StreamableHttpServerConfig::default().with_json_response(true);
    let mcp = StreamableHttpService::new(move || Ok(server.clone()), Arc::new(LocalSessionManager::default()), config);
    // Without it, an answer in several pieces takes 44 ms on a connection that is kept alive.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, axum::Router::new().nest_service("/mcp", mcp)).await?;
    Ok(())
}
