//! The collector to which traces and metrics are sent.

use std::ffi::OsString;

use clap::Args;
use http::Uri;

use super::{
    ConfigError,
    places::{setting, variable},
    text,
};

pub(super) const FLAG: &str = "--otlp-endpoint";
const VARIABLE: &str = "COUNTERSIGN_OTLP_ENDPOINT";
/// Headers for the collector, as the exporter itself reads them. They may hold a credential.
const HEADERS: [&str; 3] =
    ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_METRICS_HEADERS"];

/// Where to send traces and metrics, as typed.
#[derive(Debug, Default, Args)]
pub(super) struct OtlpFlags {
    // Not a doc comment, in which an address would have to be a link.
    #[arg(
        long,
        value_name = "URL",
        help = "Collector that takes traces and metrics by OTLP over HTTP, such as http://127.0.0.1:4318 (also \
                COUNTERSIGN_OTLP_ENDPOINT)"
    )]
    otlp_endpoint: Option<OsString>,
}

impl OtlpFlags {
    /// The collector's address, if one is configured.
    ///
    /// # Errors
    /// [`ConfigError`] if it is not an address, or a credential would go there in clear.
    pub(super) fn endpoint(self) -> Result<Option<String>, ConfigError> {
        let Some((url, written)) = text(setting(self.otlp_endpoint, FLAG, VARIABLE, variable))? else {
            return Ok(None);
        };
        let refused = |problem| Err(ConfigError::Setting { name: written.name(), problem });
        let Ok(uri) = url.parse::<Uri>() else {
            return refused("must be a URL such as http://127.0.0.1:4318");
        };
        let here = uri.host().is_some_and(|host| matches!(host, "localhost" | "127.0.0.1" | "[::1]"));
        let has_credential = HEADERS.iter().any(|name| variable(name).is_some());
        match (uri.scheme_str(), uri.query()) {
            (Some("https"), None) => Ok(Some(url)),
            (Some("http"), None) if here || !has_credential => Ok(Some(url)),
            (Some("http"), None) => {
                refused("is not https, and the headers of OTEL_EXPORTER_OTLP_HEADERS would cross the network in clear")
            }
            _ => refused("must be a URL such as http://127.0.0.1:4318, without a query"),
        }
    }
}
