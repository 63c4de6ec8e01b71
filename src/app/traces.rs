//! Traces and metrics of a sidecar or a server, while it runs.

use super::Fatal;
use crate::{operations::Service, otlp::Export};

/// Sends traces and metrics of a service to a collector, if there is one.
pub(super) fn exported(service: &Service, endpoint: Option<&str>) -> Result<Option<Export>, Fatal> {
    let started = endpoint.map(|endpoint| Export::start(service, endpoint)).transpose();
    started.map_err(|cause| Fatal::Otlp(cause.to_string()))
}

/// Sends the remaining traces and metrics.
pub(super) async fn finish(export: Option<Export>) {
    if let Some(export) = export {
        // It has its own timeout.
        let _ = tokio::task::spawn_blocking(|| export.finish()).await;
    }
}
